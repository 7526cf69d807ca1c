//! The terminal event: exactly one per accepted message. It closes the message's bill.

use domain::tools::TRANSFER_CALL;
use domain::{Claim, Held, Session, Turn};
use events::session::{BudgetShortage, FailureCode, ReplyCompleted, Then, TurnFailed};
use events::{Cause, Event, EventId, MessageId, Recorded, TurnId};
use nats::consume::Delivery;
use nats::{AppendError, Expect, Failure};
use rust_decimal::Decimal;
use vendors::llm::Completed;

use super::attempts::Attempts;
use super::{Claimed, SOURCE, conversation};
use crate::budgets::Empty;
use crate::tools::transfer_call;
use crate::{Workers, away};

/// Ends the turn with the model's reply.
pub(super) async fn reply(
    workers: &Workers,
    claimed: Claimed,
    attempts: Attempts<'_>,
    completed: Completed,
) -> Result<Session, Failure> {
    let Some(opened) = claimed.session.opened.clone() else {
        return Err(Failure::Fatal { reason: "the session has no beginning".to_owned() });
    };
    let id = EventId::new();
    let tenant_id = claimed.aggregate.tenant_id;
    let content = workers
        .keyring
        .seal(tenant_id, opened.customer_key_id.0, id, &completed.reply.text)
        .await
        .map_err(away)?;
    let billed = attempts.billed.clone();
    let then = then(workers, &claimed).await?;
    let tools = claimed.session.turn.as_ref().map(|turn| turn.tools.as_slice()).unwrap_or_default();
    let payload = ReplyCompleted {
        turn_id: claimed.turn_id,
        job_id: claimed.message.job_id,
        in_reply_to: claimed.message.message_id,
        message_id: MessageId::new(),
        agent_id: opened.agent_id,
        channel: opened.channel,
        content,
        provider: completed.provider,
        model: completed.model,
        tokens_in: billed.iter().map(|attempt| attempt.metered.tokens_in).sum(),
        tokens_out: billed.iter().map(|attempt| attempt.metered.tokens_out).sum(),
        cost_usd: billed.iter().map(|attempt| attempt.metered.cost_usd).sum::<Decimal>().normalize(),
        latency_ms: age_ms(workers, &claimed),
        tools_called: tools.iter().map(|call| call.name.clone()).collect(),
        attempts: attempts.count(),
        billed,
        then,
        agent_version: claimed.voice.agent.as_ref().map(|agent| agent.version),
        prompt: claimed.voice.prompt.as_ref().map(|prompt| prompt.version),
        callback: claimed.message.callback.clone(),
        aloud: claimed.message.aloud,
    };
    let event = claimed.event_with(workers, id, payload);
    end(workers, claimed, attempts, event).await
}

/// What comes after the reply, as the tools that ran in the turn have it.
async fn then(workers: &Workers, claimed: &Claimed) -> Result<Option<Then>, Failure> {
    let Some(call) = claimed.session.turn.as_ref().and_then(Turn::parting) else { return Ok(None) };
    if call.name != TRANSFER_CALL {
        return Ok(Some(Then::End));
    }
    let Some((_, result)) = &call.result else { return Ok(None) };
    let result = conversation::open(workers, claimed.aggregate.tenant_id, result).await?;
    transfer_call::granted(&result)
        .map(|to_number| Some(Then::Transfer { to_number }))
        .ok_or_else(|| Failure::Fatal { reason: "a transfer was granted to no number".to_owned() })
}

/// Ends the turn because no budget has room for what would be next.
pub(super) async fn over_budget(
    workers: &Workers,
    claimed: Claimed,
    mut attempts: Attempts<'_>,
) -> Result<Session, Failure> {
    match attempts.not_admitted() {
        Some(Empty::OverBudget(shortage)) => {
            let detail = shortage.detail();
            without_reply(workers, claimed, attempts, FailureCode::BudgetExceeded, &detail, Some(shortage))
                .await
        }
        Some(Empty::Unknown { reason }) => Err(Failure::Retry { after: None, reason }),
        None => Err(Failure::Fatal { reason: "a request was refused for no reason".to_owned() }),
    }
}

/// Ends the turn without a reply.
pub(super) async fn fail(
    workers: &Workers,
    claimed: Claimed,
    attempts: Attempts<'_>,
    code: FailureCode,
    detail: &str,
) -> Result<Session, Failure> {
    without_reply(workers, claimed, attempts, code, detail, None).await
}

