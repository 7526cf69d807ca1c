//! The log: append with compare-and-set, read an aggregate.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{DirectGetError, DirectGetErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{HeaderMap, header};
use bytes::Bytes;
use events::{Aggregate, Event, Position, Recorded};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::stored::Batch;
use crate::{message, subjects};

/// What a deciding append takes for granted about its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: the event is a fact, whatever came before.
    Anything,
    /// The sequence of the aggregate's last event; 0 when there must be none.
    Last(u64),
}

/// An event was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The aggregate went on meanwhile: load it again and decide again.
    #[error("{aggregate} has changed since it was read")]
    Conflict { aggregate: Aggregate },
    #[error("the event about {aggregate} is larger than a message may be")]
    TooLarge { aggregate: Aggregate },
    /// Whether the event stands in the log is unknown; appending it again is safe, its id is recognised.
    #[error("the log did not acknowledge an event about {aggregate} in time")]
    Unavailable { aggregate: Aggregate, source: PublishError },
    #[error("cannot tell whether an event about {aggregate} was appended")]
    Unverified { aggregate: Aggregate, source: ReadError },
}

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the log did not answer a read")]
    Unavailable(#[source] async_nats::Error),
    #[error("the event at {position} cannot be read: {reason}")]
    Undecodable { position: Position, reason: String },
}

/// How long appends and reads are tried again while the server is away or changes its leader (5–8 s on a cluster).
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Events asked for at once when an aggregate is read.
pub const READ_PAGE: usize = 500;

const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// async-nats has no builder for it.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// The event streams of an installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    streams: Vec<Stream>,
    /// Counts the connections made to the server.
    connections: watch::Sender<u64>,
}

/// An append that was sent and not yet acknowledged.
pub struct PendingAppend {
    log: Log,
    message: Outgoing,
    sent: Result<PublishAckFuture, PublishError>,
}

struct Outgoing {
    aggregate: Aggregate,
    partition: u16,
    id: String,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    expect: Expect,
}

impl Log {
    pub(crate) async fn open(
        context: Context,
        partitions: u16,
        connections: watch::Sender<u64>,
    ) -> Result<Self, crate::topology::TopologyError> {
        let mut streams = Vec::with_capacity(usize::from(partitions));
        for partition in 0..partitions {
            let name = subjects::stream(partition);
            let stream = context
                .get_stream(&name)
                .await
                .map_err(|source| crate::topology::TopologyError::ReadStream { name, source })?;
            streams.push(stream);
        }
        Ok(Self { inner: Arc::new(Inner { context, streams, connections }) })
    }

    /// How many partitions the installation has.
    pub fn partitions(&self) -> u16 {
        self.inner.streams.len() as u16
    }

    pub fn partition_of(&self, aggregate: &Aggregate) -> u16 {
        subjects::partition_of(aggregate, self.partitions())
    }

