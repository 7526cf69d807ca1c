//! Which roles there are, and how one process runs some of them.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use domain::PriceList;
use events::Clock;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nats::consume::Limits;
use nats::{Nats, TopologyConfig};
use projections::{Database, Keyring, Progress};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vendors::functions::{self, Functions};
use vendors::http::guard::{Names, SystemNames};
use vendors::llm::{LlmConfig, LlmEndpoint, LlmVendorConfig, LlmVendors};
use vendors::mcp::{Mcp, McpLimits};
use vendors::resilience::Backoff;
use vendors::simulator::{self, SimulatorConfig};
use vendors::webhooks::Webhooks;
use workers::invoices::Closing;
use workers::{Outside, Workers};

use crate::prices;
use crate::serve;
use crate::settings::Settings;
use crate::source::LogSource;
use crate::speech;
use crate::vendor_endpoints::Endpoint;

/// A part of the system that can run in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Api,
    Turns,
    Tools,
    Voice,
    Summaries,
    Repricings,
    Webhooks,
    Projections,
}

/// Roles as the command line names them, separated by commas; `workers` is all but `api` and `projections`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(pub BTreeSet<Role>);

impl Roles {
    /// All but `api` and `projections`.
    const WORKERS: [Role; 6] =
        [Role::Turns, Role::Tools, Role::Voice, Role::Summaries, Role::Repricings, Role::Webhooks];

    pub fn all() -> Self {
        let mut roles = BTreeSet::from(Self::WORKERS);
        roles.extend([Role::Api, Role::Projections]);
        Self(roles)
    }

    pub(crate) fn have(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    fn have_workers(&self) -> bool {
        Self::WORKERS.iter().any(|role| self.have(*role))
    }
}

impl FromStr for Roles {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut roles = BTreeSet::new();
        for name in text.split(',').map(str::trim) {
            match name {
                "api" => roles.extend([Role::Api]),
                "turns" => roles.extend([Role::Turns]),
                "tools" => roles.extend([Role::Tools]),
                "voice" => roles.extend([Role::Voice]),
                "summaries" => roles.extend([Role::Summaries]),
                "repricings" => roles.extend([Role::Repricings]),
                "webhooks" => roles.extend([Role::Webhooks]),
                "workers" => roles.extend(Self::WORKERS),
                "projections" => roles.extend([Role::Projections]),
                _ => {
                    return Err(format!(
                        "no role {name:?}; there are api, turns, tools, voice, summaries, repricings, webhooks, projections, and workers"
                    ));
                }
            }
        }
        Ok(Self(roles))
    }
}

/// Answers within this time are waited for when the process is told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(9);
/// Beside the one that each partition's batches go through.
const PROJECTION_CONNECTIONS: u32 = 4;
/// How long a process that starts waits for NATS and Postgres.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Seconds; from a vendor on the same machine to a model that thinks.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How long a noted simulator may take to accept a connection before it counts as gone.
const SIMULATOR_PATIENCE: Duration = Duration::from_secs(1);

/// The connections that the roles of one process share.
pub struct System {
    pub nats: Nats,
    pub database: Database,
    pub keyring: Keyring,
    pub clock: Clock,
    /// Where the names in tenants' URLs lead.
    pub names: Arc<dyn Names>,
    /// As they were read; a test may change them before anything runs.
    pub settings: Settings,
    metrics: PrometheusHandle,
}

