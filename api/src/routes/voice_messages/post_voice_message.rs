//! `POST /api/sessions/{id}/voice/message`: a message as a recording. As with a written one, the append is the promise.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use events::{JobId, SessionId};
use nats::live::Hear;
use projections::jobs::JobKind;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::accept::{Accepted, Recording, accept};
use super::answer::VoiceReply;
use super::upload::{self, Owner};
use super::wait::VoiceWaiting;
use crate::auth::{AgentDeveloper, Caller};
use crate::extract::PathId;
use crate::idempotency::{Makes, Once, Sent};
use crate::openapi::problems;
use crate::prefer::Prefer;
use crate::problem::{Code, Problem};
use crate::routes::jobs::{self, Job};
use crate::routes::messages::post_message::pending;
use crate::{App, sessions};

/// Of an upload, decoded.
const LONGEST_SECONDS: u32 = 600;

/// The form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "says in the document what the form has; it is read as a stream")]
struct RecordingForm {
    /// WAV, MP3, M4A, WebM or Ogg: at most 25 MB and 10 minutes.
    #[schema(value_type = String, format = Binary)]
    audio_file: Vec<u8>,
}

/// Send a spoken message
///
/// The recording is transcribed, answered as any other message, and the reply is spoken. Waits for that, 30 s unless
/// `Prefer: wait=N` says otherwise (at most 300). When the wait runs out, or with `Prefer: respond-async`, answers 202
/// with the job. What the file is, is told by its first bytes. A reply that could not be spoken is answered all the same,
/// with `audio_error`. Role: developer.
#[utoipa::path(
    post, path = "/api/sessions/{id}/voice/message", tag = "Sessions", operation_id = "post_voice_message",
    params(
        ("id" = Uuid, Path, description = "The session"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` or `wait=N` (RFC 7240)"),
    ),
    request_body(content = RecordingForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The reply", body = VoiceReply),
        (status = 202, description = "Accepted; the job goes on", body = Job, headers(
            ("Location" = String, description = "The job"),
            ("Preference-Applied" = String, description = "What was made of `Prefer`"),
        )),
        problems::Writing, problems::OfATurn, problems::OfAnUpload,
    )
)]
pub(super) async fn post_voice_message(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(session_id): PathId<SessionId>,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let prefer = Prefer::of(&headers);
    let tenant_id = caller.tenant_id;
    let facts = sessions::find(&app, &caller, session_id).await?;
    // Taken before anything is promised: what cannot be waited for is not accepted either.
    let _place = match prefer.respond_async {
        true => None,
        false => Some(app.place_to_wait()?),
    };
    let owner = Owner { tenant_id, customer_key_id: facts.customer_key_id };
    let upload = upload::of_form(&app, owner, request).await?;
    let sent = Sent { tenant_id, method: &Method::POST, uri: &uri, headers: &headers, body: &upload.digest };
    let once = match Once::claim(&app, sent, Makes::NoSecret).await {
        Ok(once) => once,
        Err(problem) => {
            upload::discard(&app, tenant_id, &upload).await;
            return Err(problem);
        }
    };
    let job_id: JobId = once.voice_job();
    // Before the append, so that not even the fastest answer is missed.
    let subscription = app.nats.live.subscribe(job_id, Hear::Events).await;
    let subscription = subscription.map_err(|error| Problem::unavailable(&error))?;
    let recording = Recording { session_id, facts: &facts, upload, longest_seconds: LONGEST_SECONDS };
    let Accepted { session, position, ended } = accept(&app, &caller, recording, &once).await?;

    let mut waiting =
        VoiceWaiting { app: app.clone(), session, job_id, after: position.sequence, subscription };
    let outcome = match ended {
        Some(ended) if !prefer.respond_async => Some(ended),
        _ if prefer.respond_async => None,
        _ => tokio::select! {
            outcome = waiting.outcome(Instant::now() + prefer.wait.unwrap_or(app.config.default_wait)) => outcome,
            // The server ends: whoever still waits then is sent to the job.
            () = app.nearly_drained() => None,
        },
    };
    let response = match outcome {
        Some(outcome) => {
            facts.ended_at(outcome.sequence);
            match outcome.answer {
                Ok(reply) => {
                    if reply.reply.ends_session {
                        facts.end();
                    }
                    prefer.applied_to(Json(reply))
                }
                Err(problem) => {
                    if problem.code() == Code::SessionEnded {
                        facts.end();
                    }
                    problem.into_response()
                }
            }
        }
        None => pending(job(&app, &caller, session_id, &once, position).await, prefer),
    };
    Ok(once.mark(response))
}

/// The job as the tables know it, or as just accepted when they do not know it yet.
async fn job(
    app: &App,
    caller: &Caller,
    session_id: SessionId,
    once: &Once,
    position: events::Position,
) -> Job {
    let job_id = once.voice_job();
    let found = jobs::find(app, caller.tenant_id, job_id, Some(position)).await;
    let queued = || Job::queued(JobKind::VoiceMessage, job_id, session_id, once.at);
    found.ok().flatten().unwrap_or_else(queued)
}
