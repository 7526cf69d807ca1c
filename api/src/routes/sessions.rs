//! Sessions: conversations of a customer with an agent.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::session::{Channel, SessionCreated, SessionEnded};
use events::{
    AgentId, Aggregate, Event, EventId, JobId, MessageId, Payload, PromptId, Recorded, SessionId, TenantId,
};
use projections::Projection;
use projections::configuration::prompts;
use projections::transcripts::{self, MessageRecord, SessionRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{AgentDeveloper, AgentViewer, Caller};
use crate::extract::{Nothing, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::Problem;
use crate::validation::Mistakes;
use crate::{App, freshness, prompt_variables, sessions};

const PATH: &str = "/api/sessions";
const MAX_CUSTOMER_ID_CHARS: usize = 256;
/// Why a session is over when somebody asked for its end.
const ENDED_BY_REQUEST: &str = "requested";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions, create_session))
        .routes(routes!(get_session))
        .routes(routes!(end_session))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    agent_id: Uuid,
    /// Your own name for the customer; kept encrypted.
    #[schema(min_length = 1, max_length = 256, example = "customer-4711")]
    customer_id: String,
    #[serde(default)]
    channel: SentChannel,
    /// Values for variables of the agent's prompt in this session, by name, in the place of the agent's: each at most
    /// 2000 characters, all together at most 16 KiB; kept encrypted.
    #[serde(default)]
    prompt_variables: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SentChannel {
    #[default]
    Chat,
    Voice,
}

#[derive(Debug, Serialize, ToSchema)]
struct Session {
    #[schema(value_type = Uuid)]
    id: SessionId,
    #[schema(value_type = Uuid)]
    agent_id: AgentId,
    /// `null` once the customer's data was erased.
    customer_id: Option<String>,
    /// `chat` or `voice`.
    #[schema(example = "chat")]
    channel: &'static str,
    /// As they were given; `null` once the customer's data was erased.
    prompt_variables: Option<BTreeMap<String, String>>,
    /// `active` or `ended`.
    #[schema(example = "active")]
    status: &'static str,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// `requested`: by `POST …/end`; `ended_by_agent`: by the tool `end_call`; `transferred`: by `transfer_call`.
    #[schema(example = "requested")]
    end_reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SessionWithTranscript {
    #[serde(flatten)]
    session: Session,
    /// In the order they were said.
    messages: Vec<Message>,
}

/// One message. What only a reply has is `null` on the customer's, on a greeting, and where a call's reply was cut off.
#[derive(Debug, Serialize, ToSchema)]
struct Message {
    #[schema(value_type = Uuid)]
    id: MessageId,
    /// `user` or `assistant`.
    #[schema(example = "assistant")]
    role: &'static str,
    /// Of an interrupted reply what was heard; `null` once the customer's data was erased.
    content: Option<String>,
    /// The customer spoke before all of it was heard.
    interrupted: bool,
    /// The customer's data was erased.
    erased: bool,
    created_at: DateTime<Utc>,
    #[schema(value_type = Uuid)]
    job_id: JobId,
    correlation_id: String,
    provider: Option<String>,
    model: Option<String>,
    tokens_in: Option<u64>,
    tokens_out: Option<u64>,
    cost_usd: Option<Usd>,
    latency_ms: Option<u64>,
    tools_called: Option<Vec<String>>,
    attempts: Option<u64>,
    /// The agent as it was when it said this; `null` in replies that are older than this field.
    agent_version: Option<u32>,
    /// The prompt that the model was told; `null` when the agent had a `system_prompt` of its own.
    #[schema(value_type = Option<Uuid>)]
    prompt_id: Option<PromptId>,
    /// See `GET /api/system-prompts/{id}/versions`.
    prompt_version: Option<u32>,
}

/// Open a session
///
/// Role: developer.
#[utoipa::path(
    post, path = "/api/sessions", tag = "Sessions", operation_id = "create_session", request_body = NewSession,
    responses((status = 201, description = "The session", body = Session), problems::Writing)
)]
async fn create_session(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    posted: Posted<NewSession>,
) -> Result<Response, Problem> {
    let mut mistakes = Mistakes::default();
    mistakes.check_required("customer_id", &posted.body.customer_id, MAX_CUSTOMER_ID_CHARS);
    mistakes.into_result()?;
    caller.check_reaches(AgentId(posted.body.agent_id), "agent")?;
    let tenant_id = caller.tenant_id;
    let of_id = |id: Uuid| Aggregate::session(tenant_id, SessionId(id));
    // A repeated request is answered as the first was, whatever became of the agent since.
    let (once, standing) = match posted.made_before(&app, tenant_id, of_id).await? {
        Some(before) => before,
        None => {
            check_agent(&app, &caller, &posted.body).await?;
            let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
            let id: EventId = once.derived("session.created");
            let created = sealed(&app, tenant_id, id, &posted.body).await?;
            let event = Event::new(id, once.at, SOURCE, of_id(once.id()), &caller.cause(), created);
            let standing = append::create(&app, event, once.replayed).await?;
            (once, standing)
        }
    };
    let session = opened(&app, created_record(tenant_id, &standing)?).await?;
    Ok(once.mark((StatusCode::CREATED, Json(session))))
}

