//! Seeing to one delivery: one attempt each time it is handed out, said in an event, and then the schedule.

use std::time::Duration;

use domain::webhooks::Secrets;
use events::webhook::{
    AbandonedReason, AttemptEnd, DeliveryAbandoned, DeliveryAttempted, DeliveryQueued, DisabledReason,
    QueuedFor, Recipient, WebhookDisabled,
};
use events::{Aggregate, Cause, Event, EventId, JobId, Payload, Sealed, TenantId, WebhookId};
use nats::consume::Delivery;
use nats::{AppendError, Expect, Failure, Handler};
use projections::keyring::KeyringError;
use projections::webhooks;
use secrecy::SecretString;
use vendors::webhooks::{Telling, Told};

use super::SOURCE;
use super::lines::{Lines, Turn, Went};
use super::recipients::Recipients;
use crate::{Workers, with_sources};

/// Before it is looked at again when NATS or Postgres is away: nothing was attempted, so nothing counts.
const AWAY: Duration = Duration::from_secs(1);
const GONE: u16 = 410;
/// The other side says that it is asked too much.
const TOO_MUCH: [u16; 3] = [429, 502, 504];

pub(super) struct Deliver {
    pub(super) workers: Workers,
    pub(super) recipients: Recipients,
    pub(super) lines: Lines,
}

/// Where it goes.
struct Address {
    url: String,
    secrets: Secrets,
}

/// Who is asked, or why nobody is.
type Found = Result<Address, AbandonedReason>;

impl Handler for Deliver {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        let queued = payload(delivery)?;
        let tenant_id = delivery.recorded.event.envelope.aggregate.tenant_id;
        let address = match self.address(tenant_id, queued).await? {
            Ok(address) => address,
            Err(reason) => return self.abandon(delivery, queued, reason).await,
        };
        if queued.queued_for == QueuedFor::Test {
            let told = self.tell(tenant_id, queued, &address).await?;
            return self.ended(delivery, queued, told).await;
        }
        // Whoever has no place yet asks nothing of Postgres either.
        let place = match self.lines.enter(&line_of(tenant_id, &queued.recipient, &address.url)).await {
            Turn::Now(place) => place,
            Turn::Later(after) => return Err(Failure::Later { after }),
        };
        if self.was_delivered(delivery, queued, tenant_id).await? {
            return Ok(());
        }
        let told = self.tell(tenant_id, queued, &address).await?;
        place.tell(went(&told), told.took);
        self.ended(delivery, queued, told).await
    }

    async fn give_up(&self, delivery: &Delivery, _: &str) -> Result<(), Failure> {
        self.abandon(delivery, payload(delivery)?, AbandonedReason::InternalError).await
    }
}

fn payload(delivery: &Delivery) -> Result<&DeliveryQueued, Failure> {
    match &delivery.recorded.event.payload {
        Payload::DeliveryQueued(queued) => Ok(queued),
        other => Err(Failure::Fatal { reason: format!("{} is no delivery", other.event_type()) }),
    }
}

/// Addresses that messages bring along stand in line by their host.
fn line_of(tenant_id: TenantId, recipient: &Recipient, url: &str) -> String {
    match recipient {
        Recipient::Endpoint(webhook_id) => webhook_id.to_string(),
        Recipient::Callback(_) => {
            let host = url.split('/').nth(2).unwrap_or_default();
            format!("{tenant_id} {host}")
        }
    }
}

fn went(told: &Told) -> Went {
    match (&told.error_code, told.status) {
        (None, _) => Went::Well,
        (Some(_), Some(status)) if TOO_MUCH.contains(&status) => Went::TooMuch(told.retry_after),
        (Some(_), _) => Went::Badly,
    }
}

/// Something of ours is away. Nothing was attempted, or what was cannot be said yet.
fn later(error: impl std::error::Error) -> Failure {
    tracing::warn!(error = %with_sources(&error), "a webhook waits");
    Failure::Later { after: AWAY }
}

fn keyring(error: KeyringError) -> Failure {
    match error {
        KeyringError::Unavailable(_) => later(error),
        error => Failure::Fatal { reason: with_sources(&error) },
    }
}

