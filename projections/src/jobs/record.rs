//! A job as it is answered.

use chrono::{DateTime, Utc};
use events::session::{Channel, FailureCode};
use events::{AgentId, EventId, JobId, MessageId, Sealed, SessionId};
use rust_decimal::Decimal;

use crate::voice_messages::VoiceJob;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    Message,
    /// A message that was spoken into a file; it is finished once its reply was spoken, too.
    VoiceMessage,
}

impl JobKind {
    pub const ALL: [Self; 2] = [Self::Message, Self::VoiceMessage];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::VoiceMessage => "voice_message",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobStatus {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What is being done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStage {
    /// A recording is put into words.
    Hearing,
    /// Vendors and tools are asked.
    Answering,
    /// The reply is spoken into a file.
    Speaking,
}

impl JobStage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hearing => "hearing",
            Self::Answering => "answering",
            Self::Speaking => "speaking",
        }
    }
}

/// Accepted work and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    pub id: JobId,
    pub kind: JobKind,
    pub status: JobStatus,
    /// `None`: it waits, or is over.
    pub stage: Option<JobStage>,
    pub session_id: SessionId,
    /// The customer's message.
    pub in_reply_to: MessageId,
    pub correlation_id: String,
    /// How many workers have taken the turn, one after the other.
    pub turn_attempts: u64,
    /// `host:pid` of the last of them.
    pub worker_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// `None` until it is finished.
    pub outcome: Option<JobOutcome>,
    /// What a voice message has besides; `None`: it is none.
    pub voice: Option<VoiceJob>,
}

/// Which jobs are wanted; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub status: Option<JobStatus>,
    pub kind: Option<JobKind>,
    pub session_id: Option<SessionId>,
    /// Only those of these agents' sessions.
    pub agents: Option<Vec<AgentId>>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub struct JobOutcome {
    pub agent_id: AgentId,
    pub channel: Channel,
    pub latency_ms: u64,
    /// Vendor requests over the whole message.
    pub attempts: u64,
    /// Sums over the bill.
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// USD.
    pub cost_usd: Decimal,
    pub ending: JobEnding,
}

#[derive(Clone, Debug, PartialEq)]
pub enum JobEnding {
    Replied {
        message_id: MessageId,
        content: Sealed,
        /// The event that `content` is sealed for.
        sealed_for: EventId,
        provider: String,
        model: String,
        tools_called: Vec<String>,
    },
    Failed {
        code: FailureCode,
        detail: String,
    },
}
