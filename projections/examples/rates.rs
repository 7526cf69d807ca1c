//! How fast the log becomes tables: `cargo run --release -p projections --example rates [MESSAGES]`.
//!
//! A message is four events. The live figures come from one runner that is handed the log in portions, as it is while
//! people chat; CPU is that of this process and of Postgres together.
#![expect(clippy::unwrap_used, reason = "a measurement, not the service")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Event, EventId, SessionId, TenantId};
use projections::rebuild::{Options, rebuild};
use projections::{Keyring, Progress, Projection, runner};
use secrecy::SecretString;
use support::memory_log::MemoryLog;
use support::postgres::TestDatabase;
use support::story::Story;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const MESSAGES_PER_SESSION: usize = 10;

#[tokio::main]
async fn main() {
    let messages: usize = std::env::args().nth(1).map_or(50_000, |count| count.parse().unwrap());
    let test = TestDatabase::start_private().await;
    let server = test.server.as_ref().unwrap().child.id();
    let mut story = Story::new();

    for portion in [1, 25, 100, 250] {
        let count = if portion == 1 { 400 } else { 5_000 };
        let events = chat(&mut story, count);
        let log = MemoryLog::new(1);
        sqlx::query("delete from checkpoints").execute(&test.admin).await.unwrap();
        let measured = live(&test, &log, &events, portion * 4, server).await;
        report(&format!("live, {} events at a time", portion * 4), count, events.len(), measured);
    }

    let events = chat(&mut story, messages);
    let log = MemoryLog::new(1);
    sqlx::query("truncate checkpoints, tenants, api_keys, agents, invoices, custom_functions, mcp_servers, sessions, messages, jobs, provider_calls, tool_executions, usage_entries, appointments, archive")
        .execute(&test.admin)
        .await
        .unwrap();
    let measured = live(&test, &log, &events, events.len(), server).await;
    report("catching up, all at once", messages, events.len(), measured);

    let all: Vec<Vec<Projection>> =
        Projection::ALL.iter().map(|one| vec![*one]).chain([Projection::ALL.to_vec()]).collect();
    for projections in all {
        let (begin, cpu) = (Instant::now(), cpu(server));
        let reports = rebuild(&test.database, &log, &projections, Options::default(), |_| {}).await.unwrap();
        let names: Vec<&str> = projections.iter().map(|projection| projection.name()).collect();
        assert!(reports.iter().all(|report| report.differing_rows == 0));
        println!(
            "rebuild {:<100} {:>8.0} events/s, with comparing {:>8.0} events/s, {:.1} s CPU",
            names.join(" "),
            events.len() as f64 / reports[0].seconds,
            events.len() as f64 / begin.elapsed().as_secs_f64(),
            (self::cpu(server) - cpu).as_secs_f64(),
        );
    }
    seal_and_open(&test).await;
    test.database.close().await;
}

/// With the key in memory, as it nearly always is.
async fn seal_and_open(test: &TestDatabase) {
    let keyring = Keyring::new(test.database.clone(), &SecretString::from("A".repeat(43) + "=")).unwrap();
    let (tenant_id, event_id, words) =
        (TenantId::new(), EventId::new(), "What is the status of my invoice? ".repeat(4));
    let key_id = keyring.customer_key(tenant_id, "customer").await.unwrap().0;
    let begin = Instant::now();
    let rounds = 100_000;
    for _ in 0..rounds {
        let sealed = keyring.seal(tenant_id, key_id, event_id, &words).await.unwrap();
        assert!(keyring.open(tenant_id, event_id, &sealed).await.unwrap().is_some());
    }
    println!(
        "sealing and opening {} bytes {:>5.2} µs",
        words.len(),
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
    );
}

fn chat(story: &mut Story, messages: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let mut session_id = SessionId::new();
    for number in 0..messages {
        if number % MESSAGES_PER_SESSION == 0 {
            session_id = SessionId::new();
            events.push(story.session(session_id));
        }
        events.extend(story.answered(Story::chat(session_id)));
    }
    events
}

/// Wall and CPU time of projecting `events`, `portion` at a time.
async fn live(
    test: &TestDatabase,
    log: &MemoryLog,
    events: &[Event],
    portion: usize,
    server: u32,
) -> (Duration, Duration) {
    let (progress, shutdown, tasks) =
        (Progress::new(test.database.clone()), CancellationToken::new(), TaskTracker::new());
    let (listening, until) = (progress.clone(), shutdown.clone());
    tasks.spawn(async move { listening.run(until).await });
    tasks.spawn(runner::run(test.database.clone(), Arc::new(log.clone()), 0, shutdown.clone()));
    let mut portions = events.chunks(portion);
    if portion < events.len() {
        let last = log.append_all(0, portions.next().unwrap());
        assert!(progress.reached("archive", last, Duration::from_secs(60)).await);
    }
    let (begin, cpu) = (Instant::now(), cpu(server));
    for portion in portions {
        let last = log.append_all(0, portion);
        assert!(progress.reached("archive", last, Duration::from_secs(600)).await);
    }
    let measured = (begin.elapsed(), self::cpu(server) - cpu);
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    measured
}

fn report(what: &str, messages: usize, events: usize, (wall, cpu): (Duration, Duration)) {
    println!(
        "{what:<32} {:>8.0} events/s, {:>6.0} µs CPU per message",
        events as f64 / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / messages as f64,
    );
}

/// CPU time of this process and of Postgres so far.
fn cpu(server: u32) -> Duration {
    let me = std::process::id();
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let pid: u32 = entry.file_name().to_string_lossy().parse().unwrap_or_default();
        let parent: u32 = fields[1].parse().unwrap();
        // The last two are of children that have ended.
        let counted = if pid == server { 11..15 } else { 11..13 };
        if pid == me || pid == server || parent == server {
            ticks += fields[counted].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>();
        }
    }
    Duration::from_millis(ticks * 10)
}
