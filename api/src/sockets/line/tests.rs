//! Given what happened on a line, when something more happens, then this is to be done.

use nats::media::{Playback, PlayedPiece};

use super::*;
use events::JobId;

const FRAME: usize = 160;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits() -> SocketLimits {
    SocketLimits { kept: ms(100), ..SocketLimits::default() }
}

/// A line with a worker, and nothing left to be done.
fn line() -> Line {
    let mut line = Line::open(AudioFormat::Mulaw8k, limits(), 0);
    line.down(ms(0), 1, hello());
    all(&mut line);
    line
}

fn hello() -> Down {
    Down::Hello { worker_id: "host:1".to_owned() }
}

fn all(line: &mut Line) -> Vec<Out> {
    std::iter::from_fn(|| line.next()).collect()
}

fn audio(frames: usize) -> Bytes {
    Bytes::from(vec![0x55; frames * FRAME])
}

fn job() -> JobId {
    JobId(uuid::Uuid::from_u128(7))
}

/// Frames of the caller among what is to be done: their numbers and first bytes.
fn frames(out: &[Out]) -> Vec<(u32, u8)> {
    let frame = |out: &Out| match out {
        Out::Up(Up::Audio { frame, data }) => {
            assert_eq!(data.len(), FRAME);
            Some((*frame, data[0]))
        }
        _ => None,
    };
    out.iter().filter_map(frame).collect()
}

fn played_bytes(out: &[Out]) -> usize {
    out.iter().map(|out| if let Out::Play(audio) = out { audio.len() } else { 0 }).sum()
}

fn state(out: &[Out]) -> SocketState {
    let state = |out: &Out| match out {
        Out::Up(Up::State(state)) => Some(state.clone()),
        _ => None,
    };
    out.iter().find_map(state).unwrap()
}

/// Begins a generation and says so many frames of it.
fn says(line: &mut Line, now: Duration, generation: u32, frames: usize) {
    line.down(now, 1, Down::Begin { generation, job_id: job() });
    line.down(now, 1, Down::Piece { generation, text: "One.".to_owned() });
    line.down(now, 1, Down::Audio { generation, data: audio(frames) });
}

/// Lets time pass as the socket does: awake whenever the line wants to be.
fn passes(line: &mut Line, from: Duration, to: Duration) -> Vec<(Duration, Out)> {
    let mut done: Vec<_> = all(line).into_iter().map(|out| (from, out)).collect();
    let mut now = from;
    while line.wake_at() <= to {
        assert!(line.wake_at() > now, "awake at {now:?} and again at {:?}", line.wake_at());
        now = line.wake_at();
        line.tick(now);
        done.extend(all(line).into_iter().map(|out| (now, out)));
    }
    line.tick(to);
    done.extend(all(line).into_iter().map(|out| (to, out)));
    done
}

#[test]
fn chunks_of_any_length_become_numbered_frames() {
    let mut line = line();
    line.heard(ms(0), &[1; 100], None).unwrap();
    assert_eq!(all(&mut line), []);
    line.heard(ms(20), &[2; 400], None).unwrap();
    assert_eq!(frames(&all(&mut line)), [(0, 1), (1, 2), (2, 2)]);
    line.heard(ms(40), &[3; 140], None).unwrap();
    assert_eq!(frames(&all(&mut line)), [(3, 2)]);
}

#[test]
fn time_that_a_carrier_lost_is_silence() {
    let mut line = line();
    for at in [0, 80, 100, 120] {
        line.heard(ms(at), &audio(1), Some(at)).unwrap();
    }
    let expected = [(0, 0x55), (1, 0xff), (2, 0xff), (3, 0xff), (4, 0x55), (5, 0x55), (6, 0x55)];
    assert_eq!(frames(&all(&mut line)), expected);
}

#[test]
fn what_nobody_committed_is_told_to_whoever_says_hello() {
    let mut line = Line::open(AudioFormat::Mulaw8k, limits(), 0);
    assert_eq!(state(&all(&mut line)).next_frame, 0);
    line.heard(ms(0), &[0; FRAME], None).unwrap();
    line.heard(ms(20), &[1; FRAME], None).unwrap();
    all(&mut line);

    line.down(ms(30), 1, hello());
    let out = all(&mut line);
    assert_eq!((state(&out).first_kept_frame, state(&out).next_frame), (0, 2));
    assert_eq!(frames(&out), [(0, 0), (1, 1)]);

    line.down(ms(40), 1, Down::Committed { through_frame: 1 });
    line.down(ms(50), 2, hello());
    assert_eq!(frames(&all(&mut line)), [(1, 1)]);
    line.down(ms(50), 2, Down::Committed { through_frame: u32::MAX });
    line.down(ms(50), 3, hello());
    let out = all(&mut line);
    assert_eq!((state(&out).first_kept_frame, state(&out).next_frame), (2, 2));
}

