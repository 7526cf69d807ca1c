//! Ids, acronyms and Roman numerals.

use super::numbers::{cardinal, digits, is_digits, ordinal};
use super::tokens::{Here, Said};

/// Capitals that are said as a word.
const PRONOUNCED: [&str; 25] = [
    "NASA", "NATO", "UNESCO", "UNICEF", "COVID", "LASER", "SIM", "PIN", "ZIP", "RAM", "GIF", "SCUBA", "AIDS",
    "OPEC", "FIFA", "IKEA", "VISA", "LEGO", "RADAR", "SONAR", "NAFTA", "HIPAA", "OSHA", "FEMA", "CAPTCHA",
];
/// Words that are no acronyms when somebody writes them in capitals.
const SHOUTED: [&str; 44] = [
    "A", "I", "AM", "AN", "AND", "ARE", "AS", "AT", "BE", "BUT", "BY", "CAN", "DO", "FOR", "FREE", "FROM",
    "GO", "HAVE", "IF", "IN", "IS", "IT", "MAY", "MUST", "MY", "NEVER", "NEW", "NO", "NOT", "NOW", "OF",
    "ON", "ONLY", "OR", "OUR", "OUT", "PAID", "SO", "STOP", "THE", "TO", "WE", "YES", "YOU",
];
/// What a number is one of, so that it is said digit by digit.
const NUMBERED: [&str; 22] = [
    "account",
    "booking",
    "case",
    "claim",
    "code",
    "confirmation",
    "extension",
    "ext",
    "flight",
    "id",
    "invoice",
    "number",
    "order",
    "pin",
    "passcode",
    "policy",
    "reference",
    "room",
    "ticket",
    "tracking",
    "zip",
    "zipcode",
];
const RULERS: [&str; 14] = [
    "henry",
    "louis",
    "elizabeth",
    "charles",
    "george",
    "edward",
    "richard",
    "james",
    "william",
    "pius",
    "john",
    "paul",
    "benedict",
    "catherine",
];
const NUMBERED_BY_ROMANS: [&str; 16] = [
    "war", "chapter", "part", "phase", "type", "section", "volume", "act", "level", "grade", "class",
    "article", "tier", "stage", "bowl", "title",
];

/// Letter by letter: "U S D".
pub(super) fn spelled(letters: &str) -> String {
    let upper = letters.chars().flat_map(char::to_uppercase);
    upper.map(String::from).collect::<Vec<_>>().join(" ")
}

pub(super) fn has_vowel(word: &str) -> bool {
    word.to_lowercase().contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// "INV-TC-001", "A1B2", "COVID-19", "B2B", "order 48213": letters and digits.
pub(super) fn id(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let is_secret = here.follows(&["ext", "extension", "pin", "code", "passcode"]);
    if is_digits(core) && is_numbered(here) && (core.len() > 3 || core.starts_with('0') || is_secret) {
        return Said::one(digits(core));
    }
    let has_digit = core.contains(|c: char| c.is_ascii_digit());
    let has_letter = core.contains(char::is_alphabetic);
    let fits = core.chars().all(|c| c.is_alphanumeric() || "-_./#:‑".contains(c));
    let segments: Vec<&str> =
        core.split(['-', '_', '.', '/', '#', ':', '‑']).filter(|part| !part.is_empty()).collect();
    if fits && has_letter && has_digit {
        return Said::one(segments.iter().map(|part| segment(part)).collect::<Vec<_>>().join(", "));
    }
    let acronyms = segments.len() > 1 && segments.iter().all(|part| part.len() > 1 && is_acronym(part));
    (fits && acronyms)
        .then(|| segments.iter().map(|part| capitals(part)).collect::<Vec<_>>().join(", "))
        .and_then(Said::one)
}

/// "order 48213", "the code is 48213", "ending in 4242", "IL 62704", "ext. 204".
fn is_numbered(here: &Here<'_>) -> bool {
    let earlier = |back: usize| here.earlier.iter().rev().nth(back).map(|token| token.core.to_lowercase());
    let named = |back: usize| earlier(back).is_some_and(|word| NUMBERED.contains(&word.as_str()));
    let joined = here.follows(&["is", "no", "was", "in", "with"]);
    let ends = earlier(1).is_some_and(|word| matches!(word.as_str(), "ending" | "ends" | "end"));
    let zip = here.core().len() == 5
        && here.before().is_some_and(|state| state.core.len() == 2 && is_acronym(state.core));
    named(0) || (joined && (named(1) || ends)) || zip
}

fn segment(part: &str) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| c.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        said.push(match first.is_ascii_digit() {
            true if run.len() <= 2 && !run.starts_with('0') && run == part => cardinal(run),
            true => digits(run),
            false if is_word(run) => run.to_owned(),
            false => capitals(run),
        });
    }
    said.join(" ")
}

/// "Order", "ticket": letters that are read and not spelled.
fn is_word(letters: &str) -> bool {
    let lower = letters.chars().skip(1).all(char::is_lowercase);
    letters.chars().count() > 2 && lower && has_vowel(letters)
}

fn capitals(part: &str) -> String {
    if PRONOUNCED.contains(&part) { part.to_owned() } else { spelled(part) }
}

/// "USD", "API", "PDFs"; "NASA" stays, "STOP" is a word.
pub(super) fn acronym(here: &Here<'_>) -> Option<Said> {
    let core = here.core();
    let (core, possessive) = match core.strip_suffix("'s").or_else(|| core.strip_suffix("’s")) {
        Some(owner) => (owner, true),
        None => (core, false),
    };
    let (letters, plural) = match core.strip_suffix('s') {
        Some(letters) if letters.len() > 1 => (letters, true),
        _ => (core, false),
    };
    if core == "OK" {
        return Said::one("okay".to_owned());
    }
    is_acronym(letters).then_some(())?;
    let ending = if plural || possessive { "'s" } else { "" };
    Said::one(format!("{}{ending}", capitals(letters)))
}

fn is_acronym(letters: &str) -> bool {
    let is_upper = letters.chars().all(|c| c.is_ascii_uppercase());
    let length = letters.len();
    let as_word = PRONOUNCED.contains(&letters) || SHOUTED.contains(&letters);
    is_upper && length > 1 && !as_word && (length <= 4 || !has_vowel(letters))
}

/// "Henry VIII": "the eighth"; "World War II": "two".
pub(super) fn roman(here: &Here<'_>) -> Option<Said> {
    let before = here.before().filter(|before| before.is_capitalized() && before.goes_on())?;
    let value = roman_value(here.core())?;
    let name = before.core.to_lowercase();
    if RULERS.contains(&name.as_str()) {
        Said::one(format!("the {}", ordinal(&value.to_string())))
    } else {
        NUMBERED_BY_ROMANS.contains(&name.as_str()).then(|| cardinal(&value.to_string())).and_then(Said::one)
    }
}

/// Up to thirty-nine, written as the rule has it.
fn roman_value(text: &str) -> Option<u32> {
    let tens = text.len() - text.trim_start_matches('X').len();
    let ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"];
    let one = ones.iter().position(|one| *one == &text[tens..])?;
    let value = 10 * tens + one;
    (0 < value && tens < 4).then_some(value as u32)
}
