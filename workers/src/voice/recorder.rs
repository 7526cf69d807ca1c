//! What caller and agent said, in stereo, segment by segment into storage: nothing is held whole.
//!
//! The agent's side is what the socket says was played. When a worker dies, the caller's side loses nothing, for the
//! socket keeps what is not stored; of the agent's side the last seconds are missing.

use bytes::Bytes;
use events::call::CallAudio;
use nats::Failure;
use nats::media::AudioFormat;
use nats::recordings::Segment;
use voice::frames::FrameFormat;
use voice::recording::{SEGMENT_FRAMES, Side, StereoWriter};

use super::claimed::Claimed;
use crate::{Workers, away};

/// The agent's frames follow each other unless they are later than this behind the caller's time: then there was a pause.
const PAUSE_FRAMES: u32 = 15;

/// Writes the recording of one call.
pub(super) struct Recorder {
    format: AudioFormat,
    writer: Option<StereoWriter<Bytes>>,
    /// Where the agent's next frame is, if it follows the last one.
    agent_frame: u32,
    stored_through: u32,
    segments: Vec<voice::recording::Segment>,
}

impl Recorder {
    /// Goes on with frame `first_frame`.
    pub(super) fn new(format: AudioFormat, first_frame: u32) -> Self {
        let index = first_frame / SEGMENT_FRAMES;
        Self {
            format,
            writer: Some(StereoWriter::resume(frame_format(format), index)),
            agent_frame: first_frame,
            stored_through: index * SEGMENT_FRAMES,
            segments: Vec::new(),
        }
    }

    /// Frames before this one are stored.
    pub(super) fn stored_through(&self) -> u32 {
        self.stored_through
    }

    /// Answers whether there is something to store.
    pub(super) fn caller(&mut self, frame: u32, data: Bytes) -> bool {
        self.write(Side::Caller, frame, data);
        !self.segments.is_empty()
    }

    /// What was played of the agent's voice, just before the caller's frame `now`.
    pub(super) fn agent(&mut self, now: u32, audio: Vec<Bytes>) {
        let bytes = self.format.bytes_per_frame();
        let frames = audio.iter().map(|audio| audio.len() / bytes).sum::<usize>() as u32;
        let began = now.saturating_sub(frames);
        if began > self.agent_frame + PAUSE_FRAMES {
            self.agent_frame = began;
        }
        for mut audio in audio {
            while audio.len() >= bytes {
                self.write(Side::Agent, self.agent_frame, audio.split_to(bytes));
                self.agent_frame += 1;
            }
        }
    }

    fn write(&mut self, side: Side, frame: u32, data: Bytes) {
        let segments = &mut self.segments;
        if let Some(writer) = &mut self.writer {
            writer.push(side, frame, data, |segment| segments.push(segment));
        }
    }

    /// Stores the segments that are whole.
    pub(super) async fn store(&mut self, workers: &Workers, claimed: &Claimed) -> Result<(), Failure> {
        for segment in self.segments.drain(..) {
            let (tenant_id, call_id) = (claimed.tenant_id(), claimed.call_id);
            let mut plain = Vec::with_capacity(segment.data.len() + 1);
            plain.push(call_audio(self.format).code());
            plain.extend_from_slice(&segment.data);
            let place = call_id.recorded_segment(segment.index);
            let key_id = claimed.started.customer_key_id.0;
            let sealed = workers.keyring.seal_bytes(tenant_id, key_id, place, &plain).await.map_err(away)?;
            let stored = Segment { index: segment.index, offset_ms: segment.offset_ms, data: sealed.into() };
            workers.nats.recordings.append(tenant_id, call_id, &stored).await.map_err(away)?;
            self.stored_through = (segment.index + 1) * SEGMENT_FRAMES;
        }
        Ok(())
    }

    /// Stores what is left at the end of the call.
    pub(super) async fn finish(&mut self, workers: &Workers, claimed: &Claimed) -> Result<(), Failure> {
        if let Some(writer) = self.writer.take() {
            let segments = &mut self.segments;
            writer.finish(|segment| segments.push(segment));
        }
        self.store(workers, claimed).await
    }
}

pub(super) fn call_audio(format: AudioFormat) -> CallAudio {
    match format {
        AudioFormat::Mulaw8k => CallAudio::Mulaw8k,
        AudioFormat::Pcm16k => CallAudio::Pcm16k,
    }
}

fn frame_format(format: AudioFormat) -> FrameFormat {
    match format {
        AudioFormat::Mulaw8k => FrameFormat::Mulaw8k,
        AudioFormat::Pcm16k => FrameFormat::Pcm16k,
    }
}
