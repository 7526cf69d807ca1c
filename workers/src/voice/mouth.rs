//! A reply on its way to the caller's ear: from audio that was made to audio that was heard. No I/O: what goes out next
//! is asked for, what the socket answers is told.
//!
//! No more than [`WINDOW_MS`] lie at the socket unheard. So little was sent for nothing when a reply is interrupted, the
//! socket stays small, and it still has something to say while a new worker takes the call over.

use std::collections::VecDeque;

use bytes::Bytes;
use events::JobId;
use nats::media::{AudioFormat, Down, Playback};
use voice::ledger::{self, Ledger, PlayedPiece, Remembered};

/// Most audio at the socket that was not yet heard, in milliseconds.
const WINDOW_MS: u32 = 2_000;
/// Audio that was made and lies here; more is made when some of it was sent.
const MADE_AHEAD_MS: u32 = 1_000;

/// What is still to be said of a reply that another worker began.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rest {
    /// The piece that the socket has some audio of, and how much, in milliseconds.
    pub open: Option<(String, u32)>,
    /// What follows.
    pub text: String,
}

/// A part of a reply, in the order it is to be heard.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Piece(String),
    /// Whole frames.
    Audio(Bytes),
    PieceDone,
}

/// One reply on its way. Its generation names the stretch of speech at the socket: a new one begins after every hold.
pub(super) struct Speech {
    pub job_id: JobId,
    format: AudioFormat,
    generation: u32,
    /// The socket was told of the generation.
    begun: bool,
    held: bool,
    /// A `Clear` is on its way, and what was heard is not known yet.
    clearing: bool,
    /// Made, and not sent.
    queue: VecDeque<Part>,
    /// Sent, and not surely heard.
    sent: VecDeque<Part>,
    /// Of this generation.
    sent_ms: u32,
    played_ms: u32,
    /// Nothing more will be made.
    closed: bool,
    /// The socket was told so.
    finished: bool,
    /// The reply's text as far as it was sent.
    script: String,
    /// The newest piece in `script` of which some audio was heard ends here.
    piece_end: usize,
    ledger: Ledger,
}

impl Speech {
    /// A reply of which nothing was said; `generation` is above all that the socket knows.
    pub(super) fn new(job_id: JobId, generation: u32, format: AudioFormat, language: &str) -> Self {
        Self {
            job_id,
            format,
            generation,
            begun: false,
            held: false,
            clearing: false,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            sent_ms: 0,
            played_ms: 0,
            closed: false,
            finished: false,
            script: String::new(),
            piece_end: 0,
            ledger: Ledger::new(language),
        }
    }

