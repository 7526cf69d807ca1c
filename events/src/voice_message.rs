//! Messages that are spoken outside of a call: a recording comes in, the reply is spoken into a file.
//!
//! A recording becomes an ordinary `message_received` with the same job, or a `turn_failed`; the reply to it is spoken
//! and becomes a `reply_voiced`. Files lie in the bucket `artefacts`, sealed by the customer's key; here stands which.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{SpeechKind, SpeechMetered, SpeechOutcome};
use crate::{AgentId, ArtefactId, JobId, MessageId};

/// A file that belongs to a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artefact {
    pub artefact_id: ArtefactId,
    /// What it is, by its own bytes: what its sender called it is not looked at.
    pub media_type: String,
    /// Before it was sealed.
    pub bytes: u64,
}

/// The customer said something into a file, and an answer was promised: a `message_received` or a `turn_failed` with
/// this job and message follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingReceived {
    /// Of the message that it becomes.
    pub message_id: MessageId,
    pub job_id: JobId,
    /// The agent's version that the sender saw; its ears, or those of a newer one, hear this.
    pub agent_version: u32,
    pub audio: Artefact,
    /// What is longer is refused.
    pub longest_seconds: u32,
}

/// The reply to a recording was spoken, as far as it could be: the message's work is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyVoiced {
    pub job_id: JobId,
    /// The assistant's message.
    pub message_id: MessageId,
    /// `None`: there was nothing to say, or it could not be said.
    pub audio: Option<SpokenReply>,
    /// Why it could not be said.
    pub failure: Option<VoicingFailure>,
    /// From the recording's acceptance until its words were known.
    pub stt_ms: u64,
    /// From there until the reply was complete.
    pub llm_ms: u64,
    /// From there until it was spoken.
    pub tts_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpokenReply {
    pub file: Artefact,
    pub audio_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VoicingFailure {
    /// Stable and short.
    pub code: String,
    /// For people; never anybody's words.
    pub detail: String,
}

/// A speech vendor did something for a spoken message, wanted in the end or not. A fact of family `session_facts`, whose
/// id is derived, so that the same work is on the bill once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeechDone {
    pub kind: SpeechKind,
    pub job_id: JobId,
    pub agent_id: AgentId,
    pub provider: String,
    pub model: String,
    /// Heard or made.
    pub audio_ms: u64,
    /// Of the text.
    pub characters: u64,
    pub outcome: SpeechOutcome,
    pub metered: SpeechMetered,
}
