//! Lists are walked page by page: every row exactly once, newest first, whatever happens meanwhile.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::Answer;
use tests::{Client, World};

/// Where the `Link` header leads; `None` on the last page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let (path, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest, "; rel=\"next\"");
    Some(path.to_owned())
}

fn id(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

/// All rows from `path` on, and how many pages they came in.
async fn walk(client: &Client, path: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut rows, mut pages, mut at) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(path) = at {
        let answer = client.get(&path).await;
        assert!(answer.rows().len() <= limit, "{path}: {answer:?}");
        rows.extend_from_slice(answer.rows());
        pages += 1;
        assert!(pages < 100, "{path} has no end");
        at = next(&answer);
    }
    (rows, pages)
}

#[tokio::test]
async fn every_list_is_walked_without_a_gap_and_without_a_double() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    for number in 0..7 {
        client.post("/api/agents", json!({ "name": format!("Agent {number}") })).await;
        client.post("/api/keys", json!({ "name": format!("Key {number}"), "role": "viewer" })).await;
        operator.post("/api/tenants", json!({ "name": format!("Tenant {number}") })).await;
    }
    let agent = world.agent(0, 0);
    // One after the other, so that it is clear which is newer.
    for _ in 0..7 {
        let session = client.session(&agent).await;
        let answer = client.say(&session, "What is the status of invoice INV-TC-001?").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    for (client, path, count, made) in [
        (&client, "/api/agents", 10, "created_at"),
        (&client, "/api/keys", 8, "created_at"),
        (&client, "/api/sessions", 7, "created_at"),
        (&client, "/api/jobs", 7, "created_at"),
        (&client, "/api/provider-calls", 14, "started_at"),
        (&client, "/api/tool-executions", 7, "created_at"),
        (&operator, "/api/tenants", 9, "created_at"),
    ] {
        let whole = client.get(path).await;
        assert_eq!((whole.rows().len(), next(&whole)), (count, None), "{path}");
        let times: Vec<&str> = whole.rows().iter().map(|row| row[made].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{path} newest first: {times:?}");
        for limit in [1, 3, count, count + 1] {
            let (rows, pages) = walk(client, &format!("{path}?limit={limit}"), limit).await;
            let walked: Vec<String> = rows.iter().map(id).collect();
            let all: Vec<String> = whole.rows().iter().map(id).collect();
            assert_eq!(walked, all, "{path} by {limit}");
            assert!(
                pages >= count.div_ceil(limit) && pages <= count / limit + 1,
                "{path} by {limit}: {pages} pages"
            );
        }
    }
}

#[tokio::test]
async fn a_walk_is_not_disturbed_by_what_comes_and_goes() {
    let (world, client) = World::start().await;
    let mut keys = Vec::new();
    for number in 0..6 {
        client.post("/api/agents", json!({ "name": format!("Agent {number}") })).await;
        keys.push(id(&client
            .post("/api/keys", json!({ "name": format!("Key {number}"), "role": "viewer" }))
            .await
            .body));
    }
    let before: Vec<String> = client.get("/api/agents").await.rows().iter().map(id).collect();
    let first = client.get("/api/agents?limit=3").await;
    let newer = client.post("/api/agents", json!({ "name": "Latecomer" })).await;
    // The very row that the walk goes on from is deleted, and one that is still to come.
    for gone in [&before[2], &before[5]] {
        let deleted =
            client.send(client.request(Method::DELETE, &format!("/api/agents/{gone}"))).await.unwrap();
        assert_eq!(deleted.body, json!({ "deleted": true }));
    }
    let (rest, _) = walk(&client, &next(&first).unwrap(), 3).await;
    let walked: Vec<String> = first.rows().iter().chain(&rest).map(id).collect();
    let expected: Vec<String> = before.iter().filter(|id| **id != before[5]).cloned().collect();
    assert_eq!(walked, expected);
    assert_eq!(id(&client.get("/api/agents?limit=1").await.rows()[0]), newer.text("id"));

    // Revoked keys leave no hole that ends the walk early.
    for gone in &keys[1..5] {
        client.send(client.request(Method::DELETE, &format!("/api/keys/{gone}"))).await.unwrap();
    }
    let (rows, _) = walk(&client, "/api/keys?limit=2", 2).await;
    let walked: Vec<String> = rows.iter().map(id).collect();
    assert_eq!(walked.len(), 3, "the first key and two that are left: {rows:?}");
    assert_eq!(walked[..2], [keys[5].clone(), keys[0].clone()]);
    drop(world);
}

#[tokio::test]
async fn a_filtered_list_keeps_its_filter_on_every_page() {
    let (world, client) = World::start().await;
    let (session, other) =
        (client.session(&world.agent(0, 0)).await, client.session(&world.agent(0, 0)).await);
    for session in [&session, &other, &session, &other, &session] {
        let answer = client.say(session, "What is the status of invoice INV-TC-001?").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    for (path, count) in [("/api/provider-calls", 6), ("/api/tool-executions", 3)] {
        let (rows, _) = walk(&client, &format!("{path}?session_id={session}&limit=2"), 2).await;
        assert_eq!(rows.len(), count, "{path}: {rows:?}");
        assert!(rows.iter().all(|row| row["session_id"] == session), "{path}: {rows:?}");
    }
}
