//! One installation under load: services, the simulated vendors in this process, and the program in one of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cli::seed::{self, Credentials};
use cli::services::{Durability, Services, ServicesConfig};
use cli::settings::{self, Settings, environment};
use cli::system::System;
use secrecy::SecretString;
use tests::{Client, Process, world};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vendors::simulator::{self, Control, SimulatorConfig};

use crate::cpu::Cpu;
use crate::now;

pub struct Installation {
    pub credentials: Credentials,
    pub client: Client,
    pub address: SocketAddr,
    /// The simulated vendors.
    pub vendor: SocketAddr,
    pub system: System,
    pub cpu: Cpu,
    services: Services,
    server: Process,
    tracker: TaskTracker,
    end: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Installation {
    /// All roles in one process, with `extra` settings; `{vendor}` in a value is the simulated vendors' address.
    pub async fn start(extra: &[(&str, &str)]) -> Result<Self> {
        // VOCALBRIDGE_TEST_KEEP=1 leaves the data and the program's log for a look.
        let keep = environment("VOCALBRIDGE_TEST_KEEP").is_some();
        let folder = tempfile::Builder::new().prefix("vocalbridge-bench-").disable_cleanup(keep).tempdir()?;
        let durability = if environment("BENCH_DURABILITY").as_deref() == Some("fast") {
            Durability::Fast
        } else {
            Durability::Full
        };
        let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.data/bin");
        let config = ServicesConfig::new(folder.path().join("data"), durability).with_binaries_dir(binaries);
        let services = Services::start(&config).await?;
        let credentials = Credentials::load_or_make(&folder.path().join("credentials.json"))?;
        let login = SecretString::from(services.postgres.url().to_owned());
        let admin = SecretString::from(services.postgres.admin_url().to_owned());
        projections::migrate(&admin, settings::login_role(&login).context("no login role")?).await?;

        let (tracker, end) = (TaskTracker::new(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let vendor = listener.local_addr()?;
        let mut simulated = SimulatorConfig::new(now);
        simulated.vendor_a = Control { failure_rate: 0.0, ..Control::vendor_a() };
        let vendor_end = end.clone();
        tracker.spawn(async move { simulator::run(listener, simulated, vendor_end).await });

        let ours = [
            ("DATABASE_URL", services.postgres.url()),
            ("NATS_URL", services.nats.url()),
            ("VOCALBRIDGE_OPERATOR_KEY", credentials.operator_key.as_str()),
            ("VOCALBRIDGE_SECRET_KEY", credentials.secret_key.as_str()),
            ("VENDOR_A_BASE_URL", "http://{vendor}/vendor_a"),
            ("VENDOR_B_BASE_URL", "http://{vendor}/vendor_b"),
            ("RUST_LOG", "warn"),
        ];
        let settings: Vec<(String, String)> = ours
            .iter()
            .chain(extra)
            .map(|(name, value)| ((*name).to_owned(), value.replace("{vendor}", &vendor.to_string())))
            .collect();
        let lookup =
            |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let system = System::connect(Settings::read(&lookup)?).await?;
        seed::seed(&system.nats.log, &system.keyring, &system.clock, &credentials).await?;
        seed::project(&system).await?;

        let port = world::free_port();
        let server = serve(&settings, port, folder.path().join("server.log"));
        let client = Client::new(&format!("http://127.0.0.1:{port}"), &credentials.tenants[0].api_key);
        world::ready(&client).await;
        let cpu = Cpu::of(server.pid(), services.nats.pid(), services.postgres.pids());
        let address = format!("127.0.0.1:{port}").parse()?;
        Ok(Self {
            credentials,
            client,
            address,
            vendor,
            system,
            cpu,
            services,
            server,
            tracker,
            end,
            _folder: folder,
        })
    }

    pub async fn stop(self) -> Result<()> {
        self.end.cancel();
        drop(self.server);
        self.tracker.close();
        self.tracker.wait().await;
        self.services.stop().await?;
        Ok(())
    }
}

fn serve(settings: &[(String, String)], port: u16, log: PathBuf) -> Process {
    let passed_on = ["TOKIO_WORKER_THREADS", "RUST_LOG"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), environment(name)?)));
    let settings: Vec<_> = settings.iter().cloned().chain(passed_on).collect();
    let arguments = ["serve", "--roles", "api,workers,projections", "--port", &port.to_string()];
    Process::start(&arguments, &settings, log)
}
