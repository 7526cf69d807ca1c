//! A conversation. Customers' words are [`Sealed`] in every one of these.
//!
//! Of these, `vendor_attempted` is a fact of family `session_facts`: it stands beside the session and no decision of
//! the session's compare-and-set depends on it. All the others are the session's own history.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::budget::BudgetScope;
use crate::prompt::PromptVersion;
use crate::webhook::Callback;
use crate::{AgentId, CallId, CustomerKeyId, EventId, JobId, MessageId, Sealed, ToolCallId, TurnId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Chat,
    Voice,
}

impl Channel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Voice => "voice",
        }
    }
}

/// A conversation was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionCreated {
    pub agent_id: AgentId,
    pub channel: Channel,
    /// The data key of this customer; the customer's pseudonym.
    pub customer_key_id: CustomerKeyId,
    /// The tenant's own name for the customer.
    pub customer_id: Sealed,
    /// Values for variables of the agent's prompt, in this conversation: the JSON text of an object of strings. `None`:
    /// none were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_variables: Option<Sealed>,
}

/// The customer said something, and an answer was promised: exactly one `reply_completed` or `turn_failed` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageReceived {
    pub message_id: MessageId,
    pub job_id: JobId,
    pub content: Sealed,
    /// The agent's version that the sender saw; the turn uses this one or a newer one.
    pub agent_version: u32,
    /// Whether somebody listens for the reply word by word.
    pub stream: bool,
    /// Where in a call it was said; `None`: it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoken: Option<SpokenMessage>,
    /// Told how the message ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// It was recorded, and its reply is spoken into a file: the job is over with `reply_voiced`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aloud: bool,
}

/// A message that was heard in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpokenMessage {
    pub call_id: CallId,
    /// Frames of 20 ms, counted from 0 since the call was connected, over all its sockets.
    pub from_frame: u32,
    /// Its last frame. Whoever goes on with the call passes over everything up to it.
    pub through_frame: u32,
}

/// A worker claimed the session to answer one message. The claim is a compare-and-set, so at most one turn is under
/// way, and a later claim of the same turn (attempt n + 1) shuts the earlier worker out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TurnStarted {
    pub turn_id: TurnId,
    pub job_id: JobId,
    /// The message being answered.
    pub message_id: MessageId,
    /// `host:pid` of the worker.
    pub worker_id: String,
    /// The version that this attempt uses.
    pub agent_version: u32,
    /// 1 for the first worker that tries, +1 for each that takes over from a dead one.
    pub attempt: u32,
    /// The sequence of the delivery that the worker holds while it works; whoever is handed that delivery again takes
    /// the turn over.
    pub held_sequence: u64,
    /// Which handing-out of that delivery the worker holds; only a later one may take the turn over.
    pub held_generation: u64,
    /// What the model is told, over all attempts of the turn; `None`: the agent has a text of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
}

impl AttemptOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What one vendor request used and cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metered {
    pub tokens_in: u64,
    /// Of `tokens_in`, those that the vendor had kept from a request before.
    #[serde(default, skip_serializing_if = "is_none")]
    pub tokens_cached: u64,
    pub tokens_out: u64,
    /// The vendor did not say; counted by us.
    pub estimated: bool,
    /// USD, exact, rounded once to 12 decimals.
    pub cost_usd: Decimal,
    /// The version of the price book that gave the cost.
    pub price_version: String,
}

/// One request to a vendor ended, well or badly. Its event id is the attempt's id, which the vendor was sent too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VendorAttempted {
    pub turn_id: TurnId,
    pub job_id: JobId,
    pub agent_id: AgentId,
    pub provider: String,
    pub model: String,
    /// 1-based over the whole message: retries, fallbacks and tool rounds count on.
    pub number: u32,
    pub outcome: AttemptOutcome,
    /// Stable and short, such as `http_500` or `timeout`; `None` when it succeeded.
    pub error_code: Option<String>,
    /// For people; never a customer's words.
    pub error: Option<String>,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    pub started_at: DateTime<Utc>,
    pub latency_ms: u64,
    pub first_token_ms: Option<u64>,
    pub metered: Metered,
    /// Which of the vendor's configured endpoints (a key at an address) was asked, from 1; `None` where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<u32>,
}

