//! Hands: what VocalBridge does about events. One folder per consumer.
//!
//! Each worker runs in the loop of [`nats::consume`], may be handed an event twice, and appends its result before the
//! delivery is acknowledged. This crate must never answer a client or write a table: it reads the log and the
//! projections' queries, calls vendors, and appends.
//!
//! Start with [`turns`] (the brain: one message to one reply), then [`tools`] (the hands), [`voice`] (ears and mouth),
//! [`summaries`] (of calls that are over), [`repricings`] (of what was charged), [`invoices`] (of months that are over)
//! and [`webhooks`] (telling tenants).

mod agents;
pub mod alerts;
mod budgets;
pub mod invoices;
mod mcp_servers;
mod prompts;
pub mod repricings;
pub mod retention;
mod secret_headers;
mod sessions;
pub mod summaries;
pub mod tools;
pub mod turns;
pub mod voice;
mod voice_messages;
pub mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::webhooks::Schedule;
use domain::{PriceList, Windows};
use events::Clock;
use nats::consume::Limits;
use nats::{Failure, Nats};
use projections::{Database, Keyring, PriceBooks, Progress};
use vendors::functions::Functions;
use vendors::llm::LlmVendors;
use vendors::mcp::Mcp;
use vendors::stt::SttEngines;
use vendors::tts::TtsEngines;
use vendors::webhooks::Webhooks;

pub use agents::Agents;
pub use budgets::Budgets;
pub use mcp_servers::McpServers;
pub use sessions::Sessions;

use alerts::Alerts;
use prompts::Prompts;

/// What cli decides for all workers.
#[derive(Clone, Debug)]
pub struct Config {
    /// The list for everybody, as it stood in the log when the process started.
    pub prices: PriceList,
    /// How much of a conversation each model can be told.
    pub windows: Windows,
    /// The model asked of a vendor when the agent names none, by provider.
    pub default_models: BTreeMap<String, String>,
    /// The variable that is missing for a vendor, by provider.
    pub absent_providers: BTreeMap<String, String>,
    pub limits: Limits,
    /// How often the model may ask for tools in one turn.
    pub max_tool_rounds: u32,
    /// How long a turn waits for its tools before it goes on without them.
    pub tool_timeout: Duration,
    /// When a webhook that failed is tried again.
    pub webhook_schedule: Schedule,
    /// No call lasts longer.
    pub longest_call: Duration,
}

/// Limits of one worker process.
pub const DEFAULT_LIMITS: Limits = Limits {
    // Wide enough to see every tenant behind one tenant's flood.
    held: 4_096,
    running: 1_024,
    running_per_tenant: 256,
    drain: Duration::from_secs(6),
};
/// Calls of one process: a call is one delivery, held while it lasts. How many there may be is decided where they come in.
pub const CALL_LIMITS: Limits =
    Limits { held: 2_048, running: 2_048, running_per_tenant: 2_048, drain: Duration::from_secs(6) };
pub const DEFAULT_MAX_TOOL_ROUNDS: u32 = 8;
pub const DEFAULT_TOOL_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything the workers of one process share. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    pub nats: Nats,
    pub database: Database,
    pub keyring: Keyring,
    pub clock: Clock,
    pub vendors: Arc<LlmVendors>,
    pub functions: Arc<Functions>,
    pub mcp_servers: McpServers,
    pub webhooks: Arc<Webhooks>,
    pub stt: Arc<SttEngines>,
    pub tts: Arc<TtsEngines>,
    pub prices: PriceBooks,
    pub progress: Progress,
    pub config: Arc<Config>,
    /// `host:pid`, as events show it.
    pub worker_id: String,
    sessions: Sessions,
    agents: Agents,
    prompts: Prompts,
    budgets: Budgets,
    alerts: Alerts,
}

/// Whom the workers of a process call.
pub struct Outside {
    pub vendors: LlmVendors,
    /// Tenants' own.
    pub functions: Functions,
    /// Tenants' own, too.
    pub mcp: Arc<Mcp>,
    /// And these.
    pub webhooks: Webhooks,
    pub stt: Arc<SttEngines>,
    pub tts: Arc<TtsEngines>,
}

/// What the workers of a process read and write through.
pub struct Connections {
    pub nats: Nats,
    pub database: Database,
    pub keyring: Keyring,
}

impl Workers {
    pub fn new(
        connections: Connections,
        progress: &Progress,
        clock: Clock,
        outside: Outside,
        config: Config,
        worker_id: String,
    ) -> Self {
        let Connections { nats, database, keyring } = connections;
        let Outside { vendors, functions, mcp, webhooks, stt, tts } = outside;
        let mcp_servers = McpServers::new(mcp, keyring.clone());
        let sessions = Sessions::new(nats.log.clone(), database.clone());
        let agents = Agents::new(database.clone(), progress.config_changes());
        let prompts = Prompts::new(database.clone(), progress.config_changes());
        let changes = progress.config_changes();
        let prices = PriceBooks::new(database.clone(), clock.clone(), changes, config.prices.clone());
        let budgets = Budgets::new(database.clone(), nats.log.clone(), clock.clone(), progress.clone());
        Self {
            nats,
            database,
            keyring,
            clock,
            vendors: Arc::new(vendors),
            functions: Arc::new(functions),
            mcp_servers,
            webhooks: Arc::new(webhooks),
            stt,
            tts,
            prices,
            progress: progress.clone(),
            config: Arc::new(config),
            worker_id,
            sessions,
            agents,
            prompts,
            budgets,
            alerts: Alerts::default(),
        }
    }

    /// The `actor` of what a worker does.
    fn actor(&self, role: &str) -> String {
        format!("worker:{role}@{}", self.worker_id)
    }
}

/// What failed is away and will come back.
fn away(error: impl std::error::Error) -> Failure {
    Failure::Retry { after: None, reason: with_sources(&error) }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
