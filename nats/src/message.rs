//! Between events and NATS messages.

use async_nats::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use events::{BindingError, Entry, Event, Position, binding};

pub(crate) fn headers(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in binding::headers_of(event) {
        headers.insert(name, value);
    }
    headers
}

pub(crate) fn decode(headers: &HeaderMap, payload: &[u8]) -> Result<Event, BindingError> {
    binding::decode(|name| headers.get(name).map(|value| value.as_str()), payload)
}

/// Keeps a message of the log whole, whether it can be read or not.
pub(crate) fn entry(
    position: Position,
    recorded_at: DateTime<Utc>,
    subject: &str,
    headers: &HeaderMap,
    payload: &Bytes,
) -> Entry {
    Entry {
        position,
        recorded_at,
        subject: subject.to_owned(),
        raw_headers: raw_headers(headers),
        raw_payload: payload.clone(),
        event: decode(headers, payload).map_err(|error| reason(&error)),
    }
}

/// The error and its sources in one line.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// The stored headers, sorted by name: a header map has no order of its own to keep.
fn raw_headers(headers: &HeaderMap) -> String {
    let mut lines: Vec<(&str, &str)> = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
        .collect();
    lines.sort_unstable();
    let mut text =
        String::with_capacity(lines.iter().map(|(name, value)| name.len() + value.len() + 3).sum());
    for (name, value) in lines {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push('\n');
    }
    text
}
