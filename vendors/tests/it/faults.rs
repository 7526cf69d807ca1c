//! Every way to fail that the controls know, in every wire format.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::raw::*;
use crate::support::*;

/// The same for each wire format, whole and streamed.
fn cases() -> impl Iterator<Item = (&'static str, bool)> {
    FORMATS.into_iter().flat_map(|vendor| [(vendor, false), (vendor, true)])
}

async fn told(mode: &str) -> Simulator {
    let simulator = Simulator::start().await;
    for vendor in FORMATS {
        simulator.control(vendor, json!({"mode": mode})).await;
    }
    simulator
}

#[tokio::test]
async fn any_status_comes_with_or_without_retry_after_in_the_vendors_own_shape() {
    let simulator = Simulator::start().await;
    let shapes = [
        ("vendor_a", "/error/code"),
        ("vendor_b", "/errorCode"),
        ("openai", "/error/type"),
        ("anthropic", "/error/type"),
        ("google", "/error/status"),
    ];
    for (vendor, code) in shapes {
        for status in [400, 401, 403, 404, 408, 409, 418, 422, 429, 500, 502, 503, 504, 529] {
            for retry_after in [None, Some(7)] {
                let control = json!({"failure_rate": 1, "status": status, "retry_after": retry_after});
                simulator.control(vendor, control).await;
                let response = say(&simulator, vendor, "Hello", status % 2 == 0).await;
                assert_eq!(response.status(), status, "{vendor}");
                let seconds = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
                let expected = retry_after.filter(|_| vendor != "google").map(|_| "7");
                assert_eq!(seconds, expected, "{vendor} {status}");
                let body: Value = response.json().await.unwrap();
                assert!(body.pointer(code).is_some_and(Value::is_string), "{vendor} {status}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn google_says_in_its_details_when_to_come_back() {
    let simulator = Simulator::start().await;
    simulator.control("google", json!({"failure_rate": 1, "status": 429, "retry_after": 7})).await;
    let body: Value = say(&simulator, "google", "Hello", true).await.json().await.unwrap();
    let detail = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"});
    assert_eq!(
        (&body["error"]["status"], &body["error"]["details"][0]),
        (&json!("RESOURCE_EXHAUSTED"), &detail)
    );
    simulator.control("google", json!({"retry_after": null})).await;
    let body: Value = say(&simulator, "google", "Hello", true).await.json().await.unwrap();
    assert_eq!(body["error"].get("details"), None);
}

#[tokio::test]
async fn what_is_not_the_format_comes_with_200() {
    for (mode, content_type) in [("garbage", None), ("html", Some("text/html; charset=utf-8"))] {
        let simulator = told(mode).await;
        for (vendor, stream) in cases() {
            let response = say(&simulator, vendor, "Hello", stream).await;
            assert_eq!(response.status(), 200);
            let found = response.headers()["content-type"].to_str().unwrap().to_owned();
            assert_eq!(found.starts_with("text/html"), content_type.is_some(), "{vendor} {mode}: {found}");
            let body = response.bytes().await.unwrap();
            assert!(serde_json::from_slice::<Value>(&body).is_err(), "{vendor} {mode}");
        }
    }
}

#[tokio::test]
async fn a_stall_sends_nothing_at_all() {
    let simulator = told("stall").await;
    let asked = cases().map(|(vendor, stream)| timeout(IMPATIENT, say(&simulator, vendor, "Hello", stream)));
    assert!(join_all(asked).await.iter().all(Result::is_err));
}

#[tokio::test]
async fn some_answers_begin_and_do_not_go_on() {
    for mode in ["stall_midway", "slow_drip"] {
        let simulator = told(mode).await;
        let asked = cases().map(async |(vendor, stream)| {
            let mut response = say(&simulator, vendor, "Hello", stream).await;
            let first = timeout(PATIENT, response.chunk()).await.unwrap();
            assert!(!first.unwrap().unwrap().is_empty(), "{vendor} {mode}");
            assert!(timeout(IMPATIENT, response.bytes()).await.is_err(), "{vendor} {mode}: it ended");
        });
        join_all(asked).await;
    }
}

#[tokio::test]
async fn an_answer_that_stalled_ends_with_the_simulator() {
    let simulator = told("stall_midway").await;
    let mut response = say(&simulator, "openai", "Hello", true).await;
    response.chunk().await.unwrap();
    simulator.shutdown.cancel();
    assert!(response.bytes().await.is_err());
    timeout(Duration::from_secs(30), simulator.tracker.wait()).await.unwrap();
}

#[tokio::test]
async fn a_drop_breaks_an_answer_that_has_begun() {
    let simulator = told("drop").await;
    for (vendor, stream) in cases() {
        let mut response = say(&simulator, vendor, "Hello", stream).await;
        assert!(response.chunk().await.unwrap().is_some(), "{vendor}");
        assert!(response.bytes().await.is_err(), "{vendor}, stream: {stream}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_vendors_own_error() {
    let simulator = told("stream_error").await;
    let endings = [
        ("vendor_a", "event: error\ndata: {"),
        ("vendor_b", "{\"failure\":{"),
        ("openai", "data: {\"error\":{"),
        ("anthropic", "event: error\ndata: {"),
        ("google", "data: {\"error\":{"),
    ];
    for (vendor, ending) in endings {
        let response = say(&simulator, vendor, "Hello", true).await;
        assert_eq!(response.status(), 200);
        let text = response.text().await.unwrap();
        let (before, _) = text.split_once(ending).unwrap_or_else(|| unreachable!("{vendor}: {text}"));
        assert!(before.contains("Hello!"), "{vendor}: {text}");
        let response = say(&simulator, vendor, "Hello", false).await;
        assert_eq!(response.status(), 200);
        assert!(response.json::<Value>().await.unwrap().to_string().contains("told to"), "{vendor}");
    }
    let path = "/google/v1/models/gemini-test:streamGenerateContent";
    let asked = contents(json!([{"role": "user", "parts": [{"text": "Hello"}]}]));
    let array: Vec<Value> = post(&simulator, path, &asked).await.json().await.unwrap();
    assert!(array.len() > 1 && array.last().unwrap()["error"]["code"] == 503);
}

#[tokio::test]
async fn an_empty_answer_is_well_formed() {
    let simulator = told("empty").await;
    let places = [
        ("vendor_a", "/text", json!("")),
        ("vendor_b", "/result/message/content", json!([])),
        ("openai", "/choices/0/message", json!({"role": "assistant", "content": ""})),
        ("anthropic", "/content", json!([])),
        ("google", "/candidates/0/content", json!({"role": "model"})),
    ];
    for (vendor, place, nothing) in places {
        let body: Value = say(&simulator, vendor, QUESTION, false).await.json().await.unwrap();
        assert_eq!(body.pointer(place), Some(&nothing), "{vendor}: {body}");
        let stream = say(&simulator, vendor, QUESTION, true).await.text().await.unwrap();
        assert!(!stream.is_empty() && !stream.contains("invoice_lookup"), "{vendor}: {stream}");
    }
}

#[tokio::test]
async fn an_oversized_answer_has_ten_mebibytes() {
    let simulator = told("oversized").await;
    for (vendor, stream) in cases() {
        let body = say(&simulator, vendor, "Hello", stream).await.bytes().await.unwrap();
        assert!(body.len() > 10 * 1024 * 1024, "{vendor}: {}", body.len());
        assert!(stream || serde_json::from_slice::<Value>(&body).is_ok(), "{vendor}");
    }
}

#[tokio::test]
async fn bad_arguments_are_no_object() {
    let simulator = told("bad_arguments").await;
    let places = [
        ("vendor_a", "/calls/0/input"),
        ("vendor_b", "/result/message/content/0/argumentsJson"),
        ("openai", "/choices/0/message/tool_calls/0/function/arguments"),
        ("anthropic", "/content/0/input"),
        ("google", "/candidates/0/content/parts/0/functionCall/args"),
    ];
    for (vendor, place) in places {
        let body: Value = say(&simulator, vendor, QUESTION, false).await.json().await.unwrap();
        let arguments = body.pointer(place).and_then(Value::as_str).unwrap();
        assert!(serde_json::from_str::<Value>(arguments).is_err(), "{vendor}: {arguments}");
    }
    let stream = say(&simulator, "anthropic", QUESTION, true).await.text().await.unwrap();
    let joined: String =
        events(&stream).iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert!(serde_json::from_str::<Value>(&joined).is_err() && joined.starts_with('{'), "{joined}");
}