impl System {
    /// Connects to NATS and Postgres, and makes the streams ready.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let metrics = metrics_handle()?;
        let nats = connect_nats(&settings).await?;
        let database = connect_database(&settings, settings.database_connections).await?;
        let keyring =
            Keyring::new(database.clone(), &settings.secret_key).context("VOCALBRIDGE_SECRET_KEY")?;
        let (clock, names) = (Clock::system(), Arc::new(SystemNames));
        Ok(Self { nats, database, keyring, clock, names, settings, metrics })
    }

    /// Runs `roles` until `shutdown`, then lets each finish what it holds. `listener` is needed by the api alone.
    pub async fn run(
        self,
        roles: &Roles,
        listener: Option<TcpListener>,
        shutdown: CancellationToken,
    ) -> Result<()> {
        let prices = self.publish_prices().await?;
        let tracker = TaskTracker::new();
        // What others stand on ends last: projections after the api that waits for them.
        let later = CancellationToken::new();
        // Also when this future is dropped: a thread of its own would otherwise go on alone.
        let _end = later.clone().drop_guard();
        let progress = Progress::new(self.database.clone());
        let handle = self.metrics.clone();
        tracker.spawn(upkeep(handle, shutdown.clone()));
        tracker.spawn({
            let (progress, later) = (progress.clone(), later.clone());
            async move { progress.run(later).await }
        });
        if let Some(port) = self.settings.monitoring_port {
            let listener = serve::listen("0.0.0.0", port, "VOCALBRIDGE_MONITORING_PORT").await?;
            tracker.spawn(api::run_monitoring(listener, self.api(progress.clone(), &prices), later.clone()));
        }
        if roles.have(Role::Projections) {
            let (settings, clock, end) = (self.settings.clone(), self.clock.clone(), later.clone());
            let progress = progress.clone();
            tracker.spawn_blocking(move || {
                if let Err(error) = project(&settings, &progress, &clock, &end) {
                    tracing::error!(error = &*error as &dyn std::error::Error, "the projections ended");
                }
            });
        }
        let work = TaskTracker::new();
        if roles.have_workers() {
            let workers = self.workers(&progress, &prices, &tracker, &later).await?;
            // Whoever spends sees that it is told of.
            work.spawn(workers::alerts::run(workers.clone(), shutdown.clone()));
            if roles.have(Role::Turns) {
                work.spawn(workers::turns::run(workers.clone(), shutdown.clone()));
            }
            if roles.have(Role::Tools) {
                work.spawn(workers::tools::run(workers.clone(), shutdown.clone()));
            }
            if roles.have(Role::Voice) {
                work.spawn(workers::voice::run(workers.clone(), workers::CALL_LIMITS, shutdown.clone()));
            }
            if roles.have(Role::Summaries) {
                work.spawn(workers::summaries::run(workers.clone(), shutdown.clone()));
            }
            if roles.have(Role::Repricings) {
                work.spawn(workers::repricings::run(workers.clone(), shutdown.clone()));
            }
            if roles.have(Role::Webhooks) {
                work.spawn(workers::webhooks::run(workers, shutdown.clone()));
            }
        }
        if roles.have(Role::Api) {
            let listener = listener.context("the api has no listener")?;
            work.spawn(api::run(listener, self.api(progress, &prices), shutdown.clone()));
        }
        work.close();
        shutdown.cancelled().await;
        let stopped = tokio::time::timeout(STOP_LIMIT, async {
            work.wait().await;
            later.cancel();
            tracker.close();
            tracker.wait().await;
        });
        if stopped.await.is_err() {
            tracing::warn!(
                "stopped before everything had finished; what was left is taken up again at the next start"
            );
        }
        self.nats.flush().await;
        self.database.close().await;
        Ok(())
    }

    /// Brings the settings' prices into the log and answers the newest list.
    pub async fn publish_prices(&self) -> Result<PriceList> {
        prices::publish(&self.nats.log, &self.clock, self.settings.vendors.language_models.prices())
            .await
            .context("the prices cannot be published")
    }

    fn api(&self, progress: Progress, prices: &PriceList) -> api::Api {
        let settings = &self.settings;
        let config = api::Config {
            operator_key: settings.operator_key.clone(),
            app_url: settings
                .app_url
                .clone()
                .unwrap_or_else(|| format!("http://localhost:{}", settings.port)),
            cors_origins: settings.cors_origins.clone(),
            environment: settings.environment.clone(),
            language_models: settings.vendors.language_models.for_api(),
            urls: settings.urls,
            sockets: settings.sockets.clone(),
            telephony: settings.telephony.clone(),
            prices: prices.clone(),
            windows: settings.vendors.language_models.windows(),
            reservation_lease: settings.reservation_lease,
            max_body_bytes: api::Config::DEFAULT_MAX_BODY_BYTES,
            default_wait: api::Config::DEFAULT_WAIT,
            max_waiting: api::Config::DEFAULT_MAX_WAITING,
            max_following: api::Config::DEFAULT_MAX_FOLLOWING,
        };
        api::Api {
            nats: self.nats.clone(),
            database: self.database.clone(),
            keyring: self.keyring.clone(),
            progress,
            clock: self.clock.clone(),
            config,
            metrics: self.metrics.clone(),
        }
    }

    async fn workers(
        &self,
        progress: &Progress,
        prices: &PriceList,
        tracker: &TaskTracker,
        end: &CancellationToken,
    ) -> Result<Workers> {
        let settings = &self.settings.vendors;
        let models = &settings.language_models;
        let needs_a_simulator = models.need_a_simulator() || settings.speech.need_a_simulator();
        let simulator = if needs_a_simulator { self.simulator(tracker, end).await? } else { String::new() };
        let endpoint = |endpoint: &Endpoint| LlmEndpoint {
            base_url: endpoint.base_url.with(&simulator),
            api_key: endpoint.api_key.clone(),
        };
        let vendors = models.vendors.iter().map(|vendor| LlmVendorConfig {
            provider: vendor.provider.to_owned(),
            wire: vendor.wire,
            endpoints: vendor.endpoints.iter().map(endpoint).collect(),
        });
        let llm = LlmConfig {
            vendors: vendors.collect(),
            timeout: settings.timeout,
            first_token_timeout: settings.first_token_timeout,
            stall_timeout: settings.stall_timeout,
            max_retries: settings.max_retries,
            backoff: Backoff { min_wait: settings.retry_min_wait, max_wait: settings.retry_max_wait },
            ..Default::default()
        };
        let mcp = Mcp::new(self.settings.urls, &self.names, McpLimits::default()).context("MCP servers")?;
        let mcp = Arc::new(mcp);
        let (sessions, ended) = (mcp.clone(), end.clone());
        tracker.spawn(async move { sessions.run(ended).await });
        let (stt, tts) = speech::engines(settings, &simulator, wall_clock)?;
        let outside = Outside {
            vendors: LlmVendors::new(llm, wall_clock).context("the vendors")?,
            functions: Functions::new(
                self.settings.urls,
                &self.names,
                functions::DEFAULT_TIME_LIMIT,
                wall_clock,
            )
            .context("tenants' functions")?,
            mcp,
            webhooks: Webhooks::new(
                self.settings.urls,
                &self.names,
                vendors::webhooks::DEFAULT_TIME_LIMIT,
                wall_clock,
            )
            .context("webhooks")?,
            stt,
            tts,
        };
        let config = workers::Config {
            prices: prices.clone(),
            windows: models.windows(),
            default_models: models.default_models(),
            absent_providers: models.absent_by_variable(),
            limits: Limits {
                running: self.settings.worker_max_running,
                running_per_tenant: self.settings.worker_max_running_per_tenant,
                ..workers::DEFAULT_LIMITS
            },
            max_tool_rounds: self.settings.max_tool_rounds,
            tool_timeout: workers::DEFAULT_TOOL_TIMEOUT,
            webhook_schedule: self.settings.webhook_schedule.clone(),
            longest_call: self.settings.sockets.call,
        };
        let connections = workers::Connections {
            nats: self.nats.clone(),
            database: self.database.clone(),
            keyring: self.keyring.clone(),
        };
        Ok(Workers::new(connections, progress, self.clock.clone(), outside, config, worker_id()))
    }

    /// The simulated vendors: those that `vocalbridge dev` has noted, while they live; else our own.
    async fn simulator(&self, tracker: &TaskTracker, end: &CancellationToken) -> Result<String> {
        if let Some(url) = self.nats.notes.get(nats::notes::SIMULATOR_URL).await?
            && let Some(address) = url.strip_prefix("http://")
            && let Ok(Ok(_)) = tokio::time::timeout(SIMULATOR_PATIENCE, TcpStream::connect(address)).await
        {
            return Ok(url);
        }
        start_simulator(tracker, end.clone()).await
    }
}

