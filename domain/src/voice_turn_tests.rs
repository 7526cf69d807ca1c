use proptest::prelude::*;

use super::*;

/// A conversation that is told frame by frame what the caller does.
struct Told {
    turn: VoiceTurn,
    number: u32,
    acts: Vec<(u32, Act)>,
}

fn given(mouth: Mouth) -> Told {
    Told { turn: VoiceTurn::new(Patience::default(), mouth), number: 100, acts: Vec::new() }
}

impl Told {
    fn take(&mut self, input: Input) -> &mut Self {
        let number = self.number;
        self.acts.extend(self.turn.take(input).into_iter().map(|act| (number, act)));
        self
    }

    /// The caller begins to speak, which is recognised after three frames, and goes on for `frames` in all.
    fn speaks(&mut self, frames: u32) -> &mut Self {
        self.number += 3;
        self.take(Input::SpeechStarted { from: self.number - 3, number: self.number });
        self.goes_on(frames - 3)
    }

    fn goes_on(&mut self, frames: u32) -> &mut Self {
        for _ in 0..frames {
            self.number += 1;
            self.take(Input::Frame { number: self.number, voiced: true });
        }
        self
    }

    fn pauses(&mut self, frames: u32) -> &mut Self {
        for _ in 0..frames {
            self.number += 1;
            self.take(Input::Frame { number: self.number, voiced: false });
        }
        self
    }

    fn partial(&mut self, meaning: Meaning, silence: u32) -> &mut Self {
        self.take(Input::Partial { meaning, silence })
    }

    fn heard(&mut self, meaning: Meaning, text: &str) -> &mut Self {
        self.take(Input::Final { meaning, text: text.to_owned() })
    }

    /// The acts since the last time, but for requests for partial words.
    fn then(&mut self) -> Vec<Act> {
        let acts = self.acts.drain(..).map(|(_, act)| act);
        acts.filter(|act| *act != Act::WantPartial).collect()
    }
}

fn submit(text: &str, from: u32, through: u32) -> Act {
    Act::Submit { text: text.to_owned(), from, through }
}

#[test]
fn a_question_is_heard_from_its_beginning_and_answered_after_a_silence() {
    let mut told = given(Mouth::Silent);
    told.speaks(50).pauses(29);
    assert_eq!(told.then(), [Act::Listen { from: 100 }]);
    told.pauses(1);
    assert_eq!(told.then(), [Act::Finish { from: 100, through: 157 }]);
    told.heard(Meaning::Words, "what is the status?");
    assert_eq!(told.then(), [submit("what is the status?", 100, 157)]);
    assert_eq!(told.turn.mouth(), Mouth::Thinking);
}

#[test]
fn the_words_so_far_shorten_or_stretch_the_silence() {
    let mut told = given(Mouth::Silent);
    told.speaks(50).partial(Meaning::Words, 14).pauses(14);
    assert!(matches!(told.then()[..], [_, Act::Finish { .. }]), "a whole question");
    let mut told = given(Mouth::Silent);
    told.speaks(50).partial(Meaning::Words, 60).pauses(59);
    assert_eq!(told.then(), [Act::Listen { from: 100 }], "an unfinished one");
    told.goes_on(20).pauses(60);
    assert_eq!(told.then(), [Act::Finish { from: 100, through: 236 }]);
}

#[test]
fn partial_words_are_asked_for_while_speaking_and_at_a_pause() {
    let mut told = given(Mouth::Silent);
    told.speaks(60).pauses(20);
    let asked: Vec<u32> =
        told.acts.iter().filter(|(_, act)| *act == Act::WantPartial).map(|(number, _)| *number).collect();
    assert_eq!(asked, [125, 150, 166], "twice while speaking, once in the pause");
}

