//! How late the agent's voice comes, chunk by chunk, against the pace of its stretch.
//!
//! A stretch is sent a little ahead of the ear and then as fast as it is heard. Its most punctual chunk says when each of
//! the others was due. A chunk that comes when everything before it was played is heard as a break, and what follows has
//! a new pace.

use std::time::{Duration, Instant};

/// The socket sends so far ahead of the ear: its `lead` without one `chunk`.
const AHEAD: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Pace {
    began: Option<Instant>,
    /// Of the stretch so far, in milliseconds: how long it is, how late after its first chunk each chunk is, less its place.
    length_ms: u64,
    offsets_ms: Vec<f64>,
    /// When all that came is played.
    pub played: Option<Instant>,
    /// Between two pieces of a reply there may be a pause.
    pause: bool,
}

impl Pace {
    /// A chunk came; answers whether the caller heard a break before it. `delays_ms` gets the delays of the stretches
    /// that are over.
    pub fn chunk(&mut self, now: Instant, length_ms: u64, delays_ms: &mut Vec<f64>) -> bool {
        let ran_dry = self.played.is_none_or(|played| now > played);
        let broke = ran_dry && self.began.is_some() && !self.pause;
        if ran_dry {
            if broke {
                let (earliest, late) = (self.earliest(), self.offset(now));
                delays_ms.push(late - earliest);
            }
            self.finish(delays_ms);
        }
        self.began.get_or_insert(now);
        self.offsets_ms.push(self.offset(now));
        self.length_ms += length_ms;
        self.played =
            Some(self.played.map_or(now, |played| played.max(now)) + Duration::from_millis(length_ms));
        self.pause = false;
        broke
    }

    /// A mark came: here a piece ends.
    pub fn mark(&mut self) {
        self.pause = true;
    }

    /// The stretch is over.
    pub fn finish(&mut self, delays_ms: &mut Vec<f64>) {
        let earliest = self.earliest();
        delays_ms.extend(self.offsets_ms.drain(..).map(|offset| offset - earliest));
        (self.began, self.length_ms) = (None, 0);
    }

    fn offset(&self, now: Instant) -> f64 {
        let since = self.began.map_or(Duration::ZERO, |began| now - began);
        let due = Duration::from_millis(self.length_ms).saturating_sub(AHEAD);
        (since.as_secs_f64() - due.as_secs_f64()) * 1_000.0
    }

    fn earliest(&self) -> f64 {
        self.offsets_ms.iter().copied().fold(f64::INFINITY, f64::min)
    }
}
