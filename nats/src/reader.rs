//! Reading a whole partition in order: for projections, and for whoever follows the log as it grows.

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use events::{Entry, Position, Recorded};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use crate::{Log, ReadError, message};

/// One message of a partition, as whoever looks for some types sees it.
#[derive(Clone, Debug)]
pub enum Followed {
    /// An event of one of the types.
    Found(Box<Recorded>),
    /// Something else, at this sequence.
    Passed(u64),
}

impl Followed {
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Found(recorded) => recorded.position.sequence,
            Self::Passed(sequence) => *sequence,
        }
    }
}

impl Log {
    /// Every entry of `partition` after sequence `after`, in order, and then each new one as it is appended. Never
    /// ends by itself; an error ends it, and the caller starts again after the last entry it kept.
    ///
    /// # Errors
    /// When the consumer cannot be made.
    pub async fn follow(
        &self,
        partition: u16,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Entry, ReadError>>, ReadError> {
        let read = move |message: Message| {
            let info = message.info().map_err(ReadError::Unavailable)?;
            let position = Position { partition, sequence: info.stream_sequence };
            let recorded_at = info.published;
            let empty = HeaderMap::new();
            let headers = message.headers.as_ref().unwrap_or(&empty);
            Ok(message::entry(position, recorded_at, &message.subject, headers, &message.payload))
        };
        self.messages(partition, after, read).await
    }

    /// As [`Log::follow`], but only events of these types are read: for all others their sequence is told. One of these
    /// types that cannot be read is passed over, and its reader's operator told.
    ///
    /// # Errors
    /// When the consumer cannot be made.
    pub async fn follow_types(
        &self,
        partition: u16,
        after: u64,
        types: &'static [&'static str],
    ) -> Result<BoxStream<'static, Result<Followed, ReadError>>, ReadError> {
        let read = move |message: Message| {
            let sequence = message.info().map_err(ReadError::Unavailable)?.stream_sequence;
            let headers = message.headers.as_ref();
            let event_type = headers.and_then(|headers| headers.get("ce-type"));
            let Some(headers) =
                headers.filter(|_| event_type.is_some_and(|event_type| types.contains(&event_type.as_str())))
            else {
                return Ok(Followed::Passed(sequence));
            };
            let position = Position { partition, sequence };
            Ok(match message::decode(headers, &message.payload) {
                Ok(event) => Followed::Found(Box::new(Recorded { position, event })),
                Err(error) => {
                    tracing::error!(%position, error = %message::reason(&error), "an event cannot be read");
                    Followed::Passed(sequence)
                }
            })
        };
        self.messages(partition, after, read).await
    }

    /// What `read` makes of each message of `partition` after sequence `after`.
    async fn messages<T: Send + 'static>(
        &self,
        partition: u16,
        after: u64,
        read: impl Fn(Message) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<T, ReadError>>, ReadError> {
        let reconnected = self.reconnected();
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: after + 1 };
        let config = pull::OrderedConfig { deliver_policy, ..Default::default() };
        let consumer = self
            .stream(partition)
            .create_consumer(config)
            .await
            .map_err(|error| ReadError::Unavailable(error.into()))?;
        let messages = consumer.messages().await.map_err(|error| ReadError::Unavailable(error.into()))?;
        let entries = messages
            .map_err(|error| ReadError::Unavailable(error.into()))
            .map(move |received| received.and_then(&read));
        let broken =
            stream::once(async { Err(ReadError::Unavailable("the connection was made anew".into())) });
        Ok(entries.take_until(reconnected).chain(broken).boxed())
    }
}
