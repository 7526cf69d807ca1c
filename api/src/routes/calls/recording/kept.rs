//! A recording as it is kept, sealed segment by segment, on its way to whoever listens. No more than a page of segments
//! is in memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use events::call::CallAudio;
use events::{CallId, TenantId};
use futures_util::stream::{Stream, TryStreamExt, try_unfold};
use nats::recordings::{RecordingError, Segment};
use projections::keyring::KeyringError;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;
use voice::frames::FrameFormat;
use voice::mix;
use voice::mp3::{Encoder, UnsupportedRate};
use voice::wav::{self, Part, WavFile};

use crate::App;
use crate::problem::{Code, Problem};

/// The recording of one call, as far as it was written when it was asked for.
pub(super) struct Recording {
    app: App,
    tenant_id: TenantId,
    call_id: CallId,
    key_id: Uuid,
    format: FrameFormat,
    file: WavFile,
    last_index: u32,
    last_sequence: u64,
    /// Segments that were read and not wanted yet.
    page: VecDeque<Segment>,
    reading: Reading,
    _place: OwnedSemaphorePermit,
}

/// Where the page after this one is.
enum Reading {
    /// It must be looked for.
    NotBegun,
    After(u64),
    Over,
}

impl Recording {
    pub(super) async fn of(
        app: &App,
        tenant_id: TenantId,
        call_id: CallId,
        key_id: Uuid,
    ) -> Result<Self, Problem> {
        let last = app.nats.recordings.last(tenant_id, call_id).await.map_err(away)?;
        let none = || Problem::new(Code::RecordingNotFound, "nothing was recorded");
        let (last_sequence, last) = last.ok_or_else(none)?;
        let last_index = last.index;
        let (format, audio) = opened(app, tenant_id, call_id, key_id, last).await?;
        Ok(Self {
            app: app.clone(),
            tenant_id,
            call_id,
            key_id,
            format,
            file: WavFile::new(format, last_index, audio.len()),
            last_index,
            last_sequence,
            page: VecDeque::new(),
            reading: Reading::NotBegun,
            _place: app.place_to_download()?,
        })
    }

    /// Another one when something was added.
    pub(super) fn version(&self) -> u64 {
        self.last_sequence
    }

    pub(super) fn wav_bytes(&self) -> u64 {
        self.file.length()
    }

    /// A range of the WAV file.
    pub(super) fn wav(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let (file, call_id) = (self.file, self.call_id);
        let sent = try_unfold((self, file.parts(range)), move |(mut recording, mut parts)| async move {
            let bytes = match parts.next() {
                None => return Ok(None),
                Some(Part::Header(bytes)) => Bytes::copy_from_slice(&file.header()[bytes]),
                Some(Part::Segment { index, bytes }) => {
                    Bytes::from(recording.samples(index).await?).slice(bytes)
                }
            };
            Ok(Some((bytes, (recording, parts))))
        });
        sent.map_err(move |problem| breaks_off(call_id, &problem))
    }

    /// All of it as MP3, both voices in one channel.
    pub(super) fn mp3(self) -> Result<impl Stream<Item = io::Result<Bytes>> + Send, UnsupportedRate> {
        let (last_index, call_id) = (self.last_index, self.call_id);
        let encoder = Encoder::new(self.format.sample_rate_hz())?;
        let sent = try_unfold((self, Some(encoder), 0), move |(mut recording, encoder, index)| async move {
            let Some(mut encoder) = encoder else { return Ok(None) };
            let samples = recording.samples(index).await?;
            // Some milliseconds of work, in which nothing else should have to wait.
            let encoding = recording.app.tasks.spawn_blocking(move || {
                let mut mp3 = Vec::new();
                encoder.encode(&both(&samples), &mut mp3);
                if index < last_index {
                    return (Some(encoder), mp3);
                }
                encoder.finish(&mut mp3);
                (None, mp3)
            });
            let (encoder, mp3) = encoding.await.map_err(|error| Problem::internal(&error))?;
            Ok(Some((Bytes::from(mp3), (recording, encoder, index + 1))))
        });
        Ok(sent.map_err(move |problem| breaks_off(call_id, &problem)))
    }

    /// The samples of a segment as they are in the WAV file; of one that is missing, or short, silence.
    async fn samples(&mut self, index: u32) -> Result<Vec<u8>, Problem> {
        let mut samples = match self.segment(index).await.map_err(away)? {
            None => Vec::new(),
            Some(segment) => {
                let opened = opened(&self.app, self.tenant_id, self.call_id, self.key_id, segment);
                let (format, audio) = opened.await?;
                wav::segment_pcm(format, audio)
            }
        };
        samples.resize(self.file.segment_bytes(index), 0);
        Ok(samples)
    }

    /// The segment with this index, which is above those that were asked for before.
    async fn segment(&mut self, index: u32) -> Result<Option<Segment>, RecordingError> {
        let recordings = &self.app.nats.recordings;
        loop {
            while let Some(segment) = self.page.pop_front() {
                if segment.index == index {
                    return Ok(Some(segment));
                }
                if segment.index > index {
                    self.page.push_front(segment);
                    return Ok(None);
                }
            }
            let after = match self.reading {
                Reading::NotBegun => {
                    let (tenant_id, call_id) = (self.tenant_id, self.call_id);
                    recordings.place_of(tenant_id, call_id, index, self.last_sequence).await?
                }
                Reading::After(after) => after,
                Reading::Over => return Ok(None),
            };
            let page = recordings.read(self.tenant_id, self.call_id, after).await?;
            self.page = page.segments.into();
            self.reading = page.next.map_or(Reading::Over, Reading::After);
        }
    }
}

/// A segment's audio, interleaved, and what it is.
async fn opened(
    app: &App,
    tenant_id: TenantId,
    call_id: CallId,
    key_id: Uuid,
    segment: Segment,
) -> Result<(FrameFormat, Vec<u8>), Problem> {
    let place = call_id.recorded_segment(segment.index);
    let opened = app.keyring.open_bytes(tenant_id, key_id, place, &segment.data).await?;
    let erased = || Problem::new(Code::RecordingErased, "nobody can listen to it any more");
    let mut audio = opened.ok_or_else(erased)?;
    let format = match audio.first().copied().and_then(CallAudio::of_code) {
        Some(CallAudio::Mulaw8k) => FrameFormat::Mulaw8k,
        Some(CallAudio::Pcm16k) => FrameFormat::Pcm16k,
        None => return Err(KeyringError::Corrupt { key_id }.into()),
    };
    audio.remove(0);
    Ok((format, audio))
}

/// Caller and agent at once, each as loud as alone.
fn both(samples: &[u8]) -> Vec<i16> {
    let sample = |bytes: &[u8]| i16::from_le_bytes([bytes[0], bytes[1]]);
    let sets = samples.chunks_exact(4).map(|set| (sample(&set[..2]), sample(&set[2..])));
    let (mut sound, agent): (Vec<i16>, Vec<i16>) = sets.unzip();
    mix::add(&mut sound, &agent);
    sound
}

fn away(error: RecordingError) -> Problem {
    Problem::unavailable(&error)
}

/// The status was sent long ago; the client sees that the answer is not whole, and may ask for the rest.
fn breaks_off(call_id: CallId, problem: &Problem) -> io::Error {
    let (code, cause) = (problem.code().name(), problem.cause());
    tracing::error!(%call_id, code, cause, "a recording broke off on its way");
    io::Error::other("the recording breaks off")
}
