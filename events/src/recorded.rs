//! An event together with the place it has in the log.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Event;

/// Where an event stands. Sequences order events within a partition; partitions are not ordered among each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// 0-based number of the stream `EVENTS_<partition>`.
    pub partition: u16,
    /// 1-based sequence in that stream.
    pub sequence: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.sequence)
    }
}

/// An event as it was read back from the log.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub position: Position,
    pub event: Event,
}

/// One entry of the log exactly as it is stored, readable or not: what projections and the archive are given.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: Position,
    /// When the log stored it (the server's clock).
    pub recorded_at: DateTime<Utc>,
    pub subject: String,
    /// The stored headers, one `name: value` a line, sorted by name.
    pub raw_headers: String,
    pub raw_payload: Bytes,
    /// The event, or why it cannot be read by this version of the program.
    pub event: Result<Event, String>,
}
