//! What each role may do: a viewer reads, a developer works, an admin keeps the keys, the operator makes tenants.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::openapi::routes;
use tests::{Client, World};

const NOBODY: &str = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
/// From the least to the most.
const ROLES: [&str; 3] = ["viewer", "developer", "admin"];

/// A tenant's and the operator's.
const OPERATORS_TOO: [&str; 2] = ["GET /api/prices", "GET /api/prices/overrides"];

/// The least role that may use `METHOD path`, as the contract has it; `operator` stands apart.
fn needed(route: &str) -> &'static str {
    match route {
        // It gives nothing that its key does not.
        "POST /api/ws-tickets" => "viewer",
        "POST /api/tenants" | "GET /api/tenants" => "operator",
        "PUT /api/prices" | "GET /api/prices/versions" | "PUT /api/prices/overrides" => "operator",
        route if route.contains(" /api/repricings") => "operator",
        "PUT /api/limits" | "PATCH /api/tenants/me" | "POST /api/tenants/me/rotate-webhook-secret" => "admin",
        route if route.contains(" /api/budgets") && !route.starts_with("GET ") => "admin",
        route if route.contains(" /api/webhooks") && !route.starts_with("GET ") => "admin",
        route if route.contains(" /api/keys") || route.contains(" /api/telephony/") => "admin",
        route if route.starts_with("GET ") => "viewer",
        _ => "developer",
    }
}

#[tokio::test]
async fn every_route_keeps_to_the_role_it_documents() {
    let (world, admin) = World::start().await;
    let operator = admin.with_key(&world.credentials.operator_key);
    let keys: Vec<(&str, Client)> = vec![
        ("viewer", admin.with_role("viewer").await),
        ("developer", admin.with_role("developer").await),
        ("admin", admin),
    ];
    let rank = |role: &str| ROLES.iter().position(|known| *known == role);
    for route in routes(&operator).await.iter().filter(|route| route.is_api()) {
        let needed = needed(&route.to_string());
        let documented = route.operation["description"].as_str().unwrap_or_default();
        let promise =
            if needed == "operator" { "With the operator's key." } else { &format!("Role: {needed}.") };
        assert!(documented.contains(promise), "{route}: {documented}");

        for (role, client) in &keys {
            let answer = client.try_route(route, NOBODY).await;
            let sent = format!("{route} as {role}");
            if rank(needed).is_some_and(|needed| rank(role) >= Some(needed)) {
                assert!(
                    answer.status.is_success() || answer.status == StatusCode::NOT_FOUND,
                    "{sent}: {answer:?}"
                );
            } else {
                answer.assert_problem(403, "forbidden", &sent);
            }
        }
        let answer = operator.try_route(route, NOBODY).await;
        if needed == "operator" || OPERATORS_TOO.contains(&route.to_string().as_str()) {
            // Nobody has the id, and of overrides it is not said whose they are.
            let is_let_in = answer.status.is_success() || [404, 422].contains(&answer.status.as_u16());
            assert!(is_let_in, "{route}: {answer:?}");
        } else {
            answer.assert_problem(403, "forbidden", &format!("{route} as operator"));
        }
    }
}

#[tokio::test]
async fn a_viewer_reads_a_conversation_and_takes_no_part_in_it() {
    let (world, admin) = World::start().await;
    let (developer, viewer) = (admin.with_role("developer").await, admin.with_role("viewer").await);

    let agent = developer.post("/api/agents", json!({ "name": "Front desk" })).await;
    assert_eq!(agent.status, StatusCode::CREATED, "{agent:?}");
    let session = developer.session(agent.text("id")).await;
    assert_eq!(developer.say(&session, "Hello").await.status, StatusCode::OK);
    let new_key = json!({ "name": "k", "role": "viewer" });
    developer.post("/api/keys", new_key.clone()).await.assert_problem(403, "forbidden", "a developer's key");
    // Not for lack of an id: who may not write does not learn whether it is there, either.
    viewer.say(&session, "Hello").await.assert_problem(403, "forbidden", "a message");
    viewer.post(&format!("/api/sessions/{session}/end"), json!({})).await.assert_problem(
        403,
        "forbidden",
        "the end",
    );
    viewer.post("/api/keys", new_key).await.assert_problem(403, "forbidden", "a viewer's key");
    // The role is asked for before the body is looked at.
    viewer.post("/api/agents", json!({ "nonsense": 1 })).await.assert_problem(403, "forbidden", "an agent");

    let transcript = viewer.get(&format!("/api/sessions/{session}")).await;
    let said: Vec<&Value> =
        transcript.body["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(said, ["user", "assistant"]);
    assert_eq!(transcript.text("status"), "active");
    assert_eq!(world.vendor_log("vendor_a").await.len(), 1);
}

#[tokio::test]
async fn a_new_tenants_first_key_is_its_admin() {
    let (world, client) = World::start().await;
    let operator = client.with_key(&world.credentials.operator_key);
    let tenant = operator.post("/api/tenants", json!({ "name": "Newcomer" })).await;
    assert_eq!(tenant.status, StatusCode::CREATED, "{tenant:?}");
    assert!(tenant.text("webhook_secret").starts_with("whsec_"), "{tenant:?}");
    let names: Vec<Value> =
        operator.get("/api/tenants").await.rows().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names[0], "Newcomer", "newest first: {names:?}");
    assert_eq!(names.len(), 3);

    let admin = client.with_key(tenant.text("api_key"));
    assert_eq!(admin.get("/api/tenants/me").await.body["id"], tenant.body["id"]);
    assert_eq!(admin.get("/api/agents").await.body, json!([]));
    let developer = admin.with_role("developer").await;
    let agent = developer.post("/api/agents", json!({ "name": "First" })).await;
    let session = developer.session(agent.text("id")).await;
    assert_eq!(developer.say(&session, "Hello").await.status, StatusCode::OK);
    // Secrets are shown once: no list has them.
    for (client, path) in [(&operator, "/api/tenants"), (&admin, "/api/keys")] {
        let list = client.get(path).await.body.to_string();
        assert!(!list.contains("api_key") && !list.contains("whsec_") && !list.contains("hash"), "{list}");
    }
}
