//! A spoken message as the log has it: how far it has come, and how it goes on exactly once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::SpeechWork;
use domain::session::Opened;
use events::call::{SpeechKind, SpeechOutcome};
use events::session::{FailureCode, MessageReceived, TurnFailed};
use events::voice_message::{RecordingReceived, ReplyVoiced, SpeechDone};
use events::{Aggregate, ArtefactId, Cause, Event, EventId, JobId, Payload, Recorded, Sealed};
use nats::consume::Delivery;
use nats::{AppendError, Expect, Failure};
use projections::SealedFile;
use projections::configuration::AgentRecord;
use projections::keyring::KeyringError;
use projections::reservations::Counted;
use uuid::Uuid;

use crate::budgets::{Payer, Purse};
use crate::{Workers, away};

const SOURCE: &str = "vocalbridge/voice";

/// What a worker knows of the message it works on.
pub(super) struct Message {
    pub session: Aggregate,
    pub received: RecordingReceived,
    pub received_at: DateTime<Utc>,
    /// `None`: it was deleted or switched off.
    pub agent: Option<Arc<AgentRecord>>,
    /// The words stand in the log.
    pub words: Option<Said>,
    /// The reply as it was completed.
    pub reply: Option<Recorded>,
    /// The reply's file, once it stands in the log.
    pub spoken: Option<ArtefactId>,
    opened: Opened,
    over: bool,
    last_sequence: u64,
    cause: Cause,
}

/// When the recording's words were known.
pub(super) struct Said {
    pub at: DateTime<Utc>,
}

/// What an engine did, for the bill.
pub(super) struct Work {
    pub kind: SpeechKind,
    /// Which of the message's pieces of this kind.
    pub number: u32,
    pub provider: String,
    pub model: String,
    pub audio_ms: u64,
    pub characters: u64,
    pub outcome: SpeechOutcome,
}

impl Message {
    pub(super) async fn of(
        workers: &Workers,
        delivery: &Delivery,
        received: &RecordingReceived,
    ) -> Result<Self, Failure> {
        let Recorded { event, position } = &delivery.recorded;
        let session = event.envelope.aggregate;
        let folded = workers.sessions.at(delivery).await.map_err(away)?;
        let opened = folded.opened.clone();
        workers.sessions.keep(session, folded);
        let opened =
            opened.ok_or_else(|| Failure::Fatal { reason: "the session has no beginning".to_owned() })?;
        let agent = workers.agents.get(session.tenant_id, opened.agent_id, received.agent_version).await;
        let mut message = Self {
            session,
            received: received.clone(),
            received_at: event.envelope.time,
            agent: agent.map_err(away)?.filter(|agent| agent.settings.is_active),
            words: None,
            reply: None,
            spoken: None,
            opened,
            over: false,
            last_sequence: position.sequence,
            cause: Cause::by(event, &workers.actor("voice")),
        };
        message.catch_up(workers).await?;
        Ok(message)
    }

    /// Takes in what happened since the last time.
    pub(super) async fn catch_up(&mut self, workers: &Workers) -> Result<(), Failure> {
        let news = workers.nats.log.read(&self.session, self.last_sequence).await.map_err(away)?;
        news.into_iter().for_each(|recorded| self.evolve(recorded));
        Ok(())
    }

