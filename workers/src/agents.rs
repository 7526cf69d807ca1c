//! Agents' settings, from memory while they do not change.

use std::sync::Arc;

use events::{AgentId, TenantId};
use projections::Database;
use projections::configuration::{self, AgentRecord};
use quick_cache::sync::Cache;
use tokio::sync::watch;

const CACHED_AGENTS: usize = 10_000;

/// An agent, and which change of configuration it was looked up after.
type Known = (u64, Arc<AgentRecord>);

/// Looks agents up. Forgets all it knows whenever any configuration changes.
#[derive(Clone)]
pub struct Agents {
    database: Database,
    cache: Arc<Cache<(TenantId, AgentId), Known>>,
    changes: watch::Receiver<u64>,
}

impl Agents {
    pub(crate) fn new(database: Database, changes: watch::Receiver<u64>) -> Self {
        Self { database, cache: Arc::new(Cache::new(CACHED_AGENTS)), changes }
    }

    /// The agent in version `at_least` or newer, as the sender of a message knew it; `None` when it is no more.
    pub(crate) async fn get(
        &self,
        tenant_id: TenantId,
        agent_id: AgentId,
        at_least: u32,
    ) -> Result<Option<Arc<AgentRecord>>, projections::Error> {
        let change = *self.changes.borrow();
        let key = (tenant_id, agent_id);
        if let Some((seen, agent)) = self.cache.get(&key)
            && seen == change
            && agent.version >= at_least
        {
            return Ok(Some(agent));
        }
        let Some(agent) = configuration::agent(&self.database, tenant_id, agent_id).await? else {
            return Ok(None);
        };
        let agent = Arc::new(agent);
        self.cache.insert(key, (change, agent.clone()));
        Ok(Some(agent))
    }
}
