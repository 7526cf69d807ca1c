//! A Postgres cluster on disk: made by `initdb`, or copied from a ready-made one.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{TryRng, rngs::SysRng};
use serde::{Deserialize, Serialize};

use super::{
    account::{self, Account},
    binaries::PostgresPrograms,
    pip,
};

/// The name of the superuser that `initdb` makes.
pub const SUPERUSER: &str = "postgres";

const INITDB_LIMIT: Duration = Duration::from_secs(120);

/// What must be remembered about a cluster, in a file only we can read (`postgres.json`).
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// Holds `data`; outside of the data directory when that is closed to the account.
    pub home: PathBuf,
    pub port: Option<u16>,
    pub admin_password: String,
    pub password: String,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("home", &self.home).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Record {
    pub fn new(home: PathBuf) -> Result<Self> {
        Ok(Self { home, port: None, admin_password: password()?, password: password()? })
    }

    /// `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {}", path.display()))?,
        };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("reading {}", path.display()))
    }

    /// Whole or not at all, whatever happens in between.
    pub fn write(&self, path: &Path) -> Result<()> {
        let partial = path.with_extension("partial");
        let write = || -> Result<()> {
            write_secret(&partial, &serde_json::to_vec_pretty(self)?)?;
            Ok(fs::rename(&partial, path)?)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The major version that made the data. `None` when there is no data yet.
    pub fn major(&self) -> Result<Option<u32>> {
        let path = self.data().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => {
                let text = read.with_context(|| format!("reading {}", path.display()))?;
                Ok(Some(text.trim().parse().with_context(|| format!("no version in {}", path.display()))?))
            }
        }
    }
}

/// Runs `initdb`: UTF-8, C collation, scram passwords. `data` appears when it is complete, never before.
pub async fn init(record: &Record, programs: &PostgresPrograms, account: Option<&Account>) -> Result<()> {
    let partial = empty_data_dir(&record.home, account)?;
    // `initdb` takes the password from a file that its own account can read.
    let password_file = record.home.join("password");
    write_secret(&password_file, record.admin_password.as_bytes())?;
    account::give(&password_file, account)?;

    let mut initdb = account::command(programs.dir.join("initdb"), account);
    initdb
        .args(["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", SUPERUSER])
        .arg("--pgdata")
        .arg(&partial)
        .arg("--pwfile")
        .arg(&password_file);
    let done = pip::run(initdb, INITDB_LIMIT).await;
    fs::remove_file(&password_file).with_context(|| format!("removing {}", password_file.display()))?;
    done?;
    appear(&partial, record)
}

/// Copies a stopped cluster, passwords and all; without copying its bytes where the file system can share them.
pub async fn copy(template: &Record, record: &Record, account: Option<&Account>) -> Result<()> {
    let partial = empty_data_dir(&record.home, account)?;
    let mut cp = account::command("cp", None);
    cp.args(["-a", "--reflink=auto", "--"]).arg(template.data().join(".")).arg(&partial);
    pip::run(cp, INITDB_LIMIT).await.context("copying the ready-made cluster")?;
    appear(&partial, record)
}

/// What is left of an interrupted run goes first.
fn empty_data_dir(home: &Path, account: Option<&Account>) -> Result<PathBuf> {
    let partial = home.join("data.partial");
    super::remove_dir(&partial)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&partial)
        .with_context(|| format!("creating {}", partial.display()))?;
    account::give(&partial, account)?;
    Ok(partial)
}

fn appear(partial: &Path, record: &Record) -> Result<()> {
    let data = record.data();
    ensure!(!data.exists(), "{} is there already", data.display());
    fs::rename(partial, &data).with_context(|| format!("creating {}", data.display()))
}

fn write_secret(path: &Path, secret: &[u8]) -> Result<()> {
    // The mode counts for a new file only: one that is there may be open to others.
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    file.write_all(secret)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", path.display()))
}

/// 192 random bits that need no quoting, in a URL or in SQL.
fn password() -> Result<String> {
    let mut bytes = [0_u8; 24];
    SysRng.try_fill_bytes(&mut bytes).context("asking the system for random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
