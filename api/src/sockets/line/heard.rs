//! What the caller says: cut into frames of 20 ms, numbered, and kept until a worker has committed it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nats::media::{AudioFormat, FRAME_MS};
use voice::frames::{FrameFormat, Frames};

use crate::sockets::limits::SocketLimits;
use crate::sockets::refusal::Refusal;

pub(super) struct Heard {
    format: AudioFormat,
    frames: Frames,
    /// The number of the first frame: a call goes on counting when it comes back with a new socket.
    first: u32,
    most_kept: usize,
    /// The newest frames that nobody committed; the last one has the number before `next`.
    kept: VecDeque<Bytes>,
    flood: Bucket,
}

impl Heard {
    pub(super) fn new(format: AudioFormat, limits: &SocketLimits, first: u32) -> Self {
        let frames = Frames::new(match format {
            AudioFormat::Mulaw8k => FrameFormat::Mulaw8k,
            AudioFormat::Pcm16k => FrameFormat::Pcm16k,
        });
        Self {
            format,
            frames,
            first,
            most_kept: limits.kept.as_millis() as usize / FRAME_MS as usize,
            kept: VecDeque::new(),
            flood: Bucket::new(limits.audio_burst.as_millis() as u64, u64::from(limits.audio_pace) * 1_000),
        }
    }

    /// The number of the next frame.
    pub(super) fn next(&self) -> u32 {
        self.first + self.frames.next_frame()
    }

    pub(super) fn first_kept(&self) -> u32 {
        self.next() - self.kept.len() as u32
    }

    /// All kept frames from number `from` on, with their numbers.
    pub(super) fn kept_from(&self, from: u32) -> impl Iterator<Item = (u32, Bytes)> {
        let first = self.first_kept();
        let skipped = from.saturating_sub(first);
        (first + skipped..).zip(self.kept.iter().skip(skipped as usize).cloned())
    }

    /// Frames before this one need not be kept.
    pub(super) fn commit(&mut self, through: u32) {
        let done = through.saturating_sub(self.first_kept()) as usize;
        self.kept.drain(..done.min(self.kept.len()));
        // A long utterance must not leave its room behind for the rest of the call.
        if self.kept.is_empty() && self.kept.capacity() > SMALL {
            self.kept.shrink_to(SMALL);
        }
    }

    /// Takes a chunk of any length. `at_ms`: when it was spoken, in the carrier's time; where some of that is missing,
    /// silence stands for it.
    pub(super) fn take(&mut self, now: Duration, chunk: &[u8], at_ms: Option<u64>) -> Result<(), Refusal> {
        self.flood.fill(now, self.format.duration_ms(chunk.len()), Refusal::TooMuchAudio)?;
        let (kept, most_kept) = (&mut self.kept, self.most_kept);
        self.frames.push(at_ms, chunk, |_, frame| {
            if kept.len() >= most_kept {
                kept.pop_front();
            }
            kept.push_back(Bytes::copy_from_slice(frame));
        });
        Ok(())
    }
}

/// Frames for which there is always room.
const SMALL: usize = 64;

/// Something that may come in bursts and has a pace on the long run.
pub(in crate::sockets) struct Bucket {
    capacity: u64,
    per_second: u64,
    /// In thousandths.
    level: u64,
    at: Duration,
}

impl Bucket {
    pub(in crate::sockets) fn new(capacity: u64, per_second: u64) -> Self {
        Self { capacity: capacity * 1_000, per_second, level: 0, at: Duration::ZERO }
    }

    /// # Errors
    /// `refusal` when it was too much.
    pub(in crate::sockets) fn fill(
        &mut self,
        now: Duration,
        amount: u64,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let passed_ms = now.saturating_sub(self.at).as_millis() as u64;
        self.at = self.at.max(now);
        self.level = self.level.saturating_sub(passed_ms.saturating_mul(self.per_second));
        self.level = self.level.saturating_add(amount.saturating_mul(1_000));
        if self.level > self.capacity { Err(refusal) } else { Ok(()) }
    }
}
