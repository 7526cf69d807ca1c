//! From written text to the words that a voice says.
//!
//! What comes out has letters, spaces and `,.?!;:'-` only: a voice's phonemes drop anything else.

mod addresses;
mod english;
mod ids;
mod markdown;
mod measures;
mod money;
mod numbers;
mod phone;
mod short_forms;
mod times;
mod tokens;

/// `text` (of a chat: with Markdown, numbers, addresses) as it is said in `language`, as `en-US`. Never drops a digit; in
/// English there are none left.
///
/// In other languages only marks and emojis go, and numbers stay as they are written: their voices read them.
#[must_use]
pub fn speakable(text: &str, language: &str) -> String {
    let plain = markdown::plain(text);
    let is_english = language.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("en"));
    if is_english { clean(&english::say(&plain)) } else { clean(&plain) }
}

/// Words and single marks of punctuation. Between two characters without space, a mark stays ("3.5", "don't"); otherwise of
/// several only the strongest does.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut mark, mut marks, mut space) = (None, 0, false);
    for next in text.chars().map(plain_mark) {
        if is_spoken(next) {
            let joins = !space && marks == 1;
            match mark.take() {
                Some('-' | '\'') if !joins => out.push(' '),
                Some(mark) if !out.is_empty() => {
                    out.push(mark);
                    if !joins {
                        out.push(' ');
                    }
                }
                _ if space && !out.is_empty() => out.push(' '),
                _ => {}
            }
            (marks, space) = (0, false);
            out.push(next);
        } else if let Some(strength) = strength(next) {
            mark = mark.filter(|mark| self::strength(*mark) >= Some(strength)).or(Some(next));
            marks += 1;
        } else {
            space = true;
        }
    }
    let ends = mark.filter(|mark| !out.is_empty() && !"-'".contains(*mark));
    out.extend(ends);
    out.trim().to_owned()
}

/// Marks of print and of other scripts as those that a voice knows.
fn plain_mark(character: char) -> char {
    match character {
        '’' | '‘' => '\'',
        '–' | '—' | '，' | '、' | '،' => ',',
        '…' | '。' | '।' => '.',
        '！' => '!',
        '？' | '؟' => '?',
        '：' => ':',
        '；' => ';',
        '‑' => '-',
        other => other,
    }
}

fn strength(mark: char) -> Option<usize> {
    "-',:;.!?".find(mark)
}

/// Letters and digits, and the signs that some scripts set on letters.
fn is_spoken(character: char) -> bool {
    character.is_alphanumeric()
        || matches!(character, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{e7f}')
}

#[cfg(test)]
#[path = "speakable_tests.rs"]
mod tests;
