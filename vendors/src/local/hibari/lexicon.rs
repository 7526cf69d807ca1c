//! How words are said: a large lexicon, a larger one of lesser quality, endings put to stems, and names of letters.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::super::ModelError;
use super::data::read_json;
use super::stress::{Emphasis, emphasised, spelled};
use super::suffixes::{stems_of_ed, stems_of_ing, stems_of_s, with_ed, with_ing, with_s};

const GOOD: &str = "tts/hibari/lexicon_us_gold.json.gz";
const FAIR: &str = "tts/hibari/lexicon_us_silver.json.gz";
/// The longest word in capitals that is spelled when nobody knows it.
const LONGEST_SPELLED: usize = 5;

pub(super) struct Lexicon {
    good: HashMap<String, Reading>,
    fair: HashMap<String, Reading>,
}

/// How a word is said, which may depend on its part of speech.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reading {
    Always(String),
    /// By tag, by a group of tags, `None` for the end of a sentence, and `DEFAULT`. Null: letter by letter.
    ByTag(HashMap<String, Option<String>>),
}

/// What follows a word, as far as its sound depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Following {
    /// Whether the next sound is a vowel's; `None` before a pause.
    pub(super) vowel: Option<bool>,
    /// Whether the next word is "to".
    pub(super) to: bool,
}

impl Lexicon {
    pub(super) fn load(models_dir: &Path) -> Result<Self, ModelError> {
        Ok(Self { good: read_json(models_dir, GOOD)?, fair: read_json(models_dir, FAIR)? })
    }

    /// A word of letters, apostrophes and perhaps hyphens; `None`: it is not known.
    pub(super) fn say(&self, word: &str, tag: &str, following: Following) -> Option<String> {
        if let Some(said) = function_word(word, tag, following) {
            return Some(said.to_owned());
        }
        if let Some(said) = self.special(word, tag, following) {
            return Some(said);
        }
        let emphasis = emphasis_of(word);
        let known = |word: &str| self.with_endings(word, tag, following);
        let is_capitals = emphasis == Emphasis::Full;
        let said = if is_capitals && !self.good.contains_key(word) {
            let lower = word.to_lowercase();
            // Names in capitals are mostly abbreviations, unless they are words.
            let is_spelled = tag == "NNP" && !self.good.contains_key(&lower);
            if is_spelled { None } else { known(&lower) }
        } else {
            known(word)
        };
        let said = said.map(|said| emphasised(&said, emphasis));
        said.or_else(|| is_capitals.then(|| self.spell_short(word)).flatten())
    }

    /// The name of a letter.
    pub(super) fn letter(&self, letter: char) -> Option<&str> {
        match self.good.get(&letter.to_uppercase().to_string())? {
            Reading::Always(name) => Some(name),
            Reading::ByTag(names) => names.get("DEFAULT")?.as_deref(),
        }
    }

    /// Letter by letter, as one word.
    pub(super) fn spell(&self, word: &str) -> Option<String> {
        let names: Option<Vec<&str>> =
            word.chars().filter(|it| it.is_alphabetic()).map(|letter| self.letter(letter)).collect();
        names.filter(|names| !names.is_empty()).map(|names| spelled(&names))
    }

    fn spell_short(&self, word: &str) -> Option<String> {
        let letters = word.chars().filter(|it| it.is_alphabetic()).count();
        if letters <= LONGEST_SPELLED { self.spell(word) } else { None }
    }

    fn special(&self, word: &str, tag: &str, following: Following) -> Option<String> {
        match word.to_lowercase().as_str() {
            "to" => self.look_up("to", "None", following),
            "am" if following.vowel.is_none() => self.look_up("am", tag, following),
            "used" => {
                let tag = if following.to && ["VBD", "JJ"].contains(&tag) { "VBD" } else { "DEFAULT" };
                self.look_up("used", tag, following)
            }
            _ => None,
        }
    }

    fn with_endings(&self, word: &str, tag: &str, following: Following) -> Option<String> {
        if let Some(said) = self.look_up(word, tag, following) {
            return Some(said);
        }
        let known = |stems: Vec<String>| stems.iter().find_map(|stem| self.look_up(stem, tag, following));
        known(stems_of_s(word))
            .map(|stem| with_s(&stem))
            .or_else(|| known(stems_of_ed(word)).map(|stem| with_ed(&stem)))
            .or_else(|| known(stems_of_ing(word)).map(|stem| with_ing(&stem)))
            .or_else(|| word.strip_suffix('\'').and_then(|word| self.look_up(word, tag, following)))
    }

    /// As it is written, else with its first letter in the other case.
    fn look_up(&self, word: &str, tag: &str, following: Following) -> Option<String> {
        let find = |word: &str| self.good.get(word).or_else(|| self.fair.get(word));
        let reading = find(word).or_else(|| find(&recased(word)?))?;
        match reading {
            Reading::Always(said) => Some(said.clone()),
            Reading::ByTag(by_tag) => {
                let at_end = by_tag.get("None").filter(|_| following.vowel.is_none());
                let said = at_end.or_else(|| by_tag.get(tag)).or_else(|| by_tag.get(group_of(tag)));
                let said = said.or_else(|| by_tag.get("DEFAULT"))?;
                said.clone().or_else(|| self.spell(word))
            }
        }
    }
}

/// Short words that are said in passing, and otherwise than the lexicon has them.
fn function_word(word: &str, tag: &str, following: Following) -> Option<&'static str> {
    let is_capitals = word.len() > 1 && !word.contains(char::is_lowercase);
    match (word.to_lowercase().as_str(), following.vowel) {
        ("a", _) if tag == "DT" => Some("ɐ"),
        ("a", _) => Some("ˈA"),
        ("an", _) if !is_capitals => Some("ɐn"),
        ("i", _) if tag == "PRP" => Some("ˌI"),
        ("am", Some(_)) if word == "am" => Some("ɐm"),
        ("by", _) if group_of(tag) == "ADV" => Some("bˈI"),
        ("the", Some(true)) => Some("ði"),
        ("the", _) => Some("ðə"),
        ("to", Some(true)) => Some("tʊ"),
        ("to", Some(false)) => Some("tə"),
        ("in", None) => Some("ˈɪn"),
        ("in", _) if tag == "IN" => Some("ɪn"),
        ("in", _) => Some("ˈɪn"),
        _ => None,
    }
}

fn emphasis_of(word: &str) -> Emphasis {
    match () {
        () if !word.contains(char::is_uppercase) => Emphasis::Plain,
        () if word.contains(char::is_lowercase) => Emphasis::Some,
        () => Emphasis::Full,
    }
}

/// With a capital for a small first letter, and the other way round.
fn recased(word: &str) -> Option<String> {
    let mut letters = word.chars();
    let first = letters.next()?;
    let rest = letters.as_str();
    if rest.is_empty() || rest.contains(char::is_uppercase) {
        return None;
    }
    let first: String =
        if first.is_uppercase() { first.to_lowercase().collect() } else { first.to_uppercase().collect() };
    Some(first + rest)
}

/// The lexicon groups tags under one name.
fn group_of(tag: &str) -> &str {
    match tag {
        _ if tag.starts_with("VB") => "VERB",
        _ if tag.starts_with("NN") => "NOUN",
        _ if tag.starts_with("RB") => "ADV",
        _ if tag.starts_with("JJ") => "ADJ",
        _ => tag,
    }
}
