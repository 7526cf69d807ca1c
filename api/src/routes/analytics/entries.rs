//! `GET /api/analytics/entries`: the ledger, line by line.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{AgentId, EventId, JobId, SessionId, TenantId};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use projections::ledger::entries::{self, EntryRecord};
use projections::ledger::usage::Span;
use projections::{Page, Projection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::span::{span, zone_of};
use crate::auth::Viewer;
use crate::export::{self, Format, Row};
use crate::extract::QueryOf;
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{MAX_LIMIT, list, next_after, page_of};
use crate::problem::Problem;
use crate::{App, freshness};

const PATH: &str = "/api/analytics/entries";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EntriesQuery {
    /// A date (its beginning in the tenant's time zone) or an RFC 3339 time; left out: from the first entry on.
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// A date (its end) or an RFC 3339 time, not included; left out: to the last entry.
    #[param(example = "2026-01-31")]
    end_date: Option<String>,
    /// How many entries. A file has all of them, unless it is said.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
    /// `json`, `csv` or `ndjson`; `Accept` does, too.
    format: Option<String>,
}

/// A line of the ledger: what one piece of work cost, or what a cost was corrected by.
#[derive(Debug, Serialize, ToSchema)]
struct LedgerEntry {
    #[schema(value_type = Uuid)]
    id: EventId,
    occurred_at: DateTime<Utc>,
    /// `model`, `transcription`, `synthesis`, `carrier`, or `adjustment`: a re-pricing corrected an entry.
    #[schema(example = "model")]
    kind: String,
    provider: String,
    /// Empty where the vendor has no models.
    model: String,
    #[schema(value_type = Uuid)]
    agent_id: AgentId,
    /// `chat` or `voice`.
    channel: &'static str,
    #[schema(value_type = Uuid)]
    session_id: SessionId,
    /// `null`: of no message, as a call's minutes.
    #[schema(value_type = Option<Uuid>)]
    job_id: Option<JobId>,
    #[schema(example = "succeeded")]
    outcome: String,
    requests: u64,
    tokens_in: u64,
    /// A part of `tokens_in`.
    tokens_cached: u64,
    tokens_out: u64,
    audio_ms: u64,
    characters: u64,
    /// The counts are estimates: the vendor gave none, because it was cut off.
    estimated: bool,
    /// The version of the prices that were in force.
    price_version: String,
    /// Of an adjustment: what was charged too little, or below zero too much.
    cost_usd: Usd,
    /// The entry that is corrected.
    #[schema(value_type = Option<Uuid>)]
    adjusts: Option<EventId>,
}

impl Row for LedgerEntry {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "occurred_at",
        "kind",
        "provider",
        "model",
        "agent_id",
        "channel",
        "session_id",
        "job_id",
        "outcome",
        "requests",
        "tokens_in",
        "tokens_cached",
        "tokens_out",
        "audio_ms",
        "characters",
        "estimated",
        "price_version",
        "cost_usd",
        "adjusts",
    ];

    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.provider, &mut self.model, &mut self.price_version]
    }
}

impl From<EntryRecord> for LedgerEntry {
    fn from(record: EntryRecord) -> Self {
        Self {
            id: record.id,
            occurred_at: record.occurred_at,
            kind: record.kind,
            provider: record.provider,
            model: record.model,
            agent_id: record.agent_id,
            channel: record.channel.as_str(),
            session_id: record.session_id,
            job_id: record.job_id,
            outcome: record.outcome,
            requests: record.requests,
            tokens_in: record.tokens.input,
            tokens_cached: record.tokens.cached,
            tokens_out: record.tokens.output,
            audio_ms: record.audio_ms,
            characters: record.characters,
            estimated: record.estimated,
            price_version: record.price_version,
            cost_usd: Usd(record.cost_usd),
            adjusts: record.adjusts,
        }
    }
}

/// List the ledger's entries
///
/// Newest first. Every vendor request that cost something is one, and so is every correction. As CSV or NDJSON all of the
/// span are sent, page by page. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/entries", tag = "Analytics", operation_id = "list_ledger_entries", params(EntriesQuery),
    responses(
        (status = 200, description = "The entries; a `Link` header leads to the next page",
            content((Vec<LedgerEntry> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")),
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading
    )
)]
pub(super) async fn list_ledger_entries(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<EntriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::of(query.format.as_deref(), &headers)?;
    let page = page_of(query.limit, query.after.as_deref())?;
    let zone = zone_of(&app, caller.tenant_id).await?;
    let (start, end) = (query.start_date.as_deref(), query.end_date.as_deref());
    let span = span(start, end, zone, super::FAR_AWAY, |_| DateTime::UNIX_EPOCH)?;
    freshness::of_everything(&app, Projection::Ledger).await;
    if format != Format::Json && query.limit.is_none() {
        return export::stream(format, "entries", pages(app, caller.tenant_id, span, page.after));
    }
    let found = entries::entries(&app.database, caller.tenant_id, &span, page).await?;
    let next = next_after(page, found.iter().map(|entry| entry.id.0));
    let rows: Vec<LedgerEntry> = found.into_iter().map(Into::into).collect();
    if format != Format::Json {
        return export::file(format, "entries", rows);
    }
    let filters = [("start_date", query.start_date), ("end_date", query.end_date)];
    Ok(list(PATH, &filters, page, next, rows))
}

/// All entries of `span`; each page is asked for when the one before is on its way.
fn pages(
    app: App,
    tenant_id: TenantId,
    span: Span,
    after: Option<uuid::Uuid>,
) -> impl Stream<Item = Result<Vec<LedgerEntry>, Problem>> {
    let first = Some(Page { limit: MAX_LIMIT, after });
    try_unfold((app, span, first), move |(app, span, page)| async move {
        let Some(page) = page else { return Ok(None) };
        let found = entries::entries(&app.database, tenant_id, &span, page).await?;
        let next = next_after(page, found.iter().map(|entry| entry.id.0));
        let next = next.map(|last| Page { after: Some(last), ..page });
        Ok(Some((found.into_iter().map(LedgerEntry::from).collect(), (app, span, next))))
    })
}

#[cfg(test)]
mod tests {
    use domain::Tokens;
    use events::session::Channel;
    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn the_columns_are_the_fields() {
        let entry = EntryRecord {
            id: EventId::new(),
            occurred_at: DateTime::UNIX_EPOCH,
            kind: "model".to_owned(),
            provider: "vendor_a".to_owned(),
            model: String::new(),
            agent_id: AgentId::new(),
            channel: Channel::Chat,
            session_id: SessionId::new(),
            job_id: None,
            outcome: "succeeded".to_owned(),
            requests: 1,
            tokens: Tokens::default(),
            audio_ms: 0,
            characters: 0,
            estimated: false,
            price_version: "global:1".to_owned(),
            cost_usd: Decimal::ONE,
            adjusts: None,
        };
        export::assert_columns(&LedgerEntry::from(entry));
    }
}
