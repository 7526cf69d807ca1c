//! A call's audio between the process that holds its socket and the worker that hears and speaks: core NATS, kept
//! nowhere. Whoever of the two is new asks the other what it knows (`Hello`, `State`); what was decided is in the log.
//!
//! A frame is 20 ms of the socket's own format. Audio crosses as it is, behind a few bytes of head; everything else is
//! JSON behind the same head, for it is rare. Where both ends are in one process, [`ends`] hands messages over as they
//! are.

mod ends;

use bytes::{BufMut, Bytes, BytesMut};
use events::JobId;
use serde::{Deserialize, Serialize};

pub use ends::{Media, MediaError, SocketSide, WorkerSide};

/// Milliseconds of one frame.
pub const FRAME_MS: u32 = 20;

/// How a socket's audio is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioFormat {
    /// G.711 µ-law, 8 kHz: what carriers send.
    Mulaw8k,
    /// Signed 16 bits, little-endian, 16 kHz: what browsers send.
    Pcm16k,
}

impl AudioFormat {
    pub fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Mulaw8k => 8_000,
            Self::Pcm16k => 16_000,
        }
    }

    pub fn bytes_per_frame(self) -> usize {
        match self {
            Self::Mulaw8k => 160,
            Self::Pcm16k => 640,
        }
    }

    /// How long `bytes` last, in milliseconds, rounded down.
    pub fn duration_ms(self, bytes: usize) -> u64 {
        bytes as u64 * u64::from(FRAME_MS) / self.bytes_per_frame() as u64
    }
}

/// From the socket to the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Up {
    /// Exactly one frame. They are numbered from the call's connection on; a frame's number is its time.
    #[serde(skip)]
    Audio { frame: u32, data: Bytes },
    /// The answer to `Hello`. After it come all frames that nobody has committed, then live ones.
    State(SocketState),
    /// So much of that generation has surely been played. About every 200 ms while it plays, and once more when all that
    /// was sent is played.
    Played { generation: u32, ms: u32 },
    /// The answer to `Clear`: how much of it the caller heard.
    Cleared { generation: u32, ms: u32 },
    /// The caller pressed a key.
    Dtmf { digit: char },
    /// The caller says that its sentence is over.
    EndOfUtterance,
    /// No more comes of this socket.
    Closed { reason: CloseReason },
}

/// Why a socket has nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The caller ended it: a stop, a close frame.
    HungUp,
    /// The connection broke; a carrier may come back with a new one.
    Lost,
    /// What was sent broke a rule or a limit.
    Refused,
    /// No audio came for too long.
    Silent,
    /// The call lasted as long as calls may.
    TooLong,
    /// This process is ending; a carrier comes back to another.
    GoingAway,
    /// The worker hung up.
    Finished,
}

/// What a new worker must know of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketState {
    pub format: AudioFormat,
    /// The number that the next live frame will have.
    pub next_frame: u32,
    /// The oldest frame that is still to be had; `next_frame` when there is none.
    pub first_kept_frame: u32,
    /// The newest generation; `None`: nothing was ever said here.
    pub playback: Option<Playback>,
}

/// What the socket knows of one stretch of speech.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playback {
    pub generation: u32,
    pub job_id: JobId,
    /// Received in all.
    pub queued_ms: u32,
    /// Surely heard.
    pub played_ms: u32,
    /// A `Clear` stopped it.
    pub cleared: bool,
    /// `Finish` came: nothing more belongs to it.
    pub finished: bool,
    pub pieces: Vec<PlayedPiece>,
}

/// A piece of text within a stretch of speech.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayedPiece {
    pub text: String,
    /// What `queued_ms` was when its audio ended; grows while it comes.
    pub through_ms: u32,
    /// All of its audio came.
    pub complete: bool,
}

/// From the worker to the socket. Every message carries the attempt of the worker's claim; a socket passes over those
/// below the highest that said `Hello`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    /// A worker holds the call from now on.
    Hello { worker_id: String },
    /// A new stretch of speech; audio of other generations is dropped from here on. Generations rise over the call.
    Begin { generation: u32, job_id: JobId },
    /// Text whose audio follows.
    Piece { generation: u32, text: String },
    /// Whole frames, at most a second of them.
    #[serde(skip)]
    Audio { generation: u32, data: Bytes },
    /// All audio of the last piece was sent.
    PieceDone { generation: u32 },
    /// All of this generation was sent.
    Finish { generation: u32 },
    /// Stop now; answered by `Cleared`.
    Clear { generation: u32 },
    /// Frames before it need not be kept.
    Committed { through_frame: u32 },
    /// A text frame for a browser; other sockets pass over it.
    Tell(serde_json::Value),
    /// Close, after telling why.
    HangUp { reason: String },
}

/// What one end says and the other hears.
trait Message: Clone + Sized {
    /// Whether it says who is there now, which all ends must know.
    fn is_introduction(&self) -> bool;