#[test]
fn words_over_the_agent_hold_it_then_interrupt_it() {
    let mut told = given(Mouth::Talking);
    told.speaks(8);
    assert_eq!(told.then(), [Act::Listen { from: 100 }, Act::Hold]);
    assert!(told.number - 100 <= 250 / FRAME_MS, "a caller waits no longer for silence");
    told.partial(Meaning::Words, 30);
    assert_eq!(told.then(), [Act::Interrupt], "before the caller has finished");
    told.goes_on(30).pauses(30).heard(Meaning::Words, "wait, another one");
    assert_eq!(told.then(), [Act::Finish { from: 100, through: 145 }, submit("wait, another one", 100, 145)]);
}

#[test]
fn an_uh_huh_lets_the_agent_go_on_where_it_stopped() {
    let mut told = given(Mouth::Talking);
    told.speaks(20).partial(Meaning::Backchannel, 30).pauses(15);
    assert_eq!(
        told.then(),
        [Act::Listen { from: 100 }, Act::Hold, Act::Finish { from: 100, through: 127 }],
        "the agent is not kept silent for as long as after words"
    );
    told.heard(Meaning::Backchannel, "Uh-huh.");
    assert_eq!(told.then(), [Act::Resume]);
    assert_eq!(told.turn.mouth(), Mouth::Talking);
    assert!(!told.turn.is_held());
}

#[test]
fn a_cough_is_no_utterance() {
    let mut told = given(Mouth::Talking);
    told.speaks(3).pauses(30);
    assert_eq!(told.then(), [Act::Listen { from: 100 }, Act::Discard], "the agent was never held");
    let mut told = given(Mouth::Talking);
    told.speaks(10).pauses(15).heard(Meaning::Nothing, "");
    assert_eq!(told.then().last(), Some(&Act::Resume));
}

#[test]
fn a_yes_to_a_silent_agent_is_an_answer() {
    let mut told = given(Mouth::Silent);
    told.speaks(20).pauses(30).heard(Meaning::Backchannel, "Yes.");
    assert_eq!(told.then().last(), Some(&submit("Yes.", 100, 127)));
}

#[test]
fn who_goes_on_after_a_pause_takes_the_answer_back() {
    let mut told = given(Mouth::Silent);
    told.speaks(50).pauses(30).heard(Meaning::Words, "I would like").then();
    told.speaks(40);
    assert_eq!(told.then(), [Act::Listen { from: 180 }, Act::Hold]);
    told.pauses(15).heard(Meaning::Words, "an invoice");
    assert_eq!(
        told.then(),
        [Act::Finish { from: 180, through: 227 }, Act::Interrupt, submit("an invoice", 180, 227)]
    );
}

#[test]
fn speech_while_the_words_before_are_transcribed_holds_their_answer() {
    let mut told = given(Mouth::Silent);
    told.speaks(50).pauses(30).then();
    told.speaks(10).heard(Meaning::Words, "one").goes_on(1);
    assert_eq!(told.then(), [Act::Listen { from: 180 }, submit("one", 100, 157), Act::Hold]);
    assert_eq!(told.turn.needed_from(told.number), 180);
}

#[test]
fn an_utterance_waits_for_the_words_of_the_one_before() {
    let mut told = given(Mouth::Silent);
    told.speaks(50).pauses(30).speaks(20).pauses(60);
    assert_eq!(
        told.then(),
        [Act::Listen { from: 100 }, Act::Finish { from: 100, through: 157 }, Act::Listen { from: 180 }]
    );
    assert_eq!(told.turn.needed_from(told.number), 100);
    told.heard(Meaning::Nothing, "").pauses(1);
    assert_eq!(told.then(), [Act::Finish { from: 180, through: 207 }]);
}

#[test]
fn last_words_cannot_be_interrupted() {
    let mut told = given(Mouth::Thinking);
    told.take(Input::Talks { parting: true }).speaks(50).pauses(40);
    assert_eq!(told.then(), []);
}