/// The model asked for a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRequested {
    pub turn_id: TurnId,
    pub job_id: JobId,
    pub agent_id: AgentId,
    pub tool_call_id: ToolCallId,
    /// The vendor's own id of the call; it must be given back with the result.
    pub vendor_call_id: String,
    pub name: String,
    /// JSON text.
    pub arguments: Sealed,
    /// 1-based: how often the model had been asked in this turn when it wanted this.
    pub round: u32,
    /// What the model said along with the call; `None` when nothing.
    pub said: Option<Sealed>,
    /// The vendor's own token for the call, which it wants back unchanged; `None` when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Sealed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    Ok,
    Error,
}

impl ToolStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// A tool ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCompleted {
    pub turn_id: TurnId,
    pub job_id: JobId,
    pub agent_id: AgentId,
    pub tool_call_id: ToolCallId,
    pub name: String,
    /// JSON text, as it was asked for.
    pub arguments: Sealed,
    pub status: ToolStatus,
    /// JSON text: the result, or `{"error": …}`.
    pub result: Sealed,
    pub latency_ms: u64,
}

/// One line of a message's bill. The bill is closed by the message's terminal event and by nothing else: an attempt
/// that a shut-out worker records later is seen in `vendor_attempted` but is not the tenant's to pay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BilledAttempt {
    /// The `vendor_attempted` event.
    pub attempt_id: EventId,
    pub provider: String,
    pub model: String,
    pub outcome: AttemptOutcome,
    pub metered: Metered,
}

/// The answer to a message; ends the turn and closes its bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyCompleted {
    pub turn_id: TurnId,
    pub job_id: JobId,
    /// The message that was answered.
    pub in_reply_to: MessageId,
    /// The assistant's message.
    pub message_id: MessageId,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub content: Sealed,
    /// The vendor and model whose words these are.
    pub provider: String,
    pub model: String,
    /// Sums over `billed`.
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cost_usd: Decimal,
    /// From the message's acceptance to this event.
    pub latency_ms: u64,
    /// Names, in the order they were asked for.
    pub tools_called: Vec<String>,
    /// Vendor requests over the whole message.
    pub attempts: u32,
    pub billed: Vec<BilledAttempt>,
    /// What comes after these words; `None`: the conversation goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
    /// Of the agent; `None`: written before replies said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<u32>,
    /// What the model was told; `None`: the agent had a text of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptVersion>,
    /// The message's own, told of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// The reply is spoken into a file next: the job is over with `reply_voiced`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aloud: bool,
}

/// What comes after an agent's last words. Either way the session is over with the event that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Then {
    /// The agent ended the conversation.
    End,
    /// The caller is handed over to a number of the agent's own list.
    Transfer {
        /// E.164.
        to_number: String,
    },
}

impl Then {
    /// Why the session is over.
    pub fn end_reason(&self) -> &'static str {
        match self {
            Self::End => "ended_by_agent",
            Self::Transfer { .. } => "transferred",
        }
    }
}

/// The oldest lines of a conversation were put into a summary, which the models are told in their stead. It covers
/// what an earlier summary said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionSummarized {
    /// The turn that had no room for them.
    pub turn_id: TurnId,
    pub job_id: JobId,
    pub agent_id: AgentId,
    pub summary: Sealed,
    /// The event of the last line that it covers, a `message_received` or a `reply_completed`. Lines are in the order
    /// in which turns ended, a question before its answer.
    pub through: EventId,
    /// How many lines it covers beyond those of the earlier summary.
    pub lines: u32,
    /// The vendor and model whose words these are.
    pub provider: String,
    pub model: String,
}

