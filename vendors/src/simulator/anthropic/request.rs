//! A request for a message, and the rules that it must keep.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::conversation::{Conversation, PastCall, Turn};
use super::super::format::{Asked, Refusal};

pub(super) fn read(body: &[u8]) -> Result<Asked<'static>, Refusal> {
    let request: Request = serde_json::from_slice(body)?;
    if request.max_tokens == 0 {
        return Err(Refusal::bad("max_tokens: must be greater than or equal to 1"));
    }
    let tools: Result<Vec<_>, _> = request.tools.into_iter().flatten().map(Tool::into_name).collect();
    let system = request.system.map(Content::into_text).unwrap_or_default();
    Ok(Asked {
        model: request.model.into(),
        stream: request.stream.unwrap_or_default(),
        max_tokens: Some(request.max_tokens),
        conversation: Conversation { system: system.into(), turns: turns(request.messages)?, tools: tools? },
    })
}

fn turns(messages: Vec<Message>) -> Result<Vec<Turn<'static>>, Refusal> {
    if messages.is_empty() {
        return Err(Refusal::bad("messages: at least one message is required"));
    }
    let last = messages.len() - 1;
    let mut turns = Vec::new();
    // The calls of the message before.
    let mut waiting: Vec<String> = Vec::new();
    for (position, message) in messages.into_iter().enumerate() {
        let at = |problem: String| Refusal::bad(format!("messages.{position}: {problem}"));
        if position == 0 && message.role == Role::Assistant {
            return Err(at("first message must use the \"user\" role".to_owned()));
        }
        let blocks = message.content.into_blocks();
        if blocks.is_empty() && !(position == last && message.role == Role::Assistant) {
            return Err(at("all messages must have non-empty content, except for the optional final \
                assistant message"
                .to_owned()));
        }
        if blocks.iter().any(|block| matches!(block, Block::Text { text } if text.is_empty())) {
            return Err(at("text content blocks must be non-empty".to_owned()));
        }
        answer(&mut waiting, &blocks).map_err(at)?;
        match message.role {
            Role::User => turns.extend(user(blocks).map_err(at)?),
            Role::Assistant => {
                let turn = assistant(blocks).map_err(at)?;
                if let Turn::Assistant { calls, .. } = &turn {
                    waiting = calls.iter().map(|call| call.id.to_string()).collect();
                }
                turns.push(turn);
            }
        }
    }
    answer(&mut waiting, &[]).map_err(Refusal::bad)?;
    Ok(turns)
}

/// Takes the results at the beginning of a message from the calls that wait for them; none may be left over on
/// either side.
fn answer(waiting: &mut Vec<String>, blocks: &[Block]) -> Result<(), String> {
    let results = blocks.iter().map_while(|block| match block {
        Block::ToolResult { tool_use_id, .. } => Some(tool_use_id),
        _ => None,
    });
    for id in results {
        let call = waiting.iter().position(|waiting| waiting == id).ok_or_else(|| {
            format!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must \
                 have a corresponding `tool_use` block in the previous message."
            )
        })?;
        waiting.remove(call);
    }
    if waiting.is_empty() {
        return Ok(());
    }
    Err(format!(
        "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
         must have a corresponding `tool_result` block in the next message.",
        waiting.join(", ")
    ))
}

/// The results first, then what was said.
fn user(blocks: Vec<Block>) -> Result<Vec<Turn<'static>>, String> {
    let (mut turns, mut said) = (Vec::new(), None);
    for block in blocks {
        match block {
            Block::Text { text } => said.get_or_insert_with(String::new).push_str(&text),
            Block::ToolResult { .. } if said.is_some() => {
                return Err("`tool_result` blocks must come first".to_owned());
            }
            Block::ToolResult { tool_use_id, content, is_error } => turns.push(Turn::ToolResult {
                call_id: tool_use_id.into(),
                tool: "".into(),
                text: content.map(Content::into_text).unwrap_or_default().into(),
                failed: is_error.unwrap_or_default(),
            }),
            Block::ToolUse { .. } => return Err("`tool_use` blocks can only be of the assistant".to_owned()),
            Block::Image | Block::Document | Block::Thinking | Block::RedactedThinking => {
                said.get_or_insert_default();
            }
        }
    }
    turns.extend(said.map(|said| Turn::User(said.into())));
    Ok(turns)
}

fn assistant(blocks: Vec<Block>) -> Result<Turn<'static>, String> {
    let (mut said, mut calls) = (String::new(), Vec::new());
    for block in blocks {
        match block {
            Block::Text { text } => said += &text,
            Block::ToolUse { id, name, input } if is_name(&id) => {
                calls.push(PastCall { id: id.into(), tool: name.into(), arguments: Value::Object(input) });
            }
            Block::ToolUse { id, .. } => return Err(format!("tool_use.id {id:?}: {NAME_RULE}")),
            Block::ToolResult { .. } => {
                return Err("`tool_result` blocks can only be of the user".to_owned());
            }
            Block::Image | Block::Document | Block::Thinking | Block::RedactedThinking => {}
        }
    }
    Ok(Turn::Assistant { text: said.into(), calls })
}

const NAME_RULE: &str = "String should match pattern '^[a-zA-Z0-9_-]+$'";

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character))
}

#[derive(Deserialize)]
struct Request {
    model: String,
    max_tokens: u64,
    messages: Vec<Message>,
    system: Option<Content>,
    tools: Option<Vec<Tool>>,
    stream: Option<bool>,
}

#[derive(Deserialize)]
struct Tool {
    name: String,
    input_schema: Map<String, Value>,
}

impl Tool {
    fn into_name(self) -> Result<Cow<'static, str>, Refusal> {
        if self.input_schema.get("type").is_none_or(|kind| kind != "object") {
            return Err(Refusal::bad("tools.input_schema.type: must be 'object'"));
        }
        if !is_name(&self.name) || self.name.len() > 128 {
            return Err(Refusal::bad(format!("tools.name {:?}: {NAME_RULE}", self.name)));
        }
        Ok(self.name.into())
    }
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Role {
    User,
    Assistant,
}

#[derive(Deserialize)]
struct Message {
    role: Role,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

impl Content {
    fn into_blocks(self) -> Vec<Block> {
        match self {
            Self::Text(text) if text.is_empty() => Vec::new(),
            Self::Text(text) => vec![Block::Text { text }],
            Self::Blocks(blocks) => blocks,
        }
    }

    fn into_text(self) -> String {
        let texts = self.into_blocks().into_iter();
        texts.filter_map(|block| if let Block::Text { text } = block { Some(text) } else { None }).collect()
    }
}

/// What is neither text nor a tool says nothing to the brain.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text { text: String },
    Image,
    Document,
    Thinking,
    RedactedThinking,
    ToolUse { id: String, name: String, input: Map<String, Value> },
    ToolResult { tool_use_id: String, content: Option<Content>, is_error: Option<bool> },
}
