//! Whatever a vendor does, the message ends in time: with another vendor's answer, or with a clear failure. And every
//! request that a vendor got is in our books, once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::{Client, World};

/// One way to fail, and what is to be seen of it.
struct Fault {
    name: &'static str,
    control: Value,
    /// Of each attempt.
    error_code: &'static str,
    /// Of the message, when there is nobody else to ask.
    status: u16,
    code: &'static str,
    /// One, and three retries where trying again may help.
    attempts: u64,
}

fn fault(name: &'static str, control: Value, error_code: &'static str, attempts: u64) -> Fault {
    let timed_out = error_code == "timeout";
    let (status, code) = if timed_out { (504, "vendor_timeout") } else { (502, "vendor_failed") };
    Fault { name, control, error_code, status, code, attempts }
}

fn faults() -> [Fault; 9] {
    let refusing = |status: u16| json!({ "failure_rate": 1.0, "status": status });
    [
        fault("garbage", json!({ "mode": "garbage" }), "garbage", 4),
        fault("stall", json!({ "mode": "stall" }), "timeout", 4),
        fault("drop", json!({ "mode": "drop" }), "dropped", 4),
        fault("slow_drip", json!({ "mode": "slow_drip" }), "timeout", 4),
        fault("500", refusing(500), "http_500", 4),
        fault("503", refusing(503), "http_503", 4),
        fault("429", json!({ "failure_rate": 1.0, "status": 429, "retry_after": 1 }), "rate_limited", 4),
        fault("401", refusing(401), "http_401", 1),
        fault("404", refusing(404), "http_404", 1),
    ]
}

const CALM: &str = r#"{"mode": "normal", "failure_rate": 0.0, "latency_ms": 0, "retry_after": null}"#;
const SHORT: [(&str, &str); 1] = [("VENDOR_TIMEOUT_SECONDS", "0.25")];
/// Four attempts of 0.25 s and their waits of at most 0.1 s, twice over for a busy machine.
const LIMIT: Duration = Duration::from_millis(2_800);

async fn calm(world: &World, vendor: &str) {
    world.control(vendor, serde_json::from_str(CALM).unwrap()).await;
}

/// A session with an agent of its own whose model nobody else uses: its circuit breaker is its own as well.
async fn session_with(client: &Client, name: &str, fallbacks: Value) -> String {
    let agent = json!({ "name": name, "llm_model": format!("vendor-a-{name}"), "fallbacks": fallbacks });
    let agent = client.post("/api/agents", agent).await;
    client.session(agent.text("id")).await
}

/// Our rows of a job's requests, oldest first, after comparing them with what the vendors have received since `seen`.
async fn booked(world: &World, client: &Client, job: &str, seen: &mut BTreeSet<String>) -> Vec<Value> {
    let mut received = BTreeSet::new();
    for vendor in ["vendor_a", "vendor_b"] {
        for request in world.vendor_log(vendor).await {
            let id = format!("{vendor} {}", request["request_id"].as_str().unwrap());
            received.insert(id);
        }
    }
    let calls = client.get(&format!("/api/provider-calls?job_id={job}")).await;
    let mut calls = calls.rows().to_vec();
    calls.reverse();
    let ours: BTreeSet<String> = calls
        .iter()
        .map(|call| format!("{} {}", call["provider"].as_str().unwrap(), call["id"].as_str().unwrap()))
        .collect();
    let new: BTreeSet<String> = received.difference(seen).cloned().collect();
    assert_eq!(ours, new, "one row for each request that a vendor got");
    assert_eq!(ours.len(), calls.len());
    let numbers: Vec<u64> = calls.iter().map(|call| call["attempt"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=calls.len() as u64).collect::<Vec<_>>());
    *seen = received;
    calls
}

fn cost(rows: &[Value]) -> Decimal {
    rows.iter().map(|row| row["cost_usd"].as_str().unwrap().parse::<Decimal>().unwrap()).sum()
}

