//! VendorA's API.
//!
//! `POST /vendor_a/v1/generate` with `Authorization: Bearer <any key>`:
//! ```json
//! {"model": "vendor-a-1", "system": "…", "max_tokens": 512, "stream": false,
//!  "turns": [
//!    {"role": "user", "text": "…"},
//!    {"role": "assistant", "text": "…", "calls": [{"id": "…", "tool": "invoice_lookup", "input": {"invoice_id": "…"}}]},
//!    {"role": "tool", "call_id": "…", "tool": "invoice_lookup", "text": "…", "failed": false}],
//!  "tools": [{"name": "…", "description": "…", "input_schema": {}}]}
//! ```
//! Only `model` and `turns` are required. The answer, `stop` being `end`, `call` or `length`:
//! ```json
//! {"id": "gen_…", "model": "vendor-a-1", "text": "…", "calls": [{"id": "…", "tool": "…", "input": {}}],
//!  "stop": "end", "usage": {"input_tokens": 12, "output_tokens": 9}}
//! ```
//! With `"stream": true`, server-sent events: `start {id, model}`, `text {text}` per token, `call {id, tool,
//! input}` per call, `end {stop, usage}`; one that fails
//! while it streams says `error {code, message}`. Errors, at any status: `{"error": {"code": "…", "message": "…"}}`.

use std::borrow::Cow;

use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::conversation::{Conversation, PastCall, Turn};
use super::format::{self, Asked, Received, Refusal, Reply, write_json};
use super::sse::event;
use super::vendor_name::VendorName;

pub(super) struct Format;

impl format::Format for Format {
    const VENDOR: VendorName = VendorName::A;

    fn has_model(name: &str) -> bool {
        name.starts_with("vendor-a")
    }

    fn key<'a>(received: &'a Received<'_>) -> Option<&'a str> {
        received.bearer()
    }

    fn read<'a>(received: &Received<'a>) -> Result<(Self, Asked<'a>), Refusal> {
        let request: Request = serde_json::from_slice(received.body)?;
        let asked = Asked {
            model: request.model,
            stream: request.stream,
            max_tokens: request.max_tokens,
            conversation: Conversation {
                system: request.system,
                turns: request.turns.into_iter().map(Turn::from).collect(),
                tools: request.tools.into_iter().map(|tool| tool.name).collect(),
            },
        };
        Ok((Self, asked))
    }

    fn whole(&self, reply: &Reply<'_>) -> Bytes {
        let mut bytes = Vec::with_capacity(512);
        write_json(
            &mut bytes,
            &Whole {
                id: id(reply),
                model: reply.model,
                text: &reply.answer.text,
                calls: calls(reply).collect(),
                stop: stop(reply),
                usage: usage(reply),
            },
        );
        bytes.into()
    }

    fn pieces(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let mut pieces = vec![event("start", &Start { id: id(reply), model: reply.model })];
        pieces.extend(reply.answer.text_tokens().map(|text| event("text", &Text { text })));
        pieces.extend(calls(reply).map(|call| event("call", &call)));
        pieces.push(event("end", &End { stop: stop(reply), usage: usage(reply) }));
        pieces
    }

    fn stream_error(&self) -> Bytes {
        event("error", &json!({"code": "failed", "message": format::TOLD_TO_FAIL}))
    }

    fn error(status: StatusCode, message: &str, _retry_after: Option<u64>) -> Bytes {
        let code = match status.as_u16() {
            400 => "bad_request",
            401 => "bad_key",
            404 => "no_such_model",
            429 => "too_many_requests",
            503 => "overloaded",
            _ => "failed",
        };
        json!({"error": {"code": code, "message": message}}).to_string().into()
    }
}

fn id(reply: &Reply<'_>) -> String {
    format!("gen_{:016x}", reply.id)
}

fn stop(reply: &Reply<'_>) -> &'static str {
    match (&reply.answer.calls[..], reply.answer.cut) {
        ([_, ..], _) => "call",
        ([], true) => "length",
        ([], false) => "end",
    }
}

fn usage(reply: &Reply<'_>) -> Usage {
    Usage { input_tokens: reply.tokens_in, output_tokens: reply.tokens_out }
}

fn calls<'a>(reply: &'a Reply<'_>) -> impl Iterator<Item = CallOut<'a>> {
    reply.answer.calls.iter().enumerate().map(|(position, call)| CallOut {
        id: reply.call_id(position),
        tool: &call.tool,
        input: &call.arguments,
    })
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow, default)]
    system: Cow<'a, str>,
    #[serde(borrow)]
    turns: Vec<TurnIn<'a>>,
    #[serde(borrow, default)]
    tools: Vec<Tool<'a>>,
    max_tokens: Option<u64>,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    User,
    Assistant,
    Tool,
}

/// All roles' fields in one struct: a tagged enum would have to be buffered before it is read.
#[derive(Deserialize)]
struct TurnIn<'a> {
    role: Role,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    calls: Vec<CallIn<'a>>,
    #[serde(borrow, default)]
    call_id: Cow<'a, str>,
    #[serde(borrow, default)]
    tool: Cow<'a, str>,
    #[serde(default)]
    failed: bool,
}

#[derive(Deserialize)]
struct CallIn<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    tool: Cow<'a, str>,
    input: Value,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl<'a> From<TurnIn<'a>> for Turn<'a> {
    fn from(turn: TurnIn<'a>) -> Self {
        match turn.role {
            Role::User => Self::User(turn.text),
            Role::Assistant => {
                let calls = turn.calls.into_iter();
                let calls = calls
                    .map(|call| PastCall { id: call.id, tool: call.tool, arguments: call.input })
                    .collect();
                Self::Assistant { text: turn.text, calls }
            }
            Role::Tool => Self::ToolResult {
                call_id: turn.call_id,
                tool: turn.tool,
                text: turn.text,
                failed: turn.failed,
            },
        }
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    id: String,
    model: &'a str,
    text: &'a str,
    calls: Vec<CallOut<'a>>,
    stop: &'static str,
    usage: Usage,
}

#[derive(Serialize)]
struct CallOut<'a> {
    id: String,
    tool: &'a str,
    input: &'a Value,
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

#[derive(Serialize)]
struct Start<'a> {
    id: String,
    model: &'a str,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct End {
    stop: &'static str,
    usage: Usage,
}
