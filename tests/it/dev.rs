//! `vocalbridge dev`, as somebody who runs it sees it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Client, Process, eventually, world};

const LIMIT: Duration = Duration::from_secs(90);

fn start(folder: &Path, log: &str) -> Process {
    let data = folder.join("data");
    let arguments = ["dev", "--port", "0", "--data-dir", data.to_str().unwrap()];
    Process::start(&arguments, &[], folder.join(log))
}

/// What `dev.json` says once `process` has come up.
async fn dev_file(folder: &Path, process: &Process) -> Value {
    eventually("the banner", LIMIT, async || process.output().contains("VocalBridge runs at").then_some(()))
        .await;
    serde_json::from_str(&std::fs::read_to_string(folder.join("data/dev.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn dev_starts_serves_refuses_a_second_one_stops_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::create_dir_all(world::binaries()).unwrap();
    std::os::unix::fs::symlink(world::binaries().canonicalize().unwrap(), folder.path().join("data/bin"))
        .unwrap();

    let mut first = start(folder.path(), "first.log");
    let file = dev_file(folder.path(), &first).await;
    for field in [
        "base_url",
        "operator_key",
        "secret_key",
        "nats_url",
        "database_url",
        "database_admin_url",
        "simulator_url",
    ] {
        assert!(file[field].is_string(), "{field}");
    }
    let tenant = &file["tenants"][0];
    assert!(tenant["webhook_secret"].as_str().unwrap().starts_with("whsec_"));
    let key = tenant["api_key"].as_str().unwrap();
    let client = Client::new(file["base_url"].as_str().unwrap(), key);
    let session = client.session(tenant["agents"][1]["id"].as_str().unwrap()).await;
    let said = client.say(&session, "What is the status of invoice INV-TC-001?").await;
    assert!(said.text("content").contains("15,000.00"), "{said:?}");

    let mut second = start(folder.path(), "second.log");
    assert_ne!(second.ended(LIMIT).await, Some(0));
    assert!(second.output().contains("already running"), "{}", second.output());

    let asked = Instant::now();
    first.interrupt();
    assert_eq!(first.ended(Duration::from_secs(10)).await, Some(0), "{}", first.output());
    println!("stopped in {:?}", asked.elapsed());

    let third = start(folder.path(), "third.log");
    let again = dev_file(folder.path(), &third).await;
    assert_eq!(again["tenants"][0]["api_key"], key);
    let client = Client::new(again["base_url"].as_str().unwrap(), key);
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    assert_eq!(transcript.body["messages"][1]["content"], said.body["content"]);
    third.interrupt();
}
