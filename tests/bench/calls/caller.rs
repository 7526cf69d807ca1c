//! One caller: rings, speaks when the agent has finished, and hangs up when told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tests::{Client, twilio};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::clip::Clip;
use super::pace::Pace;

const FRAME_TIME: Duration = Duration::from_millis(20);
/// Setting a call up takes no longer.
const SET_UP_LIMIT: Duration = Duration::from_secs(30);
/// An answer that takes longer is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// The agent has finished when nothing came for so long.
const QUIET: Duration = Duration::from_millis(700);
/// Callers pause for a moment before they speak, each for another.
const MOST_PAUSE_MS: u64 = 1_500;
/// Of each socket's buffers.
const BUFFER_BYTES: usize = 4 * 1_024;

/// What all callers share.
pub struct Crowd {
    pub address: SocketAddr,
    pub client: Client,
    pub clip: Clip,
    /// Whether what happens now counts.
    pub counts: AtomicBool,
    pub hang_up: CancellationToken,
}

/// What one caller saw while it counted.
#[derive(Default)]
pub struct Seen {
    pub answered: bool,
    pub turns: usize,
    pub unanswered: usize,
    /// Breaks within a piece of the agent's speech.
    pub breaks: usize,
    pub set_up_ms: f64,
    pub delays_ms: Vec<f64>,
    pub gaps_ms: Vec<f64>,
    /// How late the caller itself was with its frames.
    pub own_delays_ms: Vec<f64>,
}

enum Turn {
    /// Until the agent has finished, and this moment has come.
    Listens {
        since: Instant,
    },
    Speaks {
        frame: usize,
    },
    /// For the answer, since the last voiced frame.
    Waits {
        since: Instant,
    },
}

/// Holds one call. An error is a call that failed.
pub async fn call(crowd: Arc<Crowd>, number: usize) -> Result<Seen> {
    let rang = Instant::now();
    let socket = timeout(SET_UP_LIMIT, ring(&crowd, number)).await.context("was not put through")??;
    let pause = Duration::from_millis((number as u64).wrapping_mul(7_919) % MOST_PAUSE_MS);
    let mut caller = Caller {
        socket,
        seen: Seen::default(),
        pace: Pace::default(),
        marks: VecDeque::new(),
        turn: Turn::Listens { since: Instant::now() },
        pause,
        sent: 0,
        crowd,
    };
    caller.seen.set_up_ms = rang.elapsed().as_secs_f64() * 1_000.0;
    caller.hold().await?;
    Ok(caller.seen)
}

/// The webhook of a call of caller `number`; answers the call's SID and the token of the stream that is asked for.
pub async fn webhook(client: &Client, number: usize) -> Result<(String, String)> {
    let call_sid = format!("CA{:032x}", uuid::Uuid::now_v7().as_u128());
    let mut form = twilio::incoming(&call_sid);
    form.insert("From", format!("+1415{number:07}"));
    let signature = twilio::sign(twilio::TOKEN, twilio::INCOMING, &form);
    let (status, twiml) = twilio::post(client, twilio::INCOMING, &form, &signature).await;
    ensure!(status.is_success() && twiml.contains("<Stream"), "{status}: {twiml}");
    Ok((call_sid, twilio::token_in(&twiml)))
}

/// The webhook, and the stream that its answer asks for.
async fn ring(crowd: &Crowd, number: usize) -> Result<WebSocketStream<TcpStream>> {
    let (call_sid, token) = webhook(&crowd.client, number).await?;
    let stream = TcpStream::connect(crowd.address).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
    let url = format!("ws://{}/ws/voice-twilio", crowd.address);
    let (mut socket, _) = client_async_with_config(url, stream, Some(config)).await?;
    let connected = json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" });
    for message in [connected, twilio::started(&call_sid, &token)] {
        socket.send(Message::text(message.to_string())).await?;
    }
    Ok(socket)
}

struct Caller {
    crowd: Arc<Crowd>,
    socket: WebSocketStream<TcpStream>,
    seen: Seen,
    pace: Pace,
    /// Marks that go back when what came before them is played.
    marks: VecDeque<(Instant, String)>,
    turn: Turn,
    pause: Duration,
    sent: u64,
}

/// What the other side says.
#[derive(Deserialize)]
struct Heard<'a> {
    event: &'a str,
    #[serde(borrow)]
    media: Option<Payload<'a>>,
    mark: Option<Mark<'a>>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    payload: &'a str,
}

