//! JSON merge patch (RFC 7396), field by field.

use serde::{Deserialize, Deserializer};

/// Left out (`None`), `null` (`Some(None)`), or a value.
pub(crate) type Sent<T> = Option<Option<T>>;

pub(crate) fn sent<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Sent<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What was sent, put over what is.
pub(crate) fn or<T: Clone>(sent: Sent<T>, current: &T, default: impl FnOnce() -> T) -> T {
    match sent {
        None => current.clone(),
        Some(None) => default(),
        Some(Some(value)) => value,
    }
}
