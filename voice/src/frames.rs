//! From chunks as a carrier sends them to frames of 20 ms, numbered without a gap: a frame's number is its time.
//!
//! A chunk has any size and perhaps a time stamp. What is missing becomes silence; what comes out of order is put in its
//! place as long as that frame has not been given away; what comes twice counts once. Frames that are complete are given
//! at once, so nothing is late because of this, except for up to 60 ms after something went missing.

use std::ops::Range;

use crate::g711::MULAW_SILENCE;

/// How long a frame lasts.
pub const FRAME_MS: u32 = 20;

/// How many frames later than an incomplete one audio must reach before the missing part is given up.
const WINDOW: usize = 3;

/// Room for the window, an incomplete frame and what a piece adds.
const ROOM: usize = WINDOW + 2;

/// Longest silence that a time stamp is believed to tell of. Beyond it, the clock was set, and audio goes on as if
/// without a gap. So much is also the credit for gaps, which is spent by them and earned by audio: a stream of lies makes
/// at most this and as much silence as it brings audio.
const LONGEST_GAP_MS: u64 = 10_000;

/// A chunk that is later than this is not late: the clock was set back.
const LATEST_MS: u64 = 1_000;

/// Time stamps jitter. One that is off by less than half of the chunk, and by less than this, continues what is there.
const MOST_JITTER_MS: u64 = 10;

/// What a frame's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFormat {
    /// µ-law, 8,000 samples a second.
    Mulaw8k,
    /// 16 bits, little-endian, 16,000 samples a second.
    Pcm16k,
}

impl FrameFormat {
    #[must_use]
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Mulaw8k => 8_000,
            Self::Pcm16k => 16_000,
        }
    }

    #[must_use]
    pub const fn bytes_per_frame(self) -> usize {
        self.bytes_per_ms() as usize * FRAME_MS as usize
    }

    #[must_use]
    pub const fn bytes_per_sample(self) -> usize {
        match self {
            Self::Mulaw8k => 1,
            Self::Pcm16k => 2,
        }
    }

    /// The byte that silence is made of.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mulaw8k => MULAW_SILENCE,
            Self::Pcm16k => 0,
        }
    }

    const fn bytes_per_ms(self) -> u64 {
        match self {
            Self::Mulaw8k => 8,
            Self::Pcm16k => 32,
        }
    }
}

/// How well the chunks came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Silence in the place of what did not come in time.
    pub filled_ms: u64,
    /// Audio that came too late, or twice.
    pub late_ms: u64,
    /// How often the clock of the time stamps was set.
    pub jumps: u64,
}

/// Puts chunks together to frames. Positions are in bytes since the beginning.
pub struct Frames {
    format: FrameFormat,
    /// Number of the frame that is given next.
    next: u32,
    /// The bytes from that frame on; silence where nothing came yet.
    buffer: Vec<u8>,
    /// What came, in order, apart, and not before the next frame.
    held: Vec<Range<u64>>,
    /// What a time stamp's position is more than ours.
    clock: i128,
    /// Silence that may still be made of gaps, in bytes.
    credit: u64,
    filled: u64,
    late: u64,
    jumps: u64,
}

impl Frames {
    #[must_use]
    pub fn new(format: FrameFormat) -> Self {
        Self {
            format,
            next: 0,
            buffer: vec![format.silence(); ROOM * format.bytes_per_frame()],
            held: Vec::with_capacity(ROOM),
            clock: 0,
            credit: LONGEST_GAP_MS * format.bytes_per_ms(),
            filled: 0,
            late: 0,
            jumps: 0,
        }
    }

    /// The number of the frame that comes next: so many have been given.
    #[must_use]
    pub fn next_frame(&self) -> u32 {
        self.next
    }

    #[must_use]
    pub fn losses(&self) -> Losses {
        let ms = |bytes| bytes / self.format.bytes_per_ms();
        Losses { filled_ms: ms(self.filled), late_ms: ms(self.late), jumps: self.jumps }
    }

