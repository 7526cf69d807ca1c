//! The second half of a call's loop: what the caller said goes to the brain, what the brain says goes to the caller.

use bytes::Bytes;
use domain::voice_turn::{Input, Mouth};
use events::call::{ReplySpoken, SpeechOutcome, TurnMeasured};
use events::session::{Channel, MessageReceived, ReplyInterrupted, SpokenMessage, Then};
use events::{EventId, JobId, MessageId, Payload, Recorded};
use nats::media::Down;
use nats::{AppendError, Expect, Failure};
use serde_json::{Value, json};
use tokio::time::Instant;
use vendors::stt::SttError;
use voice::endpoint::Asked;

use super::conversation::{CLEARED, Conversation, LetGo, Utterance};
use super::ending::{self, End};
use super::metering;
use super::mouth::Speech;
use super::reply::{Outcome, Reply, Told, outcome};
use super::saying::Saying;
use super::speaker::Made;
use super::stopwatch::mark;
use crate::away;

/// After so many turns in a row that came to nothing the call is given up.
const MOST_FAILURES: u32 = 2;
/// Said when there is no answer, and when there will be none.
const APOLOGY: &str = "I am sorry, I cannot answer that right now. Could you say it again?";
const LAST_APOLOGY: &str = "I am sorry, I cannot help you right now. Please call again later. Goodbye.";

/// A reply that was interrupted, until it is known what was heard of it.
pub(super) struct Interrupted {
    pub job_id: JobId,
    /// `None`: nothing of it was said.
    pub saying: Option<Saying>,
    /// Its turn is under way.
    pub cancel: bool,
    pub since: Instant,
}

impl Conversation {
    /// Sends what the caller said, once it is known what they had heard before.
    pub(super) async fn submit(&mut self) -> Result<(), Failure> {
        if self.interrupted.is_some() {
            return Ok(());
        }
        let Some(Utterance { text, from, through }) = self.said.take() else { return Ok(()) };
        let spoken = SpokenMessage {
            call_id: self.claimed.call_id,
            from_frame: from,
            through_frame: through.saturating_sub(1),
        };
        let id: EventId = self.claimed.derived(&format!("message {from}"));
        let job_id: JobId = self.claimed.derived(&format!("job {from}"));
        // Before the append, so that no word is missed.
        let reply = Reply::follow(&self.workers, job_id).await?;
        // What is decided on something old is not appended. So the log need not be read as long as it often is not.
        self.workers.sessions.refresh(&self.claimed.session_aggregate, &mut self.claimed.session);
        loop {
            let session = &self.claimed.session;
            if session.ended {
                return self.end(End::completed("session_ended")).await;
            }
            let known = session.spoken.filter(|known| known.call_id == spoken.call_id);
            if known.is_some_and(|known| known.through_frame >= from) {
                // Another worker heard it, too: this one has lost the call, and will be told.
                return Ok(());
            }
            let received = MessageReceived {
                message_id: self.claimed.derived::<MessageId>(&format!("message id {from}")),
                job_id,
                content: self.claimed.seal(&self.workers, id, &text).await?,
                agent_version: self.claimed.agent.as_ref().map_or(1, |agent| agent.version),
                stream: true,
                spoken: Some(spoken),
                callback: None,
                aloud: false,
            };
            let event = self.claimed.session_event(self.workers.clock.now(), id, received);
            match self.workers.nats.log.append(&event, Expect::Last(session.last_sequence)).await {
                Ok(position) => {
                    self.claimed.session.evolve(&Recorded { position, event });
                    break;
                }
                Err(AppendError::Conflict { .. }) => self.claimed.catch_up(&self.workers).await?,
                Err(error) => return Err(away(error)),
            }
        }
        (self.reply, self.came_late) = (Some(reply), false);
        self.turn = std::mem::take(&mut self.hearing);
        self.turn.job_id = Some(job_id);
        self.tell(json!({ "type": "transcript", "role": "user", "content": text, "is_final": true })).await
    }

