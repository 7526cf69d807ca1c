//! Correcting what was charged, one re-pricing after the other.
//!
//! What a re-pricing does to an entry follows from the log alone: the entry, what re-pricings with a lower number have
//! corrected of it, and the prices. So it may be begun again by anybody, and while a worker that was thought dead still
//! works: the corrections have the same ids and say the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::prices::price_in;
use events::repricing::{
    LedgerAdjusted, RepricingCompleted, RepricingDifference, RepricingFailed, RepricingRequested,
    TenantRepriced,
};
use events::{Aggregate, Cause, Event, EventId, JobId, Payload, Position, Recorded, RepricingId, TenantId};
use nats::consume::{self, Delivery, Limits};
use nats::topology::REPRICINGS;
use nats::{Expect, Failure, Handler};
use projections::database::Page;
use projections::ledger::repricings::{self, PricedEntry, Span};
use projections::{Projection, configuration};
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Workers, away};

const SOURCE: &str = "vocalbridge/repricings";
/// Entries that are looked at and corrected at once.
const PAGE: i64 = 1_000;
/// How long the tables may need to come to the log's end; then it is tried again later.
const LEDGER_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the worker until `shutdown`, then finishes what it holds.
pub async fn run(workers: Workers, shutdown: CancellationToken) {
    let (log, clock) = (workers.nats.log.clone(), workers.clock.clone());
    // One after the other; a second process only stands by.
    let limits = Limits { running: 1, running_per_tenant: 1, ..workers.config.limits };
    consume::run(log, clock, REPRICINGS, limits, Arc::new(Repricings { workers }), shutdown).await;
}

struct Repricings {
    workers: Workers,
}

/// A re-pricing that is under way.
struct Open {
    requested: RepricingRequested,
    cause: Cause,
}

/// What is charged and what is right, by kind, vendor and model.
type Differences = BTreeMap<(&'static str, String, String), RepricingDifference>;

impl Handler for Repricings {
    /// Also finishes those before it: their corrections must stand first.
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        let Payload::RepricingRequested(wanted) = &delivery.recorded.event.payload else {
            let event_type = delivery.recorded.event.payload.event_type();
            return Err(Failure::Fatal { reason: format!("{event_type} is no re-pricing") });
        };
        while let Some(open) = self.first_open().await? {
            if open.requested.number > wanted.number {
                break;
            }
            self.reprice(&open).await?;
        }
        Ok(())
    }

    async fn give_up(&self, delivery: &Delivery, reason: &str) -> Result<(), Failure> {
        let event = &delivery.recorded.event;
        let Payload::RepricingRequested(requested) = &event.payload else { return Ok(()) };
        let open = Open { requested: requested.clone(), cause: Cause::by(event, &self.actor()) };
        let repricing_id = requested.repricing_id;
        let failed = RepricingFailed { repricing_id, reason: reason.to_owned() };
        self.end(&open, failed.into()).await
    }
}

impl Repricings {
    fn actor(&self) -> String {
        self.workers.actor("repricings")
    }

    /// The first that has no end.
    async fn first_open(&self) -> Result<Option<Open>, Failure> {
        let history = self.workers.nats.log.read(&Aggregate::repricings(), 0).await.map_err(away)?;
        let ended = |id: RepricingId| {
            history.iter().any(|recorded| match &recorded.event.payload {
                Payload::RepricingCompleted(completed) => completed.repricing_id == id,
                Payload::RepricingFailed(failed) => failed.repricing_id == id,
                _ => false,
            })
        };
        Ok(history.iter().find_map(|Recorded { event, .. }| match &event.payload {
            Payload::RepricingRequested(requested) if !ended(requested.repricing_id) => {
                Some(Open { requested: requested.clone(), cause: Cause::by(event, &self.actor()) })
            }
            _ => None,
        }))
    }

    async fn reprice(&self, open: &Open) -> Result<(), Failure> {
        self.ledger_is_there().await?;
        let repricing_id = open.requested.repricing_id;
        let history =
            self.workers.nats.log.read(&Aggregate::repricing(repricing_id), 0).await.map_err(away)?;
        let is_done = |tenant_id: TenantId| {
            history.iter().any(|recorded| {
                matches!(&recorded.event.payload, Payload::TenantRepriced(done) if done.tenant_id == tenant_id)
            })
        };
        for tenant_id in self.tenants(open).await? {
            if !is_done(tenant_id) {
                self.reprice_tenant(open, tenant_id).await?;
            }
        }
        self.end(open, RepricingCompleted { repricing_id }.into()).await
    }

    /// Waits until the ledger has all that the log has: corrections build on those before them.
    async fn ledger_is_there(&self) -> Result<(), Failure> {
        let Workers { nats, progress, .. } = &self.workers;
        for partition in 0..nats.log.partitions() {
            let sequence = nats.log.last_of_partition(partition).await.map_err(away)?;
            let position = Position { partition, sequence };
            if !progress.reached(Projection::Ledger.name(), position, LEDGER_PATIENCE).await {
                let reason = format!("the ledger has not come to {position}");
                return Err(Failure::Retry { after: None, reason });
            }
        }
        Ok(())
    }

