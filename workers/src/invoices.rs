//! Months are closed when they are over, one tenant's after the other. What is on an invoice is said in the log, by the
//! places up to which the log is read, so that it is the same whenever it is added up again.

use std::time::Duration;

use chrono::TimeDelta;
use domain::{Zone, invoices as months};
use events::billing::InvoiceClosed;
use events::{Aggregate, Cause, Clock, CorrelationId, Event, Origin, Payload, Position};
use nats::{AppendError, Expect, Log};
use projections::ledger::invoices::{self, Bounds, Due, Earlier};
use projections::{Database, Progress, Projection};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

const SOURCE: &str = "vocalbridge/invoices";
const EVERY: Duration = Duration::from_secs(600);
/// Tenants that are asked for at once.
const PAGE: i64 = 1_000;
/// How long the ledger may need to come to the log's end; then it is tried again with the next look.
const LEDGER_PATIENCE: Duration = Duration::from_secs(60);
/// RFC 9562's nil trace: nobody asked for it.
const NO_TRACE: &str = "00-00000000000000000000000000000001-0000000000000001-00";

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What closing months needs.
pub struct Closing {
    pub log: Log,
    pub database: Database,
    pub progress: Progress,
    pub clock: Clock,
    /// How long a month that is over waits for what is late.
    pub grace: TimeDelta,
}

/// Looks every ten minutes until `shutdown` for months that can be closed. Several processes may do so: the log takes one
/// close of a month.
pub async fn run(closing: Closing, shutdown: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(Err(error)) = shutdown.run_until_cancelled(closing.look()).await {
            tracing::warn!(%error, "months that are over stay open until the next look");
        }
    }
}

impl Closing {
    async fn look(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let due = invoices::due(&self.database, self.clock.now() - self.grace, after, PAGE).await?;
            let Some(last) = due.last() else { return Ok(()) };
            after = Some(last.tenant_id);
            for tenant in &due {
                while self.close_next(tenant).await? {}
            }
        }
    }

    /// Closes the tenant's next month; `false`: it is not over for long enough, or somebody else closes it.
    async fn close_next(&self, tenant: &Due) -> Result<bool, Error> {
        let aggregate = Aggregate::billing(tenant.tenant_id);
        // Before the log's ends are asked for: so these are never before those of the last close.
        let history = self.log.read(&aggregate, 0).await?;
        let last = history.iter().rev().find_map(|recorded| match &recorded.event.payload {
            Payload::InvoiceClosed(closed) => Some(closed),
            _ => None,
        });
        let zone = Zone::named(&tenant.time_zone).unwrap_or(Zone::UTC);
        let month = months::next_month(last, tenant.created_at, zone);
        if month.ends_at + self.grace > self.clock.now() {
            return Ok(false);
        }
        let through = self.ends().await?;
        let earlier = last.map_or(Earlier::None, |last| Earlier::Closed(last.through.clone()));
        let bounds = Bounds { month, through: Some(through.clone()), earlier };
        let lines = invoices::lines(&self.database, tenant.tenant_id, &bounds).await?;
        let lines = lines.ok_or("the ledger has forgotten its newest entries")?;
        let closed = InvoiceClosed {
            month: month.to_string(),
            time_zone: tenant.time_zone.clone(),
            starts_at: month.starts_at,
            ends_at: month.ends_at,
            through,
            entries: lines.iter().map(|line| line.entries).sum(),
            total_usd: lines.iter().map(|line| line.cost_usd).sum(),
        };
        let origin = Origin {
            correlation_id: CorrelationId::new(),
            actor: "system".to_owned(),
            traceparent: NO_TRACE.to_owned(),
            key_id: None,
        };
        let cause = Cause { origin, causation_id: None };
        let id = InvoiceClosed::id(tenant.tenant_id, &closed.month);
        let event = Event::new(id, self.clock.now(), SOURCE, aggregate, &cause, closed);
        let expected = history.last().map_or(0, |recorded| recorded.position.sequence);
        match self.log.append(&event, Expect::Last(expected)).await {
            Ok(_) => {
                let tenant_id = tenant.tenant_id;
                tracing::info!(%tenant_id, %month, "a month is closed");
                Ok(true)
            }
            Err(AppendError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the log ends in each partition, once the ledger has come there.
    async fn ends(&self) -> Result<Vec<u64>, Error> {
        let mut ends = Vec::new();
        for partition in 0..self.log.partitions() {
            let sequence = self.log.last_of_partition(partition).await?;
            let position = Position { partition, sequence };
            if !self.progress.reached(Projection::Ledger.name(), position, LEDGER_PATIENCE).await {
                return Err(format!("the ledger has not come to {position}").into());
            }
            ends.push(sequence);
        }
        Ok(ends)
    }
}
