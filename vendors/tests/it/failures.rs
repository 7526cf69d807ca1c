//! Every way in which a vendor fails, and what it is taken for.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use vendors::llm::{
    AttemptOutcome, ChainFailed, DeltaSink, FailureKind, LlmConfig, LlmSetupError, LlmVendors, Usage,
};

use crate::support::*;

/// Vendors told to fail, and a client that tries each target twice and never opens a circuit.
struct Failing {
    simulator: Simulator,
    vendors: LlmVendors,
}

impl Failing {
    async fn start(timeout: Duration) -> Self {
        let simulator = Simulator::start().await;
        let vendors = simulator.vendors(|config| {
            config.max_retries = 1;
            config.timeout = timeout;
            config.breaker.min_attempts = usize::MAX;
        });
        Self { simulator, vendors }
    }

    /// The failure of a chain of one vendor, and the reports of its attempts.
    async fn fail(&self, vendor: (&str, &str), control: Value, stream: bool) -> (ChainFailed, Reports) {
        self.simulator.control(vendor.0, control).await;
        let (sink, _deltas) = DeltaSink::channel(1000);
        let chain = [target(vendor.0, vendor.1)];
        let (result, reports) = complete(&self.vendors, &chain, &hello(), stream.then_some(&sink)).await;
        let failed = result.unwrap_err();
        assert_eq!(failed.attempts as usize, reports.0.len());
        let log = self.simulator.log(vendor.0).await;
        for report in &reports.0 {
            let id = report.attempt_id.to_string();
            assert_eq!(log.iter().filter(|entry| entry["request_id"] == id).count(), 1, "{report:?}");
        }
        (failed, reports)
    }
}

#[tokio::test]
async fn statuses_that_may_pass_are_retried_and_others_are_not() {
    let failing = Failing::start(PATIENT).await;
    let cases = [
        (500, "http_500", 2),
        (503, "http_503", 2),
        (529, "http_529", 2),
        (408, "http_408", 2),
        (429, "rate_limited", 2),
        (400, "http_400", 1),
        (401, "http_401", 1),
        (403, "http_403", 1),
        (404, "http_404", 1),
        (422, "http_422", 1),
    ];
    for vendor in VENDORS {
        for (status, code, attempts) in cases {
            let (failed, reports) =
                failing.fail(vendor, json!({"failure_rate": 1, "status": status}), false).await;
            assert_eq!(failed.kind, FailureKind::Failed);
            assert_eq!(reports.0.len(), attempts, "{vendor:?} {status}");
            for report in &reports.0 {
                assert_eq!(report.error_code.unwrap().as_str(), code, "{vendor:?}");
                assert_eq!((report.outcome, report.status), (AttemptOutcome::Failed, Some(status)));
                assert_eq!(report.usage, Usage::default());
            }
        }
    }
}

#[tokio::test]
async fn garbage_is_retried_and_costs_nothing() {
    let failing = Failing::start(PATIENT).await;
    for vendor in VENDORS {
        for stream in [false, true] {
            let (failed, reports) = failing.fail(vendor, json!({"mode": "garbage"}), stream).await;
            assert_eq!(failed.kind, FailureKind::Failed);
            assert_eq!(
                reports.story(),
                [(1, vendor.0, "garbage"), (2, vendor.0, "garbage")],
                "stream: {stream}"
            );
            assert_eq!((reports.0[0].status, reports.0[0].usage), (Some(200), Usage::default()));
        }
    }
}

