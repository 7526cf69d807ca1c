//! Checking the values of a body, all at once, so that a client learns of every mistake in one answer.

use std::fmt::Display;

use serde_json::Value;

use crate::problem::{FieldError, Problem};

/// Collects what is wrong.
#[derive(Default)]
pub(crate) struct Mistakes(Vec<FieldError>);

impl Mistakes {
    pub(crate) fn add(&mut self, field: &str, message: impl Display) {
        self.0.push(FieldError { field: field.to_owned(), message: message.to_string() });
    }

    /// 1 to `max` characters, not only blanks.
    pub(crate) fn check_required(&mut self, field: &str, text: &str, max: usize) {
        if text.trim().is_empty() {
            self.add(field, "must not be empty");
        }
        self.check_text(field, text, max);
    }

    /// At most `max` characters, and none that a table cannot hold.
    pub(crate) fn check_text(&mut self, field: &str, text: &str, max: usize) {
        if text.chars().nth(max).is_some() {
            self.add(field, format_args!("must have at most {max} characters"));
        }
        self.check_storable(field, text);
    }

    /// Postgres keeps no NUL, in text or JSON.
    pub(crate) fn check_storable(&mut self, field: &str, text: &str) {
        if text.contains('\0') {
            self.add(field, "must not contain the character U+0000");
        }
    }

    /// At most `max_bytes` of JSON, storable throughout.
    pub(crate) fn check_object(
        &mut self,
        field: &str,
        object: &serde_json::Map<String, Value>,
        max_bytes: usize,
    ) {
        let size = serde_json::to_vec(object).map_or(usize::MAX, |json| json.len());
        if size > max_bytes {
            self.add(field, format_args!("must have at most {max_bytes} bytes of JSON"));
        }
        for (name, value) in object {
            self.check_storable(field, name);
            self.check_value(field, value);
        }
    }

    fn check_value(&mut self, field: &str, value: &Value) {
        match value {
            Value::String(text) => self.check_storable(field, text),
            Value::Array(values) => values.iter().for_each(|value| self.check_value(field, value)),
            Value::Object(object) => {
                for (name, value) in object {
                    self.check_storable(field, name);
                    self.check_value(field, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// # Errors
    /// When anything was added.
    pub(crate) fn into_result(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_characters_and_not_bytes() {
        let mut mistakes = Mistakes::default();
        mistakes.check_required("name", &"ü".repeat(200), 200);
        assert!(mistakes.into_result().is_ok());
        let mut mistakes = Mistakes::default();
        mistakes.check_required("name", &"ü".repeat(201), 200);
        assert!(mistakes.into_result().is_err());
    }

    #[test]
    fn blanks_alone_are_empty() {
        let mut mistakes = Mistakes::default();
        mistakes.check_required("name", " \u{a0}\n", 200);
        assert!(mistakes.into_result().is_err());
    }

    #[test]
    fn a_nul_is_found_however_deep() {
        let object = serde_json::json!({"a": [{"b": "x\u{0}"}]});
        let mut mistakes = Mistakes::default();
        mistakes.check_object("metadata", object.as_object().unwrap(), 1_000);
        assert!(mistakes.into_result().is_err());
    }
}
