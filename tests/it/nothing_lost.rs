//! Workers, then nats-server, then Postgres are killed in the middle of 500 messages, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, World, eventually, truth, world};
use tokio_util::task::TaskTracker;

const SESSIONS: usize = 50;
const MESSAGES: usize = 10;
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_workers_nats_and_postgres_are_killed() {
    let mut world = World::services().await;
    world.unreliable_vendors().await;
    let port = world::free_port();
    let base_url = format!("http://127.0.0.1:{port}");
    let _api = world.spawn("api", port);
    let _projections = world.spawn("projections", 0);
    let mut workers = vec![world.spawn("workers", 0), world.spawn("workers", 0)];
    world::ready(&world.client(&base_url, 0)).await;

    let answered = Arc::new(AtomicUsize::new(0));
    let tracker = TaskTracker::new();
    let mut talks = Vec::new();
    for number in 0..SESSIONS {
        let client = world.client(&base_url, number % 2);
        let session = client.session(&world.agent(number % 2, number % 3)).await;
        let answered = answered.clone();
        let talk = tracker.spawn(talk(client.clone(), session.clone(), answered));
        talks.push((client, session, talk));
    }

    let mut rng = StdRng::seed_from_u64(11);
    let mut due = 0;
    for victim in ["worker", "worker", "worker", "nats", "nats", "postgres", "postgres"] {
        due += rng.random_range(35..65);
        eventually("the next moment to kill", LIMIT, async || {
            (answered.load(Ordering::Relaxed) >= due).then_some(())
        })
        .await;
        match victim {
            "worker" => {
                workers.remove(0).kill();
                workers.push(world.spawn("workers", 0));
            }
            "nats" => {
                world.services.nats.kill().await.unwrap();
                world.services.nats.start_again().await.unwrap();
            }
            _ => {
                world.services.postgres.kill().await.unwrap();
                world.services.postgres.start_again().await.unwrap();
            }
        }
    }
    let mut jobs = Vec::new();
    let mut sessions = Vec::new();
    for (client, session, talk) in talks {
        jobs.extend(talk.await.unwrap());
        sessions.push((client, session));
    }
    assert_eq!(jobs.len(), SESSIONS * MESSAGES);

    let system = world.connect().await;
    let truth = truth::Truth::read(&system).await;
    truth.every_message_ended_once();
    truth.turns_never_overlap();
    let mut accepted: Vec<String> = truth.stories().keys().map(ToString::to_string).collect();
    jobs.sort();
    accepted.sort();
    assert_eq!(jobs, accepted, "an idempotency key ran twice or not at all");
    truth::projections_are_level(&system).await;
    truth::the_ledger_is_what_was_billed(&world, &base_url, &truth).await;
    for (client, session) in &sessions {
        truth::the_transcript_is_in_order(client, &truth, session).await;
    }
    let vendors = [world.vendor_log("vendor_a").await, world.vendor_log("vendor_b").await];
    let untold = truth::untold_requests(&truth, &vendors);
    let requests: usize = vendors.iter().map(Vec::len).sum();
    println!("{requests} vendor requests, {untold} of killed workers");
    assert!(untold <= requests / 10, "{untold} of {requests} vendor requests are in no event");
    truth::projections_are_what_the_log_says(&system).await;
}

/// Ten messages, one after the other, each repeated under its idempotency key until there is a final answer; answers
/// their jobs.
async fn talk(client: Client, session: String, answered: Arc<AtomicUsize>) -> Vec<String> {
    let mut jobs = Vec::new();
    for number in 0..MESSAGES {
        let content = if number == 3 {
            "How much is invoice INV-TC-002?".to_owned()
        } else {
            format!("Point {number}")
        };
        let job = say_until_answered(&client, &session, &format!("{session}-{number}"), &content).await;
        jobs.push(job);
        answered.fetch_add(1, Ordering::Relaxed);
    }
    jobs
}

async fn say_until_answered(client: &Client, session: &str, key: &str, content: &str) -> String {
    let deadline = Instant::now() + LIMIT;
    let mut pauses = tokio::time::interval(Duration::from_millis(50));
    loop {
        pauses.tick().await;
        assert!(Instant::now() < deadline, "{key} got no answer");
        let request = client
            .request(Method::POST, &format!("/api/sessions/{session}/messages"))
            .header("Idempotency-Key", key)
            .json(&json!({ "content": content }));
        let Ok(answer) = client.send(request).await else { continue };
        let ended = answer.status == 200 || ["vendor_failed", "vendor_timeout"].contains(&answer.code());
        assert!(ended || answer.status == 202 || answer.status.is_server_error(), "{answer:?}");
        if ended {
            return answer.text("job_id").to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_and_two_apis_keep_a_sessions_turns_apart() {
    let mut world = World::services().await;
    let ports = [world::free_port(), world::free_port()];
    let _apis = ports.map(|port| world.spawn("api", port));
    let _others = ["workers", "workers", "projections"].map(|roles| world.spawn(roles, 0));
    let clients = ports.map(|port| world.client(&format!("http://127.0.0.1:{port}"), 0));
    for client in &clients {
        world::ready(client).await;
    }
    let session = clients[0].session(&world.agent(0, 0)).await;
    let tracker = TaskTracker::new();
    let posts: Vec<_> = (0..40)
        .map(|number| {
            let (client, session) = (clients[number % 2].clone(), session.clone());
            tracker.spawn(async move { client.say(&session, &format!("Point {number}")).await })
        })
        .collect();
    let mut replies = Vec::new();
    for post in posts {
        let answer = post.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        replies.push(answer.text("message_id").to_owned());
    }
    replies.sort();
    replies.dedup();
    assert_eq!(replies.len(), 40);
    let system = world.connect().await;
    let truth = truth::Truth::read(&system).await;
    truth.every_message_ended_once();
    truth.turns_never_overlap();
    for client in &clients {
        truth::the_transcript_is_in_order(client, &truth, &session).await;
    }
    let requests: Vec<Value> = world.vendor_log("vendor_a").await;
    assert_eq!(requests.len(), 40, "one vendor request per message");
}
