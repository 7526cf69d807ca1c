//! Projection `provider_calls`: every request to a vendor.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use events::session::{AttemptOutcome, Metered, VendorAttempted};
use events::{AgentId, Entry, Event, EventId, JobId, Payload, SessionId, TenantId, TurnId};
use sqlx::PgConnection;

use crate::column::{big, column, count, readable, text, uuids};
use crate::database::{Database, Error, Page, variant};
use crate::projection::Table;

pub(crate) const TABLES: &[Table] = &[Table { name: "provider_calls", key: &["tenant_id", "attempt_id"] }];

pub(crate) const OUTCOMES: [AttemptOutcome; 4] =
    [AttemptOutcome::Succeeded, AttemptOutcome::Failed, AttemptOutcome::TimedOut, AttemptOutcome::Cancelled];

/// One request to a vendor.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderCall {
    /// The `vendor_attempted` event; the id that the vendor was sent too.
    pub attempt_id: EventId,
    pub session_id: SessionId,
    pub job_id: JobId,
    pub turn_id: TurnId,
    pub agent_id: AgentId,
    pub correlation_id: String,
    pub provider: String,
    pub model: String,
    /// 1-based over the whole message.
    pub number: u64,
    pub outcome: AttemptOutcome,
    pub error_code: Option<String>,
    pub error: Option<String>,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    pub started_at: DateTime<Utc>,
    pub latency_ms: u64,
    pub first_token_ms: Option<u64>,
    pub metered: Metered,
    /// Which of the vendor's endpoints, from 1; `None` where it had one.
    pub endpoint: Option<u32>,
    pub created_at: DateTime<Utc>,
}

/// Which rows of a list about sessions are wanted; `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub correlation_id: Option<String>,
    pub session_id: Option<SessionId>,
    pub job_id: Option<JobId>,
    /// Only those of these agents.
    pub agents: Option<Vec<AgentId>>,
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &Event, &VendorAttempted)> = readable(entries)
        .filter_map(|(sequence, event)| match &event.payload {
            Payload::VendorAttempted(attempted) => Some((sequence, event, attempted)),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let providers: Vec<Cow<'_, str>> = rows.iter().map(|(_, _, call)| text(&call.provider)).collect();
    let models: Vec<Cow<'_, str>> = rows.iter().map(|(_, _, call)| text(&call.model)).collect();
    let codes: Vec<Option<Cow<'_, str>>> =
        rows.iter().map(|(_, _, call)| call.error_code.as_deref().map(text)).collect();
    let errors: Vec<Option<Cow<'_, str>>> =
        rows.iter().map(|(_, _, call)| call.error.as_deref().map(text)).collect();
    let versions: Vec<Cow<'_, str>> =
        rows.iter().map(|(_, _, call)| text(&call.metered.price_version)).collect();
    sqlx::query!(
        "insert into provider_calls (tenant_id, attempt_id, session_id, job_id, turn_id, agent_id, correlation_id,
            provider, model, number, outcome, error_code, error, status, started_at, latency_ms, first_token_ms,
            tokens_in, tokens_out, estimated, cost_usd, price_version, created_at, sequence, endpoint, tokens_cached)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
            $8::text[], $9::text[], $10::int8[], $11::text[], $12::text[], $13::text[], $14::int4[],
            $15::timestamptz[], $16::int8[], $17::int8[], $18::int8[], $19::int8[], $20::bool[], $21::numeric[],
            $22::text[], $23::timestamptz[], $24::int8[], $25::int4[], $26::int8[])
         on conflict on constraint provider_calls_pkey do nothing",
        column!(rows, |row| row.1.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.1.envelope.id.0) as _,
        column!(rows, |row| row.1.envelope.aggregate.id) as _,
        column!(rows, |row| row.2.job_id.0) as _,
        column!(rows, |row| row.2.turn_id.0) as _,
        column!(rows, |row| row.2.agent_id.0) as _,
        column!(rows, |row| row.1.envelope.origin.correlation_id.as_str()) as _,
        column!(providers, |value| &**value) as _,
        column!(models, |value| &**value) as _,
        column!(rows, |row| i64::from(row.2.number)) as _,
        column!(rows, |row| row.2.outcome.as_str()) as _,
        column!(codes, |value| value.as_deref()) as _,
        column!(errors, |value| value.as_deref()) as _,
        column!(rows, |row| row.2.status.map(i32::from)) as _,
        column!(rows, |row| row.2.started_at) as _,
        column!(rows, |row| big(row.2.latency_ms)) as _,
        column!(rows, |row| row.2.first_token_ms.map(big)) as _,
        column!(rows, |row| big(row.2.metered.tokens_in)) as _,
        column!(rows, |row| big(row.2.metered.tokens_out)) as _,
        column!(rows, |row| row.2.metered.estimated) as _,
        column!(rows, |row| row.2.metered.cost_usd) as _,
        column!(versions, |value| &**value) as _,
        column!(rows, |row| row.1.envelope.time) as _,
        column!(rows, |row| row.0) as _,
        column!(rows, |row| row.2.endpoint.and_then(|endpoint| i32::try_from(endpoint).ok())) as _,
        column!(rows, |row| big(row.2.metered.tokens_cached)) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The requests that fit `filter`, newest first; the page's ids are attempt ids.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    database: &Database,
    tenant_id: TenantId,
    filter: &Filter,
    page: Page,
) -> Result<Vec<ProviderCall>, Error> {
    let only = filter.agents.as_deref().map(uuids);
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select * from provider_calls
         where tenant_id = $1 and ($2::uuid is null or attempt_id < $2)
            and ($3::text is null or correlation_id = $3)
            and ($4::uuid is null or session_id = $4)
            and ($5::uuid is null or job_id = $5)
            and ($7::uuid[] is null or agent_id = any($7))
         order by attempt_id desc limit $6",
        tenant_id.0,
        page.after,
        filter.correlation_id.as_deref(),
        filter.session_id.map(|id| id.0),
        filter.job_id.map(|id| id.0),
        page.limit,
        only.as_deref() as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            Ok(ProviderCall {
                attempt_id: EventId(row.attempt_id),
                session_id: SessionId(row.session_id),
                job_id: JobId(row.job_id),
                turn_id: TurnId(row.turn_id),
                agent_id: AgentId(row.agent_id),
                correlation_id: row.correlation_id,
                provider: row.provider,
                model: row.model,
                number: count(row.number),
                outcome: variant("outcome", &row.outcome, &OUTCOMES, AttemptOutcome::as_str)?,
                error_code: row.error_code,
                error: row.error,
                status: row.status.and_then(|status| status.try_into().ok()),
                started_at: row.started_at,
                latency_ms: count(row.latency_ms),
                first_token_ms: row.first_token_ms.map(count),
                metered: Metered {
                    tokens_in: count(row.tokens_in),
                    tokens_cached: count(row.tokens_cached),
                    tokens_out: count(row.tokens_out),
                    estimated: row.estimated,
                    cost_usd: row.cost_usd,
                    price_version: row.price_version,
                },
                endpoint: row.endpoint.and_then(|endpoint| endpoint.try_into().ok()),
                created_at: row.created_at,
            })
        })
        .collect()
}
