//! What the agent says: queued, paced out in real time, and accounted for.
//!
//! How much was heard is known from marks that came back, and between them from the clock: what was sent is played one
//! after the other, as late as the last mark was late.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use events::JobId;
use nats::media::{AudioFormat, Playback, PlayedPiece};

use crate::sockets::limits::SocketLimits;

/// A place in a stretch of speech, as it travels to a carrier and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub generation: u32,
    /// Bytes of the generation before it.
    pub position: u64,
}

/// What goes to the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Audio(Bytes),
    Mark(Mark),
}

/// A mark that comes back later than this says nothing of how late audio is played.
const MOST_LAG: Duration = Duration::from_secs(2);

/// The newest generation.
pub(super) struct Speech {
    pub(super) generation: u32,
    job_id: JobId,
    queue: VecDeque<Bytes>,
    /// All in bytes: received, handed over, surely played.
    queued: u64,
    sent: u64,
    played: u64,
    cleared: bool,
    finished: bool,
    pieces: Vec<Piece>,
    /// Marks that are to be sent when `sent` has come so far.
    due_marks: VecDeque<u64>,
    /// Marks under way, and when what is before them should have been played.
    marks: VecDeque<(u64, Duration)>,
}

struct Piece {
    text: String,
    through: u64,
    complete: bool,
}

/// How far ahead of the ear the other side is.
pub(super) struct Pace {
    format: AudioFormat,
    lead: Duration,
    chunk: Duration,
    most_queued: u64,
    /// When all that was handed over will have been played, if it is played at once.
    until: Duration,
    /// How much later it is really played.
    lag: Duration,
}

impl Pace {
    pub(super) fn new(format: AudioFormat, limits: &SocketLimits) -> Self {
        let per_second = u64::from(1_000 / nats::media::FRAME_MS) * format.bytes_per_frame() as u64;
        Self {
            format,
            lead: limits.lead,
            chunk: limits.chunk.min(limits.lead),
            most_queued: limits.queued.as_secs() * per_second,
            until: Duration::ZERO,
            lag: Duration::ZERO,
        }
    }

    fn bytes(&self, time: Duration) -> u64 {
        let frames = time.as_micros() as u64 / (u64::from(nats::media::FRAME_MS) * 1_000);
        frames * self.format.bytes_per_frame() as u64
    }

    fn time(&self, bytes: u64) -> Duration {
        let micros_per_frame = u64::from(nats::media::FRAME_MS) * 1_000;
        Duration::from_micros(bytes * micros_per_frame / self.format.bytes_per_frame() as u64)
    }

    /// What was handed over and is not played yet, rounded up to whole frames.
    fn unplayed(&self, now: Duration) -> u64 {
        let ahead = (self.until + self.lag).saturating_sub(now);
        let frame = u64::from(nats::media::FRAME_MS) * 1_000;
        (ahead.as_micros() as u64).div_ceil(frame) * self.format.bytes_per_frame() as u64
    }

    pub(super) fn ms(&self, bytes: u64) -> u32 {
        u32::try_from(self.format.duration_ms(bytes as usize)).unwrap_or(u32::MAX)
    }
}

impl Speech {
    pub(super) fn new(generation: u32, job_id: JobId) -> Self {
        Self {
            generation,
            job_id,
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            played: 0,
            cleared: false,
            finished: false,
            pieces: Vec::new(),
            due_marks: VecDeque::new(),
            marks: VecDeque::new(),
        }
    }

    /// Whether more may be said in it.
    pub(super) fn is_open(&self) -> bool {
        !self.cleared && !self.finished
    }

    pub(super) fn begin_piece(&mut self, text: String) {
        self.pieces.push(Piece { text, through: self.queued, complete: false });
    }

    /// `false`: there is no room for it.
    pub(super) fn take(&mut self, pace: &Pace, audio: Bytes) -> bool {
        let waiting = self.queued - self.sent;
        if waiting + audio.len() as u64 > pace.most_queued {
            return false;
        }
        self.queued += audio.len() as u64;
        if let Some(piece) = self.pieces.last_mut() {
            piece.through = self.queued;
        }
        if !audio.is_empty() {
            self.queue.push_back(audio);
        }
        true
    }

