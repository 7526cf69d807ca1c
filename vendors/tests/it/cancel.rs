//! Cancelling ends a call at once, wherever it is, and is reported.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use vendors::llm::{
    AttemptObserver, AttemptOutcome, AttemptReport, CallOptions, ChainFailed, DeltaSink, FailureKind, Usage,
};
use vendors::resilience::Backoff;

use crate::support::*;

fn cancelled(attempts: u32) -> ChainFailed {
    ChainFailed { kind: FailureKind::Cancelled, attempts, detail: "the call was cancelled".to_owned() }
}

#[tokio::test]
async fn before_the_first_attempt_nothing_is_sent() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    let cancel = CancellationToken::new();
    cancel.cancel();
    let mut reports = Reports::default();
    let result =
        vendors.complete(&chain(), &hello(), None, CallOptions::default(), &mut reports, &cancel).await;
    assert_eq!(result, Err(cancelled(0)));
    assert!(reports.0.is_empty() && simulator.log("vendor_a").await.is_empty());
}

#[tokio::test]
async fn during_an_attempt_it_is_reported_and_no_other_follows() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"mode": "stall"})).await;
    let vendors = simulator.vendors(|_| {});
    let (cancel, mut reports) = (CancellationToken::new(), Reports::default());
    let (chain, request) = (chain(), hello());
    let call = vendors.complete(&chain, &request, None, CallOptions::default(), &mut reports, &cancel);
    let (result, ()) = tokio::join!(call, async {
        simulator.received("vendor_a", 1).await;
        cancel.cancel();
    });
    assert_eq!(result, Err(cancelled(1)));
    assert_eq!(reports.story(), [(1, "vendor_a", "cancelled")]);
    assert_eq!((reports.0[0].outcome, reports.0[0].usage), (AttemptOutcome::Cancelled, Usage::default()));
    assert!(simulator.log("vendor_b").await.is_empty());
}

#[tokio::test]
async fn within_a_stream_what_came_is_estimated() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_b", json!({"mode": "slow_drip"})).await;
    let vendors = simulator.vendors(|_| {});
    let (cancel, mut reports) = (CancellationToken::new(), Reports::default());
    let (sink, mut deltas) = DeltaSink::channel(10);
    let (chain, request) = (chain(), hello());
    let call =
        vendors.complete(&chain[1..], &request, Some(&sink), CallOptions::default(), &mut reports, &cancel);
    let (result, ()) = tokio::join!(call, async {
        assert_eq!(deltas.recv().await.unwrap().text, "Hello! ");
        cancel.cancel();
    });
    assert_eq!(result, Err(cancelled(1)));
    assert_eq!(reports.0[0].outcome, AttemptOutcome::Cancelled);
    assert_eq!(reports.0[0].usage, Usage { tokens_in: 11, tokens_cached: 0, tokens_out: 2, estimated: true });
}

/// Cancels as soon as an attempt has failed: the call then waits for its retry.
struct CancelAfterFailure(CancellationToken, Reports);

impl AttemptObserver for CancelAfterFailure {
    async fn attempted(&mut self, report: AttemptReport) {
        self.1.attempted(report).await;
        self.0.cancel();
    }
}

#[tokio::test]
async fn between_attempts_it_does_not_wait_for_the_retry() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"failure_rate": 1})).await;
    let hours = Duration::from_secs(3600);
    let vendors = simulator.vendors(|config| config.backoff = Backoff { min_wait: hours, max_wait: hours });
    let cancel = CancellationToken::new();
    let mut observer = CancelAfterFailure(cancel.clone(), Reports::default());
    let result =
        vendors.complete(&chain(), &hello(), None, CallOptions::default(), &mut observer, &cancel).await;
    assert_eq!(result, Err(cancelled(1)));
    assert_eq!(observer.1.story(), [(1, "vendor_a", "http_500")]);
}

#[tokio::test]
async fn a_simulator_that_shuts_down_lets_stalled_callers_go() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"mode": "stall"})).await;
    let vendors = simulator.vendors(|config| config.max_retries = 0);
    let (chain, request) = (chain(), hello());
    let (first, ()) = tokio::join!(complete(&vendors, &chain[..1], &request, None), async {
        simulator.received("vendor_a", 1).await;
        simulator.shutdown.cancel();
    });
    assert_eq!(first.1.story(), [(1, "vendor_a", "http_503")]);
    simulator.tracker.wait().await;
}
