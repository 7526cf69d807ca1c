//! From an utterance to the reply on the socket.

use std::time::Duration;

use events::session::{Channel, SessionCreated};
use events::{Aggregate, Event, EventId, SessionId};
use nats::Expect;
use nats::live::Hear;
use serde_json::json;
use tokio::time::{Instant, timeout};
use voice::containers::Container;

use super::{Complaint, Talk};
use crate::app::SOURCE;
use crate::idempotency::Once;
use crate::problem::{Code, Problem};
use crate::routes::voice_messages::accept::{Accepted, Recording, accept};
use crate::routes::voice_messages::answer::VoiceReply;
use crate::routes::voice_messages::audio::SpokenAudio;
use crate::routes::voice_messages::upload::{self, Owner};
use crate::routes::voice_messages::wait::VoiceWaiting;
use crate::sessions;

/// What is sent as samples, without a container.
const RAW_SAMPLES: &str = "audio/l16";
/// Of an utterance.
const LONGEST_SECONDS: u32 = 60;
/// A second of raw samples: 16 bits at 16 kHz.
const RAW_BYTES_PER_SECOND: usize = 32_000;
/// How long an utterance waits for a slot.
const SLOT_PATIENCE: Duration = Duration::from_secs(2);
/// How long the socket waits for a reply; it goes on without the socket.
const REPLY_PATIENCE: Duration = Duration::from_secs(120);

impl Talk {
    /// Answers one utterance. The slot is taken here, so that who only listens or speaks holds none.
    pub(super) async fn answer(&mut self, utterance: Vec<u8>) -> Result<(), Complaint> {
        let media_type = check(&utterance)?;
        let slot = timeout(SLOT_PATIENCE, self.app.pipelines.clone().acquire_owned()).await;
        let Ok(Ok(_slot)) = slot else {
            return Err(Complaint::new("at_capacity", "no slot was free within two seconds"));
        };
        if self.tell(json!({ "status": "processing" })).await.is_err() {
            // Nobody would hear the answer. What is gone shows with the next message.
            return Ok(());
        }
        let session_id = self.session().await?;
        let (owner, reply) = self.ask(session_id, utterance, media_type).await?;
        if let Some(file) = &reply.file {
            let mut audio = SpokenAudio::open(&self.app, owner, file, 0..file.bytes).await?;
            while let Some(bytes) = audio.next().await? {
                if self.play(bytes).await.is_err() {
                    return Ok(());
                }
            }
        }
        if reply.reply.ends_session {
            self.session = None;
        }
        let done = json!({
            "status": "done", "transcript": reply.transcript, "reply": reply.reply.content,
            "latency": reply.latency, "audio_error": reply.audio_error, "session_id": session_id,
            "message_id": reply.reply.message_id, "job_id": reply.reply.job_id,
        });
        let _ = self.tell(done).await;
        Ok(())
    }

    async fn ask(
        &mut self,
        session_id: SessionId,
        utterance: Vec<u8>,
        media_type: Option<&'static str>,
    ) -> Result<(Owner, Box<VoiceReply>), Problem> {
        let (app, tenant_id) = (&self.app, self.caller.tenant_id);
        let facts = sessions::find(app, &self.caller, session_id).await?;
        let owner = Owner { tenant_id, customer_key_id: facts.customer_key_id };
        let upload = upload::of_bytes(app, owner, &utterance, media_type).await?;
        drop(utterance);
        let once = Once::now(app);
        let job_id = once.voice_job();
        // Before the append, so that not even the fastest answer is missed.
        let subscription = app.nats.live.subscribe(job_id, Hear::Events).await;
        let subscription = subscription.map_err(|error| Problem::unavailable(&error))?;
        let recording = Recording { session_id, facts: &facts, upload, longest_seconds: LONGEST_SECONDS };
        let Accepted { session, position, .. } = accept(app, &self.caller, recording, &once).await?;
        let mut waiting =
            VoiceWaiting { app: app.clone(), session, job_id, after: position.sequence, subscription };
        let outcome = tokio::select! {
            outcome = waiting.outcome(Instant::now() + REPLY_PATIENCE) => outcome,
            () = app.nearly_drained() => None,
        };
        let late = || Problem::new(Code::VendorTimeout, "the reply has not come yet; its job goes on");
        let outcome = outcome.ok_or_else(|| late().with_job(job_id))?;
        if let Err(problem) = &outcome.answer
            && problem.code() == Code::SessionEnded
        {
            // The next utterance begins another one.
            self.session = None;
        }
        Ok((owner, outcome.answer?))
    }

    /// The socket's session, which is opened with its first utterance.
    async fn session(&mut self) -> Result<SessionId, Problem> {
        if let Some(session_id) = self.session {
            return Ok(session_id);
        }
        let (app, tenant_id, session_id) = (&self.app, self.caller.tenant_id, SessionId::new());
        let made_up = || format!("voice-{session_id}");
        let customer_id = self.customer_id.clone().unwrap_or_else(made_up);
        let key = app.keyring.customer_key(tenant_id, &customer_id).await?;
        let id = EventId::new();
        let created = SessionCreated {
            agent_id: self.agent_id,
            channel: Channel::Voice,
            customer_key_id: key,
            customer_id: app.keyring.seal(tenant_id, key.0, id, &customer_id).await?,
            prompt_variables: None,
        };
        let session = Aggregate::session(tenant_id, session_id);
        let event = Event::new(id, app.clock.now(), SOURCE, session, &self.caller.cause(), created);
        app.nats.log.append(&event, Expect::Last(0)).await?;
        self.session = Some(session_id);
        Ok(session_id)
    }
}

/// What the utterance is: `None`, a file that says so itself.
fn check(utterance: &[u8]) -> Result<Option<&'static str>, Complaint> {
    if utterance.is_empty() {
        return Err(Complaint::new("no_speech", "nothing was said before the empty frame"));
    }
    if Container::of(utterance).is_some() {
        return Ok(None);
    }
    if !utterance.len().is_multiple_of(2) {
        return Err(Complaint::new("invalid_audio", "samples have 16 bits, and half of one is left over"));
    }
    if utterance.len() > LONGEST_SECONDS as usize * RAW_BYTES_PER_SECOND {
        return Err(Complaint::new("invalid_audio", "an utterance may last 60 seconds"));
    }
    Ok(Some(RAW_SAMPLES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_container_is_samples() {
        assert_eq!(check(&[0; 32_000]).unwrap(), Some(RAW_SAMPLES));
        assert_eq!(check(b"RIFF\0\0\0\0WAVEfmt ").unwrap(), None);
        assert_eq!(check(&[]).unwrap_err().code, "no_speech");
        assert_eq!(check(&[0; 3]).unwrap_err().code, "invalid_audio");
        assert!(check(&vec![0; 60 * 32_000]).is_ok());
        assert_eq!(check(&vec![0; 60 * 32_000 + 2]).unwrap_err().code, "invalid_audio");
    }
}
