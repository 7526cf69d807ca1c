//! Analytics: what was used, by whom, and what it cost. A message here is an assistant's reply.

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

mod entries;
mod latency;
mod rows;
mod span;
mod timeseries;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Days, Utc};
use domain::Zone;
use events::{AgentId, TenantId};
use projections::Projection;
use projections::configuration;
use projections::ledger::usage::{self, Span};
use projections::ledger::{Amounts, Grouping};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::rows::UsageRow;
use self::span::{span, zone_of};
use crate::auth::Viewer;
use crate::export::{self, Format};
use crate::extract::QueryOf;
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::page_of;
use crate::problem::Problem;
use crate::{App, freshness};

/// The span of a usage report when no start is named.
const DEFAULT_SPAN: Days = Days::new(30);
const DEFAULT_TOP: i64 = 10;
/// 31 December 9999: nothing happens later.
const FAR_AWAY: DateTime<Utc> = match DateTime::from_timestamp(253_402_214_400, 0) {
    Some(time) => time,
    None => DateTime::<Utc>::MAX_UTC,
};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_usage))
        .routes(routes!(timeseries::get_timeseries))
        .routes(routes!(entries::list_ledger_entries))
        .routes(routes!(get_top_agents))
        .routes(routes!(latency::get_latencies))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// A date (its beginning in the tenant's time zone) or an RFC 3339 time; 30 days before the end when left out.
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// A date (its end) or an RFC 3339 time, not included; now when left out.
    #[param(example = "2026-01-31")]
    end_date: Option<String>,
    /// What `groups` tells apart: any of `provider`, `model`, `agent`, `channel`, separated by commas.
    #[param(example = "provider,model")]
    group_by: Option<String>,
    /// `json`, `csv` or `ndjson`; `Accept` does, too. Without `group_by` the file has one row.
    format: Option<String>,
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
    by_model: Vec<ModelUsage>,
    by_agent: Vec<AgentUsage>,
    by_channel: Vec<ChannelUsage>,
    /// With `group_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<UsageRow>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Used {
    messages: u64,
    /// To models and speech engines.
    requests: u64,
    tokens_in: u64,
    /// A part of `tokens_in`.
    tokens_cached: u64,
    tokens_out: u64,
    /// Heard or spoken.
    speech_ms: u64,
    /// Spoken.
    characters: u64,
    /// Of calls, as carriers count them.
    carrier_ms: u64,
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
struct ModelUsage {
    provider: String,
    /// Empty where the vendor has no models.
    model: String,
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
            requests: amounts.requests,
            tokens_in: amounts.tokens_in,
            tokens_cached: amounts.tokens_cached,
            tokens_out: amounts.tokens_out,
            speech_ms: amounts.speech_ms,
            characters: amounts.characters,
            carrier_ms: amounts.carrier_ms,
            cost_usd: Usd(amounts.cost_usd),
        }
    }
}

/// Report usage
///
/// Sessions, messages, tokens and cost, broken down by provider, model, agent and channel, and by any combination of
/// these. A correction of what was charged counts when it was made. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/usage", tag = "Analytics", operation_id = "get_usage", params(UsageQuery),
    responses(
        (status = 200, description = "The usage",
            content((Usage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        problems::Reading
    )
)]
async fn get_usage(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<UsageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let UsageQuery { start_date, end_date, group_by, format } = query;
    let format = Format::of(format.as_deref(), &headers)?;
    let grouping = rows::grouping(group_by.as_deref())?;
    let zone = zone_of(&app, caller.tenant_id).await?;
    let span = lately(start_date.as_deref(), end_date.as_deref(), zone, app.clock.now())?;
    // Sessions and messages come from one projection, tokens and cost from the other.
    tokio::join!(
        freshness::of_everything(&app, Projection::Ledger),
        freshness::of_everything(&app, Projection::Transcripts)
    );
    let groups = match grouping {
        Some(grouping) => Some(groups(&app, caller.tenant_id, &span, grouping).await?),
        None => None,
    };
    if format != Format::Json
        && let Some(groups) = groups
    {
        return export::file(format, "usage", groups);
    }
    let usage = usage::usage(&app.database, caller.tenant_id, &span).await?;
    if format != Format::Json {
        return export::file(format, "usage", vec![UsageRow::total(&span, usage.total)]);
    }
    let by_agent = named(&app, caller.tenant_id, usage.by_agent).await?;
    let answer = Usage {
        start_date: span.start,
        end_date: span.end,
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
        by_model: usage
            .by_model
            .into_iter()
            .map(|((provider, model), amounts)| ModelUsage { provider, model, used: amounts.into() })
            .collect(),
        by_agent,
        by_channel: usage
            .by_channel
            .into_iter()
            .map(|(channel, amounts)| ChannelUsage { channel: channel.as_str(), used: amounts.into() })
            .collect(),
        groups,
    };
    Ok(Json(answer).into_response())
}

/// The span of a report: 30 days, until now.
fn lately(start: Option<&str>, end: Option<&str>, zone: Zone, now: DateTime<Utc>) -> Result<Span, Problem> {
    span(start, end, zone, now, |to| to.checked_sub_days(DEFAULT_SPAN).unwrap_or(to))
}

async fn groups(
    app: &App,
    tenant_id: TenantId,
    span: &Span,
    grouping: Grouping,
) -> Result<Vec<UsageRow>, Problem> {
    let spans = std::slice::from_ref(span);
    let used = usage::used(&app.database, tenant_id, spans, grouping).await?;
    rows::named(app, tenant_id, spans, used).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TopQuery {
    /// How many agents.
    #[param(minimum = 1, maximum = 1000, default = 10)]
    limit: Option<i64>,
    /// A date (its beginning in the tenant's time zone) or an RFC 3339 time; left out: from the first reply on.
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// A date (its end) or an RFC 3339 time, not included; left out: until now.
    #[param(example = "2026-01-31")]
    end_date: Option<String>,
}

/// Rank agents
///
/// The agents with the most replies, with all they used: ever, or between two dates. Role: viewer.
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
    let zone = zone_of(&app, caller.tenant_id).await?;
    let (start, end) = (query.start_date.as_deref(), query.end_date.as_deref());
    let span = span(start, end, zone, FAR_AWAY, |_| DateTime::UNIX_EPOCH)?;
    tokio::join!(
        freshness::of_everything(&app, Projection::Ledger),
        freshness::of_everything(&app, Projection::Transcripts)
    );
    let most = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let agents = usage::top_agents(&app.database, caller.tenant_id, &span, most).await?;
    named(&app, caller.tenant_id, agents).await.map(Json)
}

async fn named(
    app: &App,
    tenant_id: TenantId,
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
