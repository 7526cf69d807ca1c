//! Correcting what was charged: exactly, once, and whoever dies meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{SubsecRound, TimeDelta};
use cli::system::System;
use events::call::{SpeechKind, SpeechMetered, SpeechOutcome, SpeechWorkMetered};
use events::{Aggregate, CallId, Cause, CorrelationId, Event, EventId, Origin, SessionId, TenantId};
use nats::Expect;
use reqwest::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::truth::{projections_are_level, projections_are_what_the_log_says};
use tests::world::free_port;
use tests::{Client, World, eventually};

const PATH: &str = "/api/repricings";
const QUESTION: &str = "What is the status of invoice INV-TC-001?";
const LIMIT: Duration = Duration::from_secs(60);

fn model(provider: &str, usd: &str) -> Value {
    let rate = |unit| json!({ "unit": unit, "usd": usd, "per": 1_000_000 });
    json!({ "kind": "model", "provider": provider, "rates": [rate("input"), rate("output")] })
}

/// A re-pricing of all that was until now.
fn body(prices: &[Value], dry_run: bool) -> Value {
    let now = events::Clock::system().now().trunc_subsecs(6);
    json!({
        "from": now - TimeDelta::days(1), "to": now, "prices": prices, "reason": "a slip of the pen",
        "dry_run": dry_run
    })
}

async fn total(client: &Client) -> Decimal {
    client.usage().await.text("total_cost_usd").parse().unwrap()
}

fn sums(answer: &Answer) -> (u64, Decimal, Decimal) {
    let usd = |field| answer.text(field).parse().unwrap();
    (answer.body["entries"].as_u64().unwrap(), usd("before_usd"), usd("difference_usd"))
}

#[tokio::test]
async fn a_correction_is_told_first_then_made_once_and_built_upon() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let stranger = client.with_key(&world.tenant(1).api_key);
    for (client, tenant) in [(&client, 0), (&stranger, 1)] {
        for agent in [0, 2] {
            let session = client.session(&world.agent(tenant, agent)).await;
            assert_eq!(client.say(&session, QUESTION).await.status, StatusCode::OK);
        }
    }
    let (before, theirs) = (total(&client).await, total(&stranger).await);
    let of_vendor = |usage: &Answer, vendor: &str| -> Decimal {
        let providers = usage.body["by_provider"].as_array().unwrap().iter();
        providers
            .filter(|row| row["provider"] == vendor)
            .map(|row| row["cost_usd"].as_str().unwrap().parse::<Decimal>().unwrap())
            .sum()
    };
    let ours_of_a = of_vendor(&client.usage().await, "vendor_a");
    let theirs_of_a = of_vendor(&stranger.usage().await, "vendor_a");
    let all_of_a = ours_of_a + theirs_of_a;

    // VendorA's 2 dollars for a million should have been 3: half as much again.
    let half = Decimal::new(5, 1);
    let tried = operator.post(PATH, body(&[model("vendor_a", "3")], true)).await;
    assert_eq!((tried.status, tried.text("status")), (StatusCode::OK, "succeeded"), "{tried:?}");
    let (entries, charged, difference) = sums(&tried);
    assert_eq!((charged, difference), (all_of_a, all_of_a * half), "{tried:?}");
    let found = tried.body["differences"].as_array().unwrap();
    let tenants: Vec<_> = found.iter().map(|row| row["tenant_id"].as_str().unwrap()).collect();
    for tenant in 0..2 {
        assert!(tenants.contains(&world.tenant(tenant).id.to_string().as_str()), "{tried:?}");
    }
    assert!(found.iter().all(|row| row["provider"] == "vendor_a" && row["kind"] == "model"), "{tried:?}");
    assert_eq!(total(&client).await, before, "a dry run changes nothing");

    let done = operator.post(PATH, body(&[model("vendor_a", "3")], false)).await;
    assert_eq!(sums(&done), (entries, all_of_a, all_of_a * half), "{done:?}");
    assert_eq!(total(&client).await, before + ours_of_a * half);
    assert_eq!(total(&stranger).await, theirs + theirs_of_a * half);

    // Again: everything is as it should be.
    let again = operator.post(PATH, body(&[model("vendor_a", "3")], false)).await;
    assert_eq!(sums(&again), (0, Decimal::ZERO, Decimal::ZERO), "{again:?}");
    assert_eq!(total(&client).await, before + ours_of_a * half);

    // One tenant's alone, back to what it was.
    let mut back = body(&[model("vendor_a", "2")], false);
    back["tenant_id"] = json!(world.tenant(0).id);
    let back = operator.post(PATH, back).await;
    assert_eq!(sums(&back).2, -ours_of_a * half, "{back:?}");
    assert_eq!(total(&client).await, before);
    assert_eq!(total(&stranger).await, theirs + theirs_of_a * half);

    let listed = operator.get(PATH).await;
    let versions: Vec<_> =
        listed.rows().iter().map(|row| row["price_version"].as_str().unwrap().to_owned()).collect();
    assert_eq!(versions, ["repricing:4", "repricing:3", "repricing:2", "repricing:1"]);
    let one = operator.get(&format!("{PATH}/{}", done.text("id"))).await;
    assert_eq!(one.body, done.body);

    let system = world.connect().await;
    projections_are_level(&system).await;
    projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_a_repetition_is_the_same_repricing() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let good = body(&[model("vendor_a", "3")], true);
    client.post(PATH, good.clone()).await.assert_problem(403, "forbidden", "a tenant's key");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("to", json!("2999-01-01T00:00:00Z")), "to"),
        (with("from", good["to"].clone()), "from"),
        (with("prices", json!([])), "prices"),
        (with("prices", json!([{ "kind": "model", "provider": "x", "rates": [] }])), "prices[0].rates"),
        (with("reason", json!(" ")), "reason"),
        (with("dry_run", Value::Null), "dry_run"),
    ] {
        let refused = operator.post(PATH, body.clone()).await;
        refused.assert_problem(422, "validation_failed", &body.to_string());
        assert_eq!(refused.fields(), [field], "{body}");
    }
    let nobody = with("tenant_id", json!("0193e2f4-5f1c-7c52-9d3f-0242ac120002"));
    operator.post(PATH, nobody).await.assert_problem(404, "not_found", "a tenant that is not there");
    operator.get(&format!("{PATH}/{}", CallId::new())).await.assert_problem(
        404,
        "not_found",
        "no re-pricing",
    );

    let once = [("Idempotency-Key", "once")];
    let first = operator.post_with(PATH, &good, &once).await;
    let again = operator.post_with(PATH, &good, &once).await;
    assert_eq!((first.status, again.is_replayed()), (StatusCode::OK, true), "{again:?}");
    assert_eq!(again.body, first.body);
    let waiting = [("Prefer", "respond-async")];
    let accepted = operator.post_with(PATH, &good, &waiting).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    assert_eq!(accepted.header("location"), format!("{PATH}/{}", accepted.text("id")));
    assert_eq!(operator.get(PATH).await.rows().len(), 2);
}

