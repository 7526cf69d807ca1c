//! Whom a tenant wants told, and what signs for them: folds of the log, read again as far as they went on. Whoever is
//! asked about an event sees every endpoint that was made before it.

use std::sync::Arc;

use domain::Webhooks;
use domain::webhooks::Secrets;
use events::{Aggregate, TenantId};
use nats::{Log, ReadError};
use quick_cache::sync::Cache;

const CACHED_TENANTS: usize = 10_000;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Recipients {
    log: Log,
    endpoints: Arc<Cache<TenantId, Arc<Webhooks>>>,
    /// With the sequence of the tenant's last event.
    secrets: Arc<Cache<TenantId, (u64, Secrets)>>,
}

impl Recipients {
    pub(super) fn new(log: Log) -> Self {
        let (endpoints, secrets) = (Cache::new(CACHED_TENANTS), Cache::new(CACHED_TENANTS));
        Self { log, endpoints: Arc::new(endpoints), secrets: Arc::new(secrets) }
    }

    /// The tenant's endpoints as they are now.
    pub(super) async fn endpoints(&self, tenant_id: TenantId) -> Result<Arc<Webhooks>, ReadError> {
        let aggregate = Aggregate::webhooks(tenant_id);
        let last = self.log.last_of(&aggregate).await?;
        let known = self.endpoints.get(&tenant_id).unwrap_or_default();
        if known.last_sequence >= last {
            return Ok(known);
        }
        let mut webhooks = (*known).clone();
        let news = self.log.read(&aggregate, webhooks.last_sequence).await?;
        news.iter().for_each(|recorded| webhooks.evolve(recorded));
        let webhooks = Arc::new(webhooks);
        self.endpoints.insert(tenant_id, webhooks.clone());
        Ok(webhooks)
    }

    /// The tenant's own secrets, for addresses that messages bring along; `None`: there is no such tenant.
    pub(super) async fn tenant_secrets(&self, tenant_id: TenantId) -> Result<Option<Secrets>, ReadError> {
        let aggregate = Aggregate::tenant(tenant_id);
        let last = self.log.last_of(&aggregate).await?;
        if let Some((sequence, secrets)) = self.secrets.get(&tenant_id)
            && sequence >= last
        {
            return Ok(Some(secrets));
        }
        let secrets = Secrets::of_tenant(&self.log.read(&aggregate, 0).await?);
        if let Some(secrets) = &secrets {
            self.secrets.insert(tenant_id, (last, secrets.clone()));
        }
        Ok(secrets)
    }
}
