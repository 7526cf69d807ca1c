//! Calls under load: simulated Twilio streams in real time against the whole system, more and more of them at once.
//!
//! Every call is set up by a signed webhook, speaks a recorded sentence, waits for the agent's answer, hears it out, and
//! speaks again. Ears and mouth are the simulated ones of this process; voice detection, turn-taking, the event log,
//! projections, metering and the recording are all at work. The callers have one thread.

pub mod caller;
mod clip;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use reqwest::Method;
use serde_json::json;
use tests::{Client, truth, twilio};
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cpu::Cpu;
use crate::installation::Installation;
use crate::{machine, report};
use caller::{Crowd, Seen};
use clip::Clip;

const STAGES: &[usize] = &[50, 100, 250, 500, 750];
const QUICK_STAGES: &[usize] = &[25, 100];
/// Two to three turns of a call.
const HOLD: Duration = Duration::from_secs(30);
const QUICK_HOLD: Duration = Duration::from_secs(12);
/// Calls that begin in one second: nothing counts before all of them stand.
const RINGING_PER_SECOND: f64 = 25.0;
const SETTLING: Duration = Duration::from_secs(5);
/// Calls that nobody counts, so that caches and connections are there.
const WARM_UP: usize = 5;
/// The caller's words: one that wants a tool, one that does not.
const PHRASES: [&str; 2] =
    ["What is the status of invoice INV-TC-001?", "Thank you, that is all I wanted to know today."];

/// What was seen of so many calls at once.
pub struct Stage {
    pub calls: usize,
    /// With what went wrong first.
    pub failed: usize,
    pub first_failure: Option<String>,
    /// Never heard the agent at all.
    pub unheard: usize,
    pub turns: usize,
    pub unanswered: usize,
    pub breaks: usize,
    /// Microseconds.
    pub delay: Histogram<u64>,
    pub gap: Histogram<u64>,
    pub set_up: Histogram<u64>,
    pub own_delay: Histogram<u64>,
    /// Cores that were busy on average: api, workers and projections; nats-server; Postgres; callers and vendors.
    pub cores: [f64; 4],
    /// What api, workers and projections had more than before the first call.
    pub memory_kib: f64,
    /// One-minute load average of the machine before.
    pub load_before: f64,
    /// The callers did not wait for a processor behind the system that they call.
    pub ahead: bool,
}

/// In stages of so many calls at once; `None`: the usual ones.
pub async fn run(quick: bool, stages: Option<Vec<usize>>) -> Result<()> {
    let (usual, hold) = if quick { (QUICK_STAGES, QUICK_HOLD) } else { (STAGES, HOLD) };
    let stages = stages.unwrap_or_else(|| usual.to_vec());
    let most = stages.iter().max().unwrap_or(&0) * 2;
    let (installation, _) = installation(most).await?;
    stage(&installation, WARM_UP, Duration::from_secs(1), 0.0).await?;
    let before = installation.cpu.memory_kib();
    report::calls_heading();
    let mut seen = Vec::new();
    for calls in stages {
        let stage = stage(&installation, calls, hold, before).await?;
        report::calls_stage(&stage);
        seen.push(stage);
    }
    report::calls_verdict(&seen);
    installation.stop().await
}

/// An installation for at most so many calls at once, and the agent with simulated ears and mouth that answers the number
/// that everybody calls.
pub async fn installation(most_calls: usize) -> Result<(Installation, String)> {
    let installation = Installation::start(&[
        ("SIMULATED_SPEECH_BASE_URL", "http://{vendor}/simulated/v1"),
        ("TWILIO_ACCOUNT_SID", twilio::ACCOUNT),
        ("TWILIO_AUTH_TOKEN", twilio::TOKEN),
        ("APP_URL", twilio::PUBLIC),
        ("MAX_CONCURRENT_CALLS", &most_calls.to_string()),
    ])
    .await?;
    let vendors = Client::new(&format!("http://{}", installation.vendor), "");
    let phrases = vendors
        .request(Method::PUT, "/_control/simulated_speech")
        .json(&json!({ "phrases": PHRASES, "failure_rate": 0.0 }));
    let told = vendors.send(phrases).await?;
    ensure!(told.status.is_success(), "the simulated ears do not obey: {told:?}");
    let agent = json!({
        "name": "Desk",
        "system_prompt": "You are the desk of TechCorp. Be brief and friendly.",
        "primary_provider": "vendor_a",
        "tools_enabled": ["invoice_lookup"],
        "greeting": "Good day, how can I help you?",
        "stt": { "provider": "simulated" },
        "tts": { "provider": "simulated" },
    });
    let agent = installation.client.post("/api/agents", agent).await;
    ensure!(agent.status.is_success(), "no agent: {agent:?}");
    let agent = agent.text("id").to_owned();
    let assigned = twilio::assign(&installation.client, twilio::NUMBER, &agent).await;
    ensure!(assigned.status.is_success(), "no number: {assigned:?}");
    Ok((installation, agent))
}

