//! Answers that nobody wants any more.

use std::time::Duration;

use events::JobId;
use nats::LiveMessage;
use nats::live::Hear;
use serde_json::{Value, json};
use tests::calls::{NOBODY_TALKS, ToldCall};
use tests::{Client, World, eventually, truth};

const LIMIT: Duration = Duration::from_secs(60);

async fn world() -> (World, Client) {
    let world = World::services().await;
    let client = world.run(NOBODY_TALKS.parse().unwrap()).await;
    (world, client)
}

async fn ended(client: &Client, job_id: JobId) -> Value {
    eventually("the end of the job", LIMIT, async || {
        let job = client.get(&format!("/api/jobs/{job_id}")).await;
        let is_over = job.status.is_success() && !job.body["finished_at"].is_null();
        is_over.then_some(job.body)
    })
    .await
}

/// The words that VendorB was told in its last request.
async fn told(world: &World) -> Vec<String> {
    let requests = world.vendor_requests("vendor_b").await;
    let conversation = requests.last().unwrap()["body"]["conversation"].as_array().unwrap();
    let words = |entry: &Value| entry["content"][0]["value"].as_str().unwrap_or_default().to_owned();
    conversation.iter().map(words).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_turn_ends_at_once_with_its_bill_and_what_was_heard_was_said() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    // A token a second: unless it is cancelled, the answer takes longer than a test may wait.
    world.control("vendor_b", json!({ "mode": "slow_drip" })).await;
    let call = ToldCall::open(&system, tenant.id, tenant.agents[2].id).await;
    let job_id = call.say("Hello there").await;
    let mut live = system.nats.live.subscribe(job_id, Hear::All).await.unwrap();
    let first = eventually("the first words", LIMIT, async || match live.next().await {
        Some(LiveMessage::Delta(delta)) => Some(delta.text),
        _ => None,
    })
    .await;
    call.interrupt(job_id, Some(first.trim())).await;
    system.nats.live.cancel(job_id).await.unwrap();
    let job = ended(&client, job_id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("cancelled"), &json!("cancelled")), "{job}");

    let attempts = client.get("/api/provider-calls").await;
    assert_eq!(attempts.rows().len(), 1, "{attempts:?}");
    assert_eq!(attempts.rows()[0]["status"], "cancelled", "{attempts:?}");
    let cost = &attempts.rows()[0]["cost_usd"];
    assert_ne!(cost, "0", "what it had written is paid for");
    assert_eq!(&client.usage().await.body["total_cost_usd"], cost);

    // The next answer is told what was heard, and no more.
    world.control("vendor_b", json!({ "mode": "normal" })).await;
    let next = call.say("And now?").await;
    assert_eq!(ended(&client, next).await["status"], "succeeded");
    assert_eq!(told(&world).await, ["Hello there", first.trim(), "And now?"]);

    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_wanted_before_it_is_begun_asks_no_vendor() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    world.control("vendor_a", json!({ "latency_ms": 1_000 })).await;
    let call = ToldCall::open(&system, tenant.id, tenant.agents[0].id).await;
    let first = call.say("Hello").await;
    let second = call.say("No, wait").await;
    call.interrupt(second, None).await;
    // Nobody works on it yet: there is nothing to stop.
    system.nats.live.cancel(second).await.unwrap();
    assert_eq!(ended(&client, first).await["status"], "succeeded");
    assert_eq!(ended(&client, second).await["status"], "cancelled");
    assert_eq!(world.vendor_log("vendor_a").await.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_of_a_job_that_is_over_or_waits_or_never_was_does_nothing() {
    let (world, client) = world().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::open(&system, tenant.id, tenant.agents[0].id).await;
    let over = call.say("Hello").await;
    let before = ended(&client, over).await;
    world.control("vendor_a", json!({ "latency_ms": 500 })).await;
    let (under_way, waits) = (call.say("How are you?").await, call.say("Are you there?").await);
    for job_id in [over, waits, JobId::new()] {
        system.nats.live.cancel(job_id).await.unwrap();
    }
    assert_eq!(ended(&client, under_way).await["status"], "succeeded");
    assert_eq!(ended(&client, waits).await["status"], "succeeded");
    assert_eq!(ended(&client, over).await, before);
    world.stop().await;
}
