use std::time::Duration;

use super::*;
use crate::resilience::{BreakerConfig, Breakers, Verdict};

const OPEN_FOR: Duration = Duration::from_secs(10);

/// A chain of two targets, and a clock that only the test moves.
struct Walk {
    breakers: Breakers,
    plan: Plan,
    now: Instant,
}

impl Walk {
    fn new(targets: &[&str]) -> Self {
        let breakers = Breakers::new(BreakerConfig { open_for: OPEN_FOR, ..BreakerConfig::default() });
        let plan = Self::plan(&breakers, targets);
        Self { breakers, plan, now: Instant::now() }
    }

    fn plan(breakers: &Breakers, targets: &[&str]) -> Plan {
        Plan::new(targets.iter().map(|name| breakers.get(name, "model", 1)), 3, 1, Backoff::default())
    }

    fn open(&self, target: &str) {
        for _ in 0..10 {
            self.breakers.get(target, "model", 1).0[0].force().settle(Verdict::Failure, self.now);
        }
    }

    /// The next attempt's (leg, number), waiting as told; how long it waited.
    fn attempt(&mut self) -> Option<(usize, u32, Duration)> {
        let start = self.now;
        loop {
            match self.plan.next(self.now) {
                Step::Attempt(ask) => return Some((ask.place.leg, ask.number, self.now - start)),
                Step::WaitUntil(until) => {
                    assert!(until > self.now, "told to wait for the past");
                    self.now = until;
                }
                Step::GiveUp => return None,
            }
        }
    }

    fn fail(&mut self, leg: usize, code: ErrorCode, class: Class) {
        self.plan.failed(
            Place { leg, endpoint: 0 },
            &VendorError { class, code, detail: code.to_string() },
            self.now,
            0.5,
        );
    }

    fn fail_retry(&mut self, leg: usize, code: ErrorCode) {
        self.fail(leg, code, Class::Retry { after: None });
    }

    /// All attempts as (leg, number), every one of them failing for the moment.
    fn all(&mut self) -> Vec<(usize, u32)> {
        let mut attempts = Vec::new();
        while let Some((leg, number, _)) = self.attempt() {
            attempts.push((leg, number));
            self.fail_retry(leg, ErrorCode::Http(500));
        }
        attempts
    }

    fn give_up(self) -> ChainFailed {
        self.plan.give_up([("a", "model"), ("b", "model")].into_iter())
    }
}

fn leg(step: Step) -> Option<usize> {
    if let Step::Attempt(ask) = step { Some(ask.place.leg) } else { None }
}

#[test]
fn every_target_gets_its_tries_and_numbers_count_on() {
    let mut walk = Walk::new(&["a", "b"]);
    assert_eq!(walk.all(), [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7), (1, 8)]);
}

#[test]
fn waits_lie_before_retries_only() {
    let mut walk = Walk::new(&["a", "b"]);
    let mut waits = Vec::new();
    while let Some((leg, _, wait)) = walk.attempt() {
        waits.push(wait.as_millis());
        walk.fail_retry(leg, ErrorCode::Http(500));
    }
    assert_eq!(waits, [0, 1500, 2500, 4500, 0, 1500, 2500, 4500], "jitter is one half");
}

#[test]
fn the_vendors_retry_after_sets_the_wait() {
    let mut walk = Walk::new(&["a"]);
    walk.attempt();
    walk.fail(0, ErrorCode::RateLimited, Class::Retry { after: Some(Duration::from_secs(3)) });
    assert_eq!(walk.attempt(), Some((0, 2, Duration::from_millis(3150))));
    walk.fail(0, ErrorCode::RateLimited, Class::Retry { after: Some(Duration::from_secs(600)) });
    assert_eq!(walk.attempt(), Some((0, 3, Duration::from_secs(10))), "capped");
}

