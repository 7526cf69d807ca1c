//! What the agent is saying: the text of a reply as it comes, cut into pieces, spoken one after the other.

use std::collections::VecDeque;

use events::call::SpeechOutcome;
use events::session::Then;
use nats::media::{Down, Playback};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use voice::pieces::{Config, Piece, Pieces};

use super::mouth::Speech;
use super::speaker::{Made, Voice};

/// A piece that waits for its turn.
struct Waiting {
    piece: Piece,
    /// The socket has so much of its audio already, and knows its text; `None`: nothing of it.
    begun_ms: Option<u32>,
}

/// The piece whose audio is being made.
struct Making {
    made: mpsc::Receiver<Made>,
    characters: u64,
    /// Which piece of the reply it is, from 0.
    number: u32,
}

/// A piece of work that a speech engine has done, or has begun.
#[derive(Debug, PartialEq)]
pub(super) struct Spoke {
    /// Which piece of the reply, from 0.
    pub number: u32,
    pub characters: u64,
    pub audio_ms: u64,
    pub outcome: SpeechOutcome,
    pub provider: String,
    /// The engine's own; empty where it never said.
    pub model: String,
}

/// One reply that is being said.
pub(super) struct Saying {
    pub speech: Speech,
    voice: Voice,
    pieces: Pieces,
    /// All text of the reply so far.
    text: String,
    attempt: u32,
    /// Pieces that were said before the reply started over, and need not be said again.
    said: VecDeque<String>,
    waiting: VecDeque<Waiting>,
    /// Pieces that were said, are being said, or need not be.
    taken: Vec<String>,
    making: Option<Making>,
    numbered: u32,
    /// All text is there.
    pub complete: bool,
    /// What comes after these words.
    pub then: Option<Then>,
}

impl Saying {
    pub(super) fn new(speech: Speech, voice: Voice) -> Self {
        Self {
            speech,
            pieces: pieces(&voice),
            voice,
            text: String::new(),
            attempt: 0,
            said: VecDeque::new(),
            waiting: VecDeque::new(),
            taken: Vec::new(),
            making: None,
            numbered: 0,
            complete: false,
            then: None,
        }
    }

    /// Goes on with what another worker began of the reply that is `text`.
    pub(super) fn taken_over(playback: &Playback, text: &str, then: Option<Then>, voice: Voice) -> Self {
        let (speech, rest) = Speech::taken_over(playback, text, voice.format, &voice.target.language);
        let mut saying = Self::new(speech, voice);
        if let Some((written, begun_ms)) = rest.open {
            let spoken = voice::speakable::speakable(&written, &saying.voice.target.language);
            let piece = Piece { range: 0..written.len(), written, spoken };
            saying.waiting.push_back(Waiting { piece, begun_ms: Some(begun_ms) });
        }
        let cut = saying.pieces.push(&rest.text);
        saying.wait(cut);
        saying.text = text.to_owned();
        saying.no_more_words();
        // Its pieces have numbers behind those of the worker before.
        saying.numbered = playback.pieces.iter().filter(|piece| piece.complete).count() as u32;
        saying.then = then;
        saying
    }

    /// More words of the vendor attempt `attempt`. A higher one starts over: what was said of the words before is not
    /// said again, what was not said of them never will be.
    pub(super) fn words(&mut self, attempt: u32, text: &str) {
        if attempt < self.attempt || self.complete {
            return;
        }
        if attempt > self.attempt && self.attempt > 0 {
            self.start_over();
        }
        self.attempt = attempt;
        self.text.push_str(text);
        let cut = self.pieces.push(text);
        self.wait(cut);
    }

    fn wait(&mut self, cut: Vec<Piece>) {
        self.waiting.extend(cut.into_iter().map(|piece| Waiting { piece, begun_ms: None }));
    }

