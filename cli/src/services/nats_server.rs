//! The private nats-server: the committed `nats/server.conf`, with what is ours alone given as flags.

use std::{
    fs::{self, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{
    Durability, ServicesConfig, account, binaries, ports,
    process::{self, Identity, POLL, Process},
};

const SERVER_CONF: &str = include_str!("../../../nats/server.conf");

/// What a power cut may cost `dev`. Production says `always` (see the file).
const FULL_SYNC_INTERVAL: &str = "10s";
/// The server's own default.
const FAST_SYNC_INTERVAL: &str = "120s";

/// It reads its streams before it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const STOP_LIMIT: Duration = Duration::from_secs(6);
const START_ATTEMPTS: usize = 3;

/// A running nats-server with JetStream. Dropping it kills it.
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    data_dir: PathBuf,
    durability: Durability,
    port: u16,
    url: String,
    process: Process,
}

impl NatsServer {
    pub(super) async fn start(config: &ServicesConfig) -> Result<Self> {
        let (data_dir, durability) = (config.data_dir.clone(), config.durability);
        identity(&data_dir).stop_stale(Signal::SIGTERM, STOP_LIMIT).await?;
        let program = binaries::nats_server(&config.binaries_dir).await?;
        let mut store = fs::DirBuilder::new();
        store
            .recursive(true)
            .mode(0o700)
            .create(data_dir.join("nats"))
            .context("creating the store of nats-server")?;
        fs::write(data_dir.join("nats/server.conf"), SERVER_CONF).context("writing server.conf")?;
        fs::write(log_path(&data_dir), "").context("emptying the log of nats-server")?;

        let remembered =
            fs::read_to_string(port_path(&data_dir)).ok().and_then(|port| port.trim().parse().ok());
        let mut attempts = 0;
        let (process, port) = loop {
            let port = ports::free(remembered)?;
            let command = command(&program, &data_dir, durability, port)?;
            let mut process = Process::spawn(command, identity(&data_dir)).await?;
            attempts += 1;
            match wait_until_ready(&mut process, &data_dir, port).await {
                Ok(()) => break (process, port),
                Err(_)
                    if attempts < START_ATTEMPTS && process.ended()?.is_some() && !ports::is_free(port) => {}
                Err(error) => return Err(error),
            }
        };
        fs::write(port_path(&data_dir), port.to_string()).context("remembering the port of nats-server")?;
        tracing::info!(program = %program.display(), port, "nats-server runs");
        Ok(Self { program, data_dir, durability, port, url: format!("nats://127.0.0.1:{port}"), process })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGKILL; returns when it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// After its death, on the same port and data; returns when it answers.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.ended()?.is_some(), "nats-server still runs");
        let command = command(&self.program, &self.data_dir, self.durability, self.port)?;
        self.process = Process::spawn(command, identity(&self.data_dir)).await?;
        wait_until_ready(&mut self.process, &self.data_dir, self.port).await
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// Closes its connections and writes everything out, at once: nobody is left to be sent elsewhere.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop(Signal::SIGTERM, STOP_LIMIT).await
    }
}

/// Stops what runs on it and removes the streams of `data_dir`.
pub async fn erase(data_dir: &Path) -> Result<()> {
    identity(data_dir).stop_stale(Signal::SIGTERM, STOP_LIMIT).await?;
    super::remove_dir(&data_dir.join("nats"))
}

fn identity(data_dir: &Path) -> Identity {
    Identity { program: "nats-server", mark: server_name(data_dir) }
}

/// Says whose server answers on a port, and marks the process.
fn server_name(data_dir: &Path) -> String {
    account::mark(data_dir)
}

fn port_path(data_dir: &Path) -> PathBuf {
    data_dir.join("nats/port")
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("logs/nats.log")
}

fn command(program: &Path, data_dir: &Path, durability: Durability, port: u16) -> Result<Command> {
    let path = log_path(data_dir);
    let log = File::options().append(true).create(true).open(&path);
    let log = log.with_context(|| format!("opening {}", path.display()))?;
    let mut command = process::server_command(program, None, Signal::SIGTERM);
    command
        .arg("--config")
        .arg(data_dir.join("nats/server.conf"))
        .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--name", &server_name(data_dir)])
        .arg("--store_dir")
        .arg(data_dir.join("nats"))
        .env(
            "NATS_SYNC_INTERVAL",
            match durability {
                Durability::Full => FULL_SYNC_INTERVAL,
                Durability::Fast => FAST_SYNC_INTERVAL,
            },
        )
        .env("GOMAXPROCS", processors().to_string())
        // Memory for time: each collection of garbage holds messages up.
        .env("GOGC", "400")
        .env("GOMEMLIMIT", "1GiB")
        .stdout(log.try_clone().context("sharing the log")?)
        .stderr(log);
    Ok(command)
}

/// Half of the machine, and at least one: it is shared with all we are. Every further thread of the server costs each
/// message a change of threads (docs/decisions/0014).
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

async fn wait_until_ready(process: &mut Process, data_dir: &Path, port: u16) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = process.ended()? {
            bail!("nats-server ended ({status}); its log says:\n{}", process::log_tail(&log_path(data_dir)));
        }
        match tokio::time::timeout(ANSWER_LIMIT, ask(port))
            .await
            .context("nats-server does not answer")
            .flatten()
        {
            Ok(info) if info.contains(&server_name(data_dir)) && info.contains("\"jetstream\":true") => {
                return Ok(());
            }
            Err(error) if Instant::now() > deadline => {
                let log = process::log_tail(&log_path(data_dir));
                return Err(error.context(format!("nats-server is not ready; its log says:\n{log}")));
            }
            Ok(_) if Instant::now() > deadline => bail!("somebody else's server answers on port {port}"),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// A whole round trip; answers what the server says about itself.
async fn ask(port: u16) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let mut info = String::new();
    stream.read_line(&mut info).await?;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await?;
    let mut pong = String::new();
    stream.read_line(&mut pong).await?;
    ensure!(pong.trim() == "PONG", "nats-server answered {:?} to a ping", pong.trim());
    Ok(info)
}
