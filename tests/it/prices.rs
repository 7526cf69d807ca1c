//! What work costs, and by which list: everybody's, and what was agreed with a tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use cli::system::Roles;
use events::{Aggregate, Clock, Payload, TenantId};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::Answer;
use tests::truth::{projections_are_level, projections_are_what_the_log_says};
use tests::{Client, World};

const PRICES: &str = "/api/prices";
const OVERRIDES: &str = "/api/prices/overrides";

/// One price for all models of a vendor, the same in and out, per million tokens.
fn model(provider: &str, usd: &str) -> Value {
    let rate = |unit| json!({ "unit": unit, "usd": usd, "per": 1_000_000 });
    json!({ "kind": "model", "provider": provider, "rates": [rate("input"), rate("output")] })
}

async fn put(client: &Client, path: &str, body: &Value) -> Answer {
    client.send(client.request(Method::PUT, path).json(body)).await.unwrap()
}

/// The newest request's price version, and what it cost by the million.
async fn charged(client: &Client, agent: &str) -> (String, String) {
    let session = client.session(agent).await;
    let reply = client.say(&session, "Hello").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let calls = client.get(&format!("/api/provider-calls?session_id={session}")).await;
    let [call] = calls.rows() else { panic!("one request: {calls:?}") };
    let number = |field: &str| call[field].as_u64().unwrap();
    let cost: rust_decimal::Decimal = call["cost_usd"].as_str().unwrap().parse().unwrap();
    let tokens = rust_decimal::Decimal::from(number("tokens_in") + number("tokens_out"));
    let million = rust_decimal::Decimal::from(1_000_000);
    ((cost * million / tokens).normalize().to_string(), call["price_version"].as_str().unwrap().to_owned())
}

fn says(usd: &str, version: &str) -> (String, String) {
    (usd.to_owned(), version.to_owned())
}

#[tokio::test]
async fn a_tenants_own_prices_go_before_everybodys_and_each_cost_says_which_it_was() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let stranger = client.with_key(&world.tenant(1).api_key);
    let (own, foreign) = (world.agent(0, 0), world.agent(1, 0));
    // What the settings say, from the start on.
    assert_eq!(charged(&client, &own).await, says("2", "global:1"));

    let everybodys = json!({ "prices": [model("vendor_a", "4"), model("vendor_b", "3")] });
    let set = put(&operator, PRICES, &everybodys).await;
    assert_eq!((set.status, &set.body["version"], set.text("origin")), (StatusCode::OK, &json!(2), "api"));
    assert_eq!(charged(&client, &own).await, says("4", "global:2"));

    let overrides = format!("{OVERRIDES}?tenant_id={}", world.tenant(0).id);
    let agreed = put(&operator, &overrides, &json!({ "prices": [model("vendor_a", "1.5")] })).await;
    assert_eq!((agreed.status, &agreed.body["version"]), (StatusCode::OK, &json!(1)), "{agreed:?}");
    assert_eq!(charged(&client, &own).await, says("1.5", "tenant:1"));
    assert_eq!(charged(&stranger, &foreign).await, says("4", "global:2"));

    // Each sees what it pays by.
    let seen = |answer: &Answer| -> Vec<(String, String)> {
        let prices = answer.body["prices"].as_array().unwrap().iter();
        let shown = |price: &Value| {
            let (usd, version) = (&price["rates"][0]["usd"], &price["price_version"]);
            says(usd.as_str().unwrap(), version.as_str().unwrap())
        };
        prices.map(shown).collect()
    };
    let viewer = client.with_role("viewer").await;
    assert_eq!(seen(&viewer.get(PRICES).await), [says("1.5", "tenant:1"), says("3", "global:2")]);
    let about = format!("{PRICES}?tenant_id={}", world.tenant(0).id);
    assert_eq!(seen(&operator.get(&about).await), [says("1.5", "tenant:1"), says("3", "global:2")]);
    assert_eq!(seen(&stranger.get(PRICES).await), [says("4", "global:2"), says("3", "global:2")]);
    assert_eq!(seen(&operator.get(PRICES).await), [says("4", "global:2"), says("3", "global:2")]);
    let models = client.get("/api/models").await;
    let own_model = models.rows().iter().find(|model| model["provider"] == "vendor_a").unwrap();
    assert_eq!(own_model["price"]["usd_per_million_in"], "1.5", "{models:?}");

    // An empty list ends the agreement.
    let ended = put(&operator, &overrides, &json!({ "prices": [] })).await;
    assert_eq!(&ended.body["version"], &json!(2), "{ended:?}");
    assert_eq!(charged(&client, &own).await, says("4", "global:2"));
    assert_eq!(client.get(OVERRIDES).await.body["in_force"], Value::Null);

    let versions = operator.get(&format!("{PRICES}/versions")).await;
    let told: Vec<_> = versions.rows().iter().map(|row| (&row["version"], &row["origin"])).collect();
    assert_eq!(told, [(&json!(2), &json!("api")), (&json!(1), &json!("file"))]);
    let system = world.connect().await;
    projections_are_level(&system).await;
    projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn what_is_put_twice_stands_once() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let body = json!({ "prices": [model("vendor_a", "4")] });
    let first = put(&operator, PRICES, &body).await;
    let again = join_all((0..4).map(|_| put(&operator, PRICES, &body))).await;
    assert!(again.iter().all(|answer| answer.body == first.body), "{again:?}");
    // What is no longer in force is put anew.
    put(&operator, PRICES, &json!({ "prices": [model("vendor_a", "5")] })).await;
    assert_eq!(put(&operator, PRICES, &body).await.body["version"], 4);
}

