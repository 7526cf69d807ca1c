//! Where projections read the log from. The log itself is in `nats/`, which this crate does not know.

use events::Entry;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// The log could not be read; reading again after the last entry that was kept may help.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Entries of one partition, in order.
pub type Entries = BoxStream<'static, Result<Entry, SourceError>>;

/// A log to read: the real one, or one in memory for tests and measurements.
pub trait EntrySource: Send + Sync {
    /// How many partitions there are, numbered from 0.
    fn partitions(&self) -> u16;

    /// Every entry of `partition` after sequence `after`, in order and without a gap, and then each new one as it is
    /// appended. It does not end by itself; an error ends it.
    fn follow(&self, partition: u16, after: u64) -> BoxFuture<'_, Result<Entries, SourceError>>;

    /// The sequence of the partition's last entry; 0 when it has none.
    fn last_sequence(&self, partition: u16) -> BoxFuture<'_, Result<u64, SourceError>>;
}
