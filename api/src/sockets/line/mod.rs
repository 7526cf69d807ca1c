//! One end of a call, without any I/O: what the caller said and nobody has committed, what the agent has to say and how
//! much of it was heard. Time is passed in, as what has passed since the socket was opened; what is to be done comes out
//! of [`Line::next`].

mod heard;
mod speech;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use nats::media::{AudioFormat, Down, SocketState, Up};
use serde_json::Value;

use super::limits::SocketLimits;
use super::refusal::Refusal;
pub(super) use heard::Bucket;
use heard::Heard;
pub(crate) use speech::Mark;
use speech::{Pace, Sent, Speech};

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    /// Tell the worker.
    Up(Up),
    /// Let the caller hear this.
    Play(Bytes),
    /// Ask to be told when all before it was heard.
    Mark(Mark),
    /// Take back what was sent and is not heard yet.
    Clear,
    /// Tell a browser.
    Tell(Value),
    /// Close, for this reason.
    HangUp(String),
}

/// Places in the list of what is to be done that are kept for later.
const MOST_SPARE: usize = 64;

pub(crate) struct Line {
    format: AudioFormat,
    limits: SocketLimits,
    heard: Heard,
    speech: Option<Speech>,
    pace: Pace,
    /// Of the newest worker that said `Hello`; 0: none did.
    attempt: u32,
    last_heard: Duration,
    /// When a worker is told next what was played, and the last it was told.
    report_at: Duration,
    reported: Option<(u32, u64)>,
    out: VecDeque<Out>,
}

impl Line {
    /// Just opened, with `first_frame` as the number of the first frame that will come. Whoever holds the call already is
    /// told so.
    pub(crate) fn open(format: AudioFormat, limits: SocketLimits, first_frame: u32) -> Self {
        let mut line = Self {
            format,
            heard: Heard::new(format, &limits, first_frame),
            speech: None,
            pace: Pace::new(format, &limits),
            attempt: 0,
            last_heard: Duration::ZERO,
            report_at: Duration::ZERO,
            reported: None,
            out: VecDeque::new(),
            limits,
        };
        line.out.push_back(Out::Up(Up::State(line.state())));
        line
    }

    /// What is to be done next.
    pub(crate) fn next(&mut self) -> Option<Out> {
        let next = self.out.pop_front();
        // What was kept for a worker that came late must not leave its room behind.
        if next.is_none() && self.out.capacity() > MOST_SPARE {
            self.out.shrink_to(MOST_SPARE);
        }
        next
    }

    /// Whether a worker ever said `Hello`.
    pub(crate) fn is_attended(&self) -> bool {
        self.attempt > 0
    }

    /// The caller's audio, in chunks of any length; `at_ms` is the carrier's time of it, where it tells.
    ///
    /// # Errors
    /// When it comes much too fast.
    pub(crate) fn heard(&mut self, now: Duration, audio: &[u8], at_ms: Option<u64>) -> Result<(), Refusal> {
        let first_new = self.heard.next();
        self.heard.take(now, audio, at_ms)?;
        if self.heard.next() > first_new {
            self.last_heard = now;
        }
        self.tell_frames(first_new);
        Ok(())
    }

    pub(crate) fn dtmf(&mut self, digit: char) {
        self.out.push_back(Out::Up(Up::Dtmf { digit }));
    }

    pub(crate) fn end_of_utterance(&mut self) {
        self.out.push_back(Out::Up(Up::EndOfUtterance));
    }

    /// A mark came back from the carrier.
    pub(crate) fn mark_returned(&mut self, now: Duration, mark: Mark) {
        if let Some(speech) = self.speech.as_mut().filter(|speech| speech.generation == mark.generation) {
            speech.mark_returned(now, &mut self.pace, mark.position);
        }
        self.tick(now);
    }

