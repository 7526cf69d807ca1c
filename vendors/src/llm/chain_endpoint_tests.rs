//! Several endpoints of one vendor, and a second attempt beside a slow one.

use proptest::prelude::*;

use super::*;
use crate::resilience::{BreakerConfig, Breakers, Verdict};

const MAX_RETRIES: u32 = 1;

/// Targets with so many endpoints each, at a time that stands still unless a test moves it.
struct Walk {
    breakers: Breakers,
    endpoints: Vec<usize>,
    plan: Plan,
    now: Instant,
}

impl Walk {
    fn new(endpoints: &[usize]) -> Self {
        let breakers = Breakers::new(BreakerConfig::default());
        let plan = plan(&breakers, endpoints);
        Self { breakers, endpoints: endpoints.to_vec(), plan, now: Instant::now() }
    }

    /// Another call to the same targets.
    fn another(&mut self) {
        self.plan = plan(&self.breakers, &self.endpoints);
    }

    fn breaker(&self, leg: usize, endpoint: usize) -> SharedBreaker {
        self.breakers.get("vendor", &leg.to_string(), self.endpoints[leg]).0[endpoint].clone()
    }

    fn open(&self, leg: usize, endpoint: usize) {
        for _ in 0..10 {
            self.breaker(leg, endpoint).force().settle(Verdict::Failure, self.now);
        }
    }

    /// The next attempt; panics when there is a wait before it, or none.
    fn at_once(&mut self) -> Ask {
        match self.plan.next(self.now) {
            Step::Attempt(ask) => ask,
            other => panic!("{other:?}"),
        }
    }

    fn fail(&mut self, ask: Ask, code: ErrorCode, class: Class) {
        self.plan.failed(ask.place, &VendorError { class, code, detail: code.to_string() }, self.now, 0.5);
    }

    fn limit(&mut self, ask: Ask) {
        self.fail(ask, ErrorCode::RateLimited, Class::Retry { after: Some(Duration::from_secs(3)) });
    }

    fn refuse(&mut self, ask: Ask) {
        self.fail(ask, ErrorCode::Http(401), Class::Fatal);
    }

    fn hedge(&mut self, beside: Place) -> Option<(usize, usize)> {
        self.plan.hedge(beside, self.now).map(|ask| at(&ask))
    }
}

fn plan(breakers: &Breakers, endpoints: &[usize]) -> Plan {
    let legs = endpoints.iter().enumerate();
    let legs = legs.map(|(leg, endpoints)| breakers.get("vendor", &leg.to_string(), *endpoints));
    Plan::new(legs, MAX_RETRIES, 1, Backoff::default())
}

fn at(ask: &Ask) -> (usize, usize) {
    (ask.place.leg, ask.place.endpoint)
}

#[test]
fn calls_go_to_the_endpoint_with_the_least_under_way_and_take_turns() {
    let mut walk = Walk::new(&[3]);
    let mut held = Vec::new();
    for expected in [0, 1, 2, 0, 1, 2] {
        let ask = walk.at_once();
        assert_eq!(at(&ask), (0, expected));
        held.push(ask);
        walk.another();
    }
    // The second is free again, whoever's turn it is.
    held.remove(4);
    for _ in 0..3 {
        assert_eq!(at(&walk.at_once()), (0, 1));
        walk.another();
    }
}

#[test]
fn a_key_that_is_turned_away_is_passed_over_at_once_within_the_same_try() {
    let mut walk = Walk::new(&[3, 1]);
    for expected in [0, 1, 2] {
        let ask = walk.at_once();
        assert_eq!((at(&ask), ask.number), ((0, expected), expected as u32 + 1));
        walk.limit(ask);
    }
    // Only now it waits as long as the vendor wished; then the last try goes round again, and the chain goes on.
    let Step::WaitUntil(until) = walk.plan.next(walk.now) else { panic!("no wait") };
    assert_eq!(until - walk.now, Duration::from_millis(3150));
    walk.now = until;
    for expected in [(0, 0), (0, 1), (0, 2), (1, 0)] {
        let ask = walk.at_once();
        assert_eq!(at(&ask), expected);
        walk.limit(ask);
    }
}

#[test]
fn a_refused_key_is_not_asked_again_and_the_last_one_ends_the_target() {
    let mut walk = Walk::new(&[2, 1]);
    let ask = walk.at_once();
    walk.refuse(ask);
    let ask = walk.at_once();
    assert_eq!(at(&ask), (0, 1));
    walk.fail(ask, ErrorCode::Http(500), Class::Retry { after: None });
    let Step::WaitUntil(until) = walk.plan.next(walk.now) else { panic!("the refused key was asked") };
    walk.now = until;
    let ask = walk.at_once();
    assert_eq!(at(&ask), (0, 1));
    walk.refuse(ask);
    assert_eq!(at(&walk.at_once()), (1, 0));
}

#[test]
fn other_calls_prefer_a_key_that_was_not_turned_away() {
    let mut walk = Walk::new(&[2]);
    let ask = walk.at_once();
    walk.limit(ask);
    for _ in 0..3 {
        walk.another();
        assert_eq!(at(&walk.at_once()), (0, 1));
    }
    let refused = walk.at_once();
    walk.refuse(refused);
    walk.now += Duration::from_secs(4);
    walk.another();
    assert_eq!(at(&walk.at_once()), (0, 0), "its wait is over");
    walk.now += REFUSED_FOR;
    walk.another();
    walk.another();
    let both = [at(&walk.at_once()), {
        walk.another();
        at(&walk.at_once())
    }];
    assert!(both.contains(&(0, 1)), "{both:?}: a person may have mended it");
}

