//! A private Postgres per test, or the one that `DATABASE_ADMIN_URL` names, with a database of its own.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use projections::{Config, Database, migrate};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

const LOGIN: &str = "vocalbridge";
const NOBODY: u32 = 65534;

/// What projections write.
pub const READ_SIDE: [&str; 32] = [
    "tenants",
    "api_keys",
    "api_key_secrets",
    "agents",
    "prompts",
    "prompt_versions",
    "default_prompts",
    "invoices",
    "custom_functions",
    "mcp_servers",
    "phone_numbers",
    "twilio_accounts",
    "sessions",
    "messages",
    "jobs",
    "provider_calls",
    "tool_executions",
    "usage_entries",
    "usage_rollups",
    "closed_invoices",
    "appointments",
    "calls",
    "call_turns",
    "interruptions",
    "webhooks",
    "webhook_deliveries",
    "webhook_attempts",
    "limits",
    "budgets",
    "budget_spending",
    "open_work",
    "archive",
];

/// A migrated database. The server, when it is ours, ends with this.
pub struct TestDatabase {
    pub database: Database,
    /// As the superuser, on whom row-level security does not bind.
    pub admin: PgPool,
    pub url: SecretString,
    pub server: Option<Server>,
}

impl TestDatabase {
    pub async fn start() -> Self {
        match std::env::var("DATABASE_ADMIN_URL") {
            Ok(url) => Self::on(&url, None).await,
            Err(_) => Self::start_private().await,
        }
    }

    pub async fn start_private() -> Self {
        let server = Server::start();
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
        Self::on(&url, Some(server)).await
    }

    async fn on(admin_url: &str, server: Option<Server>) -> Self {
        let mut admin = PgConnection::connect(admin_url).await.unwrap();
        let name = format!("projections_{}", Uuid::new_v4().simple());
        let role = format!("do $$ begin create role {LOGIN} login; exception when others then null; end $$");
        sqlx::raw_sql(AssertSqlSafe(role)).execute(&mut admin).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
        let base = admin_url.rsplit_once('/').unwrap().0;
        let admin_url = format!("{base}/{name}");
        let host = base.rsplit_once('@').unwrap().1;
        let url = SecretString::from(format!("postgres://{LOGIN}@{host}/{name}"));
        migrate(&SecretString::from(admin_url.clone()), LOGIN).await.unwrap();
        let database = Database::connect(&Config { url: url.clone(), max_connections: 4 }).await.unwrap();
        let admin =
            PgPool::connect(&format!("{admin_url}?options=-csearch_path%3Dvocalbridge")).await.unwrap();
        Self { database, admin, url, server }
    }

    /// Every row of every table of the read side, as text.
    pub async fn dump(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in READ_SIDE {
            let query = format!("select '{table}: ' || t::text from {table} t order by 1");
            let found: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&self.admin).await.unwrap();
            rows.extend(found);
        }
        rows
    }
}

pub struct Server {
    pub child: Child,
    data: PathBuf,
    pub port: u16,
}

impl Server {
    fn start() -> Self {
        let data = std::env::temp_dir().join(format!("vocalbridge-projections-{}", Uuid::new_v4().simple()));
        fs::create_dir(&data).unwrap();
        if is_root() {
            chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut initdb = unprivileged("initdb");
        initdb
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data);
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { child: launch(&data, port), data, port }
    }

    /// Ends it as a crash would, and starts it again on what is left.
    pub fn crash_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = launch(&self.data, self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Starts the server and waits until it can be used. After a crash it refuses to start before the children of the one
/// that crashed have noticed and gone.
fn launch(data: &Path, port: u16) -> Child {
    loop {
        let mut postgres = unprivileged("postgres");
        postgres.arg("-D").arg(data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "jit=off",
            "max_connections=30",
        ] {
            postgres.args(["-c", setting]);
        }
        let mut child = postgres.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        if log.by_ref().lines().any(|line| line.unwrap().contains("is ready to accept connections")) {
            // A log that nobody reads would stop the server.
            thread::spawn(move || io::copy(&mut log, &mut io::sink()));
            return child;
        }
        child.wait().unwrap();
    }
}

/// Postgres refuses to run as root.
fn unprivileged(program: &str) -> Command {
    let path = find(program);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=QUIT"]).arg(path);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn find(program: &str) -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&path).chain(installed).map(|place| place.join(program)).collect();
    places.retain(|place| place.is_file());
    places.into_iter().next_back().unwrap()
}