    /// Without the head that all messages have.
    fn encode(&self, bytes: &mut BytesMut) -> Result<(), serde_json::Error>;

    /// `None`: nobody can read it.
    fn decode(bytes: Bytes) -> Option<Self>;
}

/// What stands behind the head.
const AUDIO: u8 = 1;
const JSON: u8 = 2;

impl Message for Up {
    fn is_introduction(&self) -> bool {
        matches!(self, Self::State(_))
    }

    /// `[AUDIO][frame: u32][audio]` or `[JSON][json]`, little-endian.
    fn encode(&self, bytes: &mut BytesMut) -> Result<(), serde_json::Error> {
        if let Self::Audio { frame, data } = self {
            bytes.put_u8(AUDIO);
            bytes.put_u32_le(*frame);
            bytes.put_slice(data);
        } else {
            bytes.put_u8(JSON);
            serde_json::to_writer(bytes.writer(), self)?;
        }
        Ok(())
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        match *bytes.first()? {
            AUDIO => Some(Self::Audio { frame: number(&bytes, 1)?, data: bytes.slice(5..) }),
            JSON => serde_json::from_slice(&bytes[1..]).ok(),
            _ => None,
        }
    }
}

/// What a worker says, and the attempt of its claim.
impl Message for (u32, Down) {
    fn is_introduction(&self) -> bool {
        matches!(self.1, Down::Hello { .. })
    }

    /// `[AUDIO][attempt: u32][generation: u32][audio]` or `[JSON][attempt: u32][json]`, little-endian.
    fn encode(&self, bytes: &mut BytesMut) -> Result<(), serde_json::Error> {
        let (attempt, down) = self;
        if let Down::Audio { generation, data } = down {
            bytes.put_u8(AUDIO);
            bytes.put_u32_le(*attempt);
            bytes.put_u32_le(*generation);
            bytes.put_slice(data);
        } else {
            bytes.put_u8(JSON);
            bytes.put_u32_le(*attempt);
            serde_json::to_writer(bytes.writer(), down)?;
        }
        Ok(())
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let attempt = number(&bytes, 1)?;
        let message = match bytes[0] {
            AUDIO => Down::Audio { generation: number(&bytes, 5)?, data: bytes.slice(9..) },
            JSON => serde_json::from_slice(&bytes[5..]).ok()?,
            _ => return None,
        };
        Some((attempt, message))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it arrives.
    fn there<M: Message>(message: &M) -> Option<M> {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes).unwrap();
        M::decode(bytes.freeze())
    }

    #[test]
    fn what_a_socket_says_arrives_as_it_was() {
        let playback = Playback {
            generation: 3,
            job_id: JobId::new(),
            queued_ms: 400,
            played_ms: 200,
            cleared: false,
            finished: true,
            pieces: vec![PlayedPiece { text: "Good day.".to_owned(), through_ms: 400, complete: true }],
        };
        let said = [
            Up::Audio { frame: u32::MAX, data: Bytes::from_static(&[0xff; 160]) },
            Up::State(SocketState {
                format: AudioFormat::Mulaw8k,
                next_frame: 10,
                first_kept_frame: 4,
                playback: Some(playback),
            }),
            Up::Played { generation: 1, ms: 200 },
            Up::Cleared { generation: 1, ms: 340 },
            Up::Dtmf { digit: '#' },
            Up::EndOfUtterance,
            Up::Closed { reason: CloseReason::HungUp },
        ];
        for up in said {
            assert_eq!(there(&up), Some(up));
        }
    }

    #[test]
    fn what_a_worker_says_arrives_as_it_was_with_its_attempt() {
        let said = [
            Down::Hello { worker_id: "host:1".to_owned() },
            Down::Begin { generation: 7, job_id: JobId::new() },
            Down::Piece { generation: 7, text: "Grüße".to_owned() },
            Down::Audio { generation: 7, data: Bytes::from_static(&[1; 640]) },
            Down::PieceDone { generation: 7 },
            Down::Finish { generation: 7 },
            Down::Clear { generation: 7 },
            Down::Committed { through_frame: 17 },
            Down::Tell(serde_json::json!({ "type": "interrupted" })),
            Down::HangUp { reason: "ended_by_agent".to_owned() },
        ];
        for down in said {
            assert_eq!(there(&(9, down.clone())), Some((9, down)));
        }
    }

    #[test]
    fn what_nobody_can_read_is_no_message() {
        for bytes in
            [&b""[..], &[AUDIO], &[AUDIO, 1, 2, 3], &[JSON], &[JSON, 1, 0, 0, 0, b'{'], &[9, 0, 0, 0, 0, 0]]
        {
            assert_eq!(Up::decode(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
            assert_eq!(<(u32, Down)>::decode(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
        assert_eq!(<(u32, Down)>::decode(Bytes::from_static(&[AUDIO, 1, 0, 0, 0, 1, 2])), None);
    }
}
