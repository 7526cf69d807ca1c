//! A call as a person has it: a microphone, an ear, and what the other side tells.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::player::{FRAME, Player};
use super::wire::{Received, Wire};

/// A call under way. Time passes with [`Phone::tick`], once every 20 ms.
pub struct Phone {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    wire: Wire,
    player: Player,
    /// What was said and heard, 16 kHz.
    pub said: Vec<i16>,
    pub heard: Vec<i16>,
    /// Frames in a row in which nothing was heard.
    pub silent_frames: u32,
    /// How often the other side took back what it had sent.
    pub clears: u32,
}

/// What the other side did.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Audio,
    Cleared,
    Told(Value),
    /// The call is over.
    Closed,
}

impl Phone {
    /// Connects to `url`, a `ws://` or `wss://` address.
    ///
    /// # Errors
    /// When the other side refuses.
    pub async fn connect(url: &str, wire: Wire, opening: impl IntoIterator<Item = Message>) -> Result<Self> {
        // Without Nagle's algorithm, which keeps a frame back until the one before it was acknowledged.
        let connected = connect_async_with_config(url, None, true).await;
        let (mut socket, _) = connected.with_context(|| format!("cannot call {url}"))?;
        for message in opening {
            socket.send(message).await?;
        }
        Ok(Self {
            socket,
            wire,
            player: Player::default(),
            said: Vec::new(),
            heard: Vec::new(),
            silent_frames: 0,
            clears: 0,
        })
    }

    /// 20 ms pass: `frame` is said, and what came is heard.
    ///
    /// # Errors
    /// When the call is over.
    pub async fn tick(&mut self, frame: &[i16; FRAME]) -> Result<()> {
        let message = self.wire.audio(frame);
        self.socket.send(message).await?;
        let was_playing = self.player.is_playing();
        let (played, reached) = self.player.play();
        self.silent_frames = if was_playing { 0 } else { self.silent_frames + 1 };
        self.said.extend_from_slice(frame);
        self.heard.extend_from_slice(&played);
        for name in reached {
            self.mark_reached(&name).await?;
        }
        Ok(())
    }

    async fn mark_reached(&mut self, name: &str) -> Result<()> {
        if let Some(message) = self.wire.reached(name) {
            self.socket.send(message).await?;
        }
        Ok(())
    }

    /// What comes next. Cancel-safe.
    ///
    /// # Errors
    /// When the other side does not keep to the protocol.
    pub async fn next(&mut self) -> Result<Heard> {
        loop {
            let message = match self.socket.next().await {
                None | Some(Err(_)) | Some(Ok(Message::Close(_))) => return Ok(Heard::Closed),
                Some(Ok(message)) => message,
            };
            match self.wire.read(message)? {
                None => {}
                Some(Received::Audio(samples)) => {
                    self.player.receive(&samples);
                    return Ok(Heard::Audio);
                }
                Some(Received::Mark(name)) if self.player.is_playing() => self.player.mark(name),
                Some(Received::Mark(name)) => self.mark_reached(&name).await?,
                Some(Received::Clear) => {
                    self.clears += 1;
                    for name in self.player.clear() {
                        self.mark_reached(&name).await?;
                    }
                    return Ok(Heard::Cleared);
                }
                Some(Received::Told(told)) if told["type"] == "error" => {
                    bail!("the call was refused: {told}")
                }
                Some(Received::Told(told)) => return Ok(Heard::Told(told)),
            }
        }
    }

    /// The next frame of this type that a browser is told; what comes before it is heard later.
    ///
    /// # Errors
    /// When the call is over first.
    pub async fn told(&mut self, wanted: &str) -> Result<Value> {
        loop {
            match self.next().await? {
                Heard::Told(told) if told["type"] == wanted => return Ok(told),
                Heard::Closed => bail!("the call was over before {wanted}"),
                _ => {}
            }
        }
    }

    /// Whether the agent can be heard.
    pub fn hears(&self) -> bool {
        self.player.is_playing()
    }

    /// Hangs up.
    pub async fn hang_up(&mut self) {
        if let Some(message) = self.wire.goodbye() {
            let _ = self.socket.send(message).await;
        }
        let _ = self.socket.close(None).await;
    }
}
