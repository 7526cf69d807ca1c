//! Requests per minute.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::world::{free_port, ready};
use tests::{Client, World, eventually};

const LIMIT: Duration = Duration::from_secs(30);

/// A key that may send so many requests a minute.
async fn key(admin: &Client, per_minute: u32) -> Client {
    let key = json!({ "name": "a", "role": "developer", "requests_per_minute": per_minute });
    let key = admin.post("/api/keys", key).await;
    assert_eq!((key.status.as_u16(), &key.body["requests_per_minute"]), (201, &json!(per_minute)), "{key:?}");
    admin.with_key(key.text("api_key"))
}

async fn put(client: &Client, path: &str, body: Value) -> Answer {
    let answer = client.send(client.request(Method::PUT, path).json(&body)).await.unwrap();
    assert!(answer.status.is_success(), "{answer:?}");
    answer
}

#[track_caller]
fn assert_limited(answer: &Answer, policy: &str, per_minute: u32) {
    answer.assert_problem(429, "rate_limited", policy);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer:?}");
    assert_eq!(answer.header("ratelimit-policy"), format!("\"{policy}\";q={per_minute};w=60"));
    // Where there is less than a second left, one says so and the other rounds up.
    let told = answer.header("ratelimit");
    let fits = |left: u64| told == format!("\"{policy}\";r=0;t={left}");
    assert!(fits(wait) || (wait == 1 && fits(0)), "{told}, retry after {wait}");
}

#[tokio::test]
async fn a_key_of_its_own_limit_is_told_how_much_is_left_and_then_to_wait() {
    let (_world, admin) = World::start().await;
    let client = key(&admin, 3).await;
    for remaining in [2, 1, 0] {
        let answer = client.get("/api/agents").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=60");
        assert!(answer.header("ratelimit").starts_with(&format!("\"key\";r={remaining};t=")), "{answer:?}");
    }
    assert_limited(&client.get("/api/agents").await, "key", 3);
    // Nobody else is held up, and what is refused for its role counts as well.
    assert_eq!(admin.get("/api/agents").await.status, 200);
    let other = key(&admin, 1).await;
    assert_eq!(other.get("/api/keys").await.status, 403);
    assert_limited(&other.get("/api/agents").await, "key", 1);
}

#[tokio::test]
async fn tenants_and_agents_have_limits_and_a_limited_message_is_not_accepted() {
    let (world, admin) = World::start().await;
    let neighbour = admin.with_key(&world.tenant(1).api_key);
    let agent = world.agent(0, 0);
    let session = admin.session(&agent).await;
    let patch = json!({ "limits": { "requests_per_minute": 1 } });
    let patched =
        admin.send(admin.request(Method::PATCH, &format!("/api/agents/{agent}")).json(&patch)).await;
    assert_eq!(patched.unwrap().status, 200);
    assert_eq!(admin.say(&session, "Hello").await.status, 200);
    assert_limited(&admin.say(&session, "Hello again").await, "agent", 1);
    let transcript = admin.get(&format!("/api/sessions/{session}")).await;
    assert_eq!(transcript.body["messages"].as_array().unwrap().len(), 2, "reading is not the agent's");
    let other = admin.session(&world.agent(0, 1)).await;
    assert_eq!(admin.say(&other, "Hello").await.status, 200);

    put(&admin, "/api/limits", json!({ "requests_per_minute": 2 })).await;
    let limited = eventually("the tenant's limit", LIMIT, async || {
        let answer = admin.get("/api/agents").await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    assert_limited(&limited, "tenant", 2);
    assert_eq!(neighbour.get("/api/agents").await.status, 200);
    assert_eq!(admin.with_key(&world.credentials.operator_key).get("/api/tenants").await.status, 200);
}

/// What two processes may let through of a limit, over what a minute has and what was refilled meanwhile.
const TOLERANCE: f64 = 0.1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_together_let_through_the_limit() {
    const PER_MINUTE: u32 = 200;
    let mut world = World::services().await;
    let (one, other) = (free_port(), free_port());
    let _one = world.spawn("api,projections", one);
    let _other = world.spawn("api", other);
    let [one, other] = [one, other].map(|port| world.client(&format!("http://127.0.0.1:{port}"), 0));
    ready(&one).await;
    ready(&other).await;
    for round in 0..2 {
        let here = key(&one, PER_MINUTE).await;
        let there = other.with_key(here.key());
        eventually("the key in the other process", LIMIT, async || {
            (there.get("/api/tenants/me").await.status == 200).then_some(())
        })
        .await;
        let started = Instant::now();
        // Ten clients at each, all as fast as they can: many times the limit.
        let clients = (0..10).flat_map(|_| [here.clone(), there.clone()]).map(async |client| {
            let mut through = 0;
            for _ in 0..40 {
                match client.get("/api/models").await {
                    answer if answer.status == 200 => through += 1,
                    answer => assert_limited(&answer, "key", PER_MINUTE),
                }
            }
            through
        });
        let through: u32 = join_all(clients).await.iter().sum();
        let refilled = started.elapsed().as_secs_f64() / 60.0 * f64::from(PER_MINUTE);
        let most = f64::from(PER_MINUTE) * (1.0 + TOLERANCE) + refilled;
        println!("round {round}: {through} of 800 through in {:?}, at most {most:.0}", started.elapsed());
        assert!(f64::from(through) <= most, "{through} of at most {most}");
        assert!(f64::from(through) >= f64::from(PER_MINUTE) * 0.9, "{through}: less than the limit");
    }
}
