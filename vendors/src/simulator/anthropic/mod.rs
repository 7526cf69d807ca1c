//! Anthropic's messages: `POST /anthropic/v1/messages` with `x-api-key` or a Bearer, any `anthropic-version`
//! and a model `claude-…`.
//!
//! A stream is `message_start`, `ping`, then `content_block_start`, `content_block_delta`s and
//! `content_block_stop` of each block, `message_delta` with the stop reason and the usage of the whole message,
//! `message_stop`. A tool's input comes as pieces of JSON, the first of them empty. A stream that fails says
//! `error`.
//!
//! **Refused with 400**, as the real one does: no `anthropic-version` or no `max_tokens`; roles but `user` and
//! `assistant`; a first message of the assistant; messages, but for a last one of the assistant, and texts
//! without content; an `input` or a tool's `input_schema` that is no object; ids and tools' names with other
//! characters than `[a-zA-Z0-9_-]`; a `tool_use` that the very next message does not answer with its
//! `tool_result`, results after other blocks, and results of calls that the message before did not make.
//! Messages of one role in a row are taken for one. Errors: `{"type": "error", "error": {"type": "…",
//! "message": "…"}, "request_id": null}`.

mod reply;
mod request;

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

const MODEL: &str = "claude-simulated";

pub(super) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/anthropic/v1/messages", post(serve::<Format>))
        .route("/anthropic/v1/models", get(models::<Format>))
}

struct Format;

impl format::Format for Format {
    const VENDOR: VendorName = VendorName::Anthropic;

    fn key<'a>(received: &'a Received<'_>) -> Option<&'a str> {
        received.header("x-api-key").or_else(|| received.bearer())
    }

    fn has_model(name: &str) -> bool {
        name.starts_with("claude-")
    }

    fn read<'a>(received: &Received<'a>) -> Result<(Self, Asked<'a>), Refusal> {
        if received.header("anthropic-version").is_none() {
            return Err(Refusal::bad("anthropic-version: header is required"));
        }
        Ok((Self, request::read(received.body)?))
    }

    fn stream_content_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    fn whole(&self, reply: &Reply<'_>) -> Bytes {
        reply::whole(reply)
    }

    fn pieces(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        reply::pieces(reply)
    }

    fn stream_error(&self) -> Bytes {
        // Not a status that could have been known before the stream began.
        sse::event(
            "error",
            &json!({"type": "error", "error": {"type": "overloaded_error",
            "message": format::TOLD_TO_FAIL}}),
        )
    }

    fn error(status: StatusCode, message: &str, _retry_after: Option<u64>) -> Bytes {
        let kind = match status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        let error = json!({"type": kind, "message": message});
        json!({"type": "error", "error": error, "request_id": null}).to_string().into()
    }
}

impl format::Catalogue for Format {
    fn models() -> Value {
        let model = json!({"type": "model", "id": MODEL, "display_name": "Simulated",
            "created_at": "1970-01-01T00:00:00Z"});
        json!({"data": [model], "has_more": false, "first_id": MODEL, "last_id": MODEL})
    }
}
