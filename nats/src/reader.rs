//! Reading a whole partition in order: for projections, and for whoever follows the log as it grows.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use events::{Entry, Position};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use crate::{Log, ReadError, message};

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
        let reconnected = self.reconnected();
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: after + 1 };
        let config = pull::OrderedConfig { deliver_policy, ..Default::default() };
        let consumer = self
            .stream(partition)
            .create_consumer(config)
            .await
            .map_err(|error| ReadError::Unavailable(error.into()))?;
        let messages = consumer.messages().await.map_err(|error| ReadError::Unavailable(error.into()))?;
        let entries = messages.map_err(|error| ReadError::Unavailable(error.into())).map(move |received| {
            let received = received?;
            let info = received.info().map_err(ReadError::Unavailable)?;
            let position = Position { partition, sequence: info.stream_sequence };
            let recorded_at = info.published;
            let empty = async_nats::HeaderMap::new();
            let headers = received.headers.as_ref().unwrap_or(&empty);
            Ok(message::entry(position, recorded_at, &received.subject, headers, &received.payload))
        });
        let broken =
            stream::once(async { Err(ReadError::Unavailable("the connection was made anew".into())) });
        Ok(entries.take_until(reconnected).chain(broken).boxed())
    }
}
