//! `docker-compose.yml` and `Dockerfile`, checked without an engine: what they name exists, and what they say fits the
//! program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli::settings::Settings;
use cli::system::Roles;
use serde_json::Value;

const SERVICES: [&str; 4] = ["migrate", "nats", "postgres", "vocalbridge"];
/// Seconds in which a role has ended after it was asked to.
const STOP_LIMIT_SECONDS: u64 = 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn compose() -> Value {
    serde_saphyr::from_str(&text("docker-compose.yml")).unwrap()
}

fn service(name: &str) -> Value {
    let found = compose()["services"][name].clone();
    assert!(found.is_object(), "no service {name}");
    found
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let set = service["environment"].as_object().unwrap();
    set.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// The tag of `image:tag`, and its first two numbers.
fn version(image: &str) -> (u32, u32) {
    let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} is not pinned"));
    let numbers = tag.split(['.', '-']).map(str::parse);
    match &numbers.collect::<Vec<Result<u32, _>>>()[..] {
        [Ok(major), Ok(minor), ..] => (*major, *minor),
        _ => panic!("{image} is not pinned to a minor version"),
    }
}

#[test]
fn there_are_the_services_and_their_images_are_pinned() {
    let compose = compose();
    let names: BTreeSet<&str> = compose["services"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, SERVICES.into());
    for ours in ["vocalbridge", "migrate"] {
        assert_eq!(service(ours)["build"], ".", "{ours}");
        assert_eq!(service(ours)["image"], service("vocalbridge")["image"], "one image for both");
    }
    assert!(version(service("postgres")["image"].as_str().unwrap()) >= (15, 0));
    assert!(version(service("nats")["image"].as_str().unwrap()) >= (2, 12));
}

#[test]
fn nothing_but_the_api_is_reachable_from_outside() {
    let compose = compose();
    for (name, service) in compose["services"].as_object().unwrap() {
        if name == "vocalbridge" {
            assert_eq!(words(&service["ports"]), ["8000:8000"]);
            continue;
        }
        assert!(service["ports"].is_null() && service["network_mode"].is_null(), "{name} is reachable");
        assert_eq!(words(&service["networks"]), ["inside"], "{name}");
    }
    assert_eq!(compose["networks"]["inside"]["internal"], true);
}

#[test]
fn what_is_mounted_exists() {
    let compose = compose();
    let volumes: BTreeSet<&String> = compose["volumes"].as_object().unwrap().keys().collect();
    for (name, service) in compose["services"].as_object().unwrap() {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount.as_str().unwrap().split(':').next().unwrap();
            let exists = match source.strip_prefix("./") {
                Some(file) => root().join(file).exists(),
                None => volumes.iter().any(|volume| *volume == source),
            };
            assert!(exists, "{name} mounts {source}");
        }
    }
}

#[test]
fn every_variable_is_one_that_somebody_reads() {
    let example = text(".env.example");
    let raw = text("docker-compose.yml");
    for variable in raw.split("${").skip(1) {
        let name = variable.split([':', '}']).next().unwrap();
        assert!(
            example.lines().any(|line| line.starts_with(&format!("{name}="))),
            "{name} is not in .env.example"
        );
    }
    for ours in ["vocalbridge", "migrate"] {
        for (name, _) in environment(&service(ours)) {
            assert!(example.contains(&format!("{name}=")), "nobody reads {name} of {ours}");
        }
    }
}

/// As the engine would fill it in.
fn filled(value: &str) -> String {
    let mut parts = value.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once('}').unwrap();
        text.push_str("s3cret");
        text.push_str(rest);
    }
    text
}

#[test]
fn the_service_has_all_settings_it_needs() {
    let set = environment(&service("vocalbridge"));
    let lookup = |name: &str| match name {
        // What `.env` is filled in with.
        "VOCALBRIDGE_OPERATOR_KEY" => Some("0123456789abcdef".to_owned()),
        "VOCALBRIDGE_SECRET_KEY" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        _ => set
            .iter()
            .find(|(set, _)| set == name)
            .map(|(_, value)| filled(value))
            .filter(|value| !value.is_empty()),
    };
    let settings = Settings::read(&lookup).unwrap();
    assert_eq!((settings.port, settings.nats_partitions), (8000, 16));
    assert_eq!(cli::settings::login_role(&settings.database_url), Some("vocalbridge"));
    let example = text(".env.example");
    for required in ["VOCALBRIDGE_OPERATOR_KEY", "VOCALBRIDGE_SECRET_KEY"] {
        assert!(example.lines().any(|line| line == format!("{required}=")), "{required} is to be filled in");
    }
}

