//! What is recorded of calls, and asked about them. Nobody talks in these: the test tells what happened.

use std::time::Duration;

use events::JobId;
use events::call::*;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::calls::{NOBODY_TALKS, ToldCall};
use tests::client::Answer;
use tests::{Client, World, eventually, truth};

const LIMIT: Duration = Duration::from_secs(60);

async fn world() -> (World, Client) {
    let world = World::services().await;
    let client = world.run(NOBODY_TALKS.parse().unwrap()).await;
    (world, client)
}

async fn answered(client: &Client, job_id: JobId) {
    eventually("an answer", LIMIT, async || {
        let job = client.get(&format!("/api/jobs/{job_id}")).await;
        (job.body["status"] == "succeeded").then_some(())
    })
    .await;
}

async fn summarised(client: &Client, path: &str) -> Value {
    eventually("a summary", LIMIT, async || {
        let call = client.get(path).await;
        call.body["summary"].is_string().then_some(call.body)
    })
    .await
}

fn claimed() -> CallClaimed {
    CallClaimed { worker_id: "host:7".to_owned(), attempt: 1, held_sequence: 1, held_generation: 1 }
}

fn metered(cost: i64) -> Option<CarrierMetered> {
    Some(CarrierMetered {
        provider: "twilio".to_owned(),
        duration_ms: 90_400,
        requests: 1,
        cost_usd: Decimal::new(cost, 3),
        price_version: "test".to_owned(),
    })
}