    /// What a worker says. Workers that were replaced are not heard any more.
    pub(crate) fn down(&mut self, now: Duration, attempt: u32, down: Down) {
        if attempt < self.attempt {
            return;
        }
        match down {
            Down::Hello { .. } => {
                self.attempt = attempt;
                if let Some(speech) = &mut self.speech {
                    speech.look(now, &self.pace);
                }
                self.out.push_back(Out::Up(Up::State(self.state())));
                self.tell_frames(0);
            }
            Down::Begin { generation, job_id } => {
                if self.speech.as_ref().is_none_or(|speech| speech.generation < generation) {
                    self.speech = Some(Speech::new(generation, job_id));
                    self.report_at = now + self.limits.report;
                }
            }
            Down::Piece { generation, text } => {
                self.speaking(generation, |speech, _| speech.begin_piece(text))
            }
            Down::Audio { generation, data } => self.speaking(generation, |speech, pace| {
                if !speech.take(pace, data) {
                    tracing::warn!(generation, "speech was dropped: too much of it waits to be sent");
                }
            }),
            Down::PieceDone { generation } => self.speaking(generation, |speech, _| speech.end_piece()),
            Down::Finish { generation } => self.speaking(generation, |speech, _| speech.finish()),
            Down::Clear { generation } => self.clear(now, generation),
            Down::Committed { through_frame } => self.heard.commit(through_frame),
            Down::Tell(frame) => self.out.push_back(Out::Tell(frame)),
            Down::HangUp { reason } => self.out.push_back(Out::HangUp(reason)),
        }
        self.tick(now);
    }

    fn speaking(&mut self, generation: u32, act: impl FnOnce(&mut Speech, &Pace)) {
        let speech = self.speech.as_mut().filter(|speech| speech.generation == generation);
        if let Some(speech) = speech.filter(|speech| speech.is_open()) {
            act(speech, &self.pace);
        }
    }

    /// Answered even when there is nothing to stop, for somebody waits.
    fn clear(&mut self, now: Duration, generation: u32) {
        let mut heard = 0;
        if let Some(speech) = self.speech.as_mut().filter(|speech| speech.generation == generation) {
            heard = speech.clear(now, &mut self.pace);
            self.out.push_back(Out::Clear);
        }
        self.out.push_back(Out::Up(Up::Cleared { generation, ms: self.pace.ms(heard) }));
    }

    /// Does what is due at this time.
    pub(crate) fn tick(&mut self, now: Duration) {
        let Some(speech) = &mut self.speech else { return };
        let out = &mut self.out;
        speech.send(now, &mut self.pace, |sent| {
            out.push_back(match sent {
                Sent::Audio(audio) => Out::Play(audio),
                Sent::Mark(mark) => Out::Mark(mark),
            });
        });
        let played = (speech.generation, speech.look(now, &self.pace));
        let is_due = now >= self.report_at;
        if is_due {
            self.report_at = now + self.limits.report;
        }
        if speech.is_worth_a_report(is_due) && self.reported != Some(played) {
            self.reported = Some(played);
            let (generation, ms) = (played.0, self.pace.ms(played.1));
            self.out.push_back(Out::Up(Up::Played { generation, ms }));
        }
    }

    /// When [`Line::tick`] has something to do, or [`Line::overdue`] something to say.
    pub(crate) fn wake_at(&self) -> Duration {
        let silent = self.last_heard + self.limits.silence;
        let unattended = (!self.is_attended()).then_some(self.limits.worker);
        let speech = self.speech.as_ref();
        let send = speech.and_then(|speech| speech.next_send(&self.pace));
        let played = speech.and_then(|speech| speech.played_at(&self.pace));
        let report = played.map(|played| played.min(self.report_at));
        [Some(silent), unattended, Some(self.limits.call), send, report]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(silent)
    }

    /// The limit that has run out by now, if any has.
    pub(crate) fn overdue(&self, now: Duration) -> Option<Refusal> {
        if now >= self.limits.call {
            return Some(Refusal::CallTooLong);
        }
        if !self.is_attended() && now >= self.limits.worker {
            return Some(Refusal::AtCapacity);
        }
        (now >= self.last_heard + self.limits.silence).then_some(Refusal::Silent)
    }

    fn state(&self) -> SocketState {
        SocketState {
            format: self.format,
            next_frame: self.heard.next(),
            first_kept_frame: self.heard.first_kept(),
            playback: self.speech.as_ref().map(|speech| speech.playback(&self.pace)),
        }
    }

    fn tell_frames(&mut self, from: u32) {
        for (frame, data) in self.heard.kept_from(from) {
            self.out.push_back(Out::Up(Up::Audio { frame, data }));
        }
    }
}
