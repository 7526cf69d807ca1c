//! API keys of a tenant.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::tenant::{KeyCreated, KeyRevoked, Role};
use events::{Aggregate, ApiKeyId, Event, EventId, Payload};
use projections::Projection;
use projections::configuration::{self, KeyRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_key::NewKey;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Admin;
use crate::extract::{PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::Problem;
use crate::routes::answers::Deleted;
use crate::validation::Mistakes;
use crate::{App, freshness};

const PATH: &str = "/api/keys";
const MAX_NAME_CHARS: usize = 200;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_keys, create_key)).routes(routes!(revoke_key))
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
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
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
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedKey {
    #[serde(flatten)]
    key: Key,
    /// Shown once; only its hash is kept.
    #[schema(example = "vb_live_4f9a1c2d7e80_…")]
    api_key: String,
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        Self {
            id: record.key_id,
            name: record.name,
            role: record.role.as_str(),
            prefix: record.prefix,
            created_at: record.created_at,
            expires_at: record.expires_at,
        }
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
    let NewKeyRequest { name, role, expires_at } = &posted.body;
    let mut mistakes = Mistakes::default();
    mistakes.check_required("name", name, MAX_NAME_CHARS);
    if expires_at.is_some_and(|expires_at| expires_at <= app.clock.now()) {
        mistakes.add("expires_at", "must be in the future");
    }
    mistakes.into_result()?;
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
    };
    let key = Key {
        id: key_id,
        name: name.clone(),
        role: created.role.as_str(),
        prefix: new.prefix,
        created_at: once.at,
        expires_at: *expires_at,
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
        (status = 200, description = "The keys", body = Vec<Key>,
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
    let keys = configuration::keys(&app.database, caller.tenant_id, page).await?;
    let next = next_after(page, keys.iter().map(|key| key.key_id.0));
    let valid = keys.into_iter().filter(|key| key.revoked_at.is_none());
    Ok(list(PATH, &[], page, next, valid.map(Key::from).collect()))
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
        let revoked = history.iter().any(|recorded| matches!(recorded.event.payload, Payload::KeyRevoked(_)));
        if history.is_empty() || revoked {
            return Err(Problem::not_found("key"));
        }
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), KeyRevoked {});
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}
