//! The loop of one call: hears, has the floor decide, speaks.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use domain::voice_turn::{Act, Input, Meaning, Mouth, Patience, VoiceTurn};
use events::call::{CallStatus, Transport};
use nats::Failure;
use nats::live::Hangups;
use nats::media::{CloseReason, Down, Playback, SocketState, Up, WorkerSide};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voice::backchannel::{Backchannels, Heard};
use voice::endpoint::{self, Asked, Said};

use super::answering::Interrupted;
use super::claimed::Claimed;
use super::ears::{Ears, Words};
use super::ending::End;
use super::metering;
use super::paying::Money;
use super::recorder::Recorder;
use super::reply::{Reply, Told};
use super::saying::Saying;
use super::speaker::{Made, Voice};
use super::stopwatch::{Stopwatch, mark};
use crate::{Workers, away};

/// Why a worker no longer holds a call.
pub(super) enum LetGo {
    /// The log says that the call is over.
    Ended,
    /// This process is ending; the call goes on elsewhere.
    HandedOver,
    /// Another worker has it.
    TakenOver,
}

/// Why a call is over that somebody had ended through the API.
pub(super) const HUNG_UP: &str = "hung_up";
const TICK: Duration = Duration::from_millis(250);
/// A socket that was never there is waited for so long: a phone rings.
const NO_SOCKET: Duration = Duration::from_secs(60);
/// A socket that was there is waited for so long: a carrier connects again.
const LOST_SOCKET: Duration = Duration::from_secs(10);
/// A socket that says nothing for so long is asked whether it is there.
const SILENT_SOCKET: Duration = Duration::from_secs(2);
/// How long a hand-over waits for the end of what is being said.
const HAND_OVER: Duration = Duration::from_secs(4);
/// The socket answers a `Clear` within this time, or never.
pub(super) const CLEARED: Duration = Duration::from_millis(500);
/// Frames are let go in steps of one second.
const COMMIT_FRAMES: u32 = 50;
/// Kept behind what is needed: speech is recognised a little after it began.
const KEPT_FRAMES: u32 = 25;

/// What the caller said, until it can be sent.
pub(super) struct Utterance {
    pub text: String,
    pub from: u32,
    pub through: u32,
}

/// What is there once the socket was heard from.
pub(super) struct Line {
    pub ears: Ears,
    pub voice: Voice,
    pub recorder: Recorder,
    /// How people show in the agent's language that they listen.
    pub listening: Backchannels,
}

/// One call in the hands of one worker.
pub(super) struct Conversation {
    pub(super) workers: Workers,
    pub(super) claimed: Claimed,
    pub(super) tasks: TaskTracker,
    socket: WorkerSide,
    hangups: Hangups,
    pub(super) line: Option<Line>,
    pub(super) floor: VoiceTurn,
    pub(super) inputs: VecDeque<Input>,
    pub(super) reply: Option<Reply>,
    /// The reply that is followed began before this worker came.
    pub(super) came_late: bool,
    pub(super) saying: Option<Saying>,
    /// What the worker before had sent of a reply whose words are not all known yet.
    pub(super) playback: Option<Playback>,
    pub(super) interrupted: Option<Interrupted>,
    pub(super) said: Option<Utterance>,
    /// The newest generation that the socket may know.
    pub(super) generation: u32,
    /// Of the utterance that is being heard.
    pub(super) hearing: Stopwatch,
    last_voiced_frame: u32,
    /// Where the utterance began that is being heard, and the one that is being transcribed.
    utterance_from: u32,
    transcribed_from: u32,
    /// The frame at which its words so far were asked for.
    asked_at_frame: u32,
    /// What kind of answer the agent's last words want.
    pub(super) asked: Asked,
    /// Of the turn that is being answered.
    pub(super) turn: Stopwatch,
    /// Turns in a row without an answer, utterances without words because nobody listened, pieces without a voice.
    pub(super) failures: u32,
    pub(super) unheard: u32,
    pub(super) unspoken: u32,
    pub(super) committed: u32,
    heard_at: Instant,
    lost_at: Option<Instant>,
    draining: Option<Instant>,
    pub(super) money: Money,
    pub(super) over: Option<LetGo>,
}

