//! The vendors' own SDKs for Python, of the versions in `tests/sdk/requirements.txt`, understand the simulators.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::support::*;

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.data");

/// Where the packages are, and the Python that runs with them.
struct Sdks {
    python: PathBuf,
    /// Where the packages lie if they are not in an environment of their own.
    packages: Option<PathBuf>,
}

impl Sdks {
    /// Made once for each content of the requirements.
    async fn installed() -> Self {
        let requirements = std::fs::read_to_string(Path::new(SDK).join("requirements.txt")).unwrap();
        let mut hasher = DefaultHasher::new();
        requirements.hash(&mut hasher);
        let place = Path::new(DATA).join(format!("sdk-venv-{:016x}", hasher.finish()));
        if !place.exists() {
            install(&place).await;
        }
        Self::at(&place)
    }

    fn at(place: &Path) -> Self {
        let python = place.join("bin/python");
        if python.exists() {
            return Self { python, packages: None };
        }
        Self { python: "python3".into(), packages: Some(place.join("packages")) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.python);
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
    }
}

/// Makes the folder under another name and then renames it: of two that do so at once the later one finds the
/// place taken and uses what is there.
async fn install(place: &Path) {
    let unfinished = place.with_extension(uuid::Uuid::now_v7().to_string());
    std::fs::create_dir_all(&unfinished).unwrap();
    let environment = run(Command::new("python3").args(["-m", "venv"]).arg(&unfinished)).await;
    let mut pip = if environment.is_ok() {
        Command::new(unfinished.join("bin/python"))
    } else {
        // A machine whose Python came without `ensurepip`.
        std::fs::remove_dir_all(&unfinished).unwrap();
        std::fs::create_dir_all(&unfinished).unwrap();
        Command::new("python3")
    };
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    pip.arg(Path::new(SDK).join("requirements.txt"));
    if environment.is_err() {
        pip.arg("--target").arg(unfinished.join("packages"));
    }
    let installed = run(&mut pip).await;
    if installed.is_err() || std::fs::rename(&unfinished, place).is_err() {
        std::fs::remove_dir_all(&unfinished).unwrap();
    }
    assert!(place.exists(), "the SDKs could not be installed: {installed:?}, {environment:?}");
}

/// What it printed; as an error if it failed or could not be started.
async fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| error.to_string())?;
    let printed =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(printed) } else { Err(printed) }
}

#[tokio::test]
async fn the_vendors_own_sdks_understand_the_simulators() {
    let simulator = Simulator::start().await;
    let mut check = Sdks::installed().await.command();
    check.arg(Path::new(SDK).join("check_simulators.py")).arg(format!("http://{}", simulator.address));
    check.env("NO_PROXY", "127.0.0.1");
    let printed = run(&mut check).await.unwrap_or_else(|printed| panic!("{printed}"));
    for vendor in ["openai", "groq", "deepseek", "anthropic", "google"] {
        let checks = printed.lines().filter(|line| line.starts_with(&format!("ok {vendor}: "))).count();
        assert_eq!(checks, 8, "{vendor}: {printed}");
    }
}
