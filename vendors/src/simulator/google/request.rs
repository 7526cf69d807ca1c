//! A request for content, and the rules that it must keep.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::super::conversation::{Conversation, PastCall, Turn};
use super::super::format::{Asked, Refusal};
use super::signature;
use super::tools::{self, Tool};

/// Signatures for the calls that no Gemini model made, as Google documents them.
pub(super) const UNSIGNED: [&str; 2] =
    ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

pub(super) fn read<'a>(body: &[u8], model: &'a str, stream: bool) -> Result<Asked<'a>, Refusal> {
    let request: Request = serde_json::from_slice(body)?;
    let tools = tools::names(request.tools.unwrap_or_default())?;
    let system = request.system_instruction.map(|content| content.parts).unwrap_or_default();
    let system: String = system.into_iter().filter_map(|part| part.text).collect();
    Ok(Asked {
        model: model.into(),
        stream,
        max_tokens: request.generation_config.and_then(|config| config.max_output_tokens),
        conversation: Conversation { system: system.into(), turns: turns(request.contents)?, tools },
    })
}

/// A call that waits for its answer.
struct Waiting {
    /// What the brain knows it by: Gemini's own ids are optional.
    id: String,
    given_id: Option<String>,
    name: String,
}

fn turns(contents: Vec<Content>) -> Result<Vec<Turn<'static>>, Refusal> {
    if contents.is_empty() {
        return Err(Refusal::bad("* GenerateContentRequest.contents: contents is not specified"));
    }
    let current = contents.iter().rposition(Content::is_said_by_user).unwrap_or_default();
    let mut turns = Vec::new();
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut after_user = false;
    for (position, content) in contents.into_iter().enumerate() {
        let at = |problem: &str| Refusal::bad(format!("contents[{position}]: {problem}"));
        if content.parts.is_empty() {
            return Err(at("parts must not be empty"));
        }
        if content.parts.iter().any(Part::is_empty) {
            return Err(at("required oneof field 'data' must have one initialized field"));
        }
        let responses = content.parts.iter().filter(|part| part.function_response.is_some()).count();
        if responses != waiting.len() {
            return Err(at(
                "Please ensure that the number of function response parts is equal to the number \
                of function call parts of the function call turn.",
            ));
        }
        let user = match content.role.as_deref() {
            None | Some("user") => true,
            Some("model") => false,
            Some(_) => return Err(at("Please use a valid role: user, model.")),
        };
        if user {
            turns.extend(said_by_user(content.parts, &mut waiting).map_err(at)?);
        } else {
            let calls = content.parts.iter().filter_map(|part| Some((part.function_call.as_ref()?, part)));
            for (index, (call, part)) in calls.enumerate() {
                if !after_user {
                    return Err(at("Please ensure that function call turn comes immediately after a user \
                        turn or after a function response turn."));
                }
                check_signature(call, part, index == 0 && position >= current).map_err(at)?;
                let id = format!("{position}.{index}");
                waiting.push(Waiting { id, given_id: call.id.clone(), name: call.name.clone() });
            }
            turns.push(said_by_model(content.parts, &waiting));
        }
        after_user = user;
    }
    if !waiting.is_empty() {
        return Err(Refusal::bad("a function call turn must be followed by its function responses"));
    }
    Ok(turns)
}

fn check_signature(call: &FunctionCall, part: &Part, required: bool) -> Result<(), &'static str> {
    match part.thought_signature.as_deref() {
        None if required => Err("Function call is missing a thought_signature in functionCall parts."),
        None => Ok(()),
        Some(signature) if UNSIGNED.contains(&signature) => Ok(()),
        Some(signature) if signature == signature::of(&call.name, &call.args) => Ok(()),
        Some(_) => Err("Thought signature is not valid."),
    }
}

/// Results, each with its call, and what was said after them.
fn said_by_user(parts: Vec<Part>, waiting: &mut Vec<Waiting>) -> Result<Vec<Turn<'static>>, &'static str> {
    let (mut turns, mut said) = (Vec::new(), None);
    for part in parts {
        if part.function_call.is_some() {
            return Err("a functionCall can only be of the role model");
        }
        let Some(response) = part.function_response else {
            said.get_or_insert_with(String::new).push_str(&part.text.unwrap_or_default());
            continue;
        };
        let asked = waiting.iter().position(|call| {
            let same = response.id.is_none() || call.given_id.is_none() || response.id == call.given_id;
            same && call.name == response.name
        });
        let asked = asked.ok_or("a functionResponse must have the name and the id of its functionCall")?;
        let (text, failed) = result(&response.response);
        let call_id = waiting.remove(asked).id.into();
        turns.push(Turn::ToolResult { call_id, tool: response.name.into(), text: text.into(), failed });
    }
    turns.extend(said.map(|said| Turn::User(said.into())));
    Ok(turns)
}

fn said_by_model(parts: Vec<Part>, calls: &[Waiting]) -> Turn<'static> {
    let (mut said, mut past) = (String::new(), Vec::new());
    let mut ids = calls.iter().map(|call| call.id.clone());
    for part in parts {
        said += &part.text.unwrap_or_default();
        if let Some((call, id)) = part.function_call.and_then(|call| Some((call, ids.next()?))) {
            past.push(PastCall { id: id.into(), tool: call.name.into(), arguments: call.args.into() });
        }
    }
    Turn::Assistant { text: said.into(), calls: past }
}

/// By Google's convention a response holds `output` or `error`; its SDK writes `result`. Anything else is the
/// result as it is.
fn result(response: &Map<String, Value>) -> (String, bool) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (response.get("output").or(response.get("result")), response.get("error")) {
        (Some(output), _) => (text(output), false),
        (None, Some(error)) => (text(error), true),
        (None, None) => (Value::Object(response.clone()).to_string(), false),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    contents: Vec<Content>,
    #[serde(alias = "system_instruction")]
    system_instruction: Option<Content>,
    tools: Option<Vec<Tool>>,
    #[serde(alias = "generation_config")]
    generation_config: Option<GenerationConfig>,
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
    #[serde(rename = "toolConfig", alias = "tool_config")]
    _tool_config: Option<IgnoredAny>,
    #[serde(rename = "safetySettings", alias = "safety_settings")]
    _safety_settings: Option<IgnoredAny>,
    #[serde(rename = "cachedContent", alias = "cached_content")]
    _cached_content: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    role: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
}

impl Content {
    fn is_said_by_user(&self) -> bool {
        self.role.as_deref() != Some("model")
            && self.parts.iter().any(|part| part.function_response.is_none())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Part {
    text: Option<String>,
    #[serde(alias = "function_call")]
    function_call: Option<FunctionCall>,
    #[serde(alias = "function_response")]
    function_response: Option<FunctionResponse>,
    #[serde(alias = "inline_data")]
    inline_data: Option<IgnoredAny>,
    #[serde(alias = "file_data")]
    file_data: Option<IgnoredAny>,
    #[serde(alias = "thought_signature")]
    thought_signature: Option<String>,
    #[serde(rename = "thought")]
    _thought: Option<bool>,
}

impl Part {
    fn is_empty(&self) -> bool {
        let said = self.text.is_some() || self.function_call.is_some() || self.function_response.is_some();
        !said && self.inline_data.is_none() && self.file_data.is_none()
    }
}

#[derive(Deserialize)]
struct FunctionCall {
    id: Option<String>,
    name: String,
    #[serde(default)]
    args: Map<String, Value>,
}

#[derive(Deserialize)]
struct FunctionResponse {
    id: Option<String>,
    name: String,
    response: Map<String, Value>,
}
