//! A sentence in the words and marks that it is said with.

use std::collections::HashMap;
use std::path::Path;

use super::super::ModelError;
use super::data::read_json;
use super::numbers;

const FILE: &str = "tts/hibari/tokenizer_exceptions.json";
/// Marks that the voice knows as pauses and tones.
const MARKS: &str = ";:,.!?—…";
/// Signs within a word that are said.
const SIGNS: [(char, &str); 9] = [
    ('@', "at"),
    ('&', "and"),
    ('%', "percent"),
    ('+', "plus"),
    ('=', "equals"),
    ('/', "slash"),
    ('_', "underscore"),
    ('#', "hash"),
    ('*', "star"),
];
/// With a period, though nothing ends.
const ABBREVIATIONS: [(&str, &str); 7] = [
    ("Mr.", "Mr"),
    ("Mrs.", "Mrs"),
    ("Ms.", "Miz"),
    ("Dr.", "Doctor"),
    ("Prof.", "Professor"),
    ("St.", "Saint"),
    ("vs.", "versus"),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word {
        text: String,
        /// One of a row of letters: said by its name.
        is_letter: bool,
    },
    Mark(char),
}

pub(super) struct Tokens {
    /// Contractions and their parts, which the tagger knows: "don't" is "do" and "n't".
    exceptions: HashMap<String, Vec<String>>,
}

impl Tokens {
    pub(super) fn load(models_dir: &Path) -> Result<Self, ModelError> {
        Ok(Self { exceptions: read_json(models_dir, FILE)? })
    }

    /// The parts of a word that have parts of speech of their own; mostly one, the word itself.
    pub(super) fn parts<'a>(&'a self, word: &'a str) -> Vec<&'a str> {
        if let Some(parts) =
            self.exceptions.get(word).filter(|parts| parts.iter().all(|part| !part.is_empty()))
        {
            return parts.iter().map(String::as_str).collect();
        }
        match word.strip_suffix("'s").filter(|owner| !owner.is_empty()) {
            Some(owner) => vec![owner, &word[owner.len()..]],
            None => vec![word],
        }
    }
}

pub(super) fn tokens(sentence: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for chunk in sentence.replace(['‘', '’'], "'").split_whitespace() {
        if let Some((_, said)) = ABBREVIATIONS.iter().find(|(written, _)| *written == chunk) {
            add_word(said, &mut tokens);
            continue;
        }
        let core = chunk.trim_matches(|it: char| !it.is_alphanumeric() && sign(it).is_none());
        let (before, after) = chunk.split_once(core).filter(|_| !core.is_empty()).unwrap_or((chunk, ""));
        // An opened bracket is a short pause; a minus before a number is said.
        if before.ends_with('(') {
            add_mark(',', &mut tokens);
        } else if before.ends_with(['-', '−']) && core.starts_with(|it: char| it.is_ascii_digit()) {
            add_word("minus", &mut tokens);
        } else if core.is_empty() {
            before.chars().filter_map(mark).for_each(|mark| add_mark(mark, &mut tokens));
        }
        add_core(core, &mut tokens);
        after.chars().filter_map(mark).for_each(|mark| add_mark(mark, &mut tokens));
    }
    name_letters(&mut tokens);
    tokens
}

fn mark(sign: char) -> Option<char> {
    match sign {
        '–' | '-' => Some('—'),
        ')' => Some(','),
        mark => MARKS.contains(mark).then_some(mark),
    }
}

/// Two pauses are one, the longer.
fn add_mark(mark: char, tokens: &mut Vec<Token>) {
    match tokens.last_mut() {
        Some(Token::Mark(last)) if *last == ',' => *last = mark,
        Some(Token::Word { .. }) => tokens.push(Token::Mark(mark)),
        Some(Token::Mark(_)) | None => {}
    }
}

fn add_word(text: &str, tokens: &mut Vec<Token>) {
    tokens.push(Token::Word { text: text.to_owned(), is_letter: false });
}

fn sign(sign: char) -> Option<&'static str> {
    SIGNS.iter().find_map(|(known, said)| (*known == sign).then_some(*said))
}

