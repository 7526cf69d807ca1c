//! What the model is told: the agent's prompt, the past (its beginning as a summary), the message, and the tools that
//! ran in this turn.

use std::collections::BTreeMap;

use domain::Line;
use domain::session::Words;
use events::TenantId;
use events::session::ToolStatus;
use nats::Failure;
use projections::configuration::AgentRecord;
use vendors::llm::{ChatMessage, ChatRequest, ToolCall};

use super::Claimed;
use crate::{Workers, away, tools};

/// Stands where a customer's words were before their key was dropped.
pub(crate) const ERASED: &str = "[erased]";
/// Stands before a summary. It is told as the customer's words are, and not with the system prompt: it holds what
/// customers said, and must not weigh more than that.
pub(super) const SUMMARY_HEAD: &str = "Earlier in this conversation:\n";

/// Everything that there is to tell. The summary, if there is one, and then the lines of the past come first.
pub(super) async fn request(
    workers: &Workers,
    claimed: &Claimed,
    agent: &AgentRecord,
    may_use_tools: bool,
) -> Result<ChatRequest, Failure> {
    let tenant_id = claimed.aggregate.tenant_id;
    let mut messages = Vec::with_capacity(claimed.session.history.len() + 2);
    if let Some(words) = &claimed.session.summary {
        let content = format!("{SUMMARY_HEAD}{}", open(workers, tenant_id, words).await?);
        messages.push(ChatMessage::User { content });
    }
    for line in &claimed.session.history {
        messages.push(match line {
            Line::Customer(words) => ChatMessage::User { content: open(workers, tenant_id, words).await? },
            Line::Assistant(words) => {
                ChatMessage::Assistant { content: open(workers, tenant_id, words).await?, tool_calls: vec![] }
            }
        });
    }
    messages.push(ChatMessage::User { content: open(workers, tenant_id, &claimed.message.words).await? });
    tool_rounds(workers, claimed, &mut messages).await?;
    let tools = if may_use_tools {
        tools::specs(workers, tenant_id, &agent.settings.tools_enabled).await.map_err(away)?
    } else {
        vec![]
    };
    Ok(ChatRequest {
        model: String::new(),
        system: system_prompt(workers, claimed, agent).await?,
        messages,
        tools,
        max_output_tokens: None,
    })
}

/// The agent's own text as it is, or its prompt with the values of session and agent.
async fn system_prompt(workers: &Workers, claimed: &Claimed, agent: &AgentRecord) -> Result<String, Failure> {
    let Some(prompt) = &claimed.voice.prompt else { return Ok(agent.settings.system_prompt.clone()) };
    let given = claimed.session.opened.as_ref().and_then(|opened| opened.prompt_variables.as_ref());
    let mut session = BTreeMap::new();
    if let Some(words) = given {
        let tenant_id = claimed.aggregate.tenant_id;
        let opened = workers.keyring.open(tenant_id, words.event_id, &words.sealed).await.map_err(away)?;
        // Of an erased customer nothing is known: the agent's values stand.
        session = opened.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    }
    Ok(prompt.render(&agent.settings.prompt_variables, &session))
}

/// The calls of each round in one assistant message, then their results in the same order.
async fn tool_rounds(
    workers: &Workers,
    claimed: &Claimed,
    messages: &mut Vec<ChatMessage>,
) -> Result<(), Failure> {
    let tenant_id = claimed.aggregate.tenant_id;
    let calls = claimed.session.turn.as_ref().map(|turn| turn.tools.as_slice()).unwrap_or_default();
    for round in calls.chunk_by(|one, next| one.round == next.round) {
        let (mut said, mut tool_calls, mut results) = (String::new(), Vec::new(), Vec::new());
        for call in round {
            if let Some(words) = &call.said {
                said = open(workers, tenant_id, words).await?;
            }
            let arguments = open(workers, tenant_id, &call.arguments).await?;
            tool_calls.push(ToolCall {
                id: call.vendor_call_id.clone(),
                name: call.name.clone(),
                arguments: serde_json::from_str(&arguments).unwrap_or_default(),
                signature: match &call.signature {
                    Some(words) => Some(open(workers, tenant_id, words).await?),
                    None => None,
                },
            });
            if let Some((status, words)) = &call.result {
                results.push(ChatMessage::ToolResult {
                    call_id: call.vendor_call_id.clone(),
                    name: call.name.clone(),
                    content: open(workers, tenant_id, words).await?,
                    is_error: *status == ToolStatus::Error,
                });
            }
        }
        messages.push(ChatMessage::Assistant { content: said, tool_calls });
        messages.append(&mut results);
    }
    Ok(())
}

pub(crate) async fn open(workers: &Workers, tenant_id: TenantId, words: &Words) -> Result<String, Failure> {
    let opened = workers.keyring.open(tenant_id, words.event_id, &words.sealed).await.map_err(away)?;
    Ok(opened.unwrap_or_else(|| ERASED.to_owned()))
}
