//! The log as projections want to read it: joins `nats`, which knows no tables, and `projections`, which knows no NATS.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use nats::Log;
use projections::{Entries, EntrySource, SourceError};

pub struct LogSource(pub Log);

impl EntrySource for LogSource {
    fn partitions(&self) -> u16 {
        self.0.partitions()
    }

    fn follow(&self, partition: u16, after: u64) -> BoxFuture<'_, Result<Entries, SourceError>> {
        async move {
            let entries = self.0.follow(partition, after).await?;
            Ok(entries.map(|entry| entry.map_err(SourceError::from)).boxed())
        }
        .boxed()
    }

    fn last_sequence(&self, partition: u16) -> BoxFuture<'_, Result<u64, SourceError>> {
        async move { Ok(self.0.last_of_partition(partition).await?) }.boxed()
    }
}
