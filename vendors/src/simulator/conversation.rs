//! The brain that all vendors share: what it hears, and the order of its rules. The same request gets the
//! same reply.
//!
//! 0. A system prompt that begins with "Summarise" is obeyed: the first words of the user's last message are repeated,
//!    without what stands in pointed brackets.
//! 1. Results of tools that were called since the user last spoke are put into words.
//! 2. Invoice numbers in the user's last message are looked up, if `invoice_lookup` is offered: one call
//!    each, at once.
//! 3. Offered tools whose names (with `_` or `-`) the user says are called, at once, each with the JSON object in the
//!    message.
//! 4. A user who wants to hang up (`end_call`) or to talk to a person (`transfer_call`, to the number in the message) gets
//!    that tool called, if it is offered.
//! 5. Small talk: names, what was said before, greetings.
//! 6. Anything else is acknowledged in the user's words.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{count_tokens, invoices, parting, small_talk};

const INVOICE_TOOL: &str = "invoice_lookup";
/// Characters of a tool's result that are repeated to the user.
const REPEATED_CHARACTERS: usize = 300;

/// What a vendor was told, in neither vendor's format.
pub(super) struct Conversation<'a> {
    pub(super) system: Cow<'a, str>,
    pub(super) turns: Vec<Turn<'a>>,
    /// Names of the tools on offer.
    pub(super) tools: Vec<Cow<'a, str>>,
}

pub(super) enum Turn<'a> {
    User(Cow<'a, str>),
    Assistant { text: Cow<'a, str>, calls: Vec<PastCall<'a>> },
    ToolResult { call_id: Cow<'a, str>, tool: Cow<'a, str>, text: Cow<'a, str>, failed: bool },
}

pub(super) struct PastCall<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) tool: Cow<'a, str>,
    pub(super) arguments: Value,
}

/// What the brain says or wants done.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) calls: Vec<NewCall>,
    /// The text was cut at the allowed number of tokens.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) struct NewCall {
    pub(super) tool: String,
    /// An object; a string where the vendor was told to break them.
    pub(super) arguments: Value,
}

impl NewCall {
    /// For formats that carry arguments as text: broken ones are no JSON there.
    pub(super) fn arguments_text(&self) -> String {
        match &self.arguments {
            Value::String(broken) => broken.clone(),
            arguments => arguments.to_string(),
        }
    }
}

impl Conversation<'_> {
    /// By the rule in the documentation of [`simulator`](super).
    pub(super) fn tokens(&self) -> u64 {
        let turns = self.turns.iter().map(|turn| match turn {
            Turn::User(text) | Turn::ToolResult { text, .. } => count_tokens(text),
            Turn::Assistant { text, calls } => {
                let calls = calls.iter().map(|call| count_tokens(&call.arguments.to_string()));
                count_tokens(text) + calls.sum::<u64>()
            }
        });
        count_tokens(&self.system) + turns.sum::<u64>()
    }

    fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|offered| offered == tool)
    }
}

impl Answer {
    pub(super) fn tokens(&self) -> u64 {
        let calls = self.calls.iter().map(|call| count_tokens(&call.arguments_text()));
        count_tokens(&self.text) + calls.sum::<u64>()
    }

    /// The text in the pieces in which it streams: words.
    pub(super) fn text_tokens(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }

