//! `vocalbridge dev`: the whole system in one process, with a Postgres and nats-server of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use secrecy::SecretString;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::models::{self, Check};
use crate::seed::{self, Credentials, TenantCredentials};
use crate::services::{self, Durability, Services, ServicesConfig};
use crate::settings::{self, DEFAULT_PORT, Settings};
use crate::system::{self, Roles, System};
use crate::{serve, settings::environment};

/// How `vocalbridge dev` was called.
#[derive(Clone, Debug)]
pub struct Options {
    /// 0: any free port. `None`: `VOCALBRIDGE_PORT`, else 8000.
    pub port: Option<u16>,
    pub data_dir: PathBuf,
    /// Seed, wait until the projections have it, and stop.
    pub seed_only: bool,
    /// Throw the data away first.
    pub fresh: bool,
    /// Postgres, NATS, seed and simulators only; the roles are run apart with `serve`.
    pub services_only: bool,
    /// Do without speech on this machine when its models are missing.
    pub no_models: bool,
}

/// `<data-dir>/dev.json`: how to reach what runs.
#[derive(Debug, Serialize)]
struct DevFile<'a> {
    base_url: &'a str,
    operator_key: &'a str,
    secret_key: &'a str,
    nats_url: &'a str,
    database_url: &'a str,
    database_admin_url: &'a str,
    simulator_url: &'a str,
    twilio: &'a DevTwilio,
    tenants: Vec<DevTenant<'a>>,
}

/// The account that stands for Twilio's, so that `vocalbridge call --transport twilio` can sign as Twilio does.
#[derive(Debug, Serialize)]
struct DevTwilio {
    account_sid: String,
    auth_token: String,
}

impl DevTwilio {
    /// The operator's own, else one made up of the installation's secret.
    fn of(credentials: &Credentials) -> Self {
        let own = environment("TWILIO_ACCOUNT_SID").zip(environment("TWILIO_AUTH_TOKEN"));
        let (account_sid, auth_token) = own.unwrap_or_else(|| {
            let made_up = |name: &str| {
                Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name} {}", credentials.secret_key).as_bytes())
            };
            (format!("AC{}", made_up("account").simple()), made_up("token").simple().to_string())
        });
        Self { account_sid, auth_token }
    }
}

#[derive(Debug, Serialize)]
struct DevTenant<'a> {
    id: events::TenantId,
    name: &'a str,
    api_key: &'a str,
    webhook_secret: &'a str,
    agents: &'a [seed::AgentName],
}

impl<'a> From<&'a TenantCredentials> for DevTenant<'a> {
    fn from(tenant: &'a TenantCredentials) -> Self {
        let TenantCredentials { id, name, api_key, webhook_secret, agents, .. } = tenant;
        Self { id: *id, name, api_key, webhook_secret, agents }
    }
}

/// Runs until Ctrl-C or SIGTERM, or with `seed_only` until the seed is in.
pub async fn dev(options: Options) -> Result<()> {
    if options.fresh {
        services::erase(&options.data_dir).await?;
    }
    let signals = TaskTracker::new();
    let shutdown = system::shutdown_signal(&signals)?;
    let mut services = Services::start(&ServicesConfig::new(&options.data_dir, Durability::Full)).await?;
    let ended = run(&options, &mut services, shutdown).await;
    let stopped = services.stop().await;
    ended.and(stopped)
}

