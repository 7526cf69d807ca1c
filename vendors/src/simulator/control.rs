//! `/_control/{vendor}`: how a vendor behaves from the next request on.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Simulator;
use super::phrases::Phrases;
use super::vendor_name::VendorName;

const MAX_LATENCY_MS: u64 = 600_000;
const MAX_RETRY_AFTER_SECONDS: u64 = 86_400;
const MAX_ANSWERS_BEFORE: u64 = 1_000_000;
/// Of one vendor, with a control of their own.
const MAX_KEYS: usize = 64;

/// A vendor's behaviour. `PUT` takes any of these fields and keeps the others, as in
/// `{"failure_rate": 1, "status": 429, "retry_after": 7}` or `{"mode": "stall_midway"}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Control {
    /// The share of requests in mode `normal` that is answered with `status`, `0.0..=1.0`.
    pub failure_rate: f64,
    /// 400–599.
    pub status: u16,
    /// Waited before every answer.
    pub latency_ms: u64,
    pub mode: Mode,
    /// Seconds, sent as `Retry-After` with every failure; `None` (JSON `null`) sends none. Google says it in the
    /// body of a 429 or 503 (`RetryInfo`) and nowhere else, as the real one does.
    pub retry_after: Option<u64>,
    /// Requests that are answered as in mode `normal`, with no failure, before the rest of this holds; counts down.
    pub answers_before: u64,
}

/// How answers look. Every mode but `normal` holds for every well-formed request, whatever the failure rate.
/// "Half" is half of a stream's pieces, or half of the bytes of a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Normal,
    /// 200 with bytes that are not the vendor's format.
    Garbage,
    /// 200 with a page of HTML, and its content type: what a proxy in between says.
    Html,
    /// Accepts the request and never answers.
    Stall,
    /// Sends half of the answer and then nothing more, on a connection that stays open.
    StallMidway,
    /// Closes the connection in the middle of the answer.
    Drop,
    /// One token of a stream, or one byte of a whole answer, every second.
    SlowDrip,
    /// 200, half of the stream, then the vendor's own error event; a whole answer is the vendor's error body with
    /// status 200.
    StreamError,
    /// 200 and well-formed, with neither text nor calls.
    Empty,
    /// 200 and well-formed, with 10 MiB of text.
    Oversized,
    /// Every tool call's arguments are broken: text that is not JSON where the format carries text, a string
    /// where it carries an object. An answer without a call is as in `normal`.
    BadArguments,
}

impl Mode {
    const ALL: [(&str, Self); 11] = [
        ("normal", Self::Normal),
        ("garbage", Self::Garbage),
        ("html", Self::Html),
        ("stall", Self::Stall),
        ("stall_midway", Self::StallMidway),
        ("drop", Self::Drop),
        ("slow_drip", Self::SlowDrip),
        ("stream_error", Self::StreamError),
        ("empty", Self::Empty),
        ("oversized", Self::Oversized),
        ("bad_arguments", Self::BadArguments),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, mode)| (known == name).then_some(mode))
    }
}

impl Control {
    /// The vendors of the real wire formats answer every request.
    pub(super) const fn steady() -> Self {
        Self {
            failure_rate: 0.0,
            status: 500,
            latency_ms: 0,
            mode: Mode::Normal,
            retry_after: None,
            answers_before: 0,
        }
    }

    /// VendorA fails one request in ten.
    pub const fn vendor_a() -> Self {
        Self {
            failure_rate: 0.1,
            status: 500,
            latency_ms: 0,
            mode: Mode::Normal,
            retry_after: None,
            answers_before: 0,
        }
    }

    /// VendorB is too busy for one request in ten.
    pub const fn vendor_b() -> Self {
        Self {
            failure_rate: 0.1,
            status: 429,
            latency_ms: 0,
            mode: Mode::Normal,
            retry_after: Some(1),
            answers_before: 0,
        }
    }

    /// What holds for the next request.
    pub(super) fn next(&mut self) -> Self {
        let Some(left) = self.answers_before.checked_sub(1) else { return *self };
        self.answers_before = left;
        Self { failure_rate: 0.0, mode: Mode::Normal, ..*self }
    }

