//! Telling when a budget's thresholds are reached: an event for each, once a month.
//!
//! Whoever adds to a bill says so ([`Alerts::spent`]); a moment later the tenant's budgets are looked at. What was told
//! stands in the budgets' own history, so that of several processes one tells. A process that dies before it has looked
//! leaves that to the next one that spends something for the tenant.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::budget::{BudgetAlerted, BudgetScope};
use events::{Aggregate, Cause, CorrelationId, Event, EventId, Origin, Payload, Recorded, TenantId};
use nats::{AppendError, Expect};
use projections::reservations::Standing;
use rust_decimal::Decimal;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Workers, with_sources};

const SOURCE: &str = "vocalbridge/budgets";
/// A tenant that spends all the time is looked at so often.
const REST: Duration = Duration::from_millis(250);
/// Alerts that could not be told are tried again after this time.
const PAUSE: Duration = Duration::from_secs(5);

/// The tenants that have spent something since their budgets were looked at.
#[derive(Clone, Default)]
pub(crate) struct Alerts(Arc<Spenders>);

#[derive(Default)]
struct Spenders {
    tenants: Mutex<HashSet<TenantId>>,
    news: Notify,
}

impl Alerts {
    /// Something is on the tenant's bill.
    pub(crate) fn spent(&self, tenant_id: TenantId) {
        self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant_id);
        self.0.news.notify_one();
    }

    async fn next(&self) -> HashSet<TenantId> {
        loop {
            let spenders =
                std::mem::take(&mut *self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner));
            if !spenders.is_empty() {
                return spenders;
            }
            self.0.news.notified().await;
        }
    }
}

/// Looks at the budgets of whoever spends, until `shutdown` and once more.
pub async fn run(workers: Workers, shutdown: CancellationToken) {
    let endless = async {
        loop {
            look(&workers).await;
            sleep(REST).await;
        }
    };
    // Whom a cancelled look was about is told of by whoever spends next; nothing is told by halves.
    shutdown.run_until_cancelled(endless).await;
}

async fn look(workers: &Workers) {
    for tenant_id in workers.alerts.next().await {
        if let Err(reason) = tell(workers, tenant_id).await {
            tracing::warn!(%tenant_id, reason, "a tenant's budgets could not be looked at");
            workers.alerts.spent(tenant_id);
            sleep(PAUSE).await;
        }
    }
}

/// Appends an event for each threshold that was reached and not told.
async fn tell(workers: &Workers, tenant_id: TenantId) -> Result<(), String> {
    let standings = workers.budgets.standings(tenant_id).await;
    let (month, standings) = standings.map_err(|error| with_sources(&error))?;
    let period = month.to_string();
    let reached: Vec<BudgetAlerted> =
        standings.iter().flat_map(|standing| reached(standing, &period)).collect();
    if reached.is_empty() {
        return Ok(());
    }
    let aggregate = Aggregate::budgets(tenant_id);
    let mut history = workers.nats.log.read(&aggregate, 0).await.map_err(|error| with_sources(&error))?;
    for alert in reached {
        while !is_told(&history, &alert) {
            let event = Event::new(
                alert_id(tenant_id, &alert),
                workers.clock.now(),
                SOURCE,
                aggregate,
                &cause(workers),
                alert.clone(),
            );
            let last = history.last().map_or(0, |recorded| recorded.position.sequence);
            match workers.nats.log.append(&event, Expect::Last(last)).await {
                Ok(position) => {
                    tracing::info!(%tenant_id, scope = alert.scope.as_str(), "a budget's threshold is reached");
                    history.push(Recorded { position, event });
                }
                Err(AppendError::Conflict { .. }) => {
                    let news = workers.nats.log.read(&aggregate, last).await;
                    history.extend(news.map_err(|error| with_sources(&error))?);
                }
                Err(error) => return Err(with_sources(&error)),
            }
        }
    }
    Ok(())
}

/// The thresholds that `standing` has come to, the lowest first.
fn reached(standing: &Standing, period: &str) -> impl Iterator<Item = BudgetAlerted> {
    let Standing { budget, spent_usd, .. } = standing;
    let is_reached =
        |part: &&Decimal| !spent_usd.is_zero() && *spent_usd >= budget.monthly_limit_usd * **part;
    budget.alert_at.iter().filter(is_reached).map(|part| BudgetAlerted {
        scope: budget.scope,
        id: budget.id,
        period: period.to_owned(),
        threshold: *part,
        spent_usd: *spent_usd,
        monthly_limit_usd: budget.monthly_limit_usd,
    })
}

fn is_told(history: &[Recorded], alert: &BudgetAlerted) -> bool {
    let which = |alert: &BudgetAlerted| (alert.scope, alert.id, alert.period.clone(), alert.threshold);
    history.iter().any(|recorded| match &recorded.event.payload {
        Payload::BudgetAlerted(told) => which(told) == which(alert),
        _ => false,
    })
}

/// The same whoever tells it.
fn alert_id(tenant_id: TenantId, alert: &BudgetAlerted) -> EventId {
    let BudgetAlerted { scope, id, period, threshold, .. } = alert;
    let scope: &BudgetScope = scope;
    let name = format!("{} {id} {period} {}", scope.as_str(), threshold.normalize());
    EventId(Uuid::new_v5(&tenant_id.0, name.as_bytes()))
}

fn cause(workers: &Workers) -> Cause {
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: workers.actor("budgets"),
        traceparent: new_traceparent(),
        key_id: None,
    };
    Cause { origin, causation_id: None }
}

/// Nobody asked for it: it begins a trace.
fn new_traceparent() -> String {
    format!("00-{}-{:016x}-01", Uuid::now_v7().simple(), Uuid::now_v7().as_u64_pair().1)
}
