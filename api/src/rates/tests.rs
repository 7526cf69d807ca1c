use events::{ApiKeyId, TenantId};
use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::*;

fn key() -> Subject {
    Subject::Key(ApiKeyId(uuid::Uuid::nil()))
}

fn rates(clock: &FakeRelativeClock) -> Rates<FakeRelativeClock> {
    Rates::with_clock(clock.clone())
}

fn through(rates: &Rates<FakeRelativeClock>, most: u32) -> bool {
    rates.take(key(), most).is_ok()
}

#[test]
fn a_bucket_is_full_at_first_and_refills_evenly() {
    let clock = FakeRelativeClock::default();
    let rates = rates(&clock);
    let first = rates.take(key(), 60).unwrap_or_else(|_| panic!("it is full"));
    assert_eq!((first.policy, first.remaining, first.reset), ("key", 59, Duration::from_secs(1)));
    for _ in 0..59 {
        assert!(through(&rates, 60));
    }
    let Err(Refused(standing)) = rates.take(key(), 60) else { panic!("it is empty") };
    assert_eq!((standing.remaining, standing.reset), (0, Duration::from_secs(1)));
    clock.advance(Duration::from_millis(999));
    assert!(!through(&rates, 60));
    clock.advance(Duration::from_millis(1));
    assert!(through(&rates, 60) && !through(&rates, 60));
    clock.advance(Duration::from_secs(600));
    assert_eq!((0..100).filter(|_| through(&rates, 60)).count(), 60, "never more than one minute's");
}

#[test]
fn limits_are_apart_and_a_changed_one_counts_from_now_on() {
    let clock = FakeRelativeClock::default();
    let rates = rates(&clock);
    assert!(through(&rates, 1) && !through(&rates, 1));
    assert!(rates.take(Subject::Tenant(TenantId::SYSTEM), 1).is_ok());
    assert!(through(&rates, 2) && through(&rates, 2) && !through(&rates, 2));
    assert!(!through(&rates, 0), "zero is none");
}

#[test]
fn what_others_let_through_is_taken_out_even_when_it_is_told_late() {
    let clock = FakeRelativeClock::default();
    let (one, other) = (rates(&clock), rates(&clock));
    for rates in [&one, &other] {
        assert_eq!((0..100).filter(|_| through(rates, 60)).count(), 60);
    }
    // Both have spent a minute's; neither may go on before what the other spent is refilled, too.
    let (by_one, by_other) = (one.tell(), other.tell());
    one.owe(&by_other);
    other.owe(&by_one);
    clock.advance(Duration::from_secs(60));
    let Err(Refused(standing)) = one.take(key(), 60) else { panic!("it is owed") };
    assert_eq!(standing.reset, Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    assert!(through(&one, 60) && !through(&one, 60));
    assert_eq!(one.tell().len(), 1);
    assert_eq!(one.tell(), [], "told once");
}

#[test]
fn a_process_that_never_saw_a_key_hears_of_it() {
    let clock = FakeRelativeClock::default();
    let (one, other) = (rates(&clock), rates(&clock));
    assert_eq!((0..10).filter(|_| through(&one, 10)).count(), 10);
    other.owe(&one.tell());
    assert!(!through(&other, 10));
}

#[test]
fn the_fields_are_those_of_the_draft() {
    let standing =
        Standing { policy: "tenant", per_minute: 100, remaining: 50, reset: Duration::from_secs(30) };
    let mut headers = HeaderMap::new();
    standing.write("/api/agents", &mut headers);
    assert_eq!(headers["ratelimit-policy"], "\"tenant\";q=100;w=60");
    assert_eq!(headers["ratelimit"], "\"tenant\";r=50;t=30");
    assert_eq!(headers.len(), 2);
    standing.write("/v1/models", &mut headers);
    assert_eq!(headers["x-ratelimit-limit-requests"], "100");
    assert_eq!(headers["x-ratelimit-remaining-requests"], "50");
    assert_eq!(headers["x-ratelimit-reset-requests"], "30s");
}

proptest! {
    /// Whatever the order of requests, pauses and messages between two processes: over the whole time they let through no
    /// more than a full bucket, its refill, and what one of them had let through before the other heard of it.
    #[test]
    fn two_processes_let_through_the_limit_and_what_is_on_its_way(
        per_minute in 1_u32..200,
        steps in prop::collection::vec((any::<bool>(), 1_usize..30, 0_u64..2_000), 1..80),
    ) {
        let clock = FakeRelativeClock::default();
        let processes = [rates(&clock), rates(&clock)];
        let (mut allowed, mut elapsed_ms, mut on_its_way) = (0_u64, 0, 0);
        for (which, requests, pause_ms) in steps {
            let (here, there) = (&processes[usize::from(which)], &processes[usize::from(!which)]);
            allowed += (0..requests).filter(|_| through(here, per_minute)).count() as u64;
            let told = here.tell();
            on_its_way = on_its_way.max(told.iter().map(|used| u64::from(used.count)).max().unwrap_or(0));
            there.owe(&told);
            clock.advance(Duration::from_millis(pause_ms));
            elapsed_ms += pause_ms;
        }
        let limit = u64::from(per_minute);
        prop_assert!(allowed <= limit + limit * elapsed_ms / 60_000 + 1 + on_its_way, "{allowed}");
    }
}
