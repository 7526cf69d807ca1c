//! Several keys of one vendor, second requests beside slow ones, and streams that start over: what their users see.

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::sse::{Stream, Told};
use tests::{Client, World, truth};

/// OpenAI with two keys at the simulated server, and little patience.
const TWO_KEYS: [(&str, &str); 5] = [
    ("OPENAI_API_KEY", "hush-one,hush-two"),
    ("OPENAI_BASE_URL", "{simulator}/openai/v1"),
    ("OPENAI_DEFAULT_MODEL", "gpt-test"),
    ("VENDOR_STALL_SECONDS", "0.3"),
    ("VENDOR_MAX_RETRIES", "1"),
];

async fn session_with(client: &Client, agent: Value) -> String {
    let agent = client.post("/api/agents", agent).await;
    assert_eq!(agent.status, 201, "{agent:?}");
    client.session(agent.text("id")).await
}

async fn streamed(client: &Client, session: &str) -> Vec<Told> {
    let path = format!("/api/sessions/{session}/messages");
    let request = client.request(Method::POST, &path).json(&json!({ "content": "Hello, can you hear me?" }));
    Stream::open(request).await.rest().await
}

async fn calls(client: &Client, job: &Value) -> Vec<Value> {
    let calls = client.get(&format!("/api/provider-calls?job_id={}", job.as_str().unwrap())).await;
    let mut calls = calls.rows().to_vec();
    calls.sort_by_key(|call| call["attempt"].as_u64());
    calls
}

async fn the_projections_can_be_rebuilt(world: &World) {
    truth::projections_are_what_the_log_says(&world.connect().await).await;
}

#[tokio::test]
async fn a_limited_key_is_passed_over_and_the_list_says_which_one_served() {
    let (world, client) = World::start_with(&TWO_KEYS).await;
    let limited = json!({ "failure_rate": 1, "status": 429, "retry_after": 3600 });
    world.control("openai?key=hush-one", limited).await;
    let session = session_with(&client, json!({ "name": "a", "primary_provider": "openai" })).await;
    let answer = client.say(&session, "Hello").await;
    assert_eq!((answer.status.as_u16(), &answer.body["attempts"]), (200, &json!(2)), "{answer:?}");

    let calls = calls(&client, &answer.body["job_id"]).await;
    let told: Vec<_> = calls.iter().map(|call| (&call["endpoint"], &call["error_code"])).collect();
    assert_eq!(told, [(&json!(1), &json!("rate_limited")), (&json!(2), &Value::Null)]);
    let metrics = client.get("/metrics").await.body.to_string();
    assert!(metrics.contains("endpoint=\\\"2\\\""), "{metrics}");

    let own = client.session(&world.agent(0, 0)).await;
    let own = client.say(&own, "Hello").await;
    let own = client.get(&format!("/api/provider-calls?job_id={}", own.text("job_id"))).await;
    assert_eq!(own.rows()[0]["endpoint"], Value::Null, "it has one endpoint");

    let events = Stream::open(client.request(Method::GET, &format!("/api/sessions/{session}/events")));
    let events = events.await.take(6).await;
    assert!(!format!("{calls:?} {metrics} {events:?}").contains("hush"), "a key was shown");
    the_projections_can_be_rebuilt(&world).await;
}

#[tokio::test]
async fn a_hedged_turn_is_answered_by_the_second_and_billed_to_the_last_digit() {
    let (world, client) = World::start().await;
    let agent = json!({
        "name": "a", "primary_provider": "vendor_a", "fallbacks": ["vendor_b"], "hedge_after_ms": 100
    });
    let session = session_with(&client, agent).await;
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    let mut spent = Decimal::ZERO;
    for streams in [true, false] {
        let reply = match streams {
            true => streamed(&client, &session).await.pop().unwrap().data,
            false => client.say(&session, "Hello, can you hear me?").await.body,
        };
        assert_eq!((&reply["provider"], &reply["attempts"]), (&json!("vendor_b"), &json!(2)), "{reply}");
        let calls = calls(&client, &reply["job_id"]).await;
        let told: Vec<_> = calls.iter().map(|call| (&call["provider"], &call["status"])).collect();
        let (a, b) = ((json!("vendor_a"), json!("cancelled")), (json!("vendor_b"), json!("succeeded")));
        assert_eq!(told, [(&a.0, &a.1), (&b.0, &b.1)]);
        assert_eq!(calls[0]["cost_usd"], "0", "no word of it had come");
        let tokens = |name: &str| Decimal::from(calls[1][name].as_u64().unwrap());
        let cost = (tokens("tokens_in") + tokens("tokens_out")) * Decimal::new(3, 6);
        for told in [&calls[1]["cost_usd"], &reply["cost_usd"]] {
            assert_eq!(told.as_str().unwrap().parse::<Decimal>().unwrap(), cost, "{reply}");
        }
        spent += cost;
    }
    assert_eq!(client.usage().await.text("total_cost_usd").parse::<Decimal>().unwrap(), spent);
    the_projections_can_be_rebuilt(&world).await;
}

