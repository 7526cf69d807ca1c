//! Every request that a vendor got is accounted for, one by one: by the vendors' own records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events::call::{CallSummarized, SpeechOutcome};
use events::session::{AttemptOutcome, Metered};
use events::voice_message::SpeechDone;
use events::{AgentId, Event, EventId, JobId, Payload};
use reqwest::{Method, RequestBuilder};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::calls::{NOBODY_TALKS, ToldCall};
use tests::recording::{self, SPEECH, speak, tone, wav};
use tests::sse::Stream;
use tests::truth::{self, Truth};
use tests::{Client, World, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const SETTINGS: [(&str, &str); 4] =
    [SPEECH, ("VENDOR_TIMEOUT_SECONDS", "10"), ("VENDOR_STALL_SECONDS", "1.5"), ("VENDOR_MAX_RETRIES", "1")];

fn message(client: &Client, session: &str, content: &str) -> RequestBuilder {
    let path = format!("/api/sessions/{session}/messages?wait=60");
    client.request(Method::POST, &path).json(&json!({ "content": content }))
}

async fn streamed(client: &Client, session: &str) -> Value {
    let mut stream = Stream::open(message(client, session, "Hello, can you hear me?")).await;
    stream.rest().await.pop().unwrap().data
}

async fn ended(client: &Client, job: &str) -> Value {
    eventually("the end of the job", LIMIT, async || {
        let job = client.get(&format!("/api/jobs/{job}")).await.body;
        (!job["finished_at"].is_null()).then_some(job)
    })
    .await
}

/// A line of a bill.
struct Line {
    outcome: AttemptOutcome,
    metered: Metered,
}

/// Every bill's lines, by attempt. No attempt stands on two.
fn billed(events: &[Event]) -> BTreeMap<EventId, Line> {
    let mut lines = BTreeMap::new();
    for event in events {
        let billed = match &event.payload {
            Payload::ReplyCompleted(reply) => &reply.billed,
            Payload::TurnFailed(failed) => &failed.billed,
            Payload::CallSummarized(CallSummarized { billed, .. }) => billed,
            _ => continue,
        };
        for line in billed {
            let of = Line { outcome: line.outcome, metered: line.metered.clone() };
            assert!(lines.insert(line.attempt_id, of).is_none(), "{} was billed twice", line.attempt_id);
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_that_a_vendor_got_is_on_one_bill() {
    let world = World::with_environment(&SETTINGS).await;
    // With the role voice, which hears and speaks messages; nobody else's calls are there.
    let client = world.run(cli::system::Roles::all()).await;
    let agent = |index| world.agent(0, index);

    // A tool, and with it a second round.
    let session = client.session(&agent(1)).await;
    let asked = client.say(&session, "What is the status of invoice INV-TC-001?").await;
    assert_eq!((asked.status.as_u16(), &asked.body["attempts"]), (200, &json!(2)), "{asked:?}");

    // Two requests beside each other, one of them for nothing. Before the failures: a vendor that fails is not asked.
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    let hedged = json!({
        "name": "Hedged", "primary_provider": "vendor_a", "fallbacks": ["vendor_b"], "hedge_after_ms": 100
    });
    let hedged = client.post("/api/agents", hedged).await;
    let reply = streamed(&client, &client.session(hedged.text("id")).await).await;
    assert_eq!((&reply["provider"], &reply["attempts"]), (&json!("vendor_b"), &json!(2)), "{reply}");
    world.control("vendor_a", json!({ "mode": "normal" })).await;

    // Failures that cost nothing, and a fallback.
    world.control("vendor_a", json!({ "failure_rate": 1.0 })).await;
    assert_eq!(client.say(&session, "Hello").await.text("provider"), "vendor_b");
    world.control("vendor_a", json!({ "failure_rate": 0.0 })).await;

    // A client that goes away while its reply streams.
    world.control("vendor_b", json!({ "latency_ms": 50 })).await;
    let session = client.session(&agent(2)).await;
    let mut stream = Stream::open(message(&client, &session, "Hello, can you hear me?")).await;
    assert_eq!(stream.next().await.unwrap().event, "delta");
    drop(stream);
    let jobs = client.get(&format!("/api/jobs?session_id={session}")).await;
    let left = ended(&client, jobs.rows()[0]["id"].as_str().unwrap()).await;
    assert_eq!(left["status"], "succeeded", "{left}");

    // Streams that break and that stall, on both vendors until nobody is left.
    for mode in ["drop", "stall_midway", "stream_error"] {
        for vendor in ["vendor_a", "vendor_b"] {
            world.control(vendor, json!({ "mode": mode, "latency_ms": 0 })).await;
        }
        let broke = streamed(&client, &client.session(&agent(1)).await).await;
        assert!(["vendor_failed", "vendor_timeout"].contains(&broke["code"].as_str().unwrap()), "{broke}");
    }
    for vendor in ["vendor_a", "vendor_b"] {
        world.control(vendor, json!({ "mode": "normal" })).await;
    }

    // A job that is cancelled in the middle.
    let patient = json!({ "name": "Patient", "primary_provider": "vendor_b" });
    let patient = client.post("/api/agents", patient).await;
    let session = client.session(patient.text("id")).await;
    world.control("vendor_b", json!({ "mode": "slow_drip" })).await;
    let mut stream = Stream::open(message(&client, &session, "Tell me everything about your products")).await;
    assert_eq!(stream.next().await.unwrap().event, "delta");
    let jobs = client.get(&format!("/api/jobs?session_id={session}&status=running")).await;
    let cancelled = jobs.rows()[0]["id"].as_str().unwrap().to_owned();
    client.post(&format!("/api/jobs/{cancelled}/cancel"), json!({})).await;
    world.control("vendor_b", json!({ "mode": "normal" })).await;
    assert_eq!(ended(&client, &cancelled).await["status"], "cancelled");

    // Words that are heard and spoken; and an engine that fails.
    let spoken = recording::session(&client).await;
    let file = wav(&tone(1.5));
    assert_eq!(speak(&client, &spoken, &file).await.status, 200);
    world.control("simulated_speech", json!({ "failure_rate": 1.0 })).await;
    assert_eq!(speak(&client, &spoken, &file).await.status, 502);
    world.control("simulated_speech", json!({ "failure_rate": 0.0 })).await;

    account(&world, &client, cancelled.parse().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn summaries_of_calls_are_on_the_bill_too() {
    let world = World::with_environment(&SETTINGS).await;
    let client = world.run(NOBODY_TALKS.parse().unwrap()).await;
    let system = world.connect().await;
    let call =
        ToldCall::start(&system, world.tenant(0).id, AgentId(world.agent(0, 0).parse().unwrap())).await;
    let job = call.say("Hello").await;
    ended(&client, &job.to_string()).await;
    call.hang_up(2_000, None).await;
    eventually("the summary", LIMIT, async || {
        let shown = client.get(&format!("/api/calls/{}", call.call_id)).await;
        shown.body["summary"].as_str().map(str::to_owned)
    })
    .await;
    let requests = account(&world, &client, JobId::new()).await;
    assert_eq!(requests, 2, "the reply and the summary");
}

/// Compares the vendors' records with the log's facts, the bills, and what the usage shows. Answers how many requests to
/// language models there were.
async fn account(world: &World, client: &Client, cancelled: JobId) -> usize {
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    let events = Truth::read(&system).await.events;
    let facts: BTreeMap<String, _> = events
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::VendorAttempted(attempt) => Some((event.envelope.id.to_string(), attempt)),
            _ => None,
        })
        .collect();
    let bills = billed(&events);
    assert_eq!(
        bills.keys().map(EventId::to_string).collect::<BTreeSet<_>>(),
        facts.keys().cloned().collect(),
        "a request without its line, or a line without its request"
    );

    let mut seen = BTreeSet::new();
    for vendor in ["vendor_a", "vendor_b"] {
        for request in world.vendor_log(vendor).await {
            let id = request["request_id"].as_str().unwrap().to_owned();
            let fact = facts.get(&id).unwrap_or_else(|| panic!("nobody knows of {request}"));
            let line = &bills[&EventId(id.parse().unwrap())];
            assert_eq!((&fact.provider[..], &fact.metered), (vendor, &line.metered), "{request}");
            assert_eq!(fact.outcome, line.outcome, "{request}");
            let (free, estimated) = (line.metered.cost_usd.is_zero(), line.metered.estimated);
            match (line.outcome, request["status"].as_u64()) {
                (AttemptOutcome::Succeeded, Some(200)) => assert!(!free && !estimated, "{request}: {fact:?}"),
                // It had begun to answer.
                (_, Some(200)) => assert!(!free && estimated, "{request}: {fact:?}"),
                (AttemptOutcome::Succeeded, status) => panic!("succeeded with {status:?}: {request}"),
                (_, _) => assert!(free, "{request}: {fact:?}"),
            }
            if fact.job_id == cancelled {
                assert_eq!(line.outcome, AttemptOutcome::Cancelled, "{request}");
            }
            assert!(seen.insert(id), "{request}: a request was sent twice under one id");
        }
    }
    assert_eq!(seen.len(), facts.len(), "a request that no vendor has seen");

    let speech: Vec<&SpeechDone> = events
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::SpeechDone(work) => Some(work),
            _ => None,
        })
        .collect();
    // One that failed cost nothing, and is on no bill.
    let answered =
        world.vendor_log("simulated_speech").await.iter().filter(|request| request["status"] == 200).count();
    assert!(speech.iter().all(|work| work.outcome == SpeechOutcome::Succeeded), "{speech:?}");
    assert_eq!(speech.len(), answered, "speech");

    let owed: Decimal = bills.values().map(|line| line.metered.cost_usd).sum();
    let speech: Decimal = speech.iter().map(|work| work.metered.cost_usd).sum();
    let usage = client.usage().await;
    assert_eq!(usage.text("total_cost_usd").parse::<Decimal>().unwrap(), owed + speech, "{usage:?}");
    truth::projections_are_what_the_log_says(&system).await;
    seen.len()
}
