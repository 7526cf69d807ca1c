//! Closed and open loops over connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::TaskTracker;

use crate::SESSION_LENGTH;
use crate::cpu::Cpu;
use crate::http::Connection;

/// What is measured: the system, or the vendor behind it.
#[derive(Clone, Debug)]
pub enum Target {
    Gateway { address: SocketAddr, key: String, agent: String },
    Vendor { address: SocketAddr },
}

#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Every connection sends its next request when the last was answered.
    Closed { connections: usize, requests: usize },
    /// Requests start on a schedule, whatever became of those before; latency counts from the scheduled start.
    Open { per_second: u64, seconds: u64 },
}

#[derive(Clone, Debug)]
pub struct Measured {
    /// Microseconds.
    pub latency: Histogram<u64>,
    pub requests: usize,
    pub elapsed: Duration,
    /// Of all processes of the system, per request.
    pub cpu_ms: f64,
    pub cpu_split: String,
}

impl Measured {
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// Added milliseconds at p50, p90, p99, p99.9.
    pub fn added(direct: &Self, gateway: &Self) -> [f64; 4] {
        [0.5, 0.9, 0.99, 0.999].map(|quantile| gateway.quantile_ms(quantile) - direct.quantile_ms(quantile))
    }
}

/// Connections that an open loop keeps ready.
const OPEN_CONNECTIONS: usize = 64;

pub async fn run(target: &Target, load: Load, cpu: &Cpu) -> Result<Measured> {
    let tracker = TaskTracker::new();
    let connections = match load {
        Load::Closed { connections, .. } => connections,
        Load::Open { .. } => OPEN_CONNECTIONS,
    };
    let mut talkers = Vec::new();
    for _ in 0..connections {
        talkers.push(Talker::open(target, &tracker).await?);
    }
    let before = cpu.used();
    let started = Instant::now();
    let latencies = match load {
        Load::Closed { connections, requests } => closed(talkers, requests / connections, &tracker).await?,
        Load::Open { per_second, seconds } => {
            open(talkers, per_second, per_second * seconds, &tracker).await?
        }
    };
    let elapsed = started.elapsed();
    let used = cpu.used().since(&before);
    let mut latency = Histogram::new(3)?;
    for micros in &latencies {
        latency.record(*micros)?;
    }
    let requests = latencies.len();
    let cpu_ms = used.total_ms() / requests as f64;
    Ok(Measured { latency, requests, elapsed, cpu_ms, cpu_split: used.split(requests) })
}

async fn closed(talkers: Vec<Talker>, each: usize, tracker: &TaskTracker) -> Result<Vec<u64>> {
    let tasks: Vec<_> = talkers
        .into_iter()
        .map(|mut talker| {
            tracker.spawn(async move {
                let mut latencies = Vec::with_capacity(each);
                for _ in 0..each {
                    latencies.push(talker.say().await?);
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(latencies)
}

async fn open(
    talkers: Vec<Talker>,
    per_second: u64,
    requests: u64,
    tracker: &TaskTracker,
) -> Result<Vec<u64>> {
    let talkers: std::sync::Arc<Vec<Mutex<Talker>>> =
        std::sync::Arc::new(talkers.into_iter().map(Mutex::new).collect());
    let (results, mut latencies) = mpsc::channel(requests as usize);
    let start = Instant::now();
    for number in 0..requests {
        let due = start + Duration::from_secs_f64(number as f64 / per_second as f64);
        tokio::time::sleep_until(due.into()).await;
        let (talkers, results) = (talkers.clone(), results.clone());
        tracker.spawn(async move {
            let mut talker = talkers[number as usize % talkers.len()].lock().await;
            let said = talker.say().await.map(|_| due.elapsed().as_micros() as u64);
            let _ = results.send(said).await;
        });
    }
    drop(results);
    let mut all = Vec::with_capacity(requests as usize);
    while let Some(latency) = latencies.recv().await {
        all.push(latency?);
    }
    Ok(all)
}

/// One connection with something to say.
struct Talker {
    target: Target,
    connection: Connection,
    session: Option<(String, usize)>,
}

impl Talker {
    async fn open(target: &Target, tracker: &TaskTracker) -> Result<Self> {
        let (address, authorization) = match target {
            Target::Gateway { address, key, .. } => (*address, format!("Bearer {key}")),
            Target::Vendor { address } => (*address, "Bearer bench".to_owned()),
        };
        let connection = Connection::open(address, authorization, tracker).await?;
        Ok(Self { target: target.clone(), connection, session: None })
    }

    /// One message and its answer; answers how long that took, in microseconds. Opening a session is not counted.
    async fn say(&mut self) -> Result<u64> {
        let (path, body) = match &self.target {
            Target::Vendor { .. } => ("/vendor_a/v1/generate".to_owned(), vendor_body()),
            Target::Gateway { agent, .. } => {
                let agent = agent.clone();
                (format!("/api/sessions/{}/messages", self.session(&agent).await?), MESSAGE.into())
            }
        };
        let started = Instant::now();
        self.connection.post(&path, body).await?;
        Ok(started.elapsed().as_micros() as u64)
    }

    async fn session(&mut self, agent: &str) -> Result<String> {
        if let Some((id, said)) = &mut self.session
            && *said < SESSION_LENGTH
        {
            *said += 1;
            return Ok(id.clone());
        }
        let body = json!({ "agent_id": agent, "customer_id": "bench", "channel": "chat" });
        let answer: Value =
            serde_json::from_slice(&self.connection.post("/api/sessions", body.to_string().into()).await?)?;
        let id = answer["id"].as_str().context("a session without an id")?.to_owned();
        self.session = Some((id.clone(), 1));
        Ok(id)
    }
}

const MESSAGE: &str = r#"{"content":"Thank you, that is all I wanted to know today."}"#;

/// What our adapter sends for the same message.
fn vendor_body() -> Bytes {
    json!({
        "model": "vendor-a-1",
        "system": "You are the support assistant of TechCorp. Be brief and friendly.",
        "turns": [{ "role": "user", "text": "Thank you, that is all I wanted to know today." }],
        "stream": false,
    })
    .to_string()
    .into()
}
