//! What was sent, what was answered, and how long it took.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::webhook::Recipient;
use events::{DeliveryId, EventId, TenantId, WebhookId};
use projections::Projection;
use projections::database::Page;
use projections::webhooks::{self, AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Viewer;
use crate::extract::{PathId, QueryOf};
use crate::openapi::problems;
use crate::page::{list, next_after, page_of};
use crate::problem::Problem;
use crate::{App, freshness};

const PATH: &str = "/api/webhooks/deliveries";

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_deliveries))
        .routes(routes!(get_delivery))
        .routes(routes!(list_deliveries_of_webhook))
}

/// One thing that one recipient is told, under one `webhook-id`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookDelivery {
    /// The request's `webhook-id`.
    #[schema(value_type = Uuid)]
    id: DeliveryId,
    /// `null`: it goes to a message's own `webhook_url`.
    #[schema(value_type = Option<Uuid>)]
    webhook_id: Option<WebhookId>,
    /// The message's own; `null` for an endpoint, and when the customer was erased.
    url: Option<String>,
    #[schema(example = "call.ended")]
    event_type: String,
    /// What happened.
    #[schema(value_type = Uuid)]
    event_id: EventId,
    /// `pending`, `delivered` or `failed`.
    #[schema(example = "delivered")]
    status: &'static str,
    /// Somebody tried the endpoint.
    test: bool,
    /// Of the last attempt, such as `http_500` or `timeout`, or why there are no more, such as `endpoint_disabled`.
    error_code: Option<String>,
    /// `null`: it is over, or the first attempt is under way.
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// The request's body.
    #[schema(value_type = Object)]
    request: Value,
    /// The first one first.
    attempts: Vec<Attempt>,
}

/// One request.
#[derive(Debug, Serialize, ToSchema)]
struct Attempt {
    /// Counts up from 1, and again from 1 when it is sent again by hand.
    number: u32,
    started_at: DateTime<Utc>,
    duration_ms: u64,
    /// What was answered; `null`: nothing.
    http_status: Option<u16>,
    /// `null`: it arrived.
    #[schema(example = "http_500")]
    error_code: Option<String>,
    /// The first 20 kB of it; `null` also when the customer was erased.
    response: Option<String>,
    /// There was more of it.
    response_cut: bool,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// `pending`, `delivered` or `failed`.
    status: Option<String>,
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
}

impl DeliveriesQuery {
    fn parse(&self) -> Result<(Option<DeliveryStatus>, Page), Problem> {
        let page = page_of(self.limit, self.after.as_deref())?;
        let named = |name: &String| {
            let found = DeliveryStatus::ALL.into_iter().find(|status| status.as_str() == name);
            found.ok_or_else(|| Problem::invalid_field("status", "must be pending, delivered or failed"))
        };
        Ok((self.status.as_ref().map(named).transpose()?, page))
    }

    async fn answer(
        &self,
        app: &App,
        tenant_id: TenantId,
        webhook_id: Option<WebhookId>,
        path: &str,
    ) -> Result<Response, Problem> {
        let (status, page) = self.parse()?;
        freshness::of_everything(app, Projection::Webhooks).await;
        let filter = DeliveryFilter { webhook_id, status };
        let records = webhooks::deliveries(&app.database, tenant_id, filter, page).await?;
        let next = next_after(page, records.iter().map(|record| record.id.0));
        let filters = [("status", self.status.clone())];
        Ok(list(path, &filters, page, next, shown(app, tenant_id, records).await?))
    }
}

