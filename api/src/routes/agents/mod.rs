//! Agents: who talks to the customers, and how.

mod calendar;
mod limits;
mod owned;
mod prompt;
#[cfg(test)]
mod prompt_tests;
mod settings;
#[cfg(test)]
mod settings_tests;
mod speech;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::agent::{AgentCreated, AgentDeleted, AgentSettings, AgentUpdated};
use events::{AgentId, Aggregate, Event, EventId, Payload, PromptId, Recorded};
use projections::Projection;
use projections::configuration::{self, AgentRecord};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{AgentDeveloper, AgentViewer, Caller, Developer};
use crate::extract::{JsonBody, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::Problem;
use crate::routes::answers::Deleted;
use crate::{App, freshness};

use calendar::CalendarView;
use limits::LimitsView;
use owned::Owned;
use settings::{AgentBody, AgentPatch};
use speech::SpeechView;

const PATH: &str = "/api/agents";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_agents, create_agent)).routes(routes!(
        get_agent,
        replace_agent,
        patch_agent,
        delete_agent
    ))
}

/// An agent as it is now.
#[derive(Debug, Serialize, ToSchema)]
struct Agent {
    #[schema(value_type = Uuid)]
    id: AgentId,
    /// Counts up from 1 with every change.
    version: u32,
    name: String,
    description: String,
    /// `null` when there is a `system_prompt_id`.
    system_prompt: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    system_prompt_id: Option<PromptId>,
    prompt_variables: BTreeMap<String, String>,
    primary_provider: String,
    /// The first of `fallbacks`.
    fallback_provider: Option<String>,
    fallbacks: Vec<String>,
    llm_model: Option<String>,
    voice_id: Option<String>,
    language: String,
    tools_enabled: Vec<String>,
    greeting: Option<String>,
    is_active: bool,
    #[schema(value_type = Object)]
    metadata: serde_json::Map<String, serde_json::Value>,
    /// `null`: the default, Monday to Friday, 09:00 to 17:00 UTC, in half hours.
    calendar: Option<CalendarView>,
    /// Whom `transfer_call` may hand callers over to.
    transfer_numbers: Vec<String>,
    /// `null`: never a second request beside a slow first one.
    hedge_after_ms: Option<u32>,
    /// `null`: the tenant's limits alone.
    limits: Option<LimitsView>,
    /// What hears the callers; `null`: the local engine.
    stt: Option<SpeechView>,
    /// What speaks to the callers; `null`: the local engine.
    tts: Option<SpeechView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Agent {
    fn new(id: AgentId, version: u32, at: (DateTime<Utc>, DateTime<Utc>), settings: AgentSettings) -> Self {
        Self {
            id,
            version,
            name: settings.name,
            description: settings.description,
            system_prompt: settings.system_prompt_id.is_none().then_some(settings.system_prompt),
            system_prompt_id: settings.system_prompt_id,
            prompt_variables: settings.prompt_variables,
            primary_provider: settings.primary_provider,
            fallback_provider: settings.fallbacks.first().cloned(),
            fallbacks: settings.fallbacks,
            llm_model: settings.llm_model,
            voice_id: settings.voice_id,
            language: settings.language,
            tools_enabled: settings.tools_enabled,
            greeting: settings.greeting,
            is_active: settings.is_active,
            metadata: settings.metadata,
            calendar: settings.calendar.map(CalendarView::from),
            transfer_numbers: settings.transfer_numbers,
            hedge_after_ms: settings.hedge_after_ms,
            limits: settings.limits.map(LimitsView::from),
            stt: settings.stt.map(SpeechView::from),
            tts: settings.tts.map(SpeechView::from),
            created_at: at.0,
            updated_at: at.1,
        }
    }
}

impl From<AgentRecord> for Agent {
    fn from(record: AgentRecord) -> Self {
        Self::new(record.id, record.version, (record.created_at, record.updated_at), record.settings)
    }
}

/// List agents
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/agents", tag = "Agents", operation_id = "list_agents", params(PageQuery),
    responses(
        (status = 200, description = "The agents", body = Vec<Agent>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_agents(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_everything(&app, Projection::Configuration).await;
    let agents = configuration::agents(&app.database, caller.tenant_id, caller.reach.only(), page).await?;
    let next = next_after(page, agents.iter().map(|agent| agent.id.0));
    Ok(list(PATH, &[], page, next, agents.into_iter().map(Agent::from).collect()))
}

/// Create an agent
///
/// Role: developer.
#[utoipa::path(
    post, path = "/api/agents", tag = "Agents", operation_id = "create_agent", request_body = AgentBody,
    responses((status = 201, description = "The agent", body = Agent), problems::Writing)
)]
async fn create_agent(
    State(app): State<App>,
    Developer(caller): Developer,
    posted: Posted<AgentPatch>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let of_id = |id: Uuid| Aggregate::agent(tenant_id, AgentId(id));
    let (once, standing) = match posted.made_before(&app, tenant_id, of_id).await? {
        Some(before) => before,
        None => {
            let own = Owned::of(&app, tenant_id, &posted.body, None).await?;
            let settings = posted.body.clone().into_settings(&app.config.language_models, &own)?;
            let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
            let (id, aggregate) = (once.derived("agent.created"), of_id(once.id()));
            let created = AgentCreated { settings };
            let event = Event::new(id, once.at, SOURCE, aggregate, &caller.cause(), created);
            let standing = append::create(&app, event, once.replayed).await?;
            (once, standing)
        }
    };
    freshness::of_change(&app, standing.position).await;
    let agent = History::of(std::slice::from_ref(&standing))?.answer(once.id());
    Ok(once.mark((StatusCode::CREATED, Json(agent))))
}

/// Get an agent
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/agents/{id}", tag = "Agents", operation_id = "get_agent",
    params(("id" = Uuid, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = Agent), problems::Reading, problems::OfAnId)
)]
async fn get_agent(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(agent_id): PathId<AgentId>,
) -> Result<Json<Agent>, Problem> {
    caller.check_reaches(agent_id, "agent")?;
    let aggregate = Aggregate::agent(caller.tenant_id, agent_id);
    freshness::of_aggregate(&app, Projection::Configuration, aggregate).await;
    let agent = configuration::agent(&app.database, caller.tenant_id, agent_id).await?;
    agent.map(|agent| Json(agent.into())).ok_or_else(|| Problem::not_found("agent"))
}

