//! Messages that are spoken into a file: heard, answered as any other message, and the reply spoken into a file.
//!
//! The delivery is a `recording_received`. Its words become an ordinary `message_received` with the same job, which a
//! turn worker answers; this one waits for that, and speaks it. What a dead worker did stands in the log ([`message`]),
//! so the next one goes on behind it: each event is appended once, and each piece of work is on the bill once.

mod hearing;
mod message;
mod speaking;

use std::time::Duration;

use events::session::{FailureCode, ReplyCompleted};
use events::voice_message::{RecordingReceived, ReplyVoiced, SpokenReply, VoicingFailure};
use events::{Payload, Recorded};
use nats::consume::Delivery;
use nats::live::{Hear, LiveSubscription};
use nats::{Failure, LiveMessage};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{Workers, away};

use hearing::Unheard;
use message::{Message, elapsed_ms};

/// Recordings that are in memory at once; others wait.
const RECORDINGS_AT_ONCE: usize = 8;
/// A reply that nobody told us of is looked for in the log this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After so many tries an engine that has no room counts as one that failed.
const MOST_RETRIES: u32 = 4;

/// What the spoken messages of a process share.
pub(crate) struct VoiceMessages {
    workers: Workers,
    tasks: TaskTracker,
    recordings: Semaphore,
}

impl VoiceMessages {
    pub(crate) fn new(workers: Workers, tasks: TaskTracker) -> Self {
        Self { workers, tasks, recordings: Semaphore::new(RECORDINGS_AT_ONCE) }
    }

    /// Brings the recording to its end: a spoken reply, or a failure.
    pub(crate) async fn handle(
        &self,
        delivery: &Delivery,
        received: &RecordingReceived,
    ) -> Result<(), Failure> {
        let workers = &self.workers;
        let mut message = Message::of(workers, delivery, received).await?;
        if message.is_over() {
            return Ok(());
        }
        // Before the words are appended, so that nothing is missed.
        let mut live = workers.nats.live.subscribe(received.job_id, Hear::Events).await.map_err(away)?;
        if message.words.is_none() {
            match self.hear(&message, delivery.retries).await? {
                Ok(text) => message.say(workers, &text).await?,
                Err(Unheard { code, detail }) => return message.fail(workers, code, detail).await,
            }
        }
        match self.answered(&mut message, &mut live).await? {
            Some(reply) => self.speak(&mut message, &reply, delivery.retries).await,
            None => Ok(()),
        }
    }

    /// The delivery is being parked: its user is told.
    pub(crate) async fn give_up(
        &self,
        delivery: &Delivery,
        received: &RecordingReceived,
        reason: &str,
    ) -> Result<(), Failure> {
        tracing::error!(job_id = %received.job_id, reason, "a recording is given up");
        let mut message = Message::of(&self.workers, delivery, received).await?;
        if message.is_over() {
            return Ok(());
        }
        let detail = "the recording could not be worked on; an operator has been told".to_owned();
        if message.words.is_none() {
            return message.fail(&self.workers, FailureCode::InternalError, detail).await;
        }
        let Some(Recorded { event, .. }) = message.reply.clone() else {
            return Err(Failure::Retry { after: None, reason: "its reply is still awaited".to_owned() });
        };
        let Payload::ReplyCompleted(reply) = &event.payload else { return Ok(()) };
        let failure = VoicingFailure { code: FailureCode::InternalError.as_str().to_owned(), detail };
        let voiced = self.voiced(&message, reply, None, Some(failure));
        message.voiced(&self.workers, voiced).await
    }

    async fn hear(&self, message: &Message, retries: u32) -> Result<Result<String, Unheard>, Failure> {
        let _place = self.recordings.acquire().await.map_err(away)?;
        hearing::hear(&self.workers, &self.tasks, message, retries).await
    }

    /// The reply to the message; `None`: it got none, or it was spoken by somebody else meanwhile.
    async fn answered(
        &self,
        message: &mut Message,
        live: &mut LiveSubscription,
    ) -> Result<Option<Recorded>, Failure> {
        loop {
            message.catch_up(&self.workers).await?;
            if message.is_over() {
                return Ok(None);
            }
            if let Some(reply) = &message.reply {
                return Ok(Some(reply.clone()));
            }
            let told = async {
                while let Some(told) = live.next().await {
                    if let LiveMessage::Happened(recorded) = told
                        && matches!(
                            recorded.event.payload,
                            Payload::ReplyCompleted(_) | Payload::TurnFailed(_)
                        )
                    {
                        return;
                    }
                }
                std::future::pending().await
            };
            // Cancel-safe: whatever is not heard stands in the log.
            let _ = tokio::time::timeout(LOOK_AGAIN, told).await;
        }
    }

    async fn speak(&self, message: &mut Message, reply: &Recorded, retries: u32) -> Result<(), Failure> {
        let Payload::ReplyCompleted(completed) = &reply.event.payload else { return Ok(()) };
        let text = message.open(&self.workers, reply.event.envelope.id, &completed.content).await?;
        let spoken = speaking::speak(&self.workers, message, &text.unwrap_or_default(), retries).await?;
        let file = spoken.audio.as_ref().map(|audio| audio.file.artefact_id);
        let voiced = self.voiced(message, completed, spoken.audio, spoken.failure);
        message.voiced(&self.workers, voiced).await?;
        if let Some(artefact_id) = file
            && message.spoken != file
        {
            // Another worker was faster, and its file is the one that counts.
            self.workers.nats.artefacts.delete(message.session.tenant_id, artefact_id).await.map_err(away)?;
        }
        Ok(())
    }

    fn voiced(
        &self,
        message: &Message,
        reply: &ReplyCompleted,
        audio: Option<SpokenReply>,
        failure: Option<VoicingFailure>,
    ) -> ReplyVoiced {
        let heard_at = message.words.as_ref().map_or(message.received_at, |words| words.at);
        let replied_at = message.reply.as_ref().map_or(heard_at, |reply| reply.event.envelope.time);
        ReplyVoiced {
            job_id: reply.job_id,
            message_id: reply.message_id,
            audio,
            failure,
            stt_ms: elapsed_ms(message.received_at, heard_at),
            llm_ms: elapsed_ms(heard_at, replied_at),
            tts_ms: elapsed_ms(replied_at, self.workers.clock.now()),
        }
    }
}
