//! The private Postgres: found or fetched, initialised once, started, and given our database and roles.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use sqlx::Connection;

use super::{
    Durability, ServicesConfig,
    account::{self, Account},
    binaries::{self, PostgresPrograms},
    cluster::{self, Record, SUPERUSER},
    database::{DATABASE, MAINTENANCE, ROLE, connect, ensure_database, url},
    ports,
    process::{self, Identity, POLL, Process},
    template::template,
};

/// Every setting that differs from the default.
const SETTINGS: [(&str, &str); 13] = [
    ("listen_addresses", "127.0.0.1"),
    // No socket file: another account could reach it, and its path has a limit of 107 bytes.
    ("unix_socket_directories", ""),
    ("max_connections", "60"),
    ("shared_buffers", "64MB"),
    ("effective_cache_size", "512MB"),
    // For a solid-state disk.
    ("random_page_cost", "1.1"),
    // Compiling a plan takes longer than any of our queries.
    ("jit", "off"),
    // Nobody replicates from here: a smaller log, and checkpoints rare enough not to disturb.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "15min"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// The kernel keeps what was written when a process dies, so a killed Postgres loses nothing even so. That is why
/// `synchronous_commit` stays on: off, it acknowledges before writing.
const FAST: [(&str, &str); 2] = [("fsync", "off"), ("full_page_writes", "off")];

/// Recovery after a kill reads at most `max_wal_size`.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(6);
/// What a new Postgres says while a child of the one before lives.
const STILL_ATTACHED: &str = "pre-existing shared memory block";

/// A port may be taken between choosing and binding it.
const START_ATTEMPTS: usize = 3;

/// A running Postgres. Dropping it kills it.
pub struct Postgres {
    record: Record,
    programs: PostgresPrograms,
    account: Option<Account>,
    durability: Durability,
    log: PathBuf,
    admin_url: String,
    url: String,
    process: Process,
}

impl Postgres {
    pub(super) async fn start(config: &ServicesConfig) -> Result<Self> {
        let account = Account::for_postgres()?;
        let record_path = record_path(&config.data_dir);
        let mut record = match Record::read(&record_path)? {
            Some(record) => record,
            None => new_record(&config.data_dir, account.as_ref()).await?,
        };
        identity(&record).stop_stale(Signal::SIGINT, STOP_LIMIT).await?;

        let major = record.major()?;
        let programs = binaries::postgres(&config.binaries_dir, account.as_ref(), major).await?;
        if major.is_none() {
            if config.durability == Durability::Fast {
                let template = template(&config.binaries_dir, &programs, account.as_ref()).await?;
                record = Record { home: record.home, port: None, ..template.clone() };
                record.write(&record_path)?;
                cluster::copy(&template, &record, account.as_ref()).await?;
            } else {
                // Before the data it opens: a cluster without its passwords is of no use.
                record.write(&record_path)?;
                cluster::init(&record, &programs, account.as_ref()).await?;
            }
        }

        let log = config.data_dir.join("logs/postgres.log");
        fs::write(&log, "").with_context(|| format!("emptying {}", log.display()))?;
        let postgres = Self::launch(record, programs, account, config.durability, log).await?;
        postgres.record.write(&record_path)?;
        tracing::info!(version = %postgres.programs.version, directory = %postgres.record.home.display(), "Postgres runs");
        Ok(postgres)
    }

    pub(super) async fn launch(
        mut record: Record,
        programs: PostgresPrograms,
        account: Option<Account>,
        durability: Durability,
        log: PathBuf,
    ) -> Result<Self> {
        let mut attempts = 0;
        let (process, admin_url) = loop {
            let port = ports::free(record.port)?;
            record.port = Some(port);
            let command = command(&record, &programs, account.as_ref(), durability, &log, port)?;
            let mut process = Process::spawn(command, identity(&record)).await?;
            let admin_url = url(SUPERUSER, &record.admin_password, port, MAINTENANCE);
            attempts += 1;
            match wait_until_ready(&mut process, &admin_url, &log).await {
                Ok(()) => break (process, admin_url),
                Err(_)
                    if attempts < START_ATTEMPTS && process.ended()?.is_some() && !ports::is_free(port) => {}
                Err(error) => return Err(error),
            }
        };
        ensure_database(&admin_url, &record).await.context("creating the database and its roles")?;
        let port = record.port.unwrap_or_default();
        let admin_url = url(SUPERUSER, &record.admin_password, port, DATABASE);
        let url = url(ROLE, &record.password, port, DATABASE);
        Ok(Self { record, programs, account, durability, log, admin_url, url, process })
    }

    /// The database `vocalbridge` as superuser.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// The database `vocalbridge` as the role `vocalbridge`, which owns nothing.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.record.port.unwrap_or_default()
    }

    /// The postmaster and its living children.
    pub fn pids(&self) -> Vec<u32> {
        self.process.identity().pids()
    }

    /// SIGKILL to the postmaster and its children; returns when none is left.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// After its death, on the same port and data; returns when it answers.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.ended()?.is_some(), "Postgres still runs");
        // A new one is refused as long as one child of the old one lives.
        self.process.kill().await?;
        let began = Instant::now();
        loop {
            let (record, account) = (&self.record, self.account.as_ref());
            let command = command(record, &self.programs, account, self.durability, &self.log, self.port())?;
            self.process = Process::spawn(command, identity(record)).await?;
            match wait_until_ready(&mut self.process, &self.admin_url, &self.log).await {
                // A child that was forked at the last moment, and has not seen yet that its parent is gone.
                Err(error)
                    if format!("{error:#}").contains(STILL_ATTACHED) && began.elapsed() < STOP_LIMIT =>
                {
                    self.process.kill().await?;
                }
                outcome => return outcome,
            }
        }
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// A fast shutdown: open transactions are rolled back, connections closed, everything written out.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(Signal::SIGINT, STOP_LIMIT).await
    }
}

