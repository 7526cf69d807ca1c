//! VendorB's API.
//!
//! `POST /vendor_b/chat` with `x-api-token: <any key>`:
//! ```json
//! {"modelName": "vendor-b-1", "instructions": "…", "options": {"maxTokens": 512, "streaming": false},
//!  "conversation": [
//!    {"speaker": "human", "content": [{"kind": "text", "value": "…"}]},
//!    {"speaker": "bot", "content": [{"kind": "text", "value": "…"},
//!      {"kind": "functionCall", "callId": "…", "functionName": "…", "argumentsJson": "{\"invoice_id\":\"…\"}"}]},
//!    {"speaker": "function", "content": [
//!      {"kind": "functionResult", "callId": "…", "functionName": "…", "output": "…", "isError": false}]}],
//!  "functions": [{"functionName": "…", "summary": "…", "argumentSchema": {}}]}
//! ```
//! Only `modelName` and `conversation` are required. The answer, `finishReason` being `COMPLETE`,
//! `FUNCTION_CALL` or `LENGTH`:
//! ```json
//! {"requestId": "b-…", "result": {"finishReason": "COMPLETE", "message": {"speaker": "bot", "content": []}},
//!  "metering": {"promptTokens": 12, "completionTokens": 9}}
//! ```
//! With `"streaming": true`, one JSON object per line: `{"chunk": {"textDelta": "…"}}` per token, `{"chunk":
//! {"functionCallDelta": {"position": 0, "callId": "…", "functionName": "…", "argumentsPart": "…"}}}` per
//! part of a call (id and name in the first part only), `{"final": {"finishReason": "…", "metering": {}}}`; a
//! vendor that fails while it streams says `{"failure": {"reason": "…"}}`. Errors: `{"errorCode": "…",
//! "errorMessage": "…"}`.

use std::borrow::Cow;

use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::conversation::{Conversation, PastCall, Turn};
use super::format::{self, Asked, Received, Refusal, Reply, write_json};
use super::sse::thirds;
use super::vendor_name::VendorName;

pub(super) struct Format;

impl format::Format for Format {
    const VENDOR: VendorName = VendorName::B;

    fn stream_content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn has_model(name: &str) -> bool {
        name.starts_with("vendor-b")
    }

    fn key<'a>(received: &'a Received<'_>) -> Option<&'a str> {
        received.header("x-api-token")
    }

    fn read<'a>(received: &Received<'a>) -> Result<(Self, Asked<'a>), Refusal> {
        let request: Request = serde_json::from_slice(received.body)?;
        let asked = Asked {
            model: request.model_name,
            stream: request.options.streaming,
            max_tokens: request.options.max_tokens,
            conversation: Conversation {
                system: request.instructions,
                turns: request.conversation.into_iter().flat_map(turns).collect(),
                tools: request.functions.into_iter().map(|function| function.function_name).collect(),
            },
        };
        Ok((Self, asked))
    }

    fn whole(&self, reply: &Reply<'_>) -> Bytes {
        let text = (!reply.answer.text.is_empty()).then_some(PartOut::Text { value: &reply.answer.text });
        let calls = reply.answer.calls.iter().enumerate().map(|(position, call)| PartOut::FunctionCall {
            call_id: reply.call_id(position),
            function_name: &call.tool,
            arguments_json: call.arguments_text(),
        });
        let message = Message { speaker: "bot", content: text.into_iter().chain(calls).collect() };
        let mut bytes = Vec::with_capacity(512);
        let request_id = format!("b-{:016x}", reply.id);
        let result = Outcome { finish_reason: finish_reason(reply), message };
        write_json(&mut bytes, &Answer { request_id, result, metering: metering(reply) });
        bytes.into()
    }

    fn pieces(&self, reply: &Reply<'_>) -> Vec<Bytes> {
        let text = reply.answer.text_tokens().map(|text| line(&Line::Chunk(Chunk::TextDelta(text))));
        let mut pieces: Vec<_> = text.collect();
        for (position, call) in reply.answer.calls.iter().enumerate() {
            let arguments = call.arguments_text();
            for (number, part) in thirds(&arguments).into_iter().enumerate() {
                pieces.push(line(&Line::Chunk(Chunk::FunctionCallDelta(CallDelta {
                    position,
                    call_id: (number == 0).then(|| reply.call_id(position)),
                    function_name: (number == 0).then_some(&call.tool),
                    arguments_part: part,
                }))));
            }
        }
        pieces.push(line(&Line::Final { finish_reason: finish_reason(reply), metering: metering(reply) }));
        pieces
    }

    fn stream_error(&self) -> Bytes {
        format!("{}\n", json!({"failure": {"reason": format::TOLD_TO_FAIL}})).into()
    }

    fn error(status: StatusCode, message: &str, _retry_after: Option<u64>) -> Bytes {
        let code = match status.as_u16() {
            400 => "MALFORMED",
            401 => "UNAUTHENTICATED",
            404 => "UNKNOWN_MODEL",
            429 => "TOO_MANY_REQUESTS",
            503 => "UNAVAILABLE",
            _ => "INTERNAL",
        };
        json!({"errorCode": code, "errorMessage": message}).to_string().into()
    }
}

