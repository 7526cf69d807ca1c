//! Where a text may be cut.

use super::abbreviations::{Stop, starts_sentences, stop_after};

/// How good a place is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Sentence,
    Clause,
    /// Before "and", "because" and the like.
    Conjunction,
    /// Between two words, neither of which is part of a number.
    Word,
}

/// A place to cut; what follows begins at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boundary {
    pub at: usize,
    pub kind: Kind,
}

const CONJUNCTIONS: [&str; 17] = [
    "and", "but", "or", "because", "so", "which", "who", "while", "although", "though", "if", "when",
    "unless", "until", "since", "where", "whereas",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// They end a sentence without a space after them.
const WIDE_ENDS: [char; 3] = ['。', '！', '？'];
const CLOSING: [char; 12] = ['"', '\'', ')', ']', '}', '*', '_', '`', '”', '’', '»', '」'];
const OPENING: [char; 11] = ['"', '\'', '(', '[', '{', '*', '_', '`', '“', '‘', '«'];

/// All places in `text` that are certain whatever follows it (`ended`: nothing does), in order.
pub(super) fn boundaries(text: &str, ended: bool) -> Vec<Boundary> {
    let mut found = Vec::new();
    let mut token_start = 0;
    let mut line = Line::default();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if line.is_new && at == token_start && rest.starts_with("```") {
            // A block of code is never cut, and what is in it ends nothing.
            let Some(end) = fence_end(rest) else { return found };
            at += end;
            token_start = at;
            if at < text.len() {
                found.push(Boundary { at, kind: Kind::Sentence });
            }
            line = Line::default();
            continue;
        }
        let Some(next) = rest.chars().next() else { break };
        if next.is_whitespace() {
            let gap_end = at + (rest.len() - rest.trim_start().len());
            if gap_end == text.len() {
                return found;
            }
            let place = Place {
                before: &text[token_start..at],
                gap: &text[at..gap_end],
                after: &text[gap_end..],
                ended,
                line,
            };
            match place.kind() {
                Verdict::Is(_) if place.before.is_empty() => {}
                Verdict::Is(kind) => found.push(Boundary { at: gap_end, kind }),
                Verdict::No => {}
                Verdict::NotKnownYet => return found,
            }
            if place.gap.contains('\n') {
                line = Line::default();
            } else {
                line.is_new = false;
                line.previous_ends_with_digit = place.before.ends_with(|c: char| c.is_ascii_digit());
            }
            at = gap_end;
            token_start = at;
            continue;
        }
        line.see(next);
        at += next.len_utf8();
        let follows = text[at..].chars().next();
        let wide_end = WIDE_ENDS.contains(&next)
            && follows.is_some_and(|next| {
                !next.is_whitespace() && !CLOSING.contains(&next) && !WIDE_ENDS.contains(&next)
            });
        if wide_end {
            found.push(Boundary { at, kind: Kind::Sentence });
            token_start = at;
        }
    }
    found
}

/// Whether `text`, if nothing follows, ends with a whole sentence.
pub(super) fn ends_a_sentence(text: &str) -> bool {
    let last = text.split_whitespace().next_back().unwrap_or_default().trim_end_matches(CLOSING);
    let open_fence = text.matches("```").count() % 2 == 1;
    let stop = |word: &str| !matches!(stop_after(word.trim_start_matches(OPENING)), Stop::Short);
    !open_fence
        && match last.strip_suffix('.') {
            Some(word) => !word.is_empty() && !word.chars().all(|c| c.is_ascii_digit()) && stop(word),
            None => last.ends_with(['!', '?', '…', ':', '。', '！', '？']),
        }
}

/// The end of the block of code that `text` begins with, with its line; `None`: not seen yet.
fn fence_end(text: &str) -> Option<usize> {
    let opened = text.find("```")? + 3;
    let closed = opened + text[opened..].find("\n```")? + 4;
    Some(closed + text[closed..].find('\n')? + 1)
}

/// What is open on the line so far.
#[derive(Debug, Clone, Copy)]
struct Line {
    is_new: bool,
    in_brackets: bool,
    in_code: bool,
    previous_ends_with_digit: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self { is_new: true, in_brackets: false, in_code: false, previous_ends_with_digit: false }
    }
}

impl Line {
    fn see(&mut self, next: char) {
        match next {
            '[' => self.in_brackets = true,
            ']' => self.in_brackets = false,
            '`' => self.in_code = !self.in_code,
            _ => {}
        }
    }
}

