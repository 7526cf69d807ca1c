//! Fetching pinned releases from the Python package index: pip knows how the index is reached here, and checks the hashes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// Wide enough for 60 MB over a bad line.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);

/// What kind of release is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// A wheel that this machine's Python could run.
    ThisMachine,
    /// A wheel for any Linux of an architecture, whatever Python is here: only data and libraries are taken from it.
    Linux(&'static str),
    /// The source of this package; what pip needs to read it may be wheels.
    Source(&'static str),
}

/// The entry of `package` in a list like `wheels.txt`: `name==version`, and the whole of it with its hashes.
pub(crate) fn pinned(list: &'static str, package: &str) -> Option<(&'static str, &'static str)> {
    let start = list.find(&format!("{package}=="))?;
    let entry = &list[start..];
    let next = entry.match_indices('\n').find(|(at, _)| !entry[*at + 1..].starts_with(' '));
    let entry = next.map_or(entry, |(end, _)| &entry[..end]);
    Some((entry.split_whitespace().next()?, entry))
}

/// Fetches one release into `dir` and answers its file.
pub(crate) async fn download(dir: &Path, requirement: &str, of: Of) -> Result<PathBuf> {
    let fetched = dir.join("fetched");
    fs::create_dir_all(&fetched).with_context(|| format!("creating {}", fetched.display()))?;
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, requirement).with_context(|| format!("writing {}", requirements.display()))?;
    let mut pip = python();
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"])
        .args(["--require-hashes", "--timeout=30", "-r"])
        .arg(&requirements)
        .arg("-d")
        .arg(&fetched);
    match of {
        Of::ThisMachine => pip.arg("--only-binary=:all:"),
        Of::Linux(architecture) => {
            let tags = ["manylinux_2_34", "manylinux_2_28", "manylinux2014"];
            let platforms = tags.map(|tag| format!("--platform={tag}_{architecture}"));
            pip.args(["--only-binary=:all:", "--python-version=3.11", "--platform=any"]).args(platforms)
        }
        Of::Source(package) => pip.arg(format!("--no-binary={package}")),
    };
    run(pip, DOWNLOAD_LIMIT).await?;
    let mut files = fs::read_dir(&fetched)?;
    Ok(files.next().context("pip fetched nothing")??.path())
}

/// Unpacks a wheel or a source into a directory.
pub(crate) async fn unpack(release: &Path, contents: &Path) -> Result<()> {
    let archive =
        if release.extension().is_some_and(|ending| ending == "whl") { "zipfile" } else { "tarfile" };
    let mut unpack = python();
    unpack.args(["-m", archive, "-e"]).arg(release).arg(contents);
    run(unpack, DOWNLOAD_LIMIT).await.with_context(|| format!("unpacking {}", release.display()))?;
    ensure!(contents.is_dir(), "{} has nothing in it", release.display());
    Ok(())
}

/// With our whole environment: it may say how the package index is reached.
pub(crate) fn python() -> Command {
    let mut python = Command::new("python3");
    python.stdin(Stdio::null());
    python
}

/// Runs a command to its end; a failure carries what it wrote to its error output.
pub(crate) async fn run(command: Command, limit: Duration) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(limit, command.kill_on_drop(true).output())
        .await
        .with_context(|| format!("{program} was not done after {} s", limit.as_secs()))?
        .with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}
