//! `Idempotency-Key`: however often a request comes, it happens once, and everybody is answered the same.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::Answer;
use tests::process::serve;
use tests::sse::Stream;
use tests::{Client, World};
use uuid::Uuid;

const KEY: &str = "Idempotency-Key";

async fn say_once(client: &Client, session: &str, content: &str, key: &str) -> Answer {
    let body = json!({ "content": content });
    client.post_with(&format!("/api/sessions/{session}/messages"), &body, &[(KEY, key)]).await
}

async fn requests(world: &World) -> usize {
    world.vendor_log("vendor_a").await.len() + world.vendor_log("vendor_b").await.len()
}

#[tokio::test]
async fn fifty_identical_messages_are_one_vendor_call_one_charge_and_one_answer() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    // Long enough for all of them to meet.
    world.control("vendor_a", json!({ "latency_ms": 300 })).await;

    // The same key, bare or as a quoted string (RFC 8941).
    let keys = ["order-17", "\"order-17\""].into_iter().cycle().take(50);
    let answers = join_all(keys.map(|key| say_once(&client, &session, "Hello there", key))).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_replayed()).count(), 49);

    assert_eq!(requests(&world).await, 1);
    let usage = client.usage().await;
    assert_eq!(usage.body["total_cost_usd"], answers[0].body["cost_usd"], "{usage:?}");
    assert_eq!(usage.body["total_tokens_in"], answers[0].body["tokens_in"], "{usage:?}");
    assert_eq!(usage.body["total_messages"], 1, "{usage:?}");
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    assert_eq!(transcript.body["messages"].as_array().unwrap().len(), 2, "{transcript:?}");
    assert_eq!(client.get("/api/jobs").await.rows().len(), 1);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_does_nothing() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    let first = say_once(&client, &session, "Hello", "k").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");

    say_once(&client, &session, "Hello!", "k").await.assert_problem(
        422,
        "idempotency_key_reused",
        "another body",
    );
    assert_eq!(say_once(&client, &session, "Hello", "k").await.body, first.body);
    assert_eq!(requests(&world).await, 1);

    // A key belongs to its route and its tenant.
    let other_session = client.session(&world.agent(0, 0)).await;
    let elsewhere = say_once(&client, &other_session, "Hello!", "k").await;
    assert_eq!((elsewhere.status, elsewhere.is_replayed()), (StatusCode::OK, false), "{elsewhere:?}");
    let neighbour = client.with_key(&world.tenant(1).api_key);
    let agent = json!({ "name": "Front desk" });
    let ours = client.post_with("/api/agents", &agent, &[(KEY, "k")]).await;
    let theirs = neighbour.post_with("/api/agents", &agent, &[(KEY, "k")]).await;
    assert_ne!(ours.text("id"), theirs.text("id"));
    assert!(!theirs.is_replayed(), "{theirs:?}");
}

#[tokio::test]
async fn after_a_restart_the_key_still_answers() {
    let mut world = World::services().await;
    let mut answers: Vec<Answer> = Vec::new();
    let mut session = String::new();
    for _ in 0..2 {
        let (process, client) = serve(&mut world).await;
        if session.is_empty() {
            session = client.session(&world.agent(0, 0)).await;
        }
        answers.push(say_once(&client, &session, "Hello", "order-17").await);
        say_once(&client, &session, "Bye", "order-18").await;
        process.kill();
    }
    assert_eq!(answers[0].status, StatusCode::OK, "{answers:?}");
    assert_eq!(answers[1].status, StatusCode::OK, "{answers:?}");
    assert_eq!(answers[0].body, answers[1].body);
    assert_eq!(answers.iter().map(Answer::is_replayed).collect::<Vec<_>>(), [false, true]);
    assert_eq!(requests(&world).await, 2);
}

#[tokio::test]
async fn however_a_repeated_message_is_asked_for_it_is_the_same_job() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    world.control("vendor_a", json!({ "latency_ms": 300 })).await;
    let path = format!("/api/sessions/{session}/messages");
    let body = json!({ "content": "Hello" });
    let not_waiting = [(KEY, "k"), ("Prefer", "respond-async")];

    let accepted = client.post_with(&path, &body, &not_waiting).await;
    assert_eq!((accepted.status, accepted.is_replayed()), (StatusCode::ACCEPTED, false), "{accepted:?}");
    let again = client.post_with(&path, &body, &not_waiting).await;
    assert_eq!((again.status, again.is_replayed()), (StatusCode::ACCEPTED, true), "{again:?}");
    assert_eq!(again.text("id"), accepted.text("id"));
    assert_eq!(again.header("location"), accepted.header("location"));

    // Those who wait, attach to it.
    let waited = say_once(&client, &session, "Hello", "k").await;
    assert_eq!((waited.status, waited.is_replayed()), (StatusCode::OK, true), "{waited:?}");
    assert_eq!(waited.text("job_id"), accepted.text("id"));
    let streamed =
        Stream::open(client.request(Method::POST, &path).json(&body).header(KEY, "k")).await.rest().await;
    assert_eq!(streamed.last().map(|told| (told.event.as_str(), &told.data)), Some(("done", &waited.body)));
    let job = client.post_with(&path, &body, &not_waiting).await;
    assert_eq!((job.text("status"), &job.body["result"]), ("succeeded", &waited.body), "{job:?}");
    assert_eq!(requests(&world).await, 1);
}

