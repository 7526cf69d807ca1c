//! Answers in Gemini's format. A whole answer is read as a stream of one chunk: they do not differ.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::calls::{add_call, parse_arguments};
use super::gemini::SIGNATURE_PREFIX;
use super::sse::{Events, read};
use super::wire::{Answer, Cut, Piece};
use super::{ToolCall, Usage};
use crate::http::VendorError;

/// What has been read of one answer, beyond the answer itself.
#[derive(Default)]
pub(super) struct Generation {
    finished: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<Metered>,
    /// A failure after the status was sent.
    error: Option<IgnoredAny>,
}

impl Chunk<'_> {
    pub(super) fn has_candidates(&self) -> bool {
        self.candidates.as_ref().is_some_and(|candidates| !candidates.is_empty())
    }

    /// The prompt itself was refused.
    pub(super) fn is_blocked(&self) -> bool {
        self.prompt_feedback.as_ref().is_some_and(|feedback| feedback.block_reason.is_some())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content<'a> {
    /// Missing from a chunk that only says why the model stopped.
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    /// The text is a thought and no answer.
    #[serde(default)]
    thought: bool,
    function_call: Option<FunctionCall>,
    thought_signature: Option<String>,
}

#[derive(Deserialize)]
struct FunctionCall {
    id: Option<String>,
    name: String,
    args: Option<Value>,
}

/// The sums so far; they may come with every chunk.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metered {
    #[serde(default)]
    prompt_token_count: u64,
    #[serde(default)]
    candidates_token_count: u64,
    /// Thoughts are billed as output and not part of the candidates' tokens.
    #[serde(default)]
    thoughts_token_count: u64,
    /// Part of the prompt's tokens.
    #[serde(default)]
    cached_content_token_count: u64,
}

impl From<Metered> for Usage {
    fn from(metered: Metered) -> Self {
        Self {
            tokens_in: metered.prompt_token_count,
            tokens_cached: metered.cached_content_token_count.min(metered.prompt_token_count),
            tokens_out: metered.candidates_token_count.saturating_add(metered.thoughts_token_count),
            estimated: false,
        }
    }
}

impl Events for Generation {
    fn event(&mut self, _name: &str, data: &[u8], answer: &mut Answer) -> Result<Piece, VendorError> {
        self.take(read(data)?, answer)
    }

    /// No event says that the answer is whole, only the body's end after a reason to stop.
    fn end(&mut self, _answer: &mut Answer) -> Result<(), VendorError> {
        if self.finished { Ok(()) } else { Err(VendorError::dropped()) }
    }
}

impl Generation {
    pub(super) fn take(&mut self, chunk: Chunk<'_>, answer: &mut Answer) -> Result<Piece, VendorError> {
        if chunk.error.is_some() {
            return Err(VendorError::stream_error());
        }
        if chunk.is_blocked() {
            return Err(VendorError::refused());
        }
        if let Some(metered) = chunk.usage_metadata {
            answer.usage = Some(metered.into());
        }
        let Some(candidate) = chunk.candidates.and_then(|candidates| candidates.into_iter().next()) else {
            return Ok(Piece::Nothing);
        };
        if let Some(reason) = candidate.finish_reason {
            self.finished = true;
            answer.cut = cut(&reason);
        }
        let calls_before = answer.tool_calls.len();
        let mut text = String::new();
        for part in candidate.content.map(|content| content.parts).unwrap_or_default() {
            match part {
                Part { function_call: Some(call), thought_signature, .. } => {
                    let signature = thought_signature.map(|own| format!("{SIGNATURE_PREFIX}{own}"));
                    let arguments = call.args.unwrap_or_else(|| parse_arguments(""));
                    let id = call.id.unwrap_or_default();
                    add_call(answer, ToolCall { id, name: call.name, arguments, signature })?;
                }
                Part { text: Some(said), thought: false, .. } => text.push_str(&said),
                _ => {}
            }
        }
        if !text.is_empty() {
            answer.text.push_str(&text);
            return Ok(Piece::Text(text));
        }
        Ok(if answer.tool_calls.len() > calls_before { Piece::Call } else { Piece::Nothing })
    }
}

fn cut(finish_reason: &str) -> Option<Cut> {
    match finish_reason {
        "MAX_TOKENS" => Some(Cut::Length),
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => {
            Some(Cut::Content)
        }
        // `STOP`, also after calls; the others are mishaps of the model and may go well the next time.
        _ => None,
    }
}
