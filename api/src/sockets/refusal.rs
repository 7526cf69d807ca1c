//! Why a socket cannot go on, as its other side is told.

use std::fmt;

use axum::extract::ws::{CloseCode, close_code};
use nats::media::CloseReason;

/// A rule or a limit that ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No JSON, or none of the protocol's.
    InvalidMessage(&'static str),
    /// Binary where text belongs.
    UnexpectedBinary,
    InvalidAudio,
    MessageTooLarge,
    TooManyMessages,
    TooMuchAudio,
    /// No start in time.
    NotStarted,
    /// The token of a carrier's stream is wrong, used up, too old, or another call's.
    InvalidToken,
    /// The upgrade's signature is wrong.
    InvalidSignature,
    /// The call of the stream is over.
    CallEnded,
    /// No audio for too long.
    Silent,
    CallTooLong,
    /// No place, or no worker.
    AtCapacity,
    /// Another socket came for the same call.
    Replaced,
    ShuttingDown,
    /// NATS or Postgres is away.
    Unavailable,
}

impl Refusal {
    /// Stable; branch on this.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::InvalidMessage(_) => "invalid_message",
            Self::UnexpectedBinary => "unexpected_binary",
            Self::InvalidAudio => "invalid_audio",
            Self::MessageTooLarge => "message_too_large",
            Self::TooManyMessages => "too_many_messages",
            Self::TooMuchAudio => "too_much_audio",
            Self::NotStarted => "not_started",
            Self::InvalidToken => "invalid_token",
            Self::InvalidSignature => "invalid_signature",
            Self::CallEnded => "call_ended",
            Self::Silent => "no_audio",
            Self::CallTooLong => "call_too_long",
            Self::AtCapacity => "at_capacity",
            Self::Replaced => "replaced",
            Self::ShuttingDown => "shutting_down",
            Self::Unavailable => "unavailable",
        }
    }

    /// RFC 6455, 7.4.1.
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidMessage(_) | Self::InvalidAudio => close_code::INVALID,
            Self::UnexpectedBinary => close_code::UNSUPPORTED,
            Self::MessageTooLarge => close_code::SIZE,
            Self::TooManyMessages
            | Self::TooMuchAudio
            | Self::NotStarted
            | Self::InvalidToken
            | Self::InvalidSignature
            | Self::Silent
            | Self::CallTooLong => close_code::POLICY,
            Self::AtCapacity | Self::Unavailable => close_code::AGAIN,
            Self::CallEnded | Self::Replaced => close_code::NORMAL,
            Self::ShuttingDown => close_code::AWAY,
        }
    }

    /// What the media worker is told.
    pub(crate) fn close_reason(self) -> CloseReason {
        match self {
            Self::Silent => CloseReason::Silent,
            Self::CallTooLong => CloseReason::TooLong,
            Self::ShuttingDown | Self::Unavailable => CloseReason::GoingAway,
            _ => CloseReason::Refused,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidMessage(what) => what,
            Self::UnexpectedBinary => "only text frames are taken here",
            Self::InvalidAudio => "the audio is not base64",
            Self::MessageTooLarge => "the message is too large",
            Self::TooManyMessages => "messages come too fast",
            Self::TooMuchAudio => "audio comes much faster than it is spoken",
            Self::NotStarted => "no start came in time",
            Self::InvalidToken => "the stream's token is not valid for this call",
            Self::InvalidSignature => "the upgrade's signature is wrong",
            Self::CallEnded => "the call is over",
            Self::Silent => "no audio came for too long",
            Self::CallTooLong => "the call has lasted as long as calls may",
            Self::AtCapacity => "no more calls can be taken at the moment",
            Self::Replaced => "another connection took the call over",
            Self::ShuttingDown => "this server is stopping",
            Self::Unavailable => "a part of the system is away at the moment",
        })
    }
}
