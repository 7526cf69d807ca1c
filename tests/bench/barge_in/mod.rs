//! Barge-in: how soon an agent falls silent when a caller speaks over it.
//!
//! Callers through Twilio's stream and through a browser's socket let the agent talk for a moment, say the beginning of a
//! recording over it, and are told to forget what they have not played (`clear`, `interrupted`). Then the agent answers
//! what they said, and they do it again. Ears and mouth are the simulated ones, so that nothing is computed but what
//! decides: voice detection and turn-taking.
//!
//! **Rules.** Speech begins where the recording's own samples say so ([`Opening`]), at the beginning of that frame of
//! 20 ms, which can be sent only at its end. *Ours* is what comes after the frame that decides was sent: the one with
//! which 160 ms of speech have been heard. It is found after the call by what the callers said, all of it, through the
//! same detection and the same floor ([`decided`]).

mod caller;
mod opening;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cli::models;
use domain::voice_turn::{Act, Input, Mouth, Patience, VoiceTurn};
use hdrhistogram::Histogram;
use nats::media::AudioFormat;
use tests::{Client, world};
use tokio_util::task::TaskTracker;
use voice::g711::{mulaw_to_pcm, pcm_to_mulaw};
use voice::resample::Resampler;
use voice::vad::{Change, FRAME_SAMPLES, GateConfig, SpeechGate, Vad, level_dbfs};

use crate::calls;
use crate::report;
use caller::{Line, Stop, Stops};
use opening::Opening;

/// Calls at once, half of them through a browser, and how often each caller interrupts.
const CALLS: usize = 20;
const INTERRUPTIONS: usize = 15;
const QUICK_CALLS: usize = 8;
const QUICK_INTERRUPTIONS: usize = 4;
/// From one caller's ringing to the next one's.
const BETWEEN: Duration = Duration::from_millis(130);

/// What was seen through one kind of socket; microseconds.
pub struct Seen {
    pub line: &'static str,
    pub total: Histogram<u64>,
    pub ours: Histogram<u64>,
}

/// What all callers share.
struct Crowd {
    client: Client,
    agent: String,
    openings: Vec<Opening>,
    interruptions: usize,
}

/// # Errors
/// When a caller was not served, or not stopped in time.
pub async fn run(quick: bool) -> Result<()> {
    let (calls, interruptions) =
        if quick { (QUICK_CALLS, QUICK_INTERRUPTIONS) } else { (CALLS, INTERRUPTIONS) };
    let recordings = models::bring_recordings(&world::binaries().with_file_name("recordings")).await?;
    let openings = opening::all(&recordings)?;
    let (installation, agent) = calls::installation(calls).await?;
    let crowd = Arc::new(Crowd { client: installation.client.clone(), agent, openings, interruptions });
    let thread = TaskTracker::new().spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(call_all(&crowd, calls))
    });
    let held = thread.await.context("the callers panicked")??;
    installation.stop().await?;

    let (mut by_twilio, mut by_browser) = (Seen::through("Twilio")?, Seen::through("a browser")?);
    for stops in &held {
        match stops.line {
            Line::Twilio => by_twilio.take(stops)?,
            Line::Browser => by_browser.take(stops)?,
        }
    }
    ensure!(report::barge_in(calls, &[by_twilio, by_browser]), "agents are not stopped as soon as promised");
    Ok(())
}

async fn call_all(crowd: &Arc<Crowd>, calls: usize) -> Result<Vec<Stops>> {
    let callers = TaskTracker::new();
    let mut held = Vec::with_capacity(calls);
    let mut tick = tokio::time::interval(BETWEEN);
    for number in 0..calls {
        tick.tick().await;
        let line = if number % 2 == 0 { Line::Twilio } else { Line::Browser };
        held.push(callers.spawn(caller::call(crowd.clone(), line, number)));
    }
    let mut stops = Vec::with_capacity(calls);
    for (number, call) in held.into_iter().enumerate() {
        stops.push(call.await.context("a caller panicked")?.with_context(|| format!("caller {number}"))?);
    }
    Ok(stops)
}

impl Seen {
    fn through(line: &'static str) -> Result<Self> {
        Ok(Self { line, total: Histogram::new(3)?, ours: Histogram::new(3)? })
    }

    fn take(&mut self, stops: &Stops) -> Result<()> {
        let began: Vec<usize> = stops.stops.iter().map(|stop| stop.began).collect();
        let decided = decided(&stops.line.heard(&stops.said), &began);
        for (Stop { began, sent, voiced, cleared, .. }, decided) in stops.stops.iter().zip(decided) {
            let decided = decided.context("nothing that the caller said stops an agent")? - began;
            let decided = sent.get(decided).filter(|decided| *decided <= cleared);
            let decided = decided.context("the agent was stopped before anything could be decided")?;
            let since = |from: tokio::time::Instant| (*cleared - from).as_micros() as u64;
            self.total.record(since(sent[*voiced]) + FRAME_MICROS)?;
            self.ours.record(since(*decided))?;
        }
        Ok(())
    }
}

const FRAME_MICROS: u64 = 20_000;

/// A frame as the ears have it, 16 kHz, and its level as it arrived.
type Heard = (Vec<i16>, f32);

impl Line {
    /// What arrives of what was said.
    fn heard(self, said: &[i16]) -> Vec<Heard> {
        match self {
            Self::Browser => {
                said.chunks_exact(FRAME_SAMPLES).map(|frame| (frame.to_vec(), level_dbfs(frame))).collect()
            }
            Self::Twilio => {
                let narrow_hz = AudioFormat::Mulaw8k.sample_rate_hz();
                let (mut narrow, mut coded, mut decoded, mut heard) = (vec![], vec![], vec![], vec![]);
                Resampler::new(16_000, narrow_hz).process(said, &mut narrow);
                pcm_to_mulaw(&narrow, &mut coded);
                mulaw_to_pcm(&coded, &mut decoded);
                Resampler::new(narrow_hz, 16_000).process(&decoded, &mut heard);
                let frames = heard.chunks_exact(FRAME_SAMPLES).zip(decoded.chunks_exact(FRAME_SAMPLES / 2));
                frames.map(|(frame, narrow)| (frame.to_vec(), level_dbfs(narrow))).collect()
            }
        }
    }
}

/// The frames with which it is decided that a talking agent is stopped, for each of the frames in which a caller `began`.
fn decided(heard: &[Heard], began: &[usize]) -> Vec<Option<usize>> {
    let (mut vad, mut gate) = (Vad::new(), SpeechGate::new(GateConfig::default()));
    let (mut floor, mut decided) = (None, Vec::with_capacity(began.len()));
    for (at, (number, (frame, level_dbfs))) in (0..).zip(heard).enumerate() {
        if began.get(decided.len()) == Some(&at) {
            floor = Some(VoiceTurn::new(Patience::default(), Mouth::Talking));
            decided.push(None);
        }
        let probability = vad.without_looking(*level_dbfs).unwrap_or_else(|| vad.push(frame));
        let facts = gate.push(number, *level_dbfs, probability);
        let Some(talking) = &mut floor else { continue };
        let started = match facts.change {
            Some(Change::SpeechStarted { frame: from }) => Some(Input::SpeechStarted { from, number }),
            _ => None,
        };
        let voiced = facts.voiced && gate.is_speaking();
        let inputs = started.into_iter().chain([Input::Frame { number, voiced }]);
        if inputs.flat_map(|input| talking.take(input)).any(|act| act == Act::Hold)
            && let Some(last) = decided.last_mut()
        {
            *last = Some(at);
            floor = None;
        }
    }
    decided
}