fn finish_reason(reply: &Reply<'_>) -> &'static str {
    match (&reply.answer.calls[..], reply.answer.cut) {
        ([_, ..], _) => "FUNCTION_CALL",
        ([], true) => "LENGTH",
        ([], false) => "COMPLETE",
    }
}

fn metering(reply: &Reply<'_>) -> Metering {
    Metering { prompt_tokens: reply.tokens_in, completion_tokens: reply.tokens_out }
}

fn line(value: &Line<'_>) -> Bytes {
    let mut bytes = Vec::with_capacity(96);
    write_json(&mut bytes, value);
    bytes.push(b'\n');
    bytes.into()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    model_name: Cow<'a, str>,
    #[serde(borrow, default)]
    instructions: Cow<'a, str>,
    #[serde(borrow)]
    conversation: Vec<Entry<'a>>,
    #[serde(borrow, default)]
    functions: Vec<Function<'a>>,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    max_tokens: Option<u64>,
    streaming: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    #[serde(borrow)]
    function_name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Speaker {
    Human,
    Bot,
    Function,
}

#[derive(Deserialize)]
struct Entry<'a> {
    speaker: Speaker,
    #[serde(borrow)]
    content: Vec<PartIn<'a>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Text,
    FunctionCall,
    FunctionResult,
}

/// All kinds' fields in one struct: a tagged enum would have to be buffered before it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartIn<'a> {
    kind: Kind,
    #[serde(borrow, default)]
    value: Cow<'a, str>,
    #[serde(borrow, default)]
    call_id: Cow<'a, str>,
    #[serde(borrow, default)]
    function_name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments_json: Cow<'a, str>,
    #[serde(borrow, default)]
    output: Cow<'a, str>,
    #[serde(default)]
    is_error: bool,
}

fn turns(entry: Entry<'_>) -> Vec<Turn<'_>> {
    match entry.speaker {
        Speaker::Human => vec![Turn::User(text(entry.content))],
        Speaker::Bot => {
            let (calls, texts): (Vec<_>, Vec<_>) =
                entry.content.into_iter().partition(|part| part.kind == Kind::FunctionCall);
            let calls = calls.into_iter().map(|part| PastCall {
                id: part.call_id,
                tool: part.function_name,
                arguments: serde_json::from_str(&part.arguments_json).unwrap_or(Value::Null),
            });
            vec![Turn::Assistant { text: text(texts), calls: calls.collect() }]
        }
        Speaker::Function => {
            let results = entry.content.into_iter().filter(|part| part.kind == Kind::FunctionResult);
            let results = results.map(|part| Turn::ToolResult {
                call_id: part.call_id,
                tool: part.function_name,
                text: part.output,
                failed: part.is_error,
            });
            results.collect()
        }
    }
}

fn text(parts: Vec<PartIn<'_>>) -> Cow<'_, str> {
    let texts = parts.into_iter().filter(|part| part.kind == Kind::Text).map(|part| part.value);
    texts.reduce(|all, next| Cow::Owned(all.into_owned() + &next)).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    request_id: String,
    result: Outcome<'a>,
    metering: Metering,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    finish_reason: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    speaker: &'static str,
    content: Vec<PartOut<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum PartOut<'a> {
    Text { value: &'a str },
    FunctionCall { call_id: String, function_name: &'a str, arguments_json: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metering {
    prompt_tokens: u64,
    completion_tokens: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Line<'a> {
    Chunk(Chunk<'a>),
    Final { finish_reason: &'static str, metering: Metering },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Chunk<'a> {
    TextDelta(&'a str),
    FunctionCallDelta(CallDelta<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallDelta<'a> {
    position: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_name: Option<&'a str>,
    arguments_part: &'a str,
}
