//! Times of day and dates.

use super::numbers::{cardinal, is_digits, ordinal, year};
use super::tokens::{Here, Said, Token};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const BEFORE_YEARS: [&str; 14] = [
    "in", "since", "until", "by", "of", "from", "year", "before", "after", "during", "late", "early", "mid",
    "through",
];

/// "3:30", "3:05 pm", "15:00", "9am", "9:00-17:00", "9am-5pm".
pub(super) fn time(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    if let Some((from, to)) = core.split_once(['-', '–']) {
        let to = clock(to, half_after(here))?;
        let bare = || (is_digits(from) && from.len() <= 2).then(|| cardinal(from));
        let from = clock(from, None).or_else(bare)?;
        return Said::several(format!("{from} to {to}"), 1 + usize::from(half_after(here).is_some()));
    }
    let next = half_after(here);
    let words = clock(core, next)?;
    let used = 1 + usize::from(next.is_some());
    let is_short = here.tokens[used - 1].core.ends_with(".m") || here.tokens[used - 1].core.ends_with(".M");
    let goes_on = here.tokens.get(used).is_some_and(|next| !next.is_capitalized());
    Some(Said { swallows_stop: is_short && goes_on, ..Said::several(words, used)? })
}

/// The half of the day that the next token names.
fn half_after(here: &Here<'_>) -> Option<&'static str> {
    here.after(1).and_then(|next| half(next.core))
}

fn half(text: &str) -> Option<&'static str> {
    match text.to_lowercase().as_str() {
        "am" | "a.m" => Some("A M"),
        "pm" | "p.m" => Some("P M"),
        _ => None,
    }
}

fn clock(text: &str, half_after: Option<&'static str>) -> Option<String> {
    let digits_end = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '.').len();
    let (digits, attached) = text.split_at(digits_end);
    let named = match attached {
        "" => half_after,
        attached => Some(half(attached)?),
    };
    let mut parts = digits.split(':');
    let hour = parts.next().filter(|hour| is_digits(hour) && hour.len() <= 2)?;
    let (minute, second, more) = (parts.next(), parts.next(), parts.next());
    let sixtieth = |part: &&str| part.len() == 2 && is_digits(part) && **part < *"60";
    let valid =
        more.is_none() && minute.iter().chain(&second).all(sixtieth) && (minute.is_some() || named.is_some());
    let number: u32 = hour.parse().ok().filter(|hour| valid && *hour <= 24)?;
    let named = match number {
        0 | 24 => Some("A M"),
        13..24 => Some("P M"),
        _ => named,
    };
    let twelve = cardinal(&if number.is_multiple_of(12) { 12 } else { number % 12 }.to_string());
    let mut said = match minute {
        None | Some("00") if named.is_some() => twelve,
        None | Some("00") => format!("{twelve} o'clock"),
        Some(minute) => match minute.strip_prefix('0') {
            Some(minute) => format!("{twelve} oh {}", cardinal(minute)),
            None => format!("{twelve} {}", cardinal(minute)),
        },
    };
    if let Some(named) = named {
        said = format!("{said} {named}");
    }
    if let Some(second) = second {
        let second = second.trim_start_matches('0');
        let count = if second.is_empty() { "zero".to_owned() } else { cardinal(second) };
        said = format!("{said} and {count} second{}", if second == "1" { "" } else { "s" });
    }
    Some(said)
}

/// "2026-11-21", "11/21/2026", "Nov 21", "November 21st, 2026", "21 Nov 2026", "Nov. 2026".
pub(super) fn date(here: &Here<'_>) -> Option<Said> {
    numeric(here.core())
        .and_then(Said::one)
        .or_else(|| named(here))
        .or_else(|| day_first(here))
        .or_else(|| weekday(here))
}

fn numeric(core: &str) -> Option<String> {
    let (day, time) = match core.split_once('T') {
        Some((day, time)) => (day, Some(time)),
        None => (core, None),
    };
    let separator = day.chars().find(|c| !c.is_ascii_digit())?;
    let parts: Vec<&str> = day.split(separator).collect();
    let all_digits = parts.iter().all(|part| is_digits(part));
    let said = match (separator, parts.as_slice()) {
        ('-' | '/', [year, month, day]) if all_digits && year.len() == 4 => in_words(month, day, Some(year)),
        ('/' | '-' | '.', [first, second, year])
            if all_digits && (year.len() == 4 || (year.len() == 2 && separator == '/')) =>
        {
            let year = if year.len() == 2 { format!("20{year}") } else { (*year).to_owned() };
            in_words(first, second, Some(&year)).or_else(|| in_words(second, first, Some(&year)))
        }
        ('/', [month, day]) if all_digits && time.is_none() => in_words(month, day, None),
        _ => None,
    }?;
    match time {
        None => Some(said),
        Some(time) => {
            let zone = time.strip_suffix('Z');
            let clock = clock(zone.unwrap_or(time).split('.').next()?, None)?;
            Some(format!("{said} at {clock}{}", if zone.is_some() { " U T C" } else { "" }))
        }
    }
}

