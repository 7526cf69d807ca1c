//! A text as tokens between white space, each with the punctuation around it taken off.

/// What stands before a token's own characters.
const OPENING: [char; 10] = ['(', '[', '{', '"', '\'', '“', '‘', '«', '¿', '¡'];
/// What stands after them.
const CLOSING: [char; 17] =
    ['.', ',', '?', '!', ';', ':', ')', ']', '}', '"', '\'', '”', '’', '»', '…', '—', '–'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub lead: &'a str,
    pub core: &'a str,
    pub tail: &'a str,
}

impl<'a> Token<'a> {
    fn new(text: &'a str) -> Self {
        let after_lead = text.trim_start_matches(OPENING);
        let core = after_lead.trim_end_matches(CLOSING);
        let lead = &text[..text.len() - after_lead.len()];
        Self { lead, core, tail: &after_lead[core.len()..] }
    }

    /// Nothing stands after it, so that the next token may belong to it.
    pub fn goes_on(&self) -> bool {
        self.tail.is_empty()
    }

    pub fn is_capitalized(&self) -> bool {
        self.core.starts_with(char::is_uppercase)
    }
}

pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    text.split_whitespace().map(Token::new).collect()
}

/// A place in a text.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub earlier: &'a [Token<'a>],
    /// This token and those after it: never empty.
    pub tokens: &'a [Token<'a>],
}

impl<'a> Here<'a> {
    pub fn core(&self) -> &'a str {
        self.tokens[0].core
    }

    /// The token after `count` others, if nothing but space lies between them all.
    pub fn after(&self, count: usize) -> Option<Token<'a>> {
        let between = self.tokens.get(..count)?;
        let joined = between.iter().all(Token::goes_on);
        self.tokens.get(count).copied().filter(|next| joined && next.lead.is_empty())
    }

    pub fn before(&self) -> Option<Token<'a>> {
        self.earlier.last().copied()
    }

    /// The token next to this one, whatever is between.
    pub fn next(&self) -> Option<Token<'a>> {
        self.tokens.get(1).copied()
    }

    pub fn follows(&self, words: &[&str]) -> bool {
        self.before().is_some_and(|before| words.contains(&before.core.to_lowercase().as_str()))
    }
}

/// What the first tokens of a place are when said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub words: String,
    pub tokens: usize,
    /// The full stop after it belongs to a short form and ends nothing.
    pub swallows_stop: bool,
}

impl Said {
    pub fn one(words: String) -> Option<Self> {
        Self::several(words, 1)
    }

    pub fn several(words: String, tokens: usize) -> Option<Self> {
        Some(Self { words, tokens, swallows_stop: false })
    }
}
