//! `/ws/voice-twilio`: Twilio Media Streams. The webhook has begun the call; the stream shows the token that it was given
//! there, and a call that lost its socket comes back with a new one.

mod wire;

use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use events::{CallId, TenantId};
use nats::media::FRAME_MS;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vendors::telephony::twilio::{SIGNATURE_HEADER, is_signed};

use super::hold::{End, Held, refuse, unreadable};
use super::line::Line;
use super::places::Place;
use super::refusal::Refusal;
use super::upgrade;
use super::wire::Wire;
use crate::App;
use crate::calls;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::tokens::{self, Claims, TokenError};
use wire::{Start, TwilioWire};

/// What was sent is taken back with `clear`, so it may be further ahead than elsewhere, in fewer messages.
const LEAD: Duration = Duration::from_millis(200);
const CHUNK: Duration = Duration::from_millis(100);

pub(crate) const TWILIO_PATH: &str = "/ws/voice-twilio";

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(voice_twilio))
}

/// Lets the stream of one call in, once.
#[derive(Serialize, Deserialize)]
pub(crate) struct StreamToken {
    pub tenant_id: TenantId,
    pub call_id: CallId,
    pub call_sid: String,
}

impl Claims for StreamToken {
    const PURPOSE: &'static str = "twilio-stream";
}

/// Twilio's Media Streams
///
/// A WebSocket that Twilio opens: `connected`, `start`, `media`, `dtmf`, `mark`, `stop` in, `media`, `mark`, `clear` out;
/// µ-law, 8 kHz. `start.customParameters.token` is the one-time token of the webhook's answer.
#[utoipa::path(
    get, path = "/ws/voice-twilio", tag = "Calls", operation_id = "voice_twilio",
    responses((status = 101, description = "The stream begins"), problems::OpeningAStream)
)]
async fn voice_twilio(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let upgrade = upgrade(&mut parts, &app.config.sockets).await?;
    let signature = signature(&parts.headers);
    let counted = app.tasks.token();
    Ok(upgrade.on_upgrade(async move |mut socket| {
        let _counted = counted;
        // Boxed, for the rest of this future is there for as long as the call lasts.
        match Box::pin(begin(&app, &mut socket, signature.as_deref())).await {
            Ok(stream) => stream.hold(&app, socket).await,
            Err(End::Refused(refusal)) => refuse(&mut socket, refusal).await,
            Err(_) => {}
        }
    }))
}

fn signature(headers: &HeaderMap) -> Option<String> {
    // One that is no text is wrong, not absent.
    headers.get(SIGNATURE_HEADER).map(|sent| sent.to_str().unwrap_or_default().to_owned())
}

/// A stream that was let in.
struct Stream {
    token: StreamToken,
    stream_sid: String,
    /// Since the call began, over all its streams.
    lasted: Duration,
    /// The number of the first frame that comes.
    first_frame: u32,
    place: Place,
}

/// Waits for the start, and lets it in or not.
async fn begin(app: &App, socket: &mut WebSocket, signature: Option<&str>) -> Result<Stream, End> {
    let waited = timeout(app.config.sockets.start, started(socket)).await;
    let start = waited.map_err(|_| End::Refused(Refusal::NotStarted))??;
    let token: StreamToken = tokens::redeem(app, &start.parameters.token).await.map_err(|error| {
        tracing::info!(%error, "a stream's token was refused");
        match error {
            TokenError::Unavailable(_) => End::Refused(Refusal::Unavailable),
            _ => End::Refused(Refusal::InvalidToken),
        }
    })?;
    let (tenant_id, call_id) = (token.tenant_id, token.call_id);
    if token.call_sid != start.call_sid {
        return Err(End::Refused(Refusal::InvalidToken));
    }
    if let Some(signature) = signature {
        check_signature(app, tenant_id, signature).await?;
    }
    let call = calls::read(app, tenant_id, call_id).await.map_err(|_| End::Refused(Refusal::Unavailable))?;
    // A stream that comes back counts on, as if the one before it had been silent meanwhile.
    let first_frame = call.duration_ms(app.clock.now()) / u64::from(FRAME_MS);
    let started = call.started.filter(|_| !call.ended).ok_or(End::Refused(Refusal::CallEnded))?;
    let lasted = (app.clock.now() - started.at).to_std().unwrap_or_default();
    let place = app.places.take(call_id).await.map_err(End::Refused)?;
    let first_frame = u32::try_from(first_frame).unwrap_or(u32::MAX);
    Ok(Stream { token, stream_sid: start.stream_sid, lasted, first_frame, place })
}

async fn started(socket: &mut WebSocket) -> Result<Start, End> {
    loop {
        match socket.recv().await {
            None => return Err(End::Left(nats::media::CloseReason::Lost)),
            Some(Err(error)) => return Err(unreadable(&error)),
            Some(Ok(message)) => {
                if let Some(start) = wire::start(&message).map_err(End::Refused)? {
                    return Ok(start);
                }
            }
        }
    }
}

/// The upgrade need not be signed, for the token is always there; when it is, it must be right.
async fn check_signature(app: &App, tenant_id: TenantId, signature: &str) -> Result<(), End> {
    let account = crate::twilio::account(app, tenant_id).await;
    let account = account.map_err(|_| End::Refused(Refusal::Unavailable))?;
    let url = crate::twilio::socket_url(&app.config.app_url);
    match account {
        Some(account) if is_signed(&account.auth_token, &url, &[], signature) => Ok(()),
        _ => Err(End::Refused(Refusal::InvalidSignature)),
    }
}

impl Stream {
    async fn hold(self, app: &App, mut socket: WebSocket) {
        let Self { token: StreamToken { tenant_id, call_id, .. }, stream_sid, lasted, first_frame, place } =
            self;
        let Ok(media) = app.nats.media.socket(call_id).await else {
            return refuse(&mut socket, Refusal::Unavailable).await;
        };
        tracing::info!(%tenant_id, %call_id, "a stream begins");
        let mut limits = app.config.sockets.clone();
        limits.call = limits.call.saturating_sub(lasted);
        (limits.lead, limits.chunk) = (LEAD, CHUNK);
        let held = Held {
            wire: TwilioWire::new(&stream_sid),
            line: Line::open(TwilioWire::FORMAT, limits.clone(), first_frame),
            media,
            limits,
            replaced: place.replaced.clone(),
            shutdown: app.shutdown.clone(),
        };
        let end = held.hold(socket).await;
        tracing::info!(%tenant_id, %call_id, ?end, "a stream is over");
    }
}
