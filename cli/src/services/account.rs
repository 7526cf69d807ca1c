//! The account Postgres runs under. It refuses to run as root, so root needs somebody else, and that somebody must
//! be able to reach the files.

use std::{
    fs,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};

#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` when we are not root: Postgres then runs as ourselves.
    pub fn for_postgres() -> Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) =
                User::from_name(name).with_context(|| format!("looking up the account {name}"))?
            {
                return Ok(Some(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        bail!("Postgres refuses to run as root, and there is neither an account postgres nor nobody")
    }
}

/// A command that runs as `account`, with none of our environment: it holds secrets that are no business of a server.
/// The standard library drops root's supplementary groups together with the uid.
pub fn command(program: impl AsRef<Path>, account: Option<&Account>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null()).current_dir("/");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

pub fn give(path: &Path, account: Option<&Account>) -> Result<()> {
    let Some(account) = account else { return Ok(()) };
    chown(path, Some(account.uid), Some(account.gid))
        .with_context(|| format!("giving {} to {}", path.display(), account.name))
}

/// `dir`, created; or, when `account` cannot get there (a parent such as `/root` is closed to it), its stand-in under
/// `/var/tmp`.
pub fn reachable(dir: &Path, account: Option<&Account>) -> Result<PathBuf> {
    let dir = super::create_dir(dir)?;
    if can_enter(&dir, account)? {
        return Ok(dir);
    }
    let stand_in = stand_in(&dir);
    tracing::info!(
        directory = %dir.display(), stand_in = %stand_in.display(),
        "the account Postgres runs under cannot reach the directory; its stand-in is used",
    );
    match fs::DirBuilder::new().mode(0o755).create(&stand_in) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("creating {}", stand_in.display()));
        }
        _ => {}
    }
    // Anybody may create names in /var/tmp: only a directory of our own that nobody else can write to will do.
    let found =
        fs::symlink_metadata(&stand_in).with_context(|| format!("inspecting {}", stand_in.display()))?;
    ensure!(
        found.is_dir() && found.uid() == Uid::effective().as_raw() && found.mode() & 0o022 == 0,
        "{} belongs to somebody else",
        stand_in.display()
    );
    // What a strict umask took away.
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("opening {}", stand_in.display()))?;
    ensure!(
        can_enter(&stand_in, account)?,
        "{} is closed to the account Postgres runs under",
        stand_in.display()
    );
    Ok(stand_in)
}

/// The same for the same directory every time, so that it is found again.
pub fn stand_in(dir: &Path) -> PathBuf {
    Path::new("/var/tmp").join(mark(dir))
}

/// A name that stands for a directory: short, unique, and good in a file name, a command line and a server's name.
pub fn mark(dir: &Path) -> String {
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("vocalbridge-{short}")
}

/// Asks the kernel by trying, as the account itself: right under every kind of permission.
fn can_enter(dir: &Path, account: Option<&Account>) -> Result<bool> {
    if account.is_none() {
        return Ok(true);
    }
    let status = command("/usr/bin/test", account).arg("-x").arg(dir).status();
    Ok(status.context("running /usr/bin/test as the account Postgres runs under")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_closed_to_the_account_gets_a_stand_in() {
        let Some(account) = Account::for_postgres().unwrap() else { return };
        let closed = std::env::temp_dir().join(format!("vocalbridge-closed-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&closed).unwrap();
        let dir = closed.join("data");

        let reached = reachable(&dir, Some(&account)).unwrap();

        assert_eq!(reached, stand_in(&dir));
        assert_eq!(reachable(&dir, None).unwrap(), dir);
        fs::remove_dir_all(closed).unwrap();
        fs::remove_dir(reached).unwrap();
    }
}
