//! The beginning of a worker's part in a call: what the socket and the log say that there is to go on with.

use domain::voice_turn::{Mouth, Patience, VoiceTurn};
use events::JobId;
use events::call::CallConnected;
use events::session::Then;
use nats::Failure;
use nats::media::SocketState;
use projections::configuration::AgentRecord;
use vendors::stt::SttTarget;
use vendors::tts::TtsTarget;
use voice::backchannel::Backchannels;

use super::conversation::{Conversation, HUNG_UP, Line};
use super::ears::Ears;
use super::ending::{self, End};
use super::recorder::{Recorder, call_audio};
use super::reply::Reply;
use super::speaker::Voice;

/// The engine of an agent that names none.
const LOCAL: &str = "local";

impl Conversation {
    /// The socket is there: goes on where the log, and the socket, say that the call is.
    pub(super) async fn connected(&mut self, state: SocketState) -> Result<(), Failure> {
        let Some(agent) = self.claimed.agent.clone() else {
            return self.end(End::failed("agent_unavailable")).await;
        };
        let settings = &agent.settings;
        let heard = self.claimed.session.spoken.filter(|spoken| spoken.call_id == self.claimed.call_id);
        let first_frame = heard.map_or(0, |heard| heard.through_frame + 1).max(state.first_kept_frame);
        let format = state.format;
        self.line = Some(Line {
            ears: Ears::new(self.workers.stt.clone(), who_hears(&agent), format, first_frame),
            voice: Voice { engines: self.workers.tts.clone(), target: who_speaks(&agent), format },
            recorder: Recorder::new(format, state.first_kept_frame),
            listening: Backchannels::for_language(&settings.language),
        });
        self.committed = state.first_kept_frame;
        self.generation = state.playback.as_ref().map_or(0, |playback| playback.generation);
        if self.claimed.call.connected_at.is_none() {
            let format = call_audio(format);
            let id = self.claimed.derived("connected");
            self.claimed.note(&self.workers, id, CallConnected { format }).await?;
        }
        self.go_on(&state).await
    }

    /// Takes up what was under way when the worker before fell silent; or greets.
    async fn go_on(&mut self, state: &SocketState) -> Result<(), Failure> {
        if self.claimed.call.hangup_requested {
            return self.end(End::completed(HUNG_UP)).await;
        }
        let session = &self.claimed.session;
        let pending = session.pending.front().map(|pending| pending.job_id);
        let unheard = session
            .last_reply
            .map(|last| last.job_id)
            .filter(|job_id| self.claimed.call.spoken != Some(*job_id));
        let Some(job_id) = pending.or(unheard) else {
            if session.ended {
                return self.end(End::completed("ended_by_agent")).await;
            }
            if session.history.is_empty() && self.claimed.call.spoken.is_none() {
                return self.greet().await;
            }
            return Ok(());
        };
        let playback = state.playback.clone().filter(|playback| playback.job_id == job_id);
        let was_talking = playback.is_some() || pending.is_none();
        let mouth = if was_talking { Mouth::Talking } else { Mouth::Thinking };
        self.floor = match &playback {
            Some(playback) if playback.cleared => VoiceTurn::held(Patience::default(), mouth),
            _ => VoiceTurn::new(Patience::default(), mouth),
        };
        self.playback = playback;
        let reply = Reply::follow(&self.workers, job_id).await?;
        let known = reply.look(&self.workers, &self.claimed).await?;
        (self.reply, self.came_late) = (Some(reply), true);
        match known {
            Some(known) => self.outcome(known).await,
            None if pending.is_none() => self.say_again().await,
            None => Ok(()),
        }
    }

    /// What the agent said of its own, and was not heard.
    async fn say_again(&mut self) -> Result<(), Failure> {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        let last = self.claimed.session.history.back().map(|line| line.words().clone());
        let words = match last {
            Some(words) => self.claimed.open(&self.workers, &words).await?.unwrap_or_default(),
            None => String::new(),
        };
        self.say_all(reply.job_id, &words, None);
        Ok(())
    }

    async fn greet(&mut self) -> Result<(), Failure> {
        let greeting = self.claimed.agent.as_ref().and_then(|agent| agent.settings.greeting.clone());
        match greeting.filter(|greeting| !greeting.trim().is_empty()) {
            Some(greeting) => self.say_unasked(self.claimed.greeting_job(), &greeting, None).await,
            None => Ok(()),
        }
    }

    /// Says what no model wrote.
    pub(super) async fn say_unasked(
        &mut self,
        job_id: JobId,
        words: &str,
        then: Option<Then>,
    ) -> Result<(), Failure> {
        ending::greeted(&self.workers, &mut self.claimed, job_id, words).await?;
        self.say_all(job_id, words, then);
        Ok(())
    }
}

/// Whom the agent listens through.
pub(crate) fn who_hears(agent: &AgentRecord) -> SttTarget {
    let settings = &agent.settings;
    let stt = settings.stt.as_ref();
    SttTarget {
        provider: stt.map_or_else(|| LOCAL.to_owned(), |stt| stt.provider.clone()),
        model: stt.and_then(|stt| stt.model.clone()),
        language: stt.and_then(|stt| stt.language.clone()).unwrap_or_else(|| settings.language.clone()),
    }
}

/// Whose voice the agent has.
pub(crate) fn who_speaks(agent: &AgentRecord) -> TtsTarget {
    let settings = &agent.settings;
    let tts = settings.tts.as_ref();
    TtsTarget {
        provider: tts.map_or_else(|| LOCAL.to_owned(), |tts| tts.provider.clone()),
        model: tts.and_then(|tts| tts.model.clone()),
        voice: tts.and_then(|tts| tts.voice.clone()).or_else(|| settings.voice_id.clone()),
        language: tts.and_then(|tts| tts.language.clone()).unwrap_or_else(|| settings.language.clone()),
    }
}