/// Replace an agent
///
/// What is left out goes back to its default. Role: developer.
#[utoipa::path(
    put, path = "/api/agents/{id}", tag = "Agents", operation_id = "replace_agent", request_body = AgentBody,
    params(("id" = Uuid, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = Agent), problems::Writing)
)]
async fn replace_agent(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(agent_id): PathId<AgentId>,
    JsonBody(body): JsonBody<AgentPatch>,
) -> Result<Json<Agent>, Problem> {
    caller.check_reaches(agent_id, "agent")?;
    let own = Owned::of(&app, caller.tenant_id, &body, None).await?;
    let settings = body.into_settings(&app.config.language_models, &own)?;
    update(&app, &caller, agent_id, |_| Ok(settings.clone())).await
}

/// Change an agent
///
/// JSON merge patch (RFC 7396): what is left out stays, `null` goes back to the default. Role: developer.
#[utoipa::path(
    patch, path = "/api/agents/{id}", tag = "Agents", operation_id = "patch_agent", request_body = AgentPatch,
    params(("id" = Uuid, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = Agent), problems::Writing)
)]
async fn patch_agent(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(agent_id): PathId<AgentId>,
    JsonBody(patch): JsonBody<AgentPatch>,
) -> Result<Json<Agent>, Problem> {
    caller.check_reaches(agent_id, "agent")?;
    let agent = configuration::agent(&app.database, caller.tenant_id, agent_id).await?;
    let current = agent.and_then(|agent| agent.settings.system_prompt_id);
    let own = Owned::of(&app, caller.tenant_id, &patch, current).await?;
    update(&app, &caller, agent_id, |current| {
        patch.clone().merged_into(Some(current), &app.config.language_models, &own)
    })
    .await
}

/// Delete an agent
///
/// Its sessions stay readable; messages to them are refused with `agent_unavailable`. Role: developer.
#[utoipa::path(
    delete, path = "/api/agents/{id}", tag = "Agents", operation_id = "delete_agent",
    params(("id" = Uuid, Path, description = "The agent")),
    responses((status = 200, description = "It is deleted", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn delete_agent(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(agent_id): PathId<AgentId>,
) -> Result<Json<Deleted>, Problem> {
    caller.check_reaches(agent_id, "agent")?;
    let aggregate = Aggregate::agent(caller.tenant_id, agent_id);
    let event_id = EventId::new();
    let (position, ()) = append::update(&app, aggregate, |history| {
        History::of(history)?;
        let event =
            Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), AgentDeleted {});
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}

/// Puts new settings in force; settings that are the present ones change nothing.
async fn update(
    app: &App,
    caller: &Caller,
    agent_id: AgentId,
    next: impl Fn(&AgentSettings) -> Result<AgentSettings, Problem>,
) -> Result<Json<Agent>, Problem> {
    let aggregate = Aggregate::agent(caller.tenant_id, agent_id);
    let event_id = EventId::new();
    let (position, agent) = append::update(app, aggregate, |history| {
        let mut history = History::of(history)?;
        let settings = next(&history.settings)?;
        if settings == history.settings {
            return Ok(Decision::Nothing(history.answer(agent_id)));
        }
        let now = app.clock.now();
        history.version += 1;
        history.updated_at = now;
        history.settings = settings.clone();
        let updated = AgentUpdated { version: history.version, settings };
        let event = Event::new(event_id, now, SOURCE, aggregate, &caller.cause(), updated);
        Ok(Decision::Append(Box::new(event), history.answer(agent_id)))
    })
    .await?;
    freshness::of_change(app, position).await;
    Ok(Json(agent))
}

/// What an agent's events come to.
struct History {
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    settings: AgentSettings,
}

impl History {
    /// # Errors
    /// `not_found` when there is no agent, or none any more.
    fn of(events: &[Recorded]) -> Result<Self, Problem> {
        let mut agent = None;
        for recorded in events {
            let time = recorded.event.envelope.time;
            match &recorded.event.payload {
                Payload::AgentCreated(AgentCreated { settings }) => {
                    agent = Some(Self {
                        version: 1,
                        created_at: time,
                        updated_at: time,
                        settings: settings.clone(),
                    });
                }
                Payload::AgentUpdated(AgentUpdated { version, settings }) => {
                    agent = agent.map(|agent: Self| Self {
                        version: *version,
                        updated_at: time,
                        settings: settings.clone(),
                        ..agent
                    });
                }
                Payload::AgentDeleted(_) => agent = None,
                _ => {}
            }
        }
        agent.ok_or_else(|| Problem::not_found("agent"))
    }

    fn answer(&self, id: AgentId) -> Agent {
        Agent::new(id, self.version, (self.created_at, self.updated_at), self.settings.clone())
    }
}
