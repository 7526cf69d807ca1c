//! Rows as columns: how a batch is handed to `unnest`.

use std::borrow::Cow;

use events::{AgentId, Entry, Event};
use uuid::Uuid;

/// One column of all rows, as an array parameter.
macro_rules! column {
    ($rows:expr, |$row:ident| $value:expr) => {
        &$rows.iter().map(|$row| $value).collect::<Vec<_>>()[..]
    };
}
pub(crate) use column;

/// The entries that this program can read, with their sequence. The others are the archive's to keep.
pub(crate) fn readable(entries: &[Entry]) -> impl Iterator<Item = (i64, &Event)> {
    entries
        .iter()
        .filter_map(|entry| entry.event.as_ref().ok().map(|event| (big(entry.position.sequence), event)))
}

/// Agents as a parameter.
pub(crate) fn uuids(ids: &[AgentId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}

/// Postgres has no unsigned integers; what does not fit is beyond anything that is counted here.
pub(crate) fn big(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The inverse of [`big`] for a value that was never negative.
pub(crate) fn count(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// The same for a version, which is counted in 32 bits.
pub(crate) fn small(number: i64) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// Postgres has no NUL in text, and one in a vendor's error must not stop a projection: it becomes U+FFFD.
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    if value.as_bytes().contains(&0) {
        Cow::Owned(value.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(value)
    }
}

/// JSON for a column of type `json`.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    #[expect(clippy::expect_used, reason = "plain structs with string keys")]
    serde_json::to_string(value).expect("a plain struct always serialises")
}
