//! What the end of a caller's words says of what comes next. English; other languages are judged by their punctuation.

use super::Asked;
use super::lists::{
    ANSWERS, ASKING, CHECKING, CLOSINGS, DAYS, DIGITS, ENDING_ANYWAY, FILLERS, LEADING_IN, MONTHS, TRAILING,
    WANTING,
};

/// How a caller's words end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing can be told.
    Open,
    /// A whole sentence or question.
    Complete,
    /// A whole answer to what was asked.
    Answered,
    /// A comma, or a word after which much may come.
    Trailing,
    /// A word that wants another.
    Unfinished,
    /// A filler.
    Thinking,
    /// In the middle of digits or letters.
    Dictating,
}

pub(super) fn ending(text: &str, asked: Asked) -> Ending {
    let text = text.trim().replace('’', "'");
    let words = words(&text);
    let Some(last) = words.last() else { return Ending::Open };
    let trails = trails_off(&text);

    // What the words are wins over how an engine has punctuated them: it sets a full stop after "my number is", too.
    if ends_with(&words, &FILLERS)
        && !ends_with(&words, &["like that", "as well", "very well", "think so", "hope so", "i do well"])
    {
        return Ending::Thinking;
    }
    if let Some(ending) = dictated(&text, &words, asked) {
        return ending;
    }
    if is_one_of(&words, &ANSWERS) && !trails {
        return if asked == Asked::YesOrNo { Ending::Answered } else { Ending::Complete };
    }
    if ends_with(&words, &CLOSINGS) && !trails {
        return Ending::Complete;
    }
    let asks = ASKING.contains(&words[0].as_str());
    let begins_only = asks && words.len() < 4 && ["i", "you", "we", "they", "it"].contains(&last.as_str());
    if begins_only && !text.ends_with('?') {
        return Ending::Unfinished;
    }
    let explains = words
        .iter()
        .rev()
        .skip(1)
        .any(|word| ["what", "where", "who", "how", "which"].contains(&word.as_str()));
    if ends_with(&words, &LEADING_IN) && !explains {
        return Ending::Unfinished;
    }
    let wants = WANTING.contains(&last.as_str()) && !ends_with(&words, &ENDING_ANYWAY);
    if wants && !text.ends_with('?') {
        // "What is this for", "I don't know where it is": whole, if an engine that sets no marks has written them.
        return if explains { Ending::Trailing } else { Ending::Unfinished };
    }
    if TRAILING.contains(&last.as_str()) && !text.ends_with('?') {
        return Ending::Trailing;
    }
    match by_marks(&text) {
        Ending::Open if asks && words.len() >= 4 => Ending::Complete,
        ending => ending,
    }
}

/// By punctuation alone.
pub(super) fn by_marks(text: &str) -> Ending {
    let text = text.trim();
    let words = words(text).len();
    let questions = text.ends_with(['?', '？', '؟']);
    match words {
        0 => Ending::Open,
        _ if trails_off(text) => Ending::Trailing,
        // A word or two with a full stop is what engines make of any pause. Scripts without spaces are one word.
        1..=2 if !questions && text.is_ascii() => Ending::Open,
        _ if questions || text.ends_with(['.', '!', '。', '！', '।']) => Ending::Complete,
        _ => Ending::Open,
    }
}

fn trails_off(text: &str) -> bool {
    text.ends_with("...") || text.ends_with([',', '…', '-', '—', ':', '，', '、'])
}