#[test]
fn only_the_newest_audio_is_kept() {
    let mut line = Line::open(AudioFormat::Mulaw8k, limits(), 0);
    for number in 0..9 {
        line.heard(ms(20 * number), &[number as u8; FRAME], None).unwrap();
    }
    all(&mut line);
    line.down(ms(200), 1, hello());
    let out = all(&mut line);
    assert_eq!(state(&out).first_kept_frame, 4);
    assert_eq!(frames(&out), [(4, 4), (5, 5), (6, 6), (7, 7), (8, 8)]);
}

#[test]
fn a_worker_that_was_replaced_is_not_heard() {
    let mut line = line();
    line.down(ms(0), 2, hello());
    all(&mut line);
    says(&mut line, ms(0), 1, 5);
    line.down(ms(0), 1, Down::HangUp { reason: "stale".to_owned() });
    assert_eq!(all(&mut line), []);
    line.down(ms(0), 1, hello());
    assert_eq!(all(&mut line), []);
}

#[test]
fn speech_goes_out_in_real_time_with_a_small_lead() {
    let mut line = line();
    says(&mut line, ms(0), 1, 100);
    let done = passes(&mut line, ms(0), ms(1_950));
    let mut sent = 0;
    for (at, out) in &done {
        if let Out::Play(audio) = out {
            sent += audio.len() / FRAME * 20;
            assert!(sent as u64 <= at.as_millis() as u64 + 100, "{sent} ms sent at {at:?}");
        }
    }
    assert_eq!(sent, 2_000);
    let sends = done.iter().filter(|(_, out)| matches!(out, Out::Play(_))).count();
    assert!(sends <= 52, "{sends} sends");
}

