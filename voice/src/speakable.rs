//! From written text to the words that a voice says.
//!
//! What comes out has letters, spaces and `,.?!;:'-` only: a voice's phonemes drop anything else.

mod markdown;

/// `text` (of a chat: with Markdown, numbers, addresses) as it is said in `language`. Never drops a digit.
///
/// Languages other than English: marks and emojis go, all else stays as written.
#[must_use]
pub fn speakable(text: &str, language: &str) -> String {
    let _ = language;
    let plain = markdown::plain(text);
    clean(&plain)
}

/// Letters, digits and the punctuation that a voice knows; everything else becomes a pause or nothing.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for next in text.chars() {
        match next {
            '’' | '‘' | '`' => out.push('\''),
            '–' | '—' => out.push_str(", "),
            '…' => out.push_str(". "),
            next if next.is_alphanumeric() || ",.?!;:'-".contains(next) => out.push(next),
            '\u{301}'..='\u{36f}' | '\u{300}' => out.push(next),
            '\u{200d}' | '\u{fe0f}' => {}
            _ => out.push(' '),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}
