//! Analytics: what was used, by whom, and what it cost. A message here is an assistant's reply.

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use events::AgentId;
use projections::Projection;
use projections::calls::{self, StageLatency};
use projections::configuration;
use projections::ledger::{self, Amounts};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Viewer;
use crate::extract::QueryOf;
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::page_of;
use crate::problem::Problem;
use crate::{App, freshness};

/// The span of a usage report when no start is named.
const DEFAULT_SPAN: Days = Days::new(30);
const DEFAULT_TOP: i64 = 10;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_usage))
        .routes(routes!(get_top_agents))
        .routes(routes!(get_latencies))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// A date (its beginning, UTC) or an RFC 3339 time; 30 days before the end when left out.
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// A date (its end, UTC) or an RFC 3339 time, not included; now when left out.
    #[param(example = "2026-01-31")]
    end_date: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    start_date: DateTime<Utc>,
    end_date: DateTime<Utc>,
    /// Opened in the span.
    total_sessions: u64,
    total_messages: u64,
    total_tokens_in: u64,
    total_tokens_out: u64,
    total_cost_usd: Usd,
    by_provider: Vec<ProviderUsage>,
    by_agent: Vec<AgentUsage>,
    by_channel: Vec<ChannelUsage>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Used {
    messages: u64,
    tokens_in: u64,
    tokens_out: u64,
    cost_usd: Usd,
}

/// Messages count for the vendor whose words they have, tokens and cost for the vendor that took them.
#[derive(Debug, Serialize, ToSchema)]
struct ProviderUsage {
    provider: String,
    #[serde(flatten)]
    used: Used,
}

#[derive(Debug, Serialize, ToSchema)]
struct AgentUsage {
    #[schema(value_type = Uuid)]
    agent_id: AgentId,
    /// `null` only while the agent is not to be found.
    name: Option<String>,
    #[serde(flatten)]
    used: Used,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChannelUsage {
    /// `chat` or `voice`.
    #[schema(example = "chat")]
    channel: &'static str,
    #[serde(flatten)]
    used: Used,
}

impl From<Amounts> for Used {
    fn from(amounts: Amounts) -> Self {
        Self {
            messages: amounts.messages,
            tokens_in: amounts.tokens_in,
            tokens_out: amounts.tokens_out,
            cost_usd: Usd(amounts.cost_usd),
        }
    }
}

/// Report usage
///
/// Sessions, messages, tokens and cost, broken down by provider, agent and channel. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/usage", tag = "Analytics", operation_id = "get_usage", params(UsageQuery),
    responses((status = 200, description = "The usage", body = Usage), problems::Reading)
)]
async fn get_usage(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<UsageQuery>,
) -> Result<Json<Usage>, Problem> {
    let (from, to) = span(&query, app.clock.now())?;
    // Sessions and messages come from one projection, tokens and cost from the other.
    tokio::join!(
        freshness::of_everything(&app, Projection::Ledger),
        freshness::of_everything(&app, Projection::Transcripts)
    );
    let usage = ledger::usage(&app.database, caller.tenant_id, from, to).await?;
    let by_agent = named(&app, caller.tenant_id, usage.by_agent).await?;
    Ok(Json(Usage {
        start_date: from,
        end_date: to,
        total_sessions: usage.sessions,
        total_messages: usage.total.messages,
        total_tokens_in: usage.total.tokens_in,
        total_tokens_out: usage.total.tokens_out,
        total_cost_usd: Usd(usage.total.cost_usd),
        by_provider: usage
            .by_provider
            .into_iter()
            .map(|(provider, amounts)| ProviderUsage { provider, used: amounts.into() })
            .collect(),
        by_agent,
        by_channel: usage
            .by_channel
            .into_iter()
            .map(|(channel, amounts)| ChannelUsage { channel: channel.as_str(), used: amounts.into() })
            .collect(),
    }))
}

/// From the beginning of the start to the end of the end.
fn span(query: &UsageQuery, now: DateTime<Utc>) -> Result<(DateTime<Utc>, DateTime<Utc>), Problem> {
    let to = match &query.end_date {
        None => now,
        Some(sent) => moment("end_date", sent, Days::new(1))?,
    };
    let from = match &query.start_date {
        None => to.checked_sub_days(DEFAULT_SPAN).unwrap_or(to),
        Some(sent) => moment("start_date", sent, Days::new(0))?,
    };
    if from > to {
        return Err(Problem::invalid_field("start_date", "must not be after end_date"));
    }
    Ok((from, to))
}

/// A time, or the beginning of the day that many `days` after a date. Years of four digits only, as RFC 3339 has them.
fn moment(field: &str, sent: &str, days: Days) -> Result<DateTime<Utc>, Problem> {
    let invalid = || Problem::invalid_field(field, "must be a date or an RFC 3339 time");
    if !sent.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return Err(invalid());
    }
    // A `+` of an offset that was not percent-encoded arrives as a blank.
    if let Ok(time) = DateTime::parse_from_rfc3339(&sent.replace(' ', "+")) {
        return Ok(time.to_utc());
    }
    let date: NaiveDate = sent.parse().map_err(|_| invalid())?;
    let date = date.checked_add_days(days).ok_or_else(invalid)?;
    Ok(date.and_time(NaiveTime::MIN).and_utc())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TopQuery {
    /// How many agents.
    #[param(minimum = 1, maximum = 1000, default = 10)]
    limit: Option<i64>,
}

