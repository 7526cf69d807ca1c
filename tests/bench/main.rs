//! `make bench`: load on the real system, measured against the simulated vendor called directly in the same run.
//!
//! The bench process is the clients and the vendor. The system under test is one process with all roles, with a
//! nats-server and a Postgres of its own; every append is acknowledged by the log and every projection runs. What is
//! called *added* is a percentile through the system minus the same percentile of the vendor called directly. Before
//! that, on one core and without any of it, the media path of calls; after it, calls on an installation of their own, and
//! callers who interrupt.

mod barge_in;
mod calls;
mod cpu;
mod http;
mod installation;
mod load;
mod machine;
mod media;
mod report;
mod resamplers;
mod speech;
mod vendor_layer;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cli::source::LogSource;
use cli::system::System;
use projections::Projection;
use projections::rebuild::{self, Options};
use serde_json::json;
use tests::{Client, truth};

use cpu::Cpu;
use installation::Installation;
use load::{Load, Measured, Target};
use vendor_layer::VendorLayer;

/// Short: `make bench ARGS=--quick`. Of the media path only: `make bench ARGS=--media`; of it and speech:
/// `ARGS=--speech`; of calls under load only: `ARGS=--calls`, and of
/// 500 at once: `ARGS="--calls 500"`; of interruptions only: `ARGS=--barge-in`.
struct Plan {
    /// How often the two figures that others on the machine disturb most are taken; the median counts.
    rounds: usize,
    /// Requests of one round.
    closed_one: usize,
    closed_many: usize,
    /// Of one round.
    open_seconds: u64,
    slow_messages: usize,
}

const FULL: Plan =
    Plan { rounds: 5, closed_one: 3_000, closed_many: 60_000, open_seconds: 10, slow_messages: 12_000 };
const QUICK: Plan =
    Plan { rounds: 1, closed_one: 1_000, closed_many: 10_000, open_seconds: 5, slow_messages: 2_000 };
const CONNECTIONS: usize = 64;
const OPEN_RATE: u64 = 100;
/// Messages of one session before a new one is opened.
const SESSION_LENGTH: usize = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    report::machine(&machine::stalls());
    let quick = std::env::args().any(|argument| argument == "--quick");
    if std::env::args().any(|argument| argument == "--calls") {
        let stages = std::env::args().filter_map(|argument| argument.parse().ok()).collect::<Vec<usize>>();
        return calls::run(quick, Some(stages).filter(|stages| !stages.is_empty())).await;
    }
    if std::env::args().any(|argument| argument == "--barge-in") {
        return barge_in::run(quick).await;
    }
    media::run()?;
    if std::env::args().any(|argument| argument == "--media") {
        return Ok(());
    }
    speech::run().await?;
    if std::env::args().any(|argument| argument == "--speech") {
        return Ok(());
    }
    let plan = if quick { QUICK } else { FULL };
    let vendor_layer = vendor_layer::run().await?;
    report::vendor_layer(&vendor_layer);
    let installation = Installation::start(&[]).await?;
    run(&plan, &installation, &vendor_layer).await?;
    installation.stop().await?;
    calls::run(quick, None).await?;
    barge_in::run(quick).await
}

