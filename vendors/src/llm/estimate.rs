//! Our own count of tokens, for when a vendor metered but did not tell us.

use super::wire::Answer;
use super::{ChatMessage, ChatRequest, Usage};

/// English text has about this many characters in a token, whichever vendor counts.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// What an answer has cost: the whole request, and the answer as far as it came.
pub(super) fn estimate(request: &ChatRequest, answer: &Answer) -> Usage {
    let messages = request.messages.iter().map(|message| match message {
        ChatMessage::User { content } | ChatMessage::ToolResult { content, .. } => tokens(content),
        ChatMessage::Assistant { content, tool_calls } => {
            tokens(content) + tool_calls.iter().map(|call| tokens(&call.arguments.to_string())).sum::<u64>()
        }
    });
    let calls = answer.tool_calls.iter().map(|call| tokens(&call.arguments.to_string()));
    Usage {
        tokens_in: tokens(&request.system) + messages.sum::<u64>(),
        tokens_out: tokens(&answer.text) + calls.sum::<u64>(),
        estimated: true,
    }
}

fn tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(CHARACTERS_PER_TOKEN)
}
