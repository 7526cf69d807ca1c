//! Who is told of an event: one reader per partition goes through the log in order and queues a delivery for each
//! recipient.
//!
//! Every process with this role has a reader, and one of them works: whoever moves the checkpoint. One that finds it moved
//! by another stands by, and takes over when the checkpoint stays while the log goes on. Two that work at once, for a
//! moment, queue the same deliveries, which the log recognises by their ids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use domain::Webhooks;
use domain::webhooks::catalogue::{CONCERNED, announcements};
use domain::webhooks::{Announcement, PublicEvent};
use events::webhook::{Callback, DeliveryQueued, QueuedFor, Recipient};
use events::{Aggregate, Cause, DeliveryId, Event, EventId, Family, Payload, Recorded, SessionId, TenantId};
use futures_util::StreamExt;
use nats::checkpoints::{Checkpoint, CheckpointError};
use nats::reader::Followed;
use nats::{AppendError, Expect, ReadError};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::SOURCE;
use super::recipients::Recipients;
use crate::{Workers, with_sources};

/// The reader's name among the checkpoints.
const READER: &str = "webhooks";
/// Messages taken at once.
const BATCH: usize = 500;
/// The checkpoint is moved this often at most; what a process that dies had done since is done again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// A checkpoint that stays for this long while there is something to read has nobody who moves it.
const STAND_BY: Duration = Duration::from_secs(3);
/// Before it is tried again after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a reader stopped.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