/// A clock that a test sets.
fn clock() -> (Clock, Arc<AtomicI64>) {
    let micros = Arc::new(AtomicI64::new(Clock::system().now().timestamp_micros()));
    let read = micros.clone();
    let now = move || DateTime::from_timestamp_micros(read.load(Ordering::SeqCst)).unwrap();
    (Clock::from_fn(now), micros)
}

#[tokio::test]
async fn a_list_is_in_force_from_its_very_moment_on_and_never_before_it_was_put() {
    let world = World::services().await;
    let (clock, micros) = clock();
    let running = clock.clone();
    let client = world.run_with(Roles::all(), |system| system.clock = running).await;
    let operator = client.with_key(&world.credentials.operator_key);
    let agent = world.agent(0, 0);
    let now = clock.now();
    let sent =
        |time: DateTime<Utc>, usd| json!({ "effective_from": time, "prices": [model("vendor_a", usd)] });

    for past in [now - TimeDelta::microseconds(1), now - TimeDelta::days(400)] {
        let refused = put(&operator, PRICES, &sent(past, "9")).await;
        refused.assert_problem(422, "validation_failed", "a price in the past");
        assert_eq!(refused.fields(), ["effective_from"]);
    }
    assert_eq!(put(&operator, PRICES, &sent(now, "3")).await.status, StatusCode::OK);
    assert_eq!(charged(&client, &agent).await, says("3", "global:2"));

    let later = now + TimeDelta::hours(1);
    assert_eq!(put(&operator, PRICES, &sent(later, "5")).await.status, StatusCode::OK);
    micros.store(later.timestamp_micros() - 1, Ordering::SeqCst);
    assert_eq!(charged(&client, &agent).await, says("3", "global:2"));
    micros.store(later.timestamp_micros(), Ordering::SeqCst);
    assert_eq!(charged(&client, &agent).await, says("5", "global:3"));

    let at = |time: DateTime<Utc>| format!("{PRICES}?at={}", time.to_rfc3339().replace('+', "%2B"));
    for (time, version) in
        [(now, "global:2"), (later - TimeDelta::microseconds(1), "global:2"), (later, "global:3")]
    {
        let answer = client.get(&at(time)).await;
        assert_eq!(answer.body["prices"][0]["price_version"], version, "{answer:?}");
    }
    // Put again after its time it is still the one that stands.
    assert_eq!(put(&operator, PRICES, &sent(later, "5")).await.body["version"], 3);
}

