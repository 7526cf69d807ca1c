//! A seed makes the vendors' failures repeat.

use crate::support::*;

/// The statuses that both vendors gave to their first requests.
async fn statuses(seed: u64) -> Vec<u64> {
    let simulator = Simulator::start_with(|config| {
        config.seed = Some(seed);
        config.vendor_a.failure_rate = 0.5;
        config.vendor_b.failure_rate = 0.5;
    })
    .await;
    let vendors = simulator.vendors(|config| config.max_retries = 0);
    let mut statuses = Vec::new();
    for (provider, model) in VENDORS {
        for _ in 0..40 {
            let _ = complete(&vendors, &[target(provider, model)], &hello(), None).await;
        }
        statuses.extend(simulator.log(provider).await.iter().map(|entry| entry["status"].as_u64().unwrap()));
    }
    statuses
}

#[tokio::test]
async fn the_same_seed_brings_the_same_failures() {
    let first = statuses(42).await;
    assert_eq!(first, statuses(42).await);
    assert_ne!(first, statuses(43).await);
    let (a, b) = first.split_at(40);
    let failed = |statuses: &[u64]| statuses.iter().map(|status| *status != 200).collect::<Vec<_>>();
    assert_ne!(failed(a), failed(b), "each vendor draws its own lots");
}

#[tokio::test]
async fn one_request_in_ten_fails_by_default() {
    let simulator = Simulator::start_with(|config| config.seed = Some(1)).await;
    let vendors = simulator.vendors(|config| config.max_retries = 0);
    for (provider, model) in VENDORS {
        for _ in 0..300 {
            let _ = complete(&vendors, &[target(provider, model)], &hello(), None).await;
        }
        let failing = if provider == "vendor_a" { 500 } else { 429 };
        let log = simulator.log(provider).await;
        let failed = log.iter().filter(|entry| entry["status"] == failing).count();
        assert!((15..=50).contains(&failed), "{failed} of 300 failed at {provider}");
    }
}
