//! Chat completions: OpenAI's wire format, and by now that of most others: DeepSeek, Groq, Ollama, vLLM,
//! llama.cpp. `POST /chat/completions`, bearer token, arguments of tools as JSON in a string, server-sent events.
//!
//! Reads more than OpenAI sends, because "compatible" is a wide word: every leniency below says who needs it.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::arguments_object;
use super::openai_answer::{Chunk, Completion};
use super::sse::{ServerSentEvents, read};
use super::wire::{Answer, Path, StreamDecoder, Wire, bearer, error_in, json};
use super::{ChatMessage, ChatRequest, ToolCall, ToolSpec};
use crate::http::{Refusal, VendorError};

/// Error codes that come with status 429 although waiting does not help.
const SPENT: [&str; 3] = ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"];

pub(super) struct OpenAi {
    /// OpenAI's newer models refuse the limit's old name; many compatible servers know no other.
    new_limit_name: bool,
}

impl OpenAi {
    pub(super) fn at(base_url: &str) -> Self {
        Self { new_limit_name: base_url.starts_with("https://api.openai.com/") }
    }
}

impl Wire for OpenAi {
    fn path(&self, _streaming: bool) -> Path {
        Path::fixed("/chat/completions")
    }

    fn headers(&self, api_key: &SecretString) -> Result<HeaderMap, VendorError> {
        bearer(api_key)
    }

    fn encode(&self, request: &ChatRequest, model: &str, streaming: bool) -> Result<Bytes, VendorError> {
        let system = (!request.system.is_empty()).then_some(Message::System { content: &request.system });
        let limit = request.max_output_tokens;
        json(&Request {
            model,
            messages: system.into_iter().chain(request.messages.iter().map(Message::from)).collect(),
            tools: request.tools.iter().map(Tool::from).collect(),
            max_tokens: limit.filter(|_| !self.new_limit_name),
            max_completion_tokens: limit.filter(|_| self.new_limit_name),
            stream: streaming,
            stream_options: streaming.then_some(StreamOptions { include_usage: true }),
        })
    }

    fn decode(&self, body: &[u8]) -> Result<Answer, VendorError> {
        let chunk: Chunk<'_> = read(body)?;
        let (mut completion, mut answer) = (Completion::default(), Answer::default());
        if !chunk.has_choices() {
            return Err(VendorError::garbage("no choices"));
        }
        completion.take(chunk, &mut answer)?;
        completion.finish(&mut answer)?;
        Ok(answer)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<ServerSentEvents<Completion>>::default()
    }

    fn refusal(&self, body: &[u8]) -> Refusal {
        #[derive(Deserialize)]
        struct Reason {
            // Some servers put the status's number here.
            #[serde(default)]
            code: Value,
            #[serde(default, rename = "type")]
            kind: Value,
        }

        let spent = |value: &Value| value.as_str().is_some_and(|code| SPENT.contains(&code));
        let permanent = error_in(body).is_some_and(|Reason { code, kind }| spent(&code) || spent(&kind));
        Refusal { retry_after: None, permanent }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        /// Null beside tool calls when nothing was said.
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<CallOut<'a>>,
    },
    /// There is no word for a failed tool: its content tells.
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

impl<'a> From<&'a ChatMessage> for Message<'a> {
    fn from(message: &'a ChatMessage) -> Self {
        match message {
            ChatMessage::User { content } => Self::User { content },
            ChatMessage::Assistant { content, tool_calls } => Self::Assistant {
                content: (!content.is_empty() || tool_calls.is_empty()).then_some(content),
                tool_calls: tool_calls.iter().map(CallOut::from).collect(),
            },
            ChatMessage::ToolResult { call_id, content, .. } => Self::Tool { tool_call_id: call_id, content },
        }
    }
}

#[derive(Serialize)]
struct CallOut<'a> {
    id: &'a str,
    r#type: &'static str,
    function: FunctionOut<'a>,
}

#[derive(Serialize)]
struct FunctionOut<'a> {
    name: &'a str,
    arguments: String,
}

impl<'a> From<&'a ToolCall> for CallOut<'a> {
    fn from(call: &'a ToolCall) -> Self {
        // Several servers parse the arguments of past calls again, and fail on anything but an object.
        let arguments = arguments_object(&call.arguments).to_string();
        Self { id: &call.id, r#type: "function", function: FunctionOut { name: &call.name, arguments } }
    }
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

impl<'a> From<&'a ToolSpec> for Tool<'a> {
    fn from(tool: &'a ToolSpec) -> Self {
        let (name, description, parameters) = (&tool.name, &tool.description, &tool.parameters);
        Self { r#type: "function", function: Function { name, description, parameters } }
    }
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