#[derive(Deserialize)]
struct Mark<'a> {
    name: &'a str,
}

impl Caller {
    async fn hold(&mut self) -> Result<()> {
        let crowd = self.crowd.clone();
        let mut tick = interval(FRAME_TIME);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            // All are cancel-safe.
            tokio::select! {
                biased;
                message = self.socket.next() => {
                    let now = Instant::now();
                    match message.context("the socket ended")?? {
                        Message::Text(text) => self.heard(now, &text)?,
                        Message::Close(frame) => bail!("closed: {frame:?}"),
                        _ => {}
                    }
                }
                due = tick.tick() => self.pass(due.into_std()).await?,
                () = crowd.hang_up.cancelled() => break,
            }
        }
        let mut none = Vec::new();
        self.pace.finish(if self.counts() { &mut self.seen.delays_ms } else { &mut none });
        let stop = json!({ "event": "stop", "sequenceNumber": self.sent.to_string(), "streamSid": "MZ1" });
        self.socket.send(Message::text(stop.to_string())).await?;
        Ok(())
    }

    fn counts(&self) -> bool {
        self.crowd.counts.load(Ordering::Relaxed)
    }

    fn heard(&mut self, now: Instant, text: &str) -> Result<()> {
        // What has no event is our own error, in words.
        let heard: Heard<'_> = serde_json::from_str(text).with_context(|| text.to_owned())?;
        match heard.event {
            "media" => {
                let payload = heard.media.context("media without a payload")?.payload;
                // Base64 of whole frames: 4 characters for 3 bytes, 8 bytes for a millisecond.
                let length_ms = payload.trim_end_matches('=').len() as u64 * 3 / 4 / 8;
                self.voice(now, length_ms);
            }
            "mark" => {
                let name = heard.mark.context("a mark without a name")?.name.to_owned();
                self.pace.mark();
                self.marks.push_back((self.pace.played.unwrap_or(now), name));
            }
            "clear" => {
                let mut none = Vec::new();
                self.pace.finish(&mut none);
                self.pace.played = None;
                self.marks.iter_mut().for_each(|(due, _)| *due = now);
            }
            _ => {}
        }
        Ok(())
    }

    fn voice(&mut self, now: Instant, length_ms: u64) {
        self.seen.answered = true;
        if let Turn::Waits { since } = self.turn {
            if self.counts() {
                self.seen.turns += 1;
                self.seen.gaps_ms.push((now - since).as_secs_f64() * 1_000.0);
            }
            self.turn = Turn::Listens { since: now };
        }
        let counts = self.counts();
        let mut none = Vec::new();
        let delays_ms = if counts { &mut self.seen.delays_ms } else { &mut none };
        let broke = self.pace.chunk(now, length_ms, delays_ms);
        self.seen.breaks += usize::from(broke && counts);
    }

    /// 20 ms pass.
    async fn pass(&mut self, due: Instant) -> Result<()> {
        let now = Instant::now();
        if self.counts() {
            self.seen.own_delays_ms.push((now - due).as_secs_f64() * 1_000.0);
        }
        while self.marks.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, name)) = self.marks.pop_front() else { break };
            let mark = json!({ "event": "mark", "streamSid": "MZ1", "mark": { "name": name } });
            self.socket.send(Message::text(mark.to_string())).await?;
        }
        let frame = self.says(now);
        let message = self.crowd.clip.message(frame, self.sent);
        self.sent += 1;
        self.socket.send(Message::text(message)).await?;
        Ok(())
    }

    /// The frame of the clip that is said now; `None`: silence.
    fn says(&mut self, now: Instant) -> Option<usize> {
        match &mut self.turn {
            Turn::Listens { since } => {
                let quiet = self.pace.played.map_or(*since, |played| played.max(*since));
                if now > quiet + QUIET + self.pause && self.seen.answered {
                    self.turn = Turn::Speaks { frame: 0 };
                }
                None
            }
            Turn::Speaks { frame } => {
                let said = *frame;
                *frame += 1;
                if said == self.crowd.clip.last_voiced {
                    self.turn = Turn::Waits { since: now };
                }
                Some(said)
            }
            Turn::Waits { since } => {
                if now - *since > ANSWER_LIMIT {
                    self.seen.unanswered += usize::from(self.crowd.counts.load(Ordering::Relaxed));
                    self.turn = Turn::Listens { since: now };
                }
                None
            }
        }
    }
}
