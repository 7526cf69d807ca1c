//! Tickets: what a browser shows instead of an API key, for it cannot set a WebSocket's headers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::AgentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::App;
use crate::auth::{AgentViewer, Caller};
use crate::extract::Posted;
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::sockets::Ticket;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_ws_ticket))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTicket {
    /// The only agent that can be talked to with it; left out: any of the tenant's.
    #[serde(default)]
    agent_id: Option<Uuid>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedTicket {
    /// For `?ticket=` of a WebSocket; it opens one.
    #[schema(example = "eyJpZCI6….kd9S…")]
    ticket: String,
    expires_at: DateTime<Utc>,
}

/// Create a WebSocket ticket
///
/// Browsers cannot set headers on a WebSocket: they take a ticket in the query instead. It opens one socket within 60
/// seconds, with the role of the key that asked for it; calls need a developer's. Role: viewer.
#[utoipa::path(
    post, path = "/api/ws-tickets", tag = "Calls", operation_id = "create_ws_ticket", request_body = NewTicket,
    responses((status = 201, description = "The ticket", body = CreatedTicket), problems::Writing)
)]
async fn create_ws_ticket(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    posted: Posted<NewTicket>,
) -> Result<Response, Problem> {
    let agent_id = posted.body.agent_id.map(AgentId);
    if let Some(agent_id) = agent_id {
        app.agent_of(&caller, agent_id).await?;
    }
    let once = posted.claim(&app, caller.tenant_id, Makes::NoSecret).await?;
    let Caller { tenant_id, key_id, role, reach, actor, .. } = caller;
    let claims = Ticket { tenant_id, key_id, role, reach, actor, agent_id };
    let (ticket, expires_at) = app.tokens.issue(once.id(), once.at, claims);
    Ok(once.mark((StatusCode::CREATED, Json(CreatedTicket { ticket, expires_at }))))
}
