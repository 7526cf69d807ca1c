//! Re-pricings: what was asked for, what each found, and the entries that one goes through.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::{Tokens, Work};
use events::prices::{Price, PriceKind};
use events::repricing::{RepricingDifference, TenantRepriced};
use events::session::Channel;
use events::{AgentId, Entry, Event, EventId, JobId, Payload, RepricingId, SessionId, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, count, json, readable, small, text};
use crate::database::{Database, Error, Page, parsed, variant};
use crate::transcripts::CHANNELS;

/// At most so many differences of one re-pricing are told.
pub const LISTED: i64 = 1_000;

/// Where a re-pricing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepricingStatus {
    Running,
    Succeeded,
    Failed,
}

impl RepricingStatus {
    const ALL: [Self; 3] = [Self::Running, Self::Succeeded, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A re-pricing and its sums.
#[derive(Clone, Debug, PartialEq)]
pub struct RepricingRecord {
    pub id: RepricingId,
    pub number: u32,
    /// `None`: all tenants.
    pub tenant_id: Option<TenantId>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub prices: Vec<Price>,
    pub reason: String,
    pub dry_run: bool,
    pub status: RepricingStatus,
    /// Why it failed.
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Entries whose cost changes.
    pub entries: u64,
    pub before_usd: Decimal,
    pub after_usd: Decimal,
}

/// An entry of the ledger, as a re-pricing sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PricedEntry {
    pub id: EventId,
    pub kind: PriceKind,
    pub session_id: SessionId,
    pub job_id: Option<JobId>,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub provider: String,
    pub model: String,
    pub work: Work,
    pub occurred_at: DateTime<Utc>,
    /// With what re-pricings before this one have corrected.
    pub before_usd: Decimal,
    /// This one has corrected it.
    pub is_corrected: bool,
}

/// Which entries a re-pricing goes through.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    pub tenant_id: TenantId,
    /// Of the re-pricing.
    pub number: u32,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Only work of these.
    pub providers: &'a [String],
}