#[test]
fn an_agent_that_has_spoken_is_no_longer_held() {
    let mut told = given(Mouth::Talking);
    told.speaks(10).take(Input::Spoken).pauses(30).heard(Meaning::Words, "thanks, bye");
    assert_eq!(
        told.then(),
        [
            Act::Listen { from: 100 },
            Act::Hold,
            Act::Finish { from: 100, through: 117 },
            submit("thanks, bye", 100, 117)
        ]
    );
}

#[test]
fn the_callers_side_may_end_the_utterance() {
    let mut told = given(Mouth::Silent);
    told.speaks(20).take(Input::EndOfUtterance).take(Input::EndOfUtterance);
    assert_eq!(told.then(), [Act::Listen { from: 100 }, Act::Finish { from: 100, through: 127 }]);
    let mut told = given(Mouth::Silent);
    told.take(Input::EndOfUtterance);
    assert_eq!(told.then(), [], "nothing was said");
}

#[test]
fn an_endless_utterance_is_cut() {
    let mut told = given(Mouth::Silent);
    told.speaks(3_000);
    assert_eq!(told.then(), [Act::Listen { from: 100 }, Act::Finish { from: 100, through: 3_107 }]);
}

#[test]
fn who_takes_over_a_held_agent_resumes_or_interrupts_it() {
    let held =
        || Told { turn: VoiceTurn::held(Patience::default(), Mouth::Talking), ..given(Mouth::Talking) };
    let mut told = held();
    told.speaks(20).pauses(15).heard(Meaning::Backchannel, "Mm-hm.");
    assert_eq!(told.then().last(), Some(&Act::Resume));
    let mut told = held();
    told.speaks(20).pauses(15).heard(Meaning::Words, "no");
    assert_eq!(told.then()[2..], [Act::Interrupt, submit("no", 100, 127)]);
}

fn any_input() -> impl Strategy<Value = (u8, bool, u32)> {
    (0..10_u8, any::<bool>(), 10..60_u32)
}

proptest! {
    /// Whatever comes in whatever order: an agent is resumed or interrupted only when it was held or busy, every
    /// utterance that began ends once, and a message is only what was finished.
    #[test]
    fn ears_and_mouth_stay_in_step(inputs in proptest::collection::vec(any_input(), 1..400)) {
        let mut turn = VoiceTurn::new(Patience::default(), Mouth::Silent);
        let (mut number, mut listening, mut finishing, mut held) = (0_u32, false, false, false);
        for (kind, voiced, silence) in inputs {
            number += 1;
            let meaning = [Meaning::Nothing, Meaning::Backchannel, Meaning::Words][silence as usize % 3];
            let input = match kind {
                0 => Input::SpeechStarted { from: number.saturating_sub(3), number },
                1 => Input::Partial { meaning, silence },
                2 => Input::Final { meaning, text: "words".to_owned() },
                3 => Input::EndOfUtterance,
                4 if turn.mouth() == Mouth::Thinking => Input::Talks { parting: silence > 55 },
                5 if turn.mouth() != Mouth::Silent => Input::Spoken,
                _ => Input::Frame { number, voiced },
            };
            if matches!(input, Input::Talks { parting: true } | Input::Spoken) {
                held = false;
            }
            let had_words = matches!(input, Input::Final { .. });
            for act in turn.take(input) {
                match act {
                    Act::Listen { .. } => { prop_assert!(!listening); listening = true; }
                    Act::WantPartial => prop_assert!(listening),
                    Act::Discard => { prop_assert!(listening); listening = false; }
                    Act::Finish { from, through } => {
                        prop_assert!(listening && !finishing && from < through);
                        (listening, finishing) = (false, true);
                    }
                    Act::Hold => { prop_assert!(!held); held = true; }
                    Act::Resume => { prop_assert!(held); held = false; }
                    Act::Interrupt => held = false,
                    Act::Submit { from, through, .. } => prop_assert!(had_words && finishing && from < through),
                }
            }
            if had_words { finishing = false; }
            prop_assert_eq!(held, turn.is_held());
            prop_assert!(!held || turn.mouth() != Mouth::Silent);
        }
    }
}