#[test]
fn when_all_keys_have_been_turned_away_a_call_tries_all_the_same() {
    let mut walk = Walk::new(&[2]);
    for _ in 0..2 {
        let ask = walk.at_once();
        walk.refuse(ask);
    }
    walk.another();
    assert_eq!(at(&walk.at_once()).0, 0);
}

#[test]
fn a_failure_costs_a_try_and_the_next_goes_to_another_endpoint_at_once() {
    let mut walk = Walk::new(&[3, 1]);
    for expected in [(0, 0), (0, 1), (1, 0)] {
        let ask = walk.at_once();
        assert_eq!(at(&ask), expected);
        walk.fail(ask, ErrorCode::Http(500), Class::Retry { after: None });
    }
}

#[test]
fn an_open_endpoint_is_passed_over_alone() {
    let mut walk = Walk::new(&[2, 1]);
    walk.open(0, 0);
    assert_eq!(at(&walk.at_once()), (0, 1));
    walk.open(0, 1);
    walk.another();
    assert_eq!(at(&walk.at_once()), (1, 0));
}

#[test]
fn what_the_vendor_will_never_take_no_endpoint_is_asked_again() {
    let mut walk = Walk::new(&[2, 1]);
    let ask = walk.at_once();
    walk.fail(ask, ErrorCode::Http(400), Class::Reject);
    assert_eq!(at(&walk.at_once()), (1, 0));
}

#[test]
fn a_hedge_goes_to_the_next_endpoint_else_the_next_target_else_the_same() {
    let mut walk = Walk::new(&[2, 1]);
    let first = walk.at_once();
    assert_eq!(walk.hedge(first.place), Some((0, 1)));

    let mut walk = Walk::new(&[1, 1]);
    let first = walk.at_once();
    assert_eq!(walk.hedge(first.place), Some((1, 0)));

    let mut walk = Walk::new(&[1]);
    let first = walk.at_once();
    assert_eq!(walk.hedge(first.place), Some((0, 0)));
    assert_eq!(walk.hedge(first.place), None, "both tries are spent");
}

#[test]
fn a_hedge_goes_round_what_is_open_or_was_turned_away() {
    let mut walk = Walk::new(&[2, 2]);
    let first = walk.at_once();
    walk.open(0, 1);
    walk.breaker(1, 0).avoid_until(walk.now + Duration::from_secs(1));
    assert_eq!(walk.hedge(first.place), Some((1, 1)));

    let mut walk = Walk::new(&[1]);
    walk.open(0, 0);
    let forced = walk.at_once();
    assert_eq!(walk.hedge(forced.place), None);
}

#[test]
fn a_hedge_is_a_try_of_its_target_and_takes_a_number() {
    let mut walk = Walk::new(&[1, 1]);
    let first = walk.at_once();
    let second = walk.plan.hedge(first.place, walk.now).unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    walk.fail(second, ErrorCode::Http(500), Class::Retry { after: None });
    walk.fail(first, ErrorCode::Http(400), Class::Reject);
    let Step::WaitUntil(until) = walk.plan.next(walk.now) else { panic!("no wait") };
    walk.now = until;
    let last = walk.at_once();
    assert_eq!((at(&last), last.number), ((1, 0), 3), "one try of two was the hedge");
    walk.fail(last, ErrorCode::Http(500), Class::Retry { after: None });
    assert!(matches!(walk.plan.next(walk.now), Step::GiveUp));
}

/// How an attempt goes.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fails,
    Limited,
    Refused,
    Rejected,
    /// Another one is heard.
    Loses,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![Fate::Fails, Fate::Limited, Fate::Refused, Fate::Rejected, Fate::Loses])
}

proptest! {
    /// Whatever happens, a walk ends; numbers count up from 1 without a gap; each target is asked no more often than its
    /// tries times its endpoints.
    #[test]
    fn every_walk_ends_within_its_tries(
        endpoints in prop::collection::vec(1_usize..4, 1..4),
        fates in prop::collection::vec((fate(), fate(), any::<bool>(), 0_u64..4000), 100),
    ) {
        let mut walk = Walk::new(&endpoints);
        let (mut numbers, mut asked) = (Vec::new(), vec![0_usize; endpoints.len()]);
        let mut fates = fates.into_iter();
        loop {
            let first = match walk.plan.next(walk.now) {
                Step::Attempt(ask) => ask,
                Step::WaitUntil(until) => {
                    prop_assert!(until > walk.now);
                    walk.now = until;
                    continue;
                }
                Step::GiveUp => break,
            };
            let Some((one, other, is_slow, passes_ms)) = fates.next() else {
                return Err(TestCaseError::fail("the walk does not end"));
            };
            let hedge = if is_slow { walk.plan.hedge(first.place, walk.now) } else { None };
            walk.now += Duration::from_millis(passes_ms);
            for (ask, fate) in hedge.into_iter().map(|ask| (ask, other)).chain([(first, one)]) {
                numbers.push(ask.number);
                asked[ask.place.leg] += 1;
                match fate {
                    Fate::Fails => walk.fail(ask, ErrorCode::Timeout, Class::Retry { after: None }),
                    Fate::Limited => walk.limit(ask),
                    Fate::Refused => walk.refuse(ask),
                    Fate::Rejected => walk.fail(ask, ErrorCode::Http(400), Class::Reject),
                    Fate::Loses => drop(ask.permit),
                }
            }
        }
        numbers.sort_unstable();
        prop_assert_eq!(&numbers, &(1..=numbers.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(walk.plan.attempts() as usize, numbers.len());
        for (asked, endpoints) in asked.iter().zip(&endpoints) {
            prop_assert!(*asked <= (MAX_RETRIES as usize + 1) * endpoints, "{} of {}", asked, endpoints);
        }
    }
}
