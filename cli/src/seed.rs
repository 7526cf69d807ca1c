//! The demo tenants of the contract: their keys, agents and invoices, written through the log like anything else.
//!
//! Seeding twice changes nothing: every event is the first of its aggregate, and what is there already stays.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::NewKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::agent::{AgentCreated, AgentSettings};
use events::invoice::{InvoiceRecorded, InvoiceStatus};
use events::tenant::{KeyCreated, LimitsSet, Role, TenantCreated};
use events::{
    AgentId, Aggregate, ApiKeyId, Cause, Clock, CorrelationId, Event, EventId, Origin, Payload, TenantId,
};
use nats::{AppendError, Expect, Log};
use projections::{Keyring, Progress, Projection};
use rand::RngExt;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vendors::llm::{VENDOR_A, VENDOR_B};

use crate::source::LogSource;
use crate::system::System;

const ENVIRONMENT: &str = "dev";
const DEMO_LIMITS: LimitsSet =
    LimitsSet { requests_per_minute: 60_000, concurrent_turns: 1_000, concurrent_calls: 1_000 };
const PROJECTION_LIMIT: Duration = Duration::from_secs(60);

/// The secrets of a development installation, made once and kept beside its data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    pub operator_key: String,
    /// Base64 of 32 bytes.
    pub secret_key: String,
    pub tenants: Vec<TenantCredentials>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantCredentials {
    pub id: TenantId,
    pub name: String,
    pub api_key: String,
    /// Base64 of the 32 bytes that the key is made of.
    api_key_secret: String,
    pub webhook_secret: String,
    pub agents: Vec<AgentName>,
    api_key_id: ApiKeyId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentName {
    pub id: AgentId,
    pub name: String,
}

impl TenantCredentials {
    fn api_key_secret(&self) -> Result<[u8; 32]> {
        let bytes = STANDARD.decode(&self.api_key_secret).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.with_context(|| format!("the credentials of {} are damaged", self.name))
    }
}

impl Credentials {
    /// Those kept in `path`, or new ones, which are kept there first.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        if path.exists() {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            return serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()));
        }
        let credentials = Self {
            operator_key: format!("vbop_{}", random_hex::<24>()),
            secret_key: STANDARD.encode(random_bytes::<32>()),
            tenants: DEMO.iter().map(DemoTenant::credentials).collect(),
        };
        write_private(path, &serde_json::to_string_pretty(&credentials)?)?;
        Ok(credentials)
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let draft = path.with_extension("draft");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the demo tenants into the log.
pub async fn seed(log: &Log, keyring: &Keyring, clock: &Clock, credentials: &Credentials) -> Result<()> {
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "operator".to_owned(),
        traceparent: format!("00-{}-{}-01", random_hex::<16>(), random_hex::<8>()),
        key_id: None,
    };
    let cause = Cause { origin, causation_id: None };
    for (demo, tenant) in DEMO.iter().zip(&credentials.tenants) {
        let first = |id: EventId, aggregate: Aggregate, payload: Payload| {
            let event = Event::new(id, clock.now(), "vocalbridge/seed", aggregate, &cause, payload);
            async move {
                match log.append(&event, Expect::Last(0)).await {
                    Ok(_) | Err(AppendError::Conflict { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        };
        let id = EventId::new();
        let webhook_secret = keyring.seal(tenant.id, tenant.id.0, id, &tenant.webhook_secret).await?;
        let created = TenantCreated { name: tenant.name.clone(), webhook_secret };
        first(id, Aggregate::tenant(tenant.id), created.into()).await?;
        give_limits(log, clock, &cause, tenant.id).await?;
        let key = NewKey::from_secret(ENVIRONMENT, &tenant.api_key_secret()?);
        let key = KeyCreated {
            name: "demo".to_owned(),
            role: Role::Admin,
            prefix: key.prefix,
            key_hash: key.hash,
            expires_at: None,
            agent_ids: None,
            requests_per_minute: None,
        };
        first(EventId::new(), Aggregate::key(tenant.id, tenant.api_key_id), key.into()).await?;
        for (agent, (_, settings)) in tenant.agents.iter().zip(demo.agents()) {
            let aggregate = Aggregate::agent(tenant.id, agent.id);
            first(EventId::new(), aggregate, AgentCreated { settings }.into()).await?;
        }
        for (number, amount, status, description) in demo.invoices {
            let invoice = InvoiceRecorded {
                invoice_id: format!("{}-{number:03}", demo.invoice_prefix),
                amount: Decimal::new(*amount * 100, 2),
                currency: "USD".to_owned(),
                status: *status,
                description: (*description).to_owned(),
            };
            let aggregate = Aggregate::invoice(tenant.id, &invoice.invoice_id);
            first(EventId::new(), aggregate, invoice.into()).await?;
        }
    }
    Ok(())
}

/// A demo tenant has room for a load test; limits that it was given before stay.
async fn give_limits(log: &Log, clock: &Clock, cause: &Cause, tenant_id: TenantId) -> Result<()> {
    let aggregate = Aggregate::tenant(tenant_id);
    let history = log.read(&aggregate, 0).await?;
    if history.iter().any(|recorded| matches!(recorded.event.payload, Payload::LimitsSet(_))) {
        return Ok(());
    }
    let event = Event::new(EventId::new(), clock.now(), "vocalbridge/seed", aggregate, cause, DEMO_LIMITS);
    let last = history.last().map_or(0, |recorded| recorded.position.sequence);
    match log.append(&event, Expect::Last(last)).await {
        // Somebody set them meanwhile, or another seeds too.
        Ok(_) | Err(AppendError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Applies what is in the log so far, so that the demo keys work from the first request on, whatever roles run.
pub async fn project(system: &System) -> Result<()> {
    let source = Arc::new(LogSource(system.nats.log.clone()));
    let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
    let progress = Progress::new(system.database.clone());
    tasks.spawn({
        let (progress, end) = (progress.clone(), end.clone());
        async move { progress.run(end).await }
    });
    let mut projected = true;
    for partition in 0..system.nats.log.partitions() {
        let database = system.database.clone();
        tasks.spawn(projections::runner::run(database, source.clone(), partition, end.clone()));
        let sequence = system.nats.log.last_of_partition(partition).await?;
        let position = events::Position { partition, sequence };
        let name = Projection::Configuration.name();
        projected &= progress.reached(name, position, PROJECTION_LIMIT).await;
    }
    end.cancel();
    tasks.close();
    tasks.wait().await;
    anyhow::ensure!(projected, "the demo tenants did not reach the tables within a minute");
    Ok(())
}

struct DemoTenant {
    name: &'static str,
    invoice_prefix: &'static str,
    /// Number, dollars, status, what for.
    invoices: &'static [(u32, i64, InvoiceStatus, &'static str)],
}

use InvoiceStatus::{Overdue, Paid, Pending};

const DEMO: [DemoTenant; 2] = [
    DemoTenant {
        name: "TechCorp",
        invoice_prefix: "INV-TC",
        invoices: &[
            (1, 15_000, Paid, "Annual Enterprise License"),
            (2, 8_500, Pending, "Professional Plan"),
            (3, 3_200, Overdue, "Consulting Services"),
            (4, 25_000, Paid, "Custom Development"),
            (5, 12_000, Pending, "Premium Support"),
            (6, 5_500, Overdue, "Integration Services"),
        ],
    },
    DemoTenant {
        name: "HealthFirst",
        invoice_prefix: "INV-HF",
        invoices: &[
            (1, 45_000, Paid, "Medical Equipment Supply"),
            (2, 28_500, Pending, "Pharmaceutical Supplies"),
            (3, 12_750, Overdue, "Diagnostic Equipment"),
            (4, 67_000, Paid, "MRI Machine Installation"),
            (5, 19_200, Pending, "Medical Software Licensing"),
            (6, 8_900, Overdue, "Specialized Equipment Rental"),
            (7, 34_000, Paid, "Emergency Response Equipment"),
        ],
    },
];

impl DemoTenant {
    fn credentials(&self) -> TenantCredentials {
        let secret = random_bytes::<32>();
        TenantCredentials {
            id: TenantId::new(),
            name: self.name.to_owned(),
            api_key: NewKey::from_secret(ENVIRONMENT, &secret).text,
            api_key_secret: STANDARD.encode(secret),
            webhook_secret: format!("whsec_{}", STANDARD.encode(random_bytes::<32>())),
            agents: self
                .agents()
                .into_iter()
                .map(|(id, settings)| AgentName { id, name: settings.name })
                .collect(),
            api_key_id: ApiKeyId::new(),
        }
    }

    /// VendorA alone; VendorA with VendorB behind it; VendorB with VendorA behind it.
    fn agents(&self) -> [(AgentId, AgentSettings); 3] {
        let agent = |role: &str, primary: &str, fallbacks: &[&str]| {
            let settings = AgentSettings {
                name: format!("{} {role}", self.name),
                description: format!("{role} of {}: answers questions about invoices", self.name),
                system_prompt: format!(
                    "You are the {} assistant of {}. Be brief and friendly. Look invoices up before you speak of them.",
                    role.to_lowercase(),
                    self.name
                ),
                primary_provider: primary.to_owned(),
                fallbacks: fallbacks.iter().map(|name| (*name).to_owned()).collect(),
                llm_model: None,
                voice_id: None,
                language: "en-US".to_owned(),
                tools_enabled: vec!["invoice_lookup".to_owned()],
                greeting: None,
                is_active: true,
                metadata: serde_json::Map::new(),
                calendar: None,
                transfer_numbers: vec![],
                system_prompt_id: None,
                prompt_variables: Default::default(),
                hedge_after_ms: None,
                limits: None,
                stt: None,
                tts: None,
            };
            (AgentId::new(), settings)
        };
        [
            agent("Support", VENDOR_A, &[]),
            agent("Billing", VENDOR_A, &[VENDOR_B]),
            agent("Sales", VENDOR_B, &[VENDOR_A]),
        ]
    }
}

#[expect(clippy::disallowed_methods, reason = "secrets come from the process's own secure generator")]
fn random_bytes<const N: usize>() -> [u8; N] {
    rand::rng().random()
}

fn random_hex<const N: usize>() -> String {
    random_bytes::<N>().iter().map(|byte| format!("{byte:02x}")).collect()
}
