//! A log in memory.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use events::{Entry, Event, Position, headers_of};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use projections::{Entries, EntrySource, SourceError};
use tokio::sync::watch;

/// One or more partitions; clones share their entries.
#[derive(Clone)]
pub struct MemoryLog {
    partitions: Vec<Arc<Partition>>,
}

struct Partition {
    entries: Mutex<Vec<Entry>>,
    length: watch::Sender<usize>,
}

impl MemoryLog {
    pub fn new(partitions: u16) -> Self {
        let partition = |_| Arc::new(Partition { entries: Mutex::default(), length: watch::Sender::new(0) });
        Self { partitions: (0..partitions).map(partition).collect() }
    }

    pub fn append(&self, partition: u16, event: &Event) -> Position {
        let payload = event.payload.encode();
        let mut headers = headers_of(event);
        headers.sort();
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        self.store(partition, event.envelope.time, headers.join("\n"), payload, Ok(event.clone()))
    }

    pub fn append_all<'a>(&self, partition: u16, events: impl IntoIterator<Item = &'a Event>) -> Position {
        events.into_iter().map(|event| self.append(partition, event)).last().unwrap()
    }

    pub fn append_undecodable(
        &self,
        partition: u16,
        time: DateTime<Utc>,
        payload: &'static [u8],
    ) -> Position {
        self.store(
            partition,
            time,
            "ce-type: what.is.this".to_owned(),
            payload.into(),
            Err("unknown type".to_owned()),
        )
    }

    pub fn events(&self, partition: u16) -> Vec<Event> {
        let entries = self.partitions[usize::from(partition)].entries.lock().unwrap();
        entries.iter().filter_map(|entry| entry.event.clone().ok()).collect()
    }

    fn store(
        &self,
        partition: u16,
        recorded_at: DateTime<Utc>,
        raw_headers: String,
        raw_payload: bytes::Bytes,
        event: Result<Event, String>,
    ) -> Position {
        let to = &self.partitions[usize::from(partition)];
        let mut entries = to.entries.lock().unwrap();
        let position = Position { partition, sequence: entries.len() as u64 + 1 };
        let subject = format!("evt.{partition:02}.test");
        entries.push(Entry { position, recorded_at, subject, raw_headers, raw_payload, event });
        to.length.send_replace(entries.len());
        position
    }
}

impl EntrySource for MemoryLog {
    fn partitions(&self) -> u16 {
        self.partitions.len() as u16
    }

    fn follow(&self, partition: u16, after: u64) -> BoxFuture<'_, Result<Entries, SourceError>> {
        let from = Arc::clone(&self.partitions[usize::from(partition)]);
        let length = from.length.subscribe();
        let chunks = stream::unfold((from, length, after as usize), |(from, mut length, at)| async move {
            length.wait_for(|length| *length > at).await.ok()?;
            let chunk: Vec<Entry> = from.entries.lock().unwrap().iter().skip(at).take(256).cloned().collect();
            let at = at + chunk.len();
            Some((stream::iter(chunk.into_iter().map(Ok)), (from, length, at)))
        });
        async move { Ok(chunks.flatten().boxed()) }.boxed()
    }

    fn last_sequence(&self, partition: u16) -> BoxFuture<'_, Result<u64, SourceError>> {
        let length = self.partitions[usize::from(partition)].entries.lock().unwrap().len();
        async move { Ok(length as u64) }.boxed()
    }
}
