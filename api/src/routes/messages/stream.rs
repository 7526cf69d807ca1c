//! A reply as server-sent events while it is being written.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use events::session::ToolRequested;
use events::{Payload, Recorded};
use futures_util::Stream;
use futures_util::stream::unfold;
use nats::live::Delta;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::reply::Outcome;
use super::wait::{News, Waiting};
use crate::problem::{Code, Problem};
use crate::sessions::SessionFacts;
use crate::trace::Trace;

/// How often a silent stream shows that it lives.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Asks proxies not to hold the stream back.
pub(crate) const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// Answers with a stream that ends with `done` or `error`. `place` is held as long as the stream.
pub(super) fn answer(
    trace: Arc<Trace>,
    facts: Arc<SessionFacts>,
    waiting: Waiting,
    ended: Option<Outcome>,
    place: Option<OwnedSemaphorePermit>,
) -> Response {
    let telling = Telling {
        trace,
        facts,
        waiting,
        ended,
        spoken: Spoken::default(),
        queue: VecDeque::new(),
        over: false,
        _place: place,
    };
    ([NO_BUFFERING], Sse::new(events(telling)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
        .into_response()
}

struct Telling {
    trace: Arc<Trace>,
    facts: Arc<SessionFacts>,
    waiting: Waiting,
    ended: Option<Outcome>,
    spoken: Spoken,
    queue: VecDeque<Event>,
    over: bool,
    _place: Option<OwnedSemaphorePermit>,
}

/// Which vendor attempt the deltas told so far are of.
#[derive(Default)]
struct Spoken {
    attempt: Option<u32>,
}

/// What a delta means for the listener.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    GoesOn,
    /// What was told before is void.
    StartsOver,
    /// Of an attempt that was given up.
    Stale,
}

impl Spoken {
    fn hear(&mut self, attempt: u32) -> Heard {
        let before = self.attempt.replace(attempt);
        match before {
            Some(before) if attempt < before => {
                self.attempt = Some(before);
                Heard::Stale
            }
            Some(before) if attempt > before => Heard::StartsOver,
            _ => Heard::GoesOn,
        }
    }
}

fn events(telling: Telling) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    unfold(telling, |mut telling| async {
        loop {
            if let Some(event) = telling.queue.pop_front() {
                return Some((Ok(event), telling));
            }
            if telling.over {
                return None;
            }
            telling.listen().await;
        }
    })
}

impl Telling {
    async fn listen(&mut self) {
        if let Some(ended) = self.ended.take() {
            return self.end(ended);
        }
        let shutdown = self.waiting.app.shutdown.clone();
        // Cancel-safe: `next` says so, and after the token nothing more is listened for.
        let news = tokio::select! {
            news = self.waiting.next() => news,
            () = shutdown.cancelled() => {
                let stopping = Problem::new(Code::ShuttingDown, "the turn goes on; look at the job");
                return self.end(Err(stopping.with_job(self.waiting.job_id)));
            }
        };
        match news {
            News::Ended(outcome) => self.end(outcome),
            News::Delta(delta) => self.speak(delta),
            News::Happened(recorded) => {
                if let Payload::ToolRequested(request) = &recorded.event.payload {
                    let event = self.tool_call(&recorded, request).await;
                    self.queue.push_back(event);
                }
            }
        }
    }

    fn speak(&mut self, Delta { attempt, text }: Delta) {
        match self.spoken.hear(attempt) {
            Heard::Stale => return,
            Heard::StartsOver => self.queue.push_back(event("restart", &json!({ "attempt": attempt }))),
            Heard::GoesOn => {}
        }
        self.queue.push_back(event("delta", &json!({ "text": text, "attempt": attempt })));
    }

    async fn tool_call(&self, recorded: &Recorded, request: &ToolRequested) -> Event {
        let Waiting { app, tenant_id, .. } = &self.waiting;
        let opened = app.keyring.open(*tenant_id, recorded.event.envelope.id, &request.arguments).await;
        let arguments = opened.ok().flatten().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let call =
            json!({ "tool_call_id": request.tool_call_id, "name": request.name, "arguments": arguments });
        event("tool_call", &call)
    }

    fn end(&mut self, outcome: Outcome) {
        self.over = true;
        self.facts.note(&outcome);
        self.queue.push_back(match outcome {
            Ok(reply) => event("done", &reply),
            Err(problem) => event("error", &problem.body(&self.trace.correlation_id)),
        });
    }
}

/// JSON has no raw line breaks, so it always fits one `data` line.
fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_attempt_starts_over_and_a_lower_one_is_not_heard() {
        let mut spoken = Spoken::default();
        assert_eq!(spoken.hear(2), Heard::GoesOn);
        assert_eq!(spoken.hear(2), Heard::GoesOn);
        assert_eq!(spoken.hear(3), Heard::StartsOver);
        assert_eq!(spoken.hear(2), Heard::Stale);
        assert_eq!(spoken.hear(3), Heard::GoesOn);
    }
}