#[test]
fn what_was_played_is_told_now_and_then_and_at_the_end() {
    let mut line = line();
    says(&mut line, ms(0), 1, 25);
    line.down(ms(0), 1, Down::Finish { generation: 1 });
    let done = passes(&mut line, ms(0), ms(1_000));
    let told: Vec<_> = done
        .iter()
        .filter_map(|(at, out)| match out {
            Out::Up(Up::Played { generation: 1, ms }) => Some((at.as_millis(), *ms)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(200, 200), (400, 400), (500, 500)]);
}

#[test]
fn a_late_mark_says_how_late_everything_is() {
    let mut line = line();
    says(&mut line, ms(0), 1, 5);
    line.down(ms(0), 1, Down::PieceDone { generation: 1 });
    let out = all(&mut line);
    let mark = Mark { generation: 1, position: 5 * FRAME as u64 };
    assert_eq!(out.last(), Some(&Out::Mark(mark)), "{out:?}");
    // It would have come after 100 ms.
    line.down(ms(50), 1, Down::Audio { generation: 1, data: audio(50) });
    passes(&mut line, ms(50), ms(180));
    line.mark_returned(ms(180), mark);
    passes(&mut line, ms(180), ms(500));
    line.down(ms(500), 2, hello());
    assert_eq!(state(&all(&mut line)).playback.unwrap().played_ms, 420, "80 ms behind the clock");
}

#[test]
fn marks_that_were_not_sent_or_come_back_from_a_clear_prove_nothing() {
    let mut line = line();
    says(&mut line, ms(0), 1, 50);
    line.down(ms(0), 1, Down::PieceDone { generation: 1 });
    let mark = Mark { generation: 1, position: 50 * FRAME as u64 };
    line.mark_returned(ms(40), mark);
    line.down(ms(60), 1, Down::Clear { generation: 1 });
    line.mark_returned(ms(61), mark);
    line.mark_returned(ms(61), Mark { generation: 9, position: 1 });
    let out = all(&mut line);
    assert!(out.contains(&Out::Up(Up::Cleared { generation: 1, ms: 60 })), "{out:?}");
    line.down(ms(70), 2, hello());
    assert_eq!(state(&all(&mut line)).playback.unwrap().played_ms, 60);
}

#[test]
fn clearing_stops_at_once_and_says_what_was_heard_however_often() {
    let mut line = line();
    says(&mut line, ms(0), 1, 100);
    passes(&mut line, ms(0), ms(730));
    line.down(ms(730), 1, Down::Clear { generation: 1 });
    assert_eq!(all(&mut line), [Out::Clear, Out::Up(Up::Cleared { generation: 1, ms: 720 })]);
    line.down(ms(740), 1, Down::Audio { generation: 1, data: audio(10) });
    assert_eq!(passes(&mut line, ms(740), ms(2_000)), []);
    line.down(ms(2_000), 1, Down::Clear { generation: 1 });
    assert!(all(&mut line).contains(&Out::Up(Up::Cleared { generation: 1, ms: 720 })));
    // Nobody may wait for ever for the answer about speech that never was.
    line.down(ms(2_000), 1, Down::Clear { generation: 5 });
    assert_eq!(all(&mut line), [Out::Up(Up::Cleared { generation: 5, ms: 0 })]);
}

#[test]
fn after_a_clear_the_next_generation_is_heard_at_once() {
    let mut line = line();
    says(&mut line, ms(0), 1, 100);
    line.down(ms(10), 1, Down::Clear { generation: 1 });
    all(&mut line);
    says(&mut line, ms(10), 2, 100);
    assert_eq!(played_bytes(&all(&mut line)), 5 * FRAME);
    line.down(ms(10), 1, Down::Audio { generation: 1, data: audio(10) });
    line.down(ms(10), 1, Down::Begin { generation: 1, job_id: job() });
    line.down(ms(20), 2, hello());
    assert_eq!(state(&all(&mut line)).playback.unwrap().queued_ms, 2_000);
}

#[test]
fn a_new_worker_is_told_which_pieces_there_are_and_how_far_they_were_heard() {
    let mut line = line();
    says(&mut line, ms(0), 3, 10);
    line.down(ms(0), 1, Down::PieceDone { generation: 3 });
    line.down(ms(0), 1, Down::Piece { generation: 3, text: "Two.".to_owned() });
    line.down(ms(0), 1, Down::Audio { generation: 3, data: audio(5) });
    passes(&mut line, ms(0), ms(240));
    line.down(ms(240), 2, hello());
    let piece =
        |text: &str, through_ms, complete| PlayedPiece { text: text.to_owned(), through_ms, complete };
    let expected = Playback {
        generation: 3,
        job_id: job(),
        queued_ms: 300,
        played_ms: 240,
        cleared: false,
        finished: false,
        pieces: vec![piece("One.", 200, true), piece("Two.", 300, false)],
    };
    assert_eq!(state(&all(&mut line)).playback, Some(expected));
}

#[test]
fn speech_survives_its_worker() {
    let mut line = line();
    says(&mut line, ms(0), 1, 50);
    passes(&mut line, ms(0), ms(500));
    line.down(ms(500), 2, hello());
    let done = passes(&mut line, ms(500), ms(1_500));
    assert!(done.iter().any(|(_, out)| *out == Out::Up(Up::Played { generation: 1, ms: 1_000 })), "{done:?}");
}

#[test]
fn audio_far_beyond_its_pace_is_refused_and_a_burst_is_not() {
    let mut line = line();
    assert_eq!(line.heard(ms(0), &audio(1_450), None), Ok(()), "29 s after a stall");
    let mut line = line_at_ten_times();
    assert_eq!(line(ms(20_000)), Err(Refusal::TooMuchAudio));
}

/// Hears ten times real time until told to stop.
fn line_at_ten_times() -> impl FnMut(Duration) -> Result<(), Refusal> {
    let mut line = line();
    move |until| {
        let mut now = ms(0);
        while now < until {
            line.heard(now, &audio(10), None)?;
            all(&mut line);
            now += ms(20);
        }
        Ok(())
    }
}

#[test]
fn each_limit_ends_the_line_in_its_own_words() {
    let mut unattended = Line::open(AudioFormat::Mulaw8k, limits(), 0);
    all(&mut unattended);
    assert_eq!(unattended.overdue(ms(9_999)), None);
    assert_eq!(unattended.wake_at(), ms(10_000));
    assert_eq!(unattended.overdue(ms(10_000)), Some(Refusal::AtCapacity));

    let mut attended = line();
    assert_eq!(attended.overdue(ms(10_000)), None);
    assert_eq!(attended.overdue(ms(60_000)), Some(Refusal::Silent));
    attended.heard(ms(50_000), &audio(1), None).unwrap();
    assert_eq!(attended.overdue(ms(60_000)), None);
    assert_eq!(attended.wake_at(), ms(110_000));
    assert_eq!(attended.overdue(ms(3_600_000)), Some(Refusal::CallTooLong));
}