async fn run(options: &Options, services: &mut Services, shutdown: CancellationToken) -> Result<()> {
    let credentials = Credentials::load_or_make(&options.data_dir.join("credentials.json"))?;
    let (database_url, admin_url) =
        (services.postgres.url().to_owned(), services.postgres.admin_url().to_owned());
    let nats_url = services.nats.url().to_owned();
    let login = SecretString::from(database_url.clone());
    let login_role = settings::login_role(&login).context("the private Postgres has no login role")?;
    projections::migrate(&SecretString::from(admin_url.clone()), login_role).await?;

    let port = match options.port {
        Some(port) => port,
        None => environment("VOCALBRIDGE_PORT").map_or(Ok(DEFAULT_PORT), |port| port.parse())?,
    };
    let listener = if options.services_only || options.seed_only {
        None
    } else {
        Some(serve::listen("127.0.0.1", port, serve::PORT_SETTING).await?)
    };
    let port =
        listener.as_ref().map_or(Ok(port), |listener| listener.local_addr().map(|address| address.port()))?;
    let models_dir =
        environment("VOCALBRIDGE_MODELS_DIR").map_or_else(|| options.data_dir.join("models"), PathBuf::from);
    if !(options.no_models || options.seed_only || options.services_only) {
        bring_models(&models_dir).await;
    }
    let twilio = DevTwilio::of(&credentials);
    let ours = |name: &str| match name {
        "VOCALBRIDGE_MODELS_DIR" => Some(models_dir.display().to_string()),
        "DATABASE_URL" => Some(database_url.clone()),
        "NATS_URL" => Some(nats_url.clone()),
        "VOCALBRIDGE_OPERATOR_KEY" => Some(credentials.operator_key.clone()),
        "VOCALBRIDGE_SECRET_KEY" => Some(credentials.secret_key.clone()),
        "VOCALBRIDGE_PORT" => Some(port.to_string()),
        "VOCALBRIDGE_ENVIRONMENT" => Some("dev".to_owned()),
        "DATABASE_MAX_CONNECTIONS" => environment(name).or_else(|| Some("20".to_owned())),
        "APP_URL" => environment(name).or_else(|| Some(format!("http://127.0.0.1:{port}"))),
        "TWILIO_ACCOUNT_SID" => Some(twilio.account_sid.clone()),
        "TWILIO_AUTH_TOKEN" => Some(twilio.auth_token.clone()),
        // Calls to numbers that nobody has assigned: the first demo tenant's.
        "DEFAULT_TENANT_ID" => {
            environment(name).or_else(|| credentials.tenants.first().map(|tenant| tenant.id.to_string()))
        }
        _ => environment(name),
    };
    let system = System::connect(Settings::read(&ours)?).await?;
    system.publish_prices().await?;
    seed::seed(&system.nats.log, &system.keyring, &system.clock, &credentials).await?;

    let background = TaskTracker::new();
    let simulator_end = CancellationToken::new();
    let simulator_url = system::start_simulator(&background, simulator_end.clone()).await?;
    system.nats.notes.set(nats::notes::SIMULATOR_URL, &simulator_url).await?;
    let base_url = format!("http://127.0.0.1:{port}");
    let file = DevFile {
        base_url: &base_url,
        operator_key: &credentials.operator_key,
        secret_key: &credentials.secret_key,
        nats_url: &nats_url,
        database_url: &database_url,
        database_admin_url: &admin_url,
        simulator_url: &simulator_url,
        twilio: &twilio,
        tenants: credentials.tenants.iter().map(DevTenant::from).collect(),
    };

    // The private servers are brought back when they die, as a supervisor would.
    let keep = services.keep_running(&shutdown);
    let work = async {
        seed::project(&system).await?;
        if options.seed_only {
            write_dev_file(&options.data_dir, &file)?;
            println!("The demo tenants are in. Start the system with: vocalbridge dev");
            shutdown.cancel();
            return Ok(());
        }
        write_dev_file(&options.data_dir, &file)?;
        println!("{}", banner(options, &file));
        if options.services_only {
            shutdown.cancelled().await;
            return Ok(());
        }
        system.run(&Roles::all(), listener, shutdown.clone()).await
    };
    let ((), worked) = tokio::join!(keep, async {
        let worked = work.await;
        shutdown.cancel();
        worked
    });
    simulator_end.cancel();
    background.close();
    background.wait().await;
    worked
}

/// Voice is a part of the system; without it the rest still is.
async fn bring_models(models_dir: &Path) {
    if let Err(error) = models::bring(models_dir, Check::Presence).await {
        eprintln!(
            "The speech models could not be brought, so the engine `local` will not hear or speak: {error:#}"
        );
    }
}

fn write_dev_file(data_dir: &Path, file: &DevFile<'_>) -> Result<()> {
    seed::write_private(&data_dir.join("dev.json"), &serde_json::to_string_pretty(file)?)
}

fn banner(options: &Options, file: &DevFile<'_>) -> String {
    let DevFile { base_url, operator_key, simulator_url, tenants, .. } = file;
    let keys: String =
        tenants.iter().map(|tenant| format!("  {:<12}{}\n", tenant.name, tenant.api_key)).collect();
    let Some((key, agent)) =
        tenants.first().and_then(|tenant| Some((tenant.api_key, tenant.agents.get(1)?.id)))
    else {
        return format!("VocalBridge runs at {base_url}");
    };
    let address = if options.services_only {
        format!(
            "VocalBridge's services run; start roles with: vocalbridge serve --roles api,workers,projections\n\n  nats        {}\n  database    {}\n",
            file.nats_url, file.database_url
        )
    } else {
        format!("VocalBridge runs at {base_url}  (docs: {base_url}/docs)\n")
    };
    format!(
        "\n{address}\n  operator    {operator_key}\n{keys}  simulators  {simulator_url}\n  details     {details}\n\n\
         Try:\n\
         \x20 curl -s {base_url}/api/agents -H 'X-API-Key: {key}'\n\
         \x20 SESSION=$(curl -s {base_url}/api/sessions -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \\\n\
         \x20   -d '{{\"agent_id\":\"{agent}\",\"customer_id\":\"you\"}}' | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"id\"])')\n\
         \x20 curl -s {base_url}/api/sessions/$SESSION/messages -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \\\n\
         \x20   -d '{{\"content\":\"What is the status of invoice INV-TC-001?\"}}'\n\n\
         Ctrl-C stops everything; starting again goes on with the same data.",
        details = options.data_dir.join("dev.json").display(),
    )
}