    /// What is heard of the reply that is being followed.
    pub(super) async fn told(&mut self, told: Told) -> Result<(), Failure> {
        let Some(reply) = &self.reply else { return Ok(()) };
        let job_id = reply.job_id;
        match told {
            Told::Delta(delta) => {
                mark(&mut self.turn.first_token);
                // Who came to the call in the middle of a reply has missed its beginning, and waits for all of it.
                if !self.came_late
                    && let Some(saying) = self.saying(job_id)
                {
                    saying.words(delta.attempt, &delta.text);
                }
                Ok(())
            }
            Told::Happened(recorded) => match outcome(&recorded, job_id) {
                Some(outcome) => self.outcome(outcome).await,
                None => self.tool(&recorded).await,
            },
            Told::Nothing => match reply.look(&self.workers, &self.claimed).await? {
                Some(outcome) => self.outcome(outcome).await,
                None => Ok(()),
            },
        }
    }

    /// The turn is over.
    pub(super) async fn outcome(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        match outcome {
            Outcome::Completed { words, then, provider } => {
                self.failures = 0;
                mark(&mut self.turn.first_token);
                self.turn.llm_provider = Some(provider);
                let text = self.claimed.open(&self.workers, &words).await?.unwrap_or_default();
                if then.is_some() && self.floor.mouth() == Mouth::Talking {
                    self.inputs.push_back(Input::Talks { parting: true });
                    self.decide().await?;
                }
                self.say_all(reply.job_id, &text, then);
                Ok(())
            }
            Outcome::Failed | Outcome::OverBudget => {
                if let Some(spoke) = self.saying.take().and_then(|mut saying| saying.cancel()) {
                    metering::spoke(&self.workers, &self.claimed, reply.job_id, &spoke).await?;
                }
                self.measure().await?;
                if outcome == Outcome::OverBudget {
                    return self.say_goodbye().await;
                }
                self.failures += 1;
                let (words, then) = match self.failures {
                    MOST_FAILURES.. => (LAST_APOLOGY, Some(Then::End)),
                    _ => (APOLOGY, None),
                };
                let job_id = self.claimed.derived(&format!("apology {}", reply.job_id));
                self.say_unasked(job_id, words, then).await
            }
        }
    }

