//! VendorB's wire format: `POST /chat`, header `x-api-token`, nested content in camelCase, one JSON object
//! per line. The format itself is described in `simulator/vendor_b.rs`.

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::{CALLS_PER_REPLY, arguments_object, parse_arguments};
use super::wire::{Answer, Path, Piece, StreamDecoder, Wire, bad_json, json, secret_header};
use super::{ChatMessage, ChatRequest, ToolCall, Usage};
use crate::http::VendorError;

pub(super) struct VendorB;

impl Wire for VendorB {
    fn path(&self, _streaming: bool) -> Path {
        Path::fixed("/chat")
    }

    fn headers(&self, api_key: &SecretString) -> Result<HeaderMap, VendorError> {
        Ok(HeaderMap::from_iter([(HeaderName::from_static("x-api-token"), secret_header("", api_key)?)]))
    }

    fn encode(&self, request: &ChatRequest, model: &str, streaming: bool) -> Result<Bytes, VendorError> {
        json(&Request {
            model_name: model,
            instructions: &request.system,
            conversation: request.messages.iter().map(entry).collect(),
            functions: request
                .tools
                .iter()
                .map(|tool| Function {
                    function_name: &tool.name,
                    summary: &tool.description,
                    argument_schema: &tool.parameters,
                })
                .collect(),
            options: Options { max_tokens: request.max_output_tokens, streaming },
        })
    }

    fn decode(&self, body: &[u8]) -> Result<Answer, VendorError> {
        let whole: Whole = serde_json::from_slice(body).map_err(|error| bad_json(&error))?;
        let mut answer = Answer { usage: Some(whole.metering.into()), ..Answer::default() };
        for part in whole.result.message.content {
            match part {
                PartIn::Text { value } => answer.text.push_str(&value),
                PartIn::FunctionCall { call_id, function_name, arguments_json } => {
                    answer.tool_calls.push(ToolCall {
                        id: call_id,
                        name: function_name,
                        arguments: parse_arguments(&arguments_json),
                        signature: None,
                    })
                }
            }
        }
        Ok(answer)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<Lines>::default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    model_name: &'a str,
    instructions: &'a str,
    conversation: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    functions: Vec<Function<'a>>,
    options: Options,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    streaming: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    speaker: &'static str,
    content: Vec<PartOut<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum PartOut<'a> {
    Text { value: &'a str },
    FunctionCall { call_id: &'a str, function_name: &'a str, arguments_json: String },
    FunctionResult { call_id: &'a str, function_name: &'a str, output: &'a str, is_error: bool },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    function_name: &'a str,
    summary: &'a str,
    argument_schema: &'a Value,
}

fn entry(message: &ChatMessage) -> Entry<'_> {
    match message {
        ChatMessage::User { content } => {
            Entry { speaker: "human", content: vec![PartOut::Text { value: content }] }
        }
        ChatMessage::Assistant { content, tool_calls } => {
            let text = (!content.is_empty()).then_some(PartOut::Text { value: content });
            let calls = tool_calls.iter().map(|call| PartOut::FunctionCall {
                call_id: &call.id,
                function_name: &call.name,
                arguments_json: arguments_object(&call.arguments).to_string(),
            });
            Entry { speaker: "bot", content: text.into_iter().chain(calls).collect() }
        }
        ChatMessage::ToolResult { call_id, name, content, is_error } => Entry {
            speaker: "function",
            content: vec![PartOut::FunctionResult {
                call_id,
                function_name: name,
                output: content,
                is_error: *is_error,
            }],
        },
    }
}

#[derive(Deserialize)]
struct Whole {
    result: Outcome,
    metering: Metering,
}

#[derive(Deserialize)]
struct Outcome {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Vec<PartIn>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum PartIn {
    Text { value: String },
    FunctionCall { call_id: String, function_name: String, arguments_json: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metering {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl From<Metering> for Usage {
    fn from(metering: Metering) -> Self {
        Self { tokens_in: metering.prompt_tokens, tokens_out: metering.completion_tokens, ..Self::default() }
    }
}

/// Gathers the parts of function calls by their position; the arguments are parsed when the reply ends.
#[derive(Default)]
struct Lines {
    calls: Vec<PartialCall>,
}

#[derive(Default)]
struct PartialCall {
    id: String,
    name: String,
    arguments_json: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    #[serde(borrow)]
    Chunk(Chunk<'a>),
    Final {
        metering: Metering,
    },
    Failure {},
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    text_delta: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function_call_delta: Option<CallDelta<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallDelta<'a> {
    position: usize,
    call_id: Option<String>,
    function_name: Option<String>,
    #[serde(borrow)]
    arguments_part: Option<Cow<'a, str>>,
}

impl StreamDecoder for Lines {
    fn line(&mut self, line: &[u8], answer: &mut Answer) -> Result<Piece, VendorError> {
        if line.is_empty() {
            return Ok(Piece::Nothing);
        }
        match serde_json::from_slice(line).map_err(|error| bad_json(&error))? {
            Line::Chunk(chunk) => {
                if let Some(delta) = chunk.function_call_delta {
                    self.gather(delta)?;
                    return Ok(Piece::Call);
                }
                let Some(text) = chunk.text_delta else { return Ok(Piece::Nothing) };
                answer.text.push_str(&text);
                Ok(Piece::Text(text.into_owned()))
            }
            Line::Final { metering } => {
                for call in self.calls.drain(..) {
                    let arguments = parse_arguments(&call.arguments_json);
                    let (id, name) = (call.id, call.name);
                    answer.tool_calls.push(ToolCall { id, name, arguments, signature: None });
                }
                answer.usage = Some(metering.into());
                Ok(Piece::End)
            }
            Line::Failure {} => Err(VendorError::stream_error()),
        }
    }
}

impl Lines {
    fn gather(&mut self, delta: CallDelta<'_>) -> Result<(), VendorError> {
        if delta.position >= CALLS_PER_REPLY || delta.position > self.calls.len() {
            return Err(VendorError::garbage("function calls out of order"));
        }
        if delta.position == self.calls.len() {
            self.calls.push(PartialCall::default());
        }
        let call = &mut self.calls[delta.position];
        call.id.push_str(delta.call_id.as_deref().unwrap_or_default());
        call.name.push_str(delta.function_name.as_deref().unwrap_or_default());
        call.arguments_json.push_str(delta.arguments_part.as_deref().unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
#[path = "vendor_b_tests.rs"]
mod tests;
