//! One installation for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cli::seed::{self, Credentials, TenantCredentials};
use cli::services::{Durability, Services, ServicesConfig};
use cli::settings::{self, Settings};
use cli::system::{Roles, System};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vendors::simulator::{self, Control, SimulatorConfig};

use crate::{Client, Process, eventually};

/// Services, seed and simulators of one test, and whatever roles it starts. The vendors are calm until told otherwise.
pub struct World {
    pub services: Services,
    pub credentials: Credentials,
    pub simulator: String,
    pub folder: TempDir,
    tracker: TaskTracker,
    end: CancellationToken,
    processes: usize,
    extra: Vec<(String, String)>,
}

const READY_LIMIT: Duration = Duration::from_secs(60);

impl World {
    /// Everything but the roles.
    pub async fn services() -> Self {
        Self::with_environment(&[]).await
    }

    /// The same, with settings for all roles; `{simulator}` in a value stands for the simulators' address.
    pub async fn with_environment(extra: &[(&str, &str)]) -> Self {
        // VOCALBRIDGE_TEST_KEEP=1 leaves the data and the processes' logs for a look.
        let keep = std::env::var_os("VOCALBRIDGE_TEST_KEEP").is_some();
        let folder =
            tempfile::Builder::new().prefix("vocalbridge-test-").disable_cleanup(keep).tempdir().unwrap();
        let config =
            ServicesConfig::new(folder.path().join("data"), Durability::Fast).with_binaries_dir(binaries());
        let services = Services::start(&config).await.unwrap();
        let credentials = Credentials::load_or_make(&folder.path().join("credentials.json")).unwrap();
        let login = SecretString::from(services.postgres.url().to_owned());
        let admin = SecretString::from(services.postgres.admin_url().to_owned());
        projections::migrate(&admin, settings::login_role(&login).unwrap()).await.unwrap();

        let (tracker, end) = (TaskTracker::new(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulator = format!("http://{}", listener.local_addr().unwrap());
        let mut config = SimulatorConfig::new(now);
        config.seed = Some(7);
        config.vendor_a = Control { failure_rate: 0.0, ..Control::vendor_a() };
        config.vendor_b = Control { failure_rate: 0.0, ..Control::vendor_b() };
        let simulators_end = end.clone();
        tracker.spawn(async move { simulator::run(listener, config, simulators_end).await });

        let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let world = Self { services, credentials, simulator, folder, tracker, end, processes: 0, extra };
        let system = world.connect().await;
        seed::seed(&system.nats.log, &system.keyring, &system.clock, &world.credentials).await.unwrap();
        seed::project(&system).await.unwrap();
        world
    }

    /// All roles in this process, and a client of the first demo tenant.
    pub async fn start() -> (Self, Client) {
        Self::start_with(&[]).await
    }

    pub async fn start_with(extra: &[(&str, &str)]) -> (Self, Client) {
        let world = Self::with_environment(extra).await;
        let client = world.run(Roles::all()).await;
        (world, client)
    }

    /// The settings of every role.
    pub fn environment(&self) -> Vec<(String, String)> {
        let ours = [
            ("DATABASE_URL", self.services.postgres.url()),
            ("NATS_URL", self.services.nats.url()),
            ("VOCALBRIDGE_OPERATOR_KEY", self.credentials.operator_key.as_str()),
            ("VOCALBRIDGE_SECRET_KEY", self.credentials.secret_key.as_str()),
            ("VOCALBRIDGE_ENVIRONMENT", "test"),
            ("VOCALBRIDGE_PORT", "0"),
            ("VENDOR_A_BASE_URL", &format!("{}/vendor_a", self.simulator)),
            ("VENDOR_B_BASE_URL", &format!("{}/vendor_b", self.simulator)),
            ("SIMULATED_SPEECH_BASE_URL", &format!("{}/simulated/v1", self.simulator)),
            // Several systems share this machine, and all of their servers with them.
            ("VOCALBRIDGE_REALTIME", "false"),
            ("VENDOR_TIMEOUT_SECONDS", "2"),
            ("VENDOR_RETRY_MIN_WAIT", "0.01"),
            ("VENDOR_RETRY_MAX_WAIT", "0.1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let extra = self
            .extra
            .iter()
            .map(|(name, value)| (name.clone(), value.replace("{simulator}", &self.simulator)));
        ours.into_iter().chain(extra).collect()
    }

    /// Roles that start from now on do not have this setting of the test's own.
    pub fn forget(&mut self, setting: &str) {
        self.extra.retain(|(name, _)| name != setting);
    }

    /// The connections of one more process.
    pub async fn connect(&self) -> System {
        let environment = self.environment();
        let lookup = |name: &str| {
            environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        System::connect(Settings::read(&lookup).unwrap()).await.unwrap()
    }

    /// Runs `roles` in this process.
    pub async fn run(&self, roles: Roles) -> Client {
        self.run_with(roles, |_| {}).await
    }

    /// The same, with something changed in what they share.
    pub async fn run_with(&self, roles: Roles, change: impl FnOnce(&mut System)) -> Client {
        let mut system = self.connect().await;
        change(&mut system);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let end = self.end.clone();
        self.tracker.spawn(async move { system.run(&roles, Some(listener), end).await });
        let client = self.client(&address, 0);
        ready(&client).await;
        client
    }

    /// Runs `roles` in a process of its own. With `api` among them it listens on `port`.
    pub fn spawn(&mut self, roles: &str, port: u16) -> Process {
        self.processes += 1;
        let log = self.folder.path().join(format!("process-{}.log", self.processes));
        Process::start(&["serve", "--roles", roles, "--port", &port.to_string()], &self.environment(), log)
    }

    /// A client of demo tenant `tenant` (0: TechCorp, 1: HealthFirst) at `base_url`.
    pub fn client(&self, base_url: &str, tenant: usize) -> Client {
        Client::new(base_url, &self.tenant(tenant).api_key)
    }

    pub fn tenant(&self, tenant: usize) -> &TenantCredentials {
        &self.credentials.tenants[tenant]
    }

    /// Agent 0 asks VendorA alone, 1 VendorA then VendorB, 2 VendorB then VendorA.
    pub fn agent(&self, tenant: usize, agent: usize) -> String {
        self.tenant(tenant).agents[agent].id.to_string()
    }

    /// Tells a simulated vendor how to behave.
    pub async fn control(&self, vendor: &str, control: Value) {
        let client = Client::new(&self.simulator, "");
        let request = client.request(reqwest::Method::PUT, &format!("/_control/{vendor}")).json(&control);
        let answer = client.send(request).await.unwrap();
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// Every request that a simulated vendor got, without bodies.
    pub async fn vendor_log(&self, vendor: &str) -> Vec<Value> {
        let answer = Client::new(&self.simulator, "").get(&format!("/_log/{vendor}?bodies=false")).await;
        answer.body.as_array().unwrap().clone()
    }

    /// The same with bodies.
    pub async fn vendor_requests(&self, vendor: &str) -> Vec<Value> {
        let answer = Client::new(&self.simulator, "").get(&format!("/_log/{vendor}")).await;
        answer.body.as_array().unwrap().clone()
    }

    /// Makes both vendors fail at the rates of the demo.
    pub async fn unreliable_vendors(&self) {
        self.control("vendor_a", json!({ "failure_rate": 0.1 })).await;
        self.control("vendor_b", json!({ "failure_rate": 0.1 })).await;
    }

    /// Stops the roles that run in this process.
    pub async fn stop(&self) {
        self.end.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Waits until the api behind `client` serves.
pub async fn ready(client: &Client) {
    eventually("readiness of the api", READY_LIMIT, async || {
        let answer = client.send(client.request(reqwest::Method::GET, "/ready")).await.ok()?;
        answer.status.is_success().then_some(())
    })
    .await;
}

/// A port that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Binaries and the ready-made cluster are shared by all tests of a checkout.
pub fn binaries() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.data/bin")
}

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
