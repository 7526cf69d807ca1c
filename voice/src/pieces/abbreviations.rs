//! Short forms that end in a full stop.

/// Something always follows them.
const NEVER_LAST: [&str; 34] = [
    "dr", "mr", "mrs", "ms", "prof", "rev", "gen", "sen", "rep", "gov", "lt", "col", "capt", "cpt", "sgt",
    "cmdr", "hon", "pres", "e.g", "eg", "i.e", "ie", "vs", "v", "cf", "viz", "approx", "esp", "incl", "mt",
    "messrs", "mme", "mlle", "ca",
];

/// Words of their own, unless a number follows: "No. 5", but "No. I cannot."
const BEFORE_NUMBERS: [&str; 16] = [
    "no", "nos", "fig", "vol", "ch", "sec", "art", "p", "pp", "ext", "apt", "ste", "tel", "para", "par",
    "ver",
];

/// A sentence may end with them.
const MAYBE_LAST: [&str; 49] = [
    "inc", "ltd", "co", "corp", "llc", "bros", "etc", "jr", "sr", "esq", "ave", "blvd", "rd", "st", "ln",
    "hwy", "pkwy", "dept", "est", "min", "max", "hr", "hrs", "mins", "secs", "lb", "lbs", "oz", "ft", "jan",
    "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue", "tues",
    "wed", "thu", "thurs", "fri", "al",
];

/// How sentences begin: after a short form that may be the last word, only these begin one.
const STARTERS: [&str; 68] = [
    "the", "it", "its", "we", "you", "i", "he", "she", "they", "this", "that", "these", "those", "there",
    "here", "but", "and", "or", "so", "if", "in", "on", "at", "for", "from", "please", "what", "how", "when",
    "where", "who", "why", "which", "do", "does", "did", "is", "are", "was", "were", "can", "could", "would",
    "should", "will", "shall", "may", "have", "has", "your", "our", "my", "his", "her", "their", "a", "an",
    "as", "after", "before", "let", "then", "once", "no", "yes", "not", "i'm", "i'll",
];

/// What a full stop after `word` (written before it, without the stop) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// An ordinary word: the stop ends the sentence.
    End,
    /// A short form that always has something after it.
    Short,
    /// A short form only when a number follows.
    ShortBeforeNumbers,
    /// A short form that may be the sentence's last word.
    Either,
}

pub(super) fn stop_after(word: &str) -> Stop {
    let lower = word.to_lowercase();
    if NEVER_LAST.contains(&lower.as_str()) {
        Stop::Short
    } else if BEFORE_NUMBERS.contains(&lower.as_str()) {
        Stop::ShortBeforeNumbers
    } else if MAYBE_LAST.contains(&lower.as_str()) || has_initials(word) {
        Stop::Either
    } else {
        Stop::End
    }
}

/// Whether a sentence is likely to begin with `word`.
pub(super) fn starts_sentences(word: &str) -> bool {
    let plain = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase().replace('’', "'");
    STARTERS.contains(&plain.as_str())
}

/// "J", "U.S", "p.m"; not "I".
fn has_initials(word: &str) -> bool {
    let letters = word.split('.');
    word != "I"
        && letters.clone().all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic))
}