/// Rank agents
///
/// The agents with the most replies, with all they ever used. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/top-agents", tag = "Analytics", operation_id = "get_top_agents", params(TopQuery),
    responses((status = 200, description = "The agents, most replies first", body = Vec<AgentUsage>), problems::Reading)
)]
async fn get_top_agents(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<TopQuery>,
) -> Result<Json<Vec<AgentUsage>>, Problem> {
    let page = page_of(query.limit.or(Some(DEFAULT_TOP)), None)?;
    tokio::join!(
        freshness::of_everything(&app, Projection::Ledger),
        freshness::of_everything(&app, Projection::Transcripts)
    );
    let agents = ledger::top_agents(&app.database, caller.tenant_id, page.limit).await?;
    named(&app, caller.tenant_id, agents).await.map(Json)
}

/// How long a stage took with a provider, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
struct Latency {
    /// Of a turn in a call: `endpointing`, `stt`, `first_token`, `first_sentence`, `first_audio`, and `caller_gap`, which
    /// is all the caller hears of them. Of a request to a model that succeeded, in chats and calls: `vendor_first_token`,
    /// `vendor_total`.
    #[schema(example = "first_token")]
    stage: String,
    /// `null`: nobody's but our own.
    provider: Option<String>,
    /// How often it was measured.
    count: u64,
    p50_ms: u64,
    p90_ms: u64,
    p99_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Latencies {
    start_date: DateTime<Utc>,
    end_date: DateTime<Utc>,
    stages: Vec<Latency>,
}

impl From<StageLatency> for Latency {
    fn from(latency: StageLatency) -> Self {
        let StageLatency { stage, provider, count, p50_ms, p90_ms, p99_ms } = latency;
        Self { stage, provider, count, p50_ms, p90_ms, p99_ms }
    }
}

/// Report latencies
///
/// By stage and provider: half, nine of ten, 99 of a hundred took no longer. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/latency", tag = "Analytics", operation_id = "get_latencies", params(UsageQuery),
    responses((status = 200, description = "The latencies", body = Latencies), problems::Reading)
)]
async fn get_latencies(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<UsageQuery>,
) -> Result<Json<Latencies>, Problem> {
    let (from, to) = span(&query, app.clock.now())?;
    tokio::join!(
        freshness::of_everything(&app, Projection::Calls),
        freshness::of_everything(&app, Projection::ProviderCalls)
    );
    let found = calls::latencies(&app.database, caller.tenant_id, from, to).await?;
    let stages = found.into_iter().map(Latency::from).collect();
    Ok(Json(Latencies { start_date: from, end_date: to, stages }))
}

async fn named(
    app: &App,
    tenant_id: events::TenantId,
    agents: Vec<(AgentId, Amounts)>,
) -> Result<Vec<AgentUsage>, Problem> {
    let ids: Vec<AgentId> = agents.iter().map(|(agent_id, _)| *agent_id).collect();
    let mut names = configuration::agent_names(&app.database, tenant_id, &ids).await?;
    let usage = |(agent_id, amounts): (AgentId, Amounts)| AgentUsage {
        agent_id,
        name: names.remove(&agent_id),
        used: amounts.into(),
    };
    Ok(agents.into_iter().map(usage).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(start: Option<&str>, end: Option<&str>) -> UsageQuery {
        UsageQuery { start_date: start.map(str::to_owned), end_date: end.map(str::to_owned) }
    }

    #[test]
    fn dates_are_whole_days_and_times_are_taken_as_they_are() {
        let now = "2026-02-01T12:00:00Z".parse().unwrap();
        let (from, to) = span(&query(Some("2026-01-01"), Some("2026-01-31")), now).unwrap();
        assert_eq!(
            (from.to_rfc3339(), to.to_rfc3339()),
            ("2026-01-01T00:00:00+00:00".into(), "2026-02-01T00:00:00+00:00".into())
        );
        let (from, to) = span(&query(Some("2026-01-01T01:00:00 01:00"), None), now).unwrap();
        assert_eq!((from.to_rfc3339(), to), ("2026-01-01T00:00:00+00:00".into(), now));
        assert_eq!(span(&query(None, None), now).unwrap().0.to_rfc3339(), "2026-01-02T12:00:00+00:00");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let now = "2026-02-01T12:00:00Z".parse().unwrap();
        for wrong in ["yesterday", "2026-13-01", "+262142-12-31", "", "-0001-01-01"] {
            assert!(span(&query(Some(wrong), None), now).is_err(), "{wrong}");
        }
        assert!(span(&query(Some("2026-02-02"), Some("2026-01-01")), now).is_err());
    }
}
