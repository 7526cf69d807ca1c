//! What tenants' MCP servers offer, from memory for a minute. A server that is away is asked again after some seconds, and
//! costs whoever wants its tools no more than one wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::tools::mcp::{self, Described, LeftOut, Offer};
use events::{McpServerId, TenantId};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use projections::Keyring;
use projections::configuration::mcp_servers::McpServerRecord;
use quick_cache::unsync::Cache;
use tokio::time::Instant;
use vendors::mcp::{Listed, Mcp, McpServer};

use crate::{secret_headers, with_sources};

const CACHED_SERVERS: usize = 1_000;
/// A list is taken as it is for so long.
const FRESH: Duration = Duration::from_secs(60);
/// A server that did not answer is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// The server and the version of its settings.
type Key = (TenantId, McpServerId, u32);
type Asking = Shared<BoxFuture<'static, Arc<Known>>>;

/// Asks servers, each once at a time.
#[derive(Clone)]
pub struct McpServers {
    pub(crate) mcp: Arc<Mcp>,
    keyring: Keyring,
    known: Arc<Mutex<Cache<Key, Asking>>>,
}

/// What is known of a server.
pub(crate) struct Known {
    /// As it was last heard; `None`: the server never answered.
    pub(crate) offer: Option<Arc<Offer>>,
    /// Why the last question was not answered.
    pub(crate) failed: Option<String>,
    asked_at: Instant,
}

impl Known {
    /// `before` is what was known until then.
    fn new(heard: Result<Offer, String>, before: Option<Arc<Offer>>, asked_at: Instant) -> Self {
        match heard {
            Ok(offer) => Self { offer: Some(Arc::new(offer)), failed: None, asked_at },
            Err(reason) => Self { offer: before, failed: Some(reason), asked_at },
        }
    }

    fn is_fresh(&self) -> bool {
        self.asked_at.elapsed() < if self.failed.is_none() { FRESH } else { LEFT_ALONE }
    }
}

impl McpServers {
    pub(crate) fn new(mcp: Arc<Mcp>, keyring: Keyring) -> Self {
        Self { mcp, keyring, known: Arc::new(Mutex::new(Cache::new(CACHED_SERVERS))) }
    }

    /// What the server offers, at most a minute old unless it does not answer.
    pub(crate) async fn offer(&self, tenant_id: TenantId, server: &McpServerRecord) -> Arc<Known> {
        self.asking(tenant_id, server).await
    }

    /// The question that counts. Whoever comes while it is under way waits for its answer, instead of asking too.
    fn asking(&self, tenant_id: TenantId, server: &McpServerRecord) -> Asking {
        let key = (tenant_id, server.id, server.version);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.get(&key);
        if let Some(asking) = last
            && asking.peek().is_none_or(|known| known.is_fresh())
        {
            return asking.clone();
        }
        let before = last.and_then(|asking| asking.peek()?.offer.clone());
        let asking = self.clone().ask(tenant_id, server.clone(), before).boxed().shared();
        known.insert(key, asking.clone());
        asking
    }

    async fn ask(
        self,
        tenant_id: TenantId,
        server: McpServerRecord,
        before: Option<Arc<Offer>>,
    ) -> Arc<Known> {
        let asked_at = Instant::now();
        let known = Known::new(self.list(tenant_id, &server).await, before, asked_at);
        if known.failed.is_some() {
            // Not why: that may be in the server's words, which are the tenant's to read.
            tracing::warn!(
                %tenant_id, mcp_server_id = %server.id, has_older_list = known.offer.is_some(),
                "an MCP server does not say what it offers"
            );
        }
        Arc::new(known)
    }

    /// What the server offers now, or why it does not say so.
    pub(crate) async fn list(&self, tenant_id: TenantId, server: &McpServerRecord) -> Result<Offer, String> {
        let asked = self.asked(tenant_id, server).await?;
        let listed = self.mcp.tools(&asked).await.map_err(|failed| failed.to_string())?;
        Ok(judged(&server.settings.name, listed))
    }

    /// Whom to ask, with the headers opened.
    pub(crate) async fn asked(
        &self,
        tenant_id: TenantId,
        server: &McpServerRecord,
    ) -> Result<McpServer, String> {
        let headers = secret_headers::opened(&self.keyring, tenant_id, &server.settings.headers)
            .await
            .map_err(|error| with_sources(&error))?
            .ok_or("the MCP server's headers cannot be read any more")?;
        Ok(McpServer {
            tenant_id: tenant_id.0,
            id: server.id.0,
            version: server.version,
            url: server.settings.url.clone(),
            headers,
        })
    }
}

fn judged(server: &str, listed: Listed) -> Offer {
    let Listed { tools, more } = listed;
    let described = tools.into_iter().map(|tool| Described {
        name: tool.name,
        description: tool.description,
        input_schema: tool.input_schema,
    });
    let mut offer = mcp::judge(server, described.collect());
    if more {
        let reason =
            format!("only the first {} of the server's tools are looked at", vendors::mcp::MAX_TOOLS);
        offer.left_out.push(LeftOut { name: mcp::ALL.to_owned(), reason });
    }
    offer
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_is_good_for_a_minute_and_a_failure_for_some_seconds() {
        let heard = Known::new(Ok(Offer::default()), None, Instant::now());
        advance(FRESH - Duration::from_millis(1)).await;
        assert!(heard.is_fresh());
        advance(Duration::from_millis(1)).await;
        assert!(!heard.is_fresh());
        let failed = Known::new(Err("away".to_owned()), None, Instant::now());
        advance(LEFT_ALONE - Duration::from_millis(1)).await;
        assert!(failed.is_fresh() && failed.offer.is_none());
        advance(Duration::from_millis(1)).await;
        assert!(!failed.is_fresh());
    }

    #[tokio::test]
    async fn a_server_that_is_away_offers_what_it_did_before() {
        let before = Arc::new(Offer::default());
        let known = Known::new(Err("away".to_owned()), Some(before.clone()), Instant::now());
        assert!(known.offer.is_some_and(|offer| Arc::ptr_eq(&offer, &before)));
        assert_eq!(known.failed.as_deref(), Some("away"));
    }
}
