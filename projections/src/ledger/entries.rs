//! The entries themselves, one by one.

use chrono::{DateTime, Utc};
use domain::Tokens;
use events::session::Channel;
use events::{AgentId, EventId, JobId, SessionId, TenantId};
use rust_decimal::Decimal;

use super::usage::Span;
use crate::column::count;
use crate::database::{Database, Error, Page, variant};
use crate::transcripts::CHANNELS;

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryRecord {
    pub id: EventId,
    pub occurred_at: DateTime<Utc>,
    /// `model`, `transcription`, `synthesis`, `carrier`, or `adjustment`.
    pub kind: String,
    pub provider: String,
    /// Empty where the vendor has no models.
    pub model: String,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub session_id: SessionId,
    pub job_id: Option<JobId>,
    pub outcome: String,
    pub requests: u64,
    pub tokens: Tokens,
    pub audio_ms: u64,
    pub characters: u64,
    /// The counts are ours, not the vendor's.
    pub estimated: bool,
    pub price_version: String,
    /// USD; of an adjustment the difference.
    pub cost_usd: Decimal,
    /// The entry that is corrected.
    pub adjusts: Option<EventId>,
}

/// The tenant's entries in `span`, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn entries(
    database: &Database,
    tenant_id: TenantId,
    span: &Span,
    page: Page,
) -> Result<Vec<EntryRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select attempt_id, occurred_at, kind, provider, model, agent_id, channel, session_id, job_id, outcome, requests,
            tokens_in, tokens_cached, tokens_out, audio_ms, characters, estimated, price_version, cost_usd, adjusts
         from usage_entries
         where tenant_id = $1 and occurred_at >= $2 and occurred_at < $3
            and ($4::uuid is null or (occurred_at, attempt_id) < (
                select occurred_at, attempt_id from usage_entries where tenant_id = $1 and attempt_id = $4))
         order by occurred_at desc, attempt_id desc limit $5",
        tenant_id.0,
        span.start,
        span.end,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let entries = rows.into_iter().map(|row| {
        Ok(EntryRecord {
            id: EventId(row.attempt_id),
            occurred_at: row.occurred_at,
            kind: row.kind,
            provider: row.provider,
            model: row.model,
            agent_id: AgentId(row.agent_id),
            channel: variant("channel", &row.channel, &CHANNELS, Channel::as_str)?,
            session_id: SessionId(row.session_id),
            job_id: row.job_id.map(JobId),
            outcome: row.outcome,
            requests: count(row.requests),
            tokens: Tokens {
                input: count(row.tokens_in),
                cached: count(row.tokens_cached),
                output: count(row.tokens_out),
            },
            audio_ms: count(row.audio_ms),
            characters: count(row.characters),
            estimated: row.estimated,
            price_version: row.price_version,
            cost_usd: row.cost_usd,
            adjusts: row.adjusts.map(EventId),
        })
    });
    entries.collect()
}