    /// All of the reply. What came of it word by word is its beginning, unless words were lost.
    pub(super) fn all_words(&mut self, text: &str, then: Option<Then>) {
        if self.complete {
            return;
        }
        if !text.starts_with(self.text.as_str()) {
            self.start_over();
        }
        let cut = self.pieces.push(text.get(self.text.len()..).unwrap_or_default());
        self.wait(cut);
        self.text = text.to_owned();
        self.no_more_words();
        self.then = then;
    }

    /// A tool runs: what was said so far is spoken meanwhile.
    pub(super) fn pause(&mut self) {
        let cut = self.pieces.pause();
        self.wait(cut);
    }

    fn no_more_words(&mut self) {
        let cut = self.pieces.finish();
        self.wait(cut);
        self.complete = true;
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn start_over(&mut self) {
        self.said = self.taken.drain(..).collect();
        self.waiting.clear();
        self.pieces = pieces(&self.voice);
        self.text.clear();
    }

    /// Begins to make the next piece where there is room. Answers whether it is the reply's first.
    pub(super) fn make_next(&mut self, tasks: &TaskTracker) -> bool {
        while self.making.is_none() && self.speech.has_room() {
            let Some(Waiting { piece, begun_ms }) = self.waiting.pop_front() else {
                if self.complete {
                    self.speech.close();
                }
                return false;
            };
            self.taken.push(piece.written.clone());
            match self.said.pop_front() {
                Some(said) if said == piece.written => continue,
                // The reply has become another one: from here on it is said whole.
                Some(_) => self.said.clear(),
                None => {}
            }
            if begun_ms.is_none() {
                self.speech.piece(piece.written);
            }
            if piece.spoken.is_empty() {
                self.speech.piece_done();
                continue;
            }
            let number = self.numbered;
            self.numbered += 1;
            let characters = piece.spoken.chars().count() as u64;
            let made = self.voice.speak(tasks, piece.spoken, begun_ms.unwrap_or(0));
            self.making = Some(Making { made, characters, number });
            return number == 0;
        }
        false
    }

    /// What was made next. Cancel-safe; waits for ever while nothing is being made.
    pub(super) async fn made(&mut self) -> Option<Made> {
        match &mut self.making {
            Some(making) => making.made.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Takes in what [`Saying::made`] gave; answers the work that is done with it.
    pub(super) fn take(&mut self, made: Option<Made>) -> Option<Spoke> {
        match made {
            Some(Made::Audio(frames)) => {
                self.speech.audio(frames);
                None
            }
            Some(Made::Done { provider, model, audio_ms }) => {
                self.speech.piece_done();
                let Making { characters, number, .. } = self.making.take()?;
                let outcome = SpeechOutcome::Succeeded;
                Some(Spoke { number, characters, audio_ms, outcome, provider, model })
            }
            Some(Made::Failed(_)) | None => {
                self.speech.piece_done();
                self.stop(SpeechOutcome::Failed)
            }
        }
    }

    /// Stops making; answers the work that was begun.
    pub(super) fn cancel(&mut self) -> Option<Spoke> {
        self.stop(SpeechOutcome::Cancelled)
    }

    fn stop(&mut self, outcome: SpeechOutcome) -> Option<Spoke> {
        let Making { characters, number, .. } = self.making.take()?;
        let target = &self.voice.target;
        let (provider, model) = (target.provider.clone(), target.model.clone().unwrap_or_default());
        Some(Spoke { number, characters, audio_ms: 0, outcome, provider, model })
    }

    /// What goes to the socket next.
    pub(super) fn next(&mut self) -> Option<Down> {
        self.speech.next()
    }

    /// Whether the caller has heard all there is to hear.
    pub(super) fn is_spoken(&self) -> bool {
        self.complete && self.waiting.is_empty() && self.making.is_none() && self.speech.is_spoken()
    }
}

fn pieces(voice: &Voice) -> Pieces {
    Pieces::new(Config::default(), &voice.target.language)
}