#[tokio::test]
async fn only_the_operator_sets_prices_and_nobody_sees_anothers() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let (own, foreign) = (world.tenant(0).id, world.tenant(1).id);
    let body = json!({ "prices": [model("vendor_a", "0")] });
    for path in [PRICES.to_owned(), format!("{OVERRIDES}?tenant_id={own}")] {
        put(&client, &path, &body).await.assert_problem(403, "forbidden", &path);
    }
    client.get(&format!("{PRICES}/versions")).await.assert_problem(403, "forbidden", "versions");
    let nobody = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
    for path in [PRICES, OVERRIDES] {
        assert_eq!(client.get(&format!("{path}?tenant_id={own}")).await.status, StatusCode::OK);
        for other in [foreign.to_string(), nobody.to_owned(), "x".to_owned()] {
            client.get(&format!("{path}?tenant_id={other}")).await.assert_problem(404, "not_found", path);
        }
        operator.get(&format!("{path}?tenant_id={nobody}")).await.assert_problem(404, "not_found", path);
    }
    operator.get(OVERRIDES).await.assert_problem(422, "validation_failed", "nobody's overrides");
    put(&operator, OVERRIDES, &body).await.assert_problem(422, "validation_failed", "nobody's overrides");
    let nobodys = format!("{OVERRIDES}?tenant_id={nobody}");
    put(&operator, &nobodys, &body).await.assert_problem(404, "not_found", "overrides of nobody");
}

#[tokio::test]
async fn mistakes_in_a_list_are_all_told_with_their_place() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let rate = |unit: &str, usd: Value| json!({ "unit": unit, "usd": usd });
    let with =
        |rates: Value| json!({ "prices": [{ "kind": "model", "provider": "openai", "rates": rates }] });
    for (body, field) in [
        (with(json!([])), "prices[0].rates"),
        (with(json!([rate("input", json!("1"))])), "prices[0].rates"),
        (with(json!([rate("input", json!(1.5)), rate("output", json!("1"))])), "prices[0].rates[0].usd"),
        (with(json!([rate("input", json!("1e3")), rate("output", json!("1"))])), "prices[0].rates[0].usd"),
        (with(json!([rate("input", json!("-1")), rate("output", json!("1"))])), "prices[0].rates[0].usd"),
        (
            with(json!([rate("input", json!("0.0000000000001")), rate("output", json!("1"))])),
            "prices[0].rates[0].usd",
        ),
        (with(json!([{ "unit": "input", "usd": "1", "per": 7 }])), "prices[0].rates[0].per"),
        (json!({ "prices": [model("a", "1"), model("a", "2")] }), "prices[1]"),
        (json!({ "prices": [], "effective_from": "soon" }), "effective_from"),
        (json!({ "prices": [], "effective_from": "9999-01-01T00:00:00Z" }), "effective_from"),
    ] {
        let refused = put(&operator, PRICES, &body).await;
        refused.assert_problem(422, "validation_failed", &body.to_string());
        assert_eq!(refused.fields(), [field], "{body}");
    }
    assert_eq!(operator.get(&format!("{PRICES}/versions")).await.rows().len(), 1);
}

/// The versions of the list for everybody, as the log has them.
async fn versions(system: &cli::system::System) -> Vec<(u32, &'static str)> {
    let history = system.nats.log.read(&Aggregate::price_book(TenantId::SYSTEM), 0).await.unwrap();
    let version = |payload: &Payload| match payload {
        Payload::PricesChanged(changed) => (changed.version, changed.origin.as_str()),
        other => panic!("{other:?}"),
    };
    history.iter().map(|recorded| version(&recorded.event.payload)).collect()
}

#[tokio::test]
async fn a_changed_setting_is_a_new_list_and_processes_that_start_at_once_bring_it_once() {
    let mut world = World::with_environment(&[("VENDOR_A_PRICE", "0.005")]).await;
    let start = async |world: &World| {
        let systems = join_all((0..6).map(|_| world.connect())).await;
        let published = join_all(systems.iter().map(|system| system.publish_prices())).await;
        published.into_iter().map(|list| list.unwrap().version).collect::<Vec<_>>()
    };
    let system = world.connect().await;
    assert_eq!(start(&world).await, [1; 6]);
    assert_eq!(start(&world).await, [1; 6], "unchanged");
    world.forget("VENDOR_A_PRICE");
    assert_eq!(start(&world).await, [2; 6], "changed");

    // What the operator changes through the api outlives a restart with the same settings.
    let client = world.run(Roles::all()).await;
    let operator = client.with_key(&world.credentials.operator_key);
    put(&operator, PRICES, &json!({ "prices": [model("vendor_a", "7")] })).await;
    assert_eq!(start(&world).await, [3; 6]);
    assert_eq!(charged(&client, &world.agent(0, 0)).await, says("7", "global:3"));
    assert_eq!(versions(&system).await, [(1, "file"), (2, "file"), (3, "api")]);
}