/// Why a message got no answer; the client's error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Every vendor was tried and failed.
    VendorFailed,
    /// Every vendor was tried and the last ones ran out of time.
    VendorTimeout,
    /// The session was over when the message's turn came.
    SessionEnded,
    /// The agent was deleted or switched off.
    AgentUnavailable,
    /// The job was cancelled.
    Cancelled,
    /// The message and what must go with it are larger than the window of one of the agent's models.
    ContextExceeded,
    /// The recording cannot be decoded, or is longer than it may be.
    InvalidAudio,
    /// Nothing that was said could be made out in the recording.
    NoSpeech,
    /// Whoever should have heard the recording failed.
    SpeechFailed,
    /// Nobody is there who could hear the recording.
    SpeechUnavailable,
    /// A hard budget had no room for the next request to a vendor.
    BudgetExceeded,
    /// We failed; an operator finds the delivery in the dead letters.
    InternalError,
}

impl FailureCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VendorFailed => "vendor_failed",
            Self::VendorTimeout => "vendor_timeout",
            Self::SessionEnded => "session_ended",
            Self::AgentUnavailable => "agent_unavailable",
            Self::Cancelled => "cancelled",
            Self::ContextExceeded => "context_exceeded",
            Self::InvalidAudio => "invalid_audio",
            Self::NoSpeech => "no_speech",
            Self::SpeechFailed => "speech_failed",
            Self::SpeechUnavailable => "speech_unavailable",
            Self::BudgetExceeded => "budget_exceeded",
            Self::InternalError => "internal_error",
        }
    }
}

/// A message got no answer; ends the turn and closes its bill (failed attempts can cost too).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TurnFailed {
    pub turn_id: TurnId,
    pub job_id: JobId,
    /// The message that got no answer.
    pub message_id: MessageId,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub code: FailureCode,
    /// For people; never a customer's words.
    pub detail: String,
    pub latency_ms: u64,
    pub attempts: u32,
    pub billed: Vec<BilledAttempt>,
    /// The message's own, told of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// With `budget_exceeded`: what was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortage: Option<BudgetShortage>,
}

/// A hard budget has no room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetShortage {
    pub scope: BudgetScope,
    /// Of the tenant, the agent or the key.
    pub id: Uuid,
    /// USD: the most that the work could have cost with what was next.
    pub required_usd: Decimal,
    /// USD that is not spent and not held back for other work.
    pub remaining_usd: Decimal,
}

impl BudgetShortage {
    /// For people.
    pub fn detail(&self) -> String {
        let Self { scope, required_usd, remaining_usd, .. } = self;
        format!(
            "of the {}'s monthly budget {} USD are left; this may cost up to {} USD",
            scope.as_str(),
            remaining_usd.normalize(),
            required_usd.normalize()
        )
    }
}

/// The agent spoke first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Greeted {
    /// The assistant's message.
    pub message_id: MessageId,
    /// Names the speaking of it; nobody asked for it, so it is no job to wait for.
    pub job_id: JobId,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub content: Sealed,
}

/// The caller spoke before the whole of a reply or greeting was heard: what was heard is all that was said. Its event id
/// is derived from `job_id`, so a reply is interrupted once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyInterrupted {
    pub job_id: JobId,
    /// The assistant's message, if the reply is never completed.
    pub message_id: MessageId,
    pub agent_id: AgentId,
    pub channel: Channel,
    /// `None`: not a word.
    pub heard: Option<Sealed>,
    pub heard_ms: u64,
    /// How much there was to hear, as far as it had been made.
    pub queued_ms: u64,
}

/// Somebody does not want the answer any more. Whoever works on it stops, and ends the job as cancelled; a job that
/// nobody works on ends without this event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {
    pub job_id: JobId,
    /// Who asked, as in an event's `actor`.
    pub by: String,
}

/// The conversation is over; later messages are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEnded {
    pub reason: String,
}
