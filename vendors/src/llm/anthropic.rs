//! Anthropic's wire format: `POST /v1/messages`, header `x-api-key`, messages of typed blocks, server-sent
//! events that open and close each block.

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::anthropic_answer::{Message, Streamed};
use super::calls::arguments_object;
use super::sse::{ServerSentEvents, read};
use super::wire::{Answer, Path, StreamDecoder, Wire, error_in, json, secret_header, turns};
use super::{ChatMessage, ChatRequest};
use crate::http::{Refusal, VendorError};

/// The version of the format that this file speaks.
const VERSION: &str = "2023-06-01";
/// Every request must name a limit. Where ours names none, this is far above anything worth saying aloud and
/// below what any model takes.
const DEFAULT_MAX_TOKENS: u32 = 4096;

pub(super) struct Anthropic;

impl Wire for Anthropic {
    fn path(&self, _streaming: bool) -> Path {
        Path::fixed("/v1/messages")
    }

    fn headers(&self, api_key: &SecretString) -> Result<HeaderMap, VendorError> {
        Ok(HeaderMap::from_iter([
            (HeaderName::from_static("x-api-key"), secret_header("", api_key)?),
            (HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION)),
        ]))
    }

    fn encode(&self, request: &ChatRequest, model: &str, streaming: bool) -> Result<Bytes, VendorError> {
        json(&Request {
            model,
            max_tokens: request.max_output_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            system: (!request.system.is_empty()).then_some(&request.system),
            messages: turns(&request.messages, blocks)
                .into_iter()
                .map(|(role, content)| Turn { role, content })
                .collect(),
            tools: request
                .tools
                .iter()
                .map(|tool| Tool {
                    name: &tool.name,
                    description: &tool.description,
                    input_schema: &tool.parameters,
                })
                .collect(),
            stream: streaming,
        })
    }

    fn decode(&self, body: &[u8]) -> Result<Answer, VendorError> {
        read::<Message>(body)?.into_answer()
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<ServerSentEvents<Streamed>>::default()
    }

    fn refusal(&self, body: &[u8]) -> Refusal {
        #[derive(Deserialize)]
        struct Reason {
            r#type: String,
        }

        let permanent = error_in(body).is_some_and(|Reason { r#type }| r#type == "billing_error");
        Refusal { retry_after: None, permanent }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    stream: bool,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
    ToolUse { id: Cow<'a, str>, name: &'a str, input: Cow<'a, Value> },
    ToolResult { tool_use_id: Cow<'a, str>, content: &'a str, is_error: bool },
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

fn blocks(message: &ChatMessage) -> (&'static str, Vec<Block<'_>>) {
    match message {
        ChatMessage::User { content } => ("user", text(content).into_iter().collect()),
        ChatMessage::Assistant { content, tool_calls } => {
            let calls = tool_calls.iter().map(|call| Block::ToolUse {
                id: call_id(&call.id),
                name: &call.name,
                input: arguments_object(&call.arguments),
            });
            ("assistant", text(content).into_iter().chain(calls).collect())
        }
        ChatMessage::ToolResult { call_id: id, content, is_error, .. } => {
            let (tool_use_id, is_error) = (call_id(id), *is_error);
            ("user", vec![Block::ToolResult { tool_use_id, content, is_error }])
        }
    }
}

/// A block without words is refused.
fn text(content: &str) -> Option<Block<'_>> {
    (!content.trim().is_empty()).then_some(Block::Text { text: content })
}

/// Ids of other vendors' calls may hold characters that are refused here.
fn call_id(id: &str) -> Cow<'_, str> {
    let taken = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if id.chars().all(taken) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(id.chars().map(|character| if taken(character) { character } else { '_' }).collect())
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
