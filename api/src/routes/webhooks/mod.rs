//! Webhooks: addresses of a tenant's that are told what happens.

mod changes;
mod deliveries;
mod redelivering;
mod secrets;
mod settings;
mod testing;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::webhooks::Endpoint;
use events::webhook::{WebhookChanged, WebhookCreated, WebhookDeleted};
use events::{Aggregate, EventId, TenantId, WebhookId};
use projections::Projection;
use projections::webhooks::{self, WebhookRecord};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Admin, Viewer};
use crate::extract::{JsonBody, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::{Code, Problem};
use crate::routes::answers::Deleted;
use crate::{App, freshness};

pub(crate) use secrets::of as secret_of;
use settings::{NewWebhook, WebhookPatch};

const PATH: &str = "/api/webhooks";
/// Of one tenant.
const MOST: usize = 100;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, patch_webhook, delete_webhook))
        .merge(deliveries::router())
        .merge(redelivering::router())
        .merge(testing::router())
        .merge(secrets::router())
}

/// An endpoint as it is now.
#[derive(Debug, Serialize, ToSchema)]
struct Webhook {
    #[schema(value_type = Uuid)]
    id: WebhookId,
    /// Counts up from 1 with every change.
    version: u32,
    #[schema(example = "https://crm.example.com/hooks/vocalbridge")]
    url: String,
    description: String,
    /// What it is told of; `*`: everything.
    #[schema(example = json!(["job.completed", "call.ended"]))]
    events: Vec<String>,
    is_active: bool,
    /// Why we switched it off: `gone` (it answered 410) or `failing` (a delivery's attempts all failed, and nothing
    /// else was delivered meanwhile). `null`: we did not. `PATCH` it with `is_active` to switch it on again.
    #[schema(example = "gone")]
    disabled_reason: Option<&'static str>,
    disabled_at: Option<DateTime<Utc>>,
    /// Until then both secrets sign; `null`: the secret was never rotated.
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A new endpoint, with what is shown only now.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// Signs what is sent (Standard Webhooks).
    #[schema(example = "whsec_…")]
    secret: String,
}

impl Webhook {
    fn of(id: WebhookId, endpoint: Endpoint) -> Self {
        let previous_secret_until = endpoint.secrets.previous_until();
        let Endpoint { version, settings, disabled, created_at, updated_at, .. } = endpoint;
        let record =
            WebhookRecord { id, version, settings, disabled, previous_secret_until, created_at, updated_at };
        Self::from(record)
    }
}

