//! Retries, fallback and circuit breakers over the wire. Their arithmetic is tested where it is written.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vendors::llm::{AttemptObserver, AttemptReport, CallOptions, DeltaSink, FailureKind, LlmVendors};
use vendors::resilience::{Backoff, BreakerConfig};

use crate::support::*;

#[tokio::test]
async fn a_dead_vendor_is_retried_and_then_the_next_one_serves() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"failure_rate": 1})).await;
    let vendors = simulator.vendors(|_| {});
    let (result, reports) = complete(&vendors, &chain(), &hello(), None).await;
    let completed = result.unwrap();
    assert_eq!((completed.provider.as_str(), completed.attempts), ("vendor_b", 5));
    let a = "vendor_a";
    assert_eq!(
        reports.story(),
        [
            (1, a, "http_500"),
            (2, a, "http_500"),
            (3, a, "http_500"),
            (4, a, "http_500"),
            (5, "vendor_b", "ok")
        ]
    );
}

#[tokio::test]
async fn numbers_go_on_from_the_first_attempt() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"failure_rate": 1, "status": 404})).await;
    let vendors = simulator.vendors(|_| {});
    let mut reports = Reports::default();
    let cancel = CancellationToken::new();
    let seventh = CallOptions { first_attempt: 7, ..CallOptions::default() };
    let completed = vendors.complete(&chain(), &hello(), None, seventh, &mut reports, &cancel).await.unwrap();
    assert_eq!(reports.story(), [(7, "vendor_a", "http_404"), (8, "vendor_b", "ok")]);
    assert_eq!(completed.attempts, 2);
}

#[tokio::test]
async fn every_request_in_the_vendors_logs_is_reported_once() {
    let simulator = Simulator::start_with(|config| {
        config.seed = Some(3);
        config.vendor_a.failure_rate = 0.5;
        config.vendor_b.failure_rate = 0.5;
    })
    .await;
    let vendors = simulator.vendors(|_| {});
    let runs = (0..40).map(|_| async { complete(&vendors, &chain(), &hello(), None).await.1 });
    let reports: Vec<_> =
        futures_util::future::join_all(runs).await.into_iter().flat_map(|reports| reports.0).collect();
    for (provider, _) in VENDORS {
        let mut sent: Vec<_> = reports
            .iter()
            .filter(|report| report.provider == provider)
            .map(|report| (report.attempt_id.to_string(), report.status.unwrap()))
            .collect();
        let mut received: Vec<_> = simulator
            .log(provider)
            .await
            .iter()
            .map(|entry| {
                let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
                (entry["request_id"].as_str().unwrap().to_owned(), status)
            })
            .collect();
        sent.sort();
        received.sort();
        assert_eq!(sent, received, "{provider}");
        assert!(provider != "vendor_a" || sent.len() > 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_side_by_side_in_tasks_of_their_own() {
    let simulator = Simulator::start_with(|config| config.vendor_b.failure_rate = 0.0).await;
    let vendors = Arc::new(simulator.vendors(|_| {}));
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let vendors = vendors.clone();
        tasks.spawn(async move {
            let (sink, mut deltas) = DeltaSink::channel(4);
            let (chain, request) = (chain(), hello());
            let call = async {
                let result = complete(&vendors, &chain, &request, Some(&sink)).await.0;
                drop(sink);
                result
            };
            let (result, ()) = tokio::join!(call, async { while deltas.recv().await.is_some() {} });
            result.unwrap().reply.text
        });
    }
    for text in tasks.join_all().await {
        assert_eq!(text, GREETING);
    }
}

/// Remembers when each attempt started and ended.
#[derive(Default)]
struct Times(Vec<(Instant, Instant)>);

impl AttemptObserver for Times {
    async fn attempted(&mut self, report: AttemptReport) {
        let end = Instant::now();
        self.0.push((end - report.latency, end));
    }
}

async fn shortest_wait(vendors: &LlmVendors) -> Duration {
    let mut times = Times::default();
    let cancel = CancellationToken::new();
    vendors
        .complete(&chain()[1..], &hello(), None, CallOptions::default(), &mut times, &cancel)
        .await
        .unwrap_err();
    times.0.windows(2).map(|pair| pair[1].0 - pair[0].1).min().unwrap()
}

#[tokio::test]
async fn attempts_wait_at_least_as_long_as_configured() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_b", json!({"failure_rate": 1, "status": 500, "retry_after": null})).await;
    let wait = Duration::from_millis(40);
    let vendors = simulator.vendors(|config| {
        config.max_retries = 2;
        config.backoff = Backoff { min_wait: wait, max_wait: 10 * wait };
    });
    // The start of an attempt is known to less than a millisecond: its latency is measured within the call.
    assert!(shortest_wait(&vendors).await >= wait - Duration::from_millis(1));
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_the_longest_wait() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_b", json!({"failure_rate": 1, "retry_after": 3600})).await;
    let longest = Duration::from_millis(120);
    let vendors = simulator.vendors(|config| {
        config.max_retries = 1;
        config.backoff = Backoff { min_wait: Duration::from_millis(1), max_wait: longest };
    });
    assert!(shortest_wait(&vendors).await >= longest - Duration::from_millis(1));
}

fn quick_breaker(open_for: Duration) -> BreakerConfig {
    BreakerConfig { window: 4, min_attempts: 4, failure_ratio: 0.5, open_for }
}

#[tokio::test]
async fn an_open_circuit_sends_calls_straight_to_the_next_vendor() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"mode": "garbage"})).await;
    let vendors = simulator.vendors(|config| config.breaker = quick_breaker(Duration::from_secs(3600)));
    let (_, reports) = complete(&vendors, &chain(), &hello(), None).await;
    assert_eq!(reports.0.len(), 5, "four failures open it");
    for _ in 0..3 {
        let (_, reports) = complete(&vendors, &chain(), &hello(), None).await;
        assert_eq!(reports.story(), [(1, "vendor_b", "ok")]);
    }
    // Another model of the same vendor has a circuit of its own.
    let other = [target("vendor_a", "vendor-a-2"), target("vendor_b", "vendor-b-1")];
    assert_eq!(complete(&vendors, &other, &hello(), None).await.1.0.len(), 5);
    assert_eq!(simulator.log("vendor_a").await.len(), 8);
}