/// Runs the projections until `end`, on a thread of its own with its own connections: applying a batch is work of
/// milliseconds, and a message on its way must not queue behind it.
fn project(settings: &Settings, progress: &Progress, clock: &Clock, end: &CancellationToken) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connect = async {
            anyhow::Ok((
                connect_nats(settings).await?,
                connect_database(settings, PROJECTION_CONNECTIONS).await?,
            ))
        };
        let Some(connected) = end.run_until_cancelled(connect).await else { return Ok(()) };
        let (nats, database) = connected?;
        let source = Arc::new(LogSource(nats.log.clone()));
        let runners = (0..nats.log.partitions()).map(|partition| {
            projections::runner::run(database.clone(), source.clone(), partition, end.clone())
        });
        let keep = TimeDelta::days(settings.job_retention_days.into());
        let retention =
            workers::retention::run(nats.log.clone(), database.clone(), clock.clone(), keep, end.clone());
        let closing = Closing {
            log: nats.log.clone(),
            database: database.clone(),
            progress: progress.clone(),
            clock: clock.clone(),
            grace: TimeDelta::hours(settings.invoice_grace_hours.into()),
        };
        let invoices = workers::invoices::run(closing, end.clone());
        tokio::join!(futures_util::future::join_all(runners), retention, invoices);
        database.close().await;
        Ok(())
    })
}