/// List what was sent
///
/// To all endpoints and to messages' own addresses. The last that happened first. Role: viewer.
#[utoipa::path(
    get, path = "/api/webhooks/deliveries", tag = "Webhooks", operation_id = "list_webhook_deliveries",
    params(DeliveriesQuery),
    responses(
        (status = 200, description = "The deliveries", body = Vec<WebhookDelivery>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_deliveries(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<DeliveriesQuery>,
) -> Result<Response, Problem> {
    query.answer(&app, caller.tenant_id, None, PATH).await
}

/// List what was sent to a webhook
///
/// The last that happened first. Role: viewer.
#[utoipa::path(
    get, path = "/api/webhooks/{id}/deliveries", tag = "Webhooks", operation_id = "list_deliveries_of_webhook",
    params(("id" = Uuid, Path, description = "The endpoint"), DeliveriesQuery),
    responses(
        (status = 200, description = "The deliveries", body = Vec<WebhookDelivery>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading, problems::OfAnId,
    )
)]
async fn list_deliveries_of_webhook(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(webhook_id): PathId<WebhookId>,
    QueryOf(query): QueryOf<DeliveriesQuery>,
) -> Result<Response, Problem> {
    super::find(&app, caller.tenant_id, webhook_id).await?;
    let path = format!("/api/webhooks/{webhook_id}/deliveries");
    query.answer(&app, caller.tenant_id, Some(webhook_id), &path).await
}

/// Get what was sent
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/webhooks/deliveries/{id}", tag = "Webhooks", operation_id = "get_webhook_delivery",
    params(("id" = Uuid, Path, description = "The delivery")),
    responses(
        (status = 200, description = "The delivery", body = WebhookDelivery), problems::Reading, problems::OfAnId
    )
)]
async fn get_delivery(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(delivery_id): PathId<DeliveryId>,
) -> Result<Json<WebhookDelivery>, Problem> {
    freshness::of_everything(&app, Projection::Webhooks).await;
    let record = find(&app, caller.tenant_id, delivery_id).await?;
    Ok(Json(one(&app, caller.tenant_id, record).await?))
}

/// As the tables know it.
pub(super) async fn find(
    app: &App,
    tenant_id: TenantId,
    delivery_id: DeliveryId,
) -> Result<DeliveryRecord, Problem> {
    let found = webhooks::delivery(&app.database, tenant_id, delivery_id).await?;
    found.ok_or_else(|| Problem::not_found("delivery"))
}

pub(super) async fn one(
    app: &App,
    tenant_id: TenantId,
    record: DeliveryRecord,
) -> Result<WebhookDelivery, Problem> {
    let shown = shown(app, tenant_id, vec![record]).await?.into_iter().next();
    shown.ok_or_else(|| Problem::not_found("delivery"))
}

async fn shown(
    app: &App,
    tenant_id: TenantId,
    records: Vec<DeliveryRecord>,
) -> Result<Vec<WebhookDelivery>, Problem> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.id.0).collect();
    let mut attempts: HashMap<DeliveryId, Vec<AttemptRecord>> =
        webhooks::attempts(&app.database, tenant_id, &ids).await?;
    let mut shown = Vec::with_capacity(records.len());
    for record in records {
        let mut opened = Vec::new();
        for attempt in attempts.remove(&record.id).unwrap_or_default() {
            opened.push(Attempt::of(app, tenant_id, attempt).await?);
        }
        let url = match &record.recipient {
            Recipient::Endpoint(_) => None,
            Recipient::Callback(callback) => {
                app.keyring.open(tenant_id, callback.sealed_for, &callback.url).await?
            }
        };
        shown.push(WebhookDelivery {
            id: record.id,
            webhook_id: record.recipient.webhook_id(),
            url,
            event_type: record.event_type,
            event_id: record.event_id,
            status: record.status.as_str(),
            test: record.is_test,
            error_code: record.error_code,
            next_attempt_at: record.next_attempt_at,
            created_at: record.created_at,
            finished_at: record.finished_at,
            request: serde_json::from_str(&record.body).unwrap_or_default(),
            attempts: opened,
        });
    }
    Ok(shown)
}

impl Attempt {
    async fn of(app: &App, tenant_id: TenantId, record: AttemptRecord) -> Result<Self, Problem> {
        let response = match &record.response {
            Some(response) => app.keyring.open(tenant_id, record.id, response).await?,
            None => None,
        };
        Ok(Self {
            number: record.number,
            started_at: record.started_at,
            duration_ms: record.duration_ms,
            http_status: record.status,
            error_code: record.error_code,
            response,
            response_cut: record.response_cut,
        })
    }
}