impl Deliver {
    /// Whether somebody else saw to it since it was queued: a worker that died before it could say so here, or whoever
    /// had it sent again by hand.
    async fn was_delivered(
        &self,
        delivery: &Delivery,
        queued: &DeliveryQueued,
        tenant_id: TenantId,
    ) -> Result<bool, Failure> {
        let is_first = delivery.generation == 1;
        if is_first {
            return Ok(false);
        }
        let position = delivery.recorded.position;
        webhooks::is_delivered(&self.workers.database, tenant_id, queued.delivery_id, position)
            .await
            .map_err(later)
    }

    async fn address(&self, tenant_id: TenantId, queued: &DeliveryQueued) -> Result<Found, Failure> {
        let (url, secrets) = match &queued.recipient {
            Recipient::Endpoint(webhook_id) => {
                let webhooks = self.recipients.endpoints(tenant_id).await.map_err(later)?;
                let Some(endpoint) = webhooks.endpoints.get(webhook_id) else {
                    return Ok(Err(AbandonedReason::Deleted));
                };
                if !endpoint.settings.is_active && queued.queued_for != QueuedFor::Test {
                    return Ok(Err(AbandonedReason::Disabled));
                }
                (endpoint.settings.url.clone(), endpoint.secrets.clone())
            }
            Recipient::Callback(callback) => {
                let opened = self.workers.keyring.open(tenant_id, callback.sealed_for, &callback.url).await;
                let Some(url) = opened.map_err(keyring)? else { return Ok(Err(AbandonedReason::Erased)) };
                let secrets = self.recipients.tenant_secrets(tenant_id).await.map_err(later)?;
                let secrets =
                    secrets.ok_or_else(|| Failure::Fatal { reason: "no such tenant".to_owned() })?;
                (url, secrets)
            }
        };
        Ok(Ok(Address { url, secrets }))
    }

    async fn opened(&self, tenant_id: TenantId, secrets: &Secrets) -> Result<Vec<SecretString>, Failure> {
        let mut opened = Vec::new();
        for secret in secrets.at(self.workers.clock.now()) {
            let text = self.workers.keyring.open(tenant_id, secret.sealed_for, &secret.value).await;
            let text = text.map_err(keyring)?;
            opened.push(
                text.ok_or_else(|| Failure::Fatal { reason: "the tenant has no key".to_owned() })?.into(),
            );
        }
        Ok(opened)
    }

    async fn tell(
        &self,
        tenant_id: TenantId,
        queued: &DeliveryQueued,
        address: &Address,
    ) -> Result<Told, Failure> {
        let id = queued.delivery_id.to_string();
        let (url, secrets) = (&address.url, self.opened(tenant_id, &address.secrets).await?);
        let telling =
            Telling { url, id: &id, at: self.workers.clock.now(), body: &queued.body, secrets: &secrets };
        let told = self.workers.webhooks.tell(&telling).await;
        told.map_err(|error| Failure::Fatal { reason: with_sources(&error) })
    }

    /// Says how the attempt went, and what follows.
    async fn ended(&self, delivery: &Delivery, queued: &DeliveryQueued, told: Told) -> Result<(), Failure> {
        let workers = &self.workers;
        let event = &delivery.recorded.event;
        let number = delivery.retries + 1;
        let now = workers.clock.now();
        let pause = match (&told.error_code, told.status) {
            (None, _) | (_, Some(GONE)) => None,
            _ if queued.queued_for == QueuedFor::Test => None,
            _ => workers.config.webhook_schedule.pause(queued.delivery_id, number, told.retry_after),
        };
        let end = match pause {
            _ if told.error_code.is_none() => AttemptEnd::Delivered,
            Some(pause) => AttemptEnd::Again { at: now + pause },
            None => AttemptEnd::Failed,
        };
        let attempt_id = EventId::new();
        let has_failed = end == AttemptEnd::Failed && queued.queued_for != QueuedFor::Test;
        let attempted = DeliveryAttempted {
            delivery_id: queued.delivery_id,
            webhook_id: queued.recipient.webhook_id(),
            number,
            started_at: now - told.took,
            duration_ms: u64::try_from(told.took.as_millis()).unwrap_or(u64::MAX),
            status: told.status,
            error_code: told.error_code.clone(),
            response: self.sealed(event, queued, attempt_id, &told.answer).await?,
            response_cut: told.answer_cut,
            end,
        };
        let cause = Cause::by(event, &workers.actor("webhooks"));
        let said = Event::new(attempt_id, now, SOURCE, event.envelope.aggregate, &cause, attempted);
        let position = workers.nats.log.append(&said, Expect::Anything).await.map_err(later)?;
        let _ = workers.nats.live.happened(JobId(queued.delivery_id.0), &said, position).await;
        if has_failed && let Some(webhook_id) = queued.recipient.webhook_id() {
            self.consider_disabling(event, queued, webhook_id, told.status).await?;
        }
        match pause {
            Some(pause) => {
                let reason = told.error_code.unwrap_or_default();
                Err(Failure::Retry { after: Some(pause), reason: format!("a webhook failed: {reason}") })
            }
            None => Ok(()),
        }
    }

