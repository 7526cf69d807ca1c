//! Gemini's wire format: the model in the path, header `x-goog-api-key`, contents of typed parts, whole tool
//! calls, server-sent events without an event for the end.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};

use super::calls::{arguments_object, is_made_up};
use super::gemini_answer::{Chunk, Generation};
use super::sse::{ServerSentEvents, read};
use super::wire::{Answer, Path, StreamDecoder, Wire, error_in, json, secret_header, turns};
use super::{ChatMessage, ChatRequest, ToolCall, ToolSpec};
use crate::http::{Refusal, VendorError};

/// Marks signatures that came from here.
pub(super) const SIGNATURE_PREFIX: &str = "gemini:";
/// Google's own stand-in for calls that its model did not make or whose signature is lost: from the third
/// generation on, the first call of a turn is refused without any.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
/// The generation that neither needs a signature nor promises to take the stand-in.
const UNSIGNED_GENERATION: &str = "gemini-2";

pub(super) struct Gemini;

impl Wire for Gemini {
    fn path(&self, streaming: bool) -> Path {
        match streaming {
            true => Path { fixed: "/v1beta/models?alt=sse", after_model: Some(":streamGenerateContent") },
            false => Path { fixed: "/v1beta/models", after_model: Some(":generateContent") },
        }
    }

    fn headers(&self, api_key: &SecretString) -> Result<HeaderMap, VendorError> {
        Ok(HeaderMap::from_iter([(HeaderName::from_static("x-goog-api-key"), secret_header("", api_key)?)]))
    }

    fn encode(&self, request: &ChatRequest, model: &str, _streaming: bool) -> Result<Bytes, VendorError> {
        let system = (!request.system.is_empty()).then_some(&request.system);
        let signed = !model.starts_with(UNSIGNED_GENERATION);
        json(&Request {
            contents: turns(&request.messages, |message| parts(message, signed))
                .into_iter()
                .map(|(role, parts)| Content { role, parts })
                .collect(),
            system_instruction: system
                .map(|system| Instruction { parts: vec![PartOut::of(PartData::Text(system))] }),
            tools: match request.tools.is_empty() {
                true => vec![],
                false => {
                    vec![Tools {
                        function_declarations: request.tools.iter().map(Declaration::from).collect(),
                    }]
                }
            },
            generation_config: request
                .max_output_tokens
                .map(|max_output_tokens| GenerationConfig { max_output_tokens }),
        })
    }

    fn decode(&self, body: &[u8]) -> Result<Answer, VendorError> {
        let chunk: Chunk<'_> = read(body)?;
        if !chunk.has_candidates() && !chunk.is_blocked() {
            return Err(VendorError::garbage("no candidates"));
        }
        let mut answer = Answer::default();
        Generation::default().take(chunk, &mut answer)?;
        Ok(answer)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<ServerSentEvents<Generation>>::default()
    }

    fn refusal(&self, body: &[u8]) -> Refusal {
        #[derive(Deserialize)]
        struct Reason {
            #[serde(default)]
            details: Vec<Detail>,
        }
        /// `RetryInfo` has a delay, `ErrorInfo` a reason.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Detail {
            retry_delay: Option<String>,
            reason: Option<String>,
        }

        let Some(Reason { details }) = error_in(body) else { return Refusal::default() };
        let reason = |detail: &Detail| detail.reason.as_deref() == Some("API_KEY_INVALID");
        Refusal {
            retry_after: details.iter().find_map(|detail| seconds(detail.retry_delay.as_deref()?)),
            // Said with status 400, as if the request were wrong and not the key.
            permanent: details.iter().any(reason),
        }
    }
}

/// `17s`, `17.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<GenerationConfig>,
}

#[derive(Serialize)]
struct Instruction<'a> {
    parts: Vec<PartOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    max_output_tokens: u32,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<PartOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartOut<'a> {
    #[serde(flatten)]
    data: PartData<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

impl<'a> PartOut<'a> {
    fn of(data: PartData<'a>) -> Self {
        Self { data, thought_signature: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum PartData<'a> {
    Text(&'a str),
    FunctionCall {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        name: &'a str,
        args: Cow<'a, Value>,
    },
    FunctionResponse {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        name: &'a str,
        response: Value,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    description: &'a str,
    parameters_json_schema: &'a Value,
}

impl<'a> From<&'a ToolSpec> for Declaration<'a> {
    fn from(tool: &'a ToolSpec) -> Self {
        Self { name: &tool.name, description: &tool.description, parameters_json_schema: &tool.parameters }
    }
}

fn parts(message: &ChatMessage, signed: bool) -> (&'static str, Vec<PartOut<'_>>) {
    match message {
        ChatMessage::User { content } => ("user", text(content).into_iter().collect()),
        ChatMessage::Assistant { content, tool_calls } => {
            let calls =
                tool_calls.iter().enumerate().map(|(place, call)| function_call(call, signed && place == 0));
            ("model", text(content).into_iter().chain(calls).collect())
        }
        ChatMessage::ToolResult { call_id, name, content, is_error } => {
            let response = response(content, *is_error);
            ("user", vec![PartOut::of(PartData::FunctionResponse { id: given(call_id), name, response })])
        }
    }
}

/// A part without words is refused.
fn text(content: &str) -> Option<PartOut<'_>> {
    (!content.is_empty()).then(|| PartOut::of(PartData::Text(content)))
}

fn function_call(call: &ToolCall, must_be_signed: bool) -> PartOut<'_> {
    let own = call.signature.as_deref().and_then(|signature| signature.strip_prefix(SIGNATURE_PREFIX));
    PartOut {
        data: PartData::FunctionCall {
            id: given(&call.id),
            name: &call.name,
            args: arguments_object(&call.arguments),
        },
        thought_signature: own.or(must_be_signed.then_some(NO_SIGNATURE)),
    }
}

/// Calls without an id are matched by their order; an id that we made up would only confuse.
fn given(id: &str) -> Option<&str> {
    (!is_made_up(id)).then_some(id)
}

/// Results must be objects; these two names are the ones that the models were taught.
fn response(content: &str, is_error: bool) -> Value {
    let content = serde_json::from_str(content).unwrap_or_else(|_| Value::String(content.to_owned()));
    match content {
        content if is_error => value!({ "error": content }),
        Value::Object(_) => content,
        content => value!({ "output": content }),
    }
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
