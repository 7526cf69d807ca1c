//! The log read whole, and what must be true of it, of the tables and of the vendors' own records.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use cli::replay;
use cli::system::System;
use events::{Entry, Event, EventId, JobId, Payload, Position, SessionId, TenantId};
use futures_util::StreamExt;
use projections::{Progress, Projection};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Client, World};

/// Every event of the log, by partition and sequence.
pub struct Truth {
    pub events: Vec<Event>,
}

/// What the log says of one accepted message.
#[derive(Debug, Default)]
pub struct Story {
    pub session: Option<SessionId>,
    pub endings: Vec<Payload>,
}

impl Truth {
    pub async fn read(system: &System) -> Self {
        let log = &system.nats.log;
        let mut events = Vec::new();
        for partition in 0..log.partitions() {
            let last = log.last_of_partition(partition).await.unwrap();
            let mut entries = log.follow(partition, 0).await.unwrap();
            let mut sequence = 0;
            while sequence < last {
                let Entry { position, event, .. } = entries.next().await.unwrap().unwrap();
                assert_eq!(position.sequence, sequence + 1, "the log has a gap");
                sequence = position.sequence;
                events.push(event.unwrap());
            }
        }
        Self { events }
    }

    /// Every accepted message by its job.
    pub fn stories(&self) -> BTreeMap<JobId, Story> {
        let mut stories: BTreeMap<JobId, Story> = BTreeMap::new();
        for event in &self.events {
            match &event.payload {
                Payload::MessageReceived(received) => {
                    let story = stories.entry(received.job_id).or_default();
                    assert!(story.session.is_none(), "job {} was accepted twice", received.job_id);
                    story.session = Some(SessionId(event.envelope.aggregate.id));
                }
                ending @ Payload::ReplyCompleted(reply) => {
                    stories.entry(reply.job_id).or_default().endings.push(ending.clone());
                }
                ending @ Payload::TurnFailed(failed) => {
                    stories.entry(failed.job_id).or_default().endings.push(ending.clone());
                }
                _ => {}
            }
        }
        stories
    }

    /// Exactly one terminal event per accepted message, after it.
    pub fn every_message_ended_once(&self) {
        for (job, story) in self.stories() {
            assert!(story.session.is_some(), "job {job} ended without having been accepted");
            assert_eq!(story.endings.len(), 1, "job {job}: {:?}", story.endings);
        }
    }

    /// At most one turn under way per session; only a later attempt of the same turn may come in between.
    pub fn turns_never_overlap(&self) {
        let mut under_way: HashMap<uuid::Uuid, (events::TurnId, u32)> = HashMap::new();
        for event in &self.events {
            let session = event.envelope.aggregate.id;
            match &event.payload {
                Payload::TurnStarted(started) => {
                    if let Some((turn, attempt)) = under_way.get(&session) {
                        assert_eq!(*turn, started.turn_id, "two turns of session {session} overlap");
                        assert!(started.attempt > *attempt);
                    }
                    under_way.insert(session, (started.turn_id, started.attempt));
                }
                Payload::ReplyCompleted(reply) => ends(&mut under_way, session, reply.turn_id),
                Payload::TurnFailed(failed) => ends(&mut under_way, session, failed.turn_id),
                _ => {}
            }
        }
        assert!(under_way.is_empty(), "turns without an end: {under_way:?}");
    }

    /// What was billed, by tenant.
    pub fn billed(&self) -> HashMap<TenantId, Decimal> {
        let mut billed: HashMap<TenantId, Decimal> = HashMap::new();
        let mut attempts: BTreeSet<EventId> = BTreeSet::new();
        for event in &self.events {
            let lines = match &event.payload {
                Payload::ReplyCompleted(reply) => {
                    let sum: Decimal = reply.billed.iter().map(|line| line.metered.cost_usd).sum();
                    assert_eq!(reply.cost_usd, sum, "a reply's cost is not the sum of its bill");
                    &reply.billed
                }
                Payload::TurnFailed(failed) => &failed.billed,
                _ => continue,
            };
            for line in lines {
                assert!(attempts.insert(line.attempt_id), "attempt {} was billed twice", line.attempt_id);
                *billed.entry(event.envelope.aggregate.tenant_id).or_default() += line.metered.cost_usd;
            }
        }
        billed
    }

