//! `GET /api/sessions/{id}/events`: all that happened in a session, and then what happens, as CloudEvents.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Told, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use events::{Aggregate, Event, Position, SessionId, TenantId, binding};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::AgentViewer;
use crate::extract::PathId;
use crate::follower::{self, Seen, Watch};
use crate::openapi::problems;
use crate::opened::opened;
use crate::problem::{Code, Problem};
use crate::routes::messages::stream::{KEEP_ALIVE, NO_BUFFERING};
use crate::{App, sessions};

const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(follow_session))
}

/// Follow a session's events
///
/// Server-sent events: everything that has happened in the session, in order, then everything that happens, until the
/// client leaves. Each `data` is a CloudEvent in structured JSON, with customers' words opened (`null` once erased).
/// Each `id` is the event's position; sent back as `Last-Event-ID` it goes on from there. Role: viewer.
#[utoipa::path(
    get, path = "/api/sessions/{id}/events", tag = "Sessions", operation_id = "follow_session_events",
    params(
        ("id" = Uuid, Path, description = "The session"),
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on after this position, `partition:sequence`"),
    ),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        problems::Reading, problems::OfAnId, problems::Streaming,
    )
)]
async fn follow_session(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(session_id): PathId<SessionId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    sessions::find(&app, &caller, session_id).await?;
    let full = |_| Problem::new(Code::AtCapacity, "too many clients follow sessions; come back in a moment");
    let permit = app.following.clone().try_acquire_owned().map_err(full)?;
    let session = Aggregate::session(tenant_id, session_id);
    let after = last_event_id(&headers, app.nats.log.partition_of(&session))?;
    let watch = follower::watch(&app, &session).await?;
    let mut telling = Telling {
        app,
        tenant_id,
        session,
        facts: Aggregate::session_facts(tenant_id, session_id),
        watch,
        told_to: after,
        queue: VecDeque::new(),
        _permit: permit,
    };
    telling.catch_up().await?;
    let stream = Sse::new(told(telling)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([NO_BUFFERING], stream).into_response())
}

struct Telling {
    app: App,
    tenant_id: TenantId,
    session: Aggregate,
    facts: Aggregate,
    watch: Watch,
    /// Everything up to and with this sequence is told or in the queue.
    told_to: u64,
    queue: VecDeque<Told>,
    _permit: OwnedSemaphorePermit,
}

fn told(telling: Telling) -> impl Stream<Item = Result<Told, Infallible>> + Send {
    unfold(telling, |mut telling| async {
        loop {
            if let Some(event) = telling.queue.pop_front() {
                return Some((Ok(event), telling));
            }
            let shutdown = telling.app.shutdown.clone();
            // Cancel-safe: `next` says so, and after the token nothing more is told.
            let seen = tokio::select! {
                () = shutdown.cancelled() => return None,
                seen = telling.watch.next() => seen,
            };
            telling.hear(seen).await;
        }
    })
}

impl Telling {
    async fn hear(&mut self, seen: Seen) {
        let outcome = match &seen {
            Seen::Entry(entry) if entry.position.sequence <= self.told_to => return,
            Seen::Entry(entry) => match &entry.event {
                Ok(event) => self.tell(entry.position, event).await,
                // Unreadable by this version of the program; the archive keeps it.
                Err(_) => Ok(()),
            },
            Seen::Lagged => self.catch_up().await,
        };
        // Whatever failed is read from the log again.
        let mut failed = outcome.is_err();
        while failed && !self.app.shutdown.is_cancelled() {
            tokio::time::sleep(RETRY_PAUSE).await;
            failed = self.catch_up().await.is_err();
        }
    }

    /// Reads what is not told yet from the log, up to its end as of now. Both halves end at the same place, so that
    /// nothing is told out of order or left out between them; what comes later is seen by the watch.
    async fn catch_up(&mut self) -> Result<(), Problem> {
        let log = &self.app.nats.log;
        let end = log.last_of_partition(log.partition_of(&self.session)).await?;
        let mut tail = log.read(&self.session, self.told_to).await?;
        tail.extend(log.read(&self.facts, self.told_to).await?);
        tail.retain(|recorded| recorded.position.sequence <= end);
        tail.sort_unstable_by_key(|recorded| recorded.position);
        for recorded in &tail {
            self.tell(recorded.position, &recorded.event).await?;
        }
        self.told_to = self.told_to.max(end);
        Ok(())
    }

    async fn tell(&mut self, position: Position, event: &Event) -> Result<(), Problem> {
        if event.envelope.aggregate.tenant_id != self.tenant_id {
            return Ok(());
        }
        let data =
            serde_json::from_slice(&event.payload.encode()).map_err(|error| Problem::internal(&error))?;
        let data = opened(&self.app, self.tenant_id, event.envelope.id, data).await?;
        let event = binding::structured(event, data).map_err(|error| Problem::internal(&error))?;
        let json = serde_json::to_string(&event).map_err(|error| Problem::internal(&error))?;
        self.queue.push_back(Told::default().id(position.to_string()).data(json));
        self.told_to = position.sequence;
        Ok(())
    }
}

/// The sequence to go on after; 0: from the beginning.
fn last_event_id(headers: &HeaderMap, partition: u16) -> Result<u64, Problem> {
    let Some(sent) = headers.get("last-event-id") else { return Ok(0) };
    let position = sent.to_str().ok().and_then(|sent| sent.split_once(':'));
    match position.map(|(partition, sequence)| (partition.parse::<u16>(), sequence.parse())) {
        Some((Ok(sent), Ok(sequence))) if sent == partition => Ok(sequence),
        _ => Err(Problem::invalid_field("Last-Event-ID", "is no position of this session")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_the_same_partition_goes_on_there() {
        let headers = |value: &str| {
            HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("last-event-id"),
                value.parse().unwrap(),
            )])
        };
        assert_eq!(last_event_id(&headers("3:41"), 3).unwrap(), 41);
        assert_eq!(last_event_id(&HeaderMap::new(), 3).unwrap(), 0);
        for wrong in ["2:41", "41", "x:y", "3:-1", "*"] {
            assert!(last_event_id(&headers(wrong), 3).is_err(), "{wrong}");
        }
    }
}
