//! What a tenant sets for itself: its name, its time zone, and how much it may have under way.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::Answer;
use tests::{Client, World};

async fn set(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

#[tokio::test]
async fn limits_stand_until_they_are_set_again() {
    let (world, client) = World::start().await;
    let demo = json!({ "requests_per_minute": 60_000, "concurrent_turns": 1_000, "concurrent_calls": 1_000 });
    assert_eq!(client.get("/api/limits").await.body, demo);
    let operator = client.with_key(&world.credentials.operator_key);
    let tenant = operator.post("/api/tenants", json!({ "name": "New" })).await;
    let fresh = client.with_key(tenant.text("api_key"));
    let default = json!({ "requests_per_minute": 600, "concurrent_turns": 50, "concurrent_calls": 10 });
    assert_eq!(fresh.get("/api/limits").await.body, default);

    let answer = set(&fresh, Method::PUT, "/api/limits", json!({ "concurrent_calls": 0 })).await;
    let changed = json!({ "requests_per_minute": 600, "concurrent_turns": 50, "concurrent_calls": 0 });
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &changed));
    assert_eq!(fresh.get("/api/limits").await.body, changed);
    let answer = set(&fresh, Method::PUT, "/api/limits", json!({ "concurrent_calls": null })).await;
    assert_eq!(answer.body, default);
    assert_eq!(client.get("/api/limits").await.body, demo, "another tenant's");

    let viewer = fresh.with_role("viewer").await;
    assert_eq!(viewer.get("/api/limits").await.body, default);
    let developer = fresh.with_role("developer").await;
    for (key, body, status, code) in [
        (&developer, json!({ "concurrent_turns": 1 }), 403, "forbidden"),
        (&fresh, json!({ "requests_per_minute": 0 }), 422, "validation_failed"),
        (&fresh, json!({ "concurrent_turns": -1 }), 422, "validation_failed"),
        (&fresh, json!({ "concurrent_turns": 100_001 }), 422, "validation_failed"),
        (&fresh, json!({ "turns": 1 }), 422, "unknown_field"),
    ] {
        let answer = set(key, Method::PUT, "/api/limits", body.clone()).await;
        answer.assert_problem(status, code, &body.to_string());
    }
    assert_eq!(fresh.get("/api/limits").await.body, default);
}

#[tokio::test]
async fn a_tenant_has_a_name_and_a_time_zone() {
    let (world, client) = World::start().await;
    let before = client.get("/api/tenants/me").await;
    assert_eq!((before.text("name"), before.text("time_zone")), ("TechCorp", "UTC"));
    let me = "/api/tenants/me";
    let answer = set(&client, Method::PATCH, me, json!({ "time_zone": "Asia/Kathmandu" })).await;
    assert_eq!((answer.text("name"), answer.text("time_zone")), ("TechCorp", "Asia/Kathmandu"));
    set(&client, Method::PATCH, me, json!({ "name": "TechCorp Nepal" })).await;
    let after = client.get(me).await;
    assert_eq!((after.text("name"), after.text("time_zone")), ("TechCorp Nepal", "Asia/Kathmandu"));
    assert_eq!((after.text("id"), after.text("created_at")), (before.text("id"), before.text("created_at")));
    let viewer = client.with_role("viewer").await;
    set(&viewer, Method::PATCH, me, json!({ "name": "Mine" })).await.assert_problem(
        403,
        "forbidden",
        "a viewer",
    );
    for (body, field) in [
        (json!({ "time_zone": "Europe/Atlantis" }), "time_zone"),
        (json!({ "name": " " }), "name"),
        (json!({ "name": null }), "name"),
    ] {
        let answer = set(&client, Method::PATCH, me, body.clone()).await;
        answer.assert_problem(422, "validation_failed", &body.to_string());
        assert_eq!(answer.fields(), [field], "{body}");
    }
    assert_eq!(client.get(me).await.body, after.body);
    assert_eq!(client.with_key(&world.tenant(1).api_key).get(me).await.text("name"), "HealthFirst");
}

#[tokio::test]
async fn an_agent_has_limits_of_its_own() {
    let (_world, client) = World::start().await;
    let agent = json!({ "name": "Desk", "limits": { "max_concurrent_calls": 2 } });
    let agent = client.post("/api/agents", agent).await;
    assert_eq!(agent.body["limits"], json!({ "requests_per_minute": null, "max_concurrent_calls": 2 }));
    let path = format!("/api/agents/{}", agent.text("id"));
    let answer = set(&client, Method::PATCH, &path, json!({ "limits": { "requests_per_minute": 60 } })).await;
    assert_eq!(answer.body["limits"], json!({ "requests_per_minute": 60, "max_concurrent_calls": 2 }));
    let answer = set(&client, Method::PATCH, &path, json!({ "name": "Desk 2" })).await;
    assert_eq!(answer.body["limits"], json!({ "requests_per_minute": 60, "max_concurrent_calls": 2 }));
    let answer = set(&client, Method::PATCH, &path, json!({ "limits": null })).await;
    assert_eq!((answer.status, &answer.body["limits"]), (StatusCode::OK, &Value::Null));
    assert_eq!(client.get(&path).await.body["limits"], Value::Null);
}