    /// Ends when the connection was lost and made anew. What was open before may be dead without knowing it: a server
    /// that was restarted has forgotten pull requests and ordered consumers, and silence is noticed only after many
    /// seconds.
    pub(crate) fn reconnected(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut connections = self.inner.connections.subscribe();
        async move {
            if connections.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn stream(&self, partition: u16) -> &Stream {
        &self.inner.streams[usize::from(partition)]
    }

    /// Appends an event and answers where it stands. Safe to call again with the same event.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when `expect` does not hold; the others when the log is not to be had.
    pub async fn append(&self, event: &Event, expect: Expect) -> Result<Position, AppendError> {
        self.send(event, expect).await.acknowledged().await
    }

    /// Sends an event without waiting for its acknowledgement. Events that one task sends one after the other are
    /// stored in that order, unless the server goes away in between.
    pub async fn send(&self, event: &Event, expect: Expect) -> PendingAppend {
        let aggregate = event.envelope.aggregate;
        let partition = self.partition_of(&aggregate);
        let id = event.envelope.id.to_string();
        let mut headers = message::headers(event);
        headers.insert(header::NATS_MESSAGE_ID, id.as_str());
        if let Expect::Last(sequence) = expect {
            headers.insert(EXPECTED_SEQUENCE, sequence.to_string());
            headers.insert(EXPECTED_SUBJECT, subjects::aggregate_filter(partition, &aggregate));
        }
        let message = Outgoing {
            aggregate,
            partition,
            id,
            subject: subjects::event(partition, &aggregate, event.payload.lane()),
            headers,
            payload: event.payload.encode(),
            expect,
        };
        let sent = self.publish(&message).await;
        PendingAppend { log: self.clone(), message, sent }
    }

    async fn publish(&self, message: &Outgoing) -> Result<PublishAckFuture, PublishError> {
        let publish = jetstream::message::PublishMessage::build()
            .payload(message.payload.clone())
            .headers(message.headers.clone());
        self.inner.context.send_publish(message.subject.clone(), publish).await
    }

    /// Everything that happened to `aggregate` after sequence `after` (0: from its beginning), in order.
    ///
    /// # Errors
    /// When the log is not to be had, or holds an event that this version cannot read.
    pub async fn read(&self, aggregate: &Aggregate, after: u64) -> Result<Vec<Recorded>, ReadError> {
        let (mut read, mut more) = self.read_page(aggregate, after).await?;
        while more {
            let after = read.last().map_or(after, |recorded| recorded.position.sequence);
            let (page, still_more) = self.read_page(aggregate, after).await?;
            read.extend(page);
            more = still_more;
        }
        Ok(read)
    }

    /// The first [`READ_PAGE`] events of `aggregate` after sequence `after`, and whether there are more.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn read_page(
        &self,
        aggregate: &Aggregate,
        after: u64,
    ) -> Result<(Vec<Recorded>, bool), ReadError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read_batch(aggregate, after + 1).await {
                Ok(page) => return Ok(page),
                Err(error @ ReadError::Undecodable { .. }) => return Err(error),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// The first event of `aggregate`; `None` when nothing ever happened to it.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn first(&self, aggregate: &Aggregate) -> Result<Option<Recorded>, ReadError> {
        let partition = self.partition_of(aggregate);
        let filter = subjects::aggregate_filter(partition, aggregate);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.stream(partition).direct_get_first_for_subject(filter.as_str()).await {
                Ok(found) => {
                    let position = Position { partition, sequence: found.sequence };
                    return recorded(position, &found.headers, &found.payload).map(Some);
                }
                Err(error) if is_not_found(&error) => return Ok(None),
                Err(error) if Instant::now() > deadline => return Err(ReadError::Unavailable(error.into())),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    async fn read_batch(&self, aggregate: &Aggregate, from: u64) -> Result<(Vec<Recorded>, bool), ReadError> {
        let partition = self.partition_of(aggregate);
        let batch = Batch {
            stream: &subjects::stream(partition),
            filter: &subjects::aggregate_filter(partition, aggregate),
            from,
            most: READ_PAGE,
        };
        let (stored, more) = batch.read(&self.inner.context).await.map_err(ReadError::Unavailable)?;
        let read = stored.into_iter().map(|message| {
            let position = Position { partition, sequence: message.sequence };
            recorded(position, &message.headers, &message.payload)
        });
        Ok((read.collect::<Result<_, _>>()?, more))
    }

    /// The sequence of the newest event of `aggregate`; 0 when there is none.
    ///
    /// # Errors
    /// When the log is not to be had.
    pub async fn last_of(&self, aggregate: &Aggregate) -> Result<u64, ReadError> {
        let partition = self.partition_of(aggregate);
        self.last_sequence(partition, &subjects::aggregate_filter(partition, aggregate)).await
    }

    /// The sequence of the newest event of a partition; 0 when it is empty.
    ///
    /// # Errors
    /// When the log is not to be had.
    pub async fn last_of_partition(&self, partition: u16) -> Result<u64, ReadError> {
        self.last_sequence(partition, &subjects::partition_filter(partition)).await
    }

    async fn last_sequence(&self, partition: u16, filter: &str) -> Result<u64, ReadError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.stream(partition).direct_get_last_for_subject(filter).await {
                Ok(found) => return Ok(found.sequence),
                Err(error) if is_not_found(&error) => return Ok(0),
                Err(error) if Instant::now() > deadline => return Err(ReadError::Unavailable(error.into())),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// The event at `position`; `None` when nothing stands there (any more).
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn at(&self, position: Position) -> Result<Option<Recorded>, ReadError> {
        match self.stream(position.partition).direct_get(position.sequence).await {
            Ok(found) => recorded(position, &found.headers, &found.payload).map(Some),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(ReadError::Unavailable(error.into())),
        }
    }
}

impl PendingAppend {
    /// Waits until the event stands in the log, sending it again while the server is away.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn acknowledged(self) -> Result<Position, AppendError> {
        let Self { log, message, mut sent } = self;
        let deadline = Instant::now() + PATIENCE;
        let mut first = true;
        loop {
            let acknowledged = match sent {
                Ok(ack) => ack.into_future().await,
                Err(error) => Err(error),
            };
            let error = match acknowledged {
                Ok(ack) => return Ok(Position { partition: message.partition, sequence: ack.sequence }),
                Err(error) => error,
            };
            match error.kind() {
                // On a retry the conflict may be our own event, stored the first time.
                PublishErrorKind::WrongLastSequence if first => return Err(message.conflict()),
                PublishErrorKind::WrongLastSequence => return log.find_own(&message).await,
                PublishErrorKind::MaxPayloadExceeded => {
                    return Err(AppendError::TooLarge { aggregate: message.aggregate });
                }
                _ if Instant::now() > deadline => {
                    return Err(AppendError::Unavailable { aggregate: message.aggregate, source: error });
                }
                _ => tokio::time::sleep(RETRY_PAUSE).await,
            }
            first = false;
            sent = log.publish(&message).await;
        }
    }
}

impl Log {
    async fn find_own(&self, message: &Outgoing) -> Result<Position, AppendError> {
        let after = match message.expect {
            Expect::Last(sequence) => sequence,
            Expect::Anything => 0,
        };
        let tail = self
            .read(&message.aggregate, after)
            .await
            .map_err(|source| AppendError::Unverified { aggregate: message.aggregate, source })?;
        tail.into_iter()
            .find(|recorded| recorded.event.envelope.id.to_string() == message.id)
            .map(|recorded| recorded.position)
            .ok_or_else(|| message.conflict())
    }
}

impl Outgoing {
    fn conflict(&self) -> AppendError {
        AppendError::Conflict { aggregate: self.aggregate }
    }
}

/// What the log checked when it took the message: the sequence of the aggregate's event before it.
pub(crate) fn expected_sequence(headers: &HeaderMap) -> Option<u64> {
    headers.get(EXPECTED_SEQUENCE).and_then(|value| value.as_str().parse().ok())
}

fn recorded(position: Position, headers: &HeaderMap, payload: &Bytes) -> Result<Recorded, ReadError> {
    let event = message::decode(headers, payload)
        .map_err(|error| ReadError::Undecodable { position, reason: message::reason(&error) })?;
    Ok(Recorded { position, event })
}

fn is_not_found(error: &DirectGetError) -> bool {
    matches!(error.kind(), DirectGetErrorKind::NotFound)
}
