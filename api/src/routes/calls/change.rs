//! Ending a call from outside, and taking one out of the list.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::response::Response;
use domain::Call;
use events::call::{CallDeleted, HangupRequested};
use events::{Aggregate, CallId, Event, EventId, Recorded};
use projections::Projection;
use projections::calls;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{AgentDeveloper, Caller};
use crate::extract::{Nothing, PathId, Posted, id_of};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::routes::answers::Deleted;
use crate::{App, freshness};

/// What becomes of a call that is to be hung up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HangingUp {
    #[schema(value_type = Uuid)]
    id: CallId,
    #[schema(example = true)]
    hangup_requested: bool,
}

/// The call that the `{id}` of the path names: ours, or the carrier's. It is looked for before the body is read, so that
/// what is no call is not found, whatever is sent to it.
pub(super) struct NamedCall {
    caller: Caller,
    call_id: CallId,
}

impl FromRequestParts<App> for NamedCall {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AgentDeveloper(caller) = AgentDeveloper::from_request_parts(parts, app).await?;
        let unknown = || Problem::not_found("call");
        let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| unknown())?;
        let (_, name) = params.iter().find(|(name, _)| *name == "id").ok_or_else(unknown)?;
        if let Some(id) = id_of(name) {
            return Ok(Self { caller, call_id: CallId(id) });
        }
        freshness::of_everything(app, Projection::Calls).await;
        let call = calls::call_by_sid(&app.database, caller.tenant_id, name).await?;
        let call_id = call.ok_or_else(unknown)?.id;
        Ok(Self { caller, call_id })
    }
}

/// The call as its history has it; one that was deleted, or that the caller's key does not reach, is not found.
pub(super) fn known(caller: &Caller, history: &[Recorded]) -> Result<Call, Problem> {
    let call = Call::of(history);
    let started = call.started.as_ref().filter(|_| !call.deleted);
    let started = started.ok_or_else(|| Problem::not_found("call"))?;
    caller.check_reaches(started.call.agent_id, "call")?;
    Ok(call)
}

/// Hang up
///
/// The worker that talks ends the call at once; a call that nobody has taken yet ends when somebody does. Asking again
/// changes nothing. Role: developer.
#[utoipa::path(
    post, path = "/api/calls/{id}/hangup", tag = "Calls", operation_id = "hang_up",
    params(("id" = String, Path, description = "The call: its id, or the carrier's name of it")),
    responses((status = 200, description = "It ends", body = HangingUp), problems::Writing, problems::OfACall)
)]
pub(super) async fn hang_up(
    State(app): State<App>,
    NamedCall { caller, call_id }: NamedCall,
    posted: Posted<Nothing>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let aggregate = Aggregate::call(tenant_id, call_id);
    known(&caller, &app.nats.log.read(&aggregate, 0).await?)?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let cause = caller.cause();
    append::update(&app, aggregate, |history| {
        let call = known(&caller, history)?;
        if call.hangup_requested {
            return Ok(Decision::Nothing(()));
        }
        if call.ended {
            return Err(Problem::new(Code::CallEnded, "there is nothing to hang up"));
        }
        let requested = HangupRequested { by: cause.origin.actor.clone() };
        let event = Event::new(once.id(), once.at, SOURCE, aggregate, &cause, requested);
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    // Whoever talks hears of it now; should nobody hear it, it stands in the log.
    let _ = app.nats.live.hang_up(call_id).await;
    Ok(once.mark(Json(HangingUp { id: call_id, hangup_requested: true })))
}

/// Delete a call
///
/// It is listed no more, and its recording is deleted. What was said stays with its session, what it cost in the usage.
/// A call under way must be hung up first. Role: developer.
#[utoipa::path(
    delete, path = "/api/calls/{id}", tag = "Calls", operation_id = "delete_call",
    params(("id" = Uuid, Path, description = "The call")),
    responses((status = 200, description = "It is deleted", body = Deleted), problems::Reading, problems::OfADeletedCall)
)]
pub(super) async fn delete_call(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(call_id): PathId<CallId>,
) -> Result<Json<Deleted>, Problem> {
    let tenant_id = caller.tenant_id;
    let aggregate = Aggregate::call(tenant_id, call_id);
    let over = |history: &[Recorded]| {
        let call = known(&caller, history)?;
        if call.ended { Ok(()) } else { Err(Problem::new(Code::CallActive, "hang up first")) }
    };
    over(&app.nats.log.read(&aggregate, 0).await?)?;
    // First what cannot be found any more once the call is gone.
    let deleted = app.nats.recordings.delete(tenant_id, call_id).await;
    deleted.map_err(|error| Problem::unavailable(&error))?;
    let (id, cause) = (EventId::new(), caller.cause());
    let (position, ()) = append::update(&app, aggregate, |history| {
        over(history)?;
        let event = Event::new(id, app.clock.now(), SOURCE, aggregate, &cause, CallDeleted {});
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_position(&app, Projection::Calls, position).await;
    Ok(Json(Deleted::YES))
}
