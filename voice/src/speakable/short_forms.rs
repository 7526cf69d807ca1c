//! Short forms with a full stop, and initials.

use super::ids::spelled;
use super::numbers::is_digits;
use super::tokens::{Here, Said};

/// Their stop is always their own.
const SHORT: [(&str, &str); 22] = [
    ("dr", "Doctor"),
    ("mr", "Mister"),
    ("mrs", "Missus"),
    ("ms", "Miz"),
    ("prof", "Professor"),
    ("gov", "Governor"),
    ("gen", "General"),
    ("sgt", "Sergeant"),
    ("capt", "Captain"),
    ("lt", "Lieutenant"),
    ("rev", "Reverend"),
    ("hon", "Honorable"),
    ("mt", "Mount"),
    ("e.g", "for example,"),
    ("eg", "for example,"),
    ("i.e", "that is,"),
    ("ie", "that is,"),
    ("approx", "approximately"),
    ("vs", "versus"),
    ("cf", "compare"),
    ("incl", "including"),
    ("esp", "especially"),
];
/// Their stop may end a sentence too.
const MAYBE_LAST: [(&str, &str); 21] = [
    ("inc", "Incorporated"),
    ("ltd", "Limited"),
    ("co", "Company"),
    ("corp", "Corporation"),
    ("bros", "Brothers"),
    ("etc", "et cetera"),
    ("jr", "Junior"),
    ("sr", "Senior"),
    ("esq", "Esquire"),
    ("ave", "Avenue"),
    ("blvd", "Boulevard"),
    ("rd", "Road"),
    ("ln", "Lane"),
    ("hwy", "Highway"),
    ("dept", "Department"),
    ("est", "established"),
    ("tel", "telephone"),
    ("max", "maximum"),
    ("mins", "minutes"),
    ("hrs", "hours"),
    ("a.k.a", "also known as"),
];
/// Only before a number.
const BEFORE_NUMBERS: [(&str, &str); 9] = [
    ("no", "number"),
    ("nos", "numbers"),
    ("fig", "figure"),
    ("vol", "volume"),
    ("ch", "chapter"),
    ("sec", "section"),
    ("ext", "extension"),
    ("apt", "apartment"),
    ("ste", "suite"),
];
/// Without a stop too.
const WITHOUT_STOP: [(&str, &str); 10] = [
    ("vs", "versus"),
    ("w/", "with"),
    ("w/o", "without"),
    ("Dr", "Doctor"),
    ("Mr", "Mister"),
    ("Mrs", "Missus"),
    ("Ms", "Miz"),
    ("and/or", "and or"),
    ("c/o", "care of"),
    ("n/a", "not applicable"),
];
/// A letter after them is no initial.
const LETTERED: [&str; 8] = ["plan", "option", "type", "vitamin", "grade", "class", "part", "section"];

fn find(table: &[(&str, &'static str)], core: &str) -> Option<&'static str> {
    table.iter().find(|(short, _)| *short == core).map(|(_, long)| *long)
}

pub(super) fn short_form(here: &Here<'_>) -> Option<Said> {
    let (core, token) = (here.core(), here.tokens[0]);
    if let Some(long) = find(&WITHOUT_STOP, core) {
        let said = Said::one(long.to_owned())?;
        return Some(Said { swallows_stop: token.tail.starts_with('.'), ..said });
    }
    let has_stop = token.tail.starts_with('.') && !token.tail.starts_with("..");
    let lower = core.to_lowercase();
    let next = here.next();
    if core.contains('.') && find(&SHORT, &lower).is_none() && find(&MAYBE_LAST, &lower).is_none() {
        return initials(here);
    }
    has_stop.then_some(())?;
    let is_letter = core.len() == 1 && core != "I" && here.tokens[0].is_capitalized();
    if is_letter && !here.follows(&LETTERED) && next.is_some_and(|next| next.is_capitalized()) {
        return Some(Said { swallows_stop: true, ..Said::one(core.to_owned())? });
    }
    let before_number =
        next.is_some_and(|next| next.core.starts_with(|c: char| c.is_ascii_digit() || c == '#'));
    let long = if lower == "st" {
        let after_name = here.before().is_some_and(|before| before.is_capitalized() && before.goes_on());
        let before_name = next.is_some_and(|next| next.is_capitalized());
        if before_name && !after_name { "Saint" } else { "Street" }
    } else if let Some(long) = find(&BEFORE_NUMBERS, &lower) {
        before_number.then_some(long)?
    } else {
        find(&SHORT, &lower).or_else(|| find(&MAYBE_LAST, &lower))?
    };
    let ends = find(&SHORT, &lower).is_none() && long != "Saint" && !before_number && ends_here(here);
    // Text may already be after the comma that a long form brings.
    let long = if token.tail.contains(',') { long.trim_end_matches(',') } else { long };
    Some(Said { swallows_stop: !ends, ..Said::one(long.to_owned())? })
}

/// Whether the stop is also the sentence's: nothing follows, or a capital.
fn ends_here(here: &Here<'_>) -> bool {
    !here.tokens[0].tail.contains([',', ';', ':']) && here.next().is_none_or(|next| next.is_capitalized())
}

/// "U.S.", "J.", "Ph.D.": letters.
fn initials(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let parts: Vec<&str> = core.split('.').collect();
    let fits = parts.len() > 1
        && parts
            .iter()
            .all(|part| (1..=2).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphabetic()));
    (fits && !parts.iter().any(|part| is_digits(part))).then_some(())?;
    let said = parts.iter().map(|part| spelled(part)).collect::<Vec<_>>().join(" ");
    // "U.S. Army": a sentence hardly ever goes on with a capital, but a name does.
    let ends = here.next().is_none();
    Some(Said { swallows_stop: !ends, ..Said::one(said)? })
}
