//! Months are closed once, and stay as they are; what comes late is on the next invoice.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use cli::replay;
use cli::system::System;
use domain::{Month, Zone};
use events::{Clock, Payload, TenantId};
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::speech_work::{Piece, spoken};
use tests::truth::{self, Truth};
use tests::{Client, World, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: (&str, &str) = ("NATS_PARTITIONS", "3");

fn kolkata() -> Zone {
    Zone::named("Asia/Kolkata").unwrap()
}

/// Processes whose clock shows `at` when they start. The last one answers.
async fn at(world: &World, at: DateTime<Utc>, processes: usize) -> Client {
    let ahead = at - Clock::system().now();
    let mut client = None;
    for _ in 0..processes {
        let clock = Clock::from_fn(move || Clock::system().now() + ahead);
        let roles = "api,projections,repricings".parse().unwrap();
        client = Some(world.run_with(roles, |system| system.clock = clock).await);
    }
    client.unwrap()
}

async fn closed(client: &Client, month: &Month) -> Value {
    eventually("the close of the month", LIMIT, async || {
        let invoice = client.get(&format!("/api/invoices/{month}")).await;
        (invoice.body["status"] == "closed").then_some(invoice.body)
    })
    .await
}

/// The bytes of an answer.
async fn bytes(client: &Client, path: &str) -> String {
    let answer = client.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.text().await.unwrap()
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

/// What an invoice's lines amount to, by month, kind and model.
fn lines(invoice: &Value) -> BTreeMap<(String, String, String), (u64, Decimal)> {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let month = text(invoice, "month");
    let lines = invoice["lines"].as_array().unwrap().iter();
    lines
        .map(|line| {
            assert_eq!(line["late"], text(line, "month") != month, "{line}");
            let key = (text(line, "month"), text(line, "kind"), text(line, "model"));
            (key, (line["entries"].as_u64().unwrap(), decimal(&line["cost_usd"])))
        })
        .collect()
}

fn piece(world: &World, at: DateTime<Utc>, model: &'static str, cents: i64) -> Piece<'static> {
    let tenant = world.tenant(0);
    Piece { tenant_id: tenant.id, agent_id: tenant.agents[0].id, at, model, cost_usd: Decimal::new(cents, 2) }
}

async fn set_zone(client: &Client, zone: &str) {
    let body = json!({ "time_zone": zone });
    let answer = client.send(client.request(Method::PATCH, "/api/tenants/me").json(&body)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// How often each month of each tenant was closed.
async fn closes(system: &System) -> BTreeMap<(TenantId, String), usize> {
    let mut closes = BTreeMap::new();
    for event in Truth::read(system).await.events {
        if let Payload::InvoiceClosed(closed) = event.payload {
            *closes.entry((event.envelope.aggregate.tenant_id, closed.month)).or_default() += 1;
        }
    }
    closes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_month_stays_as_it_is_and_what_comes_late_is_on_the_next() {
    let world = World::with_environment(&[PARTITIONS]).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let system = world.connect().await;
    set_zone(&client, "Asia/Kolkata").await;
    let first = Month::at(Clock::system().now(), kolkata());
    let second = first.next(kolkata());
    let hour = TimeDelta::hours(1);
    let mut pieces = vec![
        piece(&world, first.ends_at - hour, "voice-1", 1),
        // On the stroke of midnight in Kolkata, which is the middle of an hour of UTC.
        piece(&world, first.ends_at, "voice-1", 20),
        piece(&world, first.ends_at - TimeDelta::microseconds(1), "voice-2", 300),
    ];
    pieces
        .extend((0..30).map(|day| piece(&world, first.starts_at + TimeDelta::hours(23 * day), "voice-1", 1)));
    spoken(&system, &pieces).await;

    let open = client.get(&format!("/api/invoices/{first}")).await;
    assert_eq!((open.text("status"), &open.body["closed_at"]), ("open", &Value::Null), "{open:?}");
    let of = |month: &Month, kind: &str, model: &str| (month.to_string(), kind.to_owned(), model.to_owned());
    let usd = |cents| Decimal::new(cents, 2);
    let in_first = BTreeMap::from([
        (of(&first, "synthesis", "voice-1"), (31, usd(31))),
        (of(&first, "synthesis", "voice-2"), (1, usd(300))),
    ]);
    assert_eq!(lines(&open.body), in_first);

    // Nothing is closed before the grace is over, by whom ever.
    let early = at(&world, first.ends_at + TimeDelta::hours(23), 1).await;
    let listed = early.get("/api/invoices").await;
    let shown: Vec<(&str, &str)> = listed
        .rows()
        .iter()
        .map(|row| (row["month"].as_str().unwrap(), row["status"].as_str().unwrap()))
        .collect();
    let names = (second.to_string(), first.to_string());
    assert_eq!(shown, [(names.0.as_str(), "open"), (names.1.as_str(), "open")]);
    let client = at(&world, first.ends_at + TimeDelta::hours(30), 2).await;
    let invoice = closed(&client, &first).await;
    assert_eq!((lines(&invoice), &invoice["total_usd"]), (in_first, &json!("3.31")), "{invoice}");
    assert_eq!((decimal(&invoice["sum_usd"]), &invoice["entries"]), (usd(331), &json!(32)));
    let path = format!("/api/invoices/{first}");
    let frozen = bytes(&client, &path).await;

    // Late entries, and a correction of what was charged in both months: 2 cents for each piece.
    let late = [
        piece(&world, first.starts_at + hour, "voice-1", 4_000),
        piece(&world, first.ends_at - hour, "voice-3", 50_000),
        piece(&world, first.ends_at + hour, "voice-3", 600_000),
    ];
    spoken(&system, &late).await;
    let operator = client.with_key(&world.credentials.operator_key);
    let price = json!({ "kind": "synthesis", "provider": "azure", "model": "voice-1",
        "rates": [{ "unit": "character", "usd": "0.002" }] });
    let to = (first.ends_at + TimeDelta::hours(2)).trunc_subsecs(6);
    let repricing = json!({ "tenant_id": world.tenant(0).id, "from": first.starts_at - TimeDelta::days(2), "to": to,
        "prices": [price], "reason": "a slip of the pen", "dry_run": false });
    let done = operator.post("/api/repricings", repricing.clone()).await;
    assert_eq!((done.text("status"), &done.body["entries"]), ("succeeded", &json!(33)), "{done:?}");
    truth::projections_are_level(&system).await;
    assert_eq!(bytes(&client, &path).await, frozen, "late entries and corrections are on the next");

    let in_second = BTreeMap::from([
        (of(&second, "synthesis", "voice-1"), (1, usd(20))),
        (of(&second, "synthesis", "voice-3"), (1, usd(600_000))),
        (of(&second, "adjustment", "voice-1"), (1, usd(2 - 20))),
        (of(&first, "synthesis", "voice-1"), (1, usd(4_000))),
        (of(&first, "synthesis", "voice-3"), (1, usd(50_000))),
        (of(&first, "adjustment", "voice-1"), (32, usd(31 + 2 - 4_000))),
    ]);
    let preview = client.get(&format!("/api/invoices/{second}")).await.body;
    assert_eq!((&preview["status"], lines(&preview)), (&json!("open"), in_second.clone()), "{preview}");
    // Again: nothing is left to correct.
    let again = operator.post("/api/repricings", repricing).await;
    assert_eq!(again.body["entries"], 0, "{again:?}");

    let client = at(&world, second.ends_at + TimeDelta::hours(30), 2).await;
    let invoice = closed(&client, &second).await;
    assert_eq!(lines(&invoice), in_second);
    let second_path = format!("/api/invoices/{second}");
    let second_frozen = bytes(&client, &second_path).await;
    assert_eq!(bytes(&client, &path).await, frozen);
    let usage = client.get("/api/analytics/usage?start_date=2020-01-01&end_date=2100-01-01").await;
    let both = usd(331) + decimal(&invoice["sum_usd"]);
    assert_eq!(decimal(&usage.body["total_cost_usd"]), both, "everything is on one of them");

    // Each month once, whoever looked; and nothing depends on when the tables were made.
    eventually("the other tenant's months", LIMIT, async || (closes(&system).await.len() == 4).then_some(()))
        .await;
    assert!(closes(&system).await.values().all(|closes| *closes == 1));
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
    replay::replay(&system, &["ledger".to_owned()], true).await.unwrap();
    assert_eq!(bytes(&client, &path).await, frozen);
    assert_eq!(bytes(&client, &second_path).await, second_frozen);

    let stranger = client.with_key(&world.tenant(1).api_key);
    let theirs = stranger.get(&path).await;
    assert_eq!((&theirs.body["lines"], theirs.text("total_usd")), (&json!([]), "0.00"), "{theirs:?}");
    assert_ne!(theirs.body["id"], serde_json::from_str::<Value>(&frozen).unwrap()["id"]);

    // Page by page, open and closed ones.
    let listed = client.get("/api/invoices").await;
    let months: Vec<_> = listed.rows().iter().map(|row| row["month"].clone()).collect();
    assert_eq!(months, [second.next(kolkata()), second, first].map(|month| json!(month.to_string())));
    let mut next = "/api/invoices?limit=1".to_owned();
    for row in listed.rows() {
        let page = client.get(&next).await;
        assert_eq!(page.rows(), std::slice::from_ref(row));
        next = page.header("link").split(['<', '>']).nth(1).unwrap_or_default().to_owned();
    }
    assert_eq!(client.get(&next).await.body, json!([]));
}

#[tokio::test]
async fn a_month_that_a_tenant_has_not_is_not_found_and_files_have_the_lines() {
    let (world, client) = World::start().await;
    let system = world.connect().await;
    let now = Clock::system().now();
    let month = Month::at(now, Zone::UTC);
    spoken(&system, &[piece(&world, now, "=1+1", 12)]).await;
    for name in ["2020-01", "9998-12", "2026-13", "2026", "yesterday"] {
        client.get(&format!("/api/invoices/{name}")).await.assert_problem(404, "not_found", name);
    }
    let path = format!("/api/invoices/{month}");
    let refused = client.get(&format!("{path}?format=pdf")).await;
    assert_eq!((refused.code(), refused.fields()), ("validation_failed", vec!["format"]), "{refused:?}");
    for query in ["limit=0", "after=2026-01"] {
        let refused = client.get(&format!("/api/invoices?{query}")).await;
        refused.assert_problem(422, "validation_failed", query);
    }
    let csv = client.get(&format!("{path}?format=csv")).await;
    let disposition = format!("attachment; filename=\"invoice-{month}.csv\"");
    assert_eq!(csv.header("content-disposition"), disposition);
    let rows: Vec<&str> = csv.body.as_str().unwrap().lines().collect();
    assert_eq!(rows.len(), 2, "{csv:?}");
    assert_eq!(rows[1], format!("{month},false,synthesis,azure,'=1+1,1,1,0,0,0,1000,10,0.12"));
}
