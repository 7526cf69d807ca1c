//! The model asked for tools: request them in the log, wait until they have run.

use std::time::Duration;

use events::session::{ToolCompleted, ToolRequested, ToolStatus};
use events::{AgentId, EventId, ToolCallId};
use nats::live::{Hear, LiveSubscription};
use nats::{Failure, LiveMessage};
use tokio::time::Instant;
use vendors::llm::ChatReply;

use super::Claimed;
use crate::{Workers, away};

/// How the session stood after the round.
pub(super) enum Went {
    /// Every call has a result, or the turn was cancelled and waits for none.
    On,
    /// Another worker has taken the turn over.
    ShutOut,
}

/// A result that nobody told us of is looked for in the log this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often the model has asked for tools in this turn.
pub(super) fn rounds(claimed: &Claimed) -> u32 {
    claimed.session.turn.as_ref().and_then(|turn| turn.tools.last()).map_or(0, |call| call.round)
}

/// Appends a `tool_requested` per call and waits for their results.
pub(super) async fn run(
    workers: &Workers,
    claimed: &mut Claimed,
    reply: ChatReply,
    round: u32,
) -> Result<Went, Failure> {
    let tenant_id = claimed.aggregate.tenant_id;
    let Some(opened) = claimed.session.opened.clone() else {
        return Err(Failure::Fatal { reason: "the session has no beginning".to_owned() });
    };
    let key_id = opened.customer_key_id.0;
    let mut live = workers.nats.live.subscribe(claimed.message.job_id, Hear::Events).await.map_err(away)?;
    let mut said = Some(reply.text).filter(|text| !text.is_empty());
    for call in reply.tool_calls {
        let id = EventId::new();
        let seal = |text: String| async move {
            workers.keyring.seal(tenant_id, key_id, id, &text).await.map_err(away)
        };
        let requested = ToolRequested {
            turn_id: claimed.turn_id,
            job_id: claimed.message.job_id,
            agent_id: opened.agent_id,
            tool_call_id: ToolCallId::new(),
            vendor_call_id: call.id,
            name: call.name,
            arguments: seal(call.arguments.to_string()).await?,
            round,
            said: match said.take() {
                Some(text) => Some(seal(text).await?),
                None => None,
            },
            signature: match call.signature {
                Some(signature) => Some(seal(signature).await?),
                None => None,
            },
        };
        let event = claimed.event_with(workers, id, requested);
        if !claimed.append(workers, event).await? {
            return Ok(Went::ShutOut);
        }
    }
    wait(workers, claimed, &mut live, opened.agent_id).await
}

async fn wait(
    workers: &Workers,
    claimed: &mut Claimed,
    live: &mut LiveSubscription,
    agent_id: AgentId,
) -> Result<Went, Failure> {
    let deadline = Instant::now() + workers.config.tool_timeout;
    loop {
        workers.sessions.catch_up(&claimed.aggregate, &mut claimed.session).await.map_err(away)?;
        if !claimed.session.is_under_way(claimed.turn_id, claimed.attempt) {
            return Ok(Went::ShutOut);
        }
        let waiting = unanswered(claimed);
        let Some(next) = waiting.first() else { return Ok(Went::On) };
        if Instant::now() >= deadline {
            let event = timed_out(workers, claimed, next, agent_id).await?;
            if !claimed.append(workers, event).await? {
                return Ok(Went::ShutOut);
            }
            continue;
        }
        let until = deadline.min(Instant::now() + LOOK_AGAIN);
        let mut left = waiting.len();
        // Live messages only save time: whatever they say, the log is read before going on.
        while left > 0 {
            // Cancel-safe: a live message that is not taken here is no loss.
            let next = tokio::select! {
                () = claimed.cancellable.token().cancelled() => return Ok(Went::On),
                next = tokio::time::timeout_at(until, live.next()) => next,
            };
            match next {
                Ok(Some(LiveMessage::Happened(happened))) => {
                    if matches!(happened.event.payload, events::Payload::ToolCompleted(_)) {
                        left -= 1;
                    }
                }
                Ok(Some(LiveMessage::Delta(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
}

fn unanswered(claimed: &Claimed) -> Vec<domain::ToolCall> {
    let tools = claimed.session.turn.as_ref().map(|turn| turn.tools.as_slice()).unwrap_or_default();
    tools.iter().filter(|call| call.result.is_none()).cloned().collect()
}

/// The tool did not answer in time: the model is told so. A result that comes later is told of, not used.
async fn timed_out(
    workers: &Workers,
    claimed: &Claimed,
    call: &domain::ToolCall,
    agent_id: AgentId,
) -> Result<events::Event, Failure> {
    let (tenant_id, key_id) = (claimed.aggregate.tenant_id, call.arguments.sealed.key_id);
    let id = EventId::new();
    let arguments = workers
        .keyring
        .open(tenant_id, call.arguments.event_id, &call.arguments.sealed)
        .await
        .map_err(away)?;
    let seal =
        |text: String| async move { workers.keyring.seal(tenant_id, key_id, id, &text).await.map_err(away) };
    let completed = ToolCompleted {
        turn_id: claimed.turn_id,
        job_id: claimed.message.job_id,
        agent_id,
        tool_call_id: call.tool_call_id,
        name: call.name.clone(),
        arguments: seal(arguments.unwrap_or_default()).await?,
        status: ToolStatus::Error,
        result: seal(r#"{"error":"the tool did not answer in time"}"#.to_owned()).await?,
        latency_ms: workers.config.tool_timeout.as_millis() as u64,
    };
    Ok(claimed.event_with(workers, id, completed))
}
