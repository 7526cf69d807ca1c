//! What work may spend: whoever asks a vendor reserves the most that this can cost before it asks.

use std::sync::Arc;
use std::time::Duration;

use domain::{Month, Zone};
use events::budget::BudgetScope;
use events::session::{BilledAttempt, BudgetShortage};
use events::{AgentId, ApiKeyId, Clock, Position, TenantId};
use futures_util::future::join_all;
use nats::{Failure, Log};
use projections::configuration::limits::BudgetRecord;
use projections::configuration::{self, limits};
use projections::reservations::{self, Counted, Most, Refusal, Standing, Wanted};
use projections::{Database, Page, Progress, Projection};
use quick_cache::sync::Cache;
use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{away, with_sources};

const CACHED_TENANTS: usize = 10_000;
/// The work is in the log when a worker has it, and the projection makes its reservation last long before that.
const LEASE: Duration = Duration::from_secs(60);
/// The projection is waited for no longer; then what the tables know counts.
const PATIENCE: Duration = Duration::from_secs(2);
/// No tenant has more.
const ALL_BUDGETS: i64 = 1_000;

/// A tenant's budgets and its clock.
#[derive(Debug)]
struct Account {
    zone: Zone,
    budgets: Vec<BudgetRecord>,
}

/// Looks budgets up, and reserves. Forgets all it knows whenever any configuration changes.
#[derive(Clone)]
pub struct Budgets {
    database: Database,
    log: Log,
    clock: Clock,
    progress: Progress,
    cache: Arc<Cache<TenantId, (u64, Arc<Account>)>>,
    changes: watch::Receiver<u64>,
}

/// Whose work it is, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payer {
    pub tenant_id: TenantId,
    pub agent_id: AgentId,
    pub key_id: Option<ApiKeyId>,
    /// The job's id, or the call's.
    pub work_id: Uuid,
    pub counted: Counted,
}

impl Budgets {
    pub(crate) fn new(database: Database, log: Log, clock: Clock, progress: Progress) -> Self {
        let (cache, changes) = (Arc::new(Cache::new(CACHED_TENANTS)), progress.config_changes());
        Self { database, log, clock, progress, cache, changes }
    }

    /// The purse of some work.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn purse(&self, payer: Payer) -> Result<Purse, Failure> {
        let account = self.account(payer.tenant_id).await.map_err(away)?;
        let concerns = |budget: &&BudgetRecord| match budget.scope {
            BudgetScope::Tenant => true,
            BudgetScope::Agent => budget.id == payer.agent_id.0,
            BudgetScope::Key => payer.key_id.is_some_and(|key_id| budget.id == key_id.0),
        };
        let is_limited = account.budgets.iter().filter(concerns).any(|budget| budget.hard);
        let limited = is_limited.then(|| Limited { budgets: self.clone(), zone: account.zone });
        Ok(Purse { payer, limited, under_way: Vec::new(), reserved: None, empty: None })
    }

    /// How the tenant's budgets stand, and for which month; everything that is in the log by now counts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn standings(
        &self,
        tenant_id: TenantId,
    ) -> Result<(Month, Vec<Standing>), projections::Error> {
        let account = self.account(tenant_id).await?;
        let month = Month::at(self.clock.now(), account.zone);
        if account.budgets.is_empty() {
            return Ok((month, Vec::new()));
        }
        self.catch_up().await;
        let all = Page::first(ALL_BUDGETS);
        Ok((month, reservations::standings(&self.database, tenant_id, month, all).await?))
    }

    /// Reserves. What has just ended may not be settled yet: nothing is refused because of that.
    async fn reserve(&self, wanted: &Wanted) -> Result<Option<Refusal>, projections::Error> {
        let refusal = reservations::reserve(&self.database, wanted).await?;
        if refusal.is_none() {
            return Ok(None);
        }
        self.catch_up().await;
        reservations::reserve(&self.database, wanted).await
    }

    /// Waits until everything that is in the log by now is settled.
    async fn catch_up(&self) {
        let one = |partition| async move {
            if let Ok(sequence) = self.log.last_of_partition(partition).await {
                let position = Position { partition, sequence };
                self.progress.reached(Projection::Budgets.name(), position, PATIENCE).await;
            }
        };
        let _ = timeout(PATIENCE, join_all((0..self.log.partitions()).map(one))).await;
    }

    async fn account(&self, tenant_id: TenantId) -> Result<Arc<Account>, projections::Error> {
        let change = *self.changes.borrow();
        if let Some((seen, account)) = self.cache.get(&tenant_id)
            && seen == change
        {
            return Ok(account);
        }
        let budgets = limits::budgets(&self.database, tenant_id).await?;
        let zone = match budgets.is_empty() {
            true => None,
            false => configuration::tenant(&self.database, tenant_id).await?,
        };
        let zone = zone.and_then(|tenant| Zone::named(&tenant.time_zone)).unwrap_or(Zone::UTC);
        let account = Arc::new(Account { zone, budgets });
        self.cache.insert(tenant_id, (change, account.clone()));
        Ok(account)
    }
}

