//! API keys: new secrets for old ones, revocation in every process, agents that a key is for, and when it was used.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use events::AgentId;
use events::call::CallAudio;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::calls::{NOBODY_TALKS, ToldCall};
use tests::client::Answer;
use tests::world::{free_port, ready};
use tests::{Client, World, eventually};

const LIMIT: Duration = Duration::from_secs(30);

async fn works(client: &Client) -> bool {
    let answer = client.get("/api/tenants/me").await;
    match answer.status {
        StatusCode::OK => true,
        StatusCode::UNAUTHORIZED => {
            assert_eq!(answer.code(), "invalid_api_key", "{answer:?}");
            false
        }
        _ => panic!("{answer:?}"),
    }
}

async fn rotate(client: &Client, id: &str, body: Value) -> Answer {
    client.post(&format!("/api/keys/{id}/rotate"), body).await
}

#[tokio::test]
async fn while_a_key_is_rotated_both_secrets_work() {
    let (_world, admin) = World::start().await;
    let agent = admin.get("/api/agents").await.rows()[0]["id"].clone();
    let key = json!({ "name": "site", "role": "developer", "agent_ids": [agent] });
    let first = admin.post("/api/keys", key).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let id = first.text("id");
    let second = rotate(&admin, id, json!({})).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    for same in ["id", "name", "role", "created_at", "expires_at", "agent_ids"] {
        assert_eq!(second.body[same], first.body[same], "{same}");
    }
    assert!(second.text("api_key").starts_with(second.text("prefix")));
    assert_ne!(second.text("prefix"), first.text("prefix"));
    let ends: DateTime<Utc> = second.text("previous_expires_at").parse().unwrap();
    let day = ends - first.text("created_at").parse::<DateTime<Utc>>().unwrap();
    assert!(day >= TimeDelta::days(1) && day < TimeDelta::days(1) + TimeDelta::minutes(5), "{day}");
    let (old, new) = (admin.with_key(first.text("api_key")), admin.with_key(second.text("api_key")));
    assert!(works(&old).await && works(&new).await);
    assert_eq!(new.get("/api/agents").await.rows().len(), 1, "it is for the same agent");
    let listed = admin.get("/api/keys").await.rows().iter().find(|key| key["id"] == id).cloned().unwrap();
    assert_eq!(listed["prefix"], second.body["prefix"]);

    // The third ends both before it.
    let third = rotate(&admin, id, json!({ "grace_seconds": 0 })).await;
    assert!(!works(&old).await && !works(&new).await && works(&admin.with_key(third.text("api_key"))).await);
    for (body, status) in [(json!({ "grace_seconds": 2_592_001 }), 422), (json!({ "grace": 1 }), 422)] {
        assert_eq!(rotate(&admin, id, body).await.status, status);
    }
    let gone = admin.send(admin.request(Method::DELETE, &format!("/api/keys/{id}"))).await.unwrap();
    assert_eq!(gone.status, StatusCode::OK);
    assert!(!works(&admin.with_key(third.text("api_key"))).await);
    rotate(&admin, id, json!({})).await.assert_problem(404, "not_found", "a revoked key");
}