    async fn tenants(&self, open: &Open) -> Result<Vec<TenantId>, Failure> {
        if let Some(tenant_id) = open.requested.tenant_id {
            return Ok(vec![tenant_id]);
        }
        let (mut tenants, mut after): (Vec<TenantId>, Option<Uuid>) = (Vec::new(), None);
        loop {
            let page = Page { limit: PAGE, after };
            let found = configuration::tenants(&self.workers.database, page).await.map_err(away)?;
            let Some(last) = found.last() else { return Ok(tenants) };
            after = Some(last.id.0);
            tenants.extend(found.into_iter().map(|tenant| tenant.id));
        }
    }

    async fn reprice_tenant(&self, open: &Open, tenant_id: TenantId) -> Result<(), Failure> {
        let RepricingRequested { repricing_id, number, from, to, prices, .. } = &open.requested;
        let mut providers: Vec<String> = prices.iter().map(|price| price.provider.clone()).collect();
        providers.sort_unstable();
        providers.dedup();
        let span = Span { tenant_id, number: *number, from: *from, to: *to, providers: &providers };
        let (mut differences, mut last) = (Differences::new(), None);
        loop {
            let page = repricings::entries(&self.workers.database, &span, last.as_ref(), PAGE);
            let page = page.await.map_err(away)?;
            self.correct(open, tenant_id, &page, &mut differences).await?;
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        let differences = differences.into_values().collect();
        let repriced = TenantRepriced { repricing_id: *repricing_id, tenant_id, differences };
        let id = EventId(Uuid::new_v5(&repricing_id.0, tenant_id.0.as_bytes()));
        let aggregate = Aggregate::repricing(*repricing_id);
        let event = Event::new(id, self.workers.clock.now(), SOURCE, aggregate, &open.cause, repriced);
        self.workers.nats.log.append(&event, Expect::Anything).await.map(|_| ()).map_err(away)
    }

    /// Adds up what is wrong with `page`, and corrects it.
    async fn correct(
        &self,
        open: &Open,
        tenant_id: TenantId,
        page: &[PricedEntry],
        differences: &mut Differences,
    ) -> Result<(), Failure> {
        let mut pending = Vec::new();
        for entry in page {
            let Some(price) = price_in(&open.requested.prices, entry.kind, &entry.provider, &entry.model)
            else {
                continue;
            };
            let after_usd = entry.work.cost(price);
            if after_usd == entry.before_usd {
                continue;
            }
            add(differences, entry, after_usd);
            if !open.requested.dry_run && !entry.is_corrected {
                let event = self.correction(open, tenant_id, entry, after_usd);
                pending.push(self.workers.nats.log.send(&event, Expect::Anything).await);
            }
        }
        for sent in pending {
            sent.acknowledged().await.map_err(away)?;
        }
        Ok(())
    }

    fn correction(&self, open: &Open, tenant_id: TenantId, entry: &PricedEntry, after_usd: Decimal) -> Event {
        let RepricingRequested { repricing_id, number, .. } = &open.requested;
        let adjusted = LedgerAdjusted {
            repricing_id: *repricing_id,
            repricing_number: *number,
            entry_id: entry.id,
            entry_occurred_at: Some(entry.occurred_at),
            session_id: entry.session_id,
            job_id: entry.job_id,
            agent_id: entry.agent_id,
            channel: entry.channel,
            provider: entry.provider.clone(),
            model: entry.model.clone(),
            delta_usd: (after_usd - entry.before_usd).normalize(),
            price_version: format!("repricing:{number}"),
        };
        let id = EventId(Uuid::new_v5(&repricing_id.0, entry.id.0.as_bytes()));
        let aggregate = Aggregate::ledger(tenant_id);
        Event::new(id, self.workers.clock.now(), SOURCE, aggregate, &open.cause, adjusted)
    }

    /// Appends the end and tells whoever waits.
    async fn end(&self, open: &Open, payload: Payload) -> Result<(), Failure> {
        let repricing_id = open.requested.repricing_id;
        let id = EventId(Uuid::new_v5(&repricing_id.0, b"end"));
        let aggregate = Aggregate::repricings();
        let event = Event::new(id, self.workers.clock.now(), SOURCE, aggregate, &open.cause, payload);
        let position = self.workers.nats.log.append(&event, Expect::Anything).await.map_err(away)?;
        let _ = self.workers.nats.live.happened(JobId(repricing_id.0), &event, position).await;
        Ok(())
    }
}

fn add(differences: &mut Differences, entry: &PricedEntry, after_usd: Decimal) {
    let key = (entry.kind.as_str(), entry.provider.clone(), entry.model.clone());
    let difference = differences.entry(key).or_insert_with(|| RepricingDifference {
        kind: entry.kind,
        provider: entry.provider.clone(),
        model: entry.model.clone(),
        entries: 0,
        before_usd: Decimal::ZERO,
        after_usd: Decimal::ZERO,
    });
    difference.entries += 1;
    difference.before_usd += entry.before_usd;
    difference.after_usd += after_usd;
}
