//! `/ws/voice-browser`: a call from a browser, or from any program with a microphone.

mod wire;

use std::sync::Arc;

use axum::extract::ws::WebSocket;
use axum::extract::{Request, State, WebSocketUpgrade};
use axum::response::Response;
use events::call::{CallStatus, Direction, Transport};
use events::{CallId, Cause, TenantId};
use projections::configuration::AgentRecord;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::hold::{End, Held, refuse};
use super::line::Line;
use super::places::Place;
use super::refusal::Refusal;
use super::ticket::Entrance;
use super::wire::Wire;
use super::{origin, upgrade};
use crate::calls::{self, NewCall};
use crate::extract::QueryOf;
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::reservations::{Asked, Reservation};
use crate::validation::Mistakes;
use crate::{App, rates};
use wire::BrowserWire;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(voice_browser))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BrowserQuery {
    /// Whom to talk to; may be left out when the ticket names an agent.
    agent_id: Option<Uuid>,
    /// From `POST /api/ws-tickets`; without it an API key must come in a header.
    ticket: Option<String>,
    /// The tenant's own name for the caller; made up when left out.
    customer_id: Option<String>,
}

const MAX_CUSTOMER_ID_CHARS: usize = 200;

/// Talk with an agent
///
/// A WebSocket; PCM16, mono, 16 kHz, both ways. Client: binary frames of any length, or
/// `{"type":"audio","data":"<base64>"}`; `{"type":"end"}` ends an utterance at once. Server: binary frames, and
/// `session_started`, `transcript`, `tool_call`, `interrupted` (somebody speaks: forget what has not been played; an agent
/// that was not meant goes on from there), `turn`, `session_ended`, `error` (`code`, `message`; then it closes). Role:
/// developer, by key or ticket.
#[utoipa::path(
    get, path = "/ws/voice-browser", tag = "Calls", operation_id = "voice_browser", params(BrowserQuery),
    responses((status = 101, description = "The call begins"), problems::Reading, problems::OpeningASocket, problems::OfAnId)
)]
async fn voice_browser(
    State(app): State<App>,
    QueryOf(query): QueryOf<BrowserQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    origin::check(&parts.headers, &app.config)?;
    let upgrade = upgrade(&mut parts, &app.config.sockets).await?;
    let mut mistakes = Mistakes::default();
    if let Some(customer_id) = &query.customer_id {
        mistakes.check_required("customer_id", customer_id, MAX_CUSTOMER_ID_CHARS);
    }
    mistakes.into_result()?;
    let Entrance { caller, agent_id } =
        Entrance::pass(&app, &mut parts, query.ticket.as_deref(), query.agent_id).await?;
    let agent = app.agent_of(&caller, agent_id).await?;
    if !agent.settings.is_active {
        return Err(Problem::new(Code::AgentUnavailable, "the agent is switched off"));
    }
    rates::count_agent(&app, &caller.trace, &agent)?;
    let (tenant_id, call_id) = (caller.tenant_id, CallId::new());
    let asked = Asked { tenant_id, key_id: caller.key_id(), agent: &agent };
    let reservation = asked.call(&app, call_id, Transport::Browser.carrier()).await?;
    let call = BrowserCall {
        call_id,
        reservation,
        tenant_id,
        cause: caller.cause(),
        agent,
        customer_id: query.customer_id,
    };
    Ok(open(app, upgrade, call))
}

struct BrowserCall {
    call_id: CallId,
    reservation: Reservation,
    tenant_id: TenantId,
    cause: Cause,
    agent: Arc<AgentRecord>,
    customer_id: Option<String>,
}

fn open(app: App, upgrade: WebSocketUpgrade, call: BrowserCall) -> Response {
    let counted = app.tasks.token();
    upgrade.on_upgrade(async move |mut socket| {
        let _counted = counted;
        match app.places.take(call.call_id).await {
            Err(refusal) => {
                call.reservation.release(&app).await;
                refuse(&mut socket, refusal).await;
            }
            Ok(place) => call.hold(&app, socket, place).await,
        }
    })
}

impl BrowserCall {
    async fn hold(self, app: &App, mut socket: WebSocket, place: Place) {
        let Self { call_id, reservation, tenant_id, agent, cause, customer_id } = self;
        let made_up = || format!("browser-{call_id}");
        let new = NewCall {
            call_id,
            agent: &agent,
            direction: Direction::Browser,
            transport: Transport::Browser,
            customer_id: &customer_id.unwrap_or_else(made_up),
            caller_number: None,
            called_number: None,
            provider_call_sid: None,
        };
        // Whoever claims the call speaks at once: the socket must be listening before there is a call to claim.
        let Ok(media) = app.nats.media.socket(call_id).await else {
            return refuse(&mut socket, Refusal::Unavailable).await;
        };
        let started = async {
            reservation.check()?;
            calls::start(app, tenant_id, &cause, new).await
        };
        if let Err(problem) = started.await {
            tracing::error!(%tenant_id, %call_id, code = problem.code().name(), cause = problem.cause(), "a call was not begun");
            return refuse(&mut socket, Refusal::Unavailable).await;
        }
        tracing::info!(%tenant_id, %call_id, "a browser calls");
        let limits = app.config.sockets.clone();
        let held = Held {
            wire: BrowserWire {
                call_id,
                session_id: calls::session_of(call_id),
                agent_id: agent.id,
                agent_name: agent.settings.name.clone(),
                decoded: Vec::new(),
            },
            line: Line::open(BrowserWire::FORMAT, limits.clone(), 0),
            media,
            limits,
            replaced: place.replaced.clone(),
            shutdown: app.shutdown.clone(),
        };
        let end = held.hold(socket).await;
        tracing::info!(%tenant_id, %call_id, ?end, "a browser's call is over");
        // Nobody came to talk: it must not be taken up when somebody is there again.
        if end == End::Refused(Refusal::AtCapacity) {
            let ended = calls::end(app, tenant_id, call_id, &cause, CallStatus::Failed, "at_capacity").await;
            if let Err(problem) = ended {
                tracing::error!(%tenant_id, %call_id, cause = problem.cause(), "a call was not ended");
            }
        }
    }
}
