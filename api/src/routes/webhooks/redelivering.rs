//! Sending again what was sent: one delivery, or all that failed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::webhook::{DeliveryQueued, QueuedFor};
use events::{Aggregate, DeliveryId, Event, EventId, WebhookId};
use nats::Expect;
use projections::Projection;
use projections::webhooks::{self, DeliveryRecord, Failed, WebhookRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::deliveries::{self, WebhookDelivery};
use crate::app::SOURCE;
use crate::auth::{Admin, Caller};
use crate::extract::{Nothing, PathId, Posted};
use crate::idempotency::{Makes, Once};
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::{App, freshness};

/// Of one request.
const MOST: usize = 10_000;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(redeliver)).routes(routes!(redeliver_failed))
}

/// Send again
///
/// At once, under the same `webhook-id`, and with a schedule of its own; whatever became of it before. Role: admin.
#[utoipa::path(
    post, path = "/api/webhooks/deliveries/{id}/redeliver", tag = "Webhooks", operation_id = "redeliver",
    params(("id" = Uuid, Path, description = "The delivery")),
    responses(
        (status = 202, description = "It is sent", body = WebhookDelivery), problems::Writing, problems::OfARedelivery
    )
)]
async fn redeliver(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(delivery_id): PathId<DeliveryId>,
    posted: Posted<Nothing>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    freshness::of_everything(&app, Projection::Webhooks).await;
    let record = deliveries::find(&app, tenant_id, delivery_id).await?;
    if let Some(webhook_id) = record.recipient.webhook_id() {
        can_take(&super::find(&app, tenant_id, webhook_id).await?)?;
    }
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let event = queued(&caller, &once, once.id(), record);
    let position = app.nats.log.append(&event, Expect::Anything).await?;
    freshness::of_position(&app, Projection::Webhooks, position).await;
    let record = deliveries::find(&app, tenant_id, delivery_id).await?;
    let answer = deliveries::one(&app, tenant_id, record).await?;
    Ok(once.mark((StatusCode::ACCEPTED, Json(answer))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Since {
    /// Of what happened from then on.
    since: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Redelivered {
    /// How many are sent again.
    queued: usize,
    /// There are others: ask once more.
    more: bool,
}

/// Send again all that failed
///
/// Of one endpoint, at most 10,000 at a time, the oldest first. Role: admin.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/redeliver-failed", tag = "Webhooks", operation_id = "redeliver_failed",
    request_body = Since, params(("id" = Uuid, Path, description = "The endpoint")),
    responses(
        (status = 202, description = "They are sent", body = Redelivered), problems::Writing, problems::OfARedelivery
    )
)]
async fn redeliver_failed(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(webhook_id): PathId<WebhookId>,
    posted: Posted<Since>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    can_take(&super::find(&app, tenant_id, webhook_id).await?)?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    freshness::of_everything(&app, Projection::Webhooks).await;
    let since = posted.body.since;
    let Failed { deliveries, more } =
        webhooks::failed_since(&app.database, tenant_id, webhook_id, since, MOST).await?;
    let queued_now = deliveries.len();
    let mut sent = Vec::with_capacity(queued_now);
    for record in deliveries {
        let event_id: EventId = once.derived(&format!("redelivery {}", record.id));
        let event = queued(&caller, &once, event_id, record);
        sent.push(app.nats.log.send(&event, Expect::Anything).await);
    }
    let mut last = None;
    for pending in sent {
        last = Some(pending.acknowledged().await?);
    }
    if let Some(position) = last {
        freshness::of_position(&app, Projection::Webhooks, position).await;
    }
    Ok(once.mark((StatusCode::ACCEPTED, Json(Redelivered { queued: queued_now, more }))))
}

/// # Errors
/// `webhook_disabled`.
fn can_take(webhook: &WebhookRecord) -> Result<(), Problem> {
    if webhook.settings.is_active {
        return Ok(());
    }
    Err(Problem::new(Code::WebhookDisabled, "switch it on first: PATCH it with is_active true"))
}

fn queued(caller: &Caller, once: &Once, event_id: EventId, record: DeliveryRecord) -> Event {
    let DeliveryRecord { id, recipient, event_type, event_id: happened, body, seal_with, .. } = record;
    let aggregate = Aggregate::webhook_deliveries(caller.tenant_id, recipient.webhook_id());
    let queued = DeliveryQueued {
        delivery_id: id,
        recipient,
        queued_for: QueuedFor::Redelivery,
        event_type,
        event_id: happened,
        body,
        seal_with,
    };
    Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), queued)
}