    pub(super) fn end_piece(&mut self) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.complete = true;
        }
        self.mark_here();
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
        self.mark_here();
    }

    fn mark_here(&mut self) {
        let is_marked = self.due_marks.back() == Some(&self.queued)
            || self.marks.back().is_some_and(|(position, _)| *position == self.queued);
        if !is_marked && self.queued > 0 {
            self.due_marks.push_back(self.queued);
        }
    }

    /// Says no more. Answers how much was heard, in bytes; the same whenever it is asked again.
    pub(super) fn clear(&mut self, now: Duration, pace: &mut Pace) -> u64 {
        if !self.cleared {
            self.look(now, pace);
            self.cleared = true;
            self.queue = VecDeque::new();
            self.due_marks.clear();
            self.marks.clear();
            pace.until = now;
        }
        self.played
    }

    /// A mark came back. One that returned because of `clear` proves nothing, nor does one that was never sent.
    pub(super) fn mark_returned(&mut self, now: Duration, pace: &mut Pace, position: u64) {
        let is_under_way = self.marks.iter().any(|(sent, _)| *sent == position);
        if self.cleared || !is_under_way {
            return;
        }
        while let Some((sent, expected)) = self.marks.pop_front() {
            if sent == position {
                pace.lag = now.saturating_sub(expected).min(MOST_LAG);
                break;
            }
        }
        self.played = self.played.max(position);
    }

    /// Takes what is due out of the queue.
    pub(super) fn send(&mut self, now: Duration, pace: &mut Pace, mut out: impl FnMut(Sent)) {
        loop {
            while let Some(position) = self.due_marks.front().copied().filter(|due| *due <= self.sent) {
                self.due_marks.pop_front();
                self.marks.push_back((position, pace.until.max(now)));
                out(Sent::Mark(Mark { generation: self.generation, position }));
            }
            let Some(next) = self.queue.front_mut() else { return };
            let room = pace.lead.saturating_sub(pace.until.saturating_sub(now));
            if room < pace.chunk {
                return;
            }
            let to_mark = self.due_marks.front().map_or(u64::MAX, |mark| mark - self.sent);
            let length = pace.bytes(room).min(to_mark).min(next.len() as u64);
            let audio = next.split_to(length as usize);
            if next.is_empty() {
                self.queue.pop_front();
            }
            self.sent += length;
            pace.until = pace.until.max(now) + pace.time(length);
            out(Sent::Audio(audio));
        }
    }

    /// When there is more to send; `None`: there is nothing to be sent.
    pub(super) fn next_send(&self, pace: &Pace) -> Option<Duration> {
        (!self.queue.is_empty()).then(|| (pace.until + pace.chunk).saturating_sub(pace.lead))
    }

    /// When all that was sent will have been played; `None`: it is.
    pub(super) fn played_at(&self, pace: &Pace) -> Option<Duration> {
        (!self.cleared && self.played < self.sent).then_some(pace.until + pace.lag)
    }

    /// Brings `played` up to date, and answers it.
    pub(super) fn look(&mut self, now: Duration, pace: &Pace) -> u64 {
        if !self.cleared {
            self.played = self.played.max(self.sent.saturating_sub(pace.unplayed(now)));
        }
        self.played
    }

    /// Whether a worker would want to know what was played: now and then, and when all that was handed over was played.
    pub(super) fn is_worth_a_report(&self, is_due: bool) -> bool {
        let is_played_out = self.played == self.sent && self.queue.is_empty();
        let is_something = self.played > 0 || self.finished;
        !self.cleared && is_something && (is_due || is_played_out)
    }

    pub(super) fn playback(&self, pace: &Pace) -> Playback {
        let piece = |piece: &Piece| PlayedPiece {
            text: piece.text.clone(),
            through_ms: pace.ms(piece.through),
            complete: piece.complete,
        };
        Playback {
            generation: self.generation,
            job_id: self.job_id,
            queued_ms: pace.ms(self.queued),
            played_ms: pace.ms(self.played),
            cleared: self.cleared,
            finished: self.finished,
            pieces: self.pieces.iter().map(piece).collect(),
        }
    }
}