    /// The control with the given fields changed; all mistakes at once.
    fn merged(mut self, changes: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        for (field, value) in changes {
            if let Err(message) = self.set(field, value) {
                errors.push(FieldError { field: field.clone(), message });
            }
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    fn set(&mut self, field: &str, value: &Value) -> Result<(), String> {
        match field {
            "failure_rate" => {
                let rate = value.as_f64().filter(|rate| (0.0..=1.0).contains(rate));
                self.failure_rate = rate.ok_or("must be a number from 0 to 1")?;
            }
            "status" => {
                let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
                self.status = status
                    .filter(|status| (400..=599).contains(status))
                    .ok_or("must be an HTTP status from 400 to 599")?;
            }
            "latency_ms" => self.latency_ms = whole(value, MAX_LATENCY_MS)?,
            "mode" => {
                let mode = value.as_str().and_then(Mode::parse);
                self.mode = mode.ok_or_else(|| {
                    format!("must be one of {}", Mode::ALL.map(|(name, _)| name).join(", "))
                })?;
            }
            "retry_after" if value.is_null() => self.retry_after = None,
            "retry_after" => self.retry_after = Some(whole(value, MAX_RETRY_AFTER_SECONDS)?),
            "answers_before" => self.answers_before = whole(value, MAX_ANSWERS_BEFORE)?,
            _ => {
                return Err("unknown field; known are failure_rate, status, latency_ms, mode, retry_after, \
                            answers_before"
                    .to_owned());
            }
        }
        Ok(())
    }
}

fn whole(value: &Value, most: u64) -> Result<u64, String> {
    value
        .as_u64()
        .filter(|number| *number <= most)
        .ok_or_else(|| format!("must be a whole number from 0 to {most}"))
}

#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct FieldError {
    field: String,
    message: String,
}

/// Why `/_control` or `/_log` refused.
pub(super) enum ControlError {
    UnknownVendor(String),
    NoObject,
    Invalid(Vec<FieldError>),
    TooManyKeys,
    BadQuery { field: &'static str, message: &'static str },
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let (status, code, message, errors) = match self {
            Self::UnknownVendor(name) => (
                StatusCode::NOT_FOUND,
                "unknown_vendor",
                format!("there is no vendor {name:?} here"),
                json!([]),
            ),
            Self::NoObject => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_json",
                "the body must be a JSON object".to_owned(),
                json!([]),
            ),
            Self::Invalid(errors) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_control",
                "nothing was changed".to_owned(),
                json!(errors),
            ),
            Self::TooManyKeys => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_many_keys",
                format!("at most {MAX_KEYS} keys of a vendor have a control of their own"),
                json!([]),
            ),
            Self::BadQuery { field, message } => {
                let errors = json!([{"field": field, "message": message}]);
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", format!("{field} {message}"), errors)
            }
        };
        (status, Json(json!({"error": {"code": code, "message": message, "errors": errors}}))).into_response()
    }
}

pub(super) fn vendor(name: String) -> Result<VendorName, ControlError> {
    VendorName::parse(&name).ok_or(ControlError::UnknownVendor(name))
}

#[derive(Deserialize)]
pub(super) struct Of {
    /// Only requests with this API key are meant. Without a control of its own it has the vendor's.
    key: Option<String>,
}

pub(super) async fn show(
    State(simulator): State<Arc<Simulator>>,
    Path(name): Path<String>,
    Query(of): Query<Of>,
) -> Result<Json<Value>, ControlError> {
    let vendor = vendor(name)?;
    let mut state = simulator.state();
    let control = *state.vendors[vendor].control_of(of.key.as_deref());
    Ok(shown(vendor, control, &state.phrases))
}

pub(super) async fn merge(
    State(simulator): State<Arc<Simulator>>,
    Path(name): Path<String>,
    Query(of): Query<Of>,
    body: Bytes,
) -> Result<Json<Value>, ControlError> {
    let vendor = vendor(name)?;
    let mut changes: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|_| ControlError::NoObject)?;
    let phrases = if vendor == VendorName::Speech { changes.remove("phrases") } else { None };
    let phrases = phrases.map(|phrases| Phrases::parse(&phrases)).transpose();
    let phrases = phrases.map_err(|message| {
        ControlError::Invalid(vec![FieldError { field: "phrases".to_owned(), message }])
    })?;
    let mut guard = simulator.state();
    let state = &mut guard.vendors[vendor];
    let control = state.control_of(of.key.as_deref()).merged(&changes).map_err(ControlError::Invalid)?;
    match of.key {
        None => state.control = control,
        Some(key) if state.by_key.len() < MAX_KEYS || state.by_key.contains_key(&key) => {
            state.by_key.insert(key, control);
        }
        Some(_) => return Err(ControlError::TooManyKeys),
    }
    if let Some(phrases) = phrases {
        guard.phrases = phrases;
    }
    Ok(shown(vendor, control, &guard.phrases))
}

pub(super) async fn reset(
    State(simulator): State<Arc<Simulator>>,
    Path(name): Path<String>,
    Query(of): Query<Of>,
) -> Result<Json<Value>, ControlError> {
    let vendor = vendor(name)?;
    let initial = simulator.config.initial_control(vendor);
    let mut guard = simulator.state();
    let state = &mut guard.vendors[vendor];
    match of.key {
        None => {
            state.control = initial;
            state.by_key.clear();
            if vendor == VendorName::Speech {
                guard.phrases = Phrases::default();
            }
        }
        Some(key) => {
            state.by_key.remove(&key);
        }
    }
    let control = guard.vendors[vendor].control;
    Ok(shown(vendor, control, &guard.phrases))
}

/// What callers say belongs to the built-in speech vendor, and is shown with its control.
fn shown(vendor: VendorName, control: Control, phrases: &Phrases) -> Json<Value> {
    let mut shown = json!(control);
    if vendor == VendorName::Speech {
        shown["phrases"] = json!(phrases);
    }
    Json(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_they_are_told() {
        for (name, mode) in Mode::ALL {
            assert_eq!(json!(mode), json!(name));
        }
    }
}
