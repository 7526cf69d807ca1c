//! What was said in calls: one stream, one subject per call, one message per segment of a few seconds. Nothing is ever
//! held whole in memory, and what is stored here is ciphertext; the bytes are the caller's business.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::{HeaderMap, header};
use bytes::Bytes;
use events::{CallId, TenantId};
use tokio::time::Instant;

use crate::stored::{Batch, Stored, number};
use crate::subjects;
use crate::topology::{RECORDINGS_STREAM, TopologyError};

/// A few seconds of a call, stereo: left the caller, right the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// From 0; written again, it stands once.
    pub index: u32,
    /// Where in the call it begins.
    pub offset_ms: u64,
    /// Sealed.
    pub data: Bytes,
}

/// Some segments of a recording, in the order they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub segments: Vec<Segment>,
    /// What to read after next; `None`: that was all.
    pub next: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("the recording of call {call_id} cannot be read or written")]
pub struct RecordingError {
    call_id: CallId,
    source: async_nats::Error,
}

/// Segments in one page: a few megabytes at most.
pub const PAGE: usize = 16;
/// How long writing is tried again while the server is away or changes its leader.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const INDEX: &str = "Vocalbridge-Segment";
const OFFSET_MS: &str = "Vocalbridge-Offset-Ms";

/// All recordings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recordings {
    context: Context,
    stream: Stream,
}

impl Recordings {
    pub(crate) async fn open(context: Context) -> Result<Self, TopologyError> {
        let read = context.get_stream(RECORDINGS_STREAM).await;
        let stream =
            read.map_err(|source| TopologyError::ReadStream { name: RECORDINGS_STREAM.to_owned(), source })?;
        Ok(Self { context, stream })
    }

    /// Writes a segment. Safe to call again: within ten minutes a segment is known by its call and index.
    ///
    /// # Errors
    /// When the server is away for longer than it may, or the segment is larger than a message may be.
    pub async fn append(
        &self,
        tenant_id: TenantId,
        call_id: CallId,
        segment: &Segment,
    ) -> Result<(), RecordingError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, format!("{call_id}-{}", segment.index));
        headers.insert(INDEX, segment.index.to_string());
        headers.insert(OFFSET_MS, segment.offset_ms.to_string());
        let subject = subjects::recording(tenant_id, call_id);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sent =
                self.context.publish_with_headers(subject.clone(), headers.clone(), segment.data.clone());
            let acknowledged = match sent.await {
                Ok(acknowledgement) => acknowledgement.await,
                Err(error) => Err(error),
            };
            match acknowledged {
                Ok(_) => return Ok(()),
                Err(error)
                    if error.kind() == PublishErrorKind::MaxPayloadExceeded || Instant::now() > deadline =>
                {
                    return Err(RecordingError { call_id, source: error.into() });
                }
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// The segment that was written last, and its sequence; `None`: there is no recording.
    ///
    /// # Errors
    /// As [`Recordings::read`].
    pub async fn last(
        &self,
        tenant_id: TenantId,
        call_id: CallId,
    ) -> Result<Option<(u64, Segment)>, RecordingError> {
        let failed = |source| RecordingError { call_id, source };
        let subject = subjects::recording(tenant_id, call_id);
        let last = match self.stream.direct_get_last_for_subject(subject).await {
            Ok(last) => last,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let sequence = last.sequence;
        let stored = Stored { sequence, headers: last.headers, payload: last.payload };
        Ok(Some((sequence, segment(stored).map_err(failed)?)))
    }

    /// What to read after so that segment `index` comes first, or where it is missing the next one. Segments must have
    /// been written in their order, up to the one with the sequence `last`: the place is found by halving, in as many
    /// requests as `last` has binary digits at most.
    ///
    /// # Errors
    /// As [`Recordings::read`].
    pub async fn place_of(
        &self,
        tenant_id: TenantId,
        call_id: CallId,
        index: u32,
        last: u64,
    ) -> Result<u64, RecordingError> {
        let Some((first, _)) = self.next(tenant_id, call_id, 1).await?.filter(|(_, found)| *found < index)
        else {
            return Ok(0);
        };
        // Segments up to `before` come before it, those after `behind` behind it.
        let (mut before, mut behind) = (first, last);
        while before < behind {
            let middle = before + (behind - before) / 2;
            match self.next(tenant_id, call_id, middle + 1).await? {
                Some((sequence, found)) if found < index => before = sequence,
                _ => behind = middle,
            }
        }
        Ok(before)
    }

    /// Sequence and index of the first segment that has at least this sequence.
    async fn next(
        &self,
        tenant_id: TenantId,
        call_id: CallId,
        from: u64,
    ) -> Result<Option<(u64, u32)>, RecordingError> {
        let filter = &subjects::recording(tenant_id, call_id);
        let batch = Batch { stream: RECORDINGS_STREAM, filter, from, most: 1 };
        let failed = |source| RecordingError { call_id, source };
        let (stored, _) = batch.read(&self.context).await.map_err(failed)?;
        let Some(stored) = stored.into_iter().next() else { return Ok(None) };
        let sequence = stored.sequence;
        Ok(Some((sequence, segment(stored).map_err(failed)?.index)))
    }

    /// The first [`PAGE`] segments after `after`: 0, the `next` of the page before, or a place that was looked for.
    ///
    /// # Errors
    /// When the server does not answer, or the stream holds what is no segment.
    pub async fn read(
        &self,
        tenant_id: TenantId,
        call_id: CallId,
        after: u64,
    ) -> Result<Page, RecordingError> {
        let batch = Batch {
            stream: RECORDINGS_STREAM,
            filter: &subjects::recording(tenant_id, call_id),
            from: after + 1,
            most: PAGE,
        };
        let failed = |source| RecordingError { call_id, source };
        let (stored, more) = batch.read(&self.context).await.map_err(failed)?;
        let next = stored.last().map(|last| last.sequence).filter(|_| more);
        let segments = stored.into_iter().map(segment).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Page { segments, next })
    }

    /// Takes all segments of a call away.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&self, tenant_id: TenantId, call_id: CallId) -> Result<(), RecordingError> {
        let purged = self.stream.purge().filter(subjects::recording(tenant_id, call_id)).await;
        purged.map(|_| ()).map_err(|error| RecordingError { call_id, source: error.into() })
    }
}

fn segment(stored: Stored) -> Result<Segment, async_nats::Error> {
    let Stored { headers, payload, sequence } = stored;
    let unknown = || format!("message {sequence} of {RECORDINGS_STREAM} is no segment");
    headers.get(INDEX).ok_or_else(unknown)?;
    let index = u32::try_from(number(&headers, INDEX))?;
    Ok(Segment { index, offset_ms: number(&headers, OFFSET_MS), data: payload })
}
