//! Markdown as models write it, without its marks. What cannot be read aloud is left out: blocks of code, rules, images.

/// `text` in plain words. A line that ends without punctuation gets a full stop, so that a voice pauses.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_fence = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        if content.starts_with("```") || content.starts_with("~~~") {
            in_fence = !in_fence && !content[3..].contains("```");
            continue;
        }
        if in_fence || is_rule(content) {
            continue;
        }
        let said = inline(&unmarked(content));
        let said = said.trim();
        if !said.contains(char::is_alphanumeric) && !said.contains(['°', '%', '&', '+']) {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(said);
        let ends = said
            .trim_end_matches(['"', '\'', ')', '”', '’'])
            .ends_with(['.', '!', '?', ',', ';', ':', '…', '—', '–']);
        if line.ends_with('\n') && !ends {
            out.push('.');
        }
    }
    out
}

/// A line of dashes, stars or underscores; the rule below a table's head.
fn is_rule(line: &str) -> bool {
    line.len() >= 3 && line.chars().all(|c| "-*_=|: ".contains(c))
}

/// The line without what marks it as heading, quotation, list item or table row.
fn unmarked(line: &str) -> String {
    let mut line = line;
    loop {
        let shorter = line.trim_start_matches('>').trim_start();
        let heading = shorter.trim_start_matches('#');
        let shorter =
            if heading.starts_with(' ') || heading.is_empty() { heading.trim_start() } else { shorter };
        let shorter = ["- [ ] ", "- [x] ", "- ", "* ", "+ ", "• ", "– "]
            .iter()
            .find_map(|mark| shorter.strip_prefix(mark))
            .unwrap_or(shorter);
        if shorter == line {
            break;
        }
        line = shorter;
    }
    if line.starts_with('|') && line.ends_with('|') && line.len() > 1 {
        let cells = line.trim_matches('|').split('|').map(str::trim).filter(|cell| !cell.is_empty());
        return cells.collect::<Vec<_>>().join(", ");
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let numbered = line[digits..].strip_prefix(". ").or_else(|| line[digits..].strip_prefix(") "));
    match numbered {
        Some(item) if (1..=3).contains(&digits) => format!("{}, {item}", &line[..digits]),
        _ => line.to_owned(),
    }
}

/// Links by their text, code and emphasis by their words.
fn inline(line: &str) -> String {
    let line = entities(line);
    let mut out = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(next) = rest.chars().next() {
        let linked = match next {
            '!' if rest.starts_with("![") => link(&rest[1..]).map(|(_, after)| ("", after)),
            '[' => link(rest),
            '<' => tag(rest),
            _ => None,
        };
        if let Some((text, after)) = linked {
            out.push_str(&emphasis(text, out.chars().next_back()));
            rest = after;
        } else if matches!(next, '*' | '_' | '~' | '`') {
            let run = rest.len() - rest.trim_start_matches(next).len();
            out.push_str(marks(next, run, out.chars().next_back(), rest[run..].chars().next()));
            rest = &rest[run..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// A link's own words, which have no links in them.
fn emphasis(text: &str, before: Option<char>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches(next).len();
        if matches!(next, '*' | '_' | '~' | '`') {
            out.push_str(marks(next, run, out.chars().next_back().or(before), rest[run..].chars().next()));
            rest = &rest[run..];
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// What is left of a run of marks: a star between numbers is a sign, an underscore in a word joins it.
fn marks(mark: char, run: usize, before: Option<char>, after: Option<char>) -> &'static str {
    let is_inside = |test: fn(char) -> bool| before.is_some_and(test) && after.is_some_and(test);
    match mark {
        '*' if run == 1 && (is_inside(|c| c.is_ascii_digit()) || is_inside(|c| c == ' ')) => "*",
        '_' if is_inside(char::is_alphanumeric) => "_",
        '~' if run == 1 => "~",
        _ => "",
    }
}

/// `[text](target)` at the beginning: the text, and what follows.
fn link(text: &str) -> Option<(&str, &str)> {
    let (words, after) = text.strip_prefix('[')?.split_once("](")?;
    let (_, after) = after.split_once(')')?;
    (!words.contains('[')).then_some((words, after))
}

/// `<https://…>` says its address; other tags say nothing. "a < b" is none.
fn tag(text: &str) -> Option<(&str, &str)> {
    let (inner, after) = text.strip_prefix('<')?.split_once('>')?;
    let is_address = inner.contains("://") || (inner.contains('@') && !inner.contains(' '));
    let is_tag =
        inner.trim_start_matches('/').starts_with(|c: char| c.is_ascii_alphabetic()) && !inner.contains('<');
    if is_address { Some((inner, after)) } else { is_tag.then_some((" ", after)) }
}

fn entities(line: &str) -> String {
    if !line.contains('&') {
        return line.to_owned();
    }
    // The ampersand last, so that nothing is decoded twice.
    let known =
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    known.iter().fold(line.to_owned(), |line, (entity, character)| line.replace(entity, character))
}
