//! Two kinds of file lock: one process per data directory, and one at a time in the shared binaries directory.
//! The kernel drops both when the process ends, so neither can go stale.

use std::{
    fs::{File, TryLockError},
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Held as long as services run on a data directory. The file holds the owner's pid, for the message only.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// # Errors
    /// When another process, or another [`super::Services`] of this one, holds it.
    pub fn take(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("lock");
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                bail!(
                    "another VocalBridge is already running on {} (pid {})",
                    data_dir.display(),
                    owner.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// Waits until no other process is fetching or preparing anything in `binaries_dir`.
/// Unlocked when the answer is dropped.
pub async fn hold(binaries_dir: &Path) -> Result<File> {
    let path = binaries_dir.join("lock");
    let file = open(&path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}
