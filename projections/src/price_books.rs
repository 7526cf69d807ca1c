//! What tenants pay by, from memory while no configuration changes.

use std::sync::Arc;

use domain::{PriceBook, PriceList};
use events::{Clock, TenantId};
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::configuration::prices;
use crate::database::{Database, Error};

const CACHED_LISTS: usize = 10_000;

type Lists = Arc<[PriceList]>;

/// Gives price books. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PriceBooks {
    database: Database,
    clock: Clock,
    changes: watch::Receiver<u64>,
    published: Arc<PriceList>,
    /// By whose they are and the change of configuration that they were looked up after. Whoever comes while that is done
    /// waits for it.
    known: Arc<Cache<(TenantId, u64), Lists>>,
}

impl PriceBooks {
    /// `published`: the list for everybody as this process found it in the log, or brought it there, when it started. It
    /// counts also while the tables are behind the log.
    pub fn new(
        database: Database,
        clock: Clock,
        changes: watch::Receiver<u64>,
        published: PriceList,
    ) -> Self {
        let known = Arc::new(Cache::new(CACHED_LISTS));
        Self { database, clock, changes, published: Arc::new(published), known }
    }

    /// What the tenant pays by, from now on: [`PriceBook::at`] chooses among what is in force and what will be.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn book(&self, tenant_id: TenantId) -> Result<PriceBook, Error> {
        let global = self.lists(TenantId::SYSTEM).await?;
        Ok(PriceBook::new(global, self.lists(tenant_id).await?))
    }

    async fn lists(&self, scope: TenantId) -> Result<Lists, Error> {
        let change = *self.changes.borrow();
        self.known.get_or_insert_async(&(scope, change), self.read(scope)).await
    }

    async fn read(&self, scope: TenantId) -> Result<Lists, Error> {
        let mut lists = prices::since(&self.database, scope, self.clock.now()).await?;
        if scope == TenantId::SYSTEM && lists.iter().all(|list| list.version < self.published.version) {
            lists.push(PriceList::clone(&self.published));
        }
        Ok(lists.into())
    }
}