    /// A tool was asked for or has run: a browser is shown it, and what was said before is spoken meanwhile.
    async fn tool(&mut self, recorded: &Recorded) -> Result<(), Failure> {
        let id = recorded.event.envelope.id;
        let (name, arguments, result) = match &recorded.event.payload {
            Payload::ToolRequested(requested) => (&requested.name, &requested.arguments, None),
            Payload::ToolCompleted(completed) => {
                (&completed.name, &completed.arguments, Some(&completed.result))
            }
            _ => return Ok(()),
        };
        if let Some(saying) = &mut self.saying {
            saying.pause();
        }
        let open = async |sealed| {
            let opened =
                self.workers.keyring.open(self.claimed.tenant_id(), id, sealed).await.map_err(away)?;
            Ok::<Value, Failure>(opened.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
        };
        let mut shown = json!({ "type": "tool_call", "name": name, "arguments": open(arguments).await? });
        if let Some(result) = result {
            shown["result"] = open(result).await?;
        }
        self.tell(shown).await
    }

    /// The reply to `job_id` as it is being said; a new one when the agent is silent.
    pub(super) fn saying(&mut self, job_id: JobId) -> Option<&mut Saying> {
        let line = self.line.as_ref()?;
        if self.saying.as_ref().is_none_or(|saying| saying.speech.job_id != job_id) {
            let generation = self.generation + 1;
            let speech = Speech::new(job_id, generation, line.voice.format, &line.voice.target.language);
            self.saying = Some(Saying::new(speech, line.voice.clone()));
        }
        self.saying.as_mut()
    }

    /// All words of the reply to `job_id` are known; another worker may have said some of them.
    pub(super) fn say_all(&mut self, job_id: JobId, text: &str, then: Option<Then>) {
        let playback = self.playback.take().filter(|playback| playback.job_id == job_id);
        if let (Some(playback), Some(line)) = (playback, &self.line) {
            self.saying = Some(Saying::taken_over(&playback, text, then, line.voice.clone()));
        } else if let Some(saying) = self.saying(job_id) {
            saying.all_words(text, then);
        }
    }

    /// A speech engine has made something.
    pub(super) async fn made(&mut self, made: Option<Made>) -> Result<(), Failure> {
        let Some(saying) = &mut self.saying else { return Ok(()) };
        let job_id = saying.speech.job_id;
        if let Some(Made::Failed(error)) = &made {
            tracing::warn!(call_id = %self.claimed.call_id, error = %crate::with_sources(error), "a piece was not spoken");
            self.unspoken += 1;
        }
        if let Some(spoke) = saying.take(made) {
            if spoke.outcome == SpeechOutcome::Succeeded {
                self.unspoken = 0;
                self.turn.tts_provider.get_or_insert_with(|| spoke.provider.clone());
            }
            metering::spoke(&self.workers, &self.claimed, job_id, &spoke).await?;
        }
        if self.unspoken > MOST_FAILURES {
            return self.end(End::failed("speech_failed")).await;
        }
        Ok(())
    }

    /// Has the next piece made, and sends what there is to send, unless the caller has the floor.
    pub(super) async fn speak(&mut self) -> Result<(), Failure> {
        let Some(saying) = &mut self.saying else { return Ok(()) };
        if saying.make_next(&self.tasks) {
            mark(&mut self.turn.first_piece);
        }
        while !self.floor.is_held()
            && let Some(saying) = &mut self.saying
            && let Some(down) = saying.next()
        {
            self.generation = self.generation.max(saying.speech.generation());
            let parting = saying.then.is_some();
            self.send(&down).await?;
            match down {
                Down::Audio { .. } if matches!(self.floor.mouth(), Mouth::Thinking | Mouth::Silent) => {
                    mark(&mut self.turn.first_audio);
                    self.inputs.push_back(Input::Talks { parting });
                    self.decide().await?;
                }
                Down::Piece { text, .. } => {
                    let piece = json!({ "type": "transcript", "role": "assistant", "content": text, "is_final": false });
                    self.tell(piece).await?;
                }
                _ => {}
            }
        }
        match &self.saying {
            Some(saying) if saying.is_spoken() => self.spoken().await,
            _ => Ok(()),
        }
    }

    /// The caller has heard all of the reply.
    async fn spoken(&mut self) -> Result<(), Failure> {
        let Some(saying) = self.saying.take() else { return Ok(()) };
        let job_id = saying.speech.job_id;
        let id = self.claimed.derived(&format!("spoken {job_id}"));
        self.claimed.note(&self.workers, id, ReplySpoken { job_id }).await?;
        let words = saying.text().to_owned();
        self.asked = Asked::by(&words);
        self.tell(json!({ "type": "transcript", "role": "assistant", "content": words, "is_final": true }))
            .await?;
        self.measure().await?;
        self.inputs.push_back(Input::Spoken);
        self.decide().await?;
        match saying.then {
            None => Ok(()),
            Some(then) => {
                let reason = self.money.end_reason.unwrap_or_else(|| then.end_reason());
                self.end(End::completed(reason)).await
            }
        }
    }

    /// The socket has told what was played; the recording has it from here.
    pub(super) fn played(&mut self, hear: impl FnOnce(&mut Speech) -> Vec<Bytes>) {
        let saying = self.interrupted.as_mut().and_then(|interrupted| interrupted.saying.as_mut());
        let (Some(saying), Some(line)) = (saying.or(self.saying.as_mut()), &mut self.line) else { return };
        let now = line.ears.next_frame();
        line.recorder.agent(now, hear(&mut saying.speech));
    }

    /// The caller has taken the floor: nothing more of the reply is said, made or asked for.
    pub(super) async fn interrupt(&mut self) -> Result<(), Failure> {
        self.turn.interrupted = true;
        let reply = self.reply.take();
        let mut saying = self.saying.take();
        let named = reply.as_ref().map(|reply| reply.job_id);
        let Some(job_id) = named.or(saying.as_ref().map(|saying| saying.speech.job_id)) else {
            return Ok(());
        };
        if let Some(saying) = &mut saying {
            if let Some(clear) = saying.speech.hold() {
                self.send(&clear).await?;
            }
            if let Some(spoke) = saying.cancel() {
                metering::spoke(&self.workers, &self.claimed, job_id, &spoke).await?;
            }
        }
        let cancel = reply.is_some();
        // Where words are on their way to the ear the turn has long begun, and costs money: it is stopped at once.
        if cancel && saying.is_some() {
            self.workers.nats.live.cancel(job_id).await.map_err(away)?;
        }
        self.interrupted = Some(Interrupted { job_id, saying, cancel, since: Instant::now() });
        self.settle_interruption().await
    }

    /// Records what was heard of an interrupted reply as soon as that is known, and sends what the caller said instead.
    pub(super) async fn settle_interruption(&mut self) -> Result<(), Failure> {
        let Some(Interrupted { saying, since, .. }) = &self.interrupted else { return Ok(()) };
        let clearing = saying.as_ref().is_some_and(|saying| saying.speech.is_clearing());
        if clearing && since.elapsed() < CLEARED {
            return Ok(());
        }
        let Some(Interrupted { job_id, saying, cancel, .. }) = self.interrupted.take() else { return Ok(()) };
        let (words, heard_ms, queued_ms) = saying.map(|saying| saying.speech.heard()).unwrap_or_default();
        let id: EventId = self.claimed.derived(&format!("interrupted {job_id}"));
        let heard = match words.is_empty() {
            true => None,
            false => Some(self.claimed.seal(&self.workers, id, &words).await?),
        };
        let interrupted = ReplyInterrupted {
            job_id,
            message_id: self.claimed.derived(&format!("interrupted message {job_id}")),
            agent_id: self.claimed.agent_id(),
            channel: Channel::Voice,
            heard,
            heard_ms,
            queued_ms,
        };
        let event = self.claimed.session_event(self.workers.clock.now(), id, interrupted);
        self.workers.nats.log.append(&event, Expect::Anything).await.map_err(away)?;
        // A turn that nobody has claimed yet cannot be cancelled; then the log says that nothing of it was heard.
        if cancel {
            self.workers.nats.live.cancel(job_id).await.map_err(away)?;
        }
        self.tell(json!({ "type": "transcript", "role": "assistant", "content": words, "is_final": true }))
            .await?;
        self.measure().await?;
        self.submit().await
    }

    /// Records how long the turn took, once.
    pub(super) async fn measure(&mut self) -> Result<(), Failure> {
        let turn = std::mem::take(&mut self.turn);
        let Some(measured) = turn.measured(self.claimed.call.turns + 1) else { return Ok(()) };
        self.claimed.call.turns += 1;
        let latency = latency(&measured);
        let id = self.claimed.derived(&format!("measured {}", measured.job_id));
        self.claimed.note(&self.workers, id, measured).await?;
        self.tell(json!({ "type": "turn", "latency": latency })).await
    }

    /// Nobody could listen: a caller who speaks and is never heard must not be kept.
    pub(super) async fn not_understood(&mut self, error: &SttError) -> Result<(), Failure> {
        tracing::warn!(call_id = %self.claimed.call_id, error = %crate::with_sources(error), "a caller was not heard");
        self.unheard += 1;
        match self.unheard {
            0..=MOST_FAILURES => Ok(()),
            _ => self.end(End::failed("recognition_failed")).await,
        }
    }

    /// Ends the call in the log, and then at the socket.
    pub(super) async fn end(&mut self, end: End) -> Result<(), Failure> {
        if let Some(reply) = self.reply.take() {
            self.workers.nats.live.cancel(reply.job_id).await.map_err(away)?;
        }
        if let Some(mut saying) = self.saying.take() {
            let job_id = saying.speech.job_id;
            if let Some(spoke) = saying.cancel() {
                metering::spoke(&self.workers, &self.claimed, job_id, &spoke).await?;
            }
        }
        self.measure().await?;
        // The recording first: once the call is over, nobody comes back for it. Whoever hands the call over instead leaves
        // what is not stored to the socket, and the next worker stores it.
        self.claimed.catch_up(&self.workers).await?;
        if let Some(line) = self.line.as_mut().filter(|_| self.claimed.is_ours()) {
            line.recorder.finish(&self.workers, &self.claimed).await?;
        }
        let is_ours = ending::end(&self.workers, &mut self.claimed, &end).await?;
        self.workers.alerts.spent(self.claimed.tenant_id());
        self.over = Some(if is_ours { LetGo::Ended } else { LetGo::TakenOver });
        self.send(&Down::HangUp { reason: end.reason.to_owned() }).await
    }
}

/// The parts of a turn as browsers are told them; what the turn did not come to is `null`.
fn latency(measured: &TurnMeasured) -> Value {
    json!({
        "speech_ms": measured.speech_ms,
        "endpointing_ms": measured.endpointing_ms,
        "stt_ms": measured.stt_ms,
        "first_token_ms": measured.first_token_ms,
        "first_sentence_ms": measured.first_sentence_ms,
        "first_audio_ms": measured.first_audio_ms,
        "caller_gap_ms": measured.caller_gap_ms,
    })
}