/// There is such an agent, and its prompt has the variables that values are given for.
async fn check_agent(app: &App, caller: &Caller, new: &NewSession) -> Result<(), Problem> {
    let agent = app.agent_of(caller, AgentId(new.agent_id)).await?;
    if new.prompt_variables.is_empty() {
        return Ok(());
    }
    let prompt = match agent.settings.system_prompt_id {
        Some(id) => prompts::version(&app.database, caller.tenant_id, id, None).await?,
        None => None,
    };
    let mut mistakes = Mistakes::default();
    match prompt {
        Some(prompt) => prompt_variables::check(&new.prompt_variables, &prompt.settings, &mut mistakes),
        None => mistakes
            .add(prompt_variables::FIELD, "are for a session with an agent that has a system_prompt_id"),
    }
    mistakes.into_result()
}

/// The session's beginning, with what is the customer's sealed for the event `id`.
async fn sealed(
    app: &App,
    tenant_id: TenantId,
    id: EventId,
    new: &NewSession,
) -> Result<SessionCreated, Problem> {
    let key = app.keyring.customer_key(tenant_id, &new.customer_id).await?;
    let variables = match new.prompt_variables.is_empty() {
        true => None,
        false => {
            let json = serde_json::to_string(&new.prompt_variables);
            let json = json.map_err(|error| Problem::internal(&error))?;
            Some(app.keyring.seal(tenant_id, key.0, id, &json).await?)
        }
    };
    Ok(SessionCreated {
        agent_id: AgentId(new.agent_id),
        channel: match new.channel {
            SentChannel::Chat => Channel::Chat,
            SentChannel::Voice => Channel::Voice,
        },
        customer_key_id: key,
        customer_id: app.keyring.seal(tenant_id, key.0, id, &new.customer_id).await?,
        prompt_variables: variables,
    })
}

/// The session as its first event has it.
fn created_record(tenant_id: TenantId, first: &Recorded) -> Result<SessionRecord, Problem> {
    let envelope = &first.event.envelope;
    let Payload::SessionCreated(created) = &first.event.payload else {
        return Err(Problem::not_found("session"));
    };
    Ok(SessionRecord {
        id: SessionId(envelope.aggregate.id),
        tenant_id,
        agent_id: created.agent_id,
        channel: created.channel,
        customer_key_id: created.customer_key_id,
        customer_id: created.customer_id.clone(),
        prompt_variables: created.prompt_variables.clone(),
        customer_sealed_for: envelope.id,
        created_at: envelope.time,
        ended_at: None,
        end_reason: None,
        sequence: first.position.sequence,
    })
}

/// List sessions
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/sessions", tag = "Sessions", operation_id = "list_sessions", params(PageQuery),
    responses(
        (status = 200, description = "The sessions", body = Vec<Session>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_sessions(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_everything(&app, Projection::Transcripts).await;
    let records = transcripts::sessions(&app.database, caller.tenant_id, caller.reach.only(), page).await?;
    let next = next_after(page, records.iter().map(|record| record.id.0));
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(opened(&app, record).await?);
    }
    Ok(list(PATH, &[], page, next, answers))
}

/// Get a session with its transcript
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/sessions/{id}", tag = "Sessions", operation_id = "get_session",
    params(("id" = Uuid, Path, description = "The session")),
    responses(
        (status = 200, description = "The session", body = SessionWithTranscript),
        problems::Reading, problems::OfAnId,
    )
)]
async fn get_session(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(session_id): PathId<SessionId>,
) -> Result<Json<SessionWithTranscript>, Problem> {
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Transcripts, Aggregate::session(tenant_id, session_id)).await;
    let record = transcripts::session(&app.database, tenant_id, session_id).await?;
    let record = record.ok_or_else(|| Problem::not_found("session"))?;
    caller.check_reaches(record.agent_id, "session")?;
    let mut messages = Vec::new();
    for message in transcripts::messages(&app.database, tenant_id, session_id).await? {
        messages.push(opened_message(&app, tenant_id, message).await?);
    }
    Ok(Json(SessionWithTranscript { session: opened(&app, record).await?, messages }))
}

