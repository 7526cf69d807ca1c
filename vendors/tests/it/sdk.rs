//! The vendors' own SDKs for Python, of the versions in `tests/sdk/requirements.txt`, understand the simulators.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use vendors::telephony::twilio;

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
    run_with(command, "").await
}

/// The same, with something to read.
async fn run_with(command: &mut Command, input: &str) -> Result<String, String> {
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

/// One request as Twilio would sign it.
fn case(token: &str, url: &str, parameters: &[(&str, &str)], signature: &str, valid: bool) -> Value {
    json!({ "token": token, "url": url, "parameters": parameters, "signature": signature, "valid": valid })
}

#[tokio::test]
async fn twilios_own_validator_and_ours_agree() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const URL: &str = "https://voice.example.com/api/twilio/incoming?returns=1";
    const FORM: &[(&str, &str)] = &[
        ("To", "+14155550100"),
        ("From", "+14155559999"),
        ("CallSid", "CA0123456789abcdef"),
        ("CallerName", "Zoë & Söhne  "),
        ("CallerCity", ""),
        ("a", "lower"),
        ("Digits", "2"),
        ("Digits", "1"),
        ("Digits", "2"),
    ];
    let owned = |form: &[(&str, &str)]| -> Vec<(String, String)> {
        form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let token = SecretString::from(TOKEN);
    let sign = |url: &str, form: &[(&str, &str)]| twilio::signature(&token, url, &owned(form));
    let good = sign(URL, FORM);
    let changed: Vec<Vec<(&str, &str)>> = (0..FORM.len())
        .map(|at| {
            let mut form = FORM.to_vec();
            form[at].1 = "changed";
            form
        })
        .chain([FORM[1..].to_vec(), [FORM, &[("Extra", "")]].concat()])
        .collect();
    let bare = "https://voice.example.com/x";
    let mut cases = vec![
        case(TOKEN, URL, FORM, &good, true),
        case(TOKEN, bare, &[], &sign("https://voice.example.com:443/x", &[]), true),
        case(TOKEN, "https://voice.example.com:443/x", &[], &sign(bare, &[]), true),
        case(
            TOKEN,
            "wss://voice.example.com/ws/voice-twilio",
            &[],
            &sign("wss://voice.example.com/ws/voice-twilio", &[]),
            true,
        ),
        case("another token", URL, FORM, &good, false),
        case(TOKEN, "https://voice.example.com/api/twilio/incoming?returns=2", FORM, &good, false),
        case(TOKEN, "http://voice.example.com/api/twilio/incoming?returns=1", FORM, &good, false),
        case(TOKEN, URL, FORM, "", false),
        case(TOKEN, URL, FORM, &good.to_lowercase(), false),
    ];
    cases.extend(changed.iter().map(|form| case(TOKEN, URL, form, &good, false)));
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();

    let mut check = Sdks::installed().await.command();
    check.arg(Path::new(SDK).join("check_twilio.py"));
    let theirs = run_with(&mut check, &lines).await.unwrap_or_else(|printed| panic!("{printed}"));
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(theirs.len(), cases.len());
    // What we think of every case, and of the signature that Twilio itself makes of it.
    for (case, theirs) in cases.iter().zip(theirs) {
        let parameters: Vec<(String, String)> = serde_json::from_value(case["parameters"].clone()).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let token = SecretString::from(text("token"));
        let ours = twilio::is_signed(&token, text("url"), &parameters, text("signature"));
        assert_eq!(ours, case["valid"].as_bool().unwrap(), "{case}");
        assert!(twilio::is_signed(&token, text("url"), &parameters, theirs), "{case}");
    }
}