    /// `None`: there is nothing, or its customer was erased.
    async fn sealed(
        &self,
        event: &Event,
        queued: &DeliveryQueued,
        attempt_id: EventId,
        answer: &str,
    ) -> Result<Option<Sealed>, Failure> {
        if answer.is_empty() {
            return Ok(None);
        }
        let tenant_id = event.envelope.aggregate.tenant_id;
        match self.workers.keyring.seal(tenant_id, queued.seal_with, attempt_id, answer).await {
            Ok(sealed) => Ok(Some(sealed)),
            Err(KeyringError::Erased { .. }) => Ok(None),
            Err(error) => Err(keyring(error)),
        }
    }

    /// Switches an endpoint off that is gone, or that took nothing since the failed delivery was queued.
    async fn consider_disabling(
        &self,
        event: &Event,
        queued: &DeliveryQueued,
        webhook_id: WebhookId,
        status: Option<u16>,
    ) -> Result<(), Failure> {
        let (workers, tenant_id) = (&self.workers, event.envelope.aggregate.tenant_id);
        let since = event.envelope.time;
        let reason = match status {
            Some(GONE) => DisabledReason::Gone,
            _ => {
                let took = webhooks::has_delivered_since(&workers.database, tenant_id, webhook_id, since);
                if took.await.map_err(later)? {
                    return Ok(());
                }
                DisabledReason::Failing
            }
        };
        let aggregate = Aggregate::webhooks(tenant_id);
        let cause = Cause::by(event, &workers.actor("webhooks"));
        let disabled = WebhookDisabled { webhook_id, reason, delivery_id: queued.delivery_id };
        let disabled = Event::new(EventId::new(), workers.clock.now(), SOURCE, aggregate, &cause, disabled);
        loop {
            let webhooks = self.recipients.endpoints(tenant_id).await.map_err(later)?;
            let Some(endpoint) = webhooks.endpoints.get(&webhook_id) else { return Ok(()) };
            // One that was mended meanwhile has another chance.
            let was_changed = reason == DisabledReason::Failing && endpoint.updated_at > since;
            if !endpoint.settings.is_active || was_changed {
                return Ok(());
            }
            match workers.nats.log.append(&disabled, Expect::Last(webhooks.last_sequence)).await {
                Ok(_) => {
                    tracing::info!(%tenant_id, %webhook_id, reason = reason.as_str(), "a webhook was disabled");
                    return Ok(());
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(later(error)),
            }
        }
    }

    async fn abandon(
        &self,
        delivery: &Delivery,
        queued: &DeliveryQueued,
        reason: AbandonedReason,
    ) -> Result<(), Failure> {
        let event = &delivery.recorded.event;
        let (delivery_id, webhook_id) = (queued.delivery_id, queued.recipient.webhook_id());
        let cause = Cause::by(event, &self.workers.actor("webhooks"));
        // Said twice by two copies of the delivery, it is one event.
        let named = format!("abandoned {}", event.envelope.id);
        let id = EventId(uuid::Uuid::new_v5(&delivery_id.0, named.as_bytes()));
        let abandoned = DeliveryAbandoned { delivery_id, webhook_id, reason };
        let aggregate = event.envelope.aggregate;
        let said = Event::new(id, self.workers.clock.now(), SOURCE, aggregate, &cause, abandoned);
        let position = self.workers.nats.log.append(&said, Expect::Anything).await.map_err(later)?;
        let _ = self.workers.nats.live.happened(JobId(delivery_id.0), &said, position).await;
        Ok(())
    }
}
