//! From a row to a job.

use chrono::{DateTime, Utc};
use events::session::{Channel, FailureCode};
use events::{AgentId, EventId, JobId, MessageId, Sealed, SessionId};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{CODES, JobEnding, JobKind, JobOutcome, JobRecord, JobStage, JobStatus};
use crate::column::count;
use crate::database::{Error, parsed, variant};
use crate::transcripts::CHANNELS;

/// A job as it stands in the table.
pub(super) struct JobRow {
    pub(super) job_id: Uuid,
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) session_id: Uuid,
    pub(super) in_reply_to: Uuid,
    pub(super) correlation_id: String,
    pub(super) turn_attempts: i64,
    pub(super) worker_id: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    pub(super) agent_id: Option<Uuid>,
    pub(super) channel: Option<String>,
    pub(super) message_id: Option<Uuid>,
    pub(super) content_key_id: Option<Uuid>,
    pub(super) content_ciphertext: Option<String>,
    pub(super) content_event_id: Option<Uuid>,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) tokens_in: Option<i64>,
    pub(super) tokens_out: Option<i64>,
    pub(super) cost_usd: Option<Decimal>,
    pub(super) latency_ms: Option<i64>,
    pub(super) tools_called: Option<String>,
    pub(super) attempts: Option<i64>,
    pub(super) error_code: Option<String>,
    pub(super) error_detail: Option<String>,
}

impl JobRow {
    pub(super) fn record(mut self) -> Result<JobRecord, Error> {
        let ending = self.ending()?;
        let outcome = match (self.agent_id, self.channel.as_deref(), ending) {
            (Some(agent_id), Some(channel), Some(ending)) => Some(JobOutcome {
                agent_id: AgentId(agent_id),
                channel: variant("channel", channel, &CHANNELS, Channel::as_str)?,
                latency_ms: self.latency_ms.map(count).unwrap_or_default(),
                attempts: self.attempts.map(count).unwrap_or_default(),
                tokens_in: self.tokens_in.map(count).unwrap_or_default(),
                tokens_out: self.tokens_out.map(count).unwrap_or_default(),
                cost_usd: self.cost_usd.unwrap_or_default(),
                ending,
            }),
            _ => None,
        };
        let status = variant("status", &self.status, &JobStatus::ALL, JobStatus::as_str)?;
        Ok(JobRecord {
            id: JobId(self.job_id),
            kind: variant("kind", &self.kind, &JobKind::ALL, JobKind::as_str)?,
            status,
            stage: (status == JobStatus::Running).then_some(JobStage::Answering),
            session_id: SessionId(self.session_id),
            in_reply_to: MessageId(self.in_reply_to),
            correlation_id: self.correlation_id,
            turn_attempts: count(self.turn_attempts),
            worker_id: self.worker_id,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            outcome,
            voice: None,
        })
    }

    fn ending(&mut self) -> Result<Option<JobEnding>, Error> {
        if let Some(code) = &self.error_code {
            let code = variant("error_code", code, &CODES, FailureCode::as_str)?;
            let detail = self.error_detail.take().unwrap_or_default();
            return Ok(Some(JobEnding::Failed { code, detail }));
        }
        let (Some(message_id), Some(key_id), Some(ciphertext), Some(event_id)) =
            (self.message_id, self.content_key_id, self.content_ciphertext.take(), self.content_event_id)
        else {
            return Ok(None);
        };
        Ok(Some(JobEnding::Replied {
            message_id: MessageId(message_id),
            content: Sealed { key_id, ciphertext },
            sealed_for: EventId(event_id),
            provider: self.provider.take().unwrap_or_default(),
            model: self.model.take().unwrap_or_default(),
            tools_called: parsed("tools_called", self.tools_called.as_deref().unwrap_or("[]"))?,
        }))
    }
}
