//! `POST /api/sessions/{id}/messages`: the hot path. The append is the promise: from there the work is never lost, and
//! all that follows here is waiting for it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::session::MessageReceived;
use events::webhook::Callback;
use events::{Aggregate, Event, EventId, JobId, MessageId, Position, SessionId};
use nats::live::Hear;
use nats::{AppendError, Expect};
use projections::jobs::JobKind;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use utoipa::ToSchema;
use vendors::http::guard::{self, UrlPolicy};

use super::reply::{self, Outcome, Reply};
use super::stream;
use super::wait::{Waiting, ends};
use crate::app::SOURCE;
use crate::auth::{AgentDeveloper, Caller};
use crate::extract::{PathId, Posted};
use crate::idempotency::{Makes, Once};
use crate::openapi::problems;
use crate::prefer::Prefer;
use crate::problem::{Code, Problem};
use crate::reservations::Asked;
use crate::routes::jobs::{self, Job};
use crate::sessions::SessionFacts;
use crate::validation::Mistakes;
use crate::{App, rates, sessions};

/// What the customer says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessage {
    #[schema(min_length = 1, max_length = 32000, example = "What is the status of invoice INV-TC-001?")]
    content: String,
    /// Told how the message ends: `job.completed`, `job.failed` or `job.cancelled`, signed with the tenant's webhook
    /// secret. As for a webhook, `https://` and no private address.
    #[serde(default)]
    #[schema(max_length = 2048)]
    webhook_url: Option<String>,
}

const MAX_CONTENT_CHARS: usize = 32_000;

/// How the client wants to hear of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Wait,
    Stream,
    Async,
}

/// A message that stands in the log.
struct Accepted {
    session: Aggregate,
    /// Of the message, or of the end that was found.
    position: Position,
    /// It stood there already with its end: a request repeated after the fact.
    ended: Option<Outcome>,
}

