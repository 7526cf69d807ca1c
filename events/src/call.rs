//! A call: somebody talks with an agent, by phone or from a browser. Numbers and what was said are [`Sealed`].
//!
//! What is said stands in the call's session, whose channel is `voice`; here stands how the call went. The claim and the
//! end are compare-and-set, so at most one worker holds a call, and it ends once. All others are facts.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::session::BilledAttempt;
use crate::{AgentId, CustomerKeyId, JobId, Sealed, SessionId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Inbound,
    Outbound,
    /// From a browser, without a carrier.
    Browser,
}

impl Direction {
    pub const ALL: [Self; 3] = [Self::Inbound, Self::Outbound, Self::Browser];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Browser => "browser",
        }
    }
}

/// Whose socket the voices come and go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Browser,
    Twilio,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Browser, Self::Twilio];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Twilio => "twilio",
        }
    }

    /// Who is paid for the minutes; `None`: nobody.
    pub fn carrier(self) -> Option<&'static str> {
        match self {
            Self::Browser => None,
            Self::Twilio => Some("twilio"),
        }
    }
}

/// Somebody calls, or is called. The session of the call was opened right before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallStarted {
    /// Where what is said stands.
    pub session_id: SessionId,
    pub agent_id: AgentId,
    /// The agent's version that was seen; the call uses this one or a newer one.
    pub agent_version: u32,
    pub direction: Direction,
    pub transport: Transport,
    /// E.164, or what the carrier has instead; `None`: there is none, or it was withheld.
    pub caller_number: Option<Sealed>,
    pub called_number: Option<Sealed>,
    /// The carrier's own name of the call.
    pub provider_call_sid: Option<String>,
    /// The data key of the customer in this call.
    pub customer_key_id: CustomerKeyId,
    /// The tenant's own notes; never a customer's words.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// A worker took the call. A later claim of the same call (attempt n + 1) shuts the earlier worker out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallClaimed {
    /// `host:pid` of the worker.
    pub worker_id: String,
    /// 1 for the first worker, +1 for each that takes over.
    pub attempt: u32,
    /// The sequence of the delivery that the worker holds while the call lasts.
    pub held_sequence: u64,
    /// Which handing-out of that delivery the worker holds; only a later one may take the call over.
    pub held_generation: u64,
}

/// How audio passes between socket and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CallAudio {
    /// G.711 µ-law, 8 kHz, mono.
    #[serde(rename = "mulaw_8k")]
    Mulaw8k,
    /// 16-bit little-endian samples, 16 kHz, mono.
    #[serde(rename = "pcm_16k")]
    Pcm16k,
}

impl CallAudio {
    /// The first byte of a recording's segment, before it is sealed; the rest is interleaved stereo, the caller left.
    pub fn code(self) -> u8 {
        match self {
            Self::Mulaw8k => 1,
            Self::Pcm16k => 2,
        }
    }

    /// What [`CallAudio::code`] stands for; `None`: nothing.
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::Mulaw8k, Self::Pcm16k].into_iter().find(|audio| audio.code() == code)
    }
}

/// The worker heard from the call's socket for the first time: from here on the call's time counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallConnected {
    pub format: CallAudio,
}

/// How long the parts of one turn took, in milliseconds; `None`: the turn did not come so far. From `endpointing_ms` on
/// each part begins where the one before it ends, so together they are the pause that the caller heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TurnMeasured {
    /// The turn's message and reply.
    pub job_id: JobId,
    /// 1-based within the call.
    pub turn: u32,
    /// The caller spoke before the whole reply was heard.
    pub interrupted: bool,
    /// From the first to the last voiced frame of the caller.
    pub speech_ms: Option<u64>,
    /// From there until it was clear that the caller had finished.
    pub endpointing_ms: Option<u64>,
    /// From there until the words were known.
    pub stt_ms: Option<u64>,
    /// From there until the model's first words came.
    pub first_token_ms: Option<u64>,
    /// From there until there was a piece that could be spoken.
    pub first_sentence_ms: Option<u64>,
    /// From there until its first frame was sent to the socket.
    pub first_audio_ms: Option<u64>,
    /// From the caller's last voiced frame to the first frame that was sent back.
    pub caller_gap_ms: Option<u64>,
    /// Who recognised the speech; `None`: nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stt_provider: Option<String>,
    /// Whose model answered; `None`: none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_provider: Option<String>,
    /// Who spoke the answer; `None`: nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tts_provider: Option<String>,
}

/// All of a reply was played, or nothing of it was left to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplySpoken {
    pub job_id: JobId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpeechKind {
    /// Speech to text.
    Transcription,
    /// Text to speech.
    Synthesis,
}

impl SpeechKind {
    pub const ALL: [Self; 2] = [Self::Transcription, Self::Synthesis];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transcription => "transcription",
            Self::Synthesis => "synthesis",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpeechOutcome {
    Succeeded,
    Failed,
    Cancelled,
}

impl SpeechOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What speech work cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeechMetered {
    /// USD, exact, rounded once to 12 decimals.
    pub cost_usd: Decimal,
    /// The version of the price book that gave the cost.
    pub price_version: String,
    /// The vendor did not say how much it was; counted by us.
    pub estimated: bool,
}

/// A speech vendor did something for the call, wanted in the end or not. Whoever appends it derives its event id, so
/// that the same work is on the bill once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeechWorkMetered {
    pub kind: SpeechKind,
    /// The message or reply it was for; `None`: it became none.
    pub job_id: Option<JobId>,
    pub agent_id: AgentId,
    pub session_id: SessionId,
    pub provider: String,
    pub model: String,
    /// Heard or made.
    pub audio_ms: u64,
    /// Of the text.
    pub characters: u64,
    pub outcome: SpeechOutcome,
    pub metered: SpeechMetered,
}

/// How a call ended, in the words of the carriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    Completed,
    Failed,
    Busy,
    NoAnswer,
}

impl CallStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
        }
    }
}

/// What the carrier's part of a call cost: its minutes, and what each request to a model costs in a carrier's call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CarrierMetered {
    pub provider: String,
    pub duration_ms: u64,
    /// Replies of models.
    pub requests: u32,
    /// USD, exact, rounded once to 12 decimals.
    pub cost_usd: Decimal,
    /// The version of the price book that gave the cost.
    pub price_version: String,
}

/// The call is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallEnded {
    pub status: CallStatus,
    /// Stable and short, such as `caller_hung_up`.
    pub end_reason: String,
    pub session_id: SessionId,
    pub agent_id: AgentId,
    /// From `call.connected` on; 0 where it never was.
    pub duration_ms: u64,
    /// Replies of models.
    pub requests: u32,
    /// `None`: there was no carrier.
    pub metered: Option<CarrierMetered>,
}

/// What was said in the call, in few words. Its bill is closed by this event and by nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallSummarized {
    pub session_id: SessionId,
    pub agent_id: AgentId,
    /// `None`: nothing was said, or no vendor gave a summary.
    pub summary: Option<Sealed>,
    /// The vendor and model whose words these are.
    pub provider: Option<String>,
    pub model: Option<String>,
    pub billed: Vec<BilledAttempt>,
}

/// Somebody wants the call to end; the worker that holds it ends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HangupRequested {
    /// Who, as `actor` has it.
    pub by: String,
}

/// The call was taken out of the list, and its recording deleted. What it cost stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallDeleted {}
