//! Jobs that nobody wants any more.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::recording::{self, SPEECH, heard_and_spoken, speak_with, tone, wav};
use tests::sse::Stream;
use tests::{Client, World, eventually, truth};

const LIMIT: Duration = Duration::from_secs(30);
/// A vendor that stalls is given up by nobody but who cancels.
const PATIENT: (&str, &str) = ("VENDOR_TIMEOUT_SECONDS", "60");

async fn cancel(client: &Client, job: &str) -> Answer {
    client.post(&format!("/api/jobs/{job}/cancel"), json!({})).await
}

/// Cancels a job that somebody works on, and waits until they have stopped: a slow one is `running` for a while still.
async fn stop(client: &Client, job: &str) -> Answer {
    let stopped =
        async || Some(cancel(client, job).await).filter(|answer| answer.body["status"] != "running");
    eventually("the end of the job", LIMIT, stopped).await
}

async fn ask_async(client: &Client, session: &str) -> String {
    let path = format!("/api/sessions/{session}/messages");
    let answer =
        client.post_with(&path, &json!({ "content": "Hello" }), &[("Prefer", "respond-async")]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.text("id").to_owned()
}

async fn status(client: &Client, job: &str) -> Value {
    client.get(&format!("/api/jobs/{job}")).await.body["status"].clone()
}

async fn running(client: &Client, job: &str) {
    let is_running = async || (status(client, job).await == "running").then_some(());
    eventually("the job's start", LIMIT, is_running).await;
}

async fn what_the_log_says(world: &World) {
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_stops_its_vendor_and_what_was_said_stays_and_is_billed() {
    let (world, client) = World::start_with(&[PATIENT]).await;
    let session = client.session(&world.agent(0, 2)).await;
    // A token a second: unless it is stopped, the answer takes longer than a test may wait.
    world.control("vendor_b", json!({ "mode": "slow_drip" })).await;
    let path = format!("/api/sessions/{session}/messages");
    let request = client.request(Method::POST, &path).json(&json!({ "content": "Hello, can you hear me?" }));
    let mut stream = Stream::open(request).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.event, "delta", "{first:?}");
    let jobs = client.get(&format!("/api/jobs?session_id={session}&status=running&kind=message")).await;
    let [job] = jobs.rows() else { panic!("one job: {jobs:?}") };
    assert_eq!(job["progress"], json!({ "stage": "answering" }));
    let job = job["id"].as_str().unwrap();

    let cancelled = stop(&client, job).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.text("status")), (200, "cancelled"), "{cancelled:?}");
    assert_eq!((&cancelled.body["progress"], &cancelled.body["result"]), (&Value::Null, &Value::Null));
    assert_eq!(cancelled.body["error"]["code"], "cancelled");
    assert_eq!(cancel(&client, job).await.body, cancelled.body, "twice is once");
    assert_eq!(client.get(&format!("/api/jobs/{job}")).await.body, cancelled.body);

    let rest = stream.rest().await;
    let end = rest.last().unwrap();
    assert_eq!(
        (&*end.event, &end.data["code"], &end.data["status"]),
        ("error", &json!("cancelled"), &json!(409))
    );
    let told = [first].iter().chain(&rest).filter_map(|told| told.data["text"].as_str()).collect::<String>();
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    let messages = transcript.body["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!((&messages[1]["role"], &messages[1]["interrupted"]), (&json!("assistant"), &json!(true)));
    assert_eq!(messages[1]["content"], told);

    let calls = client.get(&format!("/api/provider-calls?job_id={job}")).await;
    let [call] = calls.rows() else { panic!("one request: {calls:?}") };
    assert_eq!((&call["status"], &call["estimated"]), (&json!("cancelled"), &json!(true)));
    assert_ne!(call["cost_usd"], "0", "what it had written is paid for");
    assert_eq!(client.usage().await.body["total_cost_usd"], call["cost_usd"]);

    world.control("vendor_b", json!({ "mode": "normal" })).await;
    assert_eq!(client.say(&session, "And now?").await.status, 200);
    let asked = world.vendor_requests("vendor_b").await.last().unwrap()["body"].to_string();
    assert!(asked.contains(told.trim()), "the model knows what was heard of it: {asked}");
    what_the_log_says(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_never_runs_and_one_that_is_over_cannot_be_cancelled() {
    let (world, client) = World::start_with(&[PATIENT]).await;
    let session = client.session(&world.agent(0, 0)).await;
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    let (under_way, waits) = (ask_async(&client, &session).await, ask_async(&client, &session).await);
    running(&client, &under_way).await;
    let cancelled = cancel(&client, &waits).await;
    assert_eq!((cancelled.text("status"), &cancelled.body["attempts"]), ("cancelled", &json!(0)));
    assert_eq!(stop(&client, &under_way).await.text("status"), "cancelled");
    world.control("vendor_a", json!({ "mode": "normal" })).await;
    let reply = client.say(&session, "And now?").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let over = reply.text("job_id");
    cancel(&client, over).await.assert_problem(409, "job_finished", "a job that is over");
    assert_eq!(status(&client, over).await, "succeeded");
    let requests = world.vendor_requests("vendor_a").await;
    assert_eq!(requests.len(), 2, "the one that was stopped, and the last: {requests:?}");
    let nobodys = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
    cancel(&client, nobodys).await.assert_problem(404, "not_found", "no job");
    let viewer = client.with_role("viewer").await;
    cancel(&viewer, over).await.assert_problem(403, "forbidden", "a viewer");
    what_the_log_says(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_the_reply_is_told_that_it_was_cancelled() {
    let (world, client) = World::start_with(&[PATIENT]).await;
    let session = client.session(&world.agent(0, 0)).await;
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    let stopping = async {
        let job = eventually("the job", LIMIT, async || {
            let jobs = client.get("/api/jobs?status=running").await;
            jobs.rows().first().map(|job| job["id"].as_str().unwrap().to_owned())
        })
        .await;
        stop(&client, &job).await
    };
    let (reply, cancelled) = tokio::join!(client.say(&session, "Hello"), stopping);
    assert_eq!(cancelled.text("status"), "cancelled");
    reply.assert_problem(409, "cancelled", "a message");
    assert_eq!(reply.body["job_id"], cancelled.body["id"]);
    let listed = client.get("/api/jobs?status=cancelled").await;
    assert_eq!(listed.rows(), [cancelled.body]);
    for wrong in ["status=over", "kind=call", "session_id=desk", "agent_id=x"] {
        assert_eq!(client.get(&format!("/api/jobs?{wrong}")).await.status, 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_worker_died_is_cancelled_by_the_next_one() {
    let mut world = World::with_environment(&[PATIENT]).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let worker = world.spawn("turns", 0);
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    let session = client.session(&world.agent(0, 0)).await;
    let job = ask_async(&client, &session).await;
    running(&client, &job).await;
    worker.kill();
    let (cancelled, _worker) = tokio::join!(cancel(&client, &job), async { world.spawn("turns", 0) });
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let over = async || (status(&client, &job).await == "cancelled").then_some(());
    eventually("the end of the job", LIMIT, over).await;
    assert!(world.vendor_log("vendor_a").await.len() <= 1, "the next one asks nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_nobody_has_taken_are_never_begun_not_even_to_be_heard() {
    let mut world = World::with_environment(&[SPEECH]).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let session = recording::session(&client).await;
    let message = ask_async(&client, &session).await;
    let file = wav(&tone(1.5));
    let recording = speak_with(&client, &session, &file, &[("Prefer", "respond-async")]).await;
    assert_eq!(recording.status, 202, "{recording:?}");
    let recording = recording.text("id");
    let hears = async || {
        let job = client.get(&format!("/api/jobs/{recording}")).await;
        (job.body["progress"] == json!({ "stage": "hearing" })).then_some(())
    };
    eventually("the recording's job", LIMIT, hears).await;
    for job in [&*message, recording] {
        let cancelled = cancel(&client, job).await;
        assert_eq!(cancelled.text("status"), "cancelled", "{cancelled:?}");
    }
    let _workers = world.spawn("workers", 0);
    let next = client.session(&world.agent(0, 0)).await;
    assert_eq!(client.say(&next, "Hello").await.status, 200, "the workers work");
    assert_eq!((world.vendor_log("vendor_a").await.len(), heard_and_spoken(&world).await), (1, (0, 0)));
    for job in [&*message, recording] {
        assert_eq!(status(&client, job).await, "cancelled");
    }
    what_the_log_says(&world).await;
}
