//! API keys of a tenant.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use events::tenant::{KeyCreated, KeyRevoked, KeyRotated, Role};
use events::{AgentId, Aggregate, ApiKeyId, Event, EventId, Payload, Recorded};
use projections::Projection;
use projections::configuration::api_keys::{self, ListedKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::api_key::NewKey;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Admin;
use crate::extract::{OrEmpty, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::{Code, Problem};
use crate::routes::answers::Deleted;
use crate::validation::Mistakes;
use crate::{App, freshness};

const PATH: &str = "/api/keys";
const MAX_NAME_CHARS: usize = 200;
const MAX_AGENTS: usize = 100;
const REQUESTS_PER_MINUTE: RangeInclusive<u32> = 1..=1_000_000;
const DEFAULT_GRACE_SECONDS: u32 = 24 * 3_600;
const MAX_GRACE_SECONDS: u32 = 30 * 24 * 3_600;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(revoke_key))
        .routes(routes!(rotate_key))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKeyRequest {
    #[schema(min_length = 1, max_length = 200, example = "billing service")]
    name: String,
    role: SentRole,
    /// The key stops working then; `null`: never.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    /// The only agents that the key reaches, with their sessions, calls and jobs; everything else of the tenant is
    /// refused or not found. For the roles developer and viewer. `null`: all agents, and the rest.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 100)]
    agent_ids: Option<Vec<Uuid>>,
    /// Beside the tenant's limit; `null`: that alone.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    requests_per_minute: Option<u32>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// How long the secrets from before work on; 0: not at all. A day unless it is said.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2_592_000, example = 86_400)]
    grace_seconds: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SentRole {
    Admin,
    Developer,
    Viewer,
}

#[derive(Debug, Serialize, ToSchema)]
struct Key {
    #[schema(value_type = Uuid)]
    id: ApiKeyId,
    name: String,
    /// `admin`, `developer` or `viewer`.
    #[schema(example = "developer")]
    role: &'static str,
    /// The part of the key that may be shown.
    #[schema(example = "vb_live_4f9a1c2d7e80")]
    prefix: String,
    created_at: DateTime<Utc>,
    /// `null`: never.
    expires_at: Option<DateTime<Utc>>,
    /// The only agents that it reaches; `null`: all.
    #[schema(value_type = Option<Vec<Uuid>>)]
    agent_ids: Option<Vec<AgentId>>,
    /// `null`: no limit of its own.
    requests_per_minute: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
struct KeyInUse {
    #[serde(flatten)]
    key: Key,
    /// To the minute; `null`: never, as far as is known.
    last_used_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RotatedKey {
    #[serde(flatten)]
    key: Key,
    /// Shown once; only its hash is kept.
    #[schema(example = "vb_live_4f9a1c2d7e80_…")]
    api_key: String,
    /// The secrets from before work until then.
    previous_expires_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedKey {
    #[serde(flatten)]
    key: Key,
    /// Shown once; only its hash is kept.
    #[schema(example = "vb_live_4f9a1c2d7e80_…")]
    api_key: String,
}

impl From<ListedKey> for KeyInUse {
    fn from(ListedKey { key, last_used_at }: ListedKey) -> Self {
        let key = Key {
            id: key.key_id,
            name: key.name,
            role: key.role.as_str(),
            prefix: key.prefix,
            created_at: key.created_at,
            expires_at: key.expires_at,
            agent_ids: key.agent_ids,
            requests_per_minute: key.requests_per_minute,
        };
        Self { key, last_used_at }
    }
}

/// Create a key
///
/// Role: admin.
#[utoipa::path(
    post, path = "/api/keys", tag = "Keys", operation_id = "create_key", request_body = NewKeyRequest,
    responses((status = 201, description = "The key", body = CreatedKey), problems::Writing)
)]
async fn create_key(
    State(app): State<App>,
    Admin(caller): Admin,
    posted: Posted<NewKeyRequest>,
) -> Result<Response, Problem> {
    let NewKeyRequest { name, role, expires_at, agent_ids, requests_per_minute } = &posted.body;
    let mut mistakes = Mistakes::default();
    mistakes.check_required("name", name, MAX_NAME_CHARS);
    if expires_at.is_some_and(|expires_at| expires_at <= app.clock.now()) {
        mistakes.add("expires_at", "must be in the future");
    }
    if requests_per_minute.is_some_and(|most| !REQUESTS_PER_MINUTE.contains(&most)) {
        let range = REQUESTS_PER_MINUTE;
        mistakes.add("requests_per_minute", format_args!("must be {} to {}", range.start(), range.end()));
    }
    if let Some(agent_ids) = agent_ids {
        if !(1..=MAX_AGENTS).contains(&agent_ids.len()) {
            mistakes.add("agent_ids", format_args!("must name 1 to {MAX_AGENTS} agents"));
        }
        if *role == SentRole::Admin {
            mistakes.add("agent_ids", "an admin's key is for all agents");
        }
    }
    mistakes.into_result()?;
    let agent_ids = agent_ids.as_ref().map(|ids| ids.iter().copied().map(AgentId).collect::<Vec<_>>());
    for agent_id in agent_ids.iter().flatten() {
        app.agent_of(&caller, *agent_id).await?;
    }
    let once = posted.claim(&app, caller.tenant_id, Makes::Secret).await?;
    let new = NewKey::from_secret(&app.config.environment, &once.secret);
    let key_id: ApiKeyId = once.id();
    let created = KeyCreated {
        name: name.clone(),
        role: match role {
            SentRole::Admin => Role::Admin,
            SentRole::Developer => Role::Developer,
            SentRole::Viewer => Role::Viewer,
        },
        prefix: new.prefix.clone(),
        key_hash: new.hash,
        expires_at: *expires_at,
        agent_ids: agent_ids.clone(),
        requests_per_minute: *requests_per_minute,
    };
    let key = Key {
        id: key_id,
        name: name.clone(),
        role: created.role.as_str(),
        prefix: new.prefix,
        created_at: once.at,
        expires_at: *expires_at,
        agent_ids,
        requests_per_minute: *requests_per_minute,
    };
    let aggregate = Aggregate::key(caller.tenant_id, key_id);
    let event_id: EventId = once.derived("key.created");
    let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), created);
    let standing = append::create(&app, event, once.replayed).await?;
    freshness::of_change(&app, standing.position).await;
    Ok(once.mark((StatusCode::CREATED, Json(CreatedKey { key, api_key: new.text }))))
}

/// List keys
///
/// Those that are not revoked, newest first. Role: admin.
#[utoipa::path(
    get, path = "/api/keys", tag = "Keys", operation_id = "list_keys", params(PageQuery),
    responses(
        (status = 200, description = "The keys", body = Vec<KeyInUse>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_keys(
    State(app): State<App>,
    Admin(caller): Admin,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_everything(&app, Projection::Configuration).await;
    let keys = api_keys::list(&app.database, caller.tenant_id, page).await?;
    let next = next_after(page, keys.iter().map(|listed| listed.key.key_id.0));
    let valid = keys.into_iter().filter(|listed| listed.key.revoked_at.is_none());
    Ok(list(PATH, &[], page, next, valid.map(KeyInUse::from).collect()))
}

/// Rotate a key
///
/// A new secret for the same key: what it may do, whom it reaches and when it expires stay. The secrets from before work
/// on for the grace period, in every process; `{"grace_seconds": 0}` ends them at once. Role: admin.
#[utoipa::path(
    post, path = "/api/keys/{id}/rotate", tag = "Keys", operation_id = "rotate_key", request_body = Rotation,
    params(("id" = Uuid, Path, description = "The key")),
    responses((status = 200, description = "The key", body = RotatedKey), problems::Writing, problems::OfAKey)
)]
async fn rotate_key(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(key_id): PathId<ApiKeyId>,
    posted: Posted<OrEmpty<Rotation>>,
) -> Result<Response, Problem> {
    let grace_seconds = posted.body.0.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
    if grace_seconds > MAX_GRACE_SECONDS {
        return Err(Problem::invalid_field(
            "grace_seconds",
            format_args!("must be at most {MAX_GRACE_SECONDS}, which are 30 days"),
        ));
    }
    let aggregate = Aggregate::key(caller.tenant_id, key_id);
    standing(&app.nats.log.read(&aggregate, 0).await?)?;
    let once = posted.claim(&app, caller.tenant_id, Makes::Secret).await?;
    let new = NewKey::from_secret(&app.config.environment, &once.secret);
    let rotated = KeyRotated {
        prefix: new.prefix.clone(),
        key_hash: new.hash,
        previous_ends_at: once.at + TimeDelta::seconds(grace_seconds.into()),
    };
    let event_id: EventId = once.derived("key.rotated");
    let (position, created) = append::update(&app, aggregate, |history| {
        let (created, created_at) = standing(history)?;
        let answer = (created.clone(), created_at);
        if history.iter().any(|recorded| recorded.event.envelope.id == event_id) {
            return Ok(Decision::Nothing(answer));
        }
        if created.expires_at.is_some_and(|expires_at| expires_at <= once.at) {
            return Err(Problem::new(Code::KeyExpired, "create a new one"));
        }
        let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), rotated.clone());
        Ok(Decision::Append(Box::new(event), answer))
    })
    .await?;
    freshness::of_change(&app, position).await;
    let (created, created_at) = created;
    let key = Key {
        id: key_id,
        name: created.name,
        role: created.role.as_str(),
        prefix: new.prefix,
        created_at,
        expires_at: created.expires_at,
        agent_ids: created.agent_ids,
        requests_per_minute: created.requests_per_minute,
    };
    let previous_expires_at = rotated.previous_ends_at;
    Ok(once.mark(Json(RotatedKey { key, api_key: new.text, previous_expires_at })))
}

/// How the key was created, and when.
///
/// # Errors
/// `not_found` when there is none, or none any more.
fn standing(history: &[Recorded]) -> Result<(&KeyCreated, DateTime<Utc>), Problem> {
    let revoked = history.iter().any(|recorded| matches!(recorded.event.payload, Payload::KeyRevoked(_)));
    let created = history.iter().find_map(|recorded| match &recorded.event.payload {
        Payload::KeyCreated(created) => Some((created, recorded.event.envelope.time)),
        _ => None,
    });
    created.filter(|_| !revoked).ok_or_else(|| Problem::not_found("key"))
}

/// Revoke a key
///
/// It stops working at once, in other api processes within a second. Role: admin.
#[utoipa::path(
    delete, path = "/api/keys/{id}", tag = "Keys", operation_id = "revoke_key",
    params(("id" = Uuid, Path, description = "The key")),
    responses((status = 200, description = "It is revoked", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn revoke_key(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(key_id): PathId<ApiKeyId>,
) -> Result<Json<Deleted>, Problem> {
    let aggregate = Aggregate::key(caller.tenant_id, key_id);
    let event_id = EventId::new();
    let (position, ()) = append::update(&app, aggregate, |history| {
        standing(history)?;
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), KeyRevoked {});
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}