impl From<WebhookRecord> for Webhook {
    fn from(record: WebhookRecord) -> Self {
        let (disabled_reason, disabled_at) = record.disabled.unzip();
        Self {
            id: record.id,
            version: record.version,
            url: record.settings.url,
            description: record.settings.description,
            events: record.settings.events,
            is_active: record.settings.is_active,
            disabled_reason: disabled_reason.map(|reason| reason.as_str()),
            disabled_at,
            previous_secret_until: record.previous_secret_until,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// The endpoint, with all that was changed before this was asked.
async fn find(app: &App, tenant_id: TenantId, webhook_id: WebhookId) -> Result<WebhookRecord, Problem> {
    freshness::of_aggregate(app, Projection::Webhooks, Aggregate::webhooks(tenant_id)).await;
    let found = webhooks::webhook(&app.database, tenant_id, webhook_id).await?;
    found.ok_or_else(|| Problem::not_found("webhook"))
}

/// List webhooks
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/webhooks", tag = "Webhooks", operation_id = "list_webhooks", params(PageQuery),
    responses(
        (status = 200, description = "The endpoints", body = Vec<Webhook>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_webhooks(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Webhooks, Aggregate::webhooks(tenant_id)).await;
    let found = webhooks::webhooks(&app.database, tenant_id, page).await?;
    let next = next_after(page, found.iter().map(|webhook| webhook.id.0));
    Ok(list(PATH, &[], page, next, found.into_iter().map(Webhook::from).collect()))
}

/// Create a webhook
///
/// At most 100 per tenant. It is told of whatever happens from now on. Its `secret` is shown only now. Role: admin.
#[utoipa::path(
    post, path = "/api/webhooks", tag = "Webhooks", operation_id = "create_webhook", request_body = NewWebhook,
    responses(
        (status = 201, description = "The endpoint and its secret", body = CreatedWebhook),
        problems::Writing, problems::OfALimit,
    )
)]
async fn create_webhook(
    State(app): State<App>,
    Admin(caller): Admin,
    posted: Posted<NewWebhook>,
) -> Result<Response, Problem> {
    let settings = posted.body.settings(app.config.urls)?;
    let tenant_id = caller.tenant_id;
    let once = posted.claim(&app, tenant_id, Makes::Secret).await?;
    let (webhook_id, event_id): (WebhookId, EventId) = (once.id(), once.derived("webhook.created"));
    let secret = secrets::of(&once);
    let sealed = app.keyring.seal(tenant_id, tenant_id.0, event_id, &secret).await?;
    let endpoint = changes::change(&app, &caller, event_id, once.at, |webhooks| {
        if webhooks.endpoints.len() >= MOST {
            let detail = format_args!("a tenant has at most {MOST} webhooks");
            return Err(Problem::new(Code::LimitReached, detail));
        }
        let (settings, secret) = (settings.clone(), sealed.clone());
        Ok(Some(WebhookCreated { webhook_id, settings, secret }.into()))
    })
    .await?;
    let webhook = Webhook::of(webhook_id, changes::found(endpoint, webhook_id)?);
    Ok(once.mark((StatusCode::CREATED, Json(CreatedWebhook { webhook, secret }))))
}

/// Get a webhook
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/webhooks/{id}", tag = "Webhooks", operation_id = "get_webhook",
    params(("id" = Uuid, Path, description = "The endpoint")),
    responses((status = 200, description = "The endpoint", body = Webhook), problems::Reading, problems::OfAnId)
)]
async fn get_webhook(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(webhook_id): PathId<WebhookId>,
) -> Result<Json<Webhook>, Problem> {
    Ok(Json(find(&app, caller.tenant_id, webhook_id).await?.into()))
}

/// Change a webhook
///
/// JSON merge patch (RFC 7396): what is left out stays. What is still to be sent goes to the new address. `is_active`
/// switches on again what we have disabled. Role: admin.
#[utoipa::path(
    patch, path = "/api/webhooks/{id}", tag = "Webhooks", operation_id = "patch_webhook",
    request_body = WebhookPatch, params(("id" = Uuid, Path, description = "The endpoint")),
    responses((status = 200, description = "The endpoint", body = Webhook), problems::Writing)
)]
async fn patch_webhook(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(webhook_id): PathId<WebhookId>,
    JsonBody(patch): JsonBody<WebhookPatch>,
) -> Result<Json<Webhook>, Problem> {
    let (event_id, at) = (EventId::new(), app.clock.now());
    let webhooks = changes::change(&app, &caller, event_id, at, |webhooks| {
        let endpoint = changes::known(webhooks, webhook_id)?;
        let settings = patch.merged_into(&endpoint.settings, app.config.urls)?;
        let version = endpoint.version + 1;
        let changes = settings != endpoint.settings;
        Ok(changes.then(|| WebhookChanged { webhook_id, version, settings }.into()))
    })
    .await?;
    Ok(Json(Webhook::of(webhook_id, changes::found(webhooks, webhook_id)?)))
}

/// Delete a webhook
///
/// What is still to be sent to it is not. Role: admin.
#[utoipa::path(
    delete, path = "/api/webhooks/{id}", tag = "Webhooks", operation_id = "delete_webhook",
    params(("id" = Uuid, Path, description = "The endpoint")),
    responses((status = 200, description = "It is deleted", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn delete_webhook(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(webhook_id): PathId<WebhookId>,
) -> Result<Json<Deleted>, Problem> {
    changes::change(&app, &caller, EventId::new(), app.clock.now(), |webhooks| {
        changes::known(webhooks, webhook_id)?;
        Ok(Some(WebhookDeleted { webhook_id }.into()))
    })
    .await?;
    Ok(Json(Deleted::YES))
}