#[test]
fn a_refusal_moves_on_without_retry_or_wait() {
    for class in [Class::Reject, Class::Fatal] {
        let mut walk = Walk::new(&["a", "b"]);
        walk.attempt();
        walk.fail(0, ErrorCode::Http(401), class);
        assert_eq!(walk.attempt(), Some((1, 2, Duration::ZERO)));
        walk.fail(1, ErrorCode::Http(404), class);
        assert_eq!(walk.attempt(), None);
    }
}

#[test]
fn an_open_target_is_skipped_at_once() {
    let mut walk = Walk::new(&["a", "b"]);
    walk.open("a");
    assert_eq!(walk.attempt(), Some((1, 1, Duration::ZERO)));
}

#[test]
fn a_target_that_opens_between_tries_is_left_without_waiting() {
    let mut walk = Walk::new(&["a", "b"]);
    walk.attempt();
    walk.fail_retry(0, ErrorCode::Http(500));
    walk.open("a");
    assert_eq!(walk.attempt(), Some((1, 2, Duration::ZERO)));
}

#[test]
fn when_all_are_open_the_one_that_opens_soonest_is_tried() {
    let mut walk = Walk::new(&["a", "b"]);
    walk.open("b");
    walk.now += Duration::from_secs(1);
    walk.open("a");
    assert_eq!(walk.attempt(), Some((1, 1, Duration::ZERO)));
}

#[test]
fn an_open_last_target_keeps_its_tries_and_its_pace() {
    let mut walk = Walk::new(&["a"]);
    walk.open("a");
    let first = walk.attempt();
    assert_eq!(first, Some((0, 1, Duration::ZERO)));
    walk.fail_retry(0, ErrorCode::Http(500));
    assert_eq!(walk.attempt(), Some((0, 2, Duration::from_millis(1500))));
    walk.fail_retry(0, ErrorCode::Http(500));
    assert_eq!(walk.all(), [(0, 3), (0, 4)]);
}

#[test]
fn a_half_open_target_gets_one_probe_and_others_go_round_it() {
    let mut walk = Walk::new(&["a", "b"]);
    walk.open("a");
    walk.now += OPEN_FOR;
    let Step::Attempt(probe) = walk.plan.next(walk.now) else { panic!("no probe") };
    assert_eq!(probe.place.leg, 0);
    let mut other = Walk::plan(&walk.breakers, &["a", "b"]);
    assert_eq!(leg(other.next(walk.now)), Some(1), "a second probe");
    probe.permit.settle(Verdict::Success, walk.now);
    let mut third = Walk::plan(&walk.breakers, &["a", "b"]);
    assert_eq!(leg(third.next(walk.now)), Some(0), "still open");
}

#[test]
fn timed_out_means_that_every_last_attempt_did() {
    let run = |codes: [ErrorCode; 4]| {
        let mut walk = Walk::new(&["a", "b"]);
        walk.plan.legs.iter_mut().for_each(|leg| leg.tries_left = 2);
        for code in codes {
            if let Some((leg, ..)) = walk.attempt() {
                walk.fail_retry(leg, code);
            }
        }
        assert_eq!(walk.attempt(), None);
        walk.give_up()
    };
    let (out, bad) = (ErrorCode::Timeout, ErrorCode::Http(500));
    assert_eq!(run([bad, out, bad, out]).kind, FailureKind::TimedOut);
    assert_eq!(run([out, out, out, bad]).kind, FailureKind::Failed);
    assert_eq!(run([out, bad, out, out]).kind, FailureKind::Failed);
}

#[test]
fn a_failure_names_every_targets_last_error() {
    let mut walk = Walk::new(&["a", "b"]);
    walk.attempt();
    walk.fail(0, ErrorCode::Http(401), Class::Fatal);
    walk.attempt();
    walk.fail(1, ErrorCode::Http(404), Class::Reject);
    let failed = walk.give_up();
    assert_eq!(failed.attempts, 2);
    assert_eq!(failed.detail, "a (model): http_401; b (model): http_404");
}
