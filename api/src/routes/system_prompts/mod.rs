//! System prompts: what agents tell their models, with variables and versions.

mod default;
mod settings;
mod versions;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::prompt::{PromptCreated, PromptDeleted, PromptSettings, PromptUpdated};
use events::{Aggregate, Event, EventId, Payload, PromptId, Recorded};
use projections::Projection;
use projections::configuration::prompts::{self, PromptRecord};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{Caller, Developer, Viewer};
use crate::extract::{JsonBody, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::{Code, Problem};
use crate::routes::answers::Deleted;
use crate::{App, freshness};

use default::Choice;
use settings::{PromptBody, PromptPatch};

const PATH: &str = "/api/system-prompts";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_system_prompts, create_system_prompt))
        .routes(routes!(get_system_prompt, replace_system_prompt, patch_system_prompt, delete_system_prompt))
        .routes(routes!(versions::list_system_prompt_versions))
}

/// A prompt as it is now.
#[derive(Debug, Serialize, ToSchema)]
struct SystemPrompt {
    #[schema(value_type = Uuid)]
    id: PromptId,
    /// Counts up from 1 with every change of a field other than `is_default`. Replies say which one they came from.
    version: u32,
    name: String,
    description: String,
    category: Option<String>,
    content: String,
    /// Every variable with its default.
    variables: BTreeMap<String, String>,
    /// New agents get it when they name no other. One prompt of the tenant at most; the last one that was chosen.
    is_default: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<PromptRecord> for SystemPrompt {
    fn from(record: PromptRecord) -> Self {
        let PromptRecord { id, version, settings, is_default, created_at, updated_at } = record;
        let PromptSettings { name, description, category, content, variables } = settings;
        Self {
            id,
            version,
            name,
            description,
            category,
            content,
            variables,
            is_default,
            created_at,
            updated_at,
        }
    }
}

/// List system prompts
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/system-prompts", tag = "System prompts", operation_id = "list_system_prompts", params(PageQuery),
    responses(
        (status = 200, description = "The prompts", body = Vec<SystemPrompt>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_system_prompts(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_everything(&app, Projection::Configuration).await;
    let records = prompts::prompts(&app.database, caller.tenant_id, page).await?;
    let next = next_after(page, records.iter().map(|prompt| prompt.id.0));
    Ok(list(PATH, &[], page, next, records.into_iter().map(SystemPrompt::from).collect()))
}

/// Create a system prompt
///
/// In `content`, `{{name}}` stands for a variable, with spaces inside the braces or without; names are of letters, digits
/// and underscores. Every variable must be declared in `variables`, with its default. `\{{` is a plain `{{`, and `\\{{`
/// a backslash before a variable. Role: developer.
#[utoipa::path(
    post, path = "/api/system-prompts", tag = "System prompts", operation_id = "create_system_prompt",
    request_body = PromptBody,
    responses((status = 201, description = "The prompt", body = SystemPrompt), problems::Writing)
)]
async fn create_system_prompt(
    State(app): State<App>,
    Developer(caller): Developer,
    posted: Posted<PromptPatch>,
) -> Result<Response, Problem> {
    let wanted = posted.body.wants_default() == Some(true);
    let settings = posted.body.clone().into_settings()?;
    let once = posted.claim(&app, caller.tenant_id, Makes::NoSecret).await?;
    let prompt_id: PromptId = once.id();
    let aggregate = Aggregate::prompt(caller.tenant_id, prompt_id);
    let event_id: EventId = once.derived("prompt.created");
    let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), PromptCreated { settings });
    let standing = append::create(&app, event, once.replayed).await?;
    freshness::of_change(&app, standing.position).await;
    if wanted {
        let choice = Choice { prompt_id, event_id: once.derived("prompt.default_chosen"), at: once.at };
        choice.put(&app, &caller, Some(true)).await?;
    }
    let prompt = History::of(std::slice::from_ref(&standing))?.answer(prompt_id, wanted);
    Ok(once.mark((StatusCode::CREATED, Json(prompt))))
}

/// Get a system prompt
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/system-prompts/{id}", tag = "System prompts", operation_id = "get_system_prompt",
    params(("id" = Uuid, Path, description = "The prompt")),
    responses((status = 200, description = "The prompt", body = SystemPrompt), problems::Reading, problems::OfAnId)
)]
async fn get_system_prompt(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(prompt_id): PathId<PromptId>,
) -> Result<Json<SystemPrompt>, Problem> {
    let tenant_id = caller.tenant_id;
    for aggregate in [Aggregate::prompt(tenant_id, prompt_id), Aggregate::default_prompt(tenant_id)] {
        freshness::of_aggregate(&app, Projection::Configuration, aggregate).await;
    }
    let prompt = prompts::prompt(&app.database, tenant_id, prompt_id).await?;
    prompt.map(|prompt| Json(prompt.into())).ok_or_else(not_found)
}

