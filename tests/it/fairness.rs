//! One tenant's flood does not slow another.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tests::{Client, World, world};
use tokio_util::task::TaskTracker;

const QUIET_MESSAGES: usize = 40;
const FLOOD_SESSIONS: usize = 40;
const FLOOD_PER_SESSION: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_tenant_stays_within_twice_its_solo_latency_while_another_floods() {
    // Few places per tenant, so that the flood really queues.
    let settings = [("WORKER_MAX_RUNNING", "32"), ("WORKER_MAX_RUNNING_PER_TENANT", "2")];
    let mut world = World::with_environment(&settings).await;
    world.control("vendor_a", json!({ "latency_ms": 200 })).await;
    let ports = [world::free_port(), world::free_port()];
    let _apis = ports.map(|port| world.spawn("api", port));
    let _others = ["workers", "workers", "projections"].map(|roles| world.spawn(roles, 0));
    let at = |api: usize, tenant: usize| world.client(&format!("http://127.0.0.1:{}", ports[api]), tenant);
    for api in 0..2 {
        world::ready(&at(api, 0)).await;
    }
    // The flood is to queue, not to be refused.
    let flooder = at(0, 0);
    let limits = json!({ "concurrent_turns": 2 * FLOOD_SESSIONS * FLOOD_PER_SESSION });
    let raised = flooder.send(flooder.request(Method::PUT, "/api/limits").json(&limits)).await.unwrap();
    assert_eq!(raised.status, 200, "{raised:?}");
    let quiet = at(1, 1);
    let session = quiet.session(&world.agent(1, 0)).await;
    quiet.say(&session, "Hello").await;
    let solo = p99(&quiet, &session).await;

    let tracker = TaskTracker::new();
    let flooding: Vec<_> = (0..FLOOD_SESSIONS)
        .map(|number| {
            let (client, agent) = (at(number % 2, 0), world.agent(0, 0));
            tracker.spawn(async move {
                let session = client.session(&agent).await;
                for _ in 0..FLOOD_PER_SESSION {
                    let path = format!("/api/sessions/{session}/messages");
                    let request = client.request(Method::POST, &path).header("Prefer", "respond-async");
                    let answer = client.send(request.json(&json!({ "content": "More" }))).await.unwrap();
                    // Who floods may be told to come later.
                    assert!([202, 503].contains(&answer.status.as_u16()), "{answer:?}");
                }
            })
        })
        .collect();
    for flood in flooding {
        flood.await.unwrap();
    }
    let flooded = p99(&quiet, &session).await;
    let jobs = flooder.get("/api/jobs?limit=1000").await;
    let left = jobs.body.as_array().unwrap().iter().filter(|job| job["status"] == "queued").count();
    println!("solo {solo:?}, flooded {flooded:?}, {left} of the flood still queued");
    assert!(left > 0, "the flood was over before the quiet tenant was measured");
    assert!(flooded <= solo * 2, "solo {solo:?}, flooded {flooded:?}");
}

async fn p99(client: &Client, session: &str) -> Duration {
    let mut latencies = Vec::new();
    for number in 0..QUIET_MESSAGES {
        let started = Instant::now();
        let answer = client.say(session, &format!("Point {number}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        latencies.push(started.elapsed());
    }
    latencies.sort();
    latencies[(latencies.len() * 99).div_ceil(100) - 1]
}