impl Conversation {
    /// Says hello to the socket; it answers with what it knows.
    pub(super) async fn open(
        workers: Workers,
        claimed: Claimed,
        tasks: TaskTracker,
    ) -> Result<Self, Failure> {
        let socket = workers.nats.media.worker(claimed.call_id, claimed.attempt).await.map_err(away)?;
        let hangups = workers.nats.live.hangups(claimed.call_id).await.map_err(away)?;
        let mut conversation = Self {
            workers,
            claimed,
            tasks,
            socket,
            hangups,
            line: None,
            floor: VoiceTurn::new(Patience::default(), Mouth::Silent),
            inputs: VecDeque::new(),
            reply: None,
            came_late: false,
            saying: None,
            playback: None,
            interrupted: None,
            said: None,
            generation: 0,
            hearing: Stopwatch::default(),
            last_voiced_frame: 0,
            utterance_from: 0,
            transcribed_from: 0,
            asked_at_frame: 0,
            asked: Asked::default(),
            turn: Stopwatch::default(),
            failures: 0,
            unheard: 0,
            unspoken: 0,
            committed: 0,
            heard_at: Instant::now(),
            lost_at: None,
            draining: None,
            money: Money::default(),
            over: None,
        };
        conversation.hello().await?;
        Ok(conversation)
    }

