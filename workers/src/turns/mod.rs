//! The brain: takes a customer's message to its one terminal event.
//!
//! [`Turns::handle`] claims the session (compare-and-set), [`answer`] asks vendors and tools until there is a reply or
//! none is to be had, with requests that [`context`] fits into the models' windows, [`ending`] appends the terminal event
//! and tells whoever waits. A turn that is cancelled meanwhile ([`cancelling`]) ends as failed, with its bill. A worker
//! stays with a session until nothing is pending, and only then lets its delivery go.

mod answer;
mod attempts;
mod cancelling;
mod context;
mod conversation;
mod ending;
mod summary;
mod tool_round;

use std::sync::Arc;

use domain::{Claim, Held, Pending, Session, Turn};
use events::session::TurnStarted;
use events::{AgentId, Aggregate, Cause, Event, EventId, Payload, Recorded, SessionId, TenantId, TurnId};
use nats::consume::{self, Delivery};
use nats::topology::TURNS;
use nats::{AppendError, Expect, Failure, Handler};
use projections::configuration::AgentRecord;
use projections::reservations::Counted;
use tokio_util::sync::CancellationToken;

use crate::budgets::Payer;
use crate::prompts::LoadedPrompt;
use crate::{Workers, away};

use cancelling::{Cancellable, Running};

// The summaries of calls ask vendors as turns do.
pub(crate) use answer::chain;
pub(crate) use attempts::{Attempts, Work};
pub(crate) use context::smallest_window;
pub(crate) use conversation::{ERASED, open};
pub(crate) use summary::told as told_for_a_summary;

const SOURCE: &str = "vocalbridge/turns";

/// Runs the turn worker until `shutdown`, then finishes what it holds.
pub async fn run(workers: Workers, shutdown: CancellationToken) {
    let (log, clock, limits) = (workers.nats.log.clone(), workers.clock.clone(), workers.config.limits);
    let running = Running::default();
    let hear = cancelling::hear(workers.nats.live.clone(), running.clone());
    let turns = Arc::new(Turns { workers, running });
    // Cancellations are heard until the last turn has ended.
    tokio::select! {
        () = consume::run(log, clock, TURNS, limits, turns, shutdown) => {}
        () = hear => {}
    }
}

struct Turns {
    workers: Workers,
    running: Running,
}

/// A turn this worker has claimed, and all it knows of it.
struct Claimed {
    aggregate: Aggregate,
    session: Session,
    message: Pending,
    turn_id: TurnId,
    attempt: u32,
    voice: Voice,
    /// Everything done in this turn is caused by this.
    cause: Cause,
    cancellable: Cancellable,
}

/// Who answers, and what they are told, as it was when the turn was claimed.
struct Voice {
    /// `None`: the agent was deleted or switched off.
    agent: Option<Arc<AgentRecord>>,
    /// `None`: the agent has a text of its own.
    prompt: Option<Arc<LoadedPrompt>>,
}

impl Claimed {
    fn session_id(&self) -> SessionId {
        SessionId(self.aggregate.id)
    }

    /// What the vendors are asked for in this turn.
    fn work(&self) -> Work {
        let agent_id = self.session.opened.as_ref().map_or_else(AgentId::new, |opened| opened.agent_id);
        let payer = Payer {
            tenant_id: self.aggregate.tenant_id,
            agent_id,
            key_id: self.cause.origin.key_id,
            work_id: self.message.job_id.0,
            counted: if self.message.in_call { Counted::Not } else { Counted::Turn },
        };
        Work {
            facts: Aggregate::session_facts(self.aggregate.tenant_id, self.session_id()),
            turn_id: self.turn_id,
            job_id: self.message.job_id,
            agent_id,
            payer,
            cause: self.cause.clone(),
            earlier: self.attempt - 1,
            after: self.message.sequence,
        }
    }

    /// A new event of this turn.
    fn event(&self, workers: &Workers, payload: impl Into<Payload>) -> Event {
        self.event_with(workers, EventId::new(), payload)
    }

    fn event_with(&self, workers: &Workers, id: EventId, payload: impl Into<Payload>) -> Event {
        Event::new(id, workers.clock.now(), SOURCE, self.aggregate, &self.cause, payload)
    }