#[tokio::test]
async fn a_dropped_connection_is_retried() {
    let failing = Failing::start(PATIENT).await;
    for vendor in VENDORS {
        let (_, reports) = failing.fail(vendor, json!({"mode": "drop"}), false).await;
        assert_eq!(reports.story(), [(1, vendor.0, "dropped"), (2, vendor.0, "dropped")]);
        assert_eq!((reports.0[0].usage, reports.0[0].first_token), (Usage::default(), None));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_tokens_is_billed_by_estimate() {
    let failing = Failing::start(PATIENT).await;
    for vendor in VENDORS {
        let (_, reports) = failing.fail(vendor, json!({"mode": "drop"}), true).await;
        assert_eq!(reports.story(), [(1, vendor.0, "dropped"), (2, vendor.0, "dropped")]);
        for report in &reports.0 {
            assert!(report.first_token.is_some_and(|first| first <= report.latency), "{report:?}");
            assert!(report.usage.estimated);
            assert_eq!(report.usage.tokens_in, 11);
            assert!((1..16).contains(&report.usage.tokens_out), "{:?}", report.usage);
        }
    }
}

#[tokio::test]
async fn silence_times_out() {
    let failing = Failing::start(IMPATIENT).await;
    let cases = VENDORS.into_iter().flat_map(|vendor| [(vendor, false), (vendor, true)]);
    let cases = cases.map(async |(vendor, stream)| {
        let (failed, reports) = failing.fail(vendor, json!({"mode": "stall"}), stream).await;
        assert_eq!(failed.kind, FailureKind::TimedOut);
        assert_eq!(reports.story(), [(1, vendor.0, "timeout"), (2, vendor.0, "timeout")]);
        let report = &reports.0[0];
        assert_eq!((report.outcome, report.status), (AttemptOutcome::TimedOut, None));
        assert!(report.latency >= IMPATIENT);
        assert_eq!(report.usage, Usage::default());
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_trickle_times_out_and_what_streamed_is_estimated() {
    let failing = Failing::start(IMPATIENT).await;
    let trickle = |vendor, stream| failing.fail(vendor, json!({"mode": "slow_drip"}), stream);
    let plain = async |vendor| {
        let (failed, reports) = trickle(vendor, false).await;
        assert_eq!(failed.kind, FailureKind::TimedOut);
        assert_eq!((reports.0[0].status, reports.0[0].usage), (Some(200), Usage::default()));
    };
    let streamed = async {
        // VendorA's first event is its `start`; VendorB's first line is a token already.
        let (failed, reports) = trickle(VENDORS[1], true).await;
        assert_eq!(failed.kind, FailureKind::TimedOut);
        assert_eq!(
            reports.0[0].usage,
            Usage { tokens_in: 11, tokens_cached: 0, tokens_out: 2, estimated: true }
        );
    };
    tokio::join!(plain(VENDORS[0]), plain(VENDORS[1]), streamed);
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"latency_ms": 30, "failure_rate": 1})).await;
    let vendors = simulator.vendors(|config| config.max_retries = 0);
    let (_, reports) = complete(&vendors, &chain()[..1], &hello(), None).await;
    assert!(reports.0[0].latency.as_millis() >= 30);
}

#[tokio::test]
async fn nobody_listening_is_a_connect_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let vendors = vendors_at(address, |config| config.max_retries = 1);
    let (result, reports) = complete(&vendors, &chain(), &hello(), None).await;
    let failed = result.unwrap_err();
    assert_eq!(failed.kind, FailureKind::Failed);
    let a_then_b = [
        (1, "vendor_a", "connect"),
        (2, "vendor_a", "connect"),
        (3, "vendor_b", "connect"),
        (4, "vendor_b", "connect"),
    ];
    assert_eq!(reports.story(), a_then_b);
    assert!(
        failed.detail.starts_with("vendor_a (vendor-a-1): the vendor could not be reached"),
        "{}",
        failed.detail
    );
    assert!(!failed.detail.contains("127.0.0.1"), "{}", failed.detail);
}

#[tokio::test]
async fn an_unknown_model_is_refused_once() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    let (result, reports) = complete(&vendors, &[target("vendor_a", "gpt-9")], &hello(), None).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Failed);
    assert_eq!(reports.story(), [(1, "vendor_a", "http_404")]);
}

#[tokio::test]
async fn vendors_refuse_without_a_key_and_malformed_bodies() {
    let simulator = Simulator::start().await;
    for (path, vendor) in [("/vendor_a/v1/generate", "vendor_a"), ("/vendor_b/chat", "vendor_b")] {
        let (status, _) = simulator.request(Method::POST, path, Some(json!({}))).await;
        assert_eq!(status, 401);
        let log = simulator.log(vendor).await;
        assert_eq!(
            (&log[0]["status"], &log[0]["model"], &log[0]["request_id"]),
            (&json!(401), &json!(null), &json!(null))
        );
    }
}

#[tokio::test]
async fn a_chain_of_unknown_vendors_is_no_vendor() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|_| {});
    assert!(vendors.has("vendor_a") && !vendors.has("openai"));
    let chain = [target("openai", "gpt"), target("groq", "llama")];
    let (result, reports) = complete(&vendors, &chain, &hello(), None).await;
    let failed = result.unwrap_err();
    assert_eq!(failed.kind, FailureKind::NoVendor { providers: vec!["openai".into(), "groq".into()] });
    assert_eq!((failed.attempts, reports.0.len()), (0, 0));
    let chain = [target("openai", "gpt"), target("vendor_b", "vendor-b-1")];
    assert_eq!(complete(&vendors, &chain, &hello(), None).await.0.unwrap().provider, "vendor_b");
}

#[test]
fn wrong_settings_are_named_and_keys_are_not() {
    let mut config = LlmConfig::default();
    config.vendors.push(vendors::llm::LlmVendorConfig {
        provider: "vendor_a".into(),
        wire: vendors::llm::LlmWire::VendorA,
        endpoints: vec![vendors::llm::LlmEndpoint {
            base_url: "http://127.0.0.1:1/vendor_a".into(),
            api_key: "secret\nkey".to_owned().into(),
        }],
    });
    assert!(!format!("{config:?}").contains("secret"));
    let Err(error) = LlmVendors::new(config.clone(), now) else { unreachable!("the key was taken") };
    assert!(matches!(&error, LlmSetupError::Vendor { provider, .. } if provider == "vendor_a"));
    assert!(!format!("{error:?}").contains("secret"));
    config.vendors[0].endpoints[0].api_key = "key".to_owned().into();
    config.vendors[0].endpoints[0].base_url = "not a url".into();
    assert!(LlmVendors::new(config.clone(), now).is_err());
    config.vendors[0].endpoints.clear();
    assert!(matches!(LlmVendors::new(config, now), Err(LlmSetupError::Nowhere { .. })));
}