    /// A reply that another worker began, of which `text` is all. What it has sent plays on, unless it was cleared: then
    /// a new generation says what was not heard. Answers also what is still to be said.
    pub(super) fn taken_over(
        playback: &Playback,
        text: &str,
        format: AudioFormat,
        language: &str,
    ) -> (Self, Rest) {
        let pieces: Vec<PlayedPiece> = playback
            .pieces
            .iter()
            .map(|piece| PlayedPiece {
                text: piece.text.clone(),
                through_ms: piece.through_ms,
                complete: piece.complete,
            })
            .collect();
        let base = ledger::find_base(text, &pieces).unwrap_or(0);
        let mut speech = Self::new(playback.job_id, playback.generation, format, language);
        speech.script = text[..base].to_owned();
        let (open, whole) = match pieces.split_last() {
            Some((last, whole)) if !last.complete => (Some(last), whole),
            _ => (None, &pieces[..]),
        };
        let before_ms = whole.last().map_or(0, |piece| piece.through_ms);
        whole.iter().for_each(|piece| speech.script.push_str(&piece.text));
        let mut rest = Rest::default();
        if let Some(open) = open {
            speech.script.push_str(&open.text);
            rest.open = Some((open.text.clone(), open.through_ms.saturating_sub(before_ms)));
        }
        let remembered = Remembered {
            generation: playback.generation,
            pieces,
            played_ms: playback.played_ms,
            cleared: playback.cleared,
            finished: playback.finished,
        };
        speech.ledger = Ledger::restore(language, base, &remembered);
        if playback.cleared {
            speech.script.truncate(speech.ledger.heard().text_end);
            rest.open = None;
            speech.held = true;
            speech.generation += 1;
        } else {
            (speech.sent_ms, speech.played_ms) = (playback.queued_ms, playback.played_ms);
            speech.begun = true;
            speech.finished = playback.finished;
        }
        speech.piece_end = speech.script.len();
        rest.text = text.strip_prefix(speech.script.as_str()).unwrap_or_default().to_owned();
        (speech, rest)
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether more audio may be made now.
    pub(super) fn has_room(&self) -> bool {
        self.queue.iter().map(|part| self.ms(part)).sum::<u32>() < MADE_AHEAD_MS
    }

    pub(super) fn piece(&mut self, text: String) {
        self.queue.push_back(Part::Piece(text));
    }

    pub(super) fn audio(&mut self, frames: Bytes) {
        self.queue.push_back(Part::Audio(frames));
    }

    pub(super) fn piece_done(&mut self) {
        self.queue.push_back(Part::PieceDone);
    }

    /// All of the reply was made.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// What goes to the socket next; `None`: nothing now.
    pub(super) fn next(&mut self) -> Option<Down> {
        if self.held {
            return None;
        }
        let generation = self.generation;
        let Some(part) = self.queue.front() else {
            let finishes = self.closed && self.begun && !self.finished;
            if finishes {
                self.finished = true;
                self.ledger.finish(generation);
            }
            return finishes.then_some(Down::Finish { generation });
        };
        if !self.begun {
            self.begun = true;
            let resumes = (!self.script.is_empty()).then_some(self.script.len());
            self.ledger.begin(generation, resumes);
            return Some(Down::Begin { generation, job_id: self.job_id });
        }
        let ms = self.ms(part);
        if ms > 0 && self.sent_ms + ms > self.played_ms + WINDOW_MS {
            return None;
        }
        let part = self.queue.pop_front()?;
        let down = match &part {
            Part::Piece(text) => {
                self.script.push_str(text);
                self.ledger.piece(generation, text);
                Down::Piece { generation, text: text.clone() }
            }
            Part::Audio(data) => {
                self.sent_ms += ms;
                self.ledger.audio(generation, ms);
                Down::Audio { generation, data: data.clone() }
            }
            Part::PieceDone => {
                self.ledger.piece_done(generation);
                Down::PieceDone { generation }
            }
        };
        self.sent.push_back(part);
        Some(down)
    }

    /// The socket has played `ms` of `generation`: answers the audio that was heard since the last time.
    pub(super) fn played(&mut self, generation: u32, ms: u32) -> Vec<Bytes> {
        // What comes back late of a stretch that was cut was not played.
        if generation != self.generation || self.clearing || ms <= self.played_ms {
            return vec![];
        }
        self.ledger.played(generation, ms);
        let heard = self.take_sent(ms - self.played_ms);
        self.played_ms = ms;
        heard
    }

    /// Stops what is playing; `None`: nothing was sent that could play.
    pub(super) fn hold(&mut self) -> Option<Down> {
        self.held = true;
        let plays = self.begun && !self.clearing && self.played_ms < self.sent_ms;
        self.clearing |= plays;
        plays.then_some(Down::Clear { generation: self.generation })
    }

    /// Whether it is not known yet what was heard.
    pub(super) fn is_clearing(&self) -> bool {
        self.clearing
    }

    /// The socket has stopped after `ms` of `generation`: answers the audio that was heard since the last time. What was
    /// not heard is to be sent again, in a generation of its own.
    pub(super) fn cleared(&mut self, generation: u32, ms: u32) -> Vec<Bytes> {
        if generation != self.generation {
            return vec![];
        }
        self.clearing = false;
        let ms = ms.clamp(self.played_ms, self.sent_ms.max(self.played_ms));
        self.ledger.cleared(generation, ms);
        let heard = self.take_sent(ms - self.played_ms);
        let text_end = self.ledger.heard().text_end;
        // The piece that was cut goes on with the words that were not heard.
        let rest = self.script.get(text_end..self.piece_end).unwrap_or_default().to_owned();
        self.script.truncate(text_end);
        self.piece_end = text_end;
        if !rest.is_empty() {
            self.sent.push_front(Part::Piece(rest));
        }
        self.sent.append(&mut self.queue);
        std::mem::swap(&mut self.queue, &mut self.sent);
        self.generation += 1;
        (self.sent_ms, self.played_ms) = (0, 0);
        (self.begun, self.finished) = (false, false);
        heard
    }

    /// The socket is gone, and what it had with it: all that was not surely heard is sent again.
    pub(super) fn lost(&mut self) {
        self.cleared(self.generation, self.played_ms);
    }

    /// Goes on where it was stopped.
    pub(super) fn resume(&mut self) {
        self.held = false;
    }

    /// Whether the caller has heard all of it.
    pub(super) fn is_spoken(&self) -> bool {
        self.closed && self.queue.is_empty() && !self.clearing && self.played_ms >= self.sent_ms
    }

    /// Whether the socket knows of it.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The words that were heard, how long they took, and how much audio was sent in all; milliseconds.
    pub(super) fn heard(&self) -> (String, u64, u64) {
        let heard = self.ledger.heard();
        let words = self.script.get(..heard.text_end).unwrap_or_default().trim().to_owned();
        (words, heard.ms, self.ledger.queued_ms())
    }

    fn ms(&self, part: &Part) -> u32 {
        match part {
            Part::Audio(frames) => self.format.duration_ms(frames.len()) as u32,
            Part::Piece(_) | Part::PieceDone => 0,
        }
    }

    /// Takes `ms` of audio, and the marks in it, from what was sent.
    fn take_sent(&mut self, mut ms: u32) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while let Some(part) = self.sent.pop_front() {
            let long = self.ms(&part);
            match part {
                Part::Audio(frames) if long <= ms => {
                    ms -= long;
                    taken.push(frames);
                }
                Part::Audio(mut frames) => {
                    let whole = (ms / nats::media::FRAME_MS) as usize * self.format.bytes_per_frame();
                    let heard = frames.split_to(whole);
                    if !heard.is_empty() {
                        taken.push(heard);
                    }
                    self.sent.push_front(Part::Audio(frames));
                    break;
                }
                // A beginning belongs to what follows it.
                Part::Piece(_) if ms == 0 => {
                    self.sent.push_front(part);
                    break;
                }
                Part::Piece(text) => self.piece_end += text.len(),
                Part::PieceDone => {}
            }
        }
        taken
    }
}

#[cfg(test)]
#[path = "mouth_tests.rs"]
mod tests;
