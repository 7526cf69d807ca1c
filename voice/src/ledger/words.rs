//! How long the words of a text take to say, compared with each other.

use crate::speakable::speakable;

/// One syllable, in parts.
const SYLLABLE: u32 = 10;
/// What each word takes beside its syllables.
const WORD: u32 = 2;
/// The pause after a comma, and after a sentence.
const COMMA: u32 = 8;
const SENTENCE: u32 = 16;
/// One part at an ordinary pace, in ms: about five syllables a second with their words and pauses.
pub(super) const MS_PER_PART: f64 = 17.0;

/// A word as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Where it ends in its text, in bytes.
    pub end: usize,
    /// All parts through the end of it.
    pub through: u32,
}

/// The words of `written`, each with how far the voice is when it has said it.
pub(super) fn words(written: &str, language: &str) -> Vec<Word> {
    let (mut found, mut through, mut at, mut in_code) = (Vec::new(), 0, 0, false);
    for line in written.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        for (end, word) in split(line) {
            let said = word.split("](").next().unwrap_or_default();
            through += if is_fence || in_code { 0 } else { parts(said, language) };
            found.push(Word { end: at + end, through });
        }
        at += line.len();
    }
    found
}

/// Words with their ends. Scripts without spaces go character by character.
fn split(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, next) in line.char_indices() {
        if next.is_whitespace() {
            found.extend(start.take().map(|start| (at, &line[start..at])));
        } else if is_wide(next) {
            found.extend(start.take().map(|start| (at, &line[start..at])));
            found.push((at + next.len_utf8(), &line[at..at + next.len_utf8()]));
        } else {
            start.get_or_insert(at);
        }
    }
    found.extend(start.map(|start| (line.len(), &line[start..])));
    found
}

/// Chinese, Japanese and Korean.
fn is_wide(character: char) -> bool {
    ('\u{2e80}'..'\u{a000}').contains(&character) || ('\u{ac00}'..'\u{d7b0}').contains(&character)
}

fn parts(word: &str, language: &str) -> u32 {
    let spoken = speakable(word, language);
    let said: u32 = spoken.split_whitespace().map(|word| WORD + SYLLABLE * syllables(word)).sum();
    let pauses: u32 = spoken.chars().map(pause).sum();
    said + pauses
}

fn pause(mark: char) -> u32 {
    match mark {
        ',' | ';' | ':' => COMMA,
        '.' | '!' | '?' => SENTENCE,
        _ => 0,
    }
}

/// Groups of vowels; a silent e at the end is none. Right enough to compare words.
fn syllables(word: &str) -> u32 {
    let letters: Vec<char> = word.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let is_vowel = |letter: &char| "aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿ".contains(*letter);
    let mut groups = 0;
    for (at, letter) in letters.iter().enumerate() {
        let begins = is_vowel(letter) && !(at > 0 && is_vowel(&letters[at - 1]));
        groups += u32::from(begins);
    }
    let silent_e = groups > 1
        && letters.ends_with(&['e'])
        && !letters.ends_with(&['l', 'e'])
        && letters.len() > 2
        && !is_vowel(&letters[letters.len() - 2]);
    let digits = letters.iter().filter(|c| c.is_numeric()).count() as u32;
    if letters.is_empty() { 0 } else { (groups - u32::from(silent_e) + digits).max(1) }
}