/// What a caller reads out, and whether it is whole.
fn dictated(text: &str, words: &[String], asked: Asked) -> Option<Ending> {
    let last = words.last()?;
    let ends_in_digits = is_digit_word(last);
    match asked {
        Asked::Email => {
            let ending = words.iter().rev().take(2).any(|word| {
                matches!(word.as_str(), "com" | "org" | "net" | "edu" | "io" | "co" | "uk" | "de")
            });
            let is_whole = text
                .trim_end_matches(['.', '?', '!'])
                .rsplit_once('@')
                .is_some_and(|(_, host)| host.contains('.'))
                || (ending
                    && words.iter().any(|word| word == "at")
                    && words.iter().any(|word| word == "dot"));
            return Some(if is_whole { Ending::Answered } else { Ending::Dictating });
        }
        Asked::Spelling if last.chars().count() == 1 => return Some(Ending::Dictating),
        Asked::Date => {
            let has_day =
                words.iter().any(|word| MONTHS.contains(&word.as_str()) || DAYS.contains(&word.as_str()));
            let is_whole = (has_day
                && !MONTHS.contains(&last.as_str())
                && !WANTING.contains(&last.as_str())
                && !matches!(last.as_str(), "next" | "on" | "the"))
                || text.matches('/').count() == 2;
            return is_whole.then_some(Ending::Answered);
        }
        _ => {}
    }
    let spelled = words
        .iter()
        .rev()
        .take_while(|word| word.chars().count() == 1 && word.chars().all(char::is_alphabetic))
        .count();
    if spelled >= 2 {
        return Some(Ending::Dictating);
    }
    if !ends_in_digits {
        return None;
    }
    let digits: usize =
        words.iter().rev().take_while(|word| is_digit_word(word)).map(|word| digits_in(word)).sum();
    match (asked, digits) {
        // Ten digits are a telephone number in North America, eleven with its country, sixteen a card.
        (Asked::Number, 10 | 11 | 16) => Some(Ending::Answered),
        (Asked::Date, _) => None,
        (Asked::Number, _) | (_, 3..=9) => Some(Ending::Dictating),
        (_, 10 | 11 | 16) => Some(Ending::Complete),
        _ => None,
    }
}

fn is_digit_word(word: &str) -> bool {
    let is_number = word.chars().all(|c| c.is_ascii_digit() || "-+()".contains(c))
        && word.contains(|c: char| c.is_ascii_digit());
    is_number || DIGITS.contains(&word)
}

/// How many digits a word stands for: "415" three, "twenty-one" two, "five" one.
fn digits_in(word: &str) -> usize {
    let written = word.chars().filter(char::is_ascii_digit).count();
    let said = match word {
        "double" => 1,
        "triple" | "ten" | "eleven" | "twelve" | "hundred" => 2,
        _ if word.ends_with("ty") => 1,
        _ => 1,
    };
    if written > 0 { written } else { said }
}

/// Small letters, without the marks around them.
fn words(text: &str) -> Vec<String> {
    let words =
        text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '+'));
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn ends_with(words: &[String], phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| {
        let count = phrase.split(' ').count();
        words.len() >= count && words[words.len() - count..].join(" ") == *phrase
    })
}

fn is_one_of(words: &[String], phrases: &[&str]) -> bool {
    words.len() <= 3 && phrases.contains(&words.join(" ").as_str())
}

pub(super) fn asked(agent_said: &str) -> Asked {
    let lower = agent_said.trim().to_lowercase().replace('’', "'");
    // The last sentence with words in it.
    let last = lower
        .split_inclusive(['.', '?', '!'])
        .rfind(|part| part.contains(char::is_alphanumeric))
        .unwrap_or_default();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| last.contains(phrase));
    let first = words(last).first().cloned().unwrap_or_default();
    let questions = last.contains('?');
    let wants_yes = ASKING.contains(&first.as_str()) && !first.starts_with("wh") && !first.starts_with("how")
        || has(&["is that right", "is that correct", "correct?", "right?", "okay?"]);
    if !questions && !has(&["please", "tell me", "give me", "say ", "i need", "i'll need", "enter"]) {
        Asked::Anything
    } else if questions && CHECKING.contains(&first.as_str()) {
        Asked::YesOrNo
    } else if has(&["spell"]) {
        Asked::Spelling
    } else if has(&["e-mail address", "email address", "your email", "your e-mail"]) {
        Asked::Email
    } else if has(&["number", "zip code", "digits", " pin", "account id"]) {
        Asked::Number
    } else if has(&[
        "what date",
        "which date",
        "which day",
        "what day",
        "date of birth",
        "birthday",
        "when would",
    ]) {
        Asked::Date
    } else if questions && wants_yes {
        Asked::YesOrNo
    } else {
        Asked::Anything
    }
}
