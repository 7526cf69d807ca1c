//! Thought signatures: what Gemini wants back with its calls.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

/// Follows from the call alone, so that nothing has to be remembered; the order of the arguments is free,
/// because databases change it. Base64, whichever alphabet a client writes it in.
pub(super) fn of(name: &str, arguments: &Map<String, Value>) -> String {
    let mut arguments: Vec<_> = arguments.iter().map(|(name, value)| (name, value.to_string())).collect();
    arguments.sort();
    let mut hasher = DefaultHasher::new();
    (name, arguments).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
