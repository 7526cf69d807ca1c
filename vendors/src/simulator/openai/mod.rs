//! Chat completions, as OpenAI, Groq and DeepSeek speak them; the key is any Bearer.
//!
//! | vendor | path | models | of its own |
//! |---|---|---|---|
//! | `openai` | `/openai/v1/chat/completions` | `gpt-…`, `o…` | `gpt-5…` and `o…` refuse `max_tokens` |
//! | `groq` | `/groq/openai/v1/chat/completions` | `llama-…`, `mixtral-…`, names with a slash | a stream's last chunk with a choice has the usage in `x_groq.usage` |
//! | `deepseek` | `/deepseek/chat/completions`, `/deepseek/v1/chat/completions` | `deepseek-…` | a stream begins with a comment; models with `reasoner` in their name send `reasoning_content` first; there is no role `developer` |
//!
//! Streams are chunks, then `data: [DONE]`. A tool call comes in several deltas of one `index`: id and name in
//! the first, its arguments in the next ones. With `stream_options.include_usage` the last chunk has no choice
//! and the usage.
//!
//! `openai` also hears and speaks, see `audio.rs`.
//!
//! **Refused with 400**, as the real ones do: roles they do not know; no messages, empty `tools` or
//! `tool_calls`; names of tools that are not `[a-zA-Z0-9_-]{1,64}`; ids of calls over 40 characters; a `tool`
//! message that answers no call of the assistant message before it; any other message, or the end, while one
//! of those calls is unanswered; `stream_options` without `stream`. Errors: `{"error": {"message": "…", "type":
//! "…", "param": null, "code": "…"}}`.

mod audio;
mod reply;
mod request;

use std::marker::PhantomData;
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
    Router::new()
        .nest("/openai/v1", vendor::<OpenAi>())
        .route("/openai/v1/audio/transcriptions", post(audio::transcriptions))
        .route("/openai/v1/audio/speech", post(audio::speech))
        .nest("/groq/openai/v1", vendor::<Groq>())
        .nest("/deepseek", vendor::<DeepSeek>())
        .nest("/deepseek/v1", vendor::<DeepSeek>())
}

fn vendor<D: Dialect>() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/chat/completions", post(serve::<Format<D>>))
        .route("/models", get(models::<Format<D>>))
}

/// What the vendors of this format do each in their own way.
trait Dialect: Send + 'static {
    const VENDOR: VendorName;
    const MODELS: [&'static str; 2];
    const HAS_DEVELOPER_ROLE: bool = true;
    const USAGE_IN_X_GROQ: bool = false;
    const KEEPS_ALIVE: bool = false;

    fn has_model(name: &str) -> bool;

    fn takes_max_tokens(_model: &str) -> bool {
        true
    }

    fn shows_reasoning(_model: &str) -> bool {
        false
    }
}

struct OpenAi;

impl Dialect for OpenAi {
    const VENDOR: VendorName = VendorName::OpenAi;
    const MODELS: [&'static str; 2] = ["gpt-simulated", "o-simulated"];

    fn has_model(name: &str) -> bool {
        name.starts_with("gpt-") || name.starts_with('o')
    }

    fn takes_max_tokens(model: &str) -> bool {
        !model.starts_with("gpt-5") && !model.starts_with('o')
    }
}

struct Groq;

impl Dialect for Groq {
    const VENDOR: VendorName = VendorName::Groq;
    const MODELS: [&'static str; 2] = ["llama-simulated", "simulated/mixtral"];
    const USAGE_IN_X_GROQ: bool = true;

    fn has_model(name: &str) -> bool {
        name.starts_with("llama-") || name.starts_with("mixtral-") || name.contains('/')
    }
}

struct DeepSeek;

impl Dialect for DeepSeek {
    const VENDOR: VendorName = VendorName::DeepSeek;
    const MODELS: [&'static str; 2] = ["deepseek-simulated", "deepseek-simulated-reasoner"];
    const HAS_DEVELOPER_ROLE: bool = false;
    const KEEPS_ALIVE: bool = true;

    fn has_model(name: &str) -> bool {
        name.starts_with("deepseek-")
    }

    fn shows_reasoning(model: &str) -> bool {
        model.contains("reasoner")
    }
}

struct Format<D> {
    include_usage: bool,
    dialect: PhantomData<fn() -> D>,
}

impl<D: Dialect> format::Format for Format<D> {
    const VENDOR: VendorName = D::VENDOR;

    fn key<'a>(received: &'a Received<'_>) -> Option<&'a str> {
        received.bearer()
    }

    fn has_model(name: &str) -> bool {
        D::has_model(name)
    }

    fn read<'a>(received: &Received<'a>) -> Result<(Self, Asked<'a>), Refusal> {
        let (include_usage, asked) = request::read::<D>(received.body)?;
        Ok((Self { include_usage, dialect: PhantomData }, asked))
    }

    fn whole(&self, reply: &Reply<'_>) -> Bytes {
        reply::whole::<D>(reply)
    }

    fn pieces(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        reply::pieces::<D>(reply, self.include_usage)
    }

    fn stream_error(&self) -> Bytes {
        sse::data(&error(StatusCode::INTERNAL_SERVER_ERROR, format::TOLD_TO_FAIL))
    }

    fn error(status: StatusCode, message: &str, _retry_after: Option<u64>) -> Bytes {
        error(status, message).to_string().into()
    }
}

impl<D: Dialect> format::Catalogue for Format<D> {
    fn models() -> Value {
        let models =
            D::MODELS.map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "simulator"}));
        json!({"object": "list", "data": models})
    }
}

fn error(status: StatusCode, message: &str) -> Value {
    let (kind, code) = match status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
