//! What happens to a job right now, for whoever listens: core NATS, kept nowhere. Everything that must not be lost is
//! in the log; a listener that misses a message finds it there.

use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use events::{CallId, Event, JobId, Position, Recorded};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{message, subjects};

/// Words of a reply that is still being written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The vendor attempt that speaks. When it rises, what came before it in this reply is void.
    pub attempt: u32,
    pub text: String,
}

/// One live message about a job.
#[derive(Clone, Debug)]
pub enum LiveMessage {
    Delta(Delta),
    /// An event of the job was appended: a tool request or result, or the terminal event.
    Happened(Box<Recorded>),
}

/// Publishes and hears live messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Live {
    client: Client,
}

/// The live messages of one job, from the moment of subscribing.
pub struct LiveSubscription {
    subscriber: Subscriber,
}

/// The jobs that are cancelled, from the moment of subscribing.
pub struct Cancellations {
    subscriber: Subscriber,
}

/// Requests to hang up one call, from the moment of subscribing.
pub struct Hangups {
    subscriber: Subscriber,
}

/// Nobody can listen or speak now: the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the live subject {subject}")]
pub struct LiveError {
    subject: String,
    source: async_nats::Error,
}

/// Which messages of a job to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hear {
    /// Deltas and events.
    All,
    /// Events only.
    Events,
}

const DELTA: &str = "delta";
const EVENT: &str = "event";
const POSITION: &str = "Vocalbridge-Position";

impl LiveError {
    pub(crate) fn new(subject: &str, source: async_nats::Error) -> Self {
        Self { subject: subject.to_owned(), source }
    }
}

impl Live {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// # Errors
    /// When the connection is closed.
    pub async fn subscribe(&self, job_id: JobId, hear: Hear) -> Result<LiveSubscription, LiveError> {
        let what = match hear {
            Hear::All => "*",
            Hear::Events => EVENT,
        };
        let subscriber = self.listen(subjects::live(job_id, what)).await?;
        Ok(LiveSubscription { subscriber })
    }

    /// Asks whoever answers `job_id` to stop: the turn ends as cancelled. Lost where nobody works on it now, so whoever
    /// wants an answer that is not begun yet to be left out says that in the log first.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn cancel(&self, job_id: JobId) -> Result<(), LiveError> {
        self.publish(subjects::cancel(job_id), HeaderMap::new(), Bytes::new()).await
    }

    /// Hears of every job that is cancelled.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn cancellations(&self) -> Result<Cancellations, LiveError> {
        let subscriber = self.listen(subjects::CANCEL_FILTER.to_owned()).await?;
        Ok(Cancellations { subscriber })
    }

    /// Asks whoever talks in a call to hang up now. Lost where nobody does; `call.hangup_requested` stands in the log.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn hang_up(&self, call_id: CallId) -> Result<(), LiveError> {
        self.publish(subjects::live_call(call_id), HeaderMap::new(), Bytes::new()).await
    }

    /// Hears when a call is to be hung up.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn hangups(&self, call_id: CallId) -> Result<Hangups, LiveError> {
        let subscriber = self.listen(subjects::live_call(call_id)).await?;
        Ok(Hangups { subscriber })
    }

    async fn listen(&self, subject: String) -> Result<Subscriber, LiveError> {
        let subscribed = self.client.subscribe(subject.clone()).await;
        subscribed.map_err(|error| LiveError { subject, source: error.into() })
    }

    /// Passes words on. Lost when nobody listens.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn delta(&self, job_id: JobId, delta: &Delta) -> Result<(), LiveError> {
        let subject = subjects::live(job_id, DELTA);
        match serde_json::to_vec(delta) {
            Ok(payload) => self.publish(subject, HeaderMap::new(), payload.into()).await,
            Err(error) => Err(LiveError { subject, source: error.into() }),
        }
    }

    /// Tells that an event of the job now stands in the log.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn happened(&self, job_id: JobId, event: &Event, position: Position) -> Result<(), LiveError> {
        let mut headers = message::headers(event);
        headers.insert(POSITION, position.to_string());
        self.publish(subjects::live(job_id, EVENT), headers, event.payload.encode()).await
    }

    async fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), LiveError> {
        let published = self.client.publish_with_headers(subject.clone(), headers, payload).await;
        published.map_err(|error| LiveError { subject, source: error.into() })
    }
}

impl LiveSubscription {
    /// The next message; `None` when the connection was closed for good. Messages nobody can read are passed over.
    pub async fn next(&mut self) -> Option<LiveMessage> {
        loop {
            let received = self.subscriber.next().await?;
            if let Some(message) = read(&received) {
                return Some(message);
            }
        }
    }
}

impl Cancellations {
    /// The next job; `None` when the connection was closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<JobId> {
        loop {
            let received = self.subscriber.next().await?;
            if let Some(job_id) = subjects::cancelled_job(&received.subject) {
                return Some(job_id);
            }
        }
    }
}

impl Hangups {
    /// The next request; `None` when the connection was closed for good. Cancel-safe.
    pub async fn next(&mut self) -> Option<()> {
        self.subscriber.next().await.map(|_| ())
    }
}

fn read(received: &async_nats::Message) -> Option<LiveMessage> {
    if received.subject.ends_with(DELTA) {
        return serde_json::from_slice(&received.payload).ok().map(LiveMessage::Delta);
    }
    let headers = received.headers.as_ref()?;
    let (partition, sequence) = headers.get(POSITION)?.as_str().split_once(':')?;
    let position = Position { partition: partition.parse().ok()?, sequence: sequence.parse().ok()? };
    let event = message::decode(headers, &received.payload).ok()?;
    Some(LiveMessage::Happened(Box::new(Recorded { position, event })))
}
