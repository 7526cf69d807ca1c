//! One caller, who lets the agent talk for a moment and then speaks over it, again and again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use cli::softphone::phone::{Heard, Phone};
use cli::softphone::wire::{Twilio, Wire};
use serde_json::json;
use tests::twilio;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use voice::vad::FRAME_SAMPLES;

use super::Crowd;
use crate::calls::caller::webhook;

const FRAME_TIME: Duration = Duration::from_millis(20);
/// Setting a call up takes no longer.
const SET_UP_LIMIT: Duration = Duration::from_secs(30);
/// An agent that says nothing for so many frames says nothing at all.
const MOST_SILENCE: u32 = 750;
/// The agent has talked for so many frames when it is interrupted, and some more, each time others.
const LISTENED_FRAMES: usize = 30;
const MORE_FRAMES: usize = 30;

const SILENCE: [i16; FRAME_SAMPLES] = [0; FRAME_SAMPLES];

#[derive(Clone, Copy)]
pub enum Line {
    Twilio,
    Browser,
}

/// One interruption.
pub struct Stop {
    /// The frame of the call in which the caller began, and when it and those after it were sent.
    pub began: usize,
    pub sent: Vec<Instant>,
    /// Which of them is the first with voice.
    pub voiced: usize,
    /// When the caller was told to forget the agent's words.
    pub cleared: Instant,
}

/// All interruptions of a call, and all that was said in it, 16 kHz.
pub struct Stops {
    pub line: Line,
    pub stops: Vec<Stop>,
    pub said: Vec<i16>,
}

/// Holds one call.
///
/// # Errors
/// When it is refused or broken off, or the agent does not talk, or talks on.
pub async fn call(crowd: Arc<Crowd>, line: Line, number: usize) -> Result<Stops> {
    let phone = timeout(SET_UP_LIMIT, connect(&crowd, line, number)).await??;
    let mut tick = interval(FRAME_TIME);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut caller = Caller { phone, tick };
    let mut stops = Vec::with_capacity(crowd.interruptions);
    for turn in 0..crowd.interruptions {
        // Other recordings, other borders of frames and other moments for every one.
        let lot = (number * crowd.interruptions + turn) * 7_919;
        caller.listen(LISTENED_FRAMES + lot % MORE_FRAMES).await?;
        let (said, voiced) = crowd.openings[lot % crowd.openings.len()].said(lot % FRAME_SAMPLES);
        stops.push(caller.interrupt(&said, voiced).await?);
    }
    caller.phone.hang_up().await;
    Ok(Stops { line, stops, said: caller.phone.said })
}

async fn connect(crowd: &Crowd, line: Line, number: usize) -> Result<Phone> {
    let address = crowd.client.url("").replacen("http", "ws", 1);
    match line {
        Line::Twilio => {
            let (call_sid, token) = webhook(&crowd.client, number).await?;
            let stream = Twilio::new(format!("MZ{number}"));
            let opening = stream.opening(twilio::ACCOUNT, &call_sid, &json!({ "token": token }));
            Phone::connect(&format!("{address}/ws/voice-twilio"), Wire::Twilio(Box::new(stream)), opening)
                .await
        }
        Line::Browser => {
            let agent = &crowd.agent;
            let ticket = crowd.client.post("/api/ws-tickets", json!({ "agent_id": agent })).await;
            ensure!(ticket.status.is_success(), "no ticket: {ticket:?}");
            let ticket = ticket.text("ticket");
            let url = format!("{address}/ws/voice-browser?agent_id={agent}&ticket={ticket}");
            Phone::connect(&url, Wire::Browser, []).await
        }
    }
}

struct Caller {
    phone: Phone,
    tick: Interval,
}

impl Caller {
    /// 20 ms pass. Answers when `frame` was sent, and when the agent was stopped, if it was.
    async fn pass(&mut self, frame: &[i16; FRAME_SAMPLES]) -> Result<(Instant, Option<Instant>)> {
        let mut cleared = None;
        loop {
            // Both are cancel-safe.
            tokio::select! {
                biased;
                heard = self.phone.next() => match heard? {
                    Heard::Cleared => cleared = Some(Instant::now()),
                    Heard::Closed => bail!("the call was ended"),
                    Heard::Told(_) | Heard::Audio => {}
                },
                _ = self.tick.tick() => {
                    let now = Instant::now();
                    self.phone.tick(frame).await?;
                    return Ok((now, cleared));
                }
            }
        }
    }

    /// Until the agent has talked for so many frames.
    async fn listen(&mut self, frames: usize) -> Result<()> {
        let mut heard = 0;
        while heard < frames {
            self.pass(&SILENCE).await?;
            heard += usize::from(self.phone.hears());
            ensure!(self.phone.silent_frames < MOST_SILENCE, "the agent does not talk");
        }
        Ok(())
    }

    async fn interrupt(&mut self, said: &[[i16; FRAME_SAMPLES]], voiced: usize) -> Result<Stop> {
        let began = self.phone.said.len() / FRAME_SAMPLES;
        let (mut sent, mut stopped) = (Vec::with_capacity(said.len()), None);
        for frame in said {
            let (now, cleared) = self.pass(frame).await?;
            sent.push(now);
            stopped = stopped.or(cleared);
        }
        let Some(cleared) = stopped else { bail!("the agent talked on") };
        Ok(Stop { began, sent, voiced, cleared })
    }
}
