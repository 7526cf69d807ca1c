//! What `docs/architecture.md` says of the house: who may import whom, who may use which library, and how files look.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cli::settings::Settings;

/// Each crate of ours, and which of ours it may import.
const IMPORTS: [(&str, &[&str]); 9] = [
    ("events", &[]),
    ("domain", &["events"]),
    ("nats", &["events"]),
    ("projections", &["events", "domain"]),
    ("vendors", &[]),
    ("voice", &["events", "domain"]),
    ("workers", &["events", "domain", "nats", "projections", "vendors", "voice"]),
    ("api", &["events", "domain", "nats", "projections", "vendors", "voice"]),
    ("cli", &["events", "domain", "nats", "projections", "vendors", "voice", "workers", "api"]),
];

/// Libraries that reach out of the process, and the crates they are at home in. `tests` may use all of them.
const LIBRARIES: [(&str, &[&str]); 8] = [
    ("sqlx", &["projections", "cli"]),
    ("async-nats", &["nats"]),
    ("reqwest", &["vendors", "cli"]),
    ("tungstenite", &["vendors"]),
    ("tokio-tungstenite", &["vendors", "cli"]),
    ("axum", &["api", "vendors"]),
    ("hyper", &["api"]),
    ("dotenvy", &["cli"]),
];

const MOST_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file of the checkout with one of `extensions`, but for what is built, fetched or not committed.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let is_ours = !["target", "node_modules", ".git", ".data", ".sqlx"].contains(&name);
                folders.extend(is_ours.then_some(path));
            } else if path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)) {
                found.push(path);
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(path: &str) -> toml::Table {
    read(&root().join(path)).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names in one section of a crate's manifest.
fn section(name: &str, section: &str) -> BTreeSet<String> {
    let manifest = manifest(&format!("{name}/Cargo.toml"));
    let table = manifest.get(section).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    table.keys().cloned().collect()
}

fn members() -> BTreeSet<String> {
    let members = manifest("Cargo.toml")["workspace"]["members"].as_array().unwrap().clone();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

#[test]
fn crates_import_only_what_they_may() {
    let ours: BTreeSet<String> = IMPORTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        members(),
        ours.iter().cloned().chain(["tests".to_owned()]).collect(),
        "a crate without its rule"
    );
    for (name, allowed) in IMPORTS {
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        for part in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let imported: BTreeSet<String> = section(name, part).intersection(&ours).cloned().collect();
            let forbidden: Vec<&String> = imported.difference(&allowed).collect();
            assert!(forbidden.is_empty(), "{name} must not import {forbidden:?}");
        }
    }
}

#[test]
fn libraries_that_reach_out_are_used_at_home_only() {
    for (name, _) in IMPORTS {
        for part in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let used = section(name, part);
            for (library, homes) in LIBRARIES {
                assert!(!used.contains(library) || homes.contains(&name), "{name} must not use {library}");
            }
        }
    }
    for path in files(&["rs"]) {
        let relative = path.strip_prefix(root()).unwrap();
        if relative.starts_with("vendors/src") && !relative.starts_with("vendors/src/simulator") {
            assert!(
                !read(&path).contains("axum"),
                "{}: axum is for the simulated vendors",
                relative.display()
            );
        }
        if relative.components().any(|part| part.as_os_str() == "src") && !relative.starts_with("cli") {
            assert!(
                !read(&path).contains("env::var"),
                "{}: only cli reads the environment",
                relative.display()
            );
        }
    }
}

#[test]
fn source_files_are_short_and_without_leftovers() {
    // Put together here, so that this file does not hold them.
    let leftovers = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["#[", "allow("].concat(),
        ["#![", "allow("].concat(),
    ];
    for path in files(&["rs"]) {
        let (text, shown) = (read(&path), path.display());
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{shown} has {lines} lines: split it");
        for leftover in &leftovers {
            assert!(!text.contains(leftover), "{shown} has {leftover}");
        }
    }
}

#[test]
fn every_crate_says_first_what_it_is_for() {
    for (name, _) in IMPORTS {
        let text = read(&root().join(name).join("src/lib.rs"));
        let words: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(words.contains("never"), "{name}/src/lib.rs does not say what the crate must never do");
        assert!(words.contains("Start"), "{name}/src/lib.rs does not say where to start reading");
    }
}