/// A purse that has a bottom.
struct Limited {
    budgets: Budgets,
    zone: Zone,
}

/// Why nothing more can be had out of a purse.
#[derive(Debug)]
pub(crate) enum Empty {
    OverBudget(BudgetShortage),
    /// Nobody knows: the work is to be tried again.
    Unknown {
        reason: String,
    },
}

/// What one piece of work may still spend. Without a hard budget that concerns it, it may spend anything and nobody is
/// asked.
pub(crate) struct Purse {
    payer: Payer,
    limited: Option<Limited>,
    /// By attempt, the most that requests under way can cost.
    under_way: Vec<(u32, Decimal)>,
    /// As far as this worker knows.
    reserved: Option<Decimal>,
    empty: Option<Empty>,
}

impl Purse {
    pub(crate) fn is_limited(&self) -> bool {
        self.limited.is_some()
    }

    /// Why something was not to be had, if anything was not.
    pub(crate) fn empty(&mut self) -> Option<Empty> {
        self.empty.take()
    }

    /// Whether attempt `number` may cost up to `most`, beside all that was billed and is under way. What it may is held
    /// back until the work is over.
    pub(crate) async fn admits(&mut self, billed: &[BilledAttempt], number: u32, most: Decimal) -> bool {
        let used: Decimal = billed.iter().map(|attempt| attempt.metered.cost_usd).sum();
        let beside: Decimal = self.under_way.iter().map(|(_, most)| most).sum();
        if !self.holds(used + beside + most).await {
            return false;
        }
        self.under_way.push((number, most));
        true
    }

    /// Attempt `number` is over, and on the bill.
    pub(crate) fn billed(&mut self, number: u32) {
        self.under_way.retain(|(under_way, _)| *under_way != number);
    }

    /// Holds `usd` back for the whole of the work.
    pub(crate) async fn holds(&mut self, usd: Decimal) -> bool {
        let Some(Limited { budgets, zone }) = &self.limited else { return true };
        if self.reserved.is_some_and(|reserved| reserved >= usd) {
            return true;
        }
        let Payer { tenant_id, agent_id, key_id, work_id, counted } = self.payer;
        let wanted = Wanted {
            tenant_id,
            work_id,
            counted,
            agent_id,
            key_id,
            usd,
            month: Month::at(budgets.clock.now(), *zone),
            most: Most::default(),
            lease: LEASE,
        };
        self.empty = match budgets.reserve(&wanted).await {
            Ok(None) => {
                self.reserved = Some(usd);
                None
            }
            Ok(Some(Refusal::OverBudget { scope, id, required_usd, remaining_usd })) => {
                Some(Empty::OverBudget(BudgetShortage { scope, id, required_usd, remaining_usd }))
            }
            // Not asked for.
            Ok(Some(Refusal::TooManyTurns | Refusal::TooManyCalls | Refusal::TooManyCallsOfAgent)) => None,
            Err(error) => Some(Empty::Unknown { reason: with_sources(&error) }),
        };
        self.empty.is_none()
    }

    /// Gives back what is held beyond `usd`. Where that fails it goes when the work is over.
    pub(crate) async fn holds_no_more_than(&mut self, usd: Decimal) {
        let Some(Limited { budgets, .. }) = &self.limited else { return };
        let Payer { tenant_id, work_id, .. } = self.payer;
        if let Err(error) = reservations::lower(&budgets.database, tenant_id, work_id, usd).await {
            tracing::warn!(%tenant_id, %work_id, error = with_sources(&error), "a reservation was not lowered");
        }
    }
}
