//! A chat completion's request, and the rules that it must keep.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::super::conversation::{Conversation, PastCall, Turn};
use super::super::format::{Asked, Refusal};
use super::Dialect;

const CALL_ID_CHARACTERS: usize = 40;
const TOOL_NAME_CHARACTERS: usize = 64;

/// Whether a stream shall end with its usage, and what is asked.
pub(super) fn read<D: Dialect>(body: &[u8]) -> Result<(bool, Asked<'static>), Refusal> {
    let request: Request = serde_json::from_slice(body)?;
    let stream = request.stream.unwrap_or_default();
    if request.stream_options.is_some() && !stream {
        return Err(Refusal::bad("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
    }
    if request.max_tokens.is_some() && !D::takes_max_tokens(&request.model) {
        return Err(Refusal::bad(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ));
    }
    let include_usage = request.stream_options.is_some_and(|options| options.include_usage);
    let asked = Asked {
        model: request.model.into(),
        stream,
        max_tokens: request.max_completion_tokens.or(request.max_tokens),
        conversation: conversation::<D>(request.messages, tools(request.tools)?)?,
    };
    Ok((include_usage, asked))
}

fn tools(tools: Option<Vec<Tool>>) -> Result<Vec<Cow<'static, str>>, Refusal> {
    if tools.as_ref().is_some_and(Vec::is_empty) {
        return Err(Refusal::bad("[] is too short - 'tools'"));
    }
    let names = tools.into_iter().flatten().map(|Tool::Function { function }| {
        let is_part = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
        let fits = (1..=TOOL_NAME_CHARACTERS).contains(&function.name.len());
        if fits && function.name.chars().all(is_part) {
            Ok(function.name.into())
        } else {
            Err(Refusal::bad(format!("{:?} does not match '^[a-zA-Z0-9_-]{{1,64}}$'", function.name)))
        }
    });
    names.collect()
}

fn conversation<D: Dialect>(
    messages: Vec<Message>,
    tools: Vec<Cow<'static, str>>,
) -> Result<Conversation<'static>, Refusal> {
    if messages.is_empty() {
        return Err(Refusal::bad("[] is too short - 'messages'"));
    }
    let (mut system, mut turns) = (String::new(), Vec::new());
    // The calls of the last assistant message that have no answer yet.
    let mut waiting: Vec<String> = Vec::new();
    for (position, message) in messages.into_iter().enumerate() {
        if message.role != Role::Tool {
            all_answered(&waiting)?;
        }
        let at = |problem: &str| Refusal::bad(format!("Invalid 'messages[{position}]': {problem}"));
        let text = message.content.map(Content::into_text);
        match message.role {
            Role::Developer if !D::HAS_DEVELOPER_ROLE => return Err(at("unknown role 'developer'")),
            Role::System | Role::Developer => system += &text.ok_or_else(|| at("content is missing"))?,
            Role::User => turns.push(Turn::User(text.ok_or_else(|| at("content is missing"))?.into())),
            Role::Assistant => {
                if message.tool_calls.as_ref().is_some_and(Vec::is_empty) {
                    return Err(at("[] is too short - 'tool_calls'"));
                }
                if message.tool_calls.is_none() && text.is_none() {
                    return Err(at("either content or tool_calls is required"));
                }
                let calls = message.tool_calls.into_iter().flatten();
                let calls: Vec<_> = calls.map(past_call).collect();
                if calls.iter().any(|call| call.id.chars().count() > CALL_ID_CHARACTERS) {
                    return Err(at("a tool call's id is longer than 40 characters"));
                }
                waiting = calls.iter().map(|call| call.id.to_string()).collect();
                turns.push(Turn::Assistant { text: text.unwrap_or_default().into(), calls });
            }
            Role::Tool => {
                let id = message.tool_call_id.ok_or_else(|| at("tool_call_id is missing"))?;
                let call = waiting.iter().position(|waiting| *waiting == id).ok_or_else(|| {
                    at("messages with role 'tool' must be a response to a preceding message with 'tool_calls'")
                })?;
                waiting.remove(call);
                let text = text.ok_or_else(|| at("content is missing"))?.into();
                turns.push(Turn::ToolResult { call_id: id.into(), tool: "".into(), text, failed: false });
            }
        }
    }
    all_answered(&waiting)?;
    Ok(Conversation { system: system.into(), turns, tools })
}

fn all_answered(waiting: &[String]) -> Result<(), Refusal> {
    if waiting.is_empty() {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
         'tool_call_id'. The following did not have response messages: {}",
        waiting.join(", ")
    )))
}

fn past_call(Call::Function { id, function }: Call) -> PastCall<'static> {
    PastCall {
        id: id.into(),
        tool: function.name.into(),
        arguments: serde_json::from_str(&function.arguments).unwrap_or(Value::Null),
    }
}

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    tools: Option<Vec<Tool>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tool {
    Function { function: FunctionOffered },
}

#[derive(Deserialize)]
struct FunctionOffered {
    name: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

#[derive(Deserialize)]
struct Message {
    role: Role,
    content: Option<Content>,
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

impl Content {
    /// Pictures and sounds say nothing to the brain.
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().filter_map(|part| part.text).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Call {
    Function { id: String, function: FunctionCalled },
}

#[derive(Deserialize)]
struct FunctionCalled {
    name: String,
    arguments: String,
}
