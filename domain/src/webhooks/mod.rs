//! A tenant's webhooks: who wants to be told of what ([`Webhooks`]), what there is to tell ([`catalogue`]), and when it is
//! tried again ([`schedule`]).

pub mod catalogue;
pub mod document;
pub mod schedule;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::webhook::{DisabledReason, WebhookSettings};
use events::{EventId, Payload, Recorded, Sealed, WebhookId};

pub use catalogue::{Announcement, PublicEvent};
pub use schedule::Schedule;

/// In an endpoint's events: all of them.
pub const EVERYTHING: &str = "*";

/// The fold of a tenant's endpoints up to and with `last_sequence`, without the deleted ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Webhooks {
    /// 0: nothing happened yet.
    pub last_sequence: u64,
    pub endpoints: BTreeMap<WebhookId, Endpoint>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub version: u32,
    pub settings: WebhookSettings,
    pub secrets: Secrets,
    /// Why and when we switched it off; `None`: we did not, or it is on again.
    pub disabled: Option<(DisabledReason, DateTime<Utc>)>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What signs for one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Secrets {
    current: SealedSecret,
    previous: Option<(SealedSecret, DateTime<Utc>)>,
}

/// A secret, and the event that it is sealed for.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedSecret {
    pub value: Sealed,
    pub sealed_for: EventId,
}

impl Secrets {
    fn new(value: &Sealed, sealed_for: EventId) -> Self {
        Self { current: SealedSecret { value: value.clone(), sealed_for }, previous: None }
    }

    fn rotate(&mut self, value: &Sealed, sealed_for: EventId, previous_until: DateTime<Utc>) {
        let current = SealedSecret { value: value.clone(), sealed_for };
        let previous = std::mem::replace(&mut self.current, current);
        self.previous = Some((previous, previous_until));
    }

    /// Until then the secret before the present one signs too; `None`: there was none.
    pub fn previous_until(&self) -> Option<DateTime<Utc>> {
        self.previous.as_ref().map(|(_, until)| *until)
    }

    /// Those that sign at `now`, the newest first.
    pub fn at(&self, now: DateTime<Utc>) -> impl Iterator<Item = &SealedSecret> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        std::iter::once(&self.current).chain(previous.map(|(secret, _)| secret))
    }

    /// The tenant's own, for addresses that messages bring along; `None`: there is no such tenant.
    pub fn of_tenant(history: &[Recorded]) -> Option<Self> {
        let mut secrets = None;
        for Recorded { event, .. } in history {
            match (&event.payload, &mut secrets) {
                (Payload::TenantCreated(created), _) => {
                    secrets = Some(Self::new(&created.webhook_secret, event.envelope.id));
                }
                (Payload::TenantWebhookSecretRotated(rotated), Some(secrets)) => {
                    secrets.rotate(&rotated.webhook_secret, event.envelope.id, rotated.previous_until);
                }
                _ => {}
            }
        }
        secrets
    }
}

impl Endpoint {
    fn new(settings: &WebhookSettings, secret: &Sealed, sealed_for: EventId, at: DateTime<Utc>) -> Self {
        Self {
            version: 1,
            settings: settings.clone(),
            secrets: Secrets::new(secret, sealed_for),
            disabled: None,
            created_at: at,
            updated_at: at,
        }
    }

    /// Whether it is told of events of this kind.
    pub fn wants(&self, event: PublicEvent) -> bool {
        let names = |wanted: &String| wanted == EVERYTHING || wanted == event.name();
        self.settings.is_active && self.settings.events.iter().any(names)
    }
}

impl Webhooks {
    /// The fold of `history`.
    pub fn of(history: &[Recorded]) -> Self {
        let mut webhooks = Self::default();
        history.iter().for_each(|recorded| webhooks.evolve(recorded));
        webhooks
    }

    /// Takes in one event; those at or before `last_sequence` have been taken in already.
    pub fn evolve(&mut self, recorded: &Recorded) {
        if recorded.position.sequence <= self.last_sequence {
            return;
        }
        self.last_sequence = recorded.position.sequence;
        let (id, at) = (recorded.event.envelope.id, recorded.event.envelope.time);
        match &recorded.event.payload {
            Payload::WebhookCreated(created) => {
                let endpoint = Endpoint::new(&created.settings, &created.secret, id, at);
                self.endpoints.insert(created.webhook_id, endpoint);
            }
            Payload::WebhookChanged(changed) => self.change(changed.webhook_id, at, |endpoint| {
                endpoint.version = changed.version;
                endpoint.settings = changed.settings.clone();
                if changed.settings.is_active {
                    endpoint.disabled = None;
                }
            }),
            Payload::WebhookSecretRotated(rotated) => self.change(rotated.webhook_id, at, |endpoint| {
                endpoint.secrets.rotate(&rotated.secret, id, rotated.previous_until);
            }),
            Payload::WebhookDisabled(disabled) => self.change(disabled.webhook_id, at, |endpoint| {
                endpoint.settings.is_active = false;
                endpoint.disabled = Some((disabled.reason, at));
            }),
            Payload::WebhookDeleted(deleted) => {
                self.endpoints.remove(&deleted.webhook_id);
            }
            _ => {}
        }
    }

    fn change(&mut self, webhook_id: WebhookId, at: DateTime<Utc>, change: impl FnOnce(&mut Endpoint)) {
        if let Some(endpoint) = self.endpoints.get_mut(&webhook_id) {
            endpoint.updated_at = at;
            change(endpoint);
        }
    }

    /// Those that are told of an event of this kind that happened at `at`: not those that were made later.
    pub fn that_want(
        &self,
        event: PublicEvent,
        at: DateTime<Utc>,
    ) -> impl Iterator<Item = (WebhookId, &Endpoint)> {
        let wants = move |endpoint: &Endpoint| endpoint.created_at <= at && endpoint.wants(event);
        self.endpoints
            .iter()
            .filter(move |(_, endpoint)| wants(endpoint))
            .map(|(id, endpoint)| (*id, endpoint))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
