//! Trying an endpoint: it is told of `webhook.test`, once, and how that went is waited for.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use domain::webhooks::catalogue;
use events::webhook::{DeliveryQueued, QueuedFor, Recipient};
use events::{Aggregate, DeliveryId, Event, EventId, JobId, Payload, Position, WebhookId};
use nats::live::{Hear, LiveSubscription};
use nats::{Expect, LiveMessage};
use projections::Projection;
use tokio::time::{Instant, timeout_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::deliveries::{self, WebhookDelivery};
use crate::app::SOURCE;
use crate::auth::Admin;
use crate::extract::{Nothing, PathId, Posted};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::prefer::Prefer;
use crate::problem::Problem;
use crate::{App, freshness};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(test_webhook))
}

/// Test a webhook
///
/// Sends `webhook.test` once, also when the endpoint is switched off, and waits for the answer: 30 s, or as
/// `Prefer: wait=N` says. An attempt that fails is a 200 whose `status` is `failed`; it disables nothing. Role: admin.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/test", tag = "Webhooks", operation_id = "test_webhook",
    params(
        ("id" = Uuid, Path, description = "The endpoint"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "What was sent and answered; `pending` when the wait ran out", body = WebhookDelivery),
        problems::Writing, problems::OfARun,
    )
)]
async fn test_webhook(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(webhook_id): PathId<WebhookId>,
    posted: Posted<Nothing>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    super::find(&app, tenant_id, webhook_id).await?;
    let prefer = Prefer::to_wait(&posted.headers);
    let _place = app.place_to_wait()?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let (delivery_id, event_id): (DeliveryId, EventId) = (once.id(), once.id());
    // Before the append, so that not even the fastest end is missed.
    let live = app.nats.live.subscribe(JobId(delivery_id.0), Hear::Events).await;
    let live = live.map_err(|error| Problem::unavailable(&error))?;
    let told = catalogue::test(webhook_id);
    let queued = DeliveryQueued {
        delivery_id,
        recipient: Recipient::Endpoint(webhook_id),
        queued_for: QueuedFor::Test,
        event_type: told.event.name().to_owned(),
        event_id,
        body: told.event.body(once.at, &told.data),
        seal_with: tenant_id.0,
    };
    let aggregate = Aggregate::webhook_deliveries(tenant_id, Some(webhook_id));
    let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), queued);
    let mut position = app.nats.log.append(&event, Expect::Anything).await?;
    if !once.replayed {
        let deadline = Instant::now() + prefer.wait.unwrap_or(app.config.default_wait);
        tokio::select! {
            heard = timeout_at(deadline, ended(live)) => {
                position = heard.ok().flatten().unwrap_or(position);
            }
            () = app.nearly_drained() => {}
        }
    }
    freshness::of_position(&app, Projection::Webhooks, position).await;
    let record = deliveries::find(&app, tenant_id, delivery_id).await?;
    let answer = deliveries::one(&app, tenant_id, record).await?;
    Ok(once.mark(prefer.applied_to(Json(answer))))
}

/// Where the end stands; `None`: the connection was closed for good.
async fn ended(mut live: LiveSubscription) -> Option<Position> {
    loop {
        if let LiveMessage::Happened(recorded) = live.next().await?
            && matches!(recorded.event.payload, Payload::DeliveryAttempted(_) | Payload::DeliveryAbandoned(_))
        {
            return Some(recorded.position);
        }
    }
}