/// Links lead somewhere, and what is quoted as a path is one.
#[test]
fn documents_speak_of_files_that_exist() {
    for path in files(&["md"]) {
        let (text, folder) = (read(&path), path.parent().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let is_local = !file.is_empty() && !file.contains("://") && !file.contains(' ');
            assert!(!is_local || folder.join(file).exists(), "{} links to {file}", path.display());
        }
        for quoted in text.split('`').skip(1).step_by(2).filter(|quoted| is_path(quoted)) {
            let exists = root().join(quoted).exists() || folder.join(quoted).exists();
            assert!(exists, "{} speaks of {quoted}", path.display());
        }
    }
}

/// A relative path with a folder in it whose ending is one of ours.
fn is_path(quoted: &str) -> bool {
    let endings = [".rs", ".md", ".sql", ".toml", ".conf", ".yml", ".sh", ".txt"];
    quoted.contains('/')
        && !quoted.starts_with('/')
        && endings.iter().any(|ending| quoted.ends_with(ending))
        && quoted.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let kinds = ["rs", "md", "toml", "yml", "yaml", "sql", "conf", "sh", "txt", "json", "example"];
    let places = ["root", "home", "Users", "work"].map(|place| format!("/{place}/"));
    for path in files(&kinds) {
        let text = read(&path);
        for place in &places {
            // As the beginning of a path, not as a part of a longer one or of an address.
            let found = text.match_indices(place.as_str()).any(|(at, _)| {
                !text[..at].ends_with(|before: char| before.is_alphanumeric() || "._-/}*:".contains(before))
            });
            assert!(!found, "{} names {place}", path.display());
        }
    }
}

/// All variables that `.env.example` shows, with their values, in the named part of it.
fn example(part: &str) -> Vec<(String, String)> {
    let text = read(&root().join(".env.example"));
    let found = text.split("# ---- ").find(|found| found.starts_with(part));
    let found = found.unwrap_or_else(|| panic!(".env.example has no part {part:?}"));
    found.lines().filter_map(variable).collect()
}

/// `NAME=value`, commented out or not.
fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim_start_matches("# ").split_once('=')?;
    let is_name = name.len() > 2
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

fn names(variables: &[(String, String)]) -> BTreeSet<String> {
    variables.iter().map(|(name, _)| name.clone()).collect()
}

#[test]
fn the_example_of_settings_shows_every_variable_that_is_read_and_no_other() {
    let read_by_settings = std::cell::RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        read_by_settings.borrow_mut().insert(name.to_owned());
        None
    };
    assert!(Settings::read(&lookup).is_err(), "something is required");
    let mut known = read_by_settings.into_inner();
    // Beside the settings of all roles: `migrate`'s own, and the filter of the log.
    let source = read(&root().join("cli/src/command.rs"));
    let direct = source.split("environment(\"").skip(1).filter_map(|rest| rest.split('"').next());
    known.extend(direct.map(str::to_owned));
    known.insert("RUST_LOG".to_owned());

    let shown = example("The system").into_iter().chain(example("Vendors")).collect::<Vec<_>>();
    assert_eq!(names(&shown), known);
    let later = names(&example("Not read yet"));
    assert!(later.is_disjoint(&known), "these are read by now: {:?}", later.intersection(&known));
}

#[test]
fn the_example_of_settings_shows_the_defaults() {
    let required = |name: &str| match name {
        "DATABASE_URL" => Some("postgres://vocalbridge:secret@localhost/vocalbridge".to_owned()),
        "NATS_URL" => Some("nats://localhost".to_owned()),
        "VOCALBRIDGE_OPERATOR_KEY" => Some("0123456789abcdef".to_owned()),
        "VOCALBRIDGE_SECRET_KEY" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        _ => None,
    };
    let text = read(&root().join(".env.example"));
    let set: Vec<(String, String)> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(variable).collect();
    let copied = |name: &str| {
        let found = set.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
        found.filter(|value| !value.is_empty()).or_else(|| required(name))
    };
    let (plain, copied) = (Settings::read(&required).unwrap(), Settings::read(&copied).unwrap());
    assert_eq!(format!("{plain:?}"), format!("{copied:?}"));
}