#[test]
fn migrations_run_as_the_superuser_and_grant_to_the_services_role() {
    let migrate = service("migrate");
    let set = environment(&migrate);
    let user = |name: &str| {
        let (_, url) = set.iter().find(|(set, _)| set == name).unwrap();
        cli::settings::login_role(&filled(url).into()).map(str::to_owned)
    };
    assert_eq!(
        user("DATABASE_ADMIN_URL"),
        service("postgres")["environment"]["POSTGRES_USER"].as_str().map(str::to_owned)
    );
    assert_eq!(user("DATABASE_URL").as_deref(), Some("vocalbridge"));
    assert!(text("docker/postgres-init.sql").contains("create role vocalbridge login"));
}

#[test]
fn commands_are_ones_that_the_program_knows() {
    let commands =
        [words(&service("vocalbridge")["command"]), words(&service("migrate")["command"]), image_command()];
    for command in commands {
        let known =
            Command::new(env!("CARGO_BIN_EXE_vocalbridge-under-test")).args(&command).arg("--help").output();
        assert!(known.unwrap().status.success(), "{command:?}");
        if let Some(roles) = command.iter().position(|word| word == "--roles") {
            assert_eq!(command[roles + 1].parse::<Roles>().unwrap(), Roles::all());
        }
    }
    let nats = words(&service("nats")["command"]);
    assert!(nats.contains(&"--config=/etc/nats/server.conf".to_owned()), "{nats:?}");
    assert_eq!(service("nats")["environment"]["NATS_SYNC_INTERVAL"], "always");
}

#[test]
fn each_service_is_waited_for_until_it_is_healthy() {
    for name in ["vocalbridge", "postgres", "nats"] {
        let check = &service(name)["healthcheck"];
        assert!(
            check["test"].is_array() && check["interval"].is_string() && check["timeout"].is_string(),
            "{name}"
        );
    }
    let waits = service("vocalbridge")["depends_on"].clone();
    assert_eq!(waits["postgres"]["condition"], "service_healthy");
    assert_eq!(waits["nats"]["condition"], "service_healthy");
    assert_eq!(waits["migrate"]["condition"], "service_completed_successfully");
    assert_eq!(service("migrate")["depends_on"]["postgres"]["condition"], "service_healthy");
    let ready = words(&service("vocalbridge")["healthcheck"]["test"]).concat();
    assert!(ready.contains("/ready") && ready.contains("8000"), "{ready}");
    let grace =
        service("vocalbridge")["stop_grace_period"].as_str().unwrap().trim_end_matches('s').to_owned();
    assert!(grace.parse::<u64>().unwrap() > STOP_LIMIT_SECONDS, "{grace} s");
}

/// The `CMD` of the image.
fn image_command() -> Vec<String> {
    let dockerfile = text("Dockerfile");
    let command = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    words(&serde_json::from_str(command).unwrap())
}

#[test]
fn the_image_is_built_in_stages_and_does_not_run_as_root() {
    let dockerfile = text("Dockerfile");
    let stages: Vec<&str> = dockerfile.split("\nFROM ").skip(1).collect();
    let [build, run] = stages[..] else { panic!("{} stages", stages.len()) };
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let rust = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(build.starts_with(&format!("rust:{rust}.")), "the image is built with another Rust than {rust}");
    assert!(build.contains("--locked") && build.contains("SQLX_OFFLINE=true"));
    version(run.lines().next().unwrap());
    assert!(
        run.contains("COPY --from=build") && !run.contains("cargo"),
        "only what was built goes into the image"
    );
    let user = run.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let id: u32 = user.split(':').next().unwrap().parse().unwrap();
    assert!(id > 0, "it runs as root");
    assert!(run.contains("ENTRYPOINT [\"vocalbridge\"]") && run.contains("EXPOSE 8000"));
    for copied in
        run.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"))
    {
        let mut files: Vec<&str> = copied.split_whitespace().collect();
        files.pop();
        assert!(files.iter().all(|file| root().join(file).exists()), "{copied}");
    }
}
