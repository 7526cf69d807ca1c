//! Parts of speech (Penn Treebank tags), by which "read" and "record" are told apart: an averaged perceptron, whose
//! features' names are those of the file it comes from.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::super::ModelError;
use super::data::read_json;

const FILE: &str = "tts/hibari/tagger.json.gz";
/// Before and after a sentence.
const BEFORE: [&str; 2] = ["-START2-", "-START-"];
const AFTER: [&str; 2] = ["-END-", "-END2-"];

pub(super) struct Tagger {
    tags: Vec<String>,
    /// Words that are mostly one and the same.
    certain: HashMap<String, String>,
    vocabulary: HashSet<String>,
    /// What each feature says for each tag, by its place in `tags`.
    weights: HashMap<String, Vec<(usize, f32)>>,
}

#[derive(Deserialize)]
struct File {
    tags: Vec<String>,
    tagdict: HashMap<String, String>,
    vocab: HashSet<String>,
    weights: HashMap<String, HashMap<String, f32>>,
}

impl Tagger {
    pub(super) fn load(models_dir: &Path) -> Result<Self, ModelError> {
        let File { tags, tagdict, vocab, weights } = read_json(models_dir, FILE)?;
        let places: HashMap<&str, usize> =
            tags.iter().enumerate().map(|(at, tag)| (tag.as_str(), at)).collect();
        let by_place = |weights: HashMap<String, f32>| {
            weights
                .into_iter()
                .filter_map(|(tag, weight)| Some((*places.get(tag.as_str())?, weight)))
                .collect()
        };
        let weights = weights.into_iter().map(|(feature, weights)| (feature, by_place(weights))).collect();
        Ok(Self { tags, certain: tagdict, vocabulary: vocab, weights })
    }

    /// The tag of each word of a sentence; no word is empty.
    pub(super) fn tags(&self, words: &[&str]) -> Vec<&str> {
        let known = words.iter().map(|word| self.known(word));
        let context: Vec<String> =
            BEFORE.map(str::to_owned).into_iter().chain(known).chain(AFTER.map(str::to_owned)).collect();
        let mut tags: Vec<&str> = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map_or(BEFORE[2 - back], |at| tags[at]);
            let tag = match self.certain.get(*word) {
                Some(tag) => tag,
                None => self.likeliest(&features(at, word, &context[at..at + 5], before(1), before(2))),
            };
            tags.push(tag);
        }
        tags
    }

    /// The word as the weights know it: rare ones by their shape alone.
    fn known(&self, word: &str) -> String {
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        let known = match () {
            () if word.len() > 1 && word[1..].contains('-') && !word.starts_with('-') => "!HYPHEN".to_owned(),
            () if is_number && word.len() == 4 => "!YEAR".to_owned(),
            () if word.starts_with(|first: char| first.is_ascii_digit()) => "!DIGITS".to_owned(),
            () => word.to_lowercase(),
        };
        if self.vocabulary.contains(&known) { known } else { format!("<{}>", shape(word)) }
    }

    fn likeliest(&self, features: &[String]) -> &str {
        let mut scores = vec![0.0; self.tags.len()];
        for (tag, weight) in features.iter().filter_map(|feature| self.weights.get(feature)).flatten() {
            scores[*tag] += weight;
        }
        let best = scores.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
        best.and_then(|(at, _)| self.tags.get(at)).map_or("NN", String::as_str)
    }
}

/// `context`: the word between two on each side.
fn features(
    at: usize,
    word: &str,
    context: &[String],
    tag_before: &str,
    tag_before_that: &str,
) -> [String; 15] {
    let [second_before, before, this, after, second_after] = [0, 1, 2, 3, 4].map(|at| context[at].as_str());
    [
        "b".to_owned(),
        format!("s3={}", ending(word)),
        format!("p1={}", &word[..word.chars().next().map_or(0, char::len_utf8)]),
        format!("w={this}"),
        format!("sh={}", shape(word)),
        (if at == 0 { "i0" } else { "i+" }).to_owned(),
        format!("t-1={tag_before}"),
        format!("t-2={tag_before_that}"),
        format!("t-12={tag_before},{tag_before_that}"),
        format!("w-1={before}"),
        format!("s3-1={}", ending(before)),
        format!("w-2={second_before}"),
        format!("w+1={after}"),
        format!("s3+1={}", ending(after)),
        format!("w+2={second_after}"),
    ]
}

/// The last three letters.
fn ending(word: &str) -> &str {
    let start = word.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
    &word[start..]
}

fn shape(word: &str) -> String {
    let all = |is: fn(char) -> bool| word.chars().all(is);
    let rest = || word.chars().skip(1);
    if all(char::is_alphabetic) {
        let shape = match () {
            () if all(char::is_lowercase) => "x",
            () if all(char::is_uppercase) && rest().next().is_some() => "XX",
            () if all(char::is_uppercase) => "X1",
            () if word.starts_with(char::is_uppercase) && rest().all(char::is_lowercase) => "Xx",
            () => "xX",
        };
        return shape.to_owned();
    }
    if all(|it| it.is_ascii_digit()) {
        return "d".to_owned();
    }
    let sign = |it: char| match () {
        () if it.is_ascii_digit() => 'd',
        () if it.is_alphabetic() => 'x',
        () => it,
    };
    word.chars().take(4).map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_say_what_a_word_looks_like() {
        let shapes = ["word", "Word", "WORD", "W", "iPhone", "2026", "3rd", "o'clock", "."].map(shape);
        assert_eq!(shapes, ["x", "Xx", "XX", "X1", "xX", "d", "dxx", "x'xx", "."]);
        assert_eq!(["a", "word", "größe"].map(ending), ["a", "ord", "öße"]);
    }
}