fn in_words(month: &str, day: &str, written_year: Option<&str>) -> Option<String> {
    let month = month.parse::<usize>().ok().filter(|_| month.len() <= 2)?;
    let month = MONTHS.get(month.checked_sub(1)?)?;
    let day = day_of_month(day)?;
    Some(match written_year {
        Some(written) => format!("{month} {day}, {}", year(written)),
        None => format!("{month} {day}"),
    })
}

/// "21", "21st", "03".
fn day_of_month(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[digits.len()..];
    let fits = is_digits(digits) && digits.len() <= 2 && ["", "st", "nd", "rd", "th"].contains(&suffix);
    let day: u32 = digits.parse().ok().filter(|day| fits && (1..=31).contains(day))?;
    Some(ordinal(&day.to_string()))
}

fn month(core: &str) -> Option<&'static str> {
    let known = |month: &&&str| {
        month.eq_ignore_ascii_case(core)
            || core.eq_ignore_ascii_case("sept") && month.starts_with("Sept")
            || core.len() == 3 && month.get(..3).is_some_and(|short| short.eq_ignore_ascii_case(core))
    };
    MONTHS.iter().find(known).copied().filter(|_| core.starts_with(char::is_uppercase))
}

/// A month with the day or year after it. "Nov." may have its stop, and the day a comma.
fn named(here: &Here<'_>) -> Option<Said> {
    let month = month(here.core()).filter(|_| matches!(here.tokens[0].tail, "" | "."))?;
    let next = here.next().filter(|next| next.lead.is_empty())?;
    if let Some(written) = four_digits(&next) {
        return Said::several(format!("{month} {written}"), 2);
    }
    let days = match next.core.split_once(['-', '–']) {
        Some((from, to)) => format!("{} to {}", day_of_month(from)?, day_of_month(to)?),
        None => day_of_month(next.core)?,
    };
    let written = here.tokens.get(2).filter(|_| matches!(next.tail, "" | ",")).and_then(four_digits);
    match written {
        Some(written) => Said::several(format!("{month} {days}, {written}"), 3),
        None => Said::several(format!("{month} {days}"), 2),
    }
}

fn four_digits(token: &Token<'_>) -> Option<String> {
    let is_year = token.lead.is_empty() && token.core.len() == 4 && is_digits(token.core);
    is_year.then(|| year(token.core))
}

fn day_first(here: &Here<'_>) -> Option<Said> {
    let day = day_of_month(here.core())?;
    let month = month(here.after(1)?.core)?;
    let stop_or_none = matches!(here.tokens[1].tail, "" | "." | ",");
    match here.tokens.get(2).filter(|_| stop_or_none).and_then(four_digits) {
        Some(written) => Said::several(format!("{month} {day}, {written}"), 3),
        None => Said::several(format!("{month} {day}"), 2),
    }
}

/// "Mon" and the like, before a date; "Mon-Fri".
fn weekday(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let named =
        |short: &str| WEEKDAYS.iter().find(|day| (3..=5).contains(&short.len()) && day.starts_with(short));
    if let Some((from, to)) = core.split_once(['-', '–']) {
        return Said::one(format!("{} to {}", named(from)?, named(to)?));
    }
    let weekday = named(core)?;
    let next = here.next()?;
    (month(next.core).is_some() || day_of_month(next.core).is_some() || numeric(next.core).is_some())
        .then_some(())?;
    Some(Said { swallows_stop: true, ..Said::one((*weekday).to_owned())? })
}

/// A year where only a year can be meant: "in 2026", "2024-2026", "the 1990s".
pub(super) fn lone_year(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let is_year = |text: &str| text.len() == 4 && is_digits(text) && ("1500".."2100").contains(&text);
    if let Some(decade) =
        core.strip_suffix('s').map(|text| text.trim_end_matches(['\'', '’'])).filter(|text| is_year(text))
    {
        let said = year(decade);
        return Said::one(match said.strip_suffix('y') {
            Some(start) => format!("{start}ies"),
            None => format!("{said}s"),
        });
    }
    if let Some((from, to)) = core.split_once(['-', '–'])
        && is_year(from)
        && is_year(to)
    {
        return Said::one(format!("{} to {}", year(from), year(to)));
    }
    (is_year(core) && here.follows(&BEFORE_YEARS)).then(|| year(core)).and_then(Said::one)
}
