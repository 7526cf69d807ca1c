//! What was used: over time, in groups, and as files.

use chrono::{DateTime, TimeDelta, Utc};
use events::{AgentId, TenantId};
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::speech_work::{Piece, spoken};
use tests::truth::projections_are_what_the_log_says;
use tests::{Client, World};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn usd(row: &Value) -> Decimal {
    row["cost_usd"].as_str().unwrap().parse().unwrap()
}

async fn set_zone(client: &Client, zone: &str) {
    let body = json!({ "time_zone": zone });
    let answer = client.send(client.request(Method::PATCH, "/api/tenants/me").json(&body)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// Pieces every 20 minutes from `from` on, each dearer than the one before.
fn pieces(tenant_id: TenantId, agent_id: AgentId, from: &str, count: i64) -> Vec<Piece<'static>> {
    let piece = |index| Piece {
        tenant_id,
        agent_id,
        at: time(from) + TimeDelta::minutes(20 * index),
        model: ["voice-1", "=cmd()", "-2"][index as usize % 3],
        cost_usd: Decimal::new(1_000_000 + index, 12),
    };
    (0..count).map(piece).collect()
}

fn sum(pieces: &[Piece<'_>], from: &str, to: &str) -> Decimal {
    let within = pieces.iter().filter(|piece| (time(from)..time(to)).contains(&piece.at));
    within.map(|piece| piece.cost_usd).sum()
}

#[tokio::test]
async fn days_are_those_of_the_tenants_clock_and_add_up_to_the_usage() {
    let (world, client) = World::start().await;
    let system = world.connect().await;
    let (tenant, stranger) = (world.tenant(0), client.with_key(&world.tenant(1).api_key));
    // Over the night in which New York puts its clock back.
    let pieces = pieces(tenant.id, tenant.agents[0].id, "2026-10-30T00:10:00Z", 6 * 72);
    spoken(&system, &pieces).await;

    for (zone, days) in [
        (
            "UTC",
            [
                ("2026-10-31T00:00:00Z", "2026-11-01T00:00:00Z"),
                ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ],
        ),
        (
            "America/New_York",
            [
                ("2026-10-31T04:00:00Z", "2026-11-01T04:00:00Z"),
                ("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
            ],
        ),
        (
            "Asia/Kolkata",
            [
                ("2026-10-30T18:30:00Z", "2026-10-31T18:30:00Z"),
                ("2026-10-31T18:30:00Z", "2026-11-01T18:30:00Z"),
            ],
        ),
    ] {
        set_zone(&client, zone).await;
        let span = "start_date=2026-10-31&end_date=2026-11-01";
        let answer = client.get(&format!("/api/analytics/timeseries?interval=day&{span}")).await;
        let points = answer.body["points"].as_array().unwrap();
        assert_eq!(points.len(), 2, "{answer:?}");
        for (point, (starts_at, ends_at)) in points.iter().zip(days) {
            assert_eq!(
                (&point["starts_at"], &point["ends_at"]),
                (&json!(starts_at), &json!(ends_at)),
                "{zone}"
            );
            assert_eq!(usd(point), sum(&pieces, starts_at, ends_at), "{zone}: {point}");
            assert_eq!(point["provider"], Value::Null);
        }
        let usage = client.get(&format!("/api/analytics/usage?{span}")).await;
        let total: Decimal = usage.text("total_cost_usd").parse().unwrap();
        assert_eq!(total, points.iter().map(usd).sum::<Decimal>(), "{zone}: {usage:?}");
    }
    let theirs = stranger.get("/api/analytics/timeseries?start_date=2026-10-01&end_date=2026-11-30").await;
    let points = theirs.body["points"].as_array().unwrap();
    assert_eq!(
        (points.len(), points.iter().map(usd).sum::<Decimal>()),
        (61, Decimal::ZERO),
        "zeros are there"
    );
    projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn hours_and_groups_add_up_also_where_the_span_cuts_them() {
    let (world, client) = World::start().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let mut pieces = pieces(tenant.id, tenant.agents[0].id, "2026-10-30T00:10:00Z", 200);
    for piece in pieces.iter_mut().step_by(2) {
        piece.agent_id = tenant.agents[1].id;
    }
    spoken(&system, &pieces).await;
    let span = "start_date=2026-10-30T01:25:00Z&end_date=2026-10-31T05:05:00.5Z";
    let total = sum(&pieces, "2026-10-30T01:25:00Z", "2026-10-31T05:05:00.5Z");

    let hours = client.get(&format!("/api/analytics/timeseries?interval=hour&{span}")).await;
    let points = hours.body["points"].as_array().unwrap();
    assert_eq!((points.len(), points.iter().map(usd).sum::<Decimal>()), (29, total), "{hours:?}");
    assert_eq!(points[0]["starts_at"], "2026-10-30T01:25:00Z");
    assert_eq!(
        (&points[0]["ends_at"], &points[28]["ends_at"]),
        (&json!("2026-10-30T02:00:00Z"), &hours.body["end_date"])
    );

    let by_both =
        client.get(&format!("/api/analytics/timeseries?interval=hour&{span}&group_by=model,agent")).await;
    let points = by_both.body["points"].as_array().unwrap();
    assert_eq!(points.iter().map(usd).sum::<Decimal>(), total, "{by_both:?}");
    assert!(
        points.iter().all(|point| point["agent_id"].is_string() && point["channel"].is_null()),
        "{by_both:?}"
    );

    let usage = client.get(&format!("/api/analytics/usage?{span}&group_by=agent,channel")).await;
    let groups = usage.body["groups"].as_array().unwrap();
    assert_eq!((groups.len(), groups.iter().map(usd).sum::<Decimal>()), (2, total), "{usage:?}");
    let of = |agent: usize| groups.iter().find(|group| group["agent_id"] == world.agent(0, agent)).unwrap();
    assert_eq!(usd(of(0)) + usd(of(1)), total);
    assert_eq!((&of(0)["channel"], &of(0)["provider"]), (&json!("voice"), &Value::Null));
    assert!(of(0)["agent_name"].as_str().unwrap().starts_with("TechCorp"), "{usage:?}");
    assert_eq!(usage.body["by_model"].as_array().unwrap().len(), 3);

    let top = client.get(&format!("/api/analytics/top-agents?{span}")).await;
    assert_eq!(top.rows().iter().map(usd).sum::<Decimal>(), total, "{top:?}");
}

/// The cells of a CSV without line breaks in its cells.
fn cells(text: &str) -> Vec<Vec<String>> {
    let line = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect();
    text.strip_suffix("\r\n").unwrap().split("\r\n").map(line).collect()
}

fn text(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body.as_str().unwrap()
}

#[tokio::test]
async fn exports_are_whole_and_no_spreadsheet_runs_them() {
    let (world, client) = World::start().await;
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let pieces = pieces(tenant.id, tenant.agents[0].id, "2026-10-30T00:10:00Z", 2_100);
    spoken(&system, &pieces).await;
    let path = "/api/analytics/entries?start_date=2026-10-01";

    // More than a page; each once, newest first.
    let csv = client.get(&format!("{path}&format=csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"entries.csv\"");
    let rows = cells(text(&csv));
    let column = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let (id, model, cost) = (column("id"), column("model"), column("cost_usd"));
    let mut ids: Vec<&String> = rows[1..].iter().map(|row| &row[id]).collect();
    let total: Decimal = rows[1..].iter().map(|row| row[cost].parse::<Decimal>().unwrap()).sum();
    assert_eq!((ids.len(), total), (2_100, pieces.iter().map(|piece| piece.cost_usd).sum()));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2_100);
    let models: std::collections::BTreeSet<&str> = rows[1..].iter().map(|row| row[model].as_str()).collect();
    assert_eq!(models.into_iter().collect::<Vec<_>>(), ["'-2", "'=cmd()", "voice-1"]);
    let times: Vec<&String> = rows[1..].iter().map(|row| &row[column("occurred_at")]).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older));

    let accept = client.request(Method::GET, path).header("accept", "application/x-ndjson");
    let ndjson = client.send(accept).await.unwrap();
    let lines: Vec<Value> = text(&ndjson).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), lines.iter().map(usd).sum::<Decimal>()), (2_100, total));
    assert!(lines.iter().any(|line| line["model"] == "=cmd()"), "what is no spreadsheet gets it as it is");

    let page = client.get(&format!("{path}&limit=2")).await;
    assert_eq!((page.rows().len(), &page.rows()[1]), (2, &lines[1]));
    let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert!(next.contains("start_date=2026-10-01"), "{next}");
    assert_eq!(client.get(&next).await.rows()[0], lines[2]);

    let series = client
        .get("/api/analytics/timeseries?start_date=2026-10-30&end_date=2026-10-31&group_by=model&format=csv")
        .await;
    assert_eq!(cells(text(&series)).len(), 1 + 2 * 3, "{series:?}");
    let usage = client.get("/api/analytics/usage?start_date=2026-10-01&end_date=2026-12-31&format=csv").await;
    let rows = cells(text(&usage));
    assert_eq!((rows.len(), rows[1].last().unwrap().parse::<Decimal>().unwrap()), (2, total));
    let grouped = client
        .get("/api/analytics/usage?start_date=2026-10-01&end_date=2026-12-31&group_by=model&format=ndjson")
        .await;
    assert_eq!(text(&grouped).lines().count(), 3);

    let stranger = client.with_key(&world.tenant(1).api_key);
    let nothing = stranger.get(&format!("{path}&format=csv")).await;
    assert_eq!(cells(text(&nothing)).len(), 1, "the heading alone: {nothing:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (_world, client) = World::start().await;
    for (query, field) in [
        ("timeseries?interval=week", "interval"),
        ("timeseries?interval=hour&start_date=2026-01-01&end_date=2026-03-01", "start_date"),
        ("timeseries?interval=day&start_date=2020-01-01&end_date=2026-03-01", "start_date"),
        ("timeseries?start_date=2026-03-02&end_date=2026-03-01T00:00:00Z", "start_date"),
        ("timeseries?group_by=vendor", "group_by"),
        ("timeseries?format=xml", "format"),
        ("usage?group_by=", "group_by"),
        ("usage?format=pdf", "format"),
        ("latency?group_by=stage", "group_by"),
        ("top-agents?start_date=soon", "start_date"),
        ("entries?limit=0", "limit"),
        ("entries?after=1", "after"),
        ("entries?end_date=2026-02-30", "end_date"),
    ] {
        let refused = client.get(&format!("/api/analytics/{query}")).await;
        refused.assert_problem(422, "validation_failed", query);
        assert_eq!(refused.fields(), [field], "{query}");
    }
    let unknown = client.get("/api/analytics/timeseries?groupby=model").await;
    unknown.assert_problem(422, "unknown_field", "a parameter that is not there");
}
