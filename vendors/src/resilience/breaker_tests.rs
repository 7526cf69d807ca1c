use super::*;

fn breaker() -> SharedBreaker {
    of(&Breakers::new(BreakerConfig::default()), "vendor", "model")
}

/// A vendor's one breaker for a model.
fn of(breakers: &Breakers, vendor: &str, model: &str) -> SharedBreaker {
    breakers.get(vendor, model, 1).0.remove(0)
}

fn permit(breaker: &SharedBreaker, now: Instant) -> Permit {
    breaker.admit(now).expect("the breaker refused")
}

fn is_open(breaker: &SharedBreaker, now: Instant) -> bool {
    breaker.opens_at(now).is_some() && breaker.admit(now).is_none()
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
    assert!(breaker.opens_at(now).is_none());
    permit(&breaker, now).settle(Verdict::Unknown, now);
    assert!(breaker.opens_at(now).is_none());
}

#[test]
fn a_forced_success_closes_and_a_forced_failure_changes_nothing() {
    let (breaker, now) = (breaker(), Instant::now());
    settle(&breaker, &[Verdict::Failure; 10], now);
    breaker.force().settle(Verdict::Failure, now + Duration::from_secs(5));
    assert!(is_open(&breaker, now + Duration::from_secs(5)));
    assert!(breaker.opens_at(now + OPEN_FOR).is_none());
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
    settle(&of(&breakers, "a", "one"), &[Verdict::Failure; 10], now);
    assert!(is_open(&of(&breakers, "a", "one"), now));
    assert!(!is_open(&of(&breakers, "a", "two"), now));
    assert!(!is_open(&of(&breakers, "b", "one"), now));
    for number in 0..10 * MODELS_PER_VENDOR {
        of(&breakers, "a", &number.to_string());
    }
    assert!(lock(&breakers.by_vendor)["a"].len() <= MODELS_PER_VENDOR);
    assert!(is_open(&of(&breakers, "a", "one"), now), "an open breaker was forgotten");
}

#[test]
fn endpoints_fail_apart_take_turns_and_count_what_is_under_way() {
    let (breakers, now) = (Breakers::new(BreakerConfig::default()), Instant::now());
    let turns: Vec<_> = (0..4).map(|_| breakers.get("a", "one", 3).1).collect();
    assert_eq!(turns, [0, 1, 2, 0]);
    let (endpoints, _) = breakers.get("a", "one", 3);
    settle(&endpoints[1], &[Verdict::Failure; 10], now);
    let open: Vec<_> = endpoints.iter().map(|endpoint| is_open(endpoint, now)).collect();
    assert_eq!(open, [false, true, false]);

    let held = (permit(&endpoints[0], now), endpoints[0].force(), endpoints[1].force());
    let under_way = || endpoints.iter().map(|endpoint| endpoint.load(now).under_way).collect::<Vec<_>>();
    assert_eq!(under_way(), [2, 1, 0]);
    held.0.settle(Verdict::Success, now);
    drop((held.1, held.2));
    assert_eq!(under_way(), [0, 0, 0]);
}

#[test]
fn an_endpoint_is_avoided_for_as_long_as_was_said() {
    let (breaker, now) = (breaker(), Instant::now());
    breaker.avoid_until(now + OPEN_FOR);
    assert!(breaker.load(now).is_avoided && !is_open(&breaker, now));
    assert!(!breaker.load(now + OPEN_FOR).is_avoided);
}
