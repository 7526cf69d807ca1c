//! What all handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Limits, Zone};
use events::{AgentId, Clock, TenantId};
use metrics_exporter_prometheus::PrometheusHandle;
use nats::Nats;
use projections::configuration::{self, AgentRecord, limits};
use projections::{Database, Keyring, PriceBooks, Progress};
use secrecy::ExposeSecret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Caller, KnownKey};
use crate::config::Config;
use crate::follower::Followers;
use crate::key_uses::KeyUses;
use crate::problem::{Code, Problem};
use crate::rates::Rates;
use crate::recent::Recent;
use crate::reservations::Account;
use crate::sessions::Sessions;
use crate::sockets::{MAX_UTTERANCE_SOCKETS, Places};
use crate::tokens::Tokens;
use crate::under_way::UnderWay;
use crate::{Api, api_key};

/// The `source` of every event that this crate appends.
pub(crate) const SOURCE: &str = "vocalbridge/api";

/// How long waiting goes on after the server was asked to end; less than it takes to drain.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// Recordings that are sent at once. Each has a page of segments in memory, two megabytes.
const MAX_DOWNLOADS: usize = 64;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub nats: Nats,
    pub database: Database,
    pub keyring: Keyring,
    pub progress: Progress,
    pub clock: Clock,
    pub config: Config,
    pub metrics: PrometheusHandle,
    /// Streams end when it is cancelled.
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
    /// One permit per result that is waited for.
    pub waiting: Arc<Semaphore>,
    /// One permit per open stream of session events.
    pub following: Arc<Semaphore>,
    /// One permit per recording that is sent.
    downloading: Arc<Semaphore>,
    /// SHA-256 of the operator's key.
    pub operator_digest: [u8; 32],
    /// By SHA-256.
    pub keys: Recent<[u8; 32], Arc<KnownKey>>,
    pub key_uses: KeyUses,
    pub rates: Rates,
    pub sessions: Sessions,
    pub followers: Followers,
    /// The calls whose sockets are here.
    pub places: Places,
    /// One permit per socket of single utterances.
    pub utterance_sockets: Arc<Semaphore>,
    /// One permit per utterance that is worked on.
    pub pipelines: Arc<Semaphore>,
    pub tokens: Tokens,
    pub prices: PriceBooks,
    agents: Recent<(TenantId, AgentId), Arc<AgentRecord>>,
    limits: Recent<TenantId, Limits>,
    pub under_way: UnderWay,
    accounts: Recent<TenantId, Arc<Account>>,
    changes: watch::Receiver<u64>,
    own_changes: AtomicU64,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(api: Api, shutdown: CancellationToken) -> Self {
        let Api { nats, database, keyring, progress, clock, config, metrics } = api;
        let changes = progress.config_changes();
        let prices = PriceBooks::new(database.clone(), clock.clone(), changes, config.prices.clone());
        Self(Arc::new(Shared {
            followers: Followers::new(nats.log.partitions()),
            changes: progress.config_changes(),
            waiting: Arc::new(Semaphore::new(config.max_waiting)),
            following: Arc::new(Semaphore::new(config.max_following)),
            downloading: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            operator_digest: api_key::digest(config.operator_key.expose_secret()),
            keys: Recent::new(),
            key_uses: KeyUses::default(),
            rates: Rates::new(),
            under_way: UnderWay::new(),
            sessions: Sessions::new(),
            utterance_sockets: Arc::new(Semaphore::new(MAX_UTTERANCE_SOCKETS)),
            pipelines: Arc::new(Semaphore::new(config.sockets.max_pipelines)),
            places: Places::new(config.sockets.max_calls),
            tokens: Tokens::new(&keyring),
            prices,
            agents: Recent::new(),
            limits: Recent::new(),
            accounts: Recent::new(),
            own_changes: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            shutdown,
            nats,
            database,
            keyring,
            progress,
            clock,
            config,
            metrics,
        }))
    }

    /// A permit to wait for a result; more than so many do not wait at once.
    pub(crate) fn place_to_wait(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::new(Code::AtCapacity, "too many requests are waiting for their result");
        self.waiting.clone().try_acquire_owned().map_err(full)
    }

    /// A permit to send a recording.
    pub(crate) fn place_to_download(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::new(Code::AtCapacity, "too many recordings are being sent");
        self.downloading.clone().try_acquire_owned().map_err(full)
    }

    /// The server was asked to end, and whoever still waits must be told.
    pub(crate) async fn nearly_drained(&self) {
        self.shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_WAIT).await;
    }

    /// Rises with every change of configuration.
    pub(crate) fn configuration_generation(&self) -> u64 {
        self.changes.borrow().wrapping_add(self.own_changes.load(Ordering::Acquire))
    }

    /// For a change that this process has just made: its signal may be a moment behind the checkpoint.
    pub(crate) fn forget_configuration(&self) {
        self.own_changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The agent as it was at most a second ago; `None` when it was deleted or is not the tenant's.
    pub(crate) async fn agent(
        &self,
        tenant_id: TenantId,
        agent_id: AgentId,
    ) -> Result<Option<Arc<AgentRecord>>, Problem> {
        let lookup = async {
            let agent = configuration::agent(&self.database, tenant_id, agent_id).await?;
            Ok::<_, Problem>(agent.map(Arc::new))
        };
        self.agents.get((tenant_id, agent_id), self.configuration_generation(), lookup).await
    }

    /// What the tenant may have under way, as it was at most a second ago.
    pub(crate) async fn limits(&self, tenant_id: TenantId) -> Result<Limits, Problem> {
        let lookup = async { Ok::<_, Problem>(Some(limits::limits(&self.database, tenant_id).await?)) };
        let limits = self.limits.get(tenant_id, self.configuration_generation(), lookup).await?;
        Ok(limits.unwrap_or_default())
    }

    /// The same, for whoever calls.
    ///
    /// # Errors
    /// `not_found` also when the caller's key does not reach it.
    pub(crate) async fn agent_of(
        &self,
        caller: &Caller,
        agent_id: AgentId,
    ) -> Result<Arc<AgentRecord>, Problem> {
        caller.check_reaches(agent_id, "agent")?;
        self.agent(caller.tenant_id, agent_id).await?.ok_or_else(|| Problem::not_found("agent"))
    }

    /// The tenant's budgets and its clock, as they were at most a second ago.
    pub(crate) async fn account(&self, tenant_id: TenantId) -> Result<Arc<Account>, Problem> {
        let lookup = async {
            let budgets = limits::budgets(&self.database, tenant_id).await?;
            let tenant = match budgets.is_empty() {
                true => None,
                false => configuration::tenant(&self.database, tenant_id).await?,
            };
            let zone = tenant.and_then(|tenant| Zone::named(&tenant.time_zone)).unwrap_or(Zone::UTC);
            Ok::<_, Problem>(Some(Arc::new(Account { zone, budgets })))
        };
        let account = self.accounts.get(tenant_id, self.configuration_generation(), lookup).await?;
        account.ok_or_else(|| Problem::not_found("tenant"))
    }
}
