//! What signs webhooks: secrets, and new ones for them.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::webhooks::Secrets;
use events::tenant::WebhookSecretRotated as OwnSecretRotated;
use events::webhook::WebhookSecretRotated;
use events::{Aggregate, Event, EventId, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::changes;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Admin;
use crate::extract::{PathId, Posted};
use crate::idempotency::{Makes, Once};
use crate::openapi::problems;
use crate::problem::Problem;
use crate::{App, api_key, freshness};

const DEFAULT_GRACE_SECONDS: u32 = 24 * 3_600;
const MAX_GRACE_SECONDS: u32 = 7 * 24 * 3_600;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(rotate_secret)).routes(routes!(rotate_own_secret))
}

/// The secret that a request makes.
pub(crate) fn of(once: &Once) -> String {
    let secret = api_key::digest_of(b"vocalbridge webhook secret", &once.secret);
    format!("whsec_{}", STANDARD.encode(secret))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// How long the present secret signs beside the new one.
    #[serde(default = "default_grace")]
    #[schema(maximum = 604800, default = 86400)]
    grace_seconds: u32,
}

fn default_grace() -> u32 {
    DEFAULT_GRACE_SECONDS
}

impl Rotation {
    fn previous_until(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
        if self.grace_seconds > MAX_GRACE_SECONDS {
            let message = format_args!("must be 0 to {MAX_GRACE_SECONDS}");
            return Err(Problem::invalid_field("grace_seconds", message));
        }
        Ok(at + TimeDelta::seconds(i64::from(self.grace_seconds)))
    }
}

/// A new secret.
#[derive(Debug, Serialize, ToSchema)]
struct Rotated {
    /// Shown only now.
    #[schema(example = "whsec_…")]
    secret: String,
    /// Until then each request carries a signature of both.
    previous_secret_until: DateTime<Utc>,
}

/// Rotate a webhook's secret
///
/// During the grace period (24 h unless `grace_seconds` says otherwise) every request carries two signatures, so that the
/// receiver can change its secret at any time in it. Role: admin.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/rotate-secret", tag = "Webhooks", operation_id = "rotate_webhook_secret",
    request_body = Rotation, params(("id" = Uuid, Path, description = "The endpoint")),
    responses((status = 200, description = "The new secret", body = Rotated), problems::Writing)
)]
async fn rotate_secret(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(webhook_id): PathId<WebhookId>,
    posted: Posted<Rotation>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    posted.body.previous_until(app.clock.now())?;
    super::find(&app, tenant_id, webhook_id).await?;
    let once = posted.claim(&app, tenant_id, Makes::Secret).await?;
    let previous_secret_until = posted.body.previous_until(once.at)?;
    let (event_id, secret): (EventId, String) = (once.id(), of(&once));
    let sealed = app.keyring.seal(tenant_id, tenant_id.0, event_id, &secret).await?;
    changes::change(&app, &caller, event_id, once.at, |webhooks| {
        changes::known(webhooks, webhook_id)?;
        let (secret, previous_until) = (sealed.clone(), previous_secret_until);
        Ok(Some(WebhookSecretRotated { webhook_id, secret, previous_until }.into()))
    })
    .await?;
    Ok(once.mark(Json(Rotated { secret, previous_secret_until })))
}

/// Rotate the tenant's webhook secret
///
/// It signs what is sent to a message's own `webhook_url`. Both secrets sign during the grace period, as for a webhook.
/// Role: admin.
#[utoipa::path(
    post, path = "/api/tenants/me/rotate-webhook-secret", tag = "Webhooks",
    operation_id = "rotate_own_webhook_secret", request_body = Rotation,
    responses((status = 200, description = "The new secret", body = Rotated), problems::Writing)
)]
async fn rotate_own_secret(
    State(app): State<App>,
    Admin(caller): Admin,
    posted: Posted<Rotation>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    posted.body.previous_until(app.clock.now())?;
    let once = posted.claim(&app, tenant_id, Makes::Secret).await?;
    let previous_secret_until = posted.body.previous_until(once.at)?;
    let (event_id, secret): (EventId, String) = (once.id(), of(&once));
    let sealed = app.keyring.seal(tenant_id, tenant_id.0, event_id, &secret).await?;
    let aggregate = Aggregate::tenant(tenant_id);
    let (position, ()) = append::update(&app, aggregate, |history| {
        Secrets::of_tenant(history).ok_or_else(|| Problem::not_found("tenant"))?;
        if history.iter().any(|recorded| recorded.event.envelope.id == event_id) {
            return Ok(Decision::Nothing(()));
        }
        let rotated =
            OwnSecretRotated { webhook_secret: sealed.clone(), previous_until: previous_secret_until };
        let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), rotated);
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(once.mark(Json(Rotated { secret, previous_secret_until })))
}