    /// Appends an event of the turn while the turn is ours; `false` when it no longer is.
    async fn append(&mut self, workers: &Workers, event: Event) -> Result<bool, Failure> {
        loop {
            match workers.nats.log.append(&event, Expect::Last(self.session.last_sequence)).await {
                Ok(position) => {
                    let _ = workers.nats.live.happened(self.message.job_id, &event, position).await;
                    self.session.evolve(&Recorded { position, event });
                    return Ok(true);
                }
                Err(AppendError::Conflict { .. }) => {
                    workers.sessions.catch_up(&self.aggregate, &mut self.session).await.map_err(away)?;
                    if !self.session.is_under_way(self.turn_id, self.attempt) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(away(error)),
            }
        }
    }
}

impl Handler for Turns {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        let aggregate = delivery.recorded.event.envelope.aggregate;
        let held = Held { sequence: delivery.recorded.position.sequence, generation: delivery.generation };
        let sessions = &self.workers.sessions;
        let mut session = sessions.at(delivery).await.map_err(away)?;
        loop {
            let (message, before) = match session.claim(held) {
                Claim::Nothing | Claim::LeaveToHolder => {
                    sessions.keep(aggregate, session);
                    return Ok(());
                }
                Claim::Stale => return Err(Failure::Stale),
                Claim::Start(message) => (message, None),
                Claim::TakeOver(message, turn) => (message, Some(turn)),
            };
            let Some(claimed) = self.claim(aggregate, &mut session, message, before, held).await? else {
                continue;
            };
            session = answer::answer(&self.workers, claimed).await?;
        }
    }

    async fn give_up(&self, delivery: &Delivery, reason: &str) -> Result<(), Failure> {
        ending::give_up(&self.workers, delivery, reason).await
    }
}

impl Turns {
    /// Appends the claim. `None`: the session went on meanwhile; `session` is up to date and the caller decides again.
    async fn claim(
        &self,
        aggregate: Aggregate,
        session: &mut Session,
        message: Pending,
        before: Option<Turn>,
        held: Held,
    ) -> Result<Option<Claimed>, Failure> {
        let cause = Cause {
            origin: message.origin(&self.workers.actor("turns")),
            causation_id: Some(message.words.event_id),
        };
        let voice = self.voice(aggregate.tenant_id, session, &message, before.as_ref()).await?;
        let turn_id = before.as_ref().map_or_else(TurnId::new, |turn| turn.turn_id);
        let attempt = before.map_or(1, |turn| turn.attempt + 1);
        let started = TurnStarted {
            turn_id,
            job_id: message.job_id,
            message_id: message.message_id,
            worker_id: self.workers.worker_id.clone(),
            agent_version: voice.agent.as_ref().map_or(message.agent_version, |agent| agent.version),
            attempt,
            held_sequence: held.sequence,
            held_generation: held.generation,
            prompt: voice.prompt.as_ref().map(|prompt| prompt.version),
        };
        let cancellable = self.running.register(message.job_id);
        let mut claimed = Claimed {
            aggregate,
            session: Session::default(),
            message,
            turn_id,
            attempt,
            voice,
            cause,
            cancellable,
        };
        let event = claimed.event(&self.workers, started);
        match self.workers.nats.log.append(&event, Expect::Last(session.last_sequence)).await {
            Ok(position) => {
                session.evolve(&Recorded { position, event });
                claimed.session = std::mem::take(session);
                Ok(Some(claimed))
            }
            Err(AppendError::Conflict { .. }) => {
                self.workers.sessions.catch_up(&aggregate, session).await.map_err(away)?;
                Ok(None)
            }
            Err(error) => Err(away(error)),
        }
    }

    /// The agent and its prompt as they are now; of a turn `before` that is taken over, the prompt's version stays.
    async fn voice(
        &self,
        tenant_id: TenantId,
        session: &Session,
        message: &Pending,
        before: Option<&Turn>,
    ) -> Result<Voice, Failure> {
        let Workers { agents, prompts, .. } = &self.workers;
        let agent = match &session.opened {
            Some(opened) => {
                agents.get(tenant_id, opened.agent_id, message.agent_version).await.map_err(away)?
            }
            None => None,
        };
        let agent = agent.filter(|agent| agent.settings.is_active);
        let prompt_id = agent.as_ref().and_then(|agent| agent.settings.system_prompt_id);
        let prompt = match prompt_id {
            Some(id) => {
                let used = before.and_then(|turn| turn.prompt).filter(|used| used.id == id);
                Some(prompts.get(tenant_id, id, used.map(|used| used.version)).await?)
            }
            None => None,
        };
        Ok(Voice { agent, prompt })
    }
}
