//! Finished jobs leave the list after a while; what was said and what it cost stay.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use events::{Clock, Payload};
use reqwest::StatusCode;
use serde_json::json;
use tests::truth::{self, Truth};
use tests::{World, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_finished_long_ago_are_listed_no_more_also_when_the_table_is_made_again() {
    let world = World::with_environment(&[("JOB_RETENTION_DAYS", "7"), ("NATS_PARTITIONS", "3")]).await;
    let client = world.run("api,turns,tools,projections".parse().unwrap()).await;
    let mut sessions = Vec::new();
    let mut jobs = Vec::new();
    for _ in 0..6 {
        let session = client.session(&world.agent(0, 0)).await;
        let reply = client.say(&session, "Hello").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        jobs.push(reply.text("job_id").to_owned());
        sessions.push(session);
    }
    let waits = client.session(&world.agent(0, 0)).await;
    let usage = client.usage().await.body;
    assert_eq!(client.get("/api/jobs").await.rows().len(), jobs.len());

    // A process that starts a day before they are too old says nothing, one that starts a day after says it.
    for (days, left) in [(6, jobs.len()), (8, 0)] {
        let now = move || now() + TimeDelta::days(days);
        world.run_with("api,projections".parse().unwrap(), |system| system.clock = Clock::from_fn(now)).await;
        eventually("the jobs that are left", LIMIT, async || {
            (client.get("/api/jobs").await.rows().len() == left).then_some(())
        })
        .await;
    }
    for job in &jobs {
        client.get(&format!("/api/jobs/{job}")).await.assert_problem(404, "not_found", "an old job");
        let cancelled = client.post(&format!("/api/jobs/{job}/cancel"), json!({})).await;
        cancelled.assert_problem(404, "not_found", "an old job");
    }
    for session in &sessions {
        let transcript = client.get(&format!("/api/sessions/{session}")).await;
        assert_eq!(transcript.body["messages"].as_array().unwrap().len(), 2, "{transcript:?}");
    }
    assert_eq!(client.usage().await.body["total_cost_usd"], usage["total_cost_usd"]);
    // What came since is listed as ever.
    let reply = client.say(&waits, "Hello").await;
    assert_eq!(client.get("/api/jobs").await.rows()[0]["id"], reply.body["job_id"]);
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    let events = Truth::read(&system).await.events;
    let said = events.iter().filter(|event| matches!(event.payload, Payload::JobsRetired(_)));
    let said: Vec<_> = said.map(|event| event.envelope.time).collect();
    assert!(!said.is_empty() && said.iter().all(|at| *at > now() + TimeDelta::days(7)), "{said:?}");
    truth::projections_are_what_the_log_says(&system).await;
}

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}
