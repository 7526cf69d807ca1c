//! A system prompt: text with variables.
//!
//! `{{name}}` stands for a variable, with spaces inside the braces or without. `\{{` is a plain `{{`; a backslash that
//! is wanted before a variable is doubled: `\\{{name}}`. Everywhere else braces and backslashes are what they are.
//!
//! A prompt is read once, when it is saved or loaded, and every mistake is found then. Rendering cannot fail: every
//! variable has a default. A value is put in as it is and never read for variables again.

use std::collections::BTreeMap;
use std::iter::repeat_n;

use events::prompt::PromptSettings;

use crate::Mistake;

/// How many variables a prompt may have.
pub const MAX_VARIABLES: usize = 50;
/// How often a prompt may name variables. With the limit of a value it bounds what can be rendered.
pub const MAX_PLACES: usize = 100;
/// How long a variable's name may be.
pub const MAX_NAME_CHARS: usize = 64;
/// How long one value may be, a default or one that an agent or a session gives.
pub const MAX_VALUE_CHARS: usize = 2_000;

const OPENING: &str = "{{";
const CLOSING: &str = "}}";

/// A prompt that can be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    parts: Vec<Part>,
    /// Every variable that `parts` name, and perhaps more.
    defaults: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Prompt {
    /// What `settings` mean.
    ///
    /// # Errors
    /// All mistakes at once, in the fields `content` and `variables`.
    pub fn of(settings: &PromptSettings) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut wrong = |field: &str, message: String| {
            mistakes.push(Mistake { field: field.to_owned(), message });
        };
        let defaults = &settings.variables;
        if defaults.len() > MAX_VARIABLES {
            wrong("variables", format!("must have at most {MAX_VARIABLES} entries"));
        }
        for (name, value) in defaults {
            let field = format!("variables.{name}");
            if !is_name(name) {
                wrong(&field, format!("must be named by {NAME_RULE}"));
            }
            if value.chars().nth(MAX_VALUE_CHARS).is_some() {
                wrong(&field, format!("must have at most {MAX_VALUE_CHARS} characters"));
            }
        }
        let parts = parsed(&settings.content, &mut |message| wrong("content", message));
        let mut undeclared: Vec<&str> = named(&parts).filter(|name| !defaults.contains_key(*name)).collect();
        undeclared.sort_unstable();
        undeclared.dedup();
        for name in undeclared {
            wrong("content", format!("names {{{{{name}}}}}, which is not among the variables"));
        }
        if named(&parts).count() > MAX_PLACES {
            wrong("content", format!("must name variables at most {MAX_PLACES} times"));
        }
        if mistakes.is_empty() { Ok(Self { parts, defaults: defaults.clone() }) } else { Err(mistakes) }
    }

    /// Whether a value may be given for `name`.
    pub fn declares(&self, name: &str) -> bool {
        self.defaults.contains_key(name)
    }

    /// The names that values may be given for, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.defaults.keys().map(String::as_str)
    }

    /// The text with each variable's value: the first of `values` that has one, else the default. Values for variables
    /// that there are not are passed over.
    pub fn render(&self, values: &[&BTreeMap<String, String>]) -> String {
        let value_of =
            |name: &str| values.iter().copied().chain([&self.defaults]).find_map(|values| values.get(name));
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => value_of(name).cloned().unwrap_or_default(),
        };
        self.parts.iter().map(part).collect()
    }
}

const NAME_RULE: &str = "1 to 64 letters, digits and underscores, not beginning with a digit";

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_CHARS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn named(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Variable(name) => Some(name.as_str()),
    })
}

/// Reads `content` up to its end or its first mistake.
fn parsed(content: &str, wrong: &mut impl FnMut(String)) -> Vec<Part> {
    let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), content);
    while let Some((before, inside)) = rest.split_once(OPENING) {
        let plain = before.trim_end_matches('\\');
        let backslashes = before.len() - plain.len();
        text.push_str(plain);
        text.extend(repeat_n('\\', backslashes / 2));
        if backslashes % 2 == 1 {
            text.push_str(OPENING);
            rest = inside;
            continue;
        }
        let variable = inside.split_once(CLOSING).map(|(name, after)| (name.trim_matches(' '), after));
        let Some((name, after)) = variable.filter(|(name, _)| is_name(name)) else {
            let line = content[..content.len() - inside.len()].lines().count();
            wrong(format!(
                "has a {OPENING} in line {line} that no name and {CLOSING} follow (a name is {NAME_RULE}); \
                 write \\{OPENING} for one that is no variable"
            ));
            return parts;
        };
        parts.push(Part::Text(std::mem::take(&mut text)));
        parts.push(Part::Variable(name.to_owned()));
        rest = after;
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    parts
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
