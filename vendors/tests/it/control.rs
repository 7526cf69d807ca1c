//! Telling the simulators how to behave, and asking what they received.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::raw::{FORMATS, say};
use crate::support::*;

fn vendor_a() -> Value {
    json!({"failure_rate": 0.1, "status": 500, "latency_ms": 0, "mode": "normal", "retry_after": null, "answers_before": 0})
}

#[tokio::test]
async fn the_vendors_start_as_the_contract_says() {
    let simulator = Simulator::start_with(|_| {}).await;
    assert_eq!(
        simulator.request(Method::GET, "/_control/vendor_a", None).await,
        (StatusCode::OK, vendor_a())
    );
    let vendor_b = json!({"failure_rate": 0.1, "status": 429, "latency_ms": 0, "mode": "normal", "retry_after": 1, "answers_before": 0});
    assert_eq!(simulator.request(Method::GET, "/_control/vendor_b", None).await, (StatusCode::OK, vendor_b));
}

#[tokio::test]
async fn changes_merge_and_a_reset_undoes_them() {
    let simulator = Simulator::start_with(|_| {}).await;
    let change = |changes| simulator.request(Method::PUT, "/_control/vendor_a", Some(changes));
    change(json!({"failure_rate": 1, "retry_after": 7})).await;
    let (status, shown) = change(json!({"mode": "slow_drip"})).await;
    let merged = json!({"failure_rate": 1.0, "status": 500, "latency_ms": 0, "mode": "slow_drip", "retry_after": 7, "answers_before": 0});
    assert_eq!((status, shown), (StatusCode::OK, merged));
    assert_eq!(change(json!({"retry_after": null})).await.1["retry_after"], json!(null));
    assert_eq!(
        simulator.request(Method::DELETE, "/_control/vendor_a", None).await,
        (StatusCode::OK, vendor_a())
    );
    assert_eq!(simulator.request(Method::GET, "/_control/vendor_a", None).await.1, vendor_a());
}

#[tokio::test]
async fn mistakes_are_named_and_change_nothing() {
    let simulator = Simulator::start_with(|_| {}).await;
    let mistakes = [
        ("failure_rate", json!(1.1)),
        ("failure_rate", json!("1")),
        ("status", json!(200)),
        ("status", json!(70_000)),
        ("latency_ms", json!(-1)),
        ("latency_ms", json!(1.5)),
        ("mode", json!("sulk")),
        ("retry_after", json!("soon")),
        ("color", json!("red")),
    ];
    for (field, value) in mistakes {
        let changes =
            json!({field: value, "latency_ms": if field == "latency_ms" { value.clone() } else { json!(5) }});
        let (status, body) = simulator.request(Method::PUT, "/_control/vendor_a", Some(changes)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        assert_eq!(body["error"]["errors"][0]["field"], json!(field), "{body}");
    }
    for body in [json!([]), json!("stall")] {
        let (status, _) = simulator.request(Method::PUT, "/_control/vendor_a", Some(body)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(simulator.request(Method::GET, "/_control/vendor_a", None).await.1, vendor_a());
    for path in ["/_control/vendor_c", "/_log/vendor_c"] {
        assert_eq!(simulator.request(Method::GET, path, None).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_log_tells_what_was_received_and_answered() {
    let simulator = Simulator::start().await;
    let vendors = simulator.vendors(|config| config.max_retries = 0);
    let call = async || complete(&vendors, &chain(), &hello(), None).await.0.unwrap();
    call().await;
    simulator.control("vendor_a", json!({"mode": "garbage"})).await;
    call().await;
    simulator.control("vendor_a", json!({"mode": "normal", "failure_rate": 1, "status": 418})).await;
    call().await;

    let told: Vec<_> = simulator.log("vendor_a").await.iter().map(entry_of).collect();
    assert_eq!(
        told,
        [
            (1, json!(200), "normal".into()),
            (2, json!(200), "garbage".into()),
            (3, json!(418), "normal".into())
        ]
    );
    let (_, after) = simulator.request(Method::GET, "/_log/vendor_a?after=2&bodies=false", None).await;
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert_eq!(after[0]["index"], json!(3));
    assert_eq!(after[0].get("body"), None);
    assert_eq!(simulator.log("vendor_b").await.len(), 2);

    simulator.request(Method::DELETE, "/_log/vendor_a", None).await;
    assert!(simulator.log("vendor_a").await.is_empty());
    assert_eq!(simulator.log("vendor_b").await.len(), 2);
    call().await;
    assert_eq!(simulator.log("vendor_a").await[0]["index"], json!(4), "indexes go on");
    let (status, body) = simulator.request(Method::GET, "/_log/vendor_a?after=x", None).await;
    assert_eq!(
        (status, &body["error"]["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("after"))
    );
}

#[tokio::test]
async fn one_key_may_be_treated_apart() {
    let simulator = Simulator::start().await;
    for vendor in FORMATS {
        let status = async || say(&simulator, vendor, "Hello", false).await.status().as_u16();
        simulator.control_key(vendor, "another-key", json!({"failure_rate": 1, "status": 418})).await;
        assert_eq!(status().await, 200, "{vendor}: it is not this one");
        simulator.control_key(vendor, "a-key", json!({"failure_rate": 1, "status": 429})).await;
        assert_eq!(status().await, 429, "{vendor}");
        simulator.control(vendor, json!({"mode": "garbage"})).await;
        assert_eq!(status().await, 429, "{vendor}: it has a control of its own");
        let path = format!("/_control/{vendor}");
        let (_, shown) = simulator.request(Method::GET, &format!("{path}?key=a-key"), None).await;
        assert_eq!((&shown["status"], &shown["mode"]), (&json!(429), &json!("normal")));
        simulator.request(Method::DELETE, &format!("{path}?key=a-key"), None).await;
        simulator.control(vendor, json!({"mode": "normal", "failure_rate": 0})).await;
        assert_eq!(status().await, 200, "{vendor}: as the others again");
        simulator.request(Method::DELETE, &path, None).await;
        let (_, shown) = simulator.request(Method::GET, &format!("{path}?key=another-key"), None).await;
        assert_ne!(shown["status"], json!(418), "{vendor}: all are reset");
    }
    for number in 0..64 {
        simulator.control_key("openai", &number.to_string(), json!({})).await;
    }
    let (status, body) = simulator.request(Method::PUT, "/_control/openai?key=64", Some(json!({}))).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (422, &json!("too_many_keys")));
}

fn entry_of(entry: &Value) -> (u64, Value, String) {
    (entry["index"].as_u64().unwrap(), entry["status"].clone(), entry["mode"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_log_that_is_full_counts_what_it_dropped() {
    let simulator = Simulator::start_with(|config| {
        config.vendor_a.failure_rate = 0.0;
        config.log_bytes = 2000;
    })
    .await;
    let vendors = simulator.vendors(|_| {});
    for _ in 0..10 {
        complete(&vendors, &chain(), &hello(), None).await.0.unwrap();
    }
    let url = format!("http://{}/_log/vendor_a", simulator.address);
    let response = simulator.http.get(url).send().await.unwrap();
    let dropped: usize = response.headers()["x-log-dropped"].to_str().unwrap().parse().unwrap();
    let kept: Vec<Value> = response.json().await.unwrap();
    assert!(dropped > 0 && !kept.is_empty());
    assert_eq!(dropped + kept.len(), 10);
    assert_eq!(kept.last().unwrap()["index"], json!(10));
}
