//! What was said in a call.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use events::{Aggregate, CallId, MessageId};
use projections::Projection;
use projections::transcripts;
use serde::Serialize;
use utoipa::ToSchema;

use super::found;
use crate::auth::AgentViewer;
use crate::extract::PathId;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::{App, freshness};

/// One thing that somebody said.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallLine {
    #[schema(value_type = Uuid)]
    id: MessageId,
    #[schema(value_type = Uuid)]
    call_id: CallId,
    /// `user` or `assistant`.
    #[schema(example = "assistant")]
    role: &'static str,
    /// Of an interrupted reply what was heard; `null` once the customer's data was erased.
    content: Option<String>,
    timestamp: DateTime<Utc>,
    /// The caller spoke before all of it was heard.
    interrupted: bool,
}

/// Get what was said in a call
///
/// In its order. Role: viewer.
#[utoipa::path(
    get, path = "/api/calls/{id}/transcript", tag = "Calls", operation_id = "get_call_transcript",
    params(("id" = Uuid, Path, description = "The call")),
    responses((status = 200, description = "The lines", body = Vec<CallLine>), problems::Reading, problems::OfAnId)
)]
pub(super) async fn get_call_transcript(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(call_id): PathId<CallId>,
) -> Result<Json<Vec<CallLine>>, Problem> {
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Calls, Aggregate::call(tenant_id, call_id)).await;
    let session_id = found(&app, &caller, call_id).await?.session_id;
    freshness::of_aggregate(&app, Projection::Transcripts, Aggregate::session(tenant_id, session_id)).await;
    let mut lines = Vec::new();
    for message in transcripts::messages(&app.database, tenant_id, session_id).await? {
        let content = match &message.content {
            Some(words) => app.keyring.open(tenant_id, message.sealed_for, words).await?,
            None => Some(String::new()),
        };
        lines.push(CallLine {
            id: message.id,
            call_id,
            role: message.role.as_str(),
            content,
            timestamp: message.created_at,
            interrupted: message.interrupted,
        });
    }
    Ok(Json(lines))
}