#[tokio::test]
async fn a_message_that_failed_is_not_tried_again_by_its_key() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    world.control("vendor_a", json!({ "failure_rate": 1.0, "status": 401 })).await;
    let failed = say_once(&client, &session, "Hello", "k").await;
    failed.assert_problem(502, "vendor_failed", "first");
    world.control("vendor_a", json!({ "failure_rate": 0.0 })).await;

    let again = say_once(&client, &session, "Hello", "k").await;
    again.assert_problem(502, "vendor_failed", "again");
    assert!(again.is_replayed(), "{again:?}");
    assert_eq!(again.text("job_id"), failed.text("job_id"));
    assert_eq!(again.text("detail"), failed.text("detail"));
    assert_eq!(requests(&world).await, 1);
}

#[tokio::test]
async fn a_repeated_creation_answers_as_the_first_one_did() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let session = client.session(&world.agent(0, 0)).await;
    let new_session = json!({ "agent_id": world.agent(0, 1), "customer_id": "customer-2" });
    // The last is a field that makes it another request.
    let cases: [(&Client, &str, Value, &str); 5] = [
        (&client, "/api/agents", json!({ "name": "Front desk", "metadata": { "floor": 1 } }), "name"),
        (&client, "/api/system-prompts", json!({ "name": "Desk", "content": "Hello" }), "name"),
        (&client, "/api/sessions", new_session, "customer_id"),
        (&client, "/api/keys", json!({ "name": "billing", "role": "admin" }), "name"),
        (&operator, "/api/tenants", json!({ "name": "Newcomer" }), "name"),
    ];
    for (client, path, body, field) in cases {
        let before = client.get(path).await.rows().len();
        // Racing, then one more after the fact.
        let mut answers = join_all((0..8).map(|_| client.post_with(path, &body, &[(KEY, "\"once\"")]))).await;
        answers.push(client.post_with(path, &body, &[(KEY, "once")]).await);
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::CREATED, "{path}: {answer:?}");
            assert_eq!(answer.body, answers[0].body, "{path}");
        }
        assert_eq!(answers.iter().filter(|answer| answer.is_replayed()).count(), 8, "{path}");
        assert_eq!(client.get(path).await.rows().len(), before + 1, "{path}");
        // The secret that is shown again is the one that works.
        if let Some(key) = answers[8].body["api_key"].as_str() {
            let me = client.with_key(key).get("/api/tenants/me").await;
            assert_eq!(me.status, StatusCode::OK, "{path}: {me:?}");
        }
        let mut other = body;
        other[field] = json!("somebody else");
        let other = client.post_with(path, &other, &[(KEY, "once")]).await;
        other.assert_problem(422, "idempotency_key_reused", path);
    }
    let end = format!("/api/sessions/{session}/end");
    let ended = client.post_with(&end, &json!({}), &[(KEY, "once")]).await;
    let again = client.post_with(&end, &json!({}), &[(KEY, "once")]).await;
    assert_eq!((ended.status, ended.text("status")), (StatusCode::OK, "ended"), "{ended:?}");
    assert_eq!((again.is_replayed(), &again.body), (true, &ended.body));
}

/// What was refused before anything began has not used its key.
#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let (world, client) = World::start().await;
    let session = client.session(&world.agent(0, 0)).await;
    say_once(&client, &session, "  ", "k").await.assert_problem(422, "validation_failed", "blank");
    let corrected = say_once(&client, &session, "Hello", "k").await;
    assert_eq!((corrected.status, corrected.is_replayed()), (StatusCode::OK, false), "{corrected:?}");
    // Nor does a repetition of what was refused get through because it is one.
    let nowhere = json!({ "agent_id": Uuid::now_v7(), "customer_id": "customer-1" });
    for _ in 0..2 {
        let refused = client.post_with("/api/sessions", &nowhere, &[(KEY, "k")]).await;
        refused.assert_problem(404, "not_found", "an unknown agent");
    }
    assert_eq!(client.get("/api/sessions").await.rows().len(), 1);
}
