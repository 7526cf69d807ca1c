//! Answers in Anthropic's format.

use serde::Deserialize;
use serde_json::Value;

use super::calls::{add_call, parse_arguments};
use super::sse::{Events, read};
use super::wire::{Answer, Cut, Piece};
use super::{ToolCall, Usage};
use crate::http::VendorError;

#[derive(Deserialize)]
pub(super) struct Message {
    content: Vec<Block>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Metered,
}

impl Message {
    pub(super) fn into_answer(self) -> Result<Answer, VendorError> {
        let mut answer =
            Answer { usage: Some(self.usage.into()), cut: cut(self.stop_reason), ..Answer::default() };
        for block in self.content {
            match block {
                Block::Text { text } => answer.text.push_str(&text),
                Block::ToolUse { id, name, input } => {
                    let arguments = if input.is_null() { parse_arguments("") } else { input };
                    add_call(&mut answer, ToolCall { id, name, arguments, signature: None })?;
                }
                Block::Other => {}
            }
        }
        Ok(answer)
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    /// Thoughts, and what a later version may add.
    #[serde(other)]
    Other,
}

/// Every number is the sum so far.
#[derive(Deserialize, Default, Clone, Copy)]
struct Metered {
    input_tokens: Option<u64>,
    /// Tokens written to and read from the vendor's cache are not part of the input tokens.
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Metered {
    /// Later sums, and the earlier ones where nothing was said of them; gateways fill in zeros at either end.
    fn update(&mut self, later: Self) {
        self.input_tokens = self.input_tokens.max(later.input_tokens);
        self.cache_creation_input_tokens =
            self.cache_creation_input_tokens.max(later.cache_creation_input_tokens);
        self.cache_read_input_tokens = self.cache_read_input_tokens.max(later.cache_read_input_tokens);
        self.output_tokens = self.output_tokens.max(later.output_tokens);
    }
}

impl From<Metered> for Usage {
    fn from(metered: Metered) -> Self {
        let input =
            [metered.input_tokens, metered.cache_creation_input_tokens, metered.cache_read_input_tokens];
        let tokens_in = input.into_iter().flatten().fold(0, u64::saturating_add);
        Self {
            tokens_in,
            tokens_cached: metered.cache_read_input_tokens.unwrap_or_default(),
            tokens_out: metered.output_tokens.unwrap_or_default(),
            estimated: false,
        }
    }
}

fn cut(stop_reason: Option<String>) -> Option<Cut> {
    match stop_reason?.as_str() {
        "max_tokens" | "model_context_window_exceeded" => Some(Cut::Length),
        "refusal" => Some(Cut::Content),
        _ => None,
    }
}

/// What has been read of a streaming answer, beyond the answer itself. Blocks come one after another.
#[derive(Default)]
pub(super) struct Streamed {
    open_call: Option<OpenCall>,
    metered: Metered,
}

struct OpenCall {
    id: String,
    name: String,
    /// From the block's start; some gateways put everything there.
    input: Value,
    json: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        content_block: Block,
    },
    ContentBlockDelta {
        delta: Delta,
    },
    ContentBlockStop,
    MessageDelta {
        delta: Stopped,
        #[serde(default)]
        usage: Metered,
    },
    MessageStop,
    Error,
    /// `ping`, and what a later version may add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Started {
    #[serde(default)]
    usage: Metered,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: String },
    /// Thoughts and their signatures, and what a later version may add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Stopped {
    stop_reason: Option<String>,
}

impl Events for Streamed {
    fn event(&mut self, _name: &str, data: &[u8], answer: &mut Answer) -> Result<Piece, VendorError> {
        match read::<Event>(data)? {
            Event::MessageStart { message } => self.metered.update(message.usage),
            Event::ContentBlockStart { content_block: Block::ToolUse { id, name, input } } => {
                self.close_call(answer)?;
                self.open_call = Some(OpenCall { id, name, input, json: String::new() });
                return Ok(Piece::Call);
            }
            Event::ContentBlockStart { content_block: Block::Text { text } }
            | Event::ContentBlockDelta { delta: Delta::Text { text } } => {
                if !text.is_empty() {
                    answer.text.push_str(&text);
                    return Ok(Piece::Text(text));
                }
            }
            Event::ContentBlockDelta { delta: Delta::Input { partial_json } } => {
                // Without an open call it belongs to a tool that the vendor runs itself.
                if let Some(call) = &mut self.open_call {
                    call.json.push_str(&partial_json);
                    return Ok(Piece::Call);
                }
            }
            Event::ContentBlockStop => self.close_call(answer)?,
            Event::MessageDelta { delta, usage } => {
                self.metered.update(usage);
                answer.cut = cut(delta.stop_reason).or(answer.cut);
            }
            Event::MessageStop => {
                self.close_call(answer)?;
                answer.usage = Some(self.metered.into());
                return Ok(Piece::End);
            }
            Event::Error => return Err(VendorError::stream_error()),
            Event::ContentBlockStart { content_block: Block::Other }
            | Event::ContentBlockDelta { delta: Delta::Other }
            | Event::Other => {}
        }
        Ok(Piece::Nothing)
    }
}

impl Streamed {
    fn close_call(&mut self, answer: &mut Answer) -> Result<(), VendorError> {
        let Some(OpenCall { id, name, input, json }) = self.open_call.take() else { return Ok(()) };
        let arguments = match json.trim().is_empty() && !input.is_null() {
            true => input,
            false => parse_arguments(&json),
        };
        add_call(answer, ToolCall { id, name, arguments, signature: None })
    }
}
