use proptest::prelude::*;

use super::*;

const FIRST: &str = "Thank you for waiting. ";
const SECOND: &str = "Your balance is $42.50, and it is due on Monday. ";

/// Two pieces: 1,200 ms and 3,000 ms.
fn sent() -> Ledger {
    let mut ledger = Ledger::new("en-US");
    ledger.begin(1, None);
    for (piece, ms) in [(FIRST, 1_200), (SECOND, 3_000)] {
        ledger.piece(1, piece);
        ledger.audio(1, ms);
        ledger.piece_done(1);
    }
    ledger
}

fn heard_of(ledger: &Ledger) -> String {
    [FIRST, SECOND].concat()[..ledger.heard().text_end].to_owned()
}

#[test]
fn nothing_is_heard_before_it_is_played() {
    assert_eq!(Ledger::new("en-US").heard(), Heard::default());
    assert_eq!(sent().heard(), Heard::default());
}

#[test]
fn a_piece_that_was_played_is_heard_whole() {
    let mut ledger = sent();
    ledger.played(1, 1_200);
    assert_eq!(ledger.heard(), Heard { text_end: FIRST.len(), ms: 1_200, all: false });
}

#[test]
fn within_a_piece_words_are_heard_by_their_length_when_spoken() {
    let mut ledger = sent();
    ledger.played(1, 600);
    assert_eq!(heard_of(&ledger), "Thank you for");
    // "$42.50," is the half of its sentence when spoken, and a sixth of its letters.
    ledger.played(1, 1_200 + 1_150);
    assert_eq!(heard_of(&ledger), "Thank you for waiting. Your balance is");
    ledger.played(1, 1_200 + 1_800);
    assert_eq!(heard_of(&ledger), "Thank you for waiting. Your balance is $42.50,");
}

#[test]
fn all_is_heard_when_the_reply_is_finished_and_played() {
    let mut ledger = sent();
    ledger.played(1, 4_200);
    assert!(!ledger.heard().all);
    ledger.finish(1);
    assert_eq!(ledger.heard(), Heard { text_end: FIRST.len() + SECOND.len(), ms: 4_200, all: true });
}

#[test]
fn a_reply_without_a_word_to_say_is_heard() {
    let mut ledger = Ledger::new("en-US");
    ledger.begin(1, None);
    ledger.piece(1, "```\n1 + 1\n```");
    ledger.piece_done(1);
    ledger.finish(1);
    assert_eq!(ledger.heard(), Heard { text_end: 13, ms: 0, all: true });
}

#[test]
fn marks_that_come_back_after_the_clear_are_not_heard() {
    let mut ledger = sent();
    ledger.cleared(1, 1_200);
    ledger.played(1, 4_200);
    ledger.cleared(1, 4_200);
    assert_eq!(ledger.heard(), Heard { text_end: FIRST.len(), ms: 1_200, all: false });
}

#[test]
fn more_than_was_sent_cannot_be_heard() {
    let mut ledger = sent();
    ledger.played(1, 900_000);
    assert_eq!((ledger.heard().ms, ledger.queued_ms()), (4_200, 4_200));
}

#[test]
fn generations_are_kept_apart() {
    let mut ledger = sent();
    ledger.begin(2, None);
    ledger.piece(2, "Goodbye.");
    ledger.audio(2, 500);
    ledger.played(1, 4_200);
    ledger.cleared(1, 4_200);
    ledger.finish(1);
    assert_eq!(ledger.heard(), Heard::default());
    ledger.begin(1, None);
    ledger.piece_done(2);
    ledger.finish(2);
    ledger.played(2, 500);
    assert_eq!(ledger.heard(), Heard { text_end: 8, ms: 500, all: true });
}

#[test]
fn a_resumed_generation_continues_the_text() {
    let mut ledger = sent();
    ledger.cleared(1, 1_200);
    ledger.begin(2, Some(FIRST.len()));
    assert_eq!(ledger.heard().text_end, FIRST.len());
    ledger.piece(2, SECOND);
    ledger.audio(2, 3_000);
    ledger.piece_done(2);
    ledger.finish(2);
    ledger.played(2, 3_000);
    assert_eq!(ledger.heard(), Heard { text_end: FIRST.len() + SECOND.len(), ms: 4_200, all: true });
    assert_eq!(ledger.queued_ms(), 7_200);
}

