//! What always holds on a line, whatever comes in whatever order.

use events::JobId;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Passes(u64),
    Heard(usize),
    HeardAt(usize, u64),
    Hello(u32),
    Begin(u32),
    Piece(u32),
    Audio(u32, usize),
    PieceDone(u32),
    Finish(u32),
    Clear(u32),
    Committed(u32),
    Mark(u32, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let generation = 1..5_u32;
    prop_oneof![
        4 => (0..400_u64).prop_map(Step::Passes),
        2 => (0..500_usize).prop_map(Step::Heard),
        2 => (0..500_usize, 0..100_000_u64).prop_map(|(bytes, at)| Step::HeardAt(bytes, at)),
        1 => (0..4_u32).prop_map(Step::Hello),
        2 => generation.clone().prop_map(Step::Begin),
        1 => generation.clone().prop_map(Step::Piece),
        4 => (generation.clone(), 0..51_usize).prop_map(|(generation, frames)| Step::Audio(generation, frames)),
        1 => generation.clone().prop_map(Step::PieceDone),
        1 => generation.clone().prop_map(Step::Finish),
        1 => generation.clone().prop_map(Step::Clear),
        1 => (0..200_u32).prop_map(Step::Committed),
        1 => (generation, 0..20_000_u64).prop_map(|(generation, position)| Step::Mark(generation, position)),
    ]
}

/// What a listener outside knows of the newest generation; they count from 1.
#[derive(Default)]
struct Told {
    generation: u32,
    sent: u64,
    played_ms: u32,
    cleared: bool,
    next_frame: u32,
}

impl Told {
    fn follow(&mut self, out: Out) {
        match out {
            Out::Up(Up::Audio { frame, data }) => {
                assert_eq!(data.len(), 160);
                self.next_frame = self.next_frame.max(frame + 1);
            }
            Out::Play(audio) => {
                assert!(!self.cleared, "nothing is sent of what was cleared");
                self.sent += audio.len() as u64;
            }
            Out::Up(Up::Played { generation, ms }) => {
                assert_eq!(generation, self.generation);
                assert!(!self.cleared && ms >= self.played_ms, "what was heard stays heard");
                assert!(u64::from(ms) * 8 <= self.sent, "only what was sent can have been heard");
                self.played_ms = ms;
            }
            Out::Up(Up::Cleared { generation, ms }) if generation == self.generation => {
                assert!(ms >= self.played_ms && u64::from(ms) * 8 <= self.sent);
                assert!(!self.cleared || ms == self.played_ms, "the same answer every time");
                (self.played_ms, self.cleared) = (ms, true);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_account_is_right(steps in vec(step(), 1..120)) {
        let mut line = Line::open(AudioFormat::Mulaw8k, SocketLimits::default(), 0);
        let (mut now, mut attempt, mut told) = (Duration::ZERO, 0, Told::default());
        for step in steps {
            match step {
                Step::Passes(ms) => {
                    let until = now + Duration::from_millis(ms);
                    while line.wake_at() <= until && line.overdue(line.wake_at()).is_none() {
                        prop_assert!(line.wake_at() >= now);
                        let stands_still = line.wake_at() == now;
                        now = line.wake_at();
                        line.tick(now);
                        while let Some(out) = line.next() {
                            told.follow(out);
                        }
                        prop_assert!(!stands_still || line.wake_at() > now, "it would spin");
                    }
                    now = until;
                    line.tick(now);
                }
                Step::Heard(bytes) => drop(line.heard(now, &vec![1; bytes], None)),
                Step::HeardAt(bytes, at) => drop(line.heard(now, &vec![1; bytes], Some(at))),
                Step::Hello(by) => {
                    line.down(now, by, Down::Hello { worker_id: String::new() });
                    attempt = attempt.max(by);
                }
                Step::Begin(generation) => {
                    line.down(now, attempt, Down::Begin { generation, job_id: JobId::new() });
                    if generation > told.generation {
                        told = Told { generation, next_frame: told.next_frame, ..Told::default() };
                    }
                }
                Step::Piece(generation) => line.down(now, attempt, Down::Piece {
                    generation,
                    text: "x".to_owned()
                }),
                Step::Audio(generation, frames) => {
                    let data = Bytes::from(vec![2; frames * 160]);
                    line.down(now, attempt, Down::Audio { generation, data });
                }
                Step::PieceDone(generation) => line.down(now, attempt, Down::PieceDone { generation }),
                Step::Finish(generation) => line.down(now, attempt, Down::Finish { generation }),
                Step::Clear(generation) => line.down(now, attempt, Down::Clear { generation }),
                Step::Committed(through_frame) => line.down(now, attempt, Down::Committed { through_frame }),
                Step::Mark(generation, position) => line.mark_returned(now, Mark { generation, position }),
            }
            while let Some(out) = line.next() {
                told.follow(out);
            }
            prop_assert_eq!(told.next_frame, line.heard.next(), "every frame was told, once numbered");
            let state = line.state();
            prop_assert!(state.next_frame - state.first_kept_frame <= 1_500);
            if let Some(playback) = state.playback {
                prop_assert!(playback.played_ms <= playback.queued_ms);
                prop_assert!(playback.pieces.iter().all(|piece| piece.through_ms <= playback.queued_ms));
                prop_assert!(playback.pieces.is_sorted_by_key(|piece| piece.through_ms));
            }
        }
    }
}