#[tokio::test]
async fn the_grace_ends_and_a_rotation_that_is_asked_for_twice_is_one() {
    let (_world, admin) = World::start().await;
    let key = admin.post("/api/keys", json!({ "name": "a", "role": "viewer" })).await;
    let path = format!("/api/keys/{}/rotate", key.text("id"));
    let asked = [("Idempotency-Key", "rotate-1")];
    let body = json!({ "grace_seconds": 1 });
    let rotated = admin.post_with(&path, &body, &asked).await;
    let again = admin.post_with(&path, &body, &asked).await;
    assert_eq!((rotated.status, &again.body), (StatusCode::OK, &rotated.body));
    assert!(again.is_replayed());
    let (old, new) = (admin.with_key(key.text("api_key")), admin.with_key(rotated.text("api_key")));
    eventually("the end of the grace", LIMIT, async || (!works(&old).await).then_some(())).await;
    let ends: DateTime<Utc> = rotated.text("previous_expires_at").parse().unwrap();
    assert!(now() >= ends);
    assert!(works(&new).await);
}

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_by_every_process_within_a_second() {
    let mut world = World::services().await;
    let (one, other) = (free_port(), free_port());
    let _one = world.spawn("api,projections", one);
    let _other = world.spawn("api", other);
    let admin = world.client(&format!("http://127.0.0.1:{one}"), 0);
    let elsewhere = world.client(&format!("http://127.0.0.1:{other}"), 0);
    for client in [&admin, &elsewhere] {
        ready(client).await;
    }
    for _ in 0..3 {
        let key = admin.post("/api/keys", json!({ "name": "a", "role": "viewer" })).await;
        let there = elsewhere.with_key(key.text("api_key"));
        eventually("the key in the other process", LIMIT, async || works(&there).await.then_some(())).await;
        let path = format!("/api/keys/{}", key.text("id"));
        let revoked = admin.send(admin.request(Method::DELETE, &path)).await.unwrap();
        assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
        let at = Instant::now();
        assert!(!works(&admin.with_key(key.text("api_key"))).await, "here it is refused at once");
        let mut last = at;
        loop {
            let asked = Instant::now();
            if !works(&there).await {
                break;
            }
            last = asked;
        }
        assert!(last - at < Duration::from_secs(1), "it still worked after {:?}", last - at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_also_while_the_tables_stand_still() {
    let mut world = World::services().await;
    let projections = world.spawn("projections", 0);
    let admin = world.run("api".parse().unwrap()).await;
    let elsewhere = world.run("api".parse().unwrap()).await;
    let key = admin.post("/api/keys", json!({ "name": "a", "role": "viewer" })).await;
    let there = elsewhere.with_key(key.text("api_key"));
    eventually("the key in the other process", LIMIT, async || works(&there).await.then_some(())).await;
    projections.kill();
    let path = format!("/api/keys/{}", key.text("id"));
    let revoked = admin.send(admin.request(Method::DELETE, &path)).await.unwrap();
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    assert!(!works(&there).await, "the answer took longer than a second, for the tables stand still");
}

/// Paths that are about agents' things, and what a key that is for another agent gets from each.
async fn things(world: &World, admin: &Client, agent: &str) -> Vec<String> {
    let session = admin.session(agent).await;
    let reply = admin.say(&session, "Hello").await;
    let system = world.connect().await;
    let agent_id = AgentId(agent.parse().unwrap());
    let call = ToldCall::start(&system, world.tenant(0).id, agent_id).await;
    call.record(CallAudio::Mulaw8k, 0, b"A sound").await;
    call.hang_up(1_000, None).await;
    vec![
        format!("/api/agents/{agent}"),
        format!("/api/sessions/{session}"),
        format!("/api/jobs/{}", reply.text("job_id")),
        format!("/api/calls/{}", call.call_id),
        format!("/api/calls/{}/transcript", call.call_id),
        format!("/api/calls/{}/recording", call.call_id),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_one_agent_sees_and_uses_that_agent_alone() {
    let world = World::services().await;
    let admin = world.run(NOBODY_TALKS.parse().unwrap()).await;
    let (own, foreign) = (world.agent(0, 0), world.agent(0, 1));
    let key = json!({ "name": "site", "role": "developer", "agent_ids": [own] });
    let scoped = admin.with_key(admin.post("/api/keys", key).await.text("api_key"));
    let (of_own, of_foreign) = (things(&world, &admin, &own).await, things(&world, &admin, &foreign).await);
    for path in &of_own {
        assert_eq!(scoped.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in &of_foreign {
        assert_eq!(admin.get(path).await.status, StatusCode::OK, "{path}");
        scoped.get(path).await.assert_problem(404, "not_found", path);
    }
    for list in ["agents", "sessions", "jobs", "calls", "provider-calls"] {
        let (all, reached) =
            (admin.get(&format!("/api/{list}")).await, scoped.get(&format!("/api/{list}")).await);
        assert!(all.rows().len() > reached.rows().len() && !reached.rows().is_empty(), "{list}: {reached:?}");
        let text = reached.body.to_string();
        assert!(!of_foreign.iter().any(|path| text.contains(path.rsplit('/').next().unwrap())), "{text}");
    }
    // It talks to its agent, and to no other.
    let session = scoped.session(&own).await;
    assert_eq!(scoped.say(&session, "Hello").await.status, StatusCode::OK);
    let body = json!({ "agent_id": foreign, "customer_id": "c" });
    scoped.post("/api/sessions", body.clone()).await.assert_problem(404, "not_found", "a session");
    // Not even by repeating what somebody else did.
    let repeated = [("Idempotency-Key", "the-same")];
    assert_eq!(admin.post_with("/api/sessions", &body, &repeated).await.status, StatusCode::CREATED);
    scoped.post_with("/api/sessions", &body, &repeated).await.assert_problem(404, "not_found", "repeated");
    let theirs = admin.session(&foreign).await;
    assert_eq!(scoped.say(&theirs, "Hello").await.status, StatusCode::NOT_FOUND);
    let run = json!({ "agent_id": foreign, "arguments": { "invoice_id": "INV-TC-001" } });
    scoped.post("/api/tools/invoice_lookup/run", run).await.assert_problem(404, "not_found", "a tool");
    scoped.post("/api/ws-tickets", json!({ "agent_id": foreign })).await.assert_problem(
        404,
        "not_found",
        "a ticket",
    );
    // What is the whole tenant's is not a key's that is for one agent.
    for path in ["/api/custom-functions", "/api/system-prompts", "/api/analytics/usage"] {
        scoped.get(path).await.assert_problem(403, "forbidden", path);
    }
    scoped.post("/api/agents", json!({ "name": "More" })).await.assert_problem(403, "forbidden", "an agent");
}

#[tokio::test]
async fn agents_that_a_key_is_for_are_the_tenants_own_and_an_admin_is_for_all() {
    let (world, admin) = World::start().await;
    let key = |role: &str, agents: Value| json!({ "name": "a", "role": role, "agent_ids": agents });
    let (own, foreign) = (world.agent(0, 0), world.agent(1, 0));
    for (body, status, code) in [
        (key("viewer", json!([foreign])), 404, "not_found"),
        (key("viewer", json!([own, foreign])), 404, "not_found"),
        (key("viewer", json!([])), 422, "validation_failed"),
        (key("viewer", json!(["desk"])), 422, "validation_failed"),
        (key("admin", json!([own])), 422, "validation_failed"),
    ] {
        let answer = admin.post("/api/keys", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_key_tells_when_it_was_last_used() {
    let (_world, admin) = World::start().await;
    let key = admin.post("/api/keys", json!({ "name": "a", "role": "viewer" })).await;
    let listed = async || {
        let keys = admin.get("/api/keys").await;
        keys.rows().iter().find(|listed| listed["id"] == key.body["id"]).cloned().unwrap()
    };
    assert_eq!(listed().await["last_used_at"], Value::Null);
    let before = now();
    assert!(works(&admin.with_key(key.text("api_key"))).await);
    let used = eventually("the time of the use", LIMIT, async || {
        listed().await["last_used_at"].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap())
    })
    .await;
    assert!(before <= used && used <= now(), "{used}");
}