enum Verdict {
    Is(Kind),
    No,
    NotKnownYet,
}

/// White space between two tokens.
struct Place<'a> {
    before: &'a str,
    gap: &'a str,
    /// The rest of the text: never empty.
    after: &'a str,
    ended: bool,
    line: Line,
}

impl Place<'_> {
    fn kind(&self) -> Verdict {
        if !self.ended && self.after.trim_start_matches(OPENING).is_empty() {
            return Verdict::NotKnownYet;
        }
        let core = self.before.trim_end_matches(CLOSING);
        if self.gap.contains('\n') {
            let goes_on = self.gap.matches('\n').count() == 1
                && !self.after.starts_with("```")
                && (core.ends_with(',')
                    || (self.next().is_lowercase() && !core.ends_with(['.', '!', '?', ':'])));
            return Verdict::Is(if goes_on { Kind::Clause } else { Kind::Sentence });
        }
        if self.line.in_brackets || self.line.in_code {
            return Verdict::No;
        }
        match core.chars().next_back() {
            Some('.') => self.after_stop(core),
            Some('!' | '?') if self.next().is_lowercase() => Verdict::Is(Kind::Clause),
            Some('!' | '?' | '。' | '！' | '？') => Verdict::Is(Kind::Sentence),
            Some('…') => {
                Verdict::Is(if self.next().is_lowercase() { Kind::Clause } else { Kind::Sentence })
            }
            Some(',') => self.after_comma(core.trim_end_matches(',')),
            Some(';' | ':') => Verdict::Is(Kind::Clause),
            Some('—' | '–') if core.chars().count() > 1 => Verdict::Is(Kind::Clause),
            Some('—' | '–' | '-') if core.chars().count() == 1 => {
                let between_digits = self.line.previous_ends_with_digit && self.next().is_ascii_digit();
                if between_digits || self.line.is_new { Verdict::No } else { Verdict::Is(Kind::Clause) }
            }
            _ => self.between_words(),
        }
    }

    fn after_stop(&self, core: &str) -> Verdict {
        let next = self.next();
        let word = core.trim_end_matches('.').trim_start_matches(OPENING);
        if core.ends_with("..") {
            return Verdict::Is(if next.is_lowercase() { Kind::Clause } else { Kind::Sentence });
        }
        let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        if is_number && self.line.is_new {
            return Verdict::No;
        }
        match stop_after(word) {
            Stop::Short => Verdict::No,
            Stop::ShortBeforeNumbers if next.is_ascii_digit() || next == '#' => Verdict::No,
            Stop::Either if next.is_lowercase() || next.is_ascii_digit() => Verdict::No,
            Stop::Either => match self.word_after() {
                Some(word) if starts_sentences(word) => Verdict::Is(Kind::Sentence),
                Some(_) => Verdict::No,
                None => Verdict::NotKnownYet,
            },
            _ if next.is_lowercase() && word.chars().count() < 5 => Verdict::No,
            _ if next.is_lowercase() => Verdict::Is(Kind::Clause),
            Stop::End | Stop::ShortBeforeNumbers => Verdict::Is(Kind::Sentence),
        }
    }

    fn after_comma(&self, word: &str) -> Verdict {
        let in_a_number = word.ends_with(|c: char| c.is_ascii_digit()) && self.next().is_ascii_digit();
        let in_a_date = WEEKDAYS.contains(&word.to_lowercase().as_str());
        if in_a_number || in_a_date { Verdict::No } else { Verdict::Is(Kind::Clause) }
    }

    fn between_words(&self) -> Verdict {
        let Some(after) = self.word_after() else { return Verdict::NotKnownYet };
        let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
        let is_word = |word: &str| word.chars().next().is_some_and(char::is_alphabetic);
        if has_digit(self.before)
            || has_digit(after)
            || !is_word(after)
            || !self.before.ends_with(char::is_alphanumeric)
        {
            Verdict::No
        } else if CONJUNCTIONS.contains(&after) {
            Verdict::Is(Kind::Conjunction)
        } else {
            Verdict::Is(Kind::Word)
        }
    }

    /// The first character that says something, opening marks passed over.
    fn next(&self) -> char {
        let said = self.after.trim_start_matches(OPENING);
        said.chars().next().or_else(|| self.after.chars().next()).unwrap_or(' ')
    }

    /// The next word, once it is whole.
    fn word_after(&self) -> Option<&str> {
        let word = self.after.split(char::is_whitespace).next().unwrap_or_default();
        (self.ended || word.len() < self.after.len()).then_some(word)
    }
}