    /// Ids of the vendor requests that the log knows.
    pub fn attempts(&self) -> BTreeSet<String> {
        let attempts =
            self.events.iter().filter(|event| matches!(event.payload, Payload::VendorAttempted(_)));
        attempts.map(|event| event.envelope.id.to_string()).collect()
    }
}

fn ends(
    under_way: &mut HashMap<uuid::Uuid, (events::TurnId, u32)>,
    session: uuid::Uuid,
    turn: events::TurnId,
) {
    let started = under_way.remove(&session);
    assert_eq!(
        started.map(|(turn, _)| turn),
        Some(turn),
        "a turn of session {session} ended that was not under way"
    );
}

/// The usage that the api shows is what the log billed, to the last digit.
pub async fn the_ledger_is_what_was_billed(world: &World, base_url: &str, truth: &Truth) {
    let billed = truth.billed();
    for (index, tenant) in world.credentials.tenants.iter().enumerate() {
        let client = world.client(base_url, index);
        let usage = client.get("/api/analytics/usage?start_date=2020-01-01&end_date=2100-01-01").await;
        let total: Decimal = usage.text("total_cost_usd").parse().unwrap();
        assert_eq!(total, billed.get(&tenant.id).copied().unwrap_or_default(), "{}: {usage:?}", tenant.name);
    }
}

/// The transcript shows each message of the session once, in the log's order, with its reply behind it.
pub async fn the_transcript_is_in_order(client: &Client, truth: &Truth, session: &str) {
    let mut expected = Vec::new();
    for event in truth.events.iter().filter(|event| event.envelope.aggregate.id.to_string() == session) {
        match &event.payload {
            Payload::MessageReceived(received) => expected.push(received.message_id.to_string()),
            Payload::ReplyCompleted(reply) => expected.push(reply.message_id.to_string()),
            _ => {}
        }
    }
    let answer = client.get(&format!("/api/sessions/{session}")).await;
    let messages = answer.body["messages"].as_array().unwrap();
    let shown: Vec<&str> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(shown, expected, "the transcript of {session}");
    assert!(messages.iter().all(|message| message["content"].is_string()));
}

/// Every request that the log knows was really made, and once; answers those that only the vendors know: requests of
/// workers that were killed before they could tell.
pub fn untold_requests(truth: &Truth, vendors: &[Vec<Value>]) -> usize {
    let mut made = BTreeSet::new();
    for request in vendors.iter().flatten() {
        let id = request["request_id"].as_str().unwrap().to_owned();
        assert!(made.insert(id.clone()), "request {id} was made twice");
    }
    let told = truth.attempts();
    let invented: Vec<_> = told.difference(&made).collect();
    assert!(invented.is_empty(), "attempts that no vendor saw: {invented:?}");
    made.len() - told.len()
}

/// Waits until every projection stands where the log ends.
pub async fn projections_are_level(system: &System) {
    let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
    let progress = Progress::new(system.database.clone());
    tasks.spawn({
        let (progress, end) = (progress.clone(), end.clone());
        async move { progress.run(end).await }
    });
    for partition in 0..system.nats.log.partitions() {
        let sequence = system.nats.log.last_of_partition(partition).await.unwrap();
        for projection in Projection::ALL {
            let position = Position { partition, sequence };
            let level = progress.reached(projection.name(), position, Duration::from_secs(60)).await;
            assert!(level, "{} lags", projection.name());
        }
    }
    end.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Every projection rebuilt from the first event equals the live one, row by row.
pub async fn projections_are_what_the_log_says(system: &System) {
    for report in replay::replay(system, &[], false).await.unwrap() {
        assert!(report.differences.is_empty(), "{}: {:?}", report.projection, report.differences);
    }
}
