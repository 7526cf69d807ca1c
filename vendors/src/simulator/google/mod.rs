//! Gemini: `POST /google/{v1,v1beta}/models/{model}:generateContent` and `:streamGenerateContent`, with
//! `x-goog-api-key` or `?key=`, and models `gemini-…`.
//!
//! A stream is server-sent events with `?alt=sse`, else one JSON array that grows; it has no other end than its
//! last `finishReason`, which is `STOP` for calls too. Fields may be written in camel or snake case.
//!
//! The first `functionCall` part of a reply has a `thoughtSignature`, which later requests must give back on the
//! same part. As with the real one, a missing one is forgiven in turns before the user's last message, and
//! `skip_thought_signature_validator` stands for the calls that another vendor's model made.
//!
//! **Refused with 400**, as the real one does: roles but `user` and `model`; contents and parts without
//! anything; unknown fields of a request, a part or a function declaration; schemas in `parameters` with words
//! that are not of OpenAPI 3.0 (`parametersJsonSchema` takes any), or both of these; `args` and `response` that
//! are no objects; a call that does not follow a user's content; calls that the next content does not answer,
//! each with one `functionResponse`; signatures as above. A request without a key gets 403. Errors: `{"error":
//! {"code": 429, "message": "…", "status": "RESOURCE_EXHAUSTED", "details": []}}`; the time to wait is in
//! `details`, in a `RetryInfo`.

mod reply;
mod request;
mod signature;
mod tools;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Simulator;
use super::format::{self, Asked, Received, Refusal, Reply};
use super::serve::{models, serve};
use super::sse;
use super::vendor_name::VendorName;

pub(super) fn routes() -> Router<Arc<Simulator>> {
    let version = Router::new()
        .route("/models/{model_and_method}", post(serve::<Format>))
        .route("/models", get(models::<Format>));
    Router::new().nest("/google/v1", version.clone()).nest("/google/v1beta", version)
}

/// How a stream is written.
enum Format {
    Events,
    Array,
}

impl format::Format for Format {
    const VENDOR: VendorName = VendorName::Google;
    const KEYLESS: StatusCode = StatusCode::FORBIDDEN;
    const RETRY_AFTER_HEADER: bool = false;

    fn key<'a>(received: &'a Received<'_>) -> Option<&'a str> {
        let in_query = || query(received, "key").filter(|key| !key.is_empty());
        received.header("x-goog-api-key").or_else(in_query)
    }

    fn has_model(name: &str) -> bool {
        name.starts_with("gemini-")
    }

    fn read<'a>(received: &Received<'a>) -> Result<(Self, Asked<'a>), Refusal> {
        let (_, model_and_method) = received.uri.path().rsplit_once('/').unwrap_or_default();
        let (model, method) = model_and_method.split_once(':').unwrap_or((model_and_method, ""));
        let stream = match method {
            "generateContent" => false,
            "streamGenerateContent" => true,
            _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such method")),
        };
        let format = if query(received, "alt") == Some("sse") { Self::Events } else { Self::Array };
        Ok((format, request::read(received.body, model, stream)?))
    }

    fn stream_content_type(&self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Array => "application/json; charset=UTF-8",
        }
    }

    fn whole(&self, reply: &Reply<'_>) -> Bytes {
        reply::whole(reply).to_string().into()
    }

    fn pieces(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let chunks = reply::chunks(reply);
        match self {
            Self::Events => chunks.iter().map(sse::data).collect(),
            Self::Array => {
                let before = ["["].into_iter().chain(std::iter::repeat(",\r\n"));
                let chunks = before.zip(chunks).map(|(before, chunk)| format!("{before}{chunk}").into());
                chunks.chain([Bytes::from_static(b"]")]).collect()
            }
        }
    }

    fn stream_error(&self) -> Bytes {
        let error = error(StatusCode::SERVICE_UNAVAILABLE, format::TOLD_TO_FAIL, None);
        match self {
            Self::Events => sse::data(&error),
            Self::Array => format!(",\r\n{error}]").into(),
        }
    }

    fn error(status: StatusCode, message: &str, retry_after: Option<u64>) -> Bytes {
        error(status, message, retry_after).to_string().into()
    }
}

impl format::Catalogue for Format {
    fn models() -> Value {
        let methods = ["generateContent", "streamGenerateContent"];
        json!({"models": [{"name": "models/gemini-simulated", "supportedGenerationMethods": methods}]})
    }
}

/// A query parameter as it is written.
fn query<'a>(received: &Received<'a>, name: &str) -> Option<&'a str> {
    let mut pairs = received.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

fn error(status: StatusCode, message: &str, retry_after: Option<u64>) -> Value {
    let name = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    let mut error = json!({"code": status.as_u16(), "message": message, "status": name});
    if let (Some(seconds), 429 | 503) = (retry_after, status.as_u16()) {
        error["details"] = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s")}]);
    }
    json!({"error": error})
}
