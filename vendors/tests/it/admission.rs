//! Whoever observes the attempts may refuse them.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use vendors::llm::{AttemptObserver, AttemptReport, CallOptions, ChainFailed, FailureKind, PlannedAttempt};

use crate::support::{Reports, Simulator, chain, hello};

/// Admits so many attempts.
struct Admits(u32, Vec<(u32, String)>, Reports);

impl Admits {
    fn new(most: u32) -> Self {
        Self(most, Vec::new(), Reports::default())
    }
}

impl AttemptObserver for Admits {
    async fn admits(&mut self, planned: &PlannedAttempt<'_>) -> bool {
        self.1.push((planned.number, planned.provider.to_owned()));
        self.1.len() <= self.0 as usize
    }

    async fn attempted(&mut self, report: AttemptReport) {
        self.2.attempted(report).await;
    }
}

#[tokio::test]
async fn a_retry_that_is_not_admitted_ends_the_call() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"failure_rate": 1})).await;
    let vendors = simulator.vendors(|_| {});
    let mut observer = Admits::new(1);
    let never = CancellationToken::new();
    let result =
        vendors.complete(&chain(), &hello(), None, CallOptions::default(), &mut observer, &never).await;
    let detail = "no further attempt was admitted".to_owned();
    assert_eq!(result, Err(ChainFailed { kind: FailureKind::NotAdmitted, attempts: 1, detail }));
    let planned = [(1, "vendor_a".to_owned()), (2, "vendor_a".to_owned())];
    assert_eq!(observer.1, planned);
    assert_eq!(observer.2.story(), [(1, "vendor_a", "http_500")]);
    assert_eq!(simulator.log("vendor_a").await.len(), 1);
    // Nothing is left of the refused one: whoever comes next is let in.
    simulator.control("vendor_a", json!({"failure_rate": 0})).await;
    let mut observer = Admits::new(1);
    let result =
        vendors.complete(&chain(), &hello(), None, CallOptions::default(), &mut observer, &never).await;
    assert!(result.is_ok(), "{result:?}");
}

#[tokio::test]
async fn a_second_request_that_is_not_admitted_is_not_made_and_the_first_goes_on() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"latency_ms": 300})).await;
    let vendors = simulator.vendors(|_| {});
    let mut observer = Admits::new(1);
    let options = CallOptions { first_attempt: 5, hedge_after: Some(Duration::from_millis(20)) };
    let never = CancellationToken::new();
    let completed = vendors.complete(&chain(), &hello(), None, options, &mut observer, &never).await.unwrap();
    assert_eq!(completed.attempts, 1);
    assert_eq!(observer.1.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(observer.2.story(), [(5, "vendor_a", "ok")]);
}
