//! What a vendor's wire format is to the simulator.

use std::borrow::Cow;

use axum::http::header::{self, AsHeaderName};
use axum::http::{HeaderMap, StatusCode, Uri};
use bytes::Bytes;
use serde_json::Value;

use super::conversation::{Answer, Conversation};
use super::vendor_name::VendorName;

/// Why a vendor fails that was told to.
pub(super) const TOLD_TO_FAIL: &str = "the vendor failed, as it was told to";

/// A vendor's wire format, seen from the vendor; a value holds what one request asked of the format alone.
pub(super) trait Format: Sized + Send + 'static {
    const VENDOR: VendorName;
    /// What a request without a key gets.
    const KEYLESS: StatusCode = StatusCode::UNAUTHORIZED;
    /// Whether a failure names the time to wait in its headers; else [`error`](Self::error) does.
    const RETRY_AFTER_HEADER: bool = true;

    /// The key that the request carries; any will do.
    fn key<'a>(received: &'a Received<'_>) -> Option<&'a str>;

    fn has_model(name: &str) -> bool;

    /// # Errors
    /// When the request is not in this format, or breaks the vendor's rules.
    fn read<'a>(received: &Received<'a>) -> Result<(Self, Asked<'a>), Refusal>;

    fn stream_content_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn whole(&self, reply: &Reply<'_>) -> Bytes;

    /// The stream's pieces, about one per token.
    fn pieces(&self, reply: &Reply<'_>) -> Vec<Bytes>;

    /// How a stream that has begun says that it fails.
    fn stream_error(&self) -> Bytes;

    fn error(status: StatusCode, message: &str, retry_after: Option<u64>) -> Bytes;
}

/// A vendor that names its models.
pub(super) trait Catalogue: Format {
    /// The answer of `GET …/models`.
    fn models() -> Value;
}

/// A request as it came.
pub(super) struct Received<'a> {
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Received<'_> {
    /// A header that says something.
    pub(super) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.header(header::AUTHORIZATION)?.strip_prefix("Bearer ")
    }
}

/// What a vendor does not answer, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The request is wrong.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::bad(error.to_string())
    }
}

/// A request, read.
pub(super) struct Asked<'a> {
    pub(super) model: Cow<'a, str>,
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) conversation: Conversation<'a>,
}

/// What is to be written in a vendor's format.
pub(super) struct Reply<'a> {
    /// Of this request, and not of another one even after a restart.
    pub(super) id: u64,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) model: &'a str,
    pub(super) answer: Answer,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
}

impl Reply<'_> {
    pub(super) fn call_id(&self, position: usize) -> String {
        format!("call_{:016x}_{position}", self.id)
    }
}

/// Appends compact JSON. Only maps with keys that are no strings cannot be written, and nothing here has one;
/// the bytes stay as they were then.
pub(super) fn write_json(bytes: &mut Vec<u8>, value: &impl serde::Serialize) {
    let before = bytes.len();
    if serde_json::to_writer(&mut *bytes, value).is_err() {
        bytes.truncate(before);
    }
}
