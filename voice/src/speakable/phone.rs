//! Telephone numbers and other long rows of digits.

use super::numbers::{digits, is_digits};
use super::tokens::{Here, Said};

/// Rows of at least so many digits are said one by one.
const LONG: usize = 7;

/// Numbers of public services in North America (N11 codes and 988).
const SERVICES: [&str; 9] = ["211", "311", "411", "511", "611", "711", "811", "911", "988"];

/// "+1 415 555 0100", "(415) 555-0100", "1-800-555-0199", "+442079460958", "4111 1111 1111 1111".
pub(super) fn phone(here: &Here<'_>) -> Option<Said> {
    if SERVICES.contains(&here.core()) {
        return Said::one(digits(here.core()));
    }
    let mut groups: Vec<String> = Vec::new();
    let mut used = 0;
    for token in here.tokens {
        let opens = token.lead == "(" || (used == 0 && token.lead.is_empty());
        let in_brackets = token.lead == "(" && token.tail.starts_with(')');
        if !(token.lead.is_empty() || (opens && used <= 1)) {
            break;
        }
        let Some(found) = groups_of(token.core, used == 0) else { break };
        groups.extend(found);
        used += 1;
        if !(token.goes_on() || (in_brackets && token.tail == ")")) {
            break;
        }
    }
    let plus = groups.first().is_some_and(|group| group.starts_with('+'));
    let count: usize = groups.iter().map(|group| digits_in(group)).sum();
    let in_brackets = here.tokens[0].lead == "(";
    let is_range = used == 1 && groups.len() == 2 && groups[0].len() == groups[1].len();
    let is_row = groups.len() > 1 && !is_range;
    let short_group = groups.iter().skip(1).any(|group| digits_in(group) < 2);
    let fits = (plus && count >= LONG)
        || (is_row && count >= LONG && !short_group)
        || (groups.len() == 1 && count >= LONG);
    (fits && !(in_brackets && groups.len() < 2)).then_some(())?;
    let spoken: Vec<String> =
        groups.iter().flat_map(|group| split(group)).map(|group| digits(&group)).collect();
    let sign = if plus { "plus " } else { "" };
    Said::several(format!("{sign}{}", spoken.join(", ")), used)
}

fn digits_in(group: &str) -> usize {
    group.trim_start_matches('+').len()
}

/// The groups of digits in one token, the first with its plus.
fn groups_of(core: &str, first: bool) -> Option<Vec<String>> {
    let (plus, rest) = match core.strip_prefix('+') {
        Some(rest) if first => ("+", rest),
        Some(_) => return None,
        None => ("", core),
    };
    let rest = rest.replace(['(', ')'], "-");
    let groups: Vec<&str> =
        rest.trim_matches('-').split(['-', '.', '‑']).filter(|group| !group.is_empty()).collect();
    let is_decimal = core.matches('.').count() == 1 && !core.contains('-');
    let fits = !groups.is_empty() && groups.iter().all(|group| is_digits(group)) && !is_decimal;
    fits.then(|| {
        let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
        groups[0].insert_str(0, plus);
        groups
    })
}

/// A group that is too long to be said at once, as people part it: country, area, exchange, line; else by threes.
fn split(group: &str) -> Vec<String> {
    let plain = group.trim_start_matches('+');
    let sizes: &[usize] = match (group.starts_with('+'), plain.len()) {
        (true, 11) if plain.starts_with('1') => &[1, 3, 3, 4],
        (true, 12) => &[2, 3, 3, 4],
        (false, 11) if plain.starts_with('1') => &[1, 3, 3, 4],
        (_, 10) => &[3, 3, 4],
        (_, 7) => &[3, 4],
        (_, 0..=6) => return vec![plain.to_owned()],
        (_, 16) => &[4, 4, 4, 4],
        _ => &[],
    };
    let (mut parts, mut rest, mut sizes) = (Vec::new(), plain, sizes.iter());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(3).min(rest.len());
        let size = if rest.len() - size == 1 && rest.len() > 3 { size - 1 } else { size };
        let (part, after) = rest.split_at(size);
        parts.push(part.to_owned());
        rest = after;
    }
    parts
}
