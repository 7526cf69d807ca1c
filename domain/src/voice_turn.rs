//! Taking turns in a spoken conversation: who has the floor, and what that asks of ears and mouth.
//!
//! [`VoiceTurn::take`] is told what was heard and what became of the agent's reply, and answers what is to be done. It
//! knows nothing of audio, vendors or the log. Time is counted in frames of the caller's audio, so that audio which
//! comes late (after a worker died) is judged as if it came on time.
//!
//! A caller who speaks while the agent thinks or talks first only *holds* the agent: what was heard may be a cough or an
//! "uh-huh". The words decide then. Words interrupt, anything else lets the agent go on where it stopped.

use serde::{Deserialize, Serialize};

/// The length of a frame in milliseconds.
pub const FRAME_MS: u32 = 20;

/// When what is decided; all in frames of 20 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The agent is held when the caller has been voiced for so long in one stretch.
    pub hold_after: u32,
    /// Voiced less than this is noise, and no utterance.
    pub noise_below: u32,
    /// While the caller speaks, the words so far are asked for this often.
    pub partial_every: u32,
    /// A pause of this length asks for the words so far: they say how long to wait.
    pub partial_at_pause: u32,
    /// The silence that ends an utterance while its words are not known.
    pub silence: u32,
    /// The silence that ends an utterance over a held agent, while nothing in it is known to be words: the agent must
    /// not stay silent for long because of a cough.
    pub silence_when_held: u32,
    /// No utterance is longer.
    pub longest: u32,
    /// Silence that is kept behind the last voiced frame when an utterance is cut.
    pub tail: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hold_after: 8,
            noise_below: 4,
            partial_every: 25,
            partial_at_pause: 6,
            silence: 30,
            silence_when_held: 15,
            longest: 3_000,
            tail: 6,
        }
    }
}

/// What the words of an utterance are, said over the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meaning {
    /// No words in it.
    Nothing,
    /// "Uh-huh": the caller listens.
    Backchannel,
    Words,
}

