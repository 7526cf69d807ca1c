//! Calls: who called whom, what was said, how long each part took, and what it cost.

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

mod change;
mod recording;
mod transcript;

pub(crate) use recording::asked;

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::call::Transport;
use events::{AgentId, CallId, EventId, JobId, Sealed, SessionId, TenantId};
use projections::calls::{self, CallFilter, CallRecord, TurnRecord};
use projections::{Page, Projection, configuration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{AgentViewer, Caller};
use crate::extract::{PathId, QueryOf, id_of};
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after, page_of};
use crate::problem::Problem;
use crate::{App, freshness};

const PATH: &str = "/api/calls";
const STATUSES: [&str; 7] = ["queued", "ringing", "in-progress", "completed", "failed", "busy", "no-answer"];

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_calls))
        .routes(routes!(list_active_calls))
        .routes(routes!(get_call, change::delete_call))
        .routes(routes!(change::hang_up))
        .routes(routes!(transcript::get_call_transcript))
        .routes(routes!(recording::get_call_recording))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CallsQuery {
    #[param(value_type = Option<Uuid>)]
    agent_id: Option<String>,
    /// `queued`, `ringing`, `in-progress`, `completed`, `failed`, `busy` or `no-answer`.
    status: Option<String>,
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
}

impl CallsQuery {
    fn parse(&self) -> Result<(CallFilter, Page), Problem> {
        let agent_id = match &self.agent_id {
            None => None,
            Some(sent) => {
                let id = id_of(sent).ok_or_else(|| Problem::invalid_field("agent_id", "must be a UUID"))?;
                Some(AgentId(id))
            }
        };
        if self.status.as_deref().is_some_and(|sent| !STATUSES.contains(&sent)) {
            let statuses = STATUSES.join(", ");
            return Err(Problem::invalid_field("status", format_args!("must be one of {statuses}")));
        }
        let filter = CallFilter { agent_id, status: self.status.clone(), ..CallFilter::default() };
        Ok((filter, page_of(self.limit, self.after.as_deref())?))
    }

