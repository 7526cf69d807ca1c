//! What is told while it happens: a reply word by word, and a session event by event.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::sse::{Stream, Told};
use tests::{Client, World, eventually};

fn message(client: &Client, session: &str, content: &str) -> RequestBuilder {
    client
        .request(Method::POST, &format!("/api/sessions/{session}/messages"))
        .json(&json!({ "content": content }))
}

async fn streamed(client: &Client, session: &str, content: &str) -> Vec<Told> {
    Stream::open(message(client, session, content)).await.rest().await
}

fn names(events: &[Told]) -> Vec<&str> {
    events.iter().map(|told| told.event.as_str()).collect()
}

/// The deltas' text, in order.
fn spoken(events: &[Told]) -> String {
    events
        .iter()
        .filter(|told| told.event == "delta")
        .map(|told| told.data["text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_reply_streams_with_its_tool_call_and_ends_with_what_the_job_says() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 1)).await;
    let events = streamed(&client, &session, "What is the status of invoice INV-TC-001?").await;
    let (done, told) = events.split_last().unwrap();
    assert_eq!(done.event, "done", "{events:?}");
    assert!(told.iter().all(|told| ["delta", "tool_call"].contains(&told.event.as_str())), "{events:?}");

    let calls: Vec<&Told> = told.iter().filter(|told| told.event == "tool_call").collect();
    assert_eq!(calls.len(), 1, "{events:?}");
    assert_eq!(calls[0].data["name"], "invoice_lookup");
    assert_eq!(calls[0].data["arguments"], json!({ "invoice_id": "INV-TC-001" }));
    assert_eq!(told[0].event, "tool_call", "it was called before it was spoken of: {events:?}");
    assert!(names(told).iter().filter(|name| **name == "delta").count() > 1, "{events:?}");
    assert_eq!(spoken(told), done.data["content"].as_str().unwrap());
    assert!(spoken(told).contains("15,000.00"), "{events:?}");

    let job = client.get(&format!("/api/jobs/{}", done.data["job_id"].as_str().unwrap())).await;
    assert_eq!(job.body["result"], done.data);
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    assert_eq!(transcript.body["messages"][1]["content"], done.data["content"]);
    assert_eq!(client.usage().await.body["total_cost_usd"], done.data["cost_usd"]);
}

#[tokio::test]
async fn a_vendor_that_breaks_off_makes_the_reply_start_over() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 1)).await;
    world.control("vendor_a", json!({ "mode": "drop" })).await;
    let events = streamed(&client, &session, "I would like to hear about your products").await;
    let done = events.last().unwrap();
    assert_eq!((done.event.as_str(), &done.data["provider"]), ("done", &json!("vendor_b")), "{events:?}");
    assert_eq!(done.data["attempts"], 5, "four of VendorA's, one of VendorB's");

    let restart = events.iter().rposition(|told| told.event == "restart").expect("it started over");
    assert!(!spoken(&events[..restart]).is_empty(), "half a reply was told before: {events:?}");
    assert_eq!(events[restart].data["attempt"], 5);
    assert_eq!(spoken(&events[restart..]), done.data["content"].as_str().unwrap());
    // Attempts never go back, and each but the first is announced.
    let mut attempt = None;
    for told in &events[..events.len() - 1] {
        let now = told.data["attempt"].as_u64();
        assert!(told.event == "restart" || attempt.is_none_or(|before| now == before), "{events:?}");
        assert!(attempt.is_none_or(|before| now >= before), "{events:?}");
        attempt = Some(now);
    }
}

#[tokio::test]
async fn a_stream_that_comes_to_nothing_ends_with_the_problem() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    world.control("vendor_a", json!({ "mode": "garbage" })).await;
    let events = streamed(&client, &session, "Hello").await;
    let error = events.last().unwrap();
    assert_eq!(names(&events), ["error"], "{events:?}");
    assert_eq!((&error.data["code"], &error.data["status"]), (&json!("vendor_failed"), &json!(502)));
    let job = client.get(&format!("/api/jobs/{}", error.data["job_id"].as_str().unwrap())).await;
    assert_eq!(
        (job.text("status"), &job.body["error"]["code"]),
        ("failed", &json!("vendor_failed")),
        "{job:?}"
    );

    // Before anything is streamed a mistake is an ordinary problem.
    let blank = message(&client, &session, " ").header("Accept", "text/event-stream");
    client.send(blank).await.unwrap().assert_problem(422, "validation_failed", "blank");
}

