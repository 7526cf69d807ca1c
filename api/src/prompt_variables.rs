//! Values that an agent or a session gives to variables of a prompt.

use std::collections::BTreeMap;

use domain::prompt::MAX_VALUE_CHARS;
use events::prompt::PromptSettings;

use crate::validation::Mistakes;

pub(crate) const FIELD: &str = "prompt_variables";
/// All names and values together.
const MAX_BYTES: usize = 16 * 1_024;

/// Each must be declared by the prompt and be of a length that can be told to a model.
pub(crate) fn check(given: &BTreeMap<String, String>, prompt: &PromptSettings, mistakes: &mut Mistakes) {
    for (name, value) in given {
        let field = format!("{FIELD}.{name}");
        if prompt.variables.contains_key(name) {
            mistakes.check_text(&field, value, MAX_VALUE_CHARS);
        } else {
            let declared: Vec<&str> = prompt.variables.keys().map(String::as_str).collect();
            let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
            mistakes.add(&field, format_args!("is no variable of the agent's prompt; there are: {declared}"));
        }
    }
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_BYTES {
        mistakes.add(FIELD, format_args!("must have at most {MAX_BYTES} bytes"));
    }
}
