//! `/_log/{vendor}`: what a vendor received, so that anybody can compare it with what we say that we sent.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::control::{ControlError, vendor};
use super::format::write_json;
use super::vendor_name::{PerVendor, VendorName};
use super::{Mode, Simulator};

const DROPPED: HeaderName = HeaderName::from_static("x-log-dropped");
/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 200;

/// A ring of requests, bounded by the bytes it holds; the oldest go first.
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
    dropped: PerVendor<u64>,
}

/// One request as it came.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) vendor: VendorName,
    /// Counts a vendor's requests from 1; clearing the log does not start it again.
    pub(super) index: u64,
    pub(super) request_id: Option<Box<str>>,
    pub(super) at: DateTime<Utc>,
    /// `None`, as `stream`, when the request could not be read.
    pub(super) model: Option<Box<str>>,
    pub(super) stream: Option<bool>,
    /// `None` when it is never answered.
    pub(super) status: Option<u16>,
    pub(super) mode: Mode,
    /// A copy of its own: a slice of the connection's buffer would keep the whole of that alive.
    pub(super) body: Bytes,
}

impl Entry {
    fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        ENTRY_BYTES + self.body.len() + text(&self.request_id) + text(&self.model)
    }
}

impl Log {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_bytes, dropped: PerVendor::new(|_| 0) }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.dropped[oldest.vendor] += 1;
        }
    }

    fn clear(&mut self, vendor: VendorName) {
        self.entries.retain(|entry| entry.vendor != vendor);
        self.bytes = self.entries.iter().map(Entry::bytes).sum();
        self.dropped[vendor] = 0;
    }

    fn after(&self, vendor: VendorName, index: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.vendor == vendor && entry.index > index).cloned().collect()
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    after: Option<String>,
    bodies: Option<String>,
}

pub(super) async fn show(
    State(simulator): State<Arc<Simulator>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, ControlError> {
    let vendor = vendor(name)?;
    let after = asked.after.as_deref().unwrap_or("0").parse();
    let after = after.map_err(|_| ControlError::BadQuery { field: "after", message: "must be an index" })?;
    let bodies = asked.bodies.as_deref().unwrap_or("true").parse();
    let bodies =
        bodies.map_err(|_| ControlError::BadQuery { field: "bodies", message: "must be true or false" })?;
    let (entries, dropped) = {
        let state = simulator.state();
        (state.log.after(vendor, after), state.log.dropped[vendor])
    };
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (DROPPED, dropped.to_string())];
    Ok((headers, render(&entries, bodies)).into_response())
}

pub(super) async fn clear(
    State(simulator): State<Arc<Simulator>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ControlError> {
    let vendor = vendor(name)?;
    simulator.state().log.clear(vendor);
    Ok(Json(json!({"deleted": true})))
}

/// An entry as it is shown, but for its body.
#[derive(Serialize)]
struct Shown<'a> {
    index: u64,
    request_id: Option<&'a str>,
    at: String,
    model: Option<&'a str>,
    stream: Option<bool>,
    status: Option<u16>,
    mode: Mode,
}

/// Written by hand, because bodies are JSON already: parsing them again would take many times the log's own
/// size.
fn render(entries: &[Entry], bodies: bool) -> Vec<u8> {
    let body_bytes: usize = if bodies { entries.iter().map(|entry| entry.body.len()).sum() } else { 0 };
    let mut json = Vec::with_capacity(body_bytes + entries.len() * ENTRY_BYTES + 2);
    json.push(b'[');
    for entry in entries {
        if json.len() > 1 {
            json.push(b',');
        }
        let shown = Shown {
            index: entry.index,
            request_id: entry.request_id.as_deref(),
            at: entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            model: entry.model.as_deref(),
            stream: entry.stream,
            status: entry.status,
            mode: entry.mode,
        };
        write_json(&mut json, &shown);
        if bodies {
            // Reopen the object that has just been closed.
            json.pop();
            json.extend_from_slice(b",\"body\":");
            write_body(&mut json, entry);
            json.push(b'}');
        }
    }
    json.push(b']');
    json
}

/// The body as it is where it could be read, else as a string.
fn write_body(json: &mut Vec<u8>, entry: &Entry) {
    let text = String::from_utf8_lossy(&entry.body);
    if entry.model.is_some() {
        json.extend_from_slice(text.as_bytes());
    } else {
        write_json(json, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(vendor: VendorName, index: u64, body_bytes: usize) -> Entry {
        Entry {
            vendor,
            index,
            request_id: None,
            at: DateTime::UNIX_EPOCH,
            model: None,
            stream: None,
            status: Some(200),
            mode: Mode::Normal,
            body: vec![b'x'; body_bytes].into(),
        }
    }

    #[test]
    fn a_full_log_drops_the_oldest_and_counts_them() {
        let mut log = Log::new(3 * (ENTRY_BYTES + 100));
        log.push(entry(VendorName::B, 1, 100));
        for index in 1..=4 {
            log.push(entry(VendorName::A, index, 100));
        }
        let kept: Vec<_> = log.after(VendorName::A, 0).iter().map(|entry| entry.index).collect();
        assert_eq!(kept, [2, 3, 4]);
        assert_eq!((log.dropped[VendorName::A], log.dropped[VendorName::B]), (1, 1));
        assert!(log.bytes <= log.max_bytes);
        log.clear(VendorName::A);
        assert_eq!((log.bytes, log.dropped[VendorName::A], log.dropped[VendorName::B]), (0, 0, 1));
    }

    #[test]
    fn bodies_are_shown_as_they_came() {
        let read =
            Entry { model: Some("m".into()), body: "{\"a\" : 1}".into(), ..entry(VendorName::A, 1, 0) };
        let unread = Entry { body: Bytes::from_static(b"no \"json\" \xff"), ..entry(VendorName::A, 2, 0) };
        let shown: Value = serde_json::from_slice(&render(&[read, unread], true)).unwrap_or_default();
        assert_eq!((&shown[0]["body"], &shown[0]["index"]), (&json!({"a": 1}), &json!(1)));
        assert_eq!((&shown[1]["body"], &shown[1]["model"]), (&json!("no \"json\" \u{fffd}"), &json!(null)));
        let shown: Value =
            serde_json::from_slice(&render(&[entry(VendorName::A, 3, 5)], false)).unwrap_or_default();
        assert_eq!((shown[0].get("body"), &shown[0]["at"]), (None, &json!("1970-01-01T00:00:00.000000Z")));
    }
}