/// Stops what runs on it and removes the cluster of `data_dir`, wherever it is.
pub async fn erase(data_dir: &Path) -> Result<()> {
    let home = data_dir.join("postgres");
    for home in [account::stand_in(&home), home] {
        let mark = account::mark(&home);
        Identity { program: "postgres", mark }.stop_stale(Signal::SIGQUIT, STOP_LIMIT).await?;
        super::remove_dir(&home)?;
    }
    match fs::remove_file(record_path(data_dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing postgres.json")
        }
        _ => Ok(()),
    }
}

fn record_path(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres.json")
}

fn identity(record: &Record) -> Identity {
    Identity { program: "postgres", mark: account::mark(&record.home) }
}

/// For a data directory that has no cluster. A cluster in its stand-in was orphaned when somebody removed the data
/// directory: they wanted it gone. One in place has lost its passwords, and that is for a person to decide.
async fn new_record(data_dir: &Path, account: Option<&Account>) -> Result<Record> {
    let home = account::reachable(&data_dir.join("postgres"), account)?;
    let record = Record::new(home)?;
    if record.data().exists() {
        ensure!(
            record.home == account::stand_in(&data_dir.join("postgres")),
            "{} holds data, but postgres.json with its passwords is missing: put it back, or start afresh",
            record.home.display()
        );
        tracing::warn!(directory = %record.home.display(), "removing the cluster of a removed data directory");
        identity(&record).stop_stale(Signal::SIGQUIT, STOP_LIMIT).await?;
        super::remove_dir(&record.data())?;
    }
    Ok(record)
}

fn command(
    record: &Record,
    programs: &PostgresPrograms,
    account: Option<&Account>,
    durability: Durability,
    log: &Path,
    port: u16,
) -> Result<Command> {
    // A killed Postgres leaves its pid; when somebody else has that pid now, the next start would be refused. None of
    // ours runs: we hold the data directory, and have looked.
    let _ = fs::remove_file(record.data().join("postmaster.pid"));
    let log = File::options()
        .append(true)
        .create(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;

    // An interrupted *fast* shutdown leaves nothing behind but a log to replay, so that is what our death means.
    // Nobody on the way of a message waits for a table: projections yield to the log and the workers.
    let postgres = programs.dir.join("postgres");
    let mut command = process::server_command(&postgres, account, Signal::SIGINT);
    command.arg("-D").arg(record.data()).arg("-p").arg(port.to_string());
    // Also the title of every child, which is how a child without its postmaster is found.
    command.arg("-c").arg(format!("cluster_name={}", account::mark(&record.home)));
    let fast = FAST.iter().filter(|_| durability == Durability::Fast);
    for (name, value) in SETTINGS.iter().chain(fast) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.stdout(log.try_clone().context("sharing the log")?).stderr(log);
    Ok(command)
}

/// Ready is who takes our password and answers.
async fn wait_until_ready(process: &mut Process, admin_url: &str, log: &Path) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = process.ended()? {
            bail!("Postgres ended ({status}); its log says:\n{}", process::log_tail(log));
        }
        match connect(admin_url).await {
            Ok(connection) => return connection.close().await.context("leaving Postgres"),
            Err(error) if Instant::now() > deadline => {
                return Err(error
                    .context(format!("Postgres is not ready; its log says:\n{}", process::log_tail(log))));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Without the addresses: they hold passwords.
impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("record", &self.record).finish_non_exhaustive()
    }
}