#[test]
fn a_piece_whose_audio_still_comes_is_not_heard_whole() {
    let mut ledger = Ledger::new("en-US");
    ledger.begin(1, None);
    ledger.piece(1, SECOND);
    ledger.audio(1, 600);
    ledger.played(1, 600);
    let heard = &SECOND[..ledger.heard().text_end];
    assert!(["Your balance", "Your balance is"].contains(&heard), "{heard:?}");
}

#[test]
fn another_worker_goes_on_with_what_the_socket_remembers() {
    let reply = [FIRST, SECOND].concat();
    let pieces = vec![PlayedPiece { text: SECOND.to_owned(), through_ms: 3_000, complete: true }];
    let base = find_base(&reply, &pieces).unwrap();
    let remembered = Remembered { generation: 7, pieces, played_ms: 1_800, cleared: false, finished: true };
    let mut ledger = Ledger::restore("en-US", base, &remembered);
    assert_eq!(&reply[..ledger.heard().text_end], "Thank you for waiting. Your balance is $42.50,");
    ledger.played(7, 3_000);
    assert_eq!(ledger.heard(), Heard { text_end: reply.len(), ms: 3_000, all: true });
    assert_eq!(find_base("Something else.", &remembered.pieces), None);
}

#[test]
fn what_was_cleared_stays_cleared_for_another_worker() {
    let pieces = vec![PlayedPiece { text: SECOND.to_owned(), through_ms: 3_000, complete: true }];
    let remembered = Remembered { generation: 7, pieces, played_ms: 0, cleared: true, finished: true };
    let mut ledger = Ledger::restore("en-US", 0, &remembered);
    ledger.played(7, 3_000);
    assert_eq!(ledger.heard(), Heard::default());
}

#[derive(Debug, Clone)]
enum Step {
    Begin { new: bool, rises: u32 },
    Piece(usize),
    Audio(u32),
    PieceDone,
    Finish,
    Played { older: u32, ms: u32 },
    Cleared(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (any::<bool>(), 0_u32..3).prop_map(|(new, rises)| Step::Begin { new, rises }),
        3 => (0_usize..4).prop_map(Step::Piece),
        6 => (0_u32..2_000).prop_map(Step::Audio),
        3 => Just(Step::PieceDone),
        1 => Just(Step::Finish),
        6 => (0_u32..2, 0_u32..9_000).prop_map(|(older, ms)| Step::Played { older, ms }),
        1 => (0_u32..9_000).prop_map(Step::Cleared),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn heard_never_shrinks_within_a_reply_and_never_passes_what_was_sent(steps in steps()) {
        let texts = ["Yes. ", "Your order INV-7 is here, sir. ", "\u{4f60}\u{597d}\u{3002}", "caf\u{e9} 😊 "];
        let mut ledger = Ledger::new("en-US");
        let (mut number, mut written) = (1, String::new());
        ledger.begin(number, None);
        let mut last = ledger.heard();
        for step in steps {
            let queued = ledger.queued_ms();
            let guessed = matches!(step, Step::Piece(_) | Step::Audio(_) | Step::PieceDone);
            match step {
                Step::Begin { new, rises } => {
                    let (again, base) = (rises == 0, ledger.heard().text_end);
                    number += rises;
                    ledger.begin(number, (!new).then_some(base));
                    if !again {
                        written.truncate(if new { 0 } else { base });
                        last = if new { Heard::default() } else { Heard { all: false, ..last } };
                    }
                }
                Step::Piece(text) => {
                    let was = ledger.current.as_ref().unwrap().text_end;
                    ledger.piece(number, texts[text]);
                    if ledger.current.as_ref().unwrap().text_end > was { written.push_str(texts[text]) }
                }
                Step::Audio(ms) => ledger.audio(number, ms),
                Step::PieceDone => ledger.piece_done(number),
                Step::Finish => ledger.finish(number),
                Step::Played { older, ms } => {
                    ledger.played(number - older.min(number), ms);
                    if older > 0 { prop_assert_eq!(ledger.heard(), last) }
                }
                Step::Cleared(ms) => ledger.cleared(number, ms),
            }
            let heard = ledger.heard();
            prop_assert!(heard.ms >= last.ms && heard.ms <= ledger.queued_ms());
            prop_assert!(heard.text_end <= written.len() && written.is_char_boundary(heard.text_end));
            // Only a guess about a piece whose audio still came may shrink.
            prop_assert!(guessed || heard.text_end >= last.text_end, "{:?} after {:?}", heard, last);
            prop_assert!(queued <= ledger.queued_ms() || heard == Heard::default());
            last = heard;
        }
    }
}
