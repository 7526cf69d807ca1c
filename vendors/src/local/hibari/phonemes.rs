//! From a sentence to the phonemes that the model speaks.
//!
//! Words are read from the last to the first, because how "the" or "to" is said depends on the sound that follows.

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;
use serde::Deserialize;

use super::super::runtime::session;
use super::super::{HIBARI, ModelError};
use super::data::read_json;
use super::lexicon::{Following, Lexicon};
use super::stress::{is_consonant, is_vowel};
use super::tagger::Tagger;
use super::tokens::{Token, Tokens, tokens};

pub(super) struct Reader {
    lexicon: Lexicon,
    tagger: Tagger,
    tokens: Tokens,
    unknown: Unknown,
}

/// The model that guesses how words are said that no lexicon has.
struct Unknown {
    model: Session,
    letters: HashMap<char, i64>,
    phonemes: Vec<String>,
    most_letters: usize,
}

#[derive(Deserialize)]
struct UnknownFile {
    r#in: Vec<char>,
    out: Vec<String>,
    maxlen: usize,
}

impl Reader {
    pub(super) fn load(models_dir: &Path) -> Result<Self, ModelError> {
        Ok(Self {
            lexicon: Lexicon::load(models_dir)?,
            tagger: Tagger::load(models_dir)?,
            tokens: Tokens::load(models_dir)?,
            unknown: Unknown::load(models_dir)?,
        })
    }

    /// Phonemes, with a space between words and the marks that are pauses and tones.
    pub(super) fn read(&mut self, sentence: &str) -> Result<String, ModelError> {
        let tokens = tokens(sentence);
        let tags = self.tags(&tokens);
        let (mut following, mut spoken) = (Following::default(), Vec::with_capacity(tokens.len()));
        for (token, tag) in tokens.iter().zip(tags).rev() {
            match token {
                Token::Mark(mark) => {
                    following = Following::default();
                    spoken.push(mark.to_string());
                }
                Token::Word { text, is_letter } => {
                    let said = self.word(text, *is_letter, &tag, following)?;
                    following = Following {
                        vowel: starts_with_vowel(&said).or(following.vowel),
                        to: text.eq_ignore_ascii_case("to"),
                    };
                    spoken.push(said);
                }
            }
        }
        let mut phonemes = String::new();
        for (at, part) in spoken.iter().rev().filter(|part| !part.is_empty()).enumerate() {
            if at > 0 && part.starts_with(|it: char| it.is_alphabetic() || "ˈˌ".contains(it)) {
                phonemes.push(' ');
            }
            phonemes.push_str(part);
        }
        // Without an end the voice hangs in the air.
        if phonemes.ends_with(char::is_alphabetic) {
            phonemes.push('.');
        }
        // As the voice was taught to write them.
        Ok(phonemes.replace('ɾ', "T").replace('ʔ', "t"))
    }

    /// A tag for each token; a word of several parts has that of its first.
    fn tags(&self, tokens: &[Token]) -> Vec<String> {
        let mut marks = [0; 4];
        let (mut parts, mut first_parts) = (Vec::new(), Vec::new());
        let shown: Vec<String> = tokens
            .iter()
            .map(|token| match token {
                Token::Word { text, .. } => text.clone(),
                Token::Mark(mark) => mark.encode_utf8(&mut marks).to_owned(),
            })
            .collect();
        for text in &shown {
            first_parts.push(parts.len());
            parts.extend(self.tokens.parts(text));
        }
        let tags = self.tagger.tags(&parts);
        first_parts.into_iter().map(|at| tags[at].to_owned()).collect()
    }

    fn word(
        &mut self,
        word: &str,
        is_letter: bool,
        tag: &str,
        following: Following,
    ) -> Result<String, ModelError> {
        if is_letter && let Some(name) = word.chars().next().and_then(|letter| self.lexicon.letter(letter)) {
            return Ok(name.to_owned());
        }
        if let Some(said) = self.lexicon.say(word, tag, following) {
            return Ok(said);
        }
        if !word.contains('-') {
            return self.unknown.guess(word);
        }
        let mut said = Vec::new();
        for part in word.split('-').filter(|part| !part.is_empty()) {
            said.push(match self.lexicon.say(part, tag, following) {
                Some(said) => said,
                None => self.unknown.guess(part)?,
            });
        }
        Ok(said.join(" "))
    }
}

fn starts_with_vowel(phonemes: &str) -> Option<bool> {
    phonemes.chars().find(|it| is_vowel(*it) || is_consonant(*it)).map(is_vowel)
}

impl Unknown {
    fn load(models_dir: &Path) -> Result<Self, ModelError> {
        let [_, _, model, alphabet, ..] = HIBARI;
        let UnknownFile { r#in, out, maxlen } = read_json(models_dir, alphabet)?;
        // Numbers are from 1; 0 is nothing.
        let letters = r#in.into_iter().zip(1..).collect();
        Ok(Self { model: session(models_dir, model)?, letters, phonemes: out, most_letters: maxlen })
    }

    /// Empty for a word in letters that it does not know.
    fn guess(&mut self, word: &str) -> Result<String, ModelError> {
        let letters: Vec<i64> = word
            .chars()
            .filter_map(|letter| self.letters.get(&letter).copied())
            .take(self.most_letters)
            .collect();
        if letters.is_empty() {
            return Ok(String::new());
        }
        let input = Tensor::from_array(([1, letters.len()], letters))?;
        let outputs = self.model.run(ort::inputs! { "chars" => input })?;
        let (_, guesses) = outputs[0].try_extract_tensor::<i64>()?;
        // One guess for each step of time: what is repeated is one phoneme, and 0 is none.
        let (mut phonemes, mut last) = (String::new(), 0);
        for guess in guesses.iter().copied() {
            if guess != last
                && let Some(at) = usize::try_from(guess).ok().and_then(|guess| guess.checked_sub(1))
            {
                phonemes.push_str(self.phonemes.get(at).ok_or(ModelError::Shape)?);
            }
            last = guess;
        }
        Ok(phonemes)
    }
}
