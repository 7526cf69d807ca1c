//! The call that a worker holds, and what stands in the log of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::call::{Call, CallClaim};
use domain::session::Words;
use domain::{Held, Session};
use events::call::{CallClaimed, CallStarted};
use events::{
    AgentId, Aggregate, ApiKeyId, CallId, Cause, Event, EventId, JobId, Payload, Recorded, Sealed, SessionId,
    TenantId,
};
use nats::consume::Delivery;
use nats::{AppendError, Expect, Failure};
use projections::configuration::AgentRecord;
use uuid::Uuid;

use super::SOURCE;
use crate::{Workers, away};

/// All that a worker knows of the call it holds.
pub(super) struct Claimed {
    pub call_id: CallId,
    /// Who holds the call with a lower one is shut out.
    pub attempt: u32,
    pub call: Call,
    pub started: CallStarted,
    pub session: Session,
    /// `None`: it was deleted or switched off.
    pub agent: Option<Arc<AgentRecord>>,
    pub aggregate: Aggregate,
    pub session_aggregate: Aggregate,
    cause: Cause,
}

impl Claimed {
    /// Claims the delivered call. `None`: it is over.
    ///
    /// # Errors
    /// [`Failure::Stale`] when a newer delivery of the same call is out.
    pub(super) async fn claim(workers: &Workers, delivery: &Delivery) -> Result<Option<Self>, Failure> {
        let Recorded { event, position } = &delivery.recorded;
        let Payload::CallStarted(started) = &event.payload else {
            return Err(Failure::Fatal { reason: format!("{} is no call", event.payload.event_type()) });
        };
        let aggregate = event.envelope.aggregate;
        let held = Held { sequence: position.sequence, generation: delivery.generation };
        let cause = Cause::by(event, &workers.actor("voice"));
        let attempt = loop {
            let call = Call::of(&workers.nats.log.read(&aggregate, 0).await.map_err(away)?);
            let attempt = match call.claim(held) {
                CallClaim::Ended => return Ok(None),
                CallClaim::Stale => return Err(Failure::Stale),
                CallClaim::Start { attempt } | CallClaim::TakeOver { attempt } => attempt,
            };
            let claimed = CallClaimed {
                worker_id: workers.worker_id.clone(),
                attempt,
                held_sequence: held.sequence,
                held_generation: held.generation,
            };
            let event = Event::new(EventId::new(), workers.clock.now(), SOURCE, aggregate, &cause, claimed);
            match workers.nats.log.append(&event, Expect::Last(call.last_sequence)).await {
                Ok(_) => break attempt,
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(away(error)),
            }
        };
        let tenant_id = aggregate.tenant_id;
        let session_aggregate = Aggregate::session(tenant_id, started.session_id);
        let agent =
            workers.agents.get(tenant_id, started.agent_id, started.agent_version).await.map_err(away)?;
        let mut claimed = Self {
            call_id: CallId(aggregate.id),
            attempt,
            call: Call::default(),
            started: started.clone(),
            session: Session::default(),
            agent: agent.filter(|agent| agent.settings.is_active),
            aggregate,
            session_aggregate,
            cause,
        };
        claimed.catch_up(workers).await?;
        Ok(Some(claimed))
    }

    /// Takes in what happened to call and session since the last time.
    pub(super) async fn catch_up(&mut self, workers: &Workers) -> Result<(), Failure> {
        let news = workers.nats.log.read(&self.aggregate, self.call.last_sequence).await.map_err(away)?;
        news.iter().for_each(|recorded| self.call.evolve(recorded));
        workers.sessions.catch_up(&self.session_aggregate, &mut self.session).await.map_err(away)
    }

    /// Whether this worker still holds the call, as the log has it.
    pub(super) fn is_ours(&self) -> bool {
        self.call.is_held_by(self.attempt)
    }

    pub(super) fn tenant_id(&self) -> TenantId {
        self.aggregate.tenant_id
    }

    pub(super) fn session_id(&self) -> SessionId {
        self.started.session_id
    }

    pub(super) fn agent_id(&self) -> AgentId {
        self.started.agent_id
    }

    /// Whose call it is; `None`: nobody's key was used for it.
    pub(super) fn key_id(&self) -> Option<ApiKeyId> {
        self.cause.origin.key_id
    }

    /// An id that any worker makes for the same thing in this call, so that it stands in the log once.
    pub(super) fn derived<T: From<Uuid>>(&self, what: &str) -> T {
        T::from(Uuid::new_v5(&self.call_id.0, what.as_bytes()))
    }

    /// The name of what the agent says without having been asked.
    pub(super) fn greeting_job(&self) -> JobId {
        self.derived("greeting")
    }

    pub(super) fn call_event(&self, at: DateTime<Utc>, id: EventId, payload: impl Into<Payload>) -> Event {
        Event::new(id, at, SOURCE, self.aggregate, &self.cause, payload)
    }

    pub(super) fn session_event(&self, at: DateTime<Utc>, id: EventId, payload: impl Into<Payload>) -> Event {
        Event::new(id, at, SOURCE, self.session_aggregate, &self.cause, payload)
    }

    /// Records a fact of the call.
    pub(super) async fn note(
        &self,
        workers: &Workers,
        id: EventId,
        payload: impl Into<Payload>,
    ) -> Result<(), Failure> {
        self.note_at(workers, workers.clock.now(), id, payload).await
    }

    /// Records a fact of the call that was judged `at` this time.
    pub(super) async fn note_at(
        &self,
        workers: &Workers,
        at: DateTime<Utc>,
        id: EventId,
        payload: impl Into<Payload>,
    ) -> Result<(), Failure> {
        let event = self.call_event(at, id, payload);
        workers.nats.log.append(&event, Expect::Anything).await.map(|_| ()).map_err(away)
    }

    /// Seals the caller's words for the event `id`.
    pub(super) async fn seal(&self, workers: &Workers, id: EventId, words: &str) -> Result<Sealed, Failure> {
        let key_id = self.started.customer_key_id.0;
        workers.keyring.seal(self.tenant_id(), key_id, id, words).await.map_err(away)
    }

    /// `None`: the customer's key was dropped.
    pub(super) async fn open(&self, workers: &Workers, words: &Words) -> Result<Option<String>, Failure> {
        workers.keyring.open(self.tenant_id(), words.event_id, &words.sealed).await.map_err(away)
    }
}