#[tokio::test]
async fn a_listener_that_leaves_does_not_stop_the_turn() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    world.control("vendor_a", json!({ "latency_ms": 300 })).await;
    drop(Stream::open(message(&client, &session, "Hello")).await);
    // One that waits for the whole reply leaves as well.
    let waiting = message(&client, &session, "Hello").timeout(Duration::from_millis(200));
    assert!(client.send(waiting).await.is_err(), "it left too early to be answered");

    let transcript = eventually("the replies nobody waited for", Duration::from_secs(20), async || {
        let transcript = client.get(&format!("/api/sessions/{session}")).await;
        (transcript.body["messages"].as_array().unwrap().len() == 4).then_some(transcript)
    })
    .await;
    // The second was said while the first was being answered.
    let messages = transcript.body["messages"].as_array().unwrap();
    let replies = messages.iter().filter(|message| message["role"] == "assistant");
    assert_eq!(replies.count(), 2, "{transcript:?}");
    let jobs = client.get("/api/jobs").await;
    let statuses: Vec<&Value> = jobs.rows().iter().map(|job| &job["status"]).collect();
    assert_eq!(statuses, ["succeeded", "succeeded"], "{jobs:?}");
}

#[tokio::test]
async fn a_sessions_events_are_told_from_the_first_and_go_on_live() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    // Another session's events, before and after, are none of ours.
    let other = client.session(&world.agent(0, 0)).await;
    client.say(&other, "Somebody else").await;
    client.say(&session, "Where is invoice INV-TC-002?").await;
    let follow = || client.request(Method::GET, &format!("/api/sessions/{session}/events"));
    let first_turn = [
        "created",
        "message_received",
        "turn_started",
        "vendor_attempted",
        "tool_requested",
        "tool_completed",
        "vendor_attempted",
        "reply_completed",
    ];
    let mut live = Stream::open(follow()).await;
    let past = live.take(first_turn.len()).await;
    let types = |events: &[Told]| -> Vec<String> {
        let short = |told: &Told| told.data["type"].as_str().unwrap().replace("vocalbridge.session.", "");
        events.iter().map(short).collect()
    };
    let mut sorted = types(&past);
    // Facts stand beside the session's own history, so their place among the others is not fixed.
    let history: Vec<&str> = first_turn.into_iter().filter(|name| *name != "vendor_attempted").collect();
    sorted.retain(|name| name != "vendor_attempted");
    assert_eq!(sorted, history, "{past:?}");

    client.say(&other, "Somebody else").await;
    client.say(&session, "Thanks").await;
    let more = live.take(4).await;
    assert_eq!(types(&more)[..2], ["message_received", "turn_started"], "{more:?}");
    assert_eq!(types(&more)[3], "reply_completed", "{more:?}");

    let all: Vec<Told> = past.into_iter().chain(more).collect();
    for told in &all {
        let event = &told.data;
        assert_eq!(
            (&event["specversion"], &event["tenantid"]),
            (&json!("1.0"), &json!(world.tenant(0).id.to_string()))
        );
        for attribute in ["id", "source", "time", "correlationid", "actor", "traceparent", "dataschema"] {
            assert!(!event[attribute].as_str().unwrap_or_default().is_empty(), "{attribute}: {event}");
        }
        assert!(event["subject"].as_str().unwrap().ends_with(&session), "{event}");
        assert_eq!(event["datacontenttype"], "application/json");
        assert!(!event.to_string().contains("ciphertext"), "sealed words are opened: {event}");
        // A root event has no cause; all others name an event of this session or one before it.
        let is_root =
            ["created", "message_received"].contains(&types(std::slice::from_ref(told))[0].as_str());
        assert_eq!(event.get("causationid").is_none(), is_root, "{event}");
    }
    assert_eq!(all[0].data["data"]["customer_id"], "customer-1");
    assert_eq!(all[1].data["data"]["content"], "Where is invoice INV-TC-002?");
    assert!(all[history.len()].data["data"]["content"].as_str().unwrap_or_default().len() < 500);
    let sequence = |told: &Told| told.id.split_once(':').unwrap().1.parse::<u64>().unwrap();
    assert!(all.is_sorted_by(|one, next| sequence(one) < sequence(next)), "{all:?}");

    // Resumed anywhere, it goes on with the next one; at the end, with what comes.
    for position in [0, 2, all.len() - 2] {
        let mut resumed = Stream::open(follow().header("Last-Event-ID", &all[position].id)).await;
        assert_eq!(resumed.take(all.len() - position - 1).await, all[position + 1..], "from {position}");
    }
    let mut resumed = Stream::open(follow().header("Last-Event-ID", &all[all.len() - 1].id)).await;
    client.post(&format!("/api/sessions/{session}/end"), json!({})).await;
    assert_eq!(types(&resumed.take(1).await), ["ended"]);
    assert_eq!(types(&live.take(1).await), ["ended"]);
}
