//! Answers in OpenAI's format. A whole answer is read as a stream of one chunk: they differ in one name.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::calls::{CALLS_PER_REPLY, add_call, parse_arguments};
use super::sse::{Events, read};
use super::wire::{Answer, Cut, Piece};
use super::{ToolCall, Usage};
use crate::http::VendorError;

/// What has been read of one answer, beyond the answer itself.
#[derive(Default)]
pub(super) struct Completion {
    calls: Vec<PartialCall>,
    finished: bool,
}

#[derive(Default)]
struct PartialCall {
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Metered>,
    /// Where Groq tells the usage of a stream.
    x_groq: Option<Groq>,
    /// A failure after the status was sent.
    error: Option<IgnoredAny>,
}

impl Chunk<'_> {
    pub(super) fn has_choices(&self) -> bool {
        self.choices.as_ref().is_some_and(|choices| !choices.is_empty())
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Said<'a>>,
    /// Whole answers say it here. Perplexity repeats in it what the deltas have said.
    #[serde(borrow)]
    message: Option<Said<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    /// The model's own words of refusal, instead of content.
    refusal: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<CallDelta<'a>>>,
}

#[derive(Deserialize)]
struct CallDelta<'a> {
    index: Option<usize>,
    id: Option<String>,
    #[serde(borrow)]
    function: Option<FunctionDelta<'a>>,
}

#[derive(Deserialize)]
struct FunctionDelta<'a> {
    name: Option<String>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Groq {
    usage: Option<Metered>,
}

#[derive(Deserialize)]
struct Metered {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokens>,
    /// How DeepSeek tells what OpenAI tells in the details.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

impl From<Metered> for Usage {
    fn from(metered: Metered) -> Self {
        let detailed = metered.prompt_tokens_details.and_then(|details| details.cached_tokens);
        let cached = detailed.or(metered.prompt_cache_hit_tokens).unwrap_or_default();
        Self {
            tokens_in: metered.prompt_tokens,
            tokens_cached: cached.min(metered.prompt_tokens),
            tokens_out: metered.completion_tokens,
            estimated: false,
        }
    }
}

impl Events for Completion {
    fn event(&mut self, _name: &str, data: &[u8], answer: &mut Answer) -> Result<Piece, VendorError> {
        if data == b"[DONE]" {
            self.finish(answer)?;
            return Ok(Piece::End);
        }
        self.take(read(data)?, answer)
    }

    /// Several compatible servers never say `[DONE]`.
    fn end(&mut self, answer: &mut Answer) -> Result<(), VendorError> {
        if self.finished { self.finish(answer) } else { Err(VendorError::dropped()) }
    }
}

impl Completion {
    pub(super) fn take(&mut self, chunk: Chunk<'_>, answer: &mut Answer) -> Result<Piece, VendorError> {
        if chunk.error.is_some() {
            return Err(VendorError::stream_error());
        }
        if let Some(metered) = chunk.usage.or(chunk.x_groq.and_then(|groq| groq.usage)) {
            answer.usage = Some(metered.into());
        }
        let Some(choice) = chunk.choices.and_then(|choices| choices.into_iter().next()) else {
            return Ok(Piece::Nothing);
        };
        match choice.finish_reason.as_deref() {
            // Some servers send an empty reason until there is one.
            None | Some("") => {}
            Some(reason) => {
                self.finished = true;
                answer.cut = match reason {
                    "length" => Some(Cut::Length),
                    "content_filter" => Some(Cut::Content),
                    _ => answer.cut,
                };
            }
        }
        let Some(said) = choice.delta.or(choice.message) else { return Ok(Piece::Nothing) };
        if said.refusal.is_some_and(|refusal| !refusal.is_empty()) {
            answer.cut = Some(Cut::Content);
        }
        let calls = said.tool_calls.unwrap_or_default();
        let calling = !calls.is_empty();
        for delta in calls {
            self.gather(delta)?;
        }
        match said.content {
            Some(text) if !text.is_empty() => {
                answer.text.push_str(&text);
                Ok(Piece::Text(text.into_owned()))
            }
            _ if calling => Ok(Piece::Call),
            _ => Ok(Piece::Nothing),
        }
    }

    pub(super) fn finish(&mut self, answer: &mut Answer) -> Result<(), VendorError> {
        for PartialCall { id, name, arguments, .. } in self.calls.drain(..) {
            let arguments = parse_arguments(&arguments);
            add_call(answer, ToolCall { id, name, arguments, signature: None })?;
        }
        Ok(())
    }

    fn gather(&mut self, delta: CallDelta<'_>) -> Result<(), VendorError> {
        let (name, arguments) =
            delta.function.map_or((None, None), |function| (function.name, function.arguments));
        let (id, name) = (delta.id.unwrap_or_default(), name.unwrap_or_default());
        let call = match self.continued(delta.index, &id, &name) {
            Some(place) => &mut self.calls[place],
            None if self.calls.len() >= CALLS_PER_REPLY => {
                return Err(VendorError::garbage("too many tool calls"));
            }
            None => self.calls.push_mut(PartialCall { index: delta.index, ..PartialCall::default() }),
        };
        // Both come once; a server that repeats them means the same.
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.arguments.push_str(arguments.as_deref().unwrap_or_default());
        Ok(())
    }

    /// The call that a delta goes on with; `None` when it begins one. Ollama numbers every call 0 and other
    /// servers number none, so a second id, or a second name without an id, begins a call as well.
    fn continued(&self, index: Option<usize>, id: &str, name: &str) -> Option<usize> {
        let place = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index)?,
            None if id.is_empty() => self.calls.len().checked_sub(1)?,
            None => self.calls.iter().rposition(|call| call.id == id || call.id.is_empty())?,
        };
        let call = &self.calls[place];
        let same_id = !id.is_empty() && id == call.id;
        let other_id = !id.is_empty() && !call.id.is_empty() && !same_id;
        let second_name = !name.is_empty() && !call.name.is_empty() && !same_id;
        // Where index and id are known already, a server may repeat the name.
        let begins = other_id || (second_name && (index.is_none() || call.id.is_empty()));
        (!begins).then_some(place)
    }
}
