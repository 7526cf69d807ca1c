//! The language of one kind of socket.

use axum::extract::ws::Message;
use bytes::Bytes;
use nats::media::AudioFormat;
use serde_json::Value;

use super::line::Mark;
use super::refusal::Refusal;

/// What the other side says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// `at_ms`: when it was spoken, where that is told.
    Audio {
        bytes: &'a [u8],
        at_ms: Option<u64>,
    },
    Mark(Mark),
    Dtmf(char),
    EndOfUtterance,
    /// Nothing more is coming.
    Stop,
    /// Nothing that matters.
    Nothing,
}

/// Between what a socket says and hears and what a line knows.
pub(super) trait Wire: Send {
    const FORMAT: AudioFormat;

    /// # Errors
    /// When it is not what the protocol has.
    fn read<'a>(&'a mut self, message: &'a Message) -> Result<Said<'a>, Refusal>;

    /// A worker holds the call: `None` where nobody is told.
    fn attended(&mut self) -> Option<Message>;

    fn play(&mut self, audio: Bytes) -> Message;

    /// `None` where marks are unknown.
    fn mark(&mut self, mark: Mark) -> Option<Message>;

    /// Takes back what was sent and not heard.
    fn clear(&mut self) -> Message;

    /// `None` where nobody reads it.
    fn tell(&mut self, frame: Value) -> Option<Message>;

    /// The worker hung up; `None` where nobody is told. `seconds`: how long the socket was open.
    fn ended(&mut self, reason: &str, seconds: f64) -> Option<Message>;
}