/// Writes what follows from events about re-pricings; there are few of them.
pub(super) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for (sequence, event) in readable(entries) {
        let (system, at) = (event.envelope.aggregate.tenant_id.0, event.envelope.time);
        let (id, status, error) = match &event.payload {
            Payload::RepricingRequested(_) => {
                requested(connection, sequence, event).await?;
                continue;
            }
            Payload::TenantRepriced(repriced) => {
                let TenantRepriced { repricing_id, tenant_id, differences } = repriced;
                found(connection, system, *repricing_id, *tenant_id, differences).await?;
                continue;
            }
            Payload::RepricingCompleted(completed) => {
                (completed.repricing_id, RepricingStatus::Succeeded, None)
            }
            Payload::RepricingFailed(failed) => {
                (failed.repricing_id, RepricingStatus::Failed, Some(text(&failed.reason)))
            }
            _ => continue,
        };
        sqlx::query!(
            "update repricings set status = $3, error = $4, finished_at = $5, sequence = $6
             where tenant_id = $1 and repricing_id = $2 and finished_at is null",
            system,
            id.0,
            status.as_str(),
            error.as_deref(),
            at,
            sequence,
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn requested(connection: &mut PgConnection, sequence: i64, event: &Event) -> Result<(), sqlx::Error> {
    let Payload::RepricingRequested(requested) = &event.payload else { return Ok(()) };
    sqlx::query!(
        "insert into repricings (tenant_id, repricing_id, number, only_tenant_id, period_from, period_to, prices, reason,
            dry_run, status, created_at, sequence)
         values ($1, $2, $3, $4, $5, $6, ($7::text)::json, $8, $9, $10, $11, $12)
         on conflict on constraint repricings_pkey do nothing",
        event.envelope.aggregate.tenant_id.0,
        requested.repricing_id.0,
        i64::from(requested.number),
        requested.tenant_id.map(|id| id.0),
        requested.from,
        requested.to,
        json(&requested.prices),
        &*text(&requested.reason),
        requested.dry_run,
        RepricingStatus::Running.as_str(),
        event.envelope.time,
        sequence,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn found(
    connection: &mut PgConnection,
    system: Uuid,
    id: RepricingId,
    tenant_id: TenantId,
    differences: &[RepricingDifference],
) -> Result<(), sqlx::Error> {
    let providers: Vec<Cow<'_, str>> = differences.iter().map(|found| text(&found.provider)).collect();
    let models: Vec<Cow<'_, str>> = differences.iter().map(|found| text(&found.model)).collect();
    sqlx::query!(
        "insert into repricing_differences (tenant_id, repricing_id, repriced_tenant_id, kind, provider, model, entries,
            before_usd, after_usd)
         select $1, $2, $3, * from unnest($4::text[], $5::text[], $6::text[], $7::int8[], $8::numeric[], $9::numeric[])
         on conflict on constraint repricing_differences_pkey do nothing",
        system,
        id.0,
        tenant_id.0,
        column!(differences, |found| found.kind.as_str()) as _,
        column!(providers, |value| &**value) as _,
        column!(models, |value| &**value) as _,
        column!(differences, |found| big(found.entries)) as _,
        column!(differences, |found| found.before_usd) as _,
        column!(differences, |found| found.after_usd) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The next entries of `span` in the order of their time; `after` is the last one of the page before.
///
/// # Errors
/// When the database does not answer.
pub async fn entries(
    database: &Database,
    span: &Span<'_>,
    after: Option<&PricedEntry>,
    limit: i64,
) -> Result<Vec<PricedEntry>, Error> {
    let mut tx = database.tenant(span.tenant_id).await?;
    let rows = sqlx::query!(
        r#"select attempt_id, kind, session_id, job_id, agent_id, channel, provider, model, tokens_in, tokens_cached,
            tokens_out, audio_ms, characters, requests, occurred_at,
            cost_usd + coalesce((select sum(cost_usd) from usage_entries as earlier where earlier.tenant_id = $1
                and earlier.adjusts = entry.attempt_id and earlier.repricing_number < $2), 0) as "before_usd!",
            exists (select from usage_entries as own where own.tenant_id = $1 and own.adjusts = entry.attempt_id
                and own.repricing_number = $2) as "is_corrected!"
         from usage_entries as entry
         where tenant_id = $1 and occurred_at >= $3 and occurred_at < $4 and provider = any($5) and adjusts is null
            and ($6::timestamptz is null or (occurred_at, attempt_id) > ($6, $7))
         order by occurred_at, attempt_id limit $8"#,
        span.tenant_id.0,
        i64::from(span.number),
        span.from,
        span.to,
        span.providers,
        after.map(|entry| entry.occurred_at),
        after.map(|entry| entry.id.0),
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let tokens = Tokens {
                input: count(row.tokens_in),
                cached: count(row.tokens_cached),
                output: count(row.tokens_out),
            };
            let kind = variant("kind", &row.kind, &PriceKind::ALL, PriceKind::as_str)?;
            let work = match kind {
                PriceKind::Model => Work::from(tokens),
                PriceKind::Transcription | PriceKind::Synthesis | PriceKind::Carrier => Work {
                    tokens,
                    audio_ms: count(row.audio_ms),
                    characters: count(row.characters),
                    requests: count(row.requests),
                },
            };
            Ok(PricedEntry {
                id: EventId(row.attempt_id),
                kind,
                session_id: SessionId(row.session_id),
                job_id: row.job_id.map(JobId),
                agent_id: AgentId(row.agent_id),
                channel: variant("channel", &row.channel, &CHANNELS, Channel::as_str)?,
                provider: row.provider,
                model: row.model,
                work,
                occurred_at: row.occurred_at,
                before_usd: row.before_usd,
                is_corrected: row.is_corrected,
            })
        })
        .collect()
}

/// All re-pricings, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(database: &Database, page: Page) -> Result<Vec<RepricingRecord>, Error> {
    records(database, None, page).await
}

/// # Errors
/// When the database does not answer.
pub async fn repricing(database: &Database, id: RepricingId) -> Result<Option<RepricingRecord>, Error> {
    Ok(records(database, Some(id), Page::first(1)).await?.pop())
}

async fn records(
    database: &Database,
    only: Option<RepricingId>,
    page: Page,
) -> Result<Vec<RepricingRecord>, Error> {
    let mut tx = database.tenant(TenantId::SYSTEM).await?;
    let rows = sqlx::query!(
        r#"select repricing_id, number, only_tenant_id, period_from, period_to, prices::text as "prices!", reason,
            dry_run, status, error, created_at, finished_at, found.entries::int8 as "entries!",
            found.before_usd as "before_usd!", found.after_usd as "after_usd!"
         from repricings as asked cross join lateral (
            select coalesce(sum(entries), 0) as entries, coalesce(sum(before_usd), 0) as before_usd,
                coalesce(sum(after_usd), 0) as after_usd
            from repricing_differences as found
            where found.tenant_id = $1 and found.repricing_id = asked.repricing_id
         ) as found
         where tenant_id = $1 and ($2::uuid is null or repricing_id = $2)
            and ($3::uuid is null
                or number < (select number from repricings where tenant_id = $1 and repricing_id = $3))
         order by number desc limit $4"#,
        TenantId::SYSTEM.0,
        only.map(|id| id.0),
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            Ok(RepricingRecord {
                id: RepricingId(row.repricing_id),
                number: small(row.number),
                tenant_id: row.only_tenant_id.map(TenantId),
                from: row.period_from,
                to: row.period_to,
                prices: parsed("prices", &row.prices)?,
                reason: row.reason,
                dry_run: row.dry_run,
                status: variant("status", &row.status, &RepricingStatus::ALL, RepricingStatus::as_str)?,
                error: row.error,
                created_at: row.created_at,
                finished_at: row.finished_at,
                entries: count(row.entries),
                before_usd: row.before_usd,
                after_usd: row.after_usd,
            })
        })
        .collect()
}

/// What a re-pricing found, the largest differences first, at most [`LISTED`].
///
/// # Errors
/// When the database does not answer.
pub async fn differences(
    database: &Database,
    id: RepricingId,
) -> Result<Vec<(TenantId, RepricingDifference)>, Error> {
    let mut tx = database.tenant(TenantId::SYSTEM).await?;
    let rows = sqlx::query!(
        "select repriced_tenant_id, kind, provider, model, entries, before_usd, after_usd from repricing_differences
         where tenant_id = $1 and repricing_id = $2
         order by abs(after_usd - before_usd) desc, repriced_tenant_id, kind, provider, model limit $3",
        TenantId::SYSTEM.0,
        id.0,
        LISTED,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let difference = RepricingDifference {
                kind: variant("kind", &row.kind, &PriceKind::ALL, PriceKind::as_str)?,
                provider: row.provider,
                model: row.model,
                entries: count(row.entries),
                before_usd: row.before_usd,
                after_usd: row.after_usd,
            };
            Ok((TenantId(row.repriced_tenant_id), difference))
        })
        .collect()
}