#[track_caller]
fn assert_failed_attempt(call: &Value, fault: &Fault) {
    let status = if fault.error_code == "timeout" { "timed_out" } else { "failed" };
    assert_eq!(
        (&call["status"], &call["error_code"]),
        (&json!(status), &json!(fault.error_code)),
        "{}: {call}",
        fault.name
    );
}

/// What a user is told of a vendor: no address, no key.
#[track_caller]
fn assert_discreet(answer: &Answer) {
    let text = answer.body.to_string();
    for secret in ["127.0.0.1", "http://", "simulated", "Bearer"] {
        assert!(!text.contains(secret), "{answer:?}");
    }
}

#[tokio::test]
async fn a_vendor_alone_that_fails_is_a_clear_failure_in_time() {
    let (world, client) = World::start_with(&SHORT).await;
    let mut seen = BTreeSet::new();
    let mut spent = Decimal::ZERO;
    for fault in faults() {
        let session = session_with(&client, fault.name, json!([])).await;
        world.control("vendor_a", fault.control.clone()).await;
        let begun = Instant::now();
        let answer = client.say(&session, "Can you hear me?").await;
        assert!(begun.elapsed() < LIMIT, "{} took {:?}", fault.name, begun.elapsed());
        answer.assert_problem(fault.status, fault.code, fault.name);
        assert_discreet(&answer);

        let job_id = answer.text("job_id");
        let job = client.get(&format!("/api/jobs/{job_id}")).await;
        assert_eq!((job.text("status"), &job.body["result"]), ("failed", &Value::Null), "{job:?}");
        let error = json!({ "code": fault.code, "detail": answer.text("detail") });
        assert_eq!((&job.body["error"], job.body["finished_at"].is_string()), (&error, true), "{job:?}");

        let calls = booked(&world, &client, job_id, &mut seen).await;
        assert_eq!(calls.len() as u64, fault.attempts, "{}: {calls:?}", fault.name);
        calls.iter().for_each(|call| assert_failed_attempt(call, &fault));
        spent += cost(&calls);
        calm(&world, "vendor_a").await;

        // The user's words stay, and the conversation goes on.
        let answered = client.say(&session, "And now?").await;
        assert_eq!(
            (answered.status.as_u16(), &answered.body["attempts"]),
            (200, &json!(1)),
            "{}: {answered:?}",
            fault.name
        );
        spent += cost(&booked(&world, &client, answered.text("job_id"), &mut seen).await);
        let transcript = client.get(&format!("/api/sessions/{session}")).await;
        let said: Vec<&Value> =
            transcript.body["messages"].as_array().unwrap().iter().map(|said| &said["content"]).collect();
        assert_eq!(
            said,
            [&json!("Can you hear me?"), &json!("And now?"), &answered.body["content"]],
            "{}",
            fault.name
        );
    }
    let usage = client.usage().await;
    assert_eq!(usage.text("total_cost_usd").parse::<Decimal>().unwrap(), spent, "{usage:?}");
    assert_eq!(usage.body["total_messages"], faults().len(), "failed ones are none: {usage:?}");
}