pub(super) async fn run(
    workers: Workers,
    recipients: Recipients,
    partition: u16,
    shutdown: CancellationToken,
) {
    let fan_out = FanOut { workers, recipients, partition };
    while !shutdown.is_cancelled() {
        match fan_out.work(&shutdown).await {
            Ok(()) => return,
            Err(Stopped::Checkpoint(CheckpointError::Moved { .. })) => {
                tracing::info!(partition, "another process tells webhooks; standing by");
                shutdown.run_until_cancelled(fan_out.stand_by()).await;
            }
            Err(error) => {
                tracing::warn!(partition, error = %with_sources(&error), "webhooks wait for the log");
                shutdown.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }
}

struct FanOut {
    workers: Workers,
    recipients: Recipients,
    partition: u16,
}

impl FanOut {
    /// Reads on until `shutdown`, or until something is in the way.
    async fn work(&self, shutdown: &CancellationToken) -> Result<(), Stopped> {
        let log = &self.workers.nats.log;
        let mut checkpoint = self.workers.nats.checkpoints.get(READER, self.partition).await?;
        let mut at = checkpoint.sequence;
        let followed = log.follow_types(self.partition, at, &CONCERNED).await?;
        let mut batches = followed.ready_chunks(BATCH);
        let mut ticks = interval(CHECKPOINT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel-safe: a batch is taken whole or not at all, a tick and a token lose nothing.
            let batch = tokio::select! {
                () = shutdown.cancelled() => {
                    self.move_to(checkpoint, at).await?;
                    return Ok(());
                }
                _ = ticks.tick() => {
                    checkpoint = self.move_to(checkpoint, at).await?;
                    continue;
                }
                batch = batches.next() => batch,
            };
            let Some(batch) = batch else {
                return Err(ReadError::Unavailable("the log's stream ended".into()).into());
            };
            let mut broken = None;
            let mut found = Vec::new();
            let mut through = at;
            for followed in batch {
                match followed {
                    Ok(followed) => {
                        through = followed.sequence();
                        if let Followed::Found(recorded) = followed {
                            found.push(*recorded);
                        }
                    }
                    Err(error) => broken = broken.or(Some(error)),
                }
            }
            self.tell(&found).await?;
            at = through;
            if let Some(error) = broken {
                self.move_to(checkpoint, at).await?;
                return Err(error.into());
            }
        }
    }

    async fn move_to(&self, checkpoint: Checkpoint, sequence: u64) -> Result<Checkpoint, CheckpointError> {
        if sequence == checkpoint.sequence {
            return Ok(checkpoint);
        }
        self.workers.nats.checkpoints.advance(READER, self.partition, checkpoint, sequence).await
    }

    /// Until nobody moves the checkpoint any more though there is something to read.
    async fn stand_by(&self) {
        let (log, checkpoints) = (&self.workers.nats.log, &self.workers.nats.checkpoints);
        let mut seen = None;
        loop {
            let last = log.last_of_partition(self.partition).await;
            if let (Ok(last), Ok(now)) = (last, checkpoints.get(READER, self.partition).await) {
                if seen == Some(now.sequence) {
                    return;
                }
                seen = (last > now.sequence).then_some(now.sequence);
            }
            sleep(STAND_BY).await;
        }
    }

    /// Queues what there is to tell of these events.
    async fn tell(&self, found: &[Recorded]) -> Result<(), Stopped> {
        let mut endpoints: HashMap<TenantId, Arc<Webhooks>> = HashMap::new();
        let mut queued = Vec::new();
        for Recorded { event, .. } in found {
            let told = announcements(event);
            if told.is_empty() {
                continue;
            }
            let tenant_id = event.envelope.aggregate.tenant_id;
            let webhooks = match endpoints.entry(tenant_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.recipients.endpoints(tenant_id).await?),
            };
            let to_tell = self.told(event, webhooks, &told);
            if to_tell.is_empty() {
                continue;
            }
            let seal_with = self.person(event).await?;
            for delivery in to_tell {
                let event = self.queued(event, delivery, seal_with);
                queued.push(self.workers.nats.log.send(&event, Expect::Anything).await);
            }
        }
        for pending in queued {
            pending.acknowledged().await?;
        }
        Ok(())
    }

    /// Who is told what of an event.
    fn told<'a>(
        &self,
        event: &Event,
        webhooks: &Webhooks,
        told: &'a [Announcement],
    ) -> Vec<(Recipient, &'a Announcement)> {
        let mut to_tell = Vec::new();
        for announcement in told {
            let (kind, at) = (announcement.event, event.envelope.time);
            let endpoints =
                webhooks.that_want(kind, at).map(|(webhook_id, _)| Recipient::Endpoint(webhook_id));
            to_tell.extend(endpoints.map(|recipient| (recipient, announcement)));
            if let Some(callback) = callback(event).filter(|_| is_of_a_job(kind)) {
                to_tell.push((Recipient::Callback(callback.clone()), announcement));
            }
        }
        to_tell
    }

    fn queued(&self, event: &Event, delivery: (Recipient, &Announcement), seal_with: Uuid) -> Event {
        let (recipient, Announcement { event: kind, data }) = delivery;
        let envelope = &event.envelope;
        let tenant_id = envelope.aggregate.tenant_id;
        let told = recipient.webhook_id().map_or(tenant_id.0, Uuid::from);
        let delivery_id = DeliveryId::of(envelope.id, envelope.time, kind.name(), told);
        let aggregate = Aggregate::webhook_deliveries(tenant_id, recipient.webhook_id());
        let queued = DeliveryQueued {
            delivery_id,
            recipient,
            queued_for: QueuedFor::Event,
            event_type: kind.name().to_owned(),
            event_id: envelope.id,
            body: kind.body(envelope.time, data),
            seal_with,
        };
        let cause = Cause::by(event, &self.workers.actor("webhooks"));
        Event::new(EventId(delivery_id.0), self.workers.clock.now(), SOURCE, aggregate, &cause, queued)
    }

    /// The data key of the customer that an event is about; of none, the tenant's own.
    async fn person(&self, event: &Event) -> Result<Uuid, ReadError> {
        let aggregate = event.envelope.aggregate;
        let of_session = match &event.payload {
            Payload::ReplyCompleted(reply) => return Ok(reply.content.key_id),
            Payload::CallStarted(started) => return Ok(started.customer_key_id.0),
            Payload::CallEnded(ended) => Some(ended.session_id),
            Payload::CallSummarized(summarized) => Some(summarized.session_id),
            _ => (aggregate.family == Family::Session).then_some(SessionId(aggregate.id)),
        };
        let own = aggregate.tenant_id.0;
        let Some(session_id) = of_session else { return Ok(own) };
        let first = self.workers.nats.log.first(&Aggregate::session(aggregate.tenant_id, session_id)).await?;
        Ok(match first.map(|first| first.event.payload) {
            Some(Payload::SessionCreated(created)) => created.customer_key_id.0,
            _ => own,
        })
    }
}

/// The address that came with the message that an event ends.
fn callback(event: &Event) -> Option<&Callback> {
    match &event.payload {
        Payload::ReplyCompleted(reply) => reply.callback.as_ref(),
        Payload::TurnFailed(failed) => failed.callback.as_ref(),
        _ => None,
    }
}

/// How a message ends.
fn is_of_a_job(event: PublicEvent) -> bool {
    matches!(event, PublicEvent::JobCompleted | PublicEvent::JobFailed | PublicEvent::JobCancelled)
}