    /// Takes a chunk, with the time of its beginning in ms if the sender tells it, and gives every frame that is ready,
    /// with its number.
    pub fn push(&mut self, stamp_ms: Option<u64>, chunk: &[u8], mut give: impl FnMut(u32, &[u8])) {
        if chunk.is_empty() {
            return;
        }
        let mut position = match stamp_ms {
            None => self.end(),
            Some(stamp_ms) => self.position(stamp_ms, chunk.len() as u64),
        };
        self.credit -= position.saturating_sub(self.end()).min(self.credit);
        self.credit = (self.credit + chunk.len() as u64).min(LONGEST_GAP_MS * self.format.bytes_per_ms());
        // In pieces of a frame, so that the buffer has room whatever comes.
        for piece in chunk.chunks(self.format.bytes_per_frame()) {
            let end = position + piece.len() as u64;
            while end >= self.start() + (self.format.bytes_per_frame() * (WINDOW + 1)) as u64 {
                self.give(&mut give);
            }
            self.put(position, piece);
            while self.is_complete() {
                self.give(&mut give);
            }
            position = end;
        }
    }

    /// Gives what is left at the end, the last frame filled up with silence.
    pub fn finish(mut self, mut give: impl FnMut(u32, &[u8])) -> Losses {
        while !self.held.is_empty() {
            self.give(&mut give);
        }
        self.losses()
    }

    /// Where the next frame begins.
    fn start(&self) -> u64 {
        u64::from(self.next) * self.format.bytes_per_frame() as u64
    }

    /// Where the newest audio ends.
    fn end(&self) -> u64 {
        self.held.last().map_or(self.start(), |newest| newest.end)
    }

    /// Where a chunk belongs whose time stamp is this.
    fn position(&mut self, stamp_ms: u64, length: u64) -> u64 {
        let per_ms = self.format.bytes_per_ms();
        let stamp = i128::from(stamp_ms) * i128::from(per_ms);
        let (start, end) = (self.start(), self.end());
        let found = stamp - self.clock;
        let most = i128::from(end) + i128::from(self.credit);
        let least = i128::from(start) - i128::from(LATEST_MS * per_ms);
        if found < least || found > most {
            self.clock = stamp - i128::from(end);
            self.jumps += 1;
            return end;
        }
        let tolerance = (length / 2).clamp(per_ms, MOST_JITTER_MS * per_ms);
        let edges = self.held.iter().map(|held| held.end);
        // Where nothing is held, all ended with the last frame.
        let nearest = edges.min_by_key(|&edge| (i128::from(edge) - found).abs()).unwrap_or(start);
        if (i128::from(nearest) - found).abs() < i128::from(tolerance) {
            return nearest;
        }
        // What would begin before the first frame begins with it.
        u64::try_from(found).unwrap_or(0)
    }

    /// Copies a piece to its place, but for what comes too late. There is room for it.
    fn put(&mut self, position: u64, piece: &[u8]) {
        let start = self.start();
        let late = start.saturating_sub(position).min(piece.len() as u64);
        self.late += late;
        let (position, piece) = (position + late, &piece[late as usize..]);
        if piece.is_empty() {
            return;
        }
        let mut came = position..position + piece.len() as u64;
        self.buffer[(position - start) as usize..][..piece.len()].copy_from_slice(piece);
        // Becomes one with all that it touches.
        let first = self.held.partition_point(|held| held.end < came.start);
        let after = self.held.partition_point(|held| held.start <= came.end);
        for held in self.held.drain(first..after) {
            self.late += came.end.min(held.end).saturating_sub(came.start.max(held.start));
            came = came.start.min(held.start)..came.end.max(held.end);
        }
        self.held.insert(first, came);
    }

    fn is_complete(&self) -> bool {
        let end = self.start() + self.format.bytes_per_frame() as u64;
        self.held.first().is_some_and(|first| first.start <= self.start() && first.end >= end)
    }

    /// Gives the next frame as it is.
    fn give(&mut self, give: &mut impl FnMut(u32, &[u8])) {
        let length = self.format.bytes_per_frame();
        let frame = self.start()..self.start() + length as u64;
        let came: u64 = self
            .held
            .iter()
            .map(|held| held.end.min(frame.end).saturating_sub(held.start.max(frame.start)))
            .sum();
        self.filled += length as u64 - came;
        give(self.next, &self.buffer[..length]);
        self.next += 1;
        self.buffer.copy_within(length.., 0);
        let left = self.buffer.len() - length;
        self.buffer[left..].fill(self.format.silence());
        self.held.retain_mut(|held| {
            held.start = held.start.max(frame.end);
            held.start < held.end
        });
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