    fn filters(&self) -> [(&'static str, Option<String>); 2] {
        [("agent_id", self.agent_id.clone()), ("status", self.status.clone())]
    }
}

/// A call.
#[derive(Debug, Serialize, ToSchema)]
struct Call {
    #[schema(value_type = Uuid)]
    id: CallId,
    /// What was said stands there too.
    #[schema(value_type = Uuid)]
    session_id: SessionId,
    #[schema(value_type = Uuid)]
    agent_id: AgentId,
    agents: AgentOfCall,
    /// `inbound`, `outbound` or `browser`.
    #[schema(example = "inbound")]
    direction: &'static str,
    /// `null` where there is none, where it was withheld, and once the customer's data was erased.
    #[schema(example = "+493012345678")]
    caller_number: Option<String>,
    called_number: Option<String>,
    /// The carrier's own name of the call.
    provider_call_sid: Option<String>,
    /// The same, when the carrier is Twilio.
    twilio_call_sid: Option<String>,
    /// `queued`, `ringing`, `in-progress`, `completed`, `failed`, `busy` or `no-answer`.
    #[schema(example = "in-progress")]
    status: String,
    end_reason: Option<String>,
    /// From the connection on, rounded; `null` until the call is over.
    duration_seconds: Option<u64>,
    /// `null` until it is written, where nothing was said, and once the customer's data was erased.
    summary: Option<String>,
    started_at: DateTime<Utc>,
    connected_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// All that was billed so far: models, speech, carrier.
    cost_usd: Usd,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Who talks, `host:pid`; `null` once the call is over.
    worker_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AgentOfCall {
    /// `null` only while the agent is not to be found.
    name: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CallWithTurns {
    #[serde(flatten)]
    call: Call,
    /// One per turn that was measured, in their order.
    turns: Vec<Turn>,
}

/// How long the parts of a turn took, in milliseconds; `null`: the turn did not come so far. Each begins where the one
/// before it ends.
#[derive(Debug, Serialize, ToSchema)]
struct Turn {
    #[schema(value_type = Uuid)]
    job_id: JobId,
    turn: u32,
    /// The caller spoke before the whole reply was heard.
    interrupted: bool,
    /// From the first to the last voiced sound of the caller.
    speech_ms: Option<u64>,
    /// Until it was clear that the caller had finished.
    endpointing_ms: Option<u64>,
    /// Until the words were known.
    stt_ms: Option<u64>,
    /// Until the model's first words came.
    first_token_ms: Option<u64>,
    /// Until there was something to say.
    first_sentence_ms: Option<u64>,
    /// Until its first sound was sent.
    first_audio_ms: Option<u64>,
    /// From the caller's last voiced sound to the first that was sent back.
    caller_gap_ms: Option<u64>,
    stt_provider: Option<String>,
    llm_provider: Option<String>,
    tts_provider: Option<String>,
}

impl From<TurnRecord> for Turn {
    fn from(turn: TurnRecord) -> Self {
        Self {
            job_id: turn.job_id,
            turn: turn.turn,
            interrupted: turn.interrupted,
            speech_ms: turn.speech_ms,
            endpointing_ms: turn.endpointing_ms,
            stt_ms: turn.stt_ms,
            first_token_ms: turn.first_token_ms,
            first_sentence_ms: turn.first_sentence_ms,
            first_audio_ms: turn.first_audio_ms,
            caller_gap_ms: turn.caller_gap_ms,
            stt_provider: turn.stt_provider,
            llm_provider: turn.llm_provider,
            tts_provider: turn.tts_provider,
        }
    }
}

/// List calls
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/calls", tag = "Calls", operation_id = "list_calls", params(CallsQuery),
    responses(
        (status = 200, description = "The calls", body = Vec<Call>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_calls(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<CallsQuery>,
) -> Result<Response, Problem> {
    let (filter, page) = query.parse()?;
    let (calls, next) = listed(&app, &caller, filter, page).await?;
    Ok(list(PATH, &query.filters(), page, next, calls))
}

/// List calls under way
///
/// Newest first, with the workers that hold them. Role: viewer.
#[utoipa::path(
    get, path = "/api/calls/active", tag = "Calls", operation_id = "list_active_calls", params(PageQuery),
    responses(
        (status = 200, description = "The calls", body = Vec<Call>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_active_calls(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let filter = CallFilter { active_only: true, ..CallFilter::default() };
    let (calls, next) = listed(&app, &caller, filter, page).await?;
    Ok(list("/api/calls/active", &[], page, next, calls))
}

/// Get a call
///
/// With what was measured of its turns. Role: viewer.
#[utoipa::path(
    get, path = "/api/calls/{id}", tag = "Calls", operation_id = "get_call",
    params(("id" = Uuid, Path, description = "The call")),
    responses((status = 200, description = "The call", body = CallWithTurns), problems::Reading, problems::OfAnId)
)]
async fn get_call(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(call_id): PathId<CallId>,
) -> Result<Json<CallWithTurns>, Problem> {
    fresh(&app).await;
    let record = found(&app, &caller, call_id).await?;
    let turns = calls::turns(&app.database, caller.tenant_id, call_id).await?;
    let names = configuration::agent_names(&app.database, caller.tenant_id, &[record.agent_id]).await?;
    let call = shown(&app, caller.tenant_id, record, &names).await?;
    Ok(Json(CallWithTurns { call, turns: turns.into_iter().map(Turn::from).collect() }))
}

/// Calls come from one projection, what they cost from the other.
async fn fresh(app: &App) {
    tokio::join!(
        freshness::of_everything(app, Projection::Calls),
        freshness::of_everything(app, Projection::Ledger)
    );
}

async fn found(app: &App, caller: &Caller, call_id: CallId) -> Result<CallRecord, Problem> {
    let call = calls::call(&app.database, caller.tenant_id, call_id).await?;
    let call = call.ok_or_else(|| Problem::not_found("call"))?;
    caller.check_reaches(call.agent_id, "call")?;
    Ok(call)
}

async fn listed(
    app: &App,
    caller: &Caller,
    filter: CallFilter,
    page: Page,
) -> Result<(Vec<Call>, Option<uuid::Uuid>), Problem> {
    fresh(app).await;
    let tenant_id = caller.tenant_id;
    let filter = CallFilter { agents: caller.reach.only().map(<[_]>::to_vec), ..filter };
    let records = calls::calls(&app.database, tenant_id, &filter, page).await?;
    let next = next_after(page, records.iter().map(|record| record.id.0));
    let agents: Vec<AgentId> = records.iter().map(|record| record.agent_id).collect();
    let names = configuration::agent_names(&app.database, tenant_id, &agents).await?;
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(shown(app, tenant_id, record, &names).await?);
    }
    Ok((answers, next))
}

async fn shown(
    app: &App,
    tenant_id: TenantId,
    record: CallRecord,
    names: &HashMap<AgentId, String>,
) -> Result<Call, Problem> {
    let open = |sealed_for: EventId, sealed: Option<Sealed>| async move {
        match sealed {
            Some(sealed) => app.keyring.open(tenant_id, sealed_for, &sealed).await,
            None => Ok(None),
        }
    };
    let summary = match record.summary {
        Some((sealed_for, words)) => open(sealed_for, Some(words)).await?,
        None => None,
    };
    Ok(Call {
        id: record.id,
        session_id: record.session_id,
        agent_id: record.agent_id,
        agents: AgentOfCall { name: names.get(&record.agent_id).cloned() },
        direction: record.direction.as_str(),
        caller_number: open(record.sealed_for, record.caller_number).await?,
        called_number: open(record.sealed_for, record.called_number).await?,
        twilio_call_sid: record.provider_call_sid.clone().filter(|_| record.transport == Transport::Twilio),
        provider_call_sid: record.provider_call_sid,
        status: record.status,
        end_reason: record.end_reason,
        duration_seconds: record.duration_ms.map(|ms| (ms + 500) / 1_000),
        summary,
        started_at: record.started_at,
        connected_at: record.connected_at,
        worker_id: record.worker_id.filter(|_| record.ended_at.is_none()),
        ended_at: record.ended_at,
        cost_usd: Usd(record.cost_usd),
        metadata: record.metadata,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(agent_id: Option<&str>, status: Option<&str>) -> CallsQuery {
        let (agent_id, status) = (agent_id.map(str::to_owned), status.map(str::to_owned));
        CallsQuery { agent_id, status, ..CallsQuery::default() }
    }

    #[test]
    fn a_filter_that_nothing_can_fit_is_refused() {
        for (agent_id, status) in [(Some("desk"), None), (None, Some("in_progress")), (None, Some(""))] {
            assert!(query(agent_id, status).parse().is_err(), "{agent_id:?} {status:?}");
        }
        let (filter, page) = query(None, Some("no-answer")).parse().unwrap();
        assert_eq!((filter.status.as_deref(), page.limit), (Some("no-answer"), 100));
    }
}
