//! Packages of Python's that judge us: what their authors wrote, at the versions in a `requirements.txt`.
//!
//! The tests of `vendors` stand on this file too.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.data");

/// Where the packages are, and the Python that runs with them.
pub struct Python {
    python: PathBuf,
    /// Where the packages lie if they are not in an environment of their own.
    packages: Option<PathBuf>,
}

impl Python {
    /// Installed once under `.data`, for each content of `requirements`.
    pub async fn with(requirements: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        std::fs::read_to_string(requirements).unwrap().hash(&mut hasher);
        let place = Path::new(DATA).join(format!("sdk-venv-{:016x}", hasher.finish()));
        if !place.exists() {
            // Tests that come at once wait for one of them, whatever process they are in.
            std::fs::create_dir_all(DATA).unwrap();
            let lock = File::create(place.with_extension("lock")).unwrap();
            let lock = tokio::task::spawn_blocking(|| lock.lock().map(|()| lock)).await.unwrap().unwrap();
            if !place.exists() {
                install(requirements, &place).await;
            }
            drop(lock);
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

    /// Runs `script`, which reaches this machine only, with `input` to read; answers what it printed.
    ///
    /// # Panics
    /// When it fails, with what it printed.
    pub async fn run(&self, script: &Path, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(&self.python);
        command.arg(script).args(arguments).env("NO_PROXY", "127.0.0.1");
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        run(&mut command, input).await.unwrap_or_else(|printed| panic!("{printed}"))
    }
}

/// Makes the folder under another name and then renames it: of two that do so at once the later one finds the
/// place taken and uses what is there.
async fn install(requirements: &Path, place: &Path) {
    let unfinished = place.with_extension(uuid::Uuid::now_v7().to_string());
    std::fs::create_dir_all(&unfinished).unwrap();
    let environment = run(Command::new("python3").args(["-m", "venv"]).arg(&unfinished), "").await;
    let mut pip = if environment.is_ok() {
        Command::new(unfinished.join("bin/python"))
    } else {
        // A machine whose Python came without `ensurepip`.
        std::fs::remove_dir_all(&unfinished).unwrap();
        std::fs::create_dir_all(&unfinished).unwrap();
        Command::new("python3")
    };
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    pip.arg(requirements);
    if environment.is_err() {
        pip.arg("--target").arg(unfinished.join("packages"));
    }
    let installed = run(&mut pip, "").await;
    if installed.is_err() || std::fs::rename(&unfinished, place).is_err() {
        std::fs::remove_dir_all(&unfinished).unwrap();
    }
    assert!(place.exists(), "the packages could not be installed: {installed:?}, {environment:?}");
}

/// What it printed; as an error if it failed or could not be started.
async fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().unwrap();
    // One that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    let printed =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(printed) } else { Err(printed) }
}