/// Replace a system prompt
///
/// What is left out goes back to its default. Turns that begin from now on use the new version. Role: developer.
#[utoipa::path(
    put, path = "/api/system-prompts/{id}", tag = "System prompts", operation_id = "replace_system_prompt",
    request_body = PromptBody, params(("id" = Uuid, Path, description = "The prompt")),
    responses((status = 200, description = "The prompt", body = SystemPrompt), problems::Writing)
)]
async fn replace_system_prompt(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(prompt_id): PathId<PromptId>,
    JsonBody(body): JsonBody<PromptPatch>,
) -> Result<Json<SystemPrompt>, Problem> {
    let wanted = body.wants_default().unwrap_or(false);
    let settings = body.into_settings()?;
    update(&app, &caller, prompt_id, Some(wanted), |_| Ok(settings.clone())).await
}

/// Change a system prompt
///
/// JSON merge patch (RFC 7396): what is left out stays, `null` goes back to the default. Turns that begin from now on use
/// the new version. Role: developer.
#[utoipa::path(
    patch, path = "/api/system-prompts/{id}", tag = "System prompts", operation_id = "patch_system_prompt",
    request_body = PromptPatch, params(("id" = Uuid, Path, description = "The prompt")),
    responses((status = 200, description = "The prompt", body = SystemPrompt), problems::Writing)
)]
async fn patch_system_prompt(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(prompt_id): PathId<PromptId>,
    JsonBody(patch): JsonBody<PromptPatch>,
) -> Result<Json<SystemPrompt>, Problem> {
    let wanted = patch.wants_default();
    update(&app, &caller, prompt_id, wanted, |current| patch.clone().merged_into(Some(current))).await
}

/// Delete a system prompt
///
/// Refused with `prompt_in_use` while agents use it. Its versions stay readable. Role: developer.
#[utoipa::path(
    delete, path = "/api/system-prompts/{id}", tag = "System prompts", operation_id = "delete_system_prompt",
    params(("id" = Uuid, Path, description = "The prompt")),
    responses((status = 200, description = "It is deleted", body = Deleted), problems::Reading, problems::OfNeeded)
)]
async fn delete_system_prompt(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(prompt_id): PathId<PromptId>,
) -> Result<Json<Deleted>, Problem> {
    let tenant_id = caller.tenant_id;
    freshness::of_everything(&app, Projection::Configuration).await;
    let users = prompts::users(&app.database, tenant_id, prompt_id).await?;
    let aggregate = Aggregate::prompt(tenant_id, prompt_id);
    let event_id = EventId::new();
    let (position, ()) = append::update(&app, aggregate, |history| {
        History::of(history)?;
        if users > 0 {
            let agents = if users == 1 { "1 agent uses".to_owned() } else { format!("{users} agents use") };
            return Err(Problem::new(
                Code::PromptInUse,
                format_args!("{agents} it; give them another first"),
            ));
        }
        let event =
            Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), PromptDeleted {});
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}

fn not_found() -> Problem {
    Problem::not_found("system prompt")
}

/// Puts new settings in force, and then makes the prompt the default or not, as `wanted`; what is so already, changes
/// nothing.
async fn update(
    app: &App,
    caller: &Caller,
    prompt_id: PromptId,
    wanted: Option<bool>,
    next: impl Fn(&PromptSettings) -> Result<PromptSettings, Problem>,
) -> Result<Json<SystemPrompt>, Problem> {
    let aggregate = Aggregate::prompt(caller.tenant_id, prompt_id);
    let event_id = EventId::new();
    let (position, history) = append::update(app, aggregate, |events| {
        let mut history = History::of(events)?;
        let settings = next(&history.settings)?;
        if settings == history.settings {
            return Ok(Decision::Nothing(history));
        }
        let now = app.clock.now();
        history = History { version: history.version + 1, updated_at: now, settings, ..history };
        let updated = PromptUpdated { version: history.version, settings: history.settings.clone() };
        let event = Event::new(event_id, now, SOURCE, aggregate, &caller.cause(), updated);
        Ok(Decision::Append(Box::new(event), history))
    })
    .await?;
    freshness::of_change(app, position).await;
    let choice = Choice { prompt_id, event_id: EventId::new(), at: app.clock.now() };
    let is_default = choice.put(app, caller, wanted).await?;
    Ok(Json(history.answer(prompt_id, is_default)))
}

/// What a prompt's events come to.
struct History {
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    settings: PromptSettings,
}

impl History {
    /// # Errors
    /// `not_found` when there is no prompt, or none any more.
    fn of(events: &[Recorded]) -> Result<Self, Problem> {
        let mut prompt = None;
        for recorded in events {
            let time = recorded.event.envelope.time;
            match &recorded.event.payload {
                Payload::PromptCreated(PromptCreated { settings }) => {
                    let settings = settings.clone();
                    prompt = Some(Self { version: 1, created_at: time, updated_at: time, settings });
                }
                Payload::PromptUpdated(PromptUpdated { version, settings }) => {
                    prompt = prompt.map(|prompt: Self| Self {
                        version: *version,
                        updated_at: time,
                        settings: settings.clone(),
                        ..prompt
                    });
                }
                Payload::PromptDeleted(_) => prompt = None,
                _ => {}
            }
        }
        prompt.ok_or_else(not_found)
    }

    fn answer(self, id: PromptId, is_default: bool) -> SystemPrompt {
        let Self { version, created_at, updated_at, settings } = self;
        PromptRecord { id, version, settings, is_default, created_at, updated_at }.into()
    }
}
