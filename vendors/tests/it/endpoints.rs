//! Several keys and addresses of one vendor.

use std::time::Duration;

use serde_json::{Value, json};
use vendors::llm::{LlmConfig, LlmVendors};
use vendors::resilience::{Backoff, BreakerConfig};

use crate::support::*;

/// Our client with these keys of VendorA and VendorB behind it; a wait between two attempts would take hours.
fn vendors(simulator: &Simulator, keys: &[&str], change: impl FnOnce(&mut LlmConfig)) -> LlmVendors {
    let hours = Duration::from_secs(3600);
    simulator.vendors(|config| {
        config.vendors[0].endpoints =
            keys.iter().map(|key| endpoint(simulator.address, "vendor_a", key)).collect();
        config.backoff = Backoff { min_wait: hours, max_wait: hours };
        change(config);
    })
}

/// The endpoint and error code of each attempt.
async fn ask(vendors: &LlmVendors) -> Vec<(Option<u32>, &'static str)> {
    let (_, reports) = complete(vendors, &chain(), &hello(), None).await;
    let code = |code: Option<vendors::http::ErrorCode>| code.map_or("ok", |code| code.as_str());
    reports.0.iter().map(|report| (report.endpoint, code(report.error_code))).collect()
}

async fn told(key: &str, control: Value) -> Simulator {
    let simulator = Simulator::start().await;
    simulator.control_key("vendor_a", key, control).await;
    simulator
}

#[tokio::test]
async fn a_key_that_is_turned_away_is_passed_over_at_once_and_avoided() {
    for (status, code) in [(429, "rate_limited"), (401, "http_401"), (402, "http_402"), (403, "http_403")] {
        let simulator = told("one", json!({"failure_rate": 1, "status": status, "retry_after": 3600})).await;
        let vendors = vendors(&simulator, &["one", "two"], |config| config.max_retries = 0);
        assert_eq!(ask(&vendors).await, [(Some(1), code), (Some(2), "ok")]);
        for _ in 0..3 {
            assert_eq!(ask(&vendors).await, [(Some(2), "ok")], "the next calls know");
        }
    }
}

#[tokio::test]
async fn when_all_keys_are_refused_the_chain_goes_on() {
    let simulator = Simulator::start().await;
    simulator.control("vendor_a", json!({"failure_rate": 1, "status": 401})).await;
    let vendors = vendors(&simulator, &["one", "two", "three"], |_| {});
    let refused = [1, 2, 3].map(|number| (Some(number), "http_401"));
    assert_eq!(ask(&vendors).await, [&refused[..], &[(None, "ok")]].concat());
}

#[tokio::test]
async fn calls_take_turns_at_keys_that_are_equal() {
    let simulator = Simulator::start().await;
    let vendors = vendors(&simulator, &["one", "two", "three"], |_| {});
    for number in [1, 2, 3, 1, 2] {
        assert_eq!(ask(&vendors).await, [(Some(number), "ok")]);
    }
}

#[tokio::test]
async fn load_goes_where_the_least_is_under_way() {
    let simulator = told("one", json!({"mode": "stall"})).await;
    let vendors = vendors(&simulator, &["one", "two"], |_| {});
    let (stuck, request, targets) = (tokio_util::sync::CancellationToken::new(), hello(), chain());
    let mut reports = Reports::default();
    let waits = vendors.complete(&targets, &request, None, Default::default(), &mut reports, &stuck);
    let others = async {
        simulator.received("vendor_a", 1).await;
        for _ in 0..4 {
            assert_eq!(ask(&vendors).await, [(Some(2), "ok")]);
        }
        stuck.cancel();
    };
    let (result, ()) = tokio::join!(waits, others);
    assert!(result.is_err());
    assert_eq!(reports.0[0].endpoint, Some(1));
}

#[tokio::test]
async fn a_circuit_opens_for_one_key_alone() {
    let simulator = told("one", json!({"mode": "garbage"})).await;
    let vendors = vendors(&simulator, &["one", "two"], |config| {
        let open_for = Duration::from_secs(3600);
        config.breaker = BreakerConfig { window: 4, min_attempts: 4, failure_ratio: 0.5, open_for };
    });
    let mut garbage = 0;
    for _ in 0..20 {
        garbage += ask(&vendors).await.iter().filter(|(_, code)| *code == "garbage").count();
    }
    assert_eq!(garbage, 4);
    assert_eq!(ask(&vendors).await, [(Some(2), "ok")]);
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_passed_over() {
    let simulator = Simulator::start().await;
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let vendors = vendors(&simulator, &["one"], |config| {
        config.vendors[0].endpoints.insert(0, endpoint(nowhere, "vendor_a", "one"));
    });
    assert_eq!(ask(&vendors).await, [(Some(1), "connect"), (Some(2), "ok")]);
}

#[tokio::test]
async fn reports_say_which_endpoint_it_was_and_never_its_key() {
    let simulator = told("hush-hush-one", json!({"failure_rate": 1, "status": 403})).await;
    let vendors = vendors(&simulator, &["hush-hush-one", "hush-hush-two"], |_| {});
    let (result, reports) = complete(&vendors, &chain(), &hello(), None).await;
    assert_eq!(reports.0.iter().map(|report| report.endpoint).collect::<Vec<_>>(), [Some(1), Some(2)]);
    let shown = format!("{:?} {:?}", result.unwrap(), reports.0);
    assert!(!shown.contains("hush"), "{shown}");
}