async fn without_reply(
    workers: &Workers,
    claimed: Claimed,
    attempts: Attempts<'_>,
    code: FailureCode,
    detail: &str,
    shortage: Option<BudgetShortage>,
) -> Result<Session, Failure> {
    let Some(opened) = claimed.session.opened.clone() else {
        return Err(Failure::Fatal { reason: "the session has no beginning".to_owned() });
    };
    let payload = TurnFailed {
        turn_id: claimed.turn_id,
        job_id: claimed.message.job_id,
        message_id: claimed.message.message_id,
        agent_id: opened.agent_id,
        channel: opened.channel,
        code,
        detail: detail.to_owned(),
        latency_ms: age_ms(workers, &claimed),
        attempts: attempts.count(),
        billed: attempts.billed.clone(),
        callback: claimed.message.callback.clone(),
        shortage,
    };
    let event = claimed.event(workers, payload);
    end(workers, claimed, attempts, event).await
}

/// Appends the terminal event while the turn is ours, behind the facts it bills, and tells whoever waits.
async fn end(
    workers: &Workers,
    mut claimed: Claimed,
    mut attempts: Attempts<'_>,
    event: Event,
) -> Result<Session, Failure> {
    loop {
        let expect = Expect::Last(claimed.session.last_sequence);
        // The facts were sent before it on the same connection; one round trip acknowledges all.
        let pending = workers.nats.log.send(&event, expect).await;
        attempts.settle().await?;
        match pending.acknowledged().await {
            Ok(position) => {
                let _ = workers.nats.live.happened(claimed.message.job_id, &event, position).await;
                workers.alerts.spent(claimed.aggregate.tenant_id);
                claimed.session.evolve(&Recorded { position, event });
                return Ok(claimed.session);
            }
            Err(AppendError::Conflict { .. }) => {
                workers.sessions.catch_up(&claimed.aggregate, &mut claimed.session).await.map_err(away)?;
                if !claimed.session.is_under_way(claimed.turn_id, claimed.attempt) {
                    return Err(Failure::Stale);
                }
            }
            Err(error) => return Err(away(error)),
        }
    }
}

/// The delivery is being parked: its message fails, so that its user is told.
pub(super) async fn give_up(workers: &Workers, delivery: &Delivery, reason: &str) -> Result<(), Failure> {
    let aggregate = delivery.recorded.event.envelope.aggregate;
    // A generation above all others: nobody else may hold this delivery now.
    let held = Held { sequence: delivery.recorded.position.sequence, generation: u64::MAX };
    let mut session = workers.sessions.at(delivery).await.map_err(away)?;
    tracing::error!(position = %delivery.recorded.position, reason, "a turn is given up");
    loop {
        let (message, turn_id) = match session.claim(held) {
            Claim::Start(message) => (message, TurnId::new()),
            Claim::TakeOver(message, turn) => (message, turn.turn_id),
            Claim::Nothing | Claim::LeaveToHolder | Claim::Stale => return Ok(()),
        };
        let Some(opened) = session.opened.clone() else { return Ok(()) };
        let cause = Cause {
            origin: message.origin(&workers.actor("turns")),
            causation_id: Some(message.words.event_id),
        };
        let age = workers.clock.now() - message.accepted_at;
        let payload = TurnFailed {
            turn_id,
            job_id: message.job_id,
            message_id: message.message_id,
            agent_id: opened.agent_id,
            channel: opened.channel,
            code: FailureCode::InternalError,
            detail: "the message could not be worked on; an operator has been told".to_owned(),
            latency_ms: age.num_milliseconds().max(0) as u64,
            attempts: 0,
            billed: vec![],
            callback: message.callback,
            shortage: None,
        };
        let event = Event::new(EventId::new(), workers.clock.now(), SOURCE, aggregate, &cause, payload);
        match workers.nats.log.append(&event, Expect::Last(session.last_sequence)).await {
            Ok(position) => {
                let _ = workers.nats.live.happened(message.job_id, &event, position).await;
                session.evolve(&Recorded { position, event });
            }
            Err(AppendError::Conflict { .. }) => {
                workers.sessions.catch_up(&aggregate, &mut session).await.map_err(away)?;
            }
            Err(error) => return Err(away(error)),
        }
    }
}

fn age_ms(workers: &Workers, claimed: &Claimed) -> u64 {
    (workers.clock.now() - claimed.message.accepted_at).num_milliseconds().max(0) as u64
}