#[tokio::test]
async fn a_vendor_that_fails_is_stood_in_for() {
    let (world, client) = World::start_with(&SHORT).await;
    let mut seen = BTreeSet::new();
    let mut spent = Decimal::ZERO;
    for fault in faults() {
        let session = session_with(&client, fault.name, json!(["vendor_b"])).await;
        world.control("vendor_a", fault.control.clone()).await;
        let begun = Instant::now();
        let answer = client.say(&session, "Can you hear me?").await;
        assert!(begun.elapsed() < LIMIT, "{} took {:?}", fault.name, begun.elapsed());
        assert_eq!(
            (answer.status.as_u16(), &answer.body["provider"]),
            (200, &json!("vendor_b")),
            "{}: {answer:?}",
            fault.name
        );
        assert!(answer.text("content").contains("Can you hear me?"), "{answer:?}");
        assert_eq!(answer.body["attempts"], fault.attempts + 1, "{}: {answer:?}", fault.name);

        let calls = booked(&world, &client, answer.text("job_id"), &mut seen).await;
        let (last, failed) = calls.split_last().unwrap();
        assert_eq!(
            (calls.len() as u64, &last["provider"]),
            (fault.attempts + 1, &json!("vendor_b")),
            "{calls:?}"
        );
        assert_eq!((&last["status"], &last["error_code"]), (&json!("succeeded"), &Value::Null), "{last}");
        failed.iter().for_each(|call| assert_failed_attempt(call, &fault));
        // VendorB: 0.003 USD per 1,000 tokens in and out. What a broken answer may have cost is counted too.
        let tokens = last["tokens_in"].as_u64().unwrap() + last["tokens_out"].as_u64().unwrap();
        assert_eq!(cost(std::slice::from_ref(last)), Decimal::from(tokens) * Decimal::new(3, 6), "{last}");
        assert_eq!(
            answer.text("cost_usd").parse::<Decimal>().unwrap(),
            cost(&calls),
            "{}: {answer:?}",
            fault.name
        );
        let sum = |field: &str| calls.iter().map(|call| call[field].as_u64().unwrap()).sum::<u64>();
        assert_eq!(
            (&answer.body["tokens_in"], &answer.body["tokens_out"]),
            (&json!(sum("tokens_in")), &json!(sum("tokens_out")))
        );
        spent += cost(&calls);
        calm(&world, "vendor_a").await;
    }
    assert_eq!(client.usage().await.text("total_cost_usd").parse::<Decimal>().unwrap(), spent);
}

#[tokio::test]
async fn when_all_fail_the_failure_names_each_and_only_time_is_a_timeout() {
    let (world, client) = World::start_with(&SHORT).await;
    let stall = json!({ "mode": "stall" });
    let refuse = json!({ "mode": "normal", "failure_rate": 1.0, "status": 401 });
    let mut seen = BTreeSet::new();
    for (name, of_a, of_b, status, code, attempts) in [
        ("both-stall", &stall, &stall, 504, "vendor_timeout", 8),
        ("one-stalls", &stall, &refuse, 502, "vendor_failed", 5),
        ("both-refuse", &refuse, &refuse, 502, "vendor_failed", 2),
    ] {
        let session = session_with(&client, name, json!(["vendor_b"])).await;
        world.control("vendor_a", of_a.clone()).await;
        world.control("vendor_b", of_b.clone()).await;
        let answer = client.say(&session, "Hello").await;
        answer.assert_problem(status, code, name);
        assert_discreet(&answer);
        let detail = answer.text("detail");
        assert!(detail.contains("vendor_a") && detail.contains("vendor_b"), "{detail}");
        assert_eq!(booked(&world, &client, answer.text("job_id"), &mut seen).await.len(), attempts, "{name}");
    }
}

#[tokio::test]
async fn a_retry_comes_no_sooner_than_the_vendor_asked_for() {
    let (world, client) =
        World::start_with(&[("VENDOR_RETRY_MAX_WAIT", "2"), ("VENDOR_MAX_RETRIES", "1")]).await;
    let limited = json!({ "failure_rate": 1.0, "status": 429, "retry_after": 1 });
    world.control("vendor_a", limited).await;
    let session = client.session(&world.agent(0, 1)).await;
    let answer = client.say(&session, "Hello").await;
    assert_eq!((answer.status.as_u16(), &answer.body["provider"]), (200, &json!("vendor_b")), "{answer:?}");
    let calls = booked(&world, &client, answer.text("job_id"), &mut BTreeSet::new()).await;
    let started = |call: &Value| call["started_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let waited = (started(&calls[1]) - started(&calls[0])).num_milliseconds();
    assert!((1_000..2_000).contains(&waited), "waited {waited} ms");
    assert_eq!(calls.len(), 3);
}
