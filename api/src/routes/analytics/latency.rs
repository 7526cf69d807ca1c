//! `GET /api/analytics/latency`: how long things take.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use events::AgentId;
use projections::Projection;
use projections::calls::{self, StageLatency};
use projections::ledger::Grouping;
use projections::ledger::usage::Span;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::rows;
use super::span::zone_of;
use crate::auth::Viewer;
use crate::extract::QueryOf;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::{App, freshness};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LatencyQuery {
    /// A date (its beginning in the tenant's time zone) or an RFC 3339 time; 30 days before the end when left out.
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// A date (its end) or an RFC 3339 time, not included; now when left out.
    #[param(example = "2026-01-31")]
    end_date: Option<String>,
    /// What is told apart beside the stage: any of `provider`, `model`, `agent`, `channel`, separated by commas.
    #[param(example = "provider,agent", default = "provider")]
    group_by: Option<String>,
}

/// How long a stage took with one group, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
struct Latency {
    /// Of a turn in a call: `endpointing`, `stt`, `first_token`, `first_sentence`, `first_audio`, and `caller_gap`, which
    /// is all the caller hears of them. Of a request to a model that succeeded, in chats and calls: `vendor_first_token`,
    /// `vendor_total`.
    #[schema(example = "first_token")]
    stage: String,
    /// `null`: nobody's but our own; as with the next ones also: not told apart.
    provider: Option<String>,
    /// Of requests to models alone.
    model: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    agent_id: Option<AgentId>,
    /// `chat` or `voice`.
    channel: Option<&'static str>,
    /// How often it was measured.
    count: u64,
    p50_ms: u64,
    p90_ms: u64,
    p99_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Latencies {
    start_date: DateTime<Utc>,
    end_date: DateTime<Utc>,
    stages: Vec<Latency>,
}

impl From<StageLatency> for Latency {
    fn from(latency: StageLatency) -> Self {
        let StageLatency { stage, group, count, p50_ms, p90_ms, p99_ms } = latency;
        Self {
            stage,
            provider: group.provider,
            model: group.model,
            agent_id: group.agent_id,
            channel: group.channel.map(|channel| channel.as_str()),
            count,
            p50_ms,
            p90_ms,
            p99_ms,
        }
    }
}

/// Report latencies
///
/// By stage and group: half, nine of ten, 99 of a hundred took no longer. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/latency", tag = "Analytics", operation_id = "get_latencies", params(LatencyQuery),
    responses((status = 200, description = "The latencies", body = Latencies), problems::Reading)
)]
pub(super) async fn get_latencies(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<LatencyQuery>,
) -> Result<Json<Latencies>, Problem> {
    let grouping = rows::grouping(query.group_by.as_deref())?;
    let grouping = grouping.unwrap_or(Grouping { provider: true, ..Grouping::default() });
    let zone = zone_of(&app, caller.tenant_id).await?;
    let (start, end) = (query.start_date.as_deref(), query.end_date.as_deref());
    let Span { start: from, end: to } = super::lately(start, end, zone, app.clock.now())?;
    tokio::join!(
        freshness::of_everything(&app, Projection::Calls),
        freshness::of_everything(&app, Projection::ProviderCalls),
        freshness::of_everything(&app, Projection::Transcripts)
    );
    let found = calls::latencies(&app.database, caller.tenant_id, from, to, grouping).await?;
    let stages = found.into_iter().map(Latency::from).collect();
    Ok(Json(Latencies { start_date: from, end_date: to, stages }))
}
