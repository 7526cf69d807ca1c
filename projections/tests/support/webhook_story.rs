//! Webhooks of a plausible installation, and what was sent to them.

use chrono::TimeDelta;
use events::tenant::WebhookSecretRotated as OwnSecretRotated;
use events::webhook::*;
use events::*;
use uuid::Uuid;

use super::story::Story;

impl Story {
    fn of_webhooks(&mut self, payload: impl Into<Payload>) -> Event {
        self.event(Aggregate::webhooks(self.tenant_id), Uuid::now_v7(), payload)
    }

    pub fn delivery(&mut self, webhook_id: Option<WebhookId>, payload: impl Into<Payload>) -> Event {
        self.event(Aggregate::webhook_deliveries(self.tenant_id, webhook_id), Uuid::now_v7(), payload)
    }

    pub fn queued(&mut self, to: Option<WebhookId>, delivery_id: DeliveryId, queued_for: QueuedFor) -> Event {
        let callback = || Callback { url: self.sealed(30), sealed_for: EventId::new() };
        let queued = DeliveryQueued {
            delivery_id,
            recipient: to.map_or_else(|| Recipient::Callback(callback()), Recipient::Endpoint),
            queued_for,
            event_type: "session.ended".to_owned(),
            event_id: EventId::new(),
            body: "{\"type\":\"session.ended\0\"}".to_owned(),
            seal_with: self.tenant_id.0,
        };
        self.delivery(to, queued)
    }

    pub fn told(
        &mut self,
        to: Option<WebhookId>,
        delivery_id: DeliveryId,
        number: u32,
        end: AttemptEnd,
    ) -> Event {
        let has_arrived = end == AttemptEnd::Delivered;
        let attempted = DeliveryAttempted {
            delivery_id,
            webhook_id: to,
            number,
            started_at: self.time(),
            duration_ms: 12,
            status: has_arrived.then_some(200),
            error_code: (!has_arrived).then(|| "timeout".to_owned()),
            response: has_arrived.then(|| self.sealed(5)),
            response_cut: false,
            end,
        };
        self.delivery(to, attempted)
    }

    /// One more endpoint with deliveries of every kind, and one delivery to a message's own address.
    pub fn webhooks(&mut self) -> Vec<Event> {
        let (webhook_id, deleted) = (WebhookId::new(), WebhookId::new());
        let settings = |is_active| WebhookSettings {
            url: "https://crm.example.com/".to_owned(),
            description: "The\0 CRM".to_owned(),
            events: vec!["*".to_owned()],
            is_active,
        };
        let to = Some(webhook_id);
        let [arrived, lost, dropped, own] = [(); 4].map(|()| DeliveryId::new());
        let until = self.time() + TimeDelta::hours(1);
        let again = |story: &Self| AttemptEnd::Again { at: story.time() + TimeDelta::seconds(5) };
        let secret = self.sealed(10);
        let mut events = vec![];
        for webhook_id in [webhook_id, deleted] {
            let created = WebhookCreated { webhook_id, settings: settings(true), secret: secret.clone() };
            events.push(self.of_webhooks(created));
        }
        events.push(self.of_webhooks(WebhookDeleted { webhook_id: deleted }));
        let rotated = WebhookSecretRotated { webhook_id, secret: secret.clone(), previous_until: until };
        events.push(self.of_webhooks(rotated));
        events.push(self.queued(to, arrived, QueuedFor::Event));
        let end = again(self);
        events.push(self.told(to, arrived, 1, end));
        events.push(self.told(to, arrived, 2, AttemptEnd::Delivered));
        // What a worker that died had queued twice, or tried once more, changes nothing.
        events.push(self.queued(to, arrived, QueuedFor::Event));
        events.push(self.told(to, arrived, 1, AttemptEnd::Failed));
        events.push(self.queued(to, lost, QueuedFor::Event));
        events.push(self.told(to, lost, 1, AttemptEnd::Failed));
        let disabled = WebhookDisabled { webhook_id, reason: DisabledReason::Failing, delivery_id: lost };
        events.push(self.of_webhooks(disabled));
        events.push(self.queued(to, dropped, QueuedFor::Test));
        let reason = AbandonedReason::Disabled;
        let abandoned = DeliveryAbandoned { delivery_id: dropped, webhook_id: to, reason };
        events.push(self.delivery(to, abandoned));
        events.push(self.of_webhooks(WebhookChanged { webhook_id, version: 2, settings: settings(true) }));
        events.push(self.queued(to, arrived, QueuedFor::Redelivery));
        events.push(self.queued(None, own, QueuedFor::Event));
        let end = again(self);
        events.push(self.told(None, own, 1, end));
        let rotated = OwnSecretRotated { webhook_secret: secret, previous_until: until };
        events.push(self.event(Aggregate::tenant(self.tenant_id), Uuid::now_v7(), rotated));
        events
    }
}
