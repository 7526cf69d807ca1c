//! What is known of every single request to a vendor.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ChatRequest, Usage};
use crate::http::ErrorCode;

/// Told of every attempt exactly once: after its end, before a later one starts that is not beside it, and before
/// [`complete`](super::LlmVendors::complete) returns. The call waits for it, so that what it records is in the
/// order in which the attempts ended.
pub trait AttemptObserver {
    /// Asked before every attempt: whether it may be made. When not, the call ends as
    /// [`FailureKind::NotAdmitted`](super::FailureKind); a second attempt beside a slow one is merely not made.
    fn admits(&mut self, _: &PlannedAttempt<'_>) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }

    fn attempted(&mut self, report: AttemptReport) -> impl Future<Output = ()> + Send;
}

/// An attempt that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct PlannedAttempt<'a> {
    pub provider: &'a str,
    pub model: &'a str,
    /// As its report will have it.
    pub number: u32,
    pub request: &'a ChatRequest,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
}

impl AttemptOutcome {
    /// The name used in metrics and read models.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One attempt, ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptReport {
    /// UUIDv7; the vendor got it as `X-Request-ID` and `Idempotency-Key`.
    pub attempt_id: Uuid,
    pub provider: String,
    pub model: String,
    /// Which of the vendor's endpoints, from 1; `None` where it has only one.
    pub endpoint: Option<u32>,
    /// Counts over the whole chain, from the `first_attempt` that was passed in.
    pub number: u32,
    pub outcome: AttemptOutcome,
    /// Short and safe to show: never a key, an address or anybody's words. `None` on success.
    pub error: Option<String>,
    /// `None` on success.
    pub error_code: Option<ErrorCode>,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    pub started_at: DateTime<Utc>,
    pub latency: Duration,
    /// From the start to the first text or tool call; `None` when the reply did not stream or nothing came.
    pub first_token: Option<Duration>,
    /// Zero when nothing was metered; estimated when a stream broke after tokens had come, and when the
    /// vendor did not tell.
    pub usage: Usage,
}