async fn delete(client: &Client, path: &str) -> Answer {
    client.send(client.request(Method::DELETE, path)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_told_from_its_ring_to_its_summary_and_costs_what_all_of_it_cost() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    let path = format!("/api/calls/{}", call.call_id);
    let ringing = client.get(&path).await;
    assert_eq!((ringing.text("status"), ringing.text("direction")), ("ringing", "inbound"), "{ringing:?}");
    assert_eq!(ringing.text("caller_number"), "+493012345678");
    assert_eq!(ringing.text("twilio_call_sid"), ringing.text("provider_call_sid"));
    assert!(!ringing.body["agents"]["name"].as_str().unwrap().is_empty());

    call.tell(claimed()).await;
    call.tell(CallConnected { format: CallAudio::Mulaw8k }).await;
    let active = client.get("/api/calls/active").await;
    assert_eq!((active.rows().len(), &active.rows()[0]["worker_id"]), (1, &json!("host:7")), "{active:?}");
    assert_eq!(active.rows()[0]["status"], "in-progress");

    let greeting = call.greet("Good day, how can I help?").await;
    call.interrupt(greeting, Some("Good day,")).await;
    let job_id = call.say("What is the status of invoice INV-TC-001?").await;
    answered(&client, job_id).await;
    let silent = call.say("Never mind").await;
    answered(&client, silent).await;
    call.interrupt(silent, None).await;
    let speech =
        SpeechMetered { cost_usd: Decimal::new(5, 2), price_version: "test".to_owned(), estimated: false };
    call.tell(SpeechWorkMetered {
        kind: SpeechKind::Synthesis,
        job_id: Some(job_id),
        agent_id: call.agent_id,
        session_id: call.session_id,
        provider: "azure".to_owned(),
        model: "hd".to_owned(),
        audio_ms: 5_000,
        characters: 60,
        outcome: SpeechOutcome::Succeeded,
        metered: speech,
    })
    .await;
    call.tell(measured(job_id)).await;
    call.hang_up(90_400, metered(3)).await;

    let over = summarised(&client, &path).await;
    assert_eq!((&over["status"], &over["end_reason"]), (&json!("completed"), &json!("caller_hung_up")));
    assert_eq!((&over["duration_seconds"], &over["worker_id"]), (&json!(90), &Value::Null), "{over}");
    assert_eq!(over["turns"][0]["caller_gap_ms"], 700);
    assert_eq!(client.get("/api/calls/active").await.rows().len(), 0);
    let listed = client.get("/api/calls?status=completed").await;
    assert_eq!((listed.rows().len(), &listed.rows()[0]["id"]), (1, &over["id"]));

    // Everything that was used belongs to this call, and all of it is on the tenant's bill.
    let usage = client.usage().await;
    assert_eq!(usage.body["total_cost_usd"], over["cost_usd"]);
    let cost: Decimal = over["cost_usd"].as_str().unwrap().parse().unwrap();
    assert!(cost > Decimal::new(53, 3), "speech and carrier, and models beside: {cost}");
    assert_eq!(usage.body["by_channel"].as_array().unwrap().len(), 1, "{usage:?}");

    let transcript = client.get(&format!("{path}/transcript")).await;
    let lines: Vec<(&str, bool)> = transcript
        .rows()
        .iter()
        .map(|line| (line["role"].as_str().unwrap(), line["interrupted"].as_bool().unwrap()))
        .collect();
    let expected =
        [("assistant", true), ("user", false), ("assistant", false), ("user", false), ("assistant", true)];
    assert_eq!(lines, expected, "{transcript:?}");
    let content = |index: usize| transcript.rows()[index]["content"].as_str().unwrap();
    assert_eq!((content(0), content(4)), ("Good day,", ""));
    assert!(transcript.rows().iter().all(|line| line["call_id"] == over["id"]));
    let session = client.get(&format!("/api/sessions/{}", call.session_id)).await;
    assert_eq!(session.body["messages"][0]["interrupted"], true, "{session:?}");

    let latency = client.get("/api/analytics/latency").await;
    let stages = latency.body["stages"].as_array().unwrap();
    let gap = stages.iter().find(|stage| stage["stage"] == "caller_gap").unwrap();
    assert_eq!((&gap["p50_ms"], &gap["count"], &gap["provider"]), (&json!(700), &json!(1), &Value::Null));

    // It can be taken out of the list; what it cost stays.
    assert_eq!(delete(&client, &path).await.body, json!({ "deleted": true }));
    for gone in [path.clone(), format!("{path}/transcript")] {
        client.get(&gone).await.assert_problem(404, "not_found", &gone);
    }
    assert_eq!(client.get("/api/calls").await.rows().len(), 0);
    assert_eq!(client.usage().await.body["total_cost_usd"], over["cost_usd"]);
    delete(&client, &path).await.assert_problem(404, "not_found", "the second time");

    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
    world.stop().await;
}

fn measured(job_id: JobId) -> TurnMeasured {
    TurnMeasured {
        job_id,
        turn: 1,
        interrupted: false,
        speech_ms: Some(1_000),
        endpointing_ms: Some(300),
        stt_ms: Some(100),
        first_token_ms: Some(200),
        first_sentence_ms: Some(50),
        first_audio_ms: Some(50),
        caller_gap_ms: Some(700),
        stt_provider: Some("local".to_owned()),
        llm_provider: Some("vendor_a".to_owned()),
        tts_provider: Some("azure".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_up_is_told_in_the_log_and_at_once_and_what_is_over_cannot_be_hung_up() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    let path = format!("/api/calls/{}", call.call_id);
    delete(&client, &path).await.assert_problem(409, "call_active", "a call under way");
    let mut hangups = system.nats.live.hangups(call.call_id).await.unwrap();
    // The server knows of the subscription before anybody asks.
    system.nats.flush().await;

    let sid = client.get(&path).await.text("provider_call_sid").to_owned();
    for name in [sid, call.call_id.to_string()] {
        let answer = client.post(&format!("/api/calls/{name}/hangup"), json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body, json!({ "id": call.call_id, "hangup_requested": true }));
        let told = tokio::time::timeout(LIMIT, hangups.next()).await.unwrap();
        assert!(told.is_some());
    }
    let history = system.nats.log.read(&events::Aggregate::call(tenant.id, call.call_id), 0).await.unwrap();
    let asked = history.iter().filter(|recorded| {
        matches!(&recorded.event.payload, events::Payload::HangupRequested(asked) if asked.by.starts_with("key:"))
    });
    assert_eq!(asked.count(), 1, "asking again changes nothing");

    let other = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    other.hang_up(0, None).await;
    let over = client.post(&format!("/api/calls/{}/hangup", other.call_id), json!({})).await;
    over.assert_problem(409, "call_ended", "a call that is over");
    for nothing in ["CA0", "01935c00-0000-7000-8000-00000000c0de", "%00"] {
        let answer = client.post(&format!("/api/calls/{nothing}/hangup"), json!({})).await;
        answer.assert_problem(404, "not_found", nothing);
    }
    let stranger = client.with_key(&world.tenant(1).api_key);
    let answer = stranger.post(&format!("/api/calls/{}/hangup", call.call_id), json!({})).await;
    answer.assert_problem(404, "not_found", "another tenant's call");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_which_nothing_was_said_asks_no_vendor_for_its_summary() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    call.greet("Good day").await;
    call.hang_up(2_000, None).await;
    let summarized = told_once(&system, &call).await;
    assert_eq!((summarized.summary, summarized.billed), (None, vec![]));
    let answer = client.get(&format!("/api/calls/{}", call.call_id)).await;
    assert_eq!((&answer.body["summary"], answer.text("status")), (&Value::Null, "completed"));
    assert!(world.vendor_log("vendor_a").await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_that_no_vendor_gives_ends_the_matter_with_its_bill_and_another_end_asks_nobody() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    answered(&client, call.say("Hello").await).await;
    world.control("vendor_a", json!({ "mode": "empty" })).await;
    call.hang_up(2_000, None).await;
    let summarized = told_once(&system, &call).await;
    assert!(summarized.summary.is_none() && !summarized.billed.is_empty(), "{summarized:?}");

    // The same work, handed out again.
    let asked = world.vendor_log("vendor_a").await.len();
    world.control("vendor_a", json!({ "mode": "normal" })).await;
    call.hang_up(2_000, None).await;
    let other = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    other.hang_up(0, None).await;
    told_once(&system, &other).await;
    told_once(&system, &call).await;
    assert_eq!(world.vendor_log("vendor_a").await.len(), asked);
    world.stop().await;
}

/// The one summary of a call.
async fn told_once(system: &cli::system::System, call: &ToldCall<'_>) -> CallSummarized {
    let aggregate = events::Aggregate::call(call.tenant_id, call.call_id);
    eventually("the end of the summary", LIMIT, async || {
        let history = system.nats.log.read(&aggregate, 0).await.unwrap();
        let mut summaries = history.into_iter().filter_map(|recorded| match recorded.event.payload {
            events::Payload::CallSummarized(summarized) => Some(summarized),
            _ => None,
        });
        let first = summaries.next();
        assert!(summaries.next().is_none(), "a call is summarised once");
        first
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_erased_customer_said_is_in_no_summary() {
    let world = World::services().await;
    let client = world.run("api,turns,projections".parse().unwrap()).await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    answered(&client, call.say("My name is Maria").await).await;
    call.hang_up(2_000, None).await;
    assert!(system.keyring.erase_customer(tenant.id, "caller-1").await.unwrap());
    let asked = world.vendor_log("vendor_a").await.len();
    // These never held the key.
    let client = world.run("api,summaries,projections".parse().unwrap()).await;
    assert!(told_once(&system, &call).await.summary.is_none());
    assert_eq!(world.vendor_log("vendor_a").await.len(), asked, "there is nothing to tell");
    let shown = client.get(&format!("/api/calls/{}", call.call_id)).await;
    assert_eq!((&shown.body["summary"], &shown.body["caller_number"]), (&Value::Null, &Value::Null));
    let transcript = client.get(&format!("/api/calls/{}/transcript", call.call_id)).await;
    assert!(transcript.rows().iter().all(|line| line["content"].is_null()), "{transcript:?}");
    world.stop().await;
}