async fn run(plan: &Plan, installation: &Installation, vendor_layer: &VendorLayer) -> Result<()> {
    let Installation { credentials, vendor, system, cpu, .. } = installation;
    let gateway = Target::Gateway {
        address: installation.address,
        key: credentials.tenants[0].api_key.clone(),
        agent: credentials.tenants[0].agents[0].id.to_string(),
    };
    let direct = Target::Vendor { address: *vendor };

    // Warm both up: connections, caches, the allocator.
    for target in [&gateway, &direct] {
        load::run(target, Load::Closed { connections: CONNECTIONS, requests: 2_000 }, cpu).await?;
    }
    let one = Load::Closed { connections: 1, requests: plan.closed_one };
    let sides = Sides { direct: &direct, gateway: &gateway, cpu };
    let added_one = sides.rounds("one connection, 0 ms vendor", one, plan.rounds).await?;
    let steady = Load::Open { per_second: OPEN_RATE, seconds: plan.open_seconds };
    let added_steady =
        sides.rounds(&format!("{OPEN_RATE}/s open loop, 0 ms vendor"), steady, plan.rounds).await?;
    let many = Load::Closed { connections: CONNECTIONS, requests: plan.closed_many };
    let gateway_many = sides.once(&format!("{CONNECTIONS} connections, 0 ms vendor"), many).await?;
    let lag = projected(system).await?;

    let control = client_of(&vendor.to_string());
    let slow = control.request(reqwest::Method::PUT, "/_control/vendor_a").json(&json!({ "latency_ms": 50 }));
    ensure!(control.send(slow).await?.status.is_success(), "the vendor does not obey");
    sides.once(&format!("{OPEN_RATE}/s open loop, 50 ms vendor"), steady).await?;
    let slow = Load::Closed { connections: CONNECTIONS, requests: plan.slow_messages };
    sides.once(&format!("{CONNECTIONS} connections, 50 ms vendor"), slow).await?;

    report::costs("at 64 connections", &gateway_many, cpu.peak_memory_mib());
    println!(
        "projections caught up {:.2} s after the last of {} messages",
        lag.as_secs_f64(),
        plan.closed_many
    );
    projected(system).await?;
    let rebuilt_per_second = rebuild_rate(system).await?;
    report::verdict(
        &added_one,
        &added_steady,
        &gateway_many,
        cpu.peak_memory_mib(),
        rebuilt_per_second,
        vendor_layer,
    );
    Ok(())
}

/// The same load on the vendor alone and through the system, one after the other.
struct Sides<'a> {
    direct: &'a Target,
    gateway: &'a Target,
    cpu: &'a Cpu,
}

impl Sides<'_> {
    /// The load once; answers what the system did.
    async fn once(&self, name: &str, load: Load) -> Result<Measured> {
        let direct = load::run(self.direct, load, self.cpu).await?;
        let gateway = load::run(self.gateway, load, self.cpu).await?;
        report::pair(name, &direct, &gateway);
        Ok(gateway)
    }

    /// The load several times; answers the median of what each round added at p50, p90, p99, p99.9. A moment in which
    /// others take the machine spoils a round, and not the figure.
    async fn rounds(&self, name: &str, load: Load, rounds: usize) -> Result<[f64; 4]> {
        let mut added = Vec::with_capacity(rounds);
        for round in 1..=rounds {
            let direct = load::run(self.direct, load, self.cpu).await?;
            let gateway = load::run(self.gateway, load, self.cpu).await?;
            report::pair(&format!("{name}, round {round} of {rounds}"), &direct, &gateway);
            added.push(Measured::added(&direct, &gateway));
        }
        let medians = std::array::from_fn(|quantile| median(added.iter().map(|round| round[quantile])));
        report::added(&format!("{name}: median"), &medians);
        Ok(medians)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Waits until every projection stands where the log ends.
async fn projected(system: &System) -> Result<Duration> {
    let started = std::time::Instant::now();
    truth::projections_are_level(system).await;
    Ok(started.elapsed())
}

/// Rebuilds all projections at once, which must find no difference, and then each alone; answers events per second of
/// the first.
async fn rebuild_rate(system: &System) -> Result<f64> {
    let source = LogSource(system.nats.log.clone());
    let all =
        rebuild::rebuild(&system.database, &source, &Projection::ALL, Options::default(), |_| {}).await?;
    let first = all.first().context("no projection")?;
    let per_second = first.events as f64 / first.seconds;
    println!("rebuild of all {} projections: {} events at {per_second:.0}/s", all.len(), first.events);
    for report in &all {
        ensure!(report.differences.is_empty(), "{} differs from its rebuild", report.projection);
    }
    for projection in Projection::ALL {
        let reports =
            rebuild::rebuild(&system.database, &source, &[projection], Options::default(), |_| {}).await?;
        for report in reports {
            println!(
                "rebuild of {:<16} {:>8.0} events/s",
                report.projection,
                report.events as f64 / report.seconds
            );
        }
    }
    Ok(per_second)
}

fn client_of(address: &str) -> Client {
    Client::new(&format!("http://{address}"), "")
}

#[expect(clippy::disallowed_methods, reason = "the simulated vendor lives in real time")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