    fn evolve(&mut self, recorded: Recorded) {
        self.last_sequence = recorded.position.sequence;
        let job_id = self.received.job_id;
        match &recorded.event.payload {
            Payload::MessageReceived(received) if received.job_id == job_id => {
                self.words = Some(Said { at: recorded.event.envelope.time });
            }
            Payload::ReplyCompleted(reply) if reply.job_id == job_id => self.reply = Some(recorded),
            Payload::TurnFailed(failed) if failed.job_id == job_id => self.over = true,
            Payload::ReplyVoiced(voiced) if voiced.job_id == job_id => {
                self.over = true;
                self.spoken = voiced.audio.as_ref().map(|audio| audio.file.artefact_id);
            }
            _ => {}
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// What its speech may cost. Its turn has a purse of its own, for the same work.
    pub(super) async fn purse(&self, workers: &Workers) -> Result<Purse, Failure> {
        let payer = Payer {
            tenant_id: self.session.tenant_id,
            agent_id: self.opened.agent_id,
            key_id: self.cause.origin.key_id,
            work_id: self.received.job_id.0,
            counted: Counted::Turn,
        };
        workers.budgets.purse(payer).await
    }

    /// The file that was sent.
    pub(super) fn recording(&self, workers: &Workers) -> SealedFile {
        self.file(workers, self.received.audio.artefact_id)
    }

    pub(super) fn file(&self, workers: &Workers, artefact_id: ArtefactId) -> SealedFile {
        let key_id = self.opened.customer_key_id;
        SealedFile::new(workers.keyring.clone(), self.session.tenant_id, key_id, artefact_id)
    }

    /// The recording's words become a message of the session.
    pub(super) async fn say(&mut self, workers: &Workers, text: &str) -> Result<(), Failure> {
        let id: EventId = self.derived("message");
        let key_id = self.opened.customer_key_id.0;
        let sealed = workers.keyring.seal(self.session.tenant_id, key_id, id, text).await;
        let said = MessageReceived {
            message_id: self.received.message_id,
            job_id: self.received.job_id,
            content: sealed.map_err(sealing)?,
            agent_version: self.agent.as_ref().map_or(self.received.agent_version, |agent| agent.version),
            stream: false,
            spoken: None,
            callback: None,
            aloud: true,
        };
        self.append(workers, id, said, |message| message.words.is_some() || message.over).await
    }

    /// There will be no message.
    pub(super) async fn fail(
        &mut self,
        workers: &Workers,
        code: FailureCode,
        detail: String,
    ) -> Result<(), Failure> {
        let failed = TurnFailed {
            turn_id: self.derived("turn"),
            job_id: self.received.job_id,
            message_id: self.received.message_id,
            agent_id: self.opened.agent_id,
            channel: self.opened.channel,
            code,
            detail,
            latency_ms: elapsed_ms(self.received_at, workers.clock.now()),
            attempts: 0,
            billed: vec![],
            callback: None,
            shortage: None,
        };
        let id = self.derived("failed");
        self.append(workers, id, failed, |message| message.words.is_some() || message.over).await
    }

    /// The reply was spoken, or not; another worker may have said so first.
    pub(super) async fn voiced(&mut self, workers: &Workers, voiced: ReplyVoiced) -> Result<(), Failure> {
        let id = self.derived("voiced");
        self.append(workers, id, voiced, |message| message.over).await
    }

    /// Puts a piece of work on the bill, once, whoever did it.
    pub(super) async fn meter(&self, workers: &Workers, work: Work) -> Result<(), Failure> {
        let Work { kind, number, provider, model, audio_ms, characters, outcome } = work;
        // An engine that failed may have done all of it.
        let estimated = outcome != SpeechOutcome::Succeeded;
        let done = SpeechWork { kind, audio_ms, characters, estimated };
        let prices = workers.prices.book(self.session.tenant_id).await.map_err(away)?;
        let now = workers.clock.now();
        let payload = SpeechDone {
            kind,
            job_id: self.received.job_id,
            agent_id: self.opened.agent_id,
            metered: prices.at(now).meter_speech(&provider, &model, done),
            provider,
            model,
            audio_ms,
            characters,
            outcome,
        };
        let facts = Aggregate::session_facts(self.session.tenant_id, self.session.id.into());
        let id = self.derived(&format!("{} {number}", kind.as_str()));
        let event = Event::new(id, now, SOURCE, facts, &self.cause, payload);
        workers.nats.log.append(&event, Expect::Anything).await.map(|_| ()).map_err(away)
    }

    /// `None`: the customer's key was dropped.
    pub(super) async fn open(
        &self,
        workers: &Workers,
        id: EventId,
        sealed: &Sealed,
    ) -> Result<Option<String>, Failure> {
        workers.keyring.open(self.session.tenant_id, id, sealed).await.map_err(away)
    }

    /// Appends unless `is_done` by then.
    async fn append(
        &mut self,
        workers: &Workers,
        id: EventId,
        payload: impl Into<Payload>,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(), Failure> {
        let event = Event::new(id, workers.clock.now(), SOURCE, self.session, &self.cause, payload);
        loop {
            if is_done(self) {
                return Ok(());
            }
            match workers.nats.log.append(&event, Expect::Last(self.last_sequence)).await {
                Ok(position) => {
                    let job_id: JobId = self.received.job_id;
                    let _ = workers.nats.live.happened(job_id, &event, position).await;
                    self.evolve(Recorded { position, event });
                    return Ok(());
                }
                Err(AppendError::Conflict { .. }) => self.catch_up(workers).await?,
                Err(error) => return Err(away(error)),
            }
        }
    }

    /// An id that any worker makes for the same thing of this message, so that it stands in the log once.
    fn derived<T: From<Uuid>>(&self, what: &str) -> T {
        T::from(Uuid::new_v5(&self.received.job_id.0, what.as_bytes()))
    }
}

/// A customer who was erased meanwhile has no words any more; anything else will come back.
pub(super) fn sealing(error: KeyringError) -> Failure {
    match error {
        KeyringError::Erased { .. } => Failure::Fatal { reason: error.to_string() },
        _ => away(error),
    }
}

pub(super) fn elapsed_ms(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}
