use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::session::HISTORY_LINES;

const WINDOW: Window = Window(8_192);

/// Questions and answers of `tokens` each.
fn lines(count: usize, tokens: u64) -> Vec<Said> {
    (0..count).map(|number| Said { by_customer: number % 2 == 0, tokens }).collect()
}

/// The load that is left when what was decided is done; a summary takes all that it may have.
fn after(load: &Load, leave_out: usize, window: Window) -> Load {
    Load { open: load.open, summary: window.summary(), lines: load.lines[leave_out..].to_vec() }
}

fn told(load: &Load) -> u64 {
    load.open + load.summary + load.lines.iter().map(tokens).sum::<u64>()
}

#[test]
fn a_short_conversation_is_told_whole() {
    assert_eq!(fit(&Load { open: 100, summary: 0, lines: lines(20, 50) }, WINDOW), Fit::Whole);
    assert_eq!(fit(&Load::default(), WINDOW), Fit::Whole);
}

#[test]
fn when_the_room_is_full_half_of_it_stays() {
    // Room: 8,192 / 4 * 3 - 1,024 = 5,120 tokens. 52 lines take 100 each, 2,560 - 1,024 - 100 are left for the newest.
    let load = Load { open: 100, summary: 0, lines: lines(52, 96) };
    let Fit::Shorten { leave_out, summarise } = fit(&load, WINDOW) else { panic!("told whole") };
    assert_eq!((leave_out, summarise), (38, 38));
    let left = after(&load, leave_out, WINDOW);
    assert!(told(&left) <= WINDOW.room() / 2);
    assert_eq!(fit(&left, WINDOW), Fit::Whole);
}

#[test]
fn many_short_lines_are_too_many_and_half_of_them_stay() {
    let load = Load { open: 10, summary: 0, lines: lines(MANY_LINES, 1) };
    assert_eq!(fit(&load, Window(1_000_000)), Fit::Shorten { leave_out: 40, summarise: 40 });
    assert_eq!(fit(&Load { lines: lines(MANY_LINES - 1, 1), ..load }, Window(1_000_000)), Fit::Whole);
    const { assert!(MANY_LINES < HISTORY_LINES) };
}

#[test]
fn the_last_few_lines_stay_if_there_is_any_room_for_them() {
    let load = Load { open: 100, summary: 0, lines: lines(6, 900) };
    assert_eq!(fit(&load, WINDOW), Fit::Shorten { leave_out: 2, summarise: 2 });
    // With long words before them they do not fit.
    let load = Load { open: 3_000, ..load };
    assert_eq!(fit(&load, WINDOW), Fit::Shorten { leave_out: 6, summarise: 4 });
}

#[test]
fn a_question_stays_with_its_answer_and_one_without_an_answer_stands_alone() {
    // The answer alone would fit.
    let mut load = Load { open: 0, summary: 0, lines: lines(8, 300) };
    load.lines[6].tokens = 5_000;
    let Fit::Shorten { leave_out, .. } = fit(&load, WINDOW) else { panic!("told whole") };
    assert_eq!(leave_out, 8);
    let unanswered = Said { by_customer: true, tokens: 10 };
    load.lines.push(unanswered);
    assert!(matches!(fit(&load, WINDOW), Fit::Shorten { leave_out: 8, .. }));
}

#[test]
fn a_message_that_does_not_fit_alone_is_told_so_and_one_that_just_does_goes_without_a_past() {
    let most = WINDOW.most();
    let load = Load { open: most, summary: 50, lines: lines(2, 10) };
    assert_eq!(fit(&load, WINDOW), Fit::Shorten { leave_out: 2, summarise: 2 });
    assert_eq!(fit(&Load { lines: vec![], ..load.clone() }, WINDOW), Fit::Whole);
    assert_eq!(fit(&Load { open: most + 1, ..load }, WINDOW), Fit::TooLarge { tokens: most + 1, most });
}

#[test]
fn what_one_request_cannot_take_is_summarised_in_several() {
    // Of a conversation held with a model of a much larger window.
    let load = Load { open: 10, summary: 0, lines: lines(20, 1_000) };
    let Fit::Shorten { leave_out, summarise } = fit(&load, WINDOW) else { panic!("told whole") };
    assert_eq!((leave_out, summarise), (16, 2));
    // A turn that is too long for it is taken all the same: the request is cut.
    let load = Load { lines: lines(4, 50_000), ..load };
    assert_eq!(fit(&load, WINDOW), Fit::Shorten { leave_out: 4, summarise: 2 });
}

#[test]
fn of_windows_the_models_own_goes_before_its_vendors() {
    let known = |model: Option<&str>, tokens| ModelWindow {
        provider: "vendor_a".to_owned(),
        model: model.map(str::to_owned),
        tokens,
    };
    let windows = Windows(vec![known(None, 8_000), known(Some("large"), 64_000), known(None, 9_000)]);
    assert_eq!(windows.of("vendor_a", "large"), Window(64_000));
    assert_eq!(windows.of("vendor_a", "small"), Window(8_000));
    assert_eq!(windows.of("vendor_b", "large"), Windows::UNKNOWN);
}

/// Whatever the conversation: nothing is too large for the window, turns are whole, the newest stay, and what was
/// decided need not be decided again.
#[test]
fn every_decision_fits_and_is_made_once() {
    let mut rng = StdRng::seed_from_u64(19);
    for case in 0..4_000 {
        let window = Window(rng.random_range(Windows::SMALLEST..40_000));
        let longest = rng.random_range(1..3_000);
        let load = Load {
            open: rng.random_range(0..window.0),
            summary: rng.random_range(0..2_000),
            lines: (0..rng.random_range(0..=HISTORY_LINES))
                .map(|_| Said { by_customer: rng.random_bool(0.6), tokens: rng.random_range(0..longest) })
                .collect(),
        };
        let context = format!("case {case}: {load:?} in {window:?}");
        match fit(&load, window) {
            Fit::TooLarge { .. } => assert!(load.open > window.most(), "{context}"),
            Fit::Whole => {
                let summary = load.summary.min(window.summary());
                assert!(told(&Load { summary, ..load }) + window.answer() <= window.0, "{context}");
            }
            Fit::Shorten { leave_out, summarise } => {
                assert!(
                    0 < summarise && summarise <= leave_out && leave_out <= load.lines.len(),
                    "{context}"
                );
                let whole = |at: usize| load.lines.get(at).is_none_or(|line| line.by_customer);
                assert!(whole(leave_out) && whole(summarise), "a turn was split, {context}");
                let left = after(&load, leave_out, window);
                assert!(left.lines.is_empty() || told(&left) <= window.room(), "{context}");
                assert_eq!(fit(&left, window), Fit::Whole, "{context}");
                let half = told(&left) <= window.room() / 2 && left.lines.len() <= MANY_LINES / 2;
                assert!(half || left.lines.len() <= FEW_LINES, "{context}");
            }
        }
    }
}
