//! Many events to many endpoints, one of them dead, with workers that are killed meanwhile.
//!
//! `VOCALBRIDGE_TEST_EVENTS=10000` makes it the full size.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use events::session::SessionEnded;
use events::{Aggregate, Cause, CorrelationId, Event, EventId, Origin, SessionId};
use nats::Expect;
use serde_json::json;
use tests::endpoint::Told;
use tests::{Endpoint, World, eventually, world};

const ENDPOINTS: usize = 20;
/// Requests that one worker has under way to one endpoint: what a kill may lose sight of.
const UNDER_WAY: usize = 8;
const UNACKNOWLEDGED: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(1_800);

fn events() -> usize {
    std::env::var("VOCALBRIDGE_TEST_EVENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_reaches_every_healthy_endpoint_though_one_is_dead_and_workers_are_killed() {
    let events = events();
    let mut world = World::with_environment(&[("VOCALBRIDGE_ALLOW_PRIVATE_URLS", "true")]).await;
    let port = world::free_port();
    let client = world.client(&format!("http://127.0.0.1:{port}"), 0);
    let _others = [world.spawn("api", port), world.spawn("projections", 0)];
    let mut workers = vec![world.spawn("webhooks", 0), world.spawn("webhooks", 0)];
    world::ready(&client).await;

    let mut endpoints = Vec::new();
    for _ in 1..ENDPOINTS {
        endpoints.push(Endpoint::start(|_, _| Some(Told::status(200))).await);
    }
    let dead = format!("http://127.0.0.1:{}/", world::free_port());
    for url in endpoints.iter().map(|endpoint| &endpoint.url).chain([&dead]) {
        let made = client.post("/api/webhooks", json!({ "url": url, "events": ["session.ended"] })).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    let started = Instant::now();
    let sessions = end_sessions(&world, events).await;
    let appended = started.elapsed();
    let arrived = || endpoints.iter().map(Endpoint::requests).sum::<usize>();
    let wanted = events * endpoints.len();
    let mut kills = 0;
    for share in [4, 2] {
        eventually("some arrivals", LIMIT, async || (arrived() >= wanted / share).then_some(())).await;
        workers.remove(0).kill();
        workers.push(world.spawn("webhooks", 0));
        kills += 1;
    }
    let missing =
        || endpoints.iter().map(|endpoint| sessions.len() - sessions_told(endpoint).len()).sum::<usize>();
    eventually("the last arrival", LIMIT, async || (arrived() >= wanted && missing() == 0).then_some(()))
        .await;
    let took = started.elapsed();

    let mut duplicates = 0;
    for endpoint in &endpoints {
        let told = sessions_told(endpoint);
        for session in &sessions {
            let ids = told.get(session).unwrap_or_else(|| panic!("{session} was never told"));
            let under: HashSet<&String> = ids.iter().collect();
            assert_eq!(under.len(), 1, "{session} was told under several ids");
            duplicates += ids.len() - 1;
        }
        assert_eq!(told.len(), sessions.len());
    }
    println!(
        "{events} events to {} healthy endpoints and a dead one in {took:?} (appended in {appended:?}), \
         {duplicates} duplicates of {wanted}",
        endpoints.len()
    );
    let tolerated = (wanted / 100).max(kills * UNDER_WAY * ENDPOINTS);
    assert!(duplicates <= tolerated, "{duplicates} of {wanted} arrived twice");
    let shown = client.get("/api/webhooks").await;
    assert!(shown.rows().iter().all(|webhook| webhook["is_active"] == true), "{shown:?}");
}

/// Appends the ends of sessions, which nobody needs to have opened.
async fn end_sessions(world: &World, count: usize) -> HashSet<String> {
    let system = world.connect().await;
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "operator".to_owned(),
        traceparent: String::new(),
        key_id: None,
    };
    let cause = Cause { origin, causation_id: None };
    let (mut sessions, mut sent) = (HashSet::new(), Vec::new());
    for number in 1..=count {
        let session_id = SessionId::new();
        let aggregate = Aggregate::session(world.tenant(0).id, session_id);
        let ended = SessionEnded { reason: "requested".to_owned() };
        let event = Event::new(EventId::new(), system.clock.now(), "test", aggregate, &cause, ended);
        sent.push(system.nats.log.send(&event, Expect::Anything).await);
        sessions.insert(session_id.to_string());
        // No more than that may be on their way at once.
        if sent.len() == UNACKNOWLEDGED || number == count {
            for pending in sent.drain(..) {
                pending.acknowledged().await.unwrap();
            }
        }
    }
    sessions
}

/// The ids under which an endpoint was told of each session.
fn sessions_told(endpoint: &Endpoint) -> HashMap<String, Vec<String>> {
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for asked in endpoint.asked() {
        let session = asked.body["data"]["session_id"].as_str().unwrap().to_owned();
        told.entry(session).or_default().push(asked.headers["webhook-id"].clone());
    }
    told
}
