//! A call is let in where limits and budgets have room for it, and hears a goodbye when the money ends.

use std::time::Duration;

use events::{Aggregate, CallId, Payload};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::caller::Caller;
use tests::twilio::{INCOMING, Twilio, incoming};
use tests::{Client, Socket, World, eventually};

const LIMIT: Duration = Duration::from_secs(30);

async fn put(client: &Client, path: &str, body: Value) {
    let answer = client.send(client.request(Method::PUT, path).json(&body)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

async fn budget(client: &Client, limit: &str) {
    put(client, "/api/budgets", json!({ "scope": "tenant", "monthly_limit_usd": limit })).await;
}

#[tokio::test]
async fn a_call_that_there_is_no_room_for_is_not_answered() {
    let twilio = Twilio::with_number().await;
    let client = &twilio.client;
    let path = format!("/ws/voice-browser?agent_id={}", twilio.world.agent(0, 0));
    let by_browser = async || {
        let key = [("x-api-key", client.key())];
        let refused = Socket::try_open(&client.url(""), &path, &key).await.err();
        refused.map(|(status, body)| (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned()))
    };
    let by_phone = async |sid: &str| twilio.signed(INCOMING, &incoming(sid)).await;

    budget(client, "0").await;
    let (status, twiml) = by_phone("CA1").await;
    assert_eq!(status, StatusCode::OK, "{twiml}");
    assert!(twiml.contains("We cannot take your call") && twiml.contains("<Hangup"), "{twiml}");
    assert_eq!(by_browser().await, Some((402, "budget_exceeded".to_owned())));

    budget(client, "10").await;
    put(client, "/api/limits", json!({ "concurrent_calls": 1 })).await;
    for _ in 0..2 {
        let (_, twiml) = by_phone("CA2").await;
        assert!(twiml.contains("<Connect>"), "a webhook that is repeated is the same call: {twiml}");
    }
    let (_, twiml) = by_phone("CA3").await;
    assert!(twiml.contains("<Reject") && twiml.contains("busy"), "{twiml}");
    assert_eq!(by_browser().await, Some((429, "concurrency_limit".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_money_ends_the_agent_says_goodbye() {
    let (world, client) = World::start().await;
    world.control("simulated_speech", json!({ "phrases": ["What is the status of my invoice?"] })).await;
    let agent = world.agent(0, 0);
    let simulated = json!({ "provider": "simulated" });
    let settings = json!({ "greeting": "Hello, how can I help you?", "stt": simulated, "tts": simulated });
    let request = client.request(Method::PATCH, &format!("/api/agents/{agent}")).json(&settings);
    assert_eq!(client.send(request).await.unwrap().status, StatusCode::OK);

    let mut caller = Caller::by_browser(&client, &agent).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    budget(&client, "0").await;
    caller.speak().await;
    caller.until_it_is_over().await;
    let lines = caller.lines();
    assert!(lines.last().unwrap().contains("I have to end our call now"), "{lines:?}");
    assert!(world.vendor_log("vendor_a").await.is_empty(), "nothing was spent");

    let system = world.connect().await;
    let call = Aggregate::call(world.tenant(0).id, CallId(caller.call_id.parse().unwrap()));
    let ended = eventually("the end of the call", LIMIT, async || {
        let history = system.nats.log.read(&call, 0).await.unwrap();
        history.into_iter().find_map(|recorded| match recorded.event.payload {
            Payload::CallEnded(ended) => Some(ended),
            _ => None,
        })
    })
    .await;
    assert_eq!(ended.end_reason, "budget_exceeded");
    // The summary of the call is over, too: nothing is held back any more.
    eventually("the end of all reservations", LIMIT, async || {
        let budgets = client.get("/api/budgets").await;
        (budgets.rows()[0]["reserved_usd"] == "0").then_some(())
    })
    .await;
}
