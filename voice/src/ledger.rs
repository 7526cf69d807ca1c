//! How much of a reply the caller has heard.
//!
//! What was sent is known by the millisecond, and the socket tells how much of that was played. The text between is found
//! by how long its words take to say, so that it is right to within a word.

mod words;

use words::{MS_PER_PART, Word};

/// What was heard of the reply under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// The reply's text before this byte was heard. Always at the end of a word or of a piece.
    pub text_end: usize,
    /// Audio of this reply that was played, in all its generations.
    pub ms: u64,
    /// Nothing is left to hear: the reply is finished and all of it was played.
    pub all: bool,
}

/// What a socket remembers of a piece: the worker that sent it may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayedPiece {
    /// As written, as it was given to [`Ledger::piece`].
    pub text: String,
    /// The generation's audio through this piece's end, as far as it has come.
    pub through_ms: u32,
    /// All audio of the piece has come.
    pub complete: bool,
}

/// What a socket remembers of its newest generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub generation: u32,
    pub pieces: Vec<PlayedPiece>,
    pub played_ms: u32,
    pub cleared: bool,
    pub finished: bool,
}

/// The books of one call's speech. Generations only rise; what is said of an older one is passed over.
#[derive(Debug)]
pub struct Ledger {
    language: String,
    /// Of this reply, before the current generation.
    before: Heard,
    queued_before_ms: u64,
    current: Option<Generation>,
}

#[derive(Debug)]
struct Generation {
    number: u32,
    /// Where the next piece begins in the reply.
    text_end: usize,
    pieces: Vec<Sent>,
    queued_ms: u32,
    played_ms: u32,
    cleared: bool,
    finished: bool,
}

#[derive(Debug)]
struct Sent {
    start: usize,
    end: usize,
    words: Vec<Word>,
    audio_ms: u32,
    complete: bool,
}

impl Ledger {
    /// `language` is that of the voice, as `en-US`.
    #[must_use]
    pub fn new(language: &str) -> Self {
        Self { language: language.to_owned(), before: Heard::default(), queued_before_ms: 0, current: None }
    }

    /// Goes on where another worker stopped. `base`: where its generation began in the reply, see [`find_base`].
    #[must_use]
    pub fn restore(language: &str, base: usize, remembered: &Remembered) -> Self {
        let mut ledger = Self::new(language);
        let number = remembered.generation;
        ledger.begin(number, Some(base));
        let mut through_ms = 0;
        for piece in &remembered.pieces {
            ledger.piece(number, &piece.text);
            ledger.audio(number, piece.through_ms.saturating_sub(through_ms));
            through_ms = through_ms.max(piece.through_ms);
            if piece.complete {
                ledger.piece_done(number);
            }
        }
        if remembered.finished {
            ledger.finish(number);
        }
        if remembered.cleared {
            ledger.cleared(number, remembered.played_ms);
        } else {
            ledger.played(number, remembered.played_ms);
        }
        ledger
    }

    /// A new stretch of speech: of a new reply (`None`), or of the same one from a byte of its text on.
    pub fn begin(&mut self, generation: u32, resume_from: Option<usize>) {
        if self.current.as_ref().is_some_and(|current| current.number >= generation) {
            return;
        }
        let (before, queued_ms) = (self.heard(), self.queued_ms());
        (self.before, self.queued_before_ms) = match resume_from {
            Some(base) if self.current.is_some() => {
                (Heard { text_end: before.text_end.max(base), ms: before.ms, all: false }, queued_ms)
            }
            Some(base) => (Heard { text_end: base, ms: 0, all: false }, 0),
            None => (Heard::default(), 0),
        };
        self.current = Some(Generation {
            number: generation,
            text_end: resume_from.unwrap_or(0),
            pieces: Vec::new(),
            queued_ms: 0,
            played_ms: 0,
            cleared: false,
            finished: false,
        });
    }

    /// A piece's audio follows. `written` continues the reply's text where the piece before it ended.
    pub fn piece(&mut self, generation: u32, written: &str) {
        let words = words::words(written, &self.language);
        self.piece_done(generation);
        if let Some(current) = self.unfinished(generation) {
            let (start, end) = (current.text_end, current.text_end + written.len());
            current.pieces.push(Sent { start, end, words, audio_ms: 0, complete: false });
            current.text_end = end;
        }
    }

