//! A hard budget is never overshot, and nothing of it leaks: not with two hundred at once, not when everybody is killed.

use std::sync::Arc;
use std::time::Duration;

use cli::system::Roles;
use domain::{Month, Zone};
use events::{Aggregate, Payload, TenantId};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::{Client, Process, World, eventually, world};
use tokio_util::task::TaskTracker;

const LIMIT: Duration = Duration::from_secs(60);
/// Opening sessions is not what is tried out here.
const OPENED_AT_ONCE: usize = 8;

async fn put(client: &Client, path: &str, body: Value) -> Answer {
    client.send(client.request(Method::PUT, path).json(&body)).await.unwrap()
}

/// Sets the tenant's own budget.
async fn budget(client: &Client, limit: Decimal) -> Answer {
    let body = json!({ "scope": "tenant", "monthly_limit_usd": limit.to_string(), "alert_at": [] });
    let answer = put(client, "/api/budgets", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer
}

fn usd(value: &Value) -> Decimal {
    value.as_str().unwrap_or_else(|| panic!("no money: {value}")).parse().unwrap()
}

/// Sends a message and does not wait for its answer. `None`: nobody answered.
async fn send(client: &Client, session: &str, content: &str) -> Option<Answer> {
    let request = client
        .request(Method::POST, &format!("/api/sessions/{session}/messages"))
        .header("Prefer", "respond-async")
        .json(&json!({ "content": content }));
    client.send(request).await.ok()
}

async fn sessions(client: &Client, agent: &str, count: usize) -> Vec<String> {
    let opened = stream::iter(0..count).map(|_| client.session(agent));
    opened.buffered(OPENED_AT_ONCE).collect().await
}

/// The most that a message to the agent costs: what a refusal says.
async fn bound(client: &Client, agent: &str) -> Decimal {
    budget(client, Decimal::ZERO).await;
    let refused = send(client, &client.session(agent).await, "Hello").await.unwrap();
    refused.assert_problem(402, "budget_exceeded", "nothing may be spent");
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(usd(&refused.body["remaining_usd"]), Decimal::ZERO);
    let bound = usd(&refused.body["required_usd"]);
    assert!(bound > Decimal::ZERO);
    bound
}

/// Spent and reserved of the tenant's own budget.
async fn standing(client: &Client, tenant_id: TenantId) -> (Decimal, Decimal) {
    let budgets = client.get("/api/budgets").await;
    let own = budgets.rows().iter().find(|budget| budget["id"] == tenant_id.to_string()).unwrap().clone();
    let (limit, left) = (usd(&own["monthly_limit_usd"]), usd(&own["remaining_usd"]));
    let (spent, reserved) = (usd(&own["spent_usd"]), usd(&own["reserved_usd"]));
    assert_eq!(left, limit - spent - reserved);
    (spent, reserved)
}

async fn all_settled(client: &Client, tenant_id: TenantId) -> Decimal {
    eventually("the end of all reservations", LIMIT, async || {
        let (spent, reserved) = standing(client, tenant_id).await;
        reserved.is_zero().then_some(spent)
    })
    .await
}

fn roles(roles: &str) -> Roles {
    roles.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_at_once_thirty_seven_run_where_thirty_seven_have_room() {
    let mut world = World::services().await;
    let client = world.run(roles("api,projections")).await;
    let (agent, tenant_id) = (world.agent(0, 0), world.tenant(0).id);
    let sessions = sessions(&client, &agent, 200).await;
    let bound = bound(&client, &agent).await;
    let limit = bound * Decimal::from(37);
    budget(&client, limit).await;

    // Nobody works yet: each that is accepted holds its room.
    let answers = join_all(sessions.iter().map(|session| send(&client, session, "Hello"))).await;
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    let accepted = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).count();
    assert_eq!((answers.len(), accepted), (200, 37));
    for refused in answers.iter().filter(|answer| answer.status != StatusCode::ACCEPTED) {
        refused.assert_problem(402, "budget_exceeded", "the 38th");
        assert_eq!(refused.header("x-should-retry"), "false");
        assert_eq!(
            (usd(&refused.body["required_usd"]), usd(&refused.body["remaining_usd"])),
            (bound, Decimal::ZERO)
        );
    }
    assert_eq!(standing(&client, tenant_id).await, (Decimal::ZERO, limit));

    let _workers = world.spawn("turns,tools", 0);
    let spent = all_settled(&client, tenant_id).await;
    let jobs = client.get("/api/jobs?limit=1000").await;
    assert_eq!(jobs.rows().len(), 37);
    assert!(jobs.rows().iter().all(|job| job["status"] == "succeeded"), "{jobs:?}");
    assert_eq!(world.vendor_log("vendor_a").await.len(), 37);
    assert!(spent > Decimal::ZERO && spent <= limit);
    assert_eq!(usd(&client.usage().await.body["total_cost_usd"]), spent);
    // What was held back and not spent can be spent.
    let more = send(&client, &client.session(&agent).await, "Hello").await.unwrap();
    assert_eq!(more.status, StatusCode::ACCEPTED, "{more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks_and_nothing_overshoots_when_api_and_workers_are_killed() {
    let mut world = World::with_environment(&[("VOCALBRIDGE_RESERVATION_LEASE_SECONDS", "3")]).await;
    world.control("vendor_a", json!({ "latency_ms": 100, "failure_rate": 0.2 })).await;
    let ports = [world::free_port(), world::free_port()];
    let mut processes: Vec<Process> = ports.iter().map(|port| world.spawn("api", *port)).collect();
    let _projections = world.spawn("projections", 0);
    let workers = world.spawn("turns,tools", 0);
    let clients = ports.map(|port| world.client(&format!("http://127.0.0.1:{port}"), 0));
    for client in &clients {
        world::ready(client).await;
    }
    let (agent, tenant_id) = (world.agent(0, 1), world.tenant(0).id);
    let client = &clients[0];
    let sessions = sessions(client, &agent, 200).await;
    let bound = bound(client, &agent).await;
    let limit = bound * Decimal::from(37);
    budget(client, limit).await;

    let tracker = TaskTracker::new();
    let told = Arc::new(tokio::sync::Semaphore::new(0));
    let sent: Vec<_> = sessions
        .into_iter()
        .enumerate()
        .map(|(number, session)| {
            let (client, told) = (clients[number % 2].clone(), told.clone());
            tracker.spawn(async move {
                let answer = send(&client, &session, "Hello").await;
                told.add_permits(1);
                answer
            })
        })
        .collect();
    // In the middle of it.
    told.acquire_many(40).await.unwrap().forget();
    processes.remove(1).kill();
    workers.kill();
    let _workers = world.spawn("turns,tools", 0);
    let answers: Vec<Answer> = join_all(sent).await.into_iter().filter_map(Result::unwrap).collect();
    for answer in &answers {
        assert!([202, 402, 503].contains(&answer.status.as_u16()), "{answer:?}");
    }

    let spent = all_settled(client, tenant_id).await;
    assert!(spent <= limit, "{spent} of {limit}");
    assert_eq!(usd(&client.usage().await.body["total_cost_usd"]), spent);
    let jobs = client.get("/api/jobs?limit=1000").await;
    for answer in answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED) {
        assert!(
            jobs.rows().iter().any(|job| job["id"] == answer.body["id"]),
            "a promise is kept: {answer:?}"
        );
    }
    // All that is left can be spent: as many at once as have room, and not one more.
    let room = ((limit - spent) / bound).floor();
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    world.control("vendor_b", json!({ "mode": "stall" })).await;
    let mut accepted = Decimal::ZERO;
    loop {
        let answer = send(client, &client.session(&agent).await, "Hello").await.unwrap();
        if answer.status != StatusCode::ACCEPTED {
            answer.assert_problem(402, "budget_exceeded", "the first without room");
            break;
        }
        accepted += Decimal::ONE;
    }
    assert_eq!(accepted, room);
}

#[tokio::test]
async fn what_ended_is_settled_before_anybody_is_refused() {
    let (world, client) = World::start().await;
    let agent = world.agent(0, 0);
    let bound = bound(&client, &agent).await;
    // Room for one at a time, and for what a few of them really cost.
    budget(&client, bound + bound / Decimal::from(10)).await;
    let session = client.session(&agent).await;
    for number in 0..5 {
        let reply = client.say(&session, &format!("Point {number}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{number}: {reply:?}");
    }
}

#[tokio::test]
async fn a_request_that_the_budget_has_no_room_for_is_never_made() {
    let (world, client) = World::start().await;
    // A prompt that nobody looks up when a message comes in.
    let prompt = json!({ "name": "Long", "content": "Be kind. ".repeat(3_000) });
    let prompt = client.post("/api/system-prompts", prompt).await.text("id").to_owned();
    let agent = client.post("/api/agents", json!({ "name": "Desk", "system_prompt_id": prompt })).await;
    let agent = agent.text("id").to_owned();
    let bound = bound(&client, &agent).await;
    budget(&client, bound).await;
    let refused = client.say(&client.session(&agent).await, "Hello").await;
    refused.assert_problem(402, "budget_exceeded", "with its prompt it costs more");
    assert!(usd(&refused.body["required_usd"]) > bound, "{refused:?}");
    assert_eq!(usd(&refused.body["remaining_usd"]), bound);
    assert!(world.vendor_log("vendor_a").await.is_empty());
    let job = client.get(&format!("/api/jobs/{}", refused.text("job_id"))).await;
    assert_eq!((job.text("status"), job.body["error"]["code"].as_str()), ("failed", Some("budget_exceeded")));
    assert_eq!(all_settled(&client, world.tenant(0).id).await, Decimal::ZERO);

    budget(&client, usd(&refused.body["required_usd"])).await;
    let reply = client.say(&client.session(&agent).await, "Hello").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let asked = &world.vendor_requests("vendor_a").await[0];
    assert!(asked.to_string().contains("max_tokens"), "the answer has an end: {asked}");
}

#[tokio::test]
async fn no_more_messages_are_answered_at_once_than_the_limits_allow() {
    let mut world = World::services().await;
    let client = world.run(roles("api,projections")).await;
    let agent = world.agent(0, 0);
    put(&client, "/api/limits", json!({ "concurrent_turns": 2 })).await;
    let sessions = sessions(&client, &agent, 3).await;
    for session in &sessions[..2] {
        assert_eq!(send(&client, session, "Hello").await.unwrap().status, StatusCode::ACCEPTED);
    }
    let refused = send(&client, &sessions[2], "Hello").await.unwrap();
    refused.assert_problem(429, "concurrency_limit", "the third");
    assert_eq!(refused.header("retry-after"), "1");
    let stranger = client.with_key(&world.tenant(1).api_key);
    let other = stranger.session(&world.agent(1, 0)).await;
    assert_eq!(send(&stranger, &other, "Hello").await.unwrap().status, StatusCode::ACCEPTED);
    let _workers = world.spawn("turns,tools", 0);
    eventually("room for another", LIMIT, async || {
        let answer = send(&client, &sessions[2], "Hello").await.unwrap();
        (answer.status == StatusCode::ACCEPTED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_repeated_request_reserves_once() {
    let world = World::services().await;
    let client = world.run(roles("api,projections")).await;
    let agent = world.agent(0, 0);
    let bound = bound(&client, &agent).await;
    let session = client.session(&agent).await;
    let path = format!("/api/sessions/{session}/messages");
    let headers = [("Idempotency-Key", "order-17"), ("Prefer", "respond-async")];
    let say = async || client.post_with(&path, &json!({ "content": "Hello" }), &headers).await;
    say().await.assert_problem(402, "budget_exceeded", "before there is room");
    budget(&client, bound).await;
    let first = say().await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "a refusal is no answer that is given again: {first:?}");
    let again = say().await;
    assert_eq!((again.status, &again.body["id"]), (StatusCode::ACCEPTED, &first.body["id"]));
    assert_eq!(standing(&client, world.tenant(0).id).await, (Decimal::ZERO, bound));
}

#[tokio::test]
async fn each_budget_is_about_its_own() {
    let (world, client) = World::start().await;
    let (strict, free) = (world.agent(0, 0), world.agent(0, 1));
    let key = client.post("/api/keys", json!({ "name": "intern", "role": "developer" })).await;
    let intern = client.with_key(key.text("api_key"));
    for (scope, id) in [("agent", strict.as_str()), ("key", key.text("id"))] {
        let answer =
            put(&client, "/api/budgets", json!({ "scope": scope, "id": id, "monthly_limit_usd": 0 })).await;
        assert_eq!((answer.status, answer.text("scope")), (StatusCode::OK, scope), "{answer:?}");
    }
    let (to_strict, to_free) = (client.session(&strict).await, client.session(&free).await);
    client.say(&to_strict, "Hello").await.assert_problem(402, "budget_exceeded", "the agent's");
    assert_eq!(client.say(&to_free, "Hello").await.status, StatusCode::OK);
    intern.say(&to_free, "Hello").await.assert_problem(402, "budget_exceeded", "the key's");
    // What a key and an agent have spent is counted where it is asked for.
    put(&client, "/api/budgets", json!({ "scope": "key", "id": key.text("id"), "monthly_limit_usd": "1.5" }))
        .await;
    let reply = intern.say(&to_free, "Hello").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let budgets = client.get("/api/budgets").await;
    let of_key = budgets.rows().iter().find(|budget| budget["scope"] == "key").unwrap();
    assert_eq!(usd(&of_key["spent_usd"]), usd(&reply.body["cost_usd"]));
    assert_eq!((&of_key["alert_at"], &of_key["hard"]), (&json!([0.5, 0.8, 1.0]), &json!(true)));
    let month = Month::at(of_key["period_start"].as_str().unwrap().parse().unwrap(), Zone::UTC);
    assert_eq!(of_key["period_end"].as_str().unwrap().parse(), Ok(month.ends_at));

    // Removed, it refuses nobody.
    let path = format!("/api/budgets/{strict}");
    let remove = async || client.send(client.request(Method::DELETE, &path)).await.unwrap();
    assert_eq!(remove().await.body, json!({ "deleted": true }));
    remove().await.assert_problem(404, "not_found", "twice");
    assert_eq!(client.say(&to_strict, "Hello").await.status, StatusCode::OK);
}

#[tokio::test]
async fn thresholds_are_told_once_each_and_a_soft_budget_refuses_nobody() {
    let (world, client) = World::start().await;
    let (agent, tenant_id) = (world.agent(0, 0), world.tenant(0).id);
    let cost = usd(&client.say(&client.session(&agent).await, "Hello").await.body["cost_usd"]);
    // The first message was half of it and a little more.
    let limit = cost * Decimal::new(19, 1);
    let body = json!({
        "scope": "tenant", "monthly_limit_usd": limit.to_string(), "alert_at": [1, 0.5, "0.8"], "hard": false
    });
    let set = put(&client, "/api/budgets", body).await;
    assert_eq!(set.body["alert_at"], json!([0.5, 0.8, 1.0]), "{set:?}");
    let system = world.connect().await;
    let told = async || {
        let history = system.nats.log.read(&Aggregate::budgets(tenant_id), 0).await.unwrap();
        let alerts = history.into_iter().filter_map(|recorded| match recorded.event.payload {
            Payload::BudgetAlerted(alert) => Some(alert),
            _ => None,
        });
        alerts.collect::<Vec<_>>()
    };
    for _ in 0..3 {
        let reply = client.say(&client.session(&agent).await, "Hello").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    let alerts =
        eventually("three alerts", LIMIT, async || Some(told().await).filter(|told| told.len() == 3)).await;
    let thresholds: Vec<String> = alerts.iter().map(|alert| alert.threshold.to_string()).collect();
    assert_eq!(thresholds, ["0.5", "0.8", "1"]);
    assert!(alerts.iter().all(|alert| alert.id == tenant_id.0 && alert.spent_usd >= limit * alert.threshold));
    // Much more is spent, and nothing more is told: the next threshold that is told is of another budget.
    let other = json!({ "scope": "agent", "id": agent, "monthly_limit_usd": "0.000001", "alert_at": [0.1], "hard": false });
    put(&client, "/api/budgets", other).await;
    client.say(&client.session(&agent).await, "Hello").await;
    let alerts =
        eventually("one more", LIMIT, async || Some(told().await).filter(|told| told.len() > 3)).await;
    assert_eq!((alerts.len(), alerts[3].id.to_string()), (4, agent));
}

#[tokio::test]
async fn a_budget_is_checked_before_it_is_set() {
    let (world, client) = World::start().await;
    let nobody = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
    let (strangers_agent, stranger) = (world.agent(1, 0), world.tenant(1).id.to_string());
    for (body, status, code) in [
        (json!({ "scope": "agent", "id": nobody, "monthly_limit_usd": "1" }), 404, "not_found"),
        (json!({ "scope": "agent", "id": strangers_agent, "monthly_limit_usd": "1" }), 404, "not_found"),
        (json!({ "scope": "key", "id": nobody, "monthly_limit_usd": "1" }), 404, "not_found"),
        (json!({ "scope": "tenant", "id": stranger, "monthly_limit_usd": "1" }), 404, "not_found"),
        (json!({ "scope": "agent", "monthly_limit_usd": "1" }), 422, "validation_failed"),
        (json!({ "scope": "tenant" }), 422, "validation_failed"),
        (json!({ "scope": "tenant", "monthly_limit_usd": "much" }), 422, "validation_failed"),
        (json!({ "scope": "tenant", "monthly_limit_usd": "-1" }), 422, "validation_failed"),
        (json!({ "scope": "tenant", "monthly_limit_usd": "0.0000000000001" }), 422, "validation_failed"),
        (json!({ "scope": "tenant", "monthly_limit_usd": "1", "alert_at": [0] }), 422, "validation_failed"),
        (json!({ "scope": "tenant", "monthly_limit_usd": "1", "alert_at": [11] }), 422, "validation_failed"),
        (json!({ "scope": "all", "monthly_limit_usd": "1" }), 422, "validation_failed"),
        (json!({ "scope": "tenant", "monthly_limit_usd": "1", "limit": 1 }), 422, "unknown_field"),
    ] {
        put(&client, "/api/budgets", body.clone()).await.assert_problem(status, code, &body.to_string());
    }
    let developer = client.with_role("developer").await;
    let body = json!({ "scope": "tenant", "monthly_limit_usd": "1" });
    put(&developer, "/api/budgets", body).await.assert_problem(403, "forbidden", "a developer");
    assert_eq!(client.get("/api/budgets").await.body, json!([]));
    let number = put(&client, "/api/budgets", json!({ "scope": "tenant", "monthly_limit_usd": 0.1 })).await;
    assert_eq!(number.text("monthly_limit_usd"), "0.1");
}