    /// Holds the call until it is over, or until `shutdown` and a moment to finish what is being said. What is not done
    /// for every frame is boxed: this future is there for as long as the call lasts, and is as large as all that it awaits.
    pub(super) async fn hold(mut self, shutdown: &CancellationToken) -> Result<LetGo, Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = pin!(shutdown.cancelled());
        loop {
            // Every branch is cancel-safe: they wait for messages, timers and engines, and take nothing on before they
            // are done. Frames come first, for nearly all that comes is one; the socket sees to it that they do not flood.
            tokio::select! {
                biased;
                up = self.socket.next() => match up {
                    Some(up) => self.up(up).await?,
                    None => return Err(Failure::Retry { after: None, reason: "the connection was closed".to_owned() }),
                },
                words = understood(&mut self.line) => Box::pin(self.understood(words)).await?,
                told = told(&mut self.reply) => Box::pin(self.told(told)).await?,
                made = made(&mut self.saying) => Box::pin(self.made(made)).await?,
                Some(()) = self.hangups.next() => Box::pin(self.end(End::completed(HUNG_UP))).await?,
                _ = tick.tick() => Box::pin(self.tick()).await?,
                () = &mut ending, if self.draining.is_none() => self.draining = Some(Instant::now()),
            }
            if self.saying.is_some() {
                Box::pin(self.speak()).await?;
            }
            if let Some(over) = self.over.take() {
                return Ok(over);
            }
        }
    }

    async fn hello(&mut self) -> Result<(), Failure> {
        self.send(&Down::Hello { worker_id: self.workers.worker_id.clone() }).await
    }

    pub(super) async fn send(&mut self, down: &Down) -> Result<(), Failure> {
        self.socket.send(down).await.map_err(away)
    }

    /// For browsers.
    pub(super) async fn tell(&mut self, message: serde_json::Value) -> Result<(), Failure> {
        if self.claimed.started.transport == Transport::Browser {
            self.send(&Down::Tell(message)).await?;
        }
        Ok(())
    }

    async fn up(&mut self, up: Up) -> Result<(), Failure> {
        match up {
            Up::Audio { frame, data } => {
                self.heard_at = Instant::now();
                self.hear(frame, data).await
            }
            Up::State(state) => Box::pin(self.state(state)).await,
            Up::Played { generation, ms } => {
                if let Some(playback) =
                    self.playback.as_mut().filter(|playback| playback.generation == generation)
                {
                    playback.played_ms = playback.played_ms.max(ms);
                }
                self.played(|speech| speech.played(generation, ms));
                Ok(())
            }
            Up::Cleared { generation, ms } => {
                self.played(|speech| speech.cleared(generation, ms));
                Box::pin(self.settle_interruption()).await
            }
            // Keys are for menus, and an agent has none yet: they count as a sign of life.
            Up::Dtmf { .. } => {
                self.heard_at = Instant::now();
                Ok(())
            }
            Up::EndOfUtterance => {
                self.inputs.push_back(Input::EndOfUtterance);
                self.decide().await
            }
            Up::Closed { reason } => Box::pin(self.closed(reason)).await,
        }
    }

    async fn closed(&mut self, reason: CloseReason) -> Result<(), Failure> {
        let comes_back = self.claimed.started.transport != Transport::Browser;
        let end = match reason {
            CloseReason::Lost | CloseReason::GoingAway if comes_back => {
                self.lost_at.get_or_insert_with(Instant::now);
                return Ok(());
            }
            CloseReason::Lost => End::completed("connection_lost"),
            CloseReason::GoingAway => End::failed("server_stopped"),
            CloseReason::HungUp => End::completed("caller_hung_up"),
            CloseReason::Silent => End::completed("no_audio"),
            CloseReason::TooLong => End::completed("too_long"),
            CloseReason::Refused => End::failed("refused"),
            CloseReason::Finished => return Ok(()),
        };
        self.end(end).await
    }

    /// Takes the answer of the socket: the first, that of a new socket, or one that was meant for somebody else.
    async fn state(&mut self, state: SocketState) -> Result<(), Failure> {
        let was_lost = self.lost_at.take().is_some();
        self.heard_at = Instant::now();
        // A socket that has just opened says so unasked, and does not know yet that anybody is here.
        if self.line.is_none() {
            self.hello().await?;
            return self.connected(state).await;
        }
        if was_lost {
            self.hello().await?;
        }
        self.claimed.catch_up(&self.workers).await?;
        if !self.claimed.is_ours() {
            self.over = Some(if self.claimed.call.ended { LetGo::Ended } else { LetGo::TakenOver });
            return Ok(());
        }
        // A new socket knows nothing of what was sent to the old one.
        let known = state.playback.as_ref().map(|playback| playback.generation);
        if let Some(saying) = &mut self.saying
            && saying.speech.has_begun()
            && known != Some(saying.speech.generation())
        {
            saying.speech.lost();
        }
        Ok(())
    }

    /// One more frame of the caller's.
    async fn hear(&mut self, frame: u32, data: Bytes) -> Result<(), Failure> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let inputs = &mut self.inputs;
        line.ears.hear(frame, &data, |input| inputs.push_back(input));
        if line.recorder.caller(frame, data) {
            Box::pin(line.recorder.store(&self.workers, &self.claimed)).await?;
        }
        self.decide().await
    }

    /// Has the floor decide, and does what it says.
    pub(super) async fn decide(&mut self) -> Result<(), Failure> {
        while let Some(input) = self.inputs.pop_front() {
            if let Input::Frame { number, voiced: true } = input {
                self.last_voiced_frame = number;
                self.hearing.last_voiced = Some(Instant::now());
            }
            for act in self.floor.take(input) {
                Box::pin(self.act(act)).await?;
            }
        }
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<(), Failure> {
        let Some(line) = &mut self.line else { return Ok(()) };
        match act {
            Act::Listen { from } => {
                self.utterance_from = from;
                self.hearing = Stopwatch { last_voiced: self.hearing.last_voiced, ..Stopwatch::default() };
                if let Err(error) = line.ears.listen(from) {
                    self.not_understood(&error).await?;
                }
            }
            Act::WantPartial => {
                self.asked_at_frame = line.ears.next_frame();
                line.ears.want_partial();
            }
            Act::Discard => line.ears.discard(),
            Act::Finish { from, .. } => {
                self.transcribed_from = from;
                let frames = self.last_voiced_frame.saturating_sub(from) + 1;
                self.hearing.speech_ms = Some(u64::from(frames * nats::media::FRAME_MS));
                mark(&mut self.hearing.finished);
                line.ears.finish();
            }
            Act::Hold => {
                if let Some(clear) = self.saying.as_mut().and_then(|saying| saying.speech.hold()) {
                    self.send(&clear).await?;
                }
            }
            Act::Resume => {
                if let Some(saying) = &mut self.saying {
                    saying.speech.resume();
                }
            }
            Act::Interrupt => self.interrupt().await?,
            Act::Submit { text, from, through } => {
                self.said = Some(Utterance { text, from, through });
                self.submit().await?;
            }
        }
        Ok(())
    }

    async fn understood(&mut self, words: Words) -> Result<(), Failure> {
        let Some(line) = &self.line else { return Ok(()) };
        let listening = line.listening;
        match words {
            Words::Partial(text) => {
                let said = Said {
                    words: &text,
                    up_to_date: self.last_voiced_frame <= self.asked_at_frame,
                    language: &line.voice.target.language,
                    asked: self.asked,
                    ..Said::default()
                };
                let silence = endpoint::silence_needed(&endpoint::Config::default(), &said);
                let silence = silence.as_millis() as u32 / nats::media::FRAME_MS;
                let frames = self.last_voiced_frame.saturating_sub(self.utterance_from);
                let meaning = meaning(listening.classify(&text, frames * nats::media::FRAME_MS));
                if meaning != Meaning::Nothing {
                    let partial =
                        json!({ "type": "transcript", "role": "user", "content": text, "is_final": false });
                    self.tell(partial).await?;
                }
                self.inputs.push_back(Input::Partial { meaning, silence });
            }
            Words::Whole(Ok(None)) => {
                self.inputs.push_back(Input::Final { meaning: Meaning::Nothing, text: String::new() });
            }
            Words::Whole(Ok(Some(transcript))) => {
                mark(&mut self.hearing.words);
                self.hearing.stt_provider = Some(transcript.provider.clone());
                self.unheard = 0;
                let text = transcript.text.clone();
                let speech_ms = self.hearing.speech_ms.unwrap_or_default() as u32;
                let meaning = meaning(listening.classify(&text, speech_ms));
                metering::transcribed(&self.workers, &self.claimed, transcript, self.transcribed_from)
                    .await?;
                self.inputs.push_back(Input::Final { meaning, text });
            }
            Words::Whole(Err(error)) => {
                self.not_understood(&error).await?;
                self.inputs.push_back(Input::Final { meaning: Meaning::Nothing, text: String::new() });
            }
        }
        self.decide().await
    }

    /// What time asks for.
    async fn tick(&mut self) -> Result<(), Failure> {
        self.settle_interruption().await?;
        let silent = self.heard_at.elapsed();
        if self.line.is_none() {
            self.hello().await?;
            // Who takes over speaks to a socket that was there.
            let (patience, end) = match self.claimed.call.connected_at {
                None => (NO_SOCKET, End { status: CallStatus::NoAnswer, reason: "no_media" }),
                Some(_) => (LOST_SOCKET, End::completed("connection_lost")),
            };
            return if silent > patience { self.end(end).await } else { Ok(()) };
        }
        if self.lost_at.is_some_and(|lost_at| lost_at.elapsed() > LOST_SOCKET) {
            return self.end(End::completed("connection_lost")).await;
        }
        if silent > SILENT_SOCKET {
            self.hello().await?;
        }
        if silent > NO_SOCKET {
            return self.end(End::completed("no_audio")).await;
        }
        let lasted = self.claimed.call.duration_ms(self.workers.clock.now());
        if lasted > self.workers.config.longest_call.as_millis() as u64 {
            return self.end(End::completed("too_long")).await;
        }
        self.let_go().await?;
        self.pay().await?;
        if self.draining.is_some_and(|since| self.is_quiet() || since.elapsed() > HAND_OVER) {
            self.over = Some(LetGo::HandedOver);
        }
        Ok(())
    }

    /// Tells the socket which frames it need not keep.
    async fn let_go(&mut self) -> Result<(), Failure> {
        let Some(line) = &self.line else { return Ok(()) };
        let needed = self.floor.needed_from(line.ears.next_frame()).saturating_sub(KEPT_FRAMES);
        let needed = needed.min(line.recorder.stored_through());
        if needed < self.committed + COMMIT_FRAMES {
            return Ok(());
        }
        self.commit(needed).await
    }

    async fn commit(&mut self, through_frame: u32) -> Result<(), Failure> {
        self.committed = self.committed.max(through_frame);
        self.send(&Down::Committed { through_frame: self.committed }).await
    }

    /// Whether nobody says anything, and nothing is awaited.
    fn is_quiet(&self) -> bool {
        let awaits = self.reply.is_some() || self.saying.is_some() || self.interrupted.is_some();
        let speaks = self.line.as_ref().is_some_and(|line| {
            let next = line.ears.next_frame();
            self.floor.needed_from(next) < next
        });
        !awaits && !speaks && self.said.is_none()
    }
}

async fn understood(line: &mut Option<Line>) -> Words {
    match line {
        Some(line) => line.ears.next().await,
        None => std::future::pending().await,
    }
}

async fn told(reply: &mut Option<Reply>) -> Told {
    match reply {
        Some(reply) => reply.next().await,
        None => std::future::pending().await,
    }
}

async fn made(saying: &mut Option<Saying>) -> Option<Made> {
    match saying {
        Some(saying) => saying.made().await,
        None => std::future::pending().await,
    }
}

fn meaning(heard: Heard) -> Meaning {
    match heard {
        Heard::Nothing => Meaning::Nothing,
        Heard::Backchannel => Meaning::Backchannel,
        Heard::Words => Meaning::Words,
    }
}
