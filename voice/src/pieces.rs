//! From a reply that is still being written to pieces that can be spoken.
//!
//! The first piece is short, so that the agent starts to speak soon; then it goes by sentences. A piece never ends inside
//! what is said in one go: a number, an amount, a time, an address, an abbreviation.

mod abbreviations;
mod boundary;

use std::ops::Range;

use boundary::{Boundary, Kind};

use crate::speakable::speakable;

/// How long pieces are, in characters as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The first piece may end at a clause from here on.
    pub first_min_chars: usize,
    /// The first piece may end before a conjunction from here on.
    pub first_soft_chars: usize,
    /// Shorter sentences are spoken together with the next.
    pub min_chars: usize,
    /// Longer sentences are cut at a clause.
    pub max_chars: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { first_min_chars: 16, first_soft_chars: 48, min_chars: 24, max_chars: 220 }
    }
}

/// A stretch of a reply that is spoken at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands in the reply, in bytes. Pieces follow each other without gap or overlap.
    pub range: Range<usize>,
    /// The reply's own characters.
    pub written: String,
    /// What a voice is given. Empty when there is nothing to say: a table's rule, a block of code, an emoji.
    pub spoken: String,
}

/// Cuts one reply. A reply that starts again from nothing needs a new one.
#[derive(Debug)]
pub struct Pieces {
    config: Config,
    language: String,
    /// Not cut yet.
    rest: String,
    offset: usize,
    nothing_spoken: bool,
}

impl Pieces {
    /// `language` is that of the voice, as `en-US`.
    #[must_use]
    pub fn new(config: Config, language: &str) -> Self {
        Self { config, language: language.to_owned(), rest: String::new(), offset: 0, nothing_spoken: true }
    }

    /// Takes the next characters of the reply; gives the pieces that are certain now, whatever follows. How the reply is
    /// chopped into deltas changes nothing.
    pub fn push(&mut self, delta: &str) -> Vec<Piece> {
        self.rest.push_str(delta);
        self.cut(false)
    }

    /// No more characters for a while (a tool runs, the model hesitates): gives the rest too if it ends like a sentence.
    pub fn pause(&mut self) -> Vec<Piece> {
        if boundary::ends_a_sentence(&self.rest) { self.finish() } else { Vec::new() }
    }

    /// The reply is complete: gives all that is left.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = self.cut(true);
        if !self.rest.is_empty() {
            pieces.push(self.take(self.rest.len()));
        }
        pieces
    }

    fn cut(&mut self, ended: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(end) = self.next_cut(ended) {
            pieces.push(self.take(end));
        }
        pieces
    }

    /// Where the next piece ends, once that is certain.
    fn next_cut(&self, ended: bool) -> Option<usize> {
        let (first, config) = (self.nothing_spoken, &self.config);
        let mut fallback: Option<Boundary> = None;
        for found in boundary::boundaries(&self.rest, ended) {
            let length = self.rest[..found.at].trim().chars().count();
            if length > config.max_chars {
                return Some(fallback.unwrap_or(found).at);
            }
            let ends_here = match found.kind {
                Kind::Sentence => length >= if first { config.first_min_chars } else { config.min_chars },
                Kind::Clause => first && length >= config.first_min_chars,
                Kind::Conjunction => first && length >= config.first_soft_chars,
                Kind::Word => false,
            };
            if ends_here {
                return Some(found.at);
            }
            let may_end_here = found.kind == Kind::Sentence || length >= config.min_chars;
            if may_end_here && fallback.as_ref().is_none_or(|earlier| found.kind <= earlier.kind) {
                fallback = Some(found);
            }
        }
        None
    }

    fn take(&mut self, end: usize) -> Piece {
        let rest = self.rest.split_off(end);
        let written = std::mem::replace(&mut self.rest, rest);
        let spoken = speakable(&written, &self.language);
        self.nothing_spoken &= spoken.is_empty();
        let range = self.offset..self.offset + written.len();
        self.offset = range.end;
        Piece { range, written, spoken }
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
