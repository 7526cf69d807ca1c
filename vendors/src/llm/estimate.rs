//! Our own count of tokens: for when a vendor metered but did not tell us, and for what fits into a model's window.

use super::wire::Answer;
use super::{ChatMessage, ChatRequest, ToolSpec, Usage};

/// English text has about this many characters in a token, whichever vendor counts.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// What an answer has cost: the whole request, and the answer as far as it came.
pub(super) fn estimate(request: &ChatRequest, answer: &Answer) -> Usage {
    let calls = answer.tool_calls.iter().map(|call| tokens(&call.arguments.to_string()));
    Usage {
        tokens_in: tokens(&request.system) + request.messages.iter().map(message_tokens).sum::<u64>(),
        tokens_cached: 0,
        tokens_out: tokens(&answer.text) + calls.sum::<u64>(),
        estimated: true,
    }
}

/// Tokens of a message's words and of the arguments of its calls.
pub fn message_tokens(message: &ChatMessage) -> u64 {
    match message {
        ChatMessage::User { content } | ChatMessage::ToolResult { content, .. } => tokens(content),
        ChatMessage::Assistant { content, tool_calls } => {
            tokens(content) + tool_calls.iter().map(|call| tokens(&call.arguments.to_string())).sum::<u64>()
        }
    }
}

/// Tokens that a tool takes by being offered.
pub fn tool_tokens(tool: &ToolSpec) -> u64 {
    tokens(&tool.name) + tokens(&tool.description) + tokens(&tool.parameters.to_string())
}

/// Tokens of a text.
pub fn tokens(text: &str) -> u64 {
    (text.chars().count() as u64).div_ceil(CHARACTERS_PER_TOKEN)
}

/// The beginning of a text, of at most so many tokens.
pub fn cut(text: &str, most: u64) -> String {
    let characters = usize::try_from(most.saturating_mul(CHARACTERS_PER_TOKEN)).unwrap_or(usize::MAX);
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn four_characters_are_a_token_wherever_they_stand() {
        assert_eq!(["", "a", "abcd", "äöüß€"].map(tokens), [0, 1, 1, 2]);
        let tool = ToolSpec { name: "look".into(), description: "at it".into(), parameters: json!({}) };
        assert_eq!(tool_tokens(&tool), 1 + 2 + 1);
        assert_eq!(message_tokens(&ChatMessage::User { content: "abcde".into() }), 2);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("äöüß€", 1), "äöüß");
        assert_eq!((cut("abc", 1).as_str(), cut("abc", 0).as_str()), ("abc", ""));
    }
}
