//! Calling a job off. What nobody works on ends here and now; who works on it is told, in the log and at once.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::{Cancelling, Pending, Session};
use events::session::{CancelRequested, FailureCode, TurnFailed};
use events::webhook::Callback;
use events::{Aggregate, Event, EventId, JobId, MessageId, Payload, Recorded, TurnId};
use nats::live::Hear;
use tokio::time::{Duration, Instant};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Job, check_reaches, find};
use crate::App;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{AgentDeveloper, Caller};
use crate::extract::{Nothing, PathId, Posted};
use crate::idempotency::{Makes, Once};
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::routes::messages::wait::{Waiting, ends};

/// How long the worker's end is waited for; the job is answered as it is then.
const PATIENCE: Duration = Duration::from_secs(5);
const DETAIL: &str = "the job was cancelled";

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(cancel_job))
}

/// Cancel a job
///
/// A job that waits never runs. One that runs is stopped, the request to the vendor with it: what had been streamed of
/// the reply stays in the transcript as an interrupted message, and is billed, estimated where the vendor did not say.
/// Whoever waits for the reply gets 409 `cancelled`. Cancelling again answers the same; a job that ended otherwise is
/// `job_finished`, as is a spoken message whose reply stands. Role: developer.
#[utoipa::path(
    post, path = "/api/jobs/{id}/cancel", tag = "Jobs", operation_id = "cancel_job",
    params(("id" = Uuid, Path, description = "The job")),
    responses(
        (status = 200, description = "The job; for a moment it may be `running` still", body = Job),
        problems::Writing, problems::OfAJob,
    )
)]
async fn cancel_job(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathId(job_id): PathId<JobId>,
    posted: Posted<Nothing>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let no_such = || Problem::not_found("job");
    let job = find(&app, tenant_id, job_id, None).await?.ok_or_else(no_such)?;
    check_reaches(&app, &caller, &job).await?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let session = Aggregate::session(tenant_id, job.session_id);
    // Before the append, so that not even the fastest end is missed.
    let heard = app.nats.live.subscribe(job_id, Hear::Events).await;
    let heard = heard.map_err(|error| Problem::unavailable(&error))?;
    let (position, called_off) = append::update(&app, session, |history| {
        Ok(match decide(&caller, &once, session, job_id, history)? {
            Some(event) => Decision::Append(Box::new(event.clone()), Some(event)),
            None => Decision::Nothing(None),
        })
    })
    .await?;
    match called_off {
        Some(event) if ends(&event.payload, job_id) => {
            // Whoever waits for the reply.
            let _ = app.nats.live.happened(job_id, &event, position).await;
        }
        _ => {
            // Should nobody hear it, it stands in the log.
            let _ = app.nats.live.cancel(job_id).await;
            let mut waiting = Waiting::new(app.clone(), session, job_id, 0, Some(heard));
            waiting.outcome(Instant::now() + PATIENCE).await;
        }
    }
    let job = find(&app, tenant_id, job_id, None).await?.ok_or_else(no_such)?;
    match job.is_finished_otherwise() {
        // It was faster.
        true => Err(finished()),
        false => Ok(once.mark(Json(job))),
    }
}

/// The event that calls the job off; `None`: that was done before.
fn decide(
    caller: &Caller,
    once: &Once,
    session: Aggregate,
    job_id: JobId,
    history: &[Recorded],
) -> Result<Option<Event>, Problem> {
    if let Some(end) = history.iter().find(|recorded| ends(&recorded.event.payload, job_id)) {
        return match &end.event.payload {
            Payload::TurnFailed(TurnFailed { code: FailureCode::Cancelled, .. }) => Ok(None),
            _ => Err(finished()),
        };
    }
    let event = |what: &str, payload: Payload| {
        let id: EventId = once.derived(what);
        Event::new(id, once.at, SOURCE, session, &caller.cause(), payload)
    };
    let folded = Session::of(history);
    let ended = |message_id: MessageId, accepted_at: DateTime<Utc>, callback: Option<Callback>| {
        let opened = folded.opened.as_ref().ok_or_else(|| Problem::not_found("job"))?;
        let age_ms = (once.at - accepted_at).num_milliseconds();
        let failed = TurnFailed {
            turn_id: once.derived::<TurnId>("turn"),
            job_id,
            message_id,
            agent_id: opened.agent_id,
            channel: opened.channel,
            code: FailureCode::Cancelled,
            detail: DETAIL.to_owned(),
            latency_ms: u64::try_from(age_ms).unwrap_or_default(),
            attempts: 0,
            billed: vec![],
            callback,
            shortage: None,
        };
        Ok::<_, Problem>(Some(event("cancelled", failed.into())))
    };
    match folded.cancel(job_id) {
        Cancelling::Asked => Ok(None),
        Cancelling::Ask => {
            let asked = CancelRequested { job_id, by: caller.actor.clone() };
            Ok(Some(event("cancel_requested", asked.into())))
        }
        Cancelling::End(Pending { message_id, accepted_at, callback, .. }) => {
            ended(message_id, accepted_at, callback)
        }
        // A recording that is not in words yet.
        Cancelling::NotPending => {
            let recording = history.iter().find_map(|recorded| match &recorded.event.payload {
                Payload::RecordingReceived(received) if received.job_id == job_id => {
                    Some((received.message_id, recorded.event.envelope.time))
                }
                _ => None,
            });
            let (message_id, received_at) = recording.ok_or_else(|| Problem::not_found("job"))?;
            ended(message_id, received_at, None)
        }
    }
}

fn finished() -> Problem {
    Problem::new(Code::JobFinished, "there is nothing left to cancel")
}