/// So many pieces of speech, each charged a cent for its second.
async fn spoken(system: &System, tenant_id: TenantId, agent_id: events::AgentId, count: u32) {
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "system".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        key_id: None,
    };
    let cause = Cause { origin, causation_id: None };
    let call = Aggregate::call(tenant_id, CallId::new());
    let session_id = SessionId::new();
    let mut pending = Vec::new();
    for number in 0..count {
        let work = SpeechWorkMetered {
            kind: SpeechKind::Synthesis,
            job_id: None,
            agent_id,
            session_id,
            provider: "azure".to_owned(),
            model: format!("voice-{}", number % 3),
            audio_ms: 1_000,
            characters: 10,
            outcome: SpeechOutcome::Succeeded,
            metered: SpeechMetered {
                cost_usd: Decimal::new(1, 2),
                price_version: "global:1".to_owned(),
                estimated: false,
            },
        };
        let event = Event::new(EventId::new(), system.clock.now(), "test", call, &cause, work);
        pending.push(system.nats.log.send(&event, Expect::Anything).await);
        if pending.len() == 1_000 {
            for sent in pending.drain(..) {
                sent.acknowledged().await.unwrap();
            }
        }
    }
    for sent in pending {
        sent.acknowledged().await.unwrap();
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_leaves_nothing_out_and_nothing_double() {
    const PIECES: u32 = 12_000;
    let mut world = World::services().await;
    let system = world.connect().await;
    let tenant = world.tenant(0).id;
    let agent_id = world.tenant(0).agents[0].id;
    let client = world.run("api,projections".parse().unwrap()).await;
    let operator = client.with_key(&world.credentials.operator_key);
    spoken(&system, tenant, agent_id, PIECES).await;
    projections_are_level(&system).await;
    let before = total(&client).await;
    assert_eq!(before, Decimal::new(i64::from(PIECES), 2));

    // A third of a cent for the second: rounded, 0.003333333333 each.
    let price = json!({
        "kind": "synthesis", "provider": "azure", "rates": [{ "unit": "minute", "usd": "0.2" }]
    });
    let async_please = [("Prefer", "respond-async")];
    let accepted = operator.post_with(PATH, &body(&[price], false), &async_please).await;
    assert_eq!((accepted.status, accepted.text("status")), (StatusCode::ACCEPTED, "running"));
    let place = accepted.header("location").to_owned();

    let ledger = Aggregate::ledger(tenant);
    let mut kills = 0;
    let mut seen = 0;
    while kills < 2 {
        let process = world.spawn("repricings", free_port());
        // It has gone on from where the last one was.
        seen = eventually("a correction", LIMIT, async || {
            let last = system.nats.log.last_of(&ledger).await.unwrap();
            (last > seen).then_some(last)
        })
        .await;
        process.kill();
        kills += 1;
    }
    assert_eq!(operator.get(&place).await.text("status"), "running", "killed in the middle");

    let _process = world.spawn("repricings", free_port());
    let done = eventually("the end of the re-pricing", LIMIT, async || {
        let answer = operator.get(&place).await;
        (answer.text("status") == "succeeded").then_some(answer)
    })
    .await;
    projections_are_level(&system).await;
    let each: Decimal = "0.003333333333".parse().unwrap();
    let right = each * Decimal::from(PIECES);
    assert_eq!(sums(&done), (u64::from(PIECES), before, right - before), "{done:?}");
    assert_eq!(total(&client).await, right);

    // Each entry has one correction, however often it was sent.
    let history = system.nats.log.read(&ledger, 0).await.unwrap();
    let mut corrections: HashMap<EventId, EventId> = HashMap::new();
    for recorded in &history {
        let events::Payload::LedgerAdjusted(adjusted) = &recorded.event.payload else {
            panic!("{recorded:?}")
        };
        let id = corrections.entry(adjusted.entry_id).or_insert(recorded.event.envelope.id);
        assert_eq!(*id, recorded.event.envelope.id);
        assert_eq!(adjusted.delta_usd, each - Decimal::new(1, 2));
    }
    assert_eq!(corrections.len(), PIECES as usize);
    projections_are_level(&system).await;
    projections_are_what_the_log_says(&system).await;
}
