//! What ends a call in the log, and what the agent says of its own.

use domain::call::Call;
use events::call::{CallEnded, CallStatus};
use events::session::{Channel, Greeted, SessionEnded};
use events::{Aggregate, Cause, Event, EventId, JobId, Payload, Recorded};
use nats::consume::Delivery;
use nats::{AppendError, Expect, Failure};

use super::SOURCE;
use super::claimed::Claimed;
use crate::{Workers, away};

/// How a call ends.
pub(super) struct End {
    pub status: CallStatus,
    /// Stable and short.
    pub reason: &'static str,
}

impl End {
    pub(super) fn completed(reason: &'static str) -> Self {
        Self { status: CallStatus::Completed, reason }
    }

    pub(super) fn failed(reason: &'static str) -> Self {
        Self { status: CallStatus::Failed, reason }
    }
}

/// Ends session and call, while the call is ours. `false`: it is another worker's, or over already.
pub(super) async fn end(workers: &Workers, claimed: &mut Claimed, end: &End) -> Result<bool, Failure> {
    loop {
        claimed.catch_up(workers).await?;
        if !claimed.is_ours() {
            return Ok(false);
        }
        // The session first: once the call is over, nobody comes back to it.
        if !claimed.session.ended {
            let id = claimed.derived("session ended");
            let ended = SessionEnded { reason: "call_ended".to_owned() };
            let event = claimed.session_event(workers.clock.now(), id, ended);
            workers.nats.log.append(&event, Expect::Anything).await.map_err(away)?;
            continue;
        }
        let now = workers.clock.now();
        let duration_ms = claimed.call.duration_ms(now);
        let requests = replies(workers, claimed).await?;
        let prices = workers.prices.book(claimed.tenant_id()).await.map_err(away)?;
        let carrier = claimed.started.transport.carrier();
        let ended = CallEnded {
            status: end.status,
            end_reason: end.reason.to_owned(),
            session_id: claimed.session_id(),
            agent_id: claimed.agent_id(),
            duration_ms,
            requests,
            metered: carrier.map(|carrier| prices.at(now).meter_carrier(carrier, duration_ms, requests)),
        };
        let event = claimed.call_event(now, claimed.derived("ended"), ended);
        match workers.nats.log.append(&event, Expect::Last(claimed.call.last_sequence)).await {
            Ok(_) => return Ok(true),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(away(error)),
        }
    }
}

/// How often a model answered in the call.
async fn replies(workers: &Workers, claimed: &Claimed) -> Result<u32, Failure> {
    let history = workers.nats.log.read(&claimed.session_aggregate, 0).await.map_err(away)?;
    let replies =
        history.iter().filter(|recorded| matches!(recorded.event.payload, Payload::ReplyCompleted(_)));
    Ok(replies.count() as u32)
}

/// Records what the agent says of its own, before it is said.
pub(super) async fn greeted(
    workers: &Workers,
    claimed: &mut Claimed,
    job_id: JobId,
    words: &str,
) -> Result<(), Failure> {
    let id: EventId = claimed.derived(&format!("greeted {job_id}"));
    let greeted = Greeted {
        message_id: claimed.derived(&format!("greeting {job_id}")),
        job_id,
        agent_id: claimed.agent_id(),
        channel: Channel::Voice,
        content: claimed.seal(workers, id, words).await?,
    };
    let event = claimed.session_event(workers.clock.now(), id, greeted);
    workers.nats.log.append(&event, Expect::Anything).await.map_err(away)?;
    claimed.catch_up(workers).await
}

/// The delivery is being parked: its call is over, so that its user is told.
pub(super) async fn give_up(workers: &Workers, delivery: &Delivery, reason: &str) -> Result<(), Failure> {
    let Recorded { event, .. } = &delivery.recorded;
    let Payload::CallStarted(started) = &event.payload else { return Ok(()) };
    let aggregate: Aggregate = event.envelope.aggregate;
    tracing::error!(call_id = %aggregate.id, reason, "a call is given up");
    let cause = Cause::by(event, &workers.actor("voice"));
    loop {
        let call = Call::of(&workers.nats.log.read(&aggregate, 0).await.map_err(away)?);
        if call.ended {
            return Ok(());
        }
        let now = workers.clock.now();
        let ended = CallEnded {
            status: CallStatus::Failed,
            end_reason: "internal_error".to_owned(),
            session_id: started.session_id,
            agent_id: started.agent_id,
            duration_ms: call.duration_ms(now),
            requests: 0,
            metered: None,
        };
        let event = Event::new(EventId::new(), now, SOURCE, aggregate, &cause, ended);
        match workers.nats.log.append(&event, Expect::Last(call.last_sequence)).await {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(away(error)),
        }
    }
}