async fn stage(installation: &Installation, calls: usize, hold: Duration, before_kib: f64) -> Result<Stage> {
    let load_before = load_average();
    let crowd = Arc::new(Crowd {
        address: installation.address,
        client: Client::new(&format!("http://{}", installation.address), ""),
        clip: Clip::recorded(),
        counts: AtomicBool::new(false),
        hang_up: CancellationToken::new(),
    });
    let thread = std::thread::spawn({
        let (crowd, cpu) = (crowd.clone(), installation.cpu.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let ahead = machine::run_ahead();
            runtime.block_on(crowd_calls(&crowd, calls, hold, &cpu)).map(|held| (held, ahead))
        }
    });
    let joined = tokio::task::spawn_blocking(|| thread.join()).await?;
    let ((outcomes, cores, memory_kib), ahead) = joined.map_err(|_| anyhow!("the callers panicked"))??;
    let mut stage = Stage {
        calls,
        failed: 0,
        first_failure: None,
        unheard: 0,
        turns: 0,
        unanswered: 0,
        breaks: 0,
        delay: Histogram::new(3)?,
        gap: Histogram::new(3)?,
        set_up: Histogram::new(3)?,
        own_delay: Histogram::new(3)?,
        cores,
        memory_kib: memory_kib - before_kib,
        load_before,
        ahead,
    };
    for outcome in outcomes {
        match outcome {
            Ok(seen) => stage.take(&seen)?,
            Err(error) => {
                stage.failed += 1;
                stage.first_failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
    truth::projections_are_level(&installation.system).await;
    Ok(stage)
}

type Held = (Vec<Result<Seen>>, [f64; 4], f64);

async fn crowd_calls(crowd: &Arc<Crowd>, calls: usize, hold: Duration, cpu: &Cpu) -> Result<Held> {
    let (callers, began) = (TaskTracker::new(), Instant::now());
    let mut held = Vec::with_capacity(calls);
    for number in 0..calls {
        let due = began + Duration::from_secs_f64(number as f64 / RINGING_PER_SECOND);
        sleep_until(due.into()).await;
        held.push(callers.spawn(caller::call(crowd.clone(), number)));
    }
    sleep(SETTLING).await;
    let (before, began) = (cpu.used(), Instant::now());
    crowd.counts.store(true, Ordering::Relaxed);
    sleep(hold).await;
    crowd.counts.store(false, Ordering::Relaxed);
    let cores = cpu.used().since(&before).cores(began.elapsed());
    let memory_kib = cpu.memory_kib();
    crowd.hang_up.cancel();
    let mut outcomes = Vec::with_capacity(calls);
    for call in held {
        outcomes.push(call.await.context("a caller panicked").flatten());
    }
    Ok((outcomes, cores, memory_kib))
}

impl Stage {
    fn take(&mut self, seen: &Seen) -> Result<()> {
        self.unheard += usize::from(!seen.answered);
        self.turns += seen.turns;
        self.unanswered += seen.unanswered;
        self.breaks += seen.breaks;
        self.set_up.record(micros(seen.set_up_ms))?;
        for (histogram, values) in [
            (&mut self.delay, &seen.delays_ms),
            (&mut self.gap, &seen.gaps_ms),
            (&mut self.own_delay, &seen.own_delays_ms),
        ] {
            for value in values {
                histogram.record(micros(*value))?;
            }
        }
        Ok(())
    }

    /// Calls that were not as calls have to be.
    pub fn spoiled(&self) -> usize {
        self.failed + self.unheard + self.unanswered
    }

    pub fn memory_per_call_kib(&self) -> f64 {
        self.memory_kib / self.calls as f64
    }
}

fn micros(ms: f64) -> u64 {
    (ms.max(0.0) * 1_000.0) as u64
}

fn load_average() -> f64 {
    let average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    average.split_whitespace().next().and_then(|figure| figure.parse().ok()).unwrap_or_default()
}
