//! What becomes of deliveries.

use events::webhook::{AttemptEnd, QueuedFor};
use events::{DeliveryId, Event, WebhookId};
use projections::webhooks::{self, DeliveryFilter, DeliveryStatus};
use projections::{Database, Page};

use crate::project;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;

const ALL: Page = Page { limit: 100, after: None };

/// Status, attempts since it was queued, and attempts on record.
async fn told(story: &Story, database: &Database, id: DeliveryId) -> (DeliveryStatus, u32, usize) {
    let delivery = webhooks::delivery(database, story.tenant_id, id).await.unwrap().unwrap();
    let attempts = webhooks::attempts(database, story.tenant_id, &[id.0]).await.unwrap();
    (delivery.status, delivery.attempts, attempts.get(&id).map_or(0, Vec::len))
}

#[tokio::test]
async fn what_arrived_stays_so_until_it_is_sent_again_by_hand() {
    let test = TestDatabase::start().await;
    let (log, mut story) = (MemoryLog::new(1), Story::new());
    let (to, id) = (Some(WebhookId::new()), DeliveryId::new());
    let mut so_far: Vec<Event> = story.setup();
    so_far.push(story.queued(to, id, QueuedFor::Event));
    so_far.push(story.told(to, id, 1, AttemptEnd::Delivered));
    let arrived = log.append_all(0, &so_far);
    project(&test.database, &log, arrived).await;
    assert_eq!(told(&story, &test.database, id).await, (DeliveryStatus::Delivered, 1, 1));
    let queued = events::Position { sequence: arrived.sequence - 1, ..arrived };
    let is_delivered =
        async |position| webhooks::is_delivered(&test.database, story.tenant_id, id, position).await.unwrap();
    assert!(is_delivered(queued).await && !is_delivered(arrived).await);

    // A copy of it that a dying worker had under way, and one that a second reader queued.
    let late = [story.told(to, id, 1, AttemptEnd::Failed), story.queued(to, id, QueuedFor::Event)];
    project(&test.database, &log, log.append_all(0, &late)).await;
    assert_eq!(told(&story, &test.database, id).await, (DeliveryStatus::Delivered, 1, 2));

    let again = [
        story.queued(to, id, QueuedFor::Redelivery),
        story.told(to, id, 1, AttemptEnd::Again { at: story.time() }),
    ];
    project(&test.database, &log, log.append_all(0, &again)).await;
    assert_eq!(told(&story, &test.database, id).await, (DeliveryStatus::Pending, 1, 3));
}

#[tokio::test]
async fn deliveries_are_found_by_endpoint_status_and_time() {
    let test = TestDatabase::start().await;
    let (log, mut story) = (MemoryLog::new(1), Story::new());
    let mut events = story.setup();
    events.extend(story.webhooks());
    project(&test.database, &log, log.append_all(0, &events)).await;
    let (database, tenant_id) = (&test.database, story.tenant_id);
    let endpoints = webhooks::webhooks(database, tenant_id, ALL).await.unwrap();
    let [endpoint] = &endpoints[..] else { panic!("{endpoints:?}") };
    assert!(endpoint.settings.is_active && endpoint.disabled.is_none() && endpoint.version == 2);
    let found = async |webhook_id, status| {
        let filter = DeliveryFilter { webhook_id, status };
        webhooks::deliveries(database, tenant_id, filter, ALL).await.unwrap()
    };
    assert_eq!(found(None, None).await.len(), 4);
    assert_eq!(found(Some(endpoint.id), None).await.len(), 3);
    let failed = found(Some(endpoint.id), Some(DeliveryStatus::Failed)).await;
    let codes: Vec<&str> = failed.iter().filter_map(|delivery| delivery.error_code.as_deref()).collect();
    assert_eq!(codes, ["endpoint_disabled", "timeout"]);

    // A test is not sent again with the others.
    let beginning = failed[1].created_at;
    let again = webhooks::failed_since(database, tenant_id, endpoint.id, beginning, 10).await.unwrap();
    assert_eq!((again.deliveries.len(), again.more), (1, false));
    let later = story.time();
    let none = webhooks::failed_since(database, tenant_id, endpoint.id, later, 10).await.unwrap();
    assert!(none.deliveries.is_empty());
    let took =
        async |since| webhooks::has_delivered_since(database, tenant_id, endpoint.id, since).await.unwrap();
    assert!(took(events[0].envelope.time).await && !took(later).await);
}
