use super::*;

fn breaker() -> SharedBreaker {
    Breakers::new(BreakerConfig::default()).get("vendor", "model")
}

fn permit(breaker: &SharedBreaker, now: Instant) -> Permit {
    match breaker.admit(now) {
        Admission::Granted(permit) => permit,
        Admission::Refused { .. } => panic!("the breaker refused"),
    }
}

fn is_open(breaker: &SharedBreaker, now: Instant) -> bool {
    !breaker.would_admit(now) && matches!(breaker.admit(now), Admission::Refused { .. })
}

fn settle(breaker: &SharedBreaker, verdicts: &[Verdict], now: Instant) {
    for verdict in verdicts {
        permit(breaker, now).settle(*verdict, now);
    }
}

const OPEN_FOR: Duration = Duration::from_secs(10);

#[test]
fn opens_at_half_of_at_least_ten() {
    let (breaker, now) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Failure; 9], now);
    assert!(!is_open(&breaker, now));
    settle(&breaker, &[Verdict::Failure], now);
    assert!(is_open(&breaker, now));
    assert!(is_open(&breaker, now + OPEN_FOR - Duration::from_millis(1)));
}

#[test]
fn stays_closed_below_half() {
    let (breaker, now) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Success; 11], now);
    settle(&breaker, &[Verdict::Failure; 9], now);
    assert!(!is_open(&breaker, now), "9 of 20");
    // The window slides: a success falls out, a tenth failure comes in.
    settle(&breaker, &[Verdict::Failure], now);
    assert!(is_open(&breaker, now), "10 of 20");
}

#[test]
fn rate_limits_and_refusals_do_not_count() {
    let (breaker, now) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Alive; 50], now);
    settle(&breaker, &[Verdict::Unknown; 50], now);
    settle(&breaker, &[Verdict::Failure; 9], now);
    assert!(!is_open(&breaker, now));
}

#[test]
fn half_open_admits_one_probe_whose_success_closes() {
    let (breaker, start) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Failure; 10], start);
    let now = start + OPEN_FOR;
    let probe = permit(&breaker, now);
    assert!(is_open(&breaker, now), "a second probe was admitted");
    probe.settle(Verdict::Success, now);
    settle(&breaker, &[Verdict::Failure; 9], now);
    assert!(!is_open(&breaker, now), "old failures were not forgotten");
}

#[test]
fn a_failed_probe_opens_again() {
    let (breaker, start) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Failure; 10], start);
    let now = start + OPEN_FOR;
    permit(&breaker, now).settle(Verdict::Failure, now);
    assert!(is_open(&breaker, now + OPEN_FOR - Duration::from_millis(1)));
    assert!(!is_open(&breaker, now + OPEN_FOR));
}

#[test]
fn a_dropped_probe_gives_its_place_back() {
    let (breaker, start) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Failure; 10], start);
    let now = start + OPEN_FOR;
    drop(permit(&breaker, now));
    assert!(breaker.would_admit(now));
    permit(&breaker, now).settle(Verdict::Unknown, now);
    assert!(breaker.would_admit(now));
}

#[test]
fn a_forced_success_closes_and_a_forced_failure_changes_nothing() {
    let (breaker, now) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Failure; 10], now);
    breaker.force().settle(Verdict::Failure, now + Duration::from_secs(5));
    assert!(is_open(&breaker, now + Duration::from_secs(5)));
    assert!(breaker.would_admit(now + OPEN_FOR));
    breaker.force().settle(Verdict::Success, now + Duration::from_secs(6));
    assert!(!is_open(&breaker, now + Duration::from_secs(6)));
}

#[test]
fn late_results_from_before_it_opened_do_not_count() {
    let (breaker, now) = (breaker(), Instant::now());
    let late = permit(&breaker, now);
    settle(&breaker, &[Verdict::Failure; 10], now);
    late.settle(Verdict::Success, now);
    assert!(is_open(&breaker, now));
}

#[test]
fn vendors_and_models_fail_apart_and_their_number_is_bounded() {
    let (breakers, now) = (Breakers::new(BreakerConfig::default()), Instant::now());
    settle(&breakers.get("a", "one"), &[Verdict::Failure; 10], now);
    assert!(is_open(&breakers.get("a", "one"), now));
    assert!(!is_open(&breakers.get("a", "two"), now));
    assert!(!is_open(&breakers.get("b", "one"), now));
    for number in 0..10 * MODELS_PER_VENDOR {
        breakers.get("a", &number.to_string());
    }
    assert!(lock(&breakers.by_vendor)["a"].len() <= MODELS_PER_VENDOR);
    assert!(is_open(&breakers.get("a", "one"), now), "an open breaker was forgotten");
}