/// What the agent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mouth {
    /// Waits for the caller.
    Silent,
    /// A message was sent, and nothing of the reply has been said yet.
    Thinking,
    Talking,
    /// Says its last words, which no longer can be interrupted.
    Parting,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Speech was recognised at frame `number`; it began at `from`.
    SpeechStarted { from: u32, number: u32 },
    /// The next frame, whether there is speech in it.
    Frame { number: u32, voiced: bool },
    /// The words so far, and how long a silence must be after such words, in frames.
    Partial { meaning: Meaning, silence: u32 },
    /// The words of the utterance that was finished.
    Final { meaning: Meaning, text: String },
    /// The caller's side says that the utterance is over.
    EndOfUtterance,
    /// The agent says the first words of its reply now.
    Talks { parting: bool },
    /// All of the reply was played, or there is none.
    Spoken,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Begin an utterance with the audio from frame `from` on.
    Listen { from: u32 },
    /// Ask for the words so far.
    WantPartial,
    /// The utterance is over: have the words of its frames up to and without `through`.
    Finish { from: u32, through: u32 },
    /// There was no speech in it after all.
    Discard,
    /// Say nothing until told to resume; what is playing stops now.
    Hold,
    /// Go on where the speech stopped.
    Resume,
    /// The reply is over: cancel it, keep what was heard of it.
    Interrupt,
    /// Answer this.
    Submit { text: String, from: u32, through: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Utterance {
    from: u32,
    last_voiced: u32,
    /// Voiced frames.
    voiced: u32,
    /// When the words so far were last asked for.
    asked_at: u32,
    /// The silence that ends it; `None`: nothing is known of its words yet.
    silence: Option<u32>,
    meaning: Meaning,
}

/// One conversation's floor.
#[derive(Clone, Debug, PartialEq)]
pub struct VoiceTurn {
    patience: Patience,
    mouth: Mouth,
    /// The agent keeps silent until it is known whether the caller interrupts.
    held: bool,
    /// What the caller is saying.
    saying: Option<Utterance>,
    /// What is being transcribed: its frames.
    finishing: Option<(u32, u32)>,
}

impl VoiceTurn {
    /// A conversation in which the agent is about `mouth`.
    pub fn new(patience: Patience, mouth: Mouth) -> Self {
        Self { patience, mouth, held: false, saying: None, finishing: None }
    }

    /// The same, taken over while the agent was held.
    pub fn held(patience: Patience, mouth: Mouth) -> Self {
        Self { held: true, ..Self::new(patience, mouth) }
    }

    pub fn mouth(&self) -> Mouth {
        self.mouth
    }

    /// Whether the agent must keep silent.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Frames before this one are needed no more: they belong to no utterance.
    pub fn needed_from(&self, next_frame: u32) -> u32 {
        let finishing = self.finishing.map(|(from, _)| from);
        finishing.or(self.saying.map(|saying| saying.from)).unwrap_or(next_frame)
    }

    pub fn take(&mut self, input: Input) -> Vec<Act> {
        let mut acts = Vec::new();
        match input {
            Input::SpeechStarted { from, number } => self.speech_started(from, number, &mut acts),
            Input::Frame { number, voiced } => self.frame(number, voiced, &mut acts),
            Input::Partial { meaning, silence } => self.partial(meaning, silence, &mut acts),
            Input::Final { meaning, text } => self.words(meaning, text, &mut acts),
            Input::EndOfUtterance => self.finish(&mut acts),
            Input::Talks { parting } => {
                self.mouth = if parting { Mouth::Parting } else { Mouth::Talking };
                if parting {
                    self.held = false;
                }
            }
            Input::Spoken => {
                self.mouth = Mouth::Silent;
                self.held = false;
            }
        }
        acts
    }

    fn speech_started(&mut self, from: u32, number: u32, acts: &mut Vec<Act>) {
        if self.saying.is_some() || self.mouth == Mouth::Parting {
            return;
        }
        // Never into the audio of the utterance before.
        let from = self.finishing.map_or(from, |(_, through)| from.max(through));
        self.saying = Some(Utterance {
            from,
            last_voiced: number,
            voiced: number.saturating_sub(from).max(1),
            asked_at: from,
            silence: None,
            meaning: Meaning::Nothing,
        });
        acts.push(Act::Listen { from });
    }

    fn frame(&mut self, number: u32, voiced: bool, acts: &mut Vec<Act>) {
        let patience = self.patience;
        let is_busy = self.is_busy();
        let Some(saying) = &mut self.saying else { return };
        if voiced {
            saying.last_voiced = number;
            saying.voiced += 1;
        }
        let pause = number.saturating_sub(saying.last_voiced);
        let since_asked = number.saturating_sub(saying.asked_at);
        let said_more = saying.last_voiced > saying.asked_at;
        if said_more && (since_asked >= patience.partial_every || pause == patience.partial_at_pause) {
            saying.asked_at = number;
            acts.push(Act::WantPartial);
        }
        let hold = is_busy && !self.held && saying.voiced >= patience.hold_after;
        let mut silence = saying.silence.unwrap_or(patience.silence);
        if (hold || self.held) && saying.meaning != Meaning::Words {
            silence = silence.min(patience.silence_when_held);
        }
        let is_over = pause >= silence || number.saturating_sub(saying.from) >= patience.longest;
        if hold {
            self.held = true;
            acts.push(Act::Hold);
        }
        if is_over {
            self.finish(acts);
        }
    }

    fn partial(&mut self, meaning: Meaning, silence: u32, acts: &mut Vec<Act>) {
        let Some(saying) = &mut self.saying else { return };
        saying.meaning = meaning;
        saying.silence = Some(silence);
        if meaning == Meaning::Words && self.held {
            self.interrupt(acts);
        }
    }

    fn finish(&mut self, acts: &mut Vec<Act>) {
        // One transcription at a time: the next utterance ends when the one before has its words.
        if self.finishing.is_some() {
            return;
        }
        let Some(saying) = self.saying.take() else { return };
        if saying.voiced < self.patience.noise_below {
            acts.push(Act::Discard);
            self.resume(acts);
            return;
        }
        let through = saying.last_voiced + 1 + self.patience.tail;
        self.finishing = Some((saying.from, through));
        acts.push(Act::Finish { from: saying.from, through });
    }

    fn words(&mut self, meaning: Meaning, text: String, acts: &mut Vec<Act>) {
        let Some((from, through)) = self.finishing.take() else { return };
        let is_answer = match meaning {
            Meaning::Words => true,
            // To a silent agent it is an answer.
            Meaning::Backchannel => self.mouth == Mouth::Silent,
            Meaning::Nothing => false,
        };
        if is_answer && self.mouth != Mouth::Parting {
            if self.is_busy() {
                self.interrupt(acts);
            }
            self.mouth = Mouth::Thinking;
            acts.push(Act::Submit { text, from, through });
            // Who goes on speaking holds the answer to what was said so far.
        } else if self.saying.is_none() {
            self.resume(acts);
        }
    }

    fn interrupt(&mut self, acts: &mut Vec<Act>) {
        acts.push(Act::Interrupt);
        self.mouth = Mouth::Silent;
        self.held = false;
    }

    fn resume(&mut self, acts: &mut Vec<Act>) {
        if std::mem::take(&mut self.held) {
            acts.push(Act::Resume);
        }
    }

    /// Whether there is a reply that a caller can interrupt.
    fn is_busy(&self) -> bool {
        matches!(self.mouth, Mouth::Thinking | Mouth::Talking)
    }
}

#[cfg(test)]
#[path = "voice_turn_tests.rs"]
mod tests;