#[tokio::test]
async fn hedging_is_set_kept_and_taken_back() {
    let (_world, client) = World::start().await;
    let agent = client.post("/api/agents", json!({ "name": "a", "hedge_after_ms": 1500 })).await;
    assert_eq!(agent.body["hedge_after_ms"], 1500);
    let path = format!("/api/agents/{}", agent.text("id"));
    let patch =
        async |patch: Value| client.send(client.request(Method::PATCH, &path).json(&patch)).await.unwrap();
    assert_eq!(patch(json!({ "name": "b" })).await.body["hedge_after_ms"], 1500);
    patch(json!({ "hedge_after_ms": 30_001 })).await.assert_problem(422, "validation_failed", "too late");
    assert_eq!(patch(json!({ "hedge_after_ms": null })).await.body["hedge_after_ms"], Value::Null);
    assert_eq!(client.get(&path).await.body["hedge_after_ms"], Value::Null);
}

/// Checks what a listener of the stream, and one of the session's events, is left with.
async fn what_is_left_is_the_reply(client: &Client, session: &str, what: &str) {
    let told = streamed(client, session).await;
    let (done, told) = told.split_last().unwrap();
    assert_eq!((&*done.event, &done.data["provider"]), ("done", &json!("vendor_b")), "{what}: {told:?}");
    let restart = told.iter().rposition(|told| told.event == "restart").unwrap();
    let words = |told: &[Told]| -> String {
        let deltas = told.iter().filter(|told| told.event == "delta");
        deltas.map(|told| told.data["text"].as_str().unwrap()).collect()
    };
    assert!(!words(&told[..restart]).is_empty(), "{what}: nothing was void");
    assert_eq!(words(&told[restart..]), done.data["content"].as_str().unwrap(), "{what}");
    let attempt = &told[restart].data["attempt"];
    assert!(told[restart..].iter().all(|told| told.data["attempt"] == *attempt), "{what}: {told:?}");

    let attempts = done.data["attempts"].as_u64().unwrap() as usize;
    let events = client.request(Method::GET, &format!("/api/sessions/{session}/events"));
    let events = Stream::open(events).await.take(4 + attempts).await;
    let of = |kind: &str| -> Vec<&Told> {
        events.iter().filter(|told| told.data["type"] == format!("vocalbridge.session.{kind}")).collect()
    };
    assert_eq!(of("vendor_attempted").len(), attempts, "{what}: {events:?}");
    let replies: Vec<_> = of("reply_completed").iter().map(|told| &told.data["data"]["content"]).collect();
    assert_eq!(replies, [&done.data["content"]], "{what}");
}

#[tokio::test]
async fn what_is_told_after_the_last_restart_is_the_reply() {
    let (world, client) = World::start_with(&TWO_KEYS).await;
    for mode in ["drop", "stall_midway", "stream_error"] {
        // Every attempt at OpenAI breaks, and VendorB begins anew.
        let agent = json!({ "name": "a", "llm_model": format!("gpt-{mode}"), "fallbacks": ["vendor_b"] });
        let session = session_with(&client, agent.clone()).await;
        world.control("openai", json!({ "mode": mode })).await;
        what_is_left_is_the_reply(&client, &session, mode).await;

        // The first key is silent, and the second, which is asked beside it, breaks.
        let mut hedged = agent;
        hedged["llm_model"] = json!(format!("gpt-{mode}-hedged"));
        hedged["hedge_after_ms"] = json!(100);
        let session = session_with(&client, hedged).await;
        world.control("openai?key=hush-one", json!({ "mode": "stall" })).await;
        what_is_left_is_the_reply(&client, &session, &format!("{mode}, hedged")).await;
    }
}

#[tokio::test]
async fn a_worker_that_dies_with_two_requests_under_way_is_followed_by_a_restart() {
    let mut world = World::with_environment(&[("VENDOR_TIMEOUT_SECONDS", "60")]).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let worker = world.spawn("workers", 0);
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    world.control("vendor_b", json!({ "mode": "slow_drip" })).await;
    let agent = json!({
        "name": "a", "primary_provider": "vendor_a", "fallbacks": ["vendor_b"], "hedge_after_ms": 100
    });
    let session = session_with(&client, agent).await;
    let path = format!("/api/sessions/{session}/messages?wait=60");
    let request = client.request(Method::POST, &path).json(&json!({ "content": "Hello, can you hear me?" }));
    let mut stream = Stream::open(request).await;
    let first = stream.next().await.unwrap();
    assert_eq!((&*first.event, &first.data["attempt"]), ("delta", &json!(2)), "the second is heard");
    worker.kill();
    for vendor in ["vendor_a", "vendor_b"] {
        world.control(vendor, json!({ "mode": "normal" })).await;
    }
    let _worker = world.spawn("workers", 0);
    let told = stream.rest().await;
    let done = told.last().unwrap();
    let restart = told.iter().position(|told| told.event == "restart").unwrap();
    assert!(told[restart].data["attempt"].as_u64() > Some(2), "{told:?}");
    let words: String = told[restart..].iter().filter_map(|told| told.data["text"].as_str()).collect();
    assert_eq!((&*done.event, &done.data["content"]), ("done", &json!(words)), "{told:?}");
}