/// End a session
///
/// Later messages are refused with `session_ended`; one that is being answered is still answered. Ending an ended
/// session changes nothing. Role: developer.
#[utoipa::path(
    post, path = "/api/sessions/{id}/end", tag = "Sessions", operation_id = "end_session",
    params(("id" = Uuid, Path, description = "The session")),
    responses((status = 200, description = "The session", body = Session), problems::Writing)
)]
async fn end_session(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(session_id): PathId<SessionId>,
    posted: Posted<Nothing>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let facts = sessions::find(&app, &caller, session_id).await?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let aggregate = Aggregate::session(tenant_id, session_id);
    let (_, record) = append::update(&app, aggregate, |history| {
        let first = history.first().ok_or_else(|| Problem::not_found("session"))?;
        let record = created_record(tenant_id, first)?;
        if let Some((ended_at, reason)) = history.iter().find_map(end_of) {
            let (ended_at, end_reason) = (Some(ended_at), Some(reason.to_owned()));
            return Ok(Decision::Nothing(SessionRecord { ended_at, end_reason, ..record }));
        }
        let end = SessionEnded { reason: ENDED_BY_REQUEST.to_owned() };
        let event = Event::new(once.id(), once.at, SOURCE, aggregate, &caller.cause(), end.clone());
        let record = SessionRecord { ended_at: Some(once.at), end_reason: Some(end.reason), ..record };
        Ok(Decision::Append(Box::new(event), record))
    })
    .await?;
    facts.end();
    let session = opened(&app, record).await?;
    Ok(once.mark(Json(session)))
}

/// When and why an event ended its session, if it did.
fn end_of(recorded: &Recorded) -> Option<(DateTime<Utc>, &str)> {
    let reason = match &recorded.event.payload {
        Payload::SessionEnded(end) => &end.reason,
        Payload::ReplyCompleted(reply) => reply.then.as_ref()?.end_reason(),
        _ => return None,
    };
    Some((recorded.event.envelope.time, reason))
}

async fn opened(app: &App, record: SessionRecord) -> Result<Session, Problem> {
    let customer_id =
        app.keyring.open(record.tenant_id, record.customer_sealed_for, &record.customer_id).await?;
    let prompt_variables = match &record.prompt_variables {
        None => customer_id.is_some().then(BTreeMap::new),
        Some(sealed) => {
            let json = app.keyring.open(record.tenant_id, record.customer_sealed_for, sealed).await?;
            let read = json.map(|json| serde_json::from_str(&json)).transpose();
            read.map_err(|error| Problem::internal(&error))?
        }
    };
    Ok(Session {
        id: record.id,
        agent_id: record.agent_id,
        customer_id,
        channel: record.channel.as_str(),
        prompt_variables,
        status: if record.ended_at.is_some() { "ended" } else { "active" },
        created_at: record.created_at,
        ended_at: record.ended_at,
        end_reason: record.end_reason,
    })
}

async fn opened_message(app: &App, tenant_id: TenantId, record: MessageRecord) -> Result<Message, Problem> {
    let content = match &record.content {
        Some(words) => app.keyring.open(tenant_id, record.sealed_for, words).await?,
        None => Some(String::new()),
    };
    let erased = content.is_none();
    let message = Message {
        id: record.id,
        role: record.role.as_str(),
        content,
        interrupted: record.interrupted,
        erased,
        created_at: record.created_at,
        job_id: record.job_id,
        correlation_id: record.correlation_id,
        provider: None,
        model: None,
        tokens_in: None,
        tokens_out: None,
        cost_usd: None,
        latency_ms: None,
        tools_called: None,
        attempts: None,
        agent_version: None,
        prompt_id: None,
        prompt_version: None,
    };
    Ok(match record.reply {
        None => message,
        Some(reply) => Message {
            provider: Some(reply.provider),
            model: Some(reply.model),
            tokens_in: Some(reply.tokens_in),
            tokens_out: Some(reply.tokens_out),
            cost_usd: Some(Usd(reply.cost_usd)),
            latency_ms: Some(reply.latency_ms),
            tools_called: Some(reply.tools_called),
            attempts: Some(reply.attempts),
            agent_version: reply.agent_version,
            prompt_id: reply.prompt.map(|prompt| prompt.id),
            prompt_version: reply.prompt.map(|prompt| prompt.version),
            ..message
        },
    })
}
