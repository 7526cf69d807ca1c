//! Deltas while the model still writes.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use vendors::llm::{AttemptObserver, AttemptReport, CallOptions, DeltaSink, FailureKind};
use vendors::resilience::BreakerConfig;

use crate::support::*;

/// Heals VendorA after its first attempt.
struct Heal<'a>(&'a Simulator, Reports);

impl AttemptObserver for Heal<'_> {
    async fn attempted(&mut self, report: AttemptReport) {
        if report.number == 1 {
            self.0.control("vendor_a", json!({"mode": "normal"})).await;
        }
        self.1.0.push(report);
    }
}

#[tokio::test]
async fn deltas_carry_the_attempt_that_wrote_them() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"mode": "drop"})).await;
    let vendors = simulator.vendors(|_| {});
    let (sink, mut deltas) = DeltaSink::channel(1000);
    let mut heal = Heal(&simulator, Reports::default());
    let cancel = CancellationToken::new();
    vendors
        .complete(&chain(), &hello(), Some(&sink), CallOptions::default(), &mut heal, &cancel)
        .await
        .unwrap();
    drop(sink);
    let mut texts = [String::new(), String::new()];
    while let Some(delta) = deltas.recv().await {
        texts[delta.attempt as usize - 1].push_str(&delta.text);
    }
    assert_eq!(heal.1.story(), [(1, "vendor_a", "dropped"), (2, "vendor_a", "ok")]);
    assert_eq!(texts[1], GREETING);
    assert!(!texts[0].is_empty() && texts[0] != GREETING && GREETING.starts_with(&texts[0]), "{texts:?}");
}

#[tokio::test]
async fn a_slow_reader_holds_the_stream_back_and_loses_nothing() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    for vendor in VENDORS {
        let (sink, mut deltas) = DeltaSink::channel(1);
        let chain = [target(vendor.0, vendor.1)];
        let reader = async {
            let mut text = String::new();
            while let Some(delta) = deltas.recv().await {
                tokio::task::yield_now().await;
                text.push_str(&delta.text);
            }
            text
        };
        let request = hello();
        let call = async {
            let completed = complete(&vendors, &chain, &request, Some(&sink)).await.0.unwrap();
            drop(sink);
            completed
        };
        let (completed, text) = tokio::join!(call, reader);
        assert_eq!((completed.reply.text.as_str(), text.as_str()), (GREETING, GREETING));
    }
}

#[tokio::test]
async fn a_reader_that_stops_makes_the_attempt_time_out() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|config| {
        config.timeout = IMPATIENT;
        config.max_retries = 0;
    });
    let (sink, _unread) = DeltaSink::channel(1);
    let (result, reports) = complete(&vendors, &chain()[..1], &hello(), Some(&sink)).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::TimedOut);
    assert!(reports.0[0].usage.estimated);
}

#[tokio::test]
async fn a_reader_that_stops_does_not_open_the_vendors_circuit() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|config| {
        config.timeout = IMPATIENT;
        config.max_retries = 0;
        config.breaker = BreakerConfig { window: 1, min_attempts: 1, ..BreakerConfig::default() };
    });
    let (sink, _unread) = DeltaSink::channel(1);
    complete(&vendors, &chain()[..1], &hello(), Some(&sink)).await.0.unwrap_err();
    assert_eq!(complete(&vendors, &chain(), &hello(), None).await.0.unwrap().provider, "vendor_a");
}

#[tokio::test]
async fn a_reader_that_is_gone_does_not_stop_the_reply() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    let (sink, deltas) = DeltaSink::channel(1);
    drop(deltas);
    let (result, reports) = complete(&vendors, &chain(), &hello(), Some(&sink)).await;
    assert_eq!(result.unwrap().reply.text, GREETING);
    assert!(reports.0[0].first_token.is_some());
}
