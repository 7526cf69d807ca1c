//! `/ws/voice`: one utterance at a time. Chunks are gathered until an empty frame; then the recording goes the way that
//! one of `POST …/voice/message` goes, and the spoken reply comes back on the socket.

mod answering;

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::extract::{Request, State};
use axum::response::Response;
use events::{AgentId, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::refusal::Refusal;
use super::ticket::Entrance;
use super::{SocketLimits, origin, upgrade};
use crate::App;
use crate::auth::Caller;
use crate::extract::QueryOf;
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::validation::Mistakes;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(voice_utterances))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UtteranceQuery {
    /// Whom to talk to; may be left out when the ticket names an agent.
    agent_id: Option<Uuid>,
    /// From `POST /api/ws-tickets`; without it an API key must come in a header.
    ticket: Option<String>,
    /// The tenant's own name for the speaker; made up when left out.
    customer_id: Option<String>,
}

const MAX_CUSTOMER_ID_CHARS: usize = 200;
/// Of an utterance, in one frame or in many.
const MAX_UTTERANCE_BYTES: usize = 10 * 1024 * 1024;
/// Sockets of this kind that are open at once: each may hold an utterance.
pub(crate) const MAX_SOCKETS: usize = 128;
/// How long a socket may be open and say nothing.
const IDLE: Duration = Duration::from_secs(600);
/// How long the other side may take to hear that it is over.
const PARTING: Duration = Duration::from_secs(2);

/// Talk with an agent, one utterance at a time
///
/// A WebSocket. Client: binary frames with a recording (WAV, MP3, Ogg, WebM; without such a container PCM16, mono,
/// 16 kHz), then an empty binary frame; at most 10 MB and 60 s. `{"cmd":"reset"}` forgets the conversation. Server:
/// `{"status":"processing"}`, the spoken reply as binary MP3, `{"status":"done","transcript","reply","latency",…}`; or
/// `{"status":"error","code","message"}`, after which the next utterance may come. Role: developer, by key or ticket.
#[utoipa::path(
    get, path = "/ws/voice", tag = "Sessions", operation_id = "voice_utterances", params(UtteranceQuery),
    responses((status = 101, description = "The socket is open"), problems::Reading, problems::OpeningASocket, problems::OfAnId)
)]
async fn voice_utterances(
    State(app): State<App>,
    QueryOf(query): QueryOf<UtteranceQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    origin::check(&parts.headers, &app.config)?;
    let limits = SocketLimits { message_bytes: MAX_UTTERANCE_BYTES, ..app.config.sockets.clone() };
    let upgrade = upgrade(&mut parts, &limits).await?;
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
    let full = |_| Problem::new(Code::AtCapacity, "too many are talking; come back in a moment");
    let place = app.utterance_sockets.clone().try_acquire_owned().map_err(full)?;
    let (counted, customer_id) = (app.tasks.token(), query.customer_id);
    Ok(upgrade.on_upgrade(async move |socket| {
        let (_counted, _place) = (counted, place);
        let heard = Heard::default();
        Talk { app, caller, agent_id, customer_id, session: None, heard, socket }.hold().await;
    }))
}

/// One socket.
struct Talk {
    app: App,
    caller: Caller,
    agent_id: AgentId,
    customer_id: Option<String>,
    /// Opened with the first utterance, and anew after a reset.
    session: Option<SessionId>,
    heard: Heard,
    socket: WebSocket,
}

/// The utterance so far.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// It was refused; what comes of it until its end is passed over.
    refused: bool,
}

/// What is wrong with an utterance or a message; the socket stays.
#[derive(Debug)]
struct Complaint {
    code: String,
    message: String,
}

impl Complaint {
    fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }
}

impl From<Problem> for Complaint {
    fn from(problem: Problem) -> Self {
        Self::new(problem.code().name(), problem.detail())
    }
}

/// The other side is gone, or takes nothing any more.
struct Gone;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    cmd: Cmd,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cmd {
    Reset,
}

impl Talk {
    async fn hold(mut self) {
        let shutdown = self.app.shutdown.clone();
        loop {
            // Cancel-safe: a message is taken off the socket only when it is answered.
            let received = tokio::select! {
                () = shutdown.cancelled() => return self.part(Refusal::ShuttingDown).await,
                received = timeout(IDLE, self.socket.recv()) => received,
            };
            let message = match received {
                Err(_) => return self.part(Refusal::Silent).await,
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(_)) | None) => return,
            };
            let told = match self.take(message).await {
                Ok(()) => Ok(()),
                Err(complaint) => {
                    let Complaint { code, message } = complaint;
                    self.tell(json!({ "status": "error", "code": code, "message": message })).await
                }
            };
            if told.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Complaint> {
        match message {
            Message::Binary(chunk) if chunk.is_empty() => {
                let Heard { bytes, refused } = std::mem::take(&mut self.heard);
                match refused {
                    true => Ok(()),
                    false => self.answer(bytes).await,
                }
            }
            Message::Binary(chunk) => self.hear(&chunk),
            Message::Text(text) => {
                let Command { cmd: Cmd::Reset } = serde_json::from_str(&text).map_err(|_| {
                    Complaint::new("invalid_message", "the one command is {\"cmd\":\"reset\"}")
                })?;
                (self.session, self.heard) = (None, Heard::default());
                Ok(())
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    fn hear(&mut self, chunk: &[u8]) -> Result<(), Complaint> {
        if self.heard.refused {
            return Ok(());
        }
        if self.heard.bytes.len() + chunk.len() > MAX_UTTERANCE_BYTES {
            self.heard = Heard { bytes: Vec::new(), refused: true };
            return Err(Complaint::new("payload_too_large", "an utterance may have 10 MB"));
        }
        self.heard.bytes.extend_from_slice(chunk);
        Ok(())
    }

    async fn tell(&mut self, frame: Value) -> Result<(), Gone> {
        self.send(Message::text(frame.to_string())).await
    }

    async fn play(&mut self, audio: Bytes) -> Result<(), Gone> {
        self.send(Message::Binary(audio)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let sent = timeout(self.app.config.sockets.write, self.socket.send(message)).await;
        sent.ok().and_then(Result::ok).ok_or(Gone)
    }

    /// Says why, and closes; waits for the other side to have heard it.
    async fn part(mut self, refusal: Refusal) {
        let error = json!({ "status": "error", "code": refusal.code(), "message": refusal.to_string() });
        if self.tell(error).await.is_err() {
            return;
        }
        let code = match refusal {
            Refusal::ShuttingDown => close_code::AWAY,
            _ => close_code::POLICY,
        };
        let close = Message::Close(Some(CloseFrame { code, reason: refusal.code().into() }));
        let heard = async {
            if self.socket.send(close).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        let _ = timeout(PARTING, heard).await;
    }
}
