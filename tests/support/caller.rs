//! A caller in real time: a person who speaks, listens and sometimes interrupts.

use std::time::Duration;

use cli::softphone::phone::{Heard, Phone};
use cli::softphone::wire::{Twilio, Wire};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::Client;

const FRAME: usize = 320;
const FRAME_TIME: Duration = Duration::from_millis(20);
/// A test that waits longer than this, in frames, has failed.
const PATIENCE: u32 = 2_000;

/// Somebody on the line.
pub struct Caller {
    pub phone: Phone,
    pub call_id: String,
    /// What a browser was told, in order.
    pub told: Vec<Value>,
    /// What had been heard of the agent when it was stopped, and how long that took; in milliseconds.
    pub heard_before_clear_ms: u64,
    pub clear_ms: u64,
    tick: Interval,
    over: bool,
}

impl Caller {
    /// Calls as a browser does.
    pub async fn by_browser(client: &Client, agent: &str) -> Self {
        let ticket = client.post("/api/ws-tickets", json!({ "agent_id": agent })).await;
        let url = format!(
            "{}?agent_id={agent}&ticket={}",
            client.url("/ws/voice-browser").replacen("http", "ws", 1),
            ticket.text("ticket")
        );
        let mut phone = Phone::connect(&url, Wire::Browser, []).await.unwrap();
        let started = phone.told("session_started").await.unwrap();
        let call_id = started["call_id"].as_str().unwrap().to_owned();
        Self::of(phone, call_id)
    }

    /// A stream as Twilio opens it, with the token of the webhook's answer.
    pub async fn by_stream(client: &Client, call_sid: &str, token: &str) -> Self {
        let stream = Twilio::new(format!("MZ{call_sid}"));
        let opening = stream.opening("AC1", call_sid, &json!({ "token": token }));
        let url = client.url("/ws/voice-twilio").replacen("http", "ws", 1);
        let phone = Phone::connect(&url, Wire::Twilio(Box::new(stream)), opening).await.unwrap();
        let calls = client.get("/api/calls").await;
        let known = calls.rows().iter().find(|call| call["provider_call_sid"] == call_sid);
        let call_id =
            known.and_then(|call| call["id"].as_str()).unwrap_or_else(|| panic!("no call {call_sid}"));
        Self::of(phone, call_id.to_owned())
    }

    fn of(phone: Phone, call_id: String) -> Self {
        let mut tick = interval(FRAME_TIME);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Self { phone, call_id, told: Vec::new(), heard_before_clear_ms: 0, clear_ms: 0, tick, over: false }
    }

    /// 20 ms pass. `false`: the call is over.
    pub async fn pass(&mut self, frame: &[i16; FRAME]) -> bool {
        while !self.over {
            tokio::select! {
                biased;
                _ = self.tick.tick() => {
                    self.over = self.phone.tick(frame).await.is_err();
                    return !self.over;
                }
                heard = self.phone.next() => match heard.unwrap() {
                    Heard::Closed => self.over = true,
                    Heard::Told(told) => self.told.push(told),
                    Heard::Audio | Heard::Cleared => {}
                },
            }
        }
        false
    }

    /// Says something of three and a half seconds, without a pause.
    pub async fn speak(&mut self) {
        self.speak_for(175).await;
    }

    /// Speaks for so many frames of 20 ms.
    pub async fn speak_for(&mut self, frames: usize) {
        for chunk in voice().chunks_exact(FRAME).cycle().take(frames) {
            assert!(self.pass(chunk.try_into().unwrap()).await, "the call was over");
        }
    }

    /// Says these 16 kHz samples.
    pub async fn say(&mut self, samples: &[i16]) {
        for chunk in samples.chunks(FRAME) {
            let mut frame = [0; FRAME];
            frame[..chunk.len()].copy_from_slice(chunk);
            assert!(self.pass(&frame).await, "the call was over");
        }
    }

    /// Speaks until the agent is stopped.
    pub async fn speak_until_cleared(&mut self) {
        let (voice, before) = (voice(), self.phone.clears);
        for (frames, chunk) in voice.chunks_exact(FRAME).cycle().take(150).enumerate() {
            if self.phone.clears > before {
                self.clear_ms = frames as u64 * 20;
                let heard = self.phone.heard.iter().filter(|sample| **sample != 0).count();
                self.heard_before_clear_ms = heard as u64 / 16;
                return;
            }
            assert!(self.pass(chunk.try_into().unwrap()).await, "the call was over");
        }
        panic!("the agent speaks on");
    }

    /// Keeps silent for so many frames.
    pub async fn keep_silent(&mut self, frames: u32) {
        for _ in 0..frames {
            self.pass(&[0; FRAME]).await;
        }
    }

    /// Keeps silent until `is` holds.
    ///
    /// # Panics
    /// When it does not within 40 s, or the call is over first.
    pub async fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            if is(self) {
                return;
            }
            assert!(self.pass(&[0; FRAME]).await || is(self), "the call was over before {what}");
        }
        panic!("{what} did not come; the caller was told {:#?}", self.told);
    }

    /// Until the agent can be heard.
    pub async fn until_it_speaks(&mut self) {
        self.until("the agent's voice", |caller| caller.phone.hears()).await;
    }

    /// Until the agent has not been heard for 600 ms.
    pub async fn until_it_is_silent(&mut self) {
        self.until("silence", |caller| caller.phone.silent_frames > 30).await;
    }

    /// Until the other side ends the call.
    pub async fn until_it_is_over(&mut self) {
        for _ in 0..PATIENCE {
            if !self.pass(&[0; FRAME]).await {
                return;
            }
        }
        panic!("the call was not ended");
    }

    pub async fn hang_up(&mut self) {
        self.phone.hang_up().await;
        self.over = true;
    }

    /// The pieces that the agent began to say, in order.
    pub fn pieces(&self) -> Vec<String> {
        let told =
            self.told.iter().filter(|told| told["type"] == "transcript" && told["role"] == "assistant");
        let pieces = told.filter(|told| told["is_final"] == false);
        pieces.map(|piece| piece["content"].as_str().unwrap().to_owned()).collect()
    }

    /// The final lines that a browser was told, as `role: content`.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.told.iter().filter(|told| told["type"] == "transcript" && told["is_final"] == true);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        lines.map(|line| format!("{}: {}", text(&line["role"]), text(&line["content"]))).collect()
    }
}

/// Speech, 16 kHz: `voice/fixtures/README.md` says whose, without the silence before and after it.
pub fn voice() -> Vec<i16> {
    let bytes = include_bytes!("../../voice/fixtures/not_an_ill_disposed.s16le");
    let samples: Vec<i16> =
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    samples[16 * FRAME..84 * FRAME].to_vec()
}