/// What is written in one: words, numbers and signs, whose borders are those between letters, digits and the rest.
fn add_core(core: &str, tokens: &mut Vec<Token>) {
    if is_initials(core) {
        core.chars().filter(|it| it.is_alphabetic()).for_each(|letter| add_letter(letter, tokens));
        return;
    }
    let mut rest = core;
    let is_mixed = core.contains(|it: char| it.is_ascii_digit()) && core.contains(char::is_alphabetic);
    while let Some(first) = rest.chars().next() {
        let taken = if first.is_ascii_digit() {
            add_number(rest, is_mixed, tokens)
        } else if first.is_alphabetic() {
            let is_part = |it: char| it.is_alphabetic() || it == '\'' || (it == '-' && !is_mixed);
            let word = &rest[..rest.find(|it| !is_part(it)).unwrap_or(rest.len())];
            let word = word.trim_end_matches(['-', '\'']);
            if is_mixed && word.chars().all(char::is_uppercase) {
                word.chars().for_each(|letter| add_letter(letter, tokens));
            } else {
                add_word(word, tokens);
            }
            word.len()
        } else {
            let before_letter = rest[first.len_utf8()..].starts_with(char::is_alphanumeric);
            let said = if first == '.' && before_letter { Some("dot") } else { sign(first) };
            said.into_iter().for_each(|said| add_word(said, tokens));
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
}

fn add_letter(letter: char, tokens: &mut Vec<Token>) {
    tokens.push(Token::Word { text: letter.to_string(), is_letter: true });
}

/// U.S., p.m, e.g: short parts with periods between them.
fn is_initials(core: &str) -> bool {
    core.contains('.')
        && core.split('.').all(|part| part.chars().count() <= 1 && part.chars().all(char::is_alphabetic))
}

/// Adds the number that `text` begins with; answers how many bytes it took.
fn add_number(text: &str, is_mixed: bool, tokens: &mut Vec<Token>) -> usize {
    let digits_in = |text: &str| text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits_in(text);
    let mut digits = text[..end].to_owned();
    // 15,000 is one number.
    while let Some(group) = text[end..].strip_prefix(',').filter(|group| digits_in(group) == 3) {
        digits.push_str(&group[..3]);
        end += 4;
    }
    let ordinal = ["st", "nd", "rd", "th"].iter().any(|suffix| {
        let rest = &text[end..];
        rest.starts_with(suffix) && !rest[2..].starts_with(char::is_alphanumeric)
    });
    let words = if is_mixed && !ordinal { numbers::one_by_one(&digits) } else { numbers::row(&digits) };
    let last = words.len().saturating_sub(1);
    for (at, word) in words.iter().enumerate() {
        if ordinal && at == last { add_word(&numbers::ordinal(word), tokens) } else { add_word(word, tokens) }
    }
    if ordinal {
        return end + 2;
    }
    // 3.5 is three point five.
    if let Some(fraction) = text[end..].strip_prefix('.').filter(|fraction| digits_in(fraction) > 0) {
        let fraction = &fraction[..digits_in(fraction)];
        add_word("point", tokens);
        numbers::one_by_one(fraction).iter().for_each(|word| add_word(word, tokens));
        end += 1 + fraction.len();
    }
    end
}

/// Capital letters that stand alone beside others of their kind are being spelled: "I N V". So is an "A" that is no
/// sentence's first word.
fn name_letters(tokens: &mut [Token]) {
    let is_single = |token: Option<&Token>| {
        let Some(Token::Word { text, .. }) = token else { return false };
        text.chars().count() == 1 && text.chars().all(char::is_uppercase)
    };
    let single: Vec<bool> = tokens.iter().map(|token| is_single(Some(token))).collect();
    for (at, token) in tokens.iter_mut().enumerate() {
        let Token::Word { text, is_letter } = token else { continue };
        let has_neighbour =
            single.get(at + 1) == Some(&true) || at.checked_sub(1).is_some_and(|at| single[at]);
        let is_word = *text == "I" || (*text == "A" && at == 0);
        *is_letter |= single[at] && (has_neighbour || !is_word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words with spaces between them, letters with a degree sign, marks as they are.
    fn said(sentence: &str) -> String {
        let shown = tokens(sentence).into_iter().map(|token| match token {
            Token::Word { text, is_letter: true } => format!("{text}°"),
            Token::Word { text, .. } => text,
            Token::Mark(mark) => mark.to_string(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_keep_their_apostrophes_and_hyphens() {
        assert_eq!(said("It’s Anna's well-known dog, isn't it?"), "It's Anna's well-known dog , isn't it ?");
        assert_eq!(said("\"Hello,\" (he said) – and left..."), "Hello , he said — and left .");
    }

    #[test]
    fn letters_are_spelled_where_they_stand_together_or_cannot_be_words() {
        assert_eq!(said("Invoice I N V T C is paid"), "Invoice I° N° V° T° C° is paid");
        assert_eq!(said("A dog and I sat in row A"), "A dog and I sat in row A°");
        assert_eq!(said("At 5 p.m. in the U.S., e.g."), "At five p° m° . in the U° S° . e° g° .");
    }

    #[test]
    fn digits_that_are_left_are_read_out() {
        assert_eq!(said("15,000 and 3.5% of 2nd"), "fifteen thousand and three point five percent of second");
        assert_eq!(said("INV-TC-001"), "I° N° V° T° C° zero zero one");
        assert_eq!(said("-5 or 007"), "minus five or zero zero seven");
    }

    #[test]
    fn addresses_are_read_with_their_signs() {
        assert_eq!(said("ann@example.com"), "ann at example dot com");
        assert_eq!(said("and/or x_y"), "and slash or x underscore y");
    }

    #[test]
    fn titles_lose_their_period_and_pauses_are_not_doubled() {
        assert_eq!(said("Dr. Who?!"), "Doctor Who ?");
        assert_eq!(said("One (or two), three"), "One , or two , three");
        assert_eq!(said("… - !"), "");
    }
}
