//! A conversation as every vendor can express it.

use serde_json::Value;

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// Used where a target of the chain names no model of its own.
    pub model: String,
    /// The system prompt; may be empty.
    pub system: String,
    /// Oldest first. Every tool call is followed by its result before the next user or assistant message.
    pub messages: Vec<ChatMessage>,
    /// What the model may call.
    pub tools: Vec<ToolSpec>,
    /// `None` leaves it to the vendor.
    pub max_output_tokens: Option<u32>,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatMessage {
    User { content: String },
    Assistant { content: String, tool_calls: Vec<ToolCall> },
    ToolResult { call_id: String, name: String, content: String, is_error: bool },
}

/// The model's wish to have a tool run.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Given by the vendor, or by us where it gives none; unique within its reply.
    pub id: String,
    pub name: String,
    /// What the model wrote, parsed but not checked against the tool's schema. A [`Value::String`] holds
    /// arguments that are no JSON: the tool cannot run, and the model should be told so.
    pub arguments: Value,
    /// The vendor's own mark on the call, opaque to us. It begins with the name of the wire format that it
    /// came by, and only that format sends it back; Gemini's newer models refuse a conversation without it.
    pub signature: Option<String>,
}

/// A tool as it is offered to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// A JSON Schema of the arguments.
    pub parameters: Value,
}

/// What an attempt cost, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub tokens_in: u64,
    /// Of `tokens_in`, those that the vendor had kept from a request before, as far as it says so.
    pub tokens_cached: u64,
    pub tokens_out: u64,
    /// The vendor did not say; these are our own numbers.
    pub estimated: bool,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatReply {
    /// May be empty when the model only calls tools.
    pub text: String,
    pub tool_calls: Vec<ToolCall>,
    pub usage: Usage,
}