    pub(super) fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

pub(super) fn answer(conversation: &Conversation<'_>, max_tokens: Option<u64>) -> Answer {
    let mut answer = decide(conversation);
    if let Some(max_tokens) = max_tokens
        && count_tokens(&answer.text) > max_tokens
    {
        let most = usize::try_from(max_tokens.saturating_mul(4)).unwrap_or(usize::MAX);
        answer.text = answer.text.chars().take(most).collect();
        answer.cut = true;
    }
    answer
}

/// What the user said since the assistant last spoke: callers pause in the middle of a number.
fn unanswered(turns: &[Turn<'_>]) -> String {
    let said =
        turns.iter().rev().map_while(|turn| if let Turn::User(text) = turn { Some(&**text) } else { None });
    let mut said: Vec<&str> = said.collect();
    said.reverse();
    said.join(" ")
}

fn decide(conversation: &Conversation<'_>) -> Answer {
    let last_user = conversation.turns.iter().rposition(|turn| matches!(turn, Turn::User(_)));
    let Some(last_user) = last_user else { return Answer::say(small_talk::greeting(&conversation.system)) };
    let Turn::User(message) = &conversation.turns[last_user] else { return Answer::default() };
    let earlier: Vec<&str> = conversation.turns[..last_user]
        .iter()
        .filter_map(|turn| if let Turn::User(text) = turn { Some(&**text) } else { None })
        .collect();

    if conversation.system.starts_with("Summarise") {
        return Answer::say(small_talk::summary(message));
    }
    if let Some(text) = put_into_words(&conversation.turns[last_user + 1..]) {
        return Answer::say(text);
    }
    let mut numbers = invoices::numbers(message);
    if numbers.is_empty() {
        numbers.extend(invoices::spelled(&unanswered(&conversation.turns[..=last_user])));
    }
    if !numbers.is_empty() {
        if !conversation.offers(INVOICE_TOOL) {
            return Answer::say(format!(
                "I cannot look up invoices, so I know nothing of {}.",
                numbers.join(", ")
            ));
        }
        let call =
            |number| NewCall { tool: INVOICE_TOOL.to_owned(), arguments: json!({"invoice_id": number}) };
        return Answer { calls: numbers.into_iter().map(call).collect(), ..Answer::default() };
    }
    let named = conversation.tools.iter().filter(|tool| names_tool(message, tool));
    let calls: Vec<_> = named
        .map(|tool| NewCall { tool: tool.to_string(), arguments: Value::Object(json_in(message)) })
        .collect();
    if !calls.is_empty() {
        return Answer { calls, ..Answer::default() };
    }
    if let Some((tool, arguments)) = parting::wanted(message)
        && conversation.offers(tool)
    {
        return Answer { calls: vec![NewCall { tool: tool.to_owned(), arguments }], ..Answer::default() };
    }
    Answer::say(small_talk::reply(message, &earlier, &conversation.system))
}

/// One sentence per result; `None` when there are none.
fn put_into_words(turns: &[Turn<'_>]) -> Option<String> {
    let called = |wanted: &str| {
        let calls = turns
            .iter()
            .flat_map(|turn| if let Turn::Assistant { calls, .. } = turn { &calls[..] } else { &[] });
        calls.into_iter().find(|call| call.id == wanted)
    };
    let sentences = turns.iter().filter_map(|turn| {
        let Turn::ToolResult { call_id, tool, text, failed } = turn else { return None };
        let call = called(call_id);
        let tool = call.map_or(&**tool, |call| &call.tool);
        Some(if tool == INVOICE_TOOL {
            let asked = call.and_then(|call| call.arguments.get("invoice_id")?.as_str());
            invoices::sentence(asked, text, *failed)
        } else if let Some(words) = parting::words(tool).filter(|_| !failed) {
            words.to_owned()
        } else {
            let short: String = text.chars().take(REPEATED_CHARACTERS).collect();
            let verb = if *failed { "failed" } else { "answered" };
            format!("The tool {tool} {verb}: {short}")
        })
    });
    sentences.reduce(|all, next| format!("{all} {next}"))
}

fn names_tool(message: &str, tool: &str) -> bool {
    let is_name = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
    tool.contains(['_', '-']) && message.split(|character| !is_name(character)).any(|word| word == tool)
}

/// The JSON object between the first and the last brace of a text; empty when there is none.
fn json_in(message: &str) -> Map<String, Value> {
    let object =
        message.find('{').zip(message.rfind('}')).and_then(|(first, last)| message.get(first..=last));
    object.and_then(|object| serde_json::from_str(object).ok()).unwrap_or_default()
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