/// Send a message
///
/// Waits for the assistant's reply, 30 s unless `Prefer: wait=N` says otherwise (at most 300). When the wait runs out,
/// or with `Prefer: respond-async`, answers 202 with the job. With `Accept: text/event-stream` the reply streams as
/// server-sent events: `delta` `{text, attempt}`; `restart` `{attempt}` when another vendor attempt starts over and all
/// deltas so far are void; `tool_call` `{tool_call_id, name, arguments}`; then `done` with the reply, or `error` with a
/// problem. A client that goes away does not stop the turn. Role: developer.
#[utoipa::path(
    post, path = "/api/sessions/{id}/messages", tag = "Sessions", operation_id = "post_message",
    params(
        ("id" = Uuid, Path, description = "The session"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` or `wait=N` (RFC 7240)"),
    ),
    request_body = NewMessage,
    responses(
        (status = 200, description = "The reply", content((Reply = "application/json"), (String = "text/event-stream"))),
        (status = 202, description = "Accepted; the job goes on", body = Job, headers(
            ("Location" = String, description = "The job"),
            ("Preference-Applied" = String, description = "What was made of `Prefer`"),
        )),
        problems::Writing, problems::OfATurn,
    )
)]
pub(super) async fn post_message(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(session_id): PathId<SessionId>,
    posted: Posted<NewMessage>,
) -> Result<Response, Problem> {
    check(&posted.body, app.config.urls)?;
    let prefer = Prefer::of(&posted.headers);
    let mode = mode(&posted.headers, prefer);
    let facts = sessions::find(&app, &caller, session_id).await?;
    // Taken before anything is promised: what cannot be waited for is not accepted either.
    let place = place(&app, mode)?;
    let once = posted.claim(&app, caller.tenant_id, Makes::NoSecret).await?;
    let job_id: JobId = once.derived("job");
    // Before the append, so that not even the fastest answer is missed.
    let subscription = match mode {
        Mode::Async => None,
        Mode::Wait => Some(app.nats.live.subscribe(job_id, Hear::Events).await),
        Mode::Stream => Some(app.nats.live.subscribe(job_id, Hear::All).await),
    };
    let subscription = subscription.transpose().map_err(|error| Problem::unavailable(&error))?;
    let message = Message { session_id, job_id, facts: &facts, sent: &posted.body, mode };

    let Accepted { session, position, ended } = accept(&app, &caller, &message, &once).await?;
    let mut waiting = Waiting::new(app.clone(), session, job_id, position.sequence, subscription);
    let response = match mode {
        Mode::Async if !once.replayed => {
            pending(Job::queued(JobKind::Message, job_id, session_id, once.at), prefer)
        }
        Mode::Async => pending(look_up(&app, &caller, session_id, job_id, position, &once).await, prefer),
        Mode::Stream => stream::answer(caller.trace.clone(), facts, waiting, ended, place),
        Mode::Wait => {
            let deadline = Instant::now() + prefer.wait.unwrap_or(app.config.default_wait);
            let outcome = match ended {
                Some(ended) => Some(ended),
                None => tokio::select! {
                    outcome = waiting.outcome(deadline) => outcome,
                    // The server ends: whoever still waits then is sent to the job.
                    () = app.nearly_drained() => None,
                },
            };
            if let Some(sequence) = waiting.ended_at {
                facts.ended_at(sequence);
            }
            if let Some(outcome) = &outcome {
                facts.note(outcome);
            }
            match outcome {
                None => pending(look_up(&app, &caller, session_id, job_id, position, &once).await, prefer),
                Some(Ok(reply)) => prefer.applied_to(Json(reply)),
                Some(Err(problem)) => problem.into_response(),
            }
        }
    };
    Ok(once.mark(response))
}

struct Message<'a> {
    session_id: SessionId,
    job_id: JobId,
    facts: &'a SessionFacts,
    sent: &'a NewMessage,
    mode: Mode,
}

fn check(message: &NewMessage, urls: UrlPolicy) -> Result<(), Problem> {
    let mut mistakes = Mistakes::default();
    if message.content.trim().is_empty() {
        mistakes.add("content", "must not be empty");
    } else if message.content.chars().nth(MAX_CONTENT_CHARS).is_some() {
        mistakes.add("content", format_args!("must have at most {MAX_CONTENT_CHARS} characters"));
    }
    if let Some(Err(refused)) = message.webhook_url.as_deref().map(|url| guard::checked(url, urls)) {
        mistakes.add("webhook_url", refused);
    }
    mistakes.into_result()
}

fn mode(headers: &HeaderMap, prefer: Prefer) -> Mode {
    let accepts_stream = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
        });
    match (prefer.respond_async, accepts_stream) {
        (true, _) => Mode::Async,
        (false, true) => Mode::Stream,
        (false, false) => Mode::Wait,
    }
}

fn place(app: &App, mode: Mode) -> Result<Option<OwnedSemaphorePermit>, Problem> {
    if mode == Mode::Async {
        return Ok(None);
    }
    let full = |_| {
        Problem::new(
            Code::AtCapacity,
            "too many messages are waiting for their answer; Prefer: respond-async does not wait",
        )
    };
    app.waiting.clone().try_acquire_owned().map(Some).map_err(full)
}

/// Appends the message, unless it stands in the log already.
async fn accept(app: &App, caller: &Caller, message: &Message<'_>, once: &Once) -> Result<Accepted, Problem> {
    let Message { session_id, job_id, facts, sent, mode } = *message;
    let tenant_id = caller.tenant_id;
    let session = Aggregate::session(tenant_id, session_id);
    let event_id: EventId = once.id();
    if once.replayed
        && let Some(accepted) = find_accepted(app, session, event_id, job_id).await?
    {
        return Ok(accepted);
    }
    if facts.is_ended() {
        return Err(Problem::new(Code::SessionEnded, "open a new session"));
    }
    let agent = app.agent(tenant_id, facts.agent_id).await?.filter(|agent| agent.settings.is_active);
    let agent =
        agent.ok_or_else(|| Problem::new(Code::AgentUnavailable, "open a session with another agent"))?;
    rates::count_agent(app, &caller.trace, &agent)?;
    let seal = async |text: &str| app.keyring.seal(tenant_id, facts.customer_key_id.0, event_id, text).await;
    let callback = match &sent.webhook_url {
        Some(url) => Some(Callback { url: seal(url).await?, sealed_for: event_id }),
        None => None,
    };
    let asked = Asked { tenant_id, key_id: caller.key_id(), agent: &agent };
    let (reservation, sealed) = tokio::join!(asked.turn(app, job_id, &sent.content), seal(&sent.content));
    let reservation = reservation?;
    let received = MessageReceived {
        message_id: once.derived::<MessageId>("message"),
        job_id,
        content: sealed?,
        agent_version: agent.version,
        stream: mode == Mode::Stream,
        spoken: None,
        callback,
        aloud: false,
    };
    let event = Event::new(event_id, once.at, SOURCE, session, &caller.cause(), received);
    reservation.check()?;
    let position = append(app, facts, &event).await?;
    reservation.accepted(app, position).await;
    Ok(Accepted { session, position, ended: None })
}

/// A message is a fact and needs no check; where this process knows what it follows, the log confirms it.
async fn append(app: &App, facts: &SessionFacts, event: &Event) -> Result<Position, AppendError> {
    if let Some(newest) = facts.take_newest() {
        match app.nats.log.append(event, Expect::Last(newest)).await {
            Err(AppendError::Conflict { .. }) => {}
            appended => return appended,
        }
    }
    app.nats.log.append(event, Expect::Anything).await
}

/// A repeated request finds what the first one did. The server itself recognises a repeated event id only for some
/// minutes, a key is remembered for a day.
async fn find_accepted(
    app: &App,
    session: Aggregate,
    event_id: EventId,
    job_id: JobId,
) -> Result<Option<Accepted>, Problem> {
    let history = app.nats.log.read(&session, 0).await?;
    let Some(received) = history.iter().position(|recorded| recorded.event.envelope.id == event_id) else {
        return Ok(None);
    };
    let position = history[received].position;
    let ending = history[received..].iter().find(|recorded| ends(&recorded.event.payload, job_id));
    Ok(Some(match ending {
        None => Accepted { session, position, ended: None },
        Some(ending) => {
            let ended = reply::of_event(app, session.tenant_id, job_id, ending).await;
            Accepted { session, position: ending.position, ended }
        }
    }))
}

/// The job as the tables know it, or as just accepted when they do not know it yet.
async fn look_up(
    app: &App,
    caller: &Caller,
    session_id: SessionId,
    job_id: JobId,
    position: Position,
    once: &Once,
) -> Job {
    let found = jobs::find(app, caller.tenant_id, job_id, Some(position)).await;
    found.ok().flatten().unwrap_or_else(|| Job::queued(JobKind::Message, job_id, session_id, once.at))
}

pub(crate) fn pending(job: Job, prefer: Prefer) -> Response {
    let location = format!("/api/jobs/{}", job.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], prefer.applied_to(Json(job))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(accept: &str, prefer: &str) -> Mode {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        headers.insert("prefer", prefer.parse().unwrap());
        mode(&headers, Prefer::of(&headers))
    }

    #[test]
    fn the_headers_say_how_the_client_wants_to_hear() {
        assert_eq!(mode_of("*/*", "wait=5"), Mode::Wait);
        assert_eq!(mode_of("application/json, text/event-stream;q=0.9", "wait=5"), Mode::Stream);
        assert_eq!(mode_of("text/event-stream", "respond-async"), Mode::Async);
    }

    #[test]
    fn a_message_has_something_in_it_and_an_end() {
        let urls = UrlPolicy::default();
        let check = |content: String| check(&NewMessage { content, webhook_url: None }, urls);
        assert!(check("hello".to_owned()).is_ok());
        assert!(check(" \n".to_owned()).is_err());
        assert!(check("ü".repeat(32_000)).is_ok());
        assert!(check("ü".repeat(32_001)).is_err());
    }
}