    /// So much audio of the newest piece was sent.
    pub fn audio(&mut self, generation: u32, ms: u32) {
        if let Some(current) = self.unfinished(generation)
            && let Some(piece) = current.pieces.last_mut().filter(|piece| !piece.complete)
        {
            piece.audio_ms = piece.audio_ms.saturating_add(ms);
            current.queued_ms = current.queued_ms.saturating_add(ms);
        }
    }

    /// All audio of the newest piece was sent.
    pub fn piece_done(&mut self, generation: u32) {
        if let Some(piece) = self.open(generation).and_then(|current| current.pieces.last_mut()) {
            piece.complete = true;
        }
    }

    /// All of the reply was sent.
    pub fn finish(&mut self, generation: u32) {
        if let Some(current) = self.open(generation) {
            current.finished = true;
        }
    }

    /// So much of the generation was played. What comes late, after [`Self::cleared`], changes nothing.
    pub fn played(&mut self, generation: u32, ms: u32) {
        if let Some(current) = self.open(generation) {
            current.played_ms = ms.min(current.queued_ms).max(current.played_ms);
        }
    }

    /// The generation was stopped when so much of it had been heard.
    pub fn cleared(&mut self, generation: u32, ms: u32) {
        self.played(generation, ms);
        if let Some(current) = self.open(generation) {
            current.cleared = true;
        }
    }

    /// Audio of this reply that was sent, in all its generations.
    #[must_use]
    pub fn queued_ms(&self) -> u64 {
        self.queued_before_ms + self.current.as_ref().map_or(0, |current| u64::from(current.queued_ms))
    }

    /// What was heard by now. It grows, but for one case: while the newest piece's audio still comes, its words are guessed by
    /// the voice's pace, and the guess is put right when more of it has come.
    #[must_use]
    pub fn heard(&self) -> Heard {
        let Some(current) = &self.current else { return self.before };
        Heard {
            text_end: current.heard_through().max(self.before.text_end),
            ms: self.before.ms + u64::from(current.played_ms),
            all: current.finished && current.played_ms == current.queued_ms,
        }
    }

    fn unfinished(&mut self, generation: u32) -> Option<&mut Generation> {
        self.open(generation).filter(|current| !current.finished)
    }

    /// The generation, if it is the newest and not stopped.
    fn open(&mut self, generation: u32) -> Option<&mut Generation> {
        self.current.as_mut().filter(|current| current.number == generation && !current.cleared)
    }
}

impl Generation {
    fn heard_through(&self) -> usize {
        if self.finished && self.played_ms == self.queued_ms {
            return self.text_end;
        }
        if self.played_ms == 0 {
            return 0;
        }
        let pace = self.ms_per_part();
        let (mut left_ms, mut heard) = (self.played_ms, 0);
        for piece in &self.pieces {
            if !piece.complete || left_ms < piece.audio_ms {
                return piece.start + piece.heard(left_ms, pace);
            }
            left_ms -= piece.audio_ms;
            heard = piece.end;
        }
        heard
    }

    /// How fast this voice speaks, by the pieces that are known whole.
    fn ms_per_part(&self) -> f64 {
        let whole = self.pieces.iter().filter(|piece| piece.complete);
        let (ms, parts) =
            whole.fold((0, 0), |(ms, parts), piece| (ms + piece.audio_ms, parts + piece.parts()));
        if parts == 0 { MS_PER_PART } else { f64::from(ms) / f64::from(parts) }
    }
}

impl Sent {
    fn parts(&self) -> u32 {
        self.words.last().map_or(0, |word| word.through)
    }

    /// The end of the last word of which more than half was played, in this piece's bytes.
    fn heard(&self, ms: u32, pace: f64) -> usize {
        let parts = f64::from(self.parts());
        // Of a piece whose audio still comes, the length can only be guessed.
        let whole_ms = if self.complete { 0.0 } else { parts * pace }.max(f64::from(self.audio_ms));
        let played = if whole_ms > 0.0 { f64::from(ms) / whole_ms * parts } else { 0.0 };
        let mut before = 0;
        let mut end = 0;
        for word in &self.words {
            let middle = f64::from(before + word.through) / 2.0;
            if played < middle {
                break;
            }
            (before, end) = (word.through, word.end);
        }
        end
    }
}

/// Where `pieces` begin in `reply`; `None` when they are not its words. For a worker that finds a generation which another
/// one began, perhaps in the middle of a reply.
#[must_use]
pub fn find_base(reply: &str, pieces: &[PlayedPiece]) -> Option<usize> {
    let spoken: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    reply.find(&spoken)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