#[tokio::test]
async fn a_probe_closes_the_circuit_of_a_vendor_that_is_back() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"failure_rate": 1})).await;
    let vendors = simulator.vendors(|config| config.breaker = quick_breaker(Duration::ZERO));
    let (_, reports) = complete(&vendors, &chain(), &hello(), None).await;
    assert_eq!(reports.0.len(), 5);
    simulator.control("vendor_a", json!({"failure_rate": 0})).await;
    for _ in 0..2 {
        let (_, reports) = complete(&vendors, &chain(), &hello(), None).await;
        assert_eq!(reports.story(), [(1, "vendor_a", "ok")]);
    }
}

#[tokio::test]
async fn rate_limits_do_not_open_a_circuit() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_b", json!({"failure_rate": 1})).await;
    let vendors = simulator.vendors(|config| config.breaker = quick_breaker(Duration::from_secs(3600)));
    for _ in 0..3 {
        let (_, reports) = complete(&vendors, &chain()[1..], &hello(), None).await;
        assert_eq!(reports.0.len(), 4);
    }
    simulator.control("vendor_b", json!({"failure_rate": 0})).await;
    let behind = [target("vendor_b", "vendor-b-1"), target("vendor_a", "vendor-a-1")];
    assert_eq!(complete(&vendors, &behind, &hello(), None).await.1.story(), [(1, "vendor_b", "ok")]);
}

#[tokio::test]
async fn when_every_circuit_is_open_a_vendor_is_tried_all_the_same() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"mode": "garbage"})).await;
    let vendors = simulator.vendors(|config| config.breaker = quick_breaker(Duration::from_secs(3600)));
    let (result, _) = complete(&vendors, &chain()[..1], &hello(), None).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Failed);
    simulator.control("vendor_a", json!({"mode": "normal"})).await;
    assert_eq!(complete(&vendors, &chain()[..1], &hello(), None).await.1.story(), [(1, "vendor_a", "ok")]);
}