async fn connect_nats(settings: &Settings) -> Result<Nats> {
    let config = nats::Config {
        url: settings.nats_url.clone(),
        name: format!("vocalbridge {}", worker_id()),
        topology: TopologyConfig { partitions: settings.nats_partitions, replicas: settings.nats_replicas },
    };
    patiently("NATS_URL", async || Nats::connect(&config).await).await
}

async fn connect_database(settings: &Settings, max_connections: u32) -> Result<Database> {
    let config = projections::Config { url: settings.database_url.clone(), max_connections };
    patiently("DATABASE_URL", async || Database::connect(&config).await).await
}

/// The process's one recorder; a second system in the same process (tests) shares the first's.
fn metrics_handle() -> Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS)?.build_recorder();
    let handle = HANDLE.get_or_init(|| recorder.handle()).clone();
    // Refused when another thread was faster: then its handle was kept above.
    let _ = metrics::set_global_recorder(recorder);
    Ok(handle)
}

/// Tries to connect for as long as a server may take to come up beside us.
async fn patiently<T, E>(setting: &'static str, connect: impl AsyncFn() -> Result<T, E>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let deadline = Instant::now() + CONNECT_PATIENCE;
    let mut tries = tokio::time::interval(CONNECT_PAUSE);
    loop {
        tries.tick().await;
        match connect().await {
            Ok(connected) => return Ok(connected),
            Err(error) if Instant::now() > deadline => return Err(error).context(setting),
            Err(error) => tracing::warn!(setting, error = &error as &dyn std::error::Error, "not there yet"),
        }
    }
}

/// Starts the simulated vendors on a free port and answers their address.
pub async fn start_simulator(tracker: &TaskTracker, end: CancellationToken) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the simulated vendors")?;
    let url = format!("http://{}", listener.local_addr()?);
    tracker.spawn(async move {
        if let Err(error) = simulator::run(listener, SimulatorConfig::new(wall_clock), end).await {
            tracing::error!(%error, "the simulated vendors ended");
        }
    });
    Ok(url)
}

#[expect(clippy::disallowed_methods, reason = "vendors is handed its clock from here")]
pub(crate) fn wall_clock() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

async fn upkeep(metrics: PrometheusHandle, shutdown: CancellationToken) {
    while tokio::time::timeout(METRICS_UPKEEP, shutdown.cancelled()).await.is_err() {
        metrics.run_upkeep();
    }
}

/// `host:pid` of this process.
pub fn worker_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}

/// Cancelled by Ctrl-C or SIGTERM.
pub fn shutdown_signal(tracker: &TaskTracker) -> Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tracker.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        cancelled.cancel();
    });
    Ok(token)
}
