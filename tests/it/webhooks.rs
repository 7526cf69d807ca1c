//! Webhooks: told what happened, signed, again when that failed, and never in anybody else's way.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tests::client::Answer;
use tests::endpoint::{Asked, Told};
use tests::{Client, Endpoint, World, eventually, truth};

const WEBHOOKS: &str = "/api/webhooks";
const PRIVATE: (&str, &str) = ("VOCALBRIDGE_ALLOW_PRIVATE_URLS", "true");
/// Three attempts, soon after each other.
const SOON: [(&str, &str); 2] = [PRIVATE, ("WEBHOOK_RETRY_SECONDS", "0.1,0.1")];
const LIMIT: Duration = Duration::from_secs(30);

async fn made(client: &Client, url: &str, events: Value) -> Answer {
    let answer = client.post(WEBHOOKS, json!({ "url": url, "events": events })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer
}

async fn patched(client: &Client, path: &str, patch: Value) -> Answer {
    client.send(client.request(Method::PATCH, path).json(&patch)).await.unwrap()
}

fn path_of(webhook: &Answer) -> String {
    format!("{WEBHOOKS}/{}", webhook.text("id"))
}

/// An end of a session, which is told in one event.
async fn ended_session(world: &World, client: &Client) -> String {
    let session = client.session(&world.agent(0, 0)).await;
    let ended = client.post(&format!("/api/sessions/{session}/end"), json!({})).await;
    assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
    session
}

/// The only delivery in the list, once it has this status.
async fn delivery(client: &Client, path: &str, status: &str) -> Value {
    let path = format!("{path}/deliveries?status={status}");
    eventually(&format!("a delivery that is {status}"), LIMIT, async || {
        let rows = client.get(&path).await.rows().to_vec();
        assert!(rows.len() <= 1, "{rows:?}");
        rows.into_iter().next()
    })
    .await
}

fn headers(asked: &Asked) -> HeaderMap {
    let named = asked.headers.iter().filter(|(name, _)| name.starts_with("webhook-"));
    named.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

/// Whether the request was signed with this secret, as a receiver's library sees it.
fn is_signed_with(asked: &Asked, secret: &str) -> bool {
    Webhook::new(secret).unwrap().verify(asked.text.as_bytes(), &headers(asked)).is_ok()
}

fn id_of(asked: &Asked) -> &str {
    &asked.headers["webhook-id"]
}

#[tokio::test]
async fn an_endpoint_is_told_of_what_it_asked_for_and_everything_sent_can_be_looked_at() {
    let (world, client) = World::start_with(&[PRIVATE]).await;
    let endpoint = Endpoint::start(|_, _| Some(Told::json(&json!("taken")))).await;
    let webhook = made(&client, &endpoint.url, json!(["job.completed", "session.ended"])).await;
    let session = client.session(&world.agent(0, 0)).await;
    let reply = client.say(&session, "What is the status of invoice INV-TC-001?").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");

    let asked = endpoint.wait_for(1).await.remove(0);
    assert_eq!((asked.method.as_str(), &asked.body["type"]), ("POST", &json!("job.completed")));
    let data = &asked.body["data"];
    assert_eq!(data["job_id"], reply.body["job_id"]);
    assert_eq!((&data["session_id"], &data["message_id"]), (&json!(session), &reply.body["message_id"]));
    assert_eq!(data["cost_usd"], reply.body["cost_usd"]);
    assert!(!asked.text.contains("INV-TC") && asked.text.len() < 20_000, "{}", asked.text);
    assert!(is_signed_with(&asked, webhook.text("secret")));
    assert!(!is_signed_with(&asked, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));

    let sent = delivery(&client, &path_of(&webhook), "delivered").await;
    assert_eq!((&sent["id"], &sent["request"]), (&json!(id_of(&asked)), &asked.body), "{sent}");
    let attempts = sent["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{sent}");
    assert_eq!((&attempts[0]["http_status"], &attempts[0]["number"]), (&json!(200), &json!(1)));
    assert_eq!(
        (&attempts[0]["response"], &attempts[0]["response_cut"]),
        (&json!("\"taken\""), &json!(false))
    );
    let alone = client.get(&format!("{WEBHOOKS}/deliveries/{}", id_of(&asked))).await;
    assert_eq!(alone.body, sent);

    client.post(&format!("/api/sessions/{session}/end"), json!({})).await;
    let asked = endpoint.wait_for(2).await;
    assert_eq!(asked[1].body["type"], "session.ended");
    assert_eq!(asked[1].body["data"], json!({ "session_id": session, "reason": "requested" }));
    assert_ne!(id_of(&asked[0]), id_of(&asked[1]));
    truth::projections_are_what_the_log_says(&world.connect().await).await;
}

#[tokio::test]
async fn what_fails_is_sent_again_under_the_same_id_with_a_new_signature() {
    let (world, client) = World::start_with(&SOON).await;
    let endpoint = Endpoint::start(|number, _| Some(Told::status([500, 302, 200][number.min(2)]))).await;
    let webhook = made(&client, &endpoint.url, json!(["*"])).await;
    ended_session(&world, &client).await;
    let asked = endpoint.wait_for(3).await;
    assert!(asked.iter().all(|again| id_of(again) == id_of(&asked[0])), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.text == endpoint.asked()[0].text));
    assert!(asked.iter().all(|asked| is_signed_with(asked, webhook.text("secret"))));
    let sent = delivery(&client, &path_of(&webhook), "delivered").await;
    let codes: Vec<&Value> =
        sent["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["error_code"]).collect();
    assert_eq!(codes, [&json!("http_500"), &json!("http_302"), &Value::Null], "{sent}");

    // By hand it is sent once more.
    let path = format!("{WEBHOOKS}/deliveries/{}/redeliver", id_of(&asked[0]));
    let once = [("Idempotency-Key", "again")];
    for _ in 0..2 {
        let answer = client.post_with(&path, &json!({}), &once).await;
        assert_eq!(
            (answer.status, answer.text("id")),
            (StatusCode::ACCEPTED, id_of(&asked[0])),
            "{answer:?}"
        );
    }
    let again = endpoint.wait_for(4).await;
    assert_eq!(id_of(&again[3]), id_of(&asked[0]));
    eventually("a fourth attempt on record", LIMIT, async || {
        let sent = delivery(&client, &path_of(&webhook), "delivered").await;
        (sent["attempts"].as_array().unwrap().len() == 4).then_some(())
    })
    .await;
    assert_eq!(endpoint.asked().len(), 4, "a repeated request sent it twice");
}

#[tokio::test]
async fn an_endpoint_that_answers_410_is_disabled_and_another_is_told() {
    let (world, client) = World::start_with(&SOON).await;
    let gone = Endpoint::start(|number, _| Some(Told::status(if number == 0 { 410 } else { 200 }))).await;
    let other = Endpoint::start(|_, _| Some(Told::status(204))).await;
    let webhook = made(&client, &gone.url, json!(["session.ended"])).await;
    made(&client, &other.url, json!(["webhook.disabled"])).await;
    let path = path_of(&webhook);
    ended_session(&world, &client).await;
    let told = other.wait_for(1).await.remove(0);
    assert_eq!(
        (&told.body["data"]["webhook_id"], &told.body["data"]["reason"]),
        (&webhook.body["id"], &json!("gone"))
    );
    let shown = client.get(&path).await;
    assert_eq!((&shown.body["is_active"], &shown.body["disabled_reason"]), (&json!(false), &json!("gone")));

    // Nothing is sent to it any more, and nothing can be sent again.
    ended_session(&world, &client).await;
    let failed = delivery(&client, &path, "failed").await;
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 1, "{failed}");
    let again = format!("{WEBHOOKS}/deliveries/{}/redeliver", failed["id"].as_str().unwrap());
    client.post(&again, json!({})).await.assert_problem(409, "webhook_disabled", &again);
    let since = json!({ "since": "2020-01-01T00:00:00Z" });
    let all = format!("{path}/redeliver-failed");
    client.post(&all, since.clone()).await.assert_problem(409, "webhook_disabled", &all);

    let on = patched(&client, &path, json!({ "is_active": true })).await;
    assert_eq!((&on.body["is_active"], &on.body["disabled_reason"]), (&json!(true), &Value::Null), "{on:?}");
    let answer = client.post(&all, since).await;
    assert_eq!((answer.status, answer.body), (StatusCode::ACCEPTED, json!({ "queued": 1, "more": false })));
    let asked = gone.wait_for(2).await;
    assert_eq!(id_of(&asked[0]), id_of(&asked[1]));
    delivery(&client, &path, "delivered").await;
    assert_eq!(gone.asked().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_took_nothing_over_a_whole_schedule_is_disabled() {
    let (world, client) = World::start_with(&SOON).await;
    let broken = Endpoint::start(|_, _| Some(Told::status(500))).await;
    let webhook = made(&client, &broken.url, json!(["session.ended"])).await;
    ended_session(&world, &client).await;
    let failed = delivery(&client, &path_of(&webhook), "failed").await;
    assert_eq!(
        (&failed["error_code"], failed["attempts"].as_array().unwrap().len()),
        (&json!("http_500"), 3)
    );
    eventually("the endpoint's end", LIMIT, async || {
        let shown = client.get(&path_of(&webhook)).await;
        (shown.body["disabled_reason"] == "failing").then_some(())
    })
    .await;
    assert_eq!(broken.asked().len(), 3);
}

#[tokio::test]
async fn an_endpoint_is_left_alone_as_long_as_it_wishes() {
    let (world, client) = World::start_with(&SOON).await;
    let busy = Endpoint::start(|number, _| {
        let headers = vec![("retry-after", "2".to_owned())];
        Some(if number == 0 { Told { headers, ..Told::status(429) } } else { Told::status(200) })
    })
    .await;
    let webhook = made(&client, &busy.url, json!(["session.ended"])).await;
    ended_session(&world, &client).await;
    let asked = busy.wait_for(2).await;
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(2), "{:?}", asked[1].at - asked[0].at);
    delivery(&client, &path_of(&webhook), "delivered").await;
}

#[tokio::test]
async fn both_secrets_sign_until_the_old_ones_time_is_over() {
    let (world, client) = World::start_with(&[PRIVATE]).await;
    let endpoint = Endpoint::start(|_, _| Some(Told::status(200))).await;
    let webhook = made(&client, &endpoint.url, json!(["session.ended"])).await;
    let path = format!("{}/rotate-secret", path_of(&webhook));
    let once = [("Idempotency-Key", "rotation")];
    let second = client.post_with(&path, &json!({ "grace_seconds": 600 }), &once).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    let repeated = client.post_with(&path, &json!({ "grace_seconds": 600 }), &once).await;
    assert_eq!((repeated.is_replayed(), repeated.text("secret")), (true, second.text("secret")));
    ended_session(&world, &client).await;
    let asked = endpoint.wait_for(1).await.remove(0);
    assert!(is_signed_with(&asked, webhook.text("secret")) && is_signed_with(&asked, second.text("secret")));

    let third = client.post(&path, json!({ "grace_seconds": 0 })).await;
    ended_session(&world, &client).await;
    let asked = endpoint.wait_for(2).await.remove(1);
    let signed = [&webhook, &second, &third].map(|answer| is_signed_with(&asked, answer.text("secret")));
    assert_eq!(signed, [false, false, true]);
    let shown = client.get(&path_of(&webhook)).await;
    assert_eq!(shown.body["previous_secret_until"], third.body["previous_secret_until"]);
    let refused = client.post(&path, json!({ "grace_seconds": 604_801 })).await;
    refused.assert_problem(422, "validation_failed", "too long a grace");
}

#[tokio::test]
async fn a_message_brings_its_own_address_along() {
    let (world, client) = World::start_with(&[PRIVATE]).await;
    let secret = client.post("/api/tenants/me/rotate-webhook-secret", json!({})).await;
    assert_eq!(secret.status, StatusCode::OK, "{secret:?}");
    let endpoint = Endpoint::start(|_, _| Some(Told::json(&json!("thanks, Anna")))).await;
    let opened = json!({ "agent_id": world.agent(0, 0), "customer_id": "anna" });
    let session = client.post("/api/sessions", opened).await.text("id").to_owned();
    let path = format!("/api/sessions/{session}/messages");
    let message = json!({ "content": "Hello", "webhook_url": endpoint.url });
    let reply = client.post(&path, message).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let asked = endpoint.wait_for(1).await.remove(0);
    assert_eq!(
        (&asked.body["type"], &asked.body["data"]["job_id"]),
        (&json!("job.completed"), &reply.body["job_id"])
    );
    assert!(is_signed_with(&asked, secret.text("secret")));
    let sent = delivery(&client, WEBHOOKS, "delivered").await;
    assert_eq!((&sent["webhook_id"], &sent["url"]), (&Value::Null, &json!(endpoint.url)), "{sent}");
    assert_eq!(sent["attempts"][0]["response"], "\"thanks, Anna\"");

    // Another message's end is nobody's business, and one that fails is told of, too.
    client.say(&session, "Hello again").await;
    world.control("vendor_a", json!({ "failure_rate": 1.0 })).await;
    let failed = client.post(&path, json!({ "content": "Fail", "webhook_url": endpoint.url })).await;
    let asked = endpoint.wait_for(2).await.remove(1);
    assert_eq!(
        (&asked.body["type"], &asked.body["data"]["code"]),
        (&json!("job.failed"), &json!(failed.code()))
    );

    // What can be read of it goes with the customer; another process has not seen the key.
    let system = world.connect().await;
    assert!(system.keyring.erase_customer(world.tenant(0).id, "anna").await.unwrap());
    let other = world.run("api".parse().unwrap()).await;
    let sent = other.get(&format!("{WEBHOOKS}/deliveries/{}", sent["id"].as_str().unwrap())).await;
    assert_eq!(
        (&sent.body["url"], &sent.body["attempts"][0]["response"]),
        (&Value::Null, &Value::Null),
        "{sent:?}"
    );
    assert_eq!(sent.body["attempts"][0]["http_status"], 200);
}

#[tokio::test]
async fn trying_an_endpoint_shows_what_came_of_it() {
    let (_world, client) = World::start_with(&SOON).await;
    let endpoint = Endpoint::start(|number, _| Some(Told::status([200, 500][number.min(1)]))).await;
    let webhook = made(&client, &endpoint.url, json!(["call.ended"])).await;
    let test = format!("{}/test", path_of(&webhook));
    let good = client.post(&test, json!({})).await;
    assert_eq!((good.text("status"), &good.body["test"]), ("delivered", &json!(true)), "{good:?}");
    assert_eq!(good.body["attempts"][0]["http_status"], 200);
    patched(&client, &path_of(&webhook), json!({ "is_active": false })).await;
    let bad = client.post(&test, json!({})).await;
    assert_eq!((bad.text("status"), bad.text("error_code")), ("failed", "http_500"), "{bad:?}");
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 2, "a test is not sent again");
    assert_eq!(asked[0].body["type"], "webhook.test");
    assert!(is_signed_with(&asked[1], webhook.text("secret")));
    assert_eq!(client.get(&path_of(&webhook)).await.body["disabled_reason"], Value::Null);
}

#[tokio::test]
async fn webhooks_are_the_admins_to_change_and_bad_ones_are_refused() {
    let (world, client) = World::start().await;
    for (webhook, field) in [
        (json!({ "url": "http://example.com/", "events": ["*"] }), "url"),
        (json!({ "url": "https://10.0.0.1/", "events": ["*"] }), "url"),
        (json!({ "url": "https://example.com/", "events": [] }), "events"),
        (json!({ "url": "https://example.com/", "events": ["job.done"] }), "events[0]"),
    ] {
        let answer = client.post(WEBHOOKS, webhook).await;
        answer.assert_problem(422, "validation_failed", field);
        assert_eq!(answer.fields(), [field]);
    }
    let session = client.session(&world.agent(0, 0)).await;
    let message = json!({ "content": "Hello", "webhook_url": "https://127.0.0.1/" });
    let refused = client.post(&format!("/api/sessions/{session}/messages"), message).await;
    assert_eq!((refused.status.as_u16(), refused.fields()), (422, vec!["webhook_url"]));

    let webhook = made(&client, "https://example.com/", json!(["*"])).await;
    let once = [("Idempotency-Key", "k")];
    let body = json!({ "url": "https://example.com/other", "events": ["call.ended"] });
    let first = client.post_with(WEBHOOKS, &body, &once).await;
    let second = client.post_with(WEBHOOKS, &body, &once).await;
    assert_eq!((second.is_replayed(), &second.body), (true, &first.body));
    assert_eq!(client.get(WEBHOOKS).await.rows().len(), 2);
    let developer = client.with_role("developer").await;
    for (method, path) in [
        (Method::DELETE, path_of(&webhook)),
        (Method::POST, format!("{}/test", path_of(&webhook))),
        (Method::POST, format!("{}/rotate-secret", path_of(&webhook))),
    ] {
        let answer = developer.send(developer.request(method, &path).json(&json!({}))).await.unwrap();
        answer.assert_problem(403, "forbidden", &path);
    }
    assert_eq!(developer.get(&path_of(&webhook)).await.status, StatusCode::OK);
    let deleted = client.send(client.request(Method::DELETE, &path_of(&webhook))).await.unwrap();
    assert_eq!(deleted.body, json!({ "deleted": true }));
    client.get(&path_of(&webhook)).await.assert_problem(404, "not_found", "deleted");
    assert_eq!(client.get(WEBHOOKS).await.rows().len(), 1);
}
