//! VendorA's wire format: `POST /v1/generate`, bearer token, turns with calls beside their text, server-sent
//! events. The format itself is described in `simulator/vendor_a.rs`.

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::arguments_object;
use super::sse::{Events, ServerSentEvents, read};
use super::wire::{Answer, Path, Piece, StreamDecoder, Wire, bearer, json};
use super::{ChatMessage, ChatRequest, ToolCall, Usage};
use crate::http::VendorError;

pub(super) struct VendorA;

impl Wire for VendorA {
    fn path(&self, _streaming: bool) -> Path {
        Path::fixed("/v1/generate")
    }

    fn headers(&self, api_key: &SecretString) -> Result<HeaderMap, VendorError> {
        bearer(api_key)
    }

    fn encode(&self, request: &ChatRequest, model: &str, streaming: bool) -> Result<Bytes, VendorError> {
        json(&Request {
            model,
            system: &request.system,
            turns: request.messages.iter().map(Turn::from).collect(),
            tools: request
                .tools
                .iter()
                .map(|tool| Tool {
                    name: &tool.name,
                    description: &tool.description,
                    input_schema: &tool.parameters,
                })
                .collect(),
            max_tokens: request.max_output_tokens,
            stream: streaming,
        })
    }

    fn decode(&self, body: &[u8]) -> Result<Answer, VendorError> {
        let reply: Reply = read(body)?;
        Ok(Answer {
            text: reply.text,
            tool_calls: reply.calls.into_iter().map(ToolCall::from).collect(),
            usage: Some(reply.usage.into()),
            cut: None,
        })
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<ServerSentEvents<Streamed>>::default()
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    system: &'a str,
    turns: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Turn<'a> {
    User {
        text: &'a str,
    },
    Assistant {
        text: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        calls: Vec<CallOut<'a>>,
    },
    Tool {
        call_id: &'a str,
        tool: &'a str,
        text: &'a str,
        failed: bool,
    },
}

impl<'a> From<&'a ChatMessage> for Turn<'a> {
    fn from(message: &'a ChatMessage) -> Self {
        match message {
            ChatMessage::User { content } => Self::User { text: content },
            ChatMessage::Assistant { content, tool_calls } => Self::Assistant {
                text: content,
                calls: tool_calls
                    .iter()
                    .map(|call| CallOut {
                        id: &call.id,
                        tool: &call.name,
                        input: arguments_object(&call.arguments),
                    })
                    .collect(),
            },
            ChatMessage::ToolResult { call_id, name, content, is_error } => {
                Self::Tool { call_id, tool: name, text: content, failed: *is_error }
            }
        }
    }
}

#[derive(Serialize)]
struct CallOut<'a> {
    id: &'a str,
    tool: &'a str,
    input: Cow<'a, Value>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

#[derive(Deserialize)]
struct Reply {
    text: String,
    #[serde(default)]
    calls: Vec<Call>,
    usage: Metered,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    tool: String,
    input: Value,
}

impl From<Call> for ToolCall {
    fn from(call: Call) -> Self {
        Self { id: call.id, name: call.tool, arguments: call.input, signature: None }
    }
}

#[derive(Deserialize)]
struct Metered {
    input_tokens: u64,
    output_tokens: u64,
}

impl From<Metered> for Usage {
    fn from(metered: Metered) -> Self {
        Self { tokens_in: metered.input_tokens, tokens_out: metered.output_tokens, ..Self::default() }
    }
}

#[derive(Default)]
struct Streamed;

impl Events for Streamed {
    fn event(&mut self, name: &str, data: &[u8], answer: &mut Answer) -> Result<Piece, VendorError> {
        #[derive(Deserialize)]
        struct Text<'a> {
            #[serde(borrow)]
            text: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct End {
            usage: Metered,
        }

        match name {
            "text" => {
                let text = read::<Text>(data)?.text;
                answer.text.push_str(&text);
                Ok(Piece::Text(text.into_owned()))
            }
            "call" => {
                answer.tool_calls.push(read::<Call>(data)?.into());
                Ok(Piece::Call)
            }
            "end" => {
                answer.usage = Some(read::<End>(data)?.usage.into());
                Ok(Piece::End)
            }
            "error" => Err(VendorError::stream_error()),
            // `start`, and events that a later version may add.
            _ => Ok(Piece::Nothing),
        }
    }
}

#[cfg(test)]
#[path = "vendor_a_tests.rs"]
mod tests;
