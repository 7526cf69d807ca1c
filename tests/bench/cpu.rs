//! What the system's processes use, from /proc.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The processes of the system under test. Cheap to clone.
#[derive(Clone)]
pub struct Cpu {
    server: u32,
    nats: u32,
    postgres: u32,
    /// Postgres backends come and go; what one had used when last seen still counts.
    backends: Arc<Mutex<HashMap<u32, u64>>>,
}

/// CPU ticks used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    server: u64,
    nats: u64,
    postgres: u64,
    /// Clients and vendors: this process.
    outside: u64,
}

/// `sysconf(_SC_CLK_TCK)` on Linux.
const TICK_MS: f64 = 10.0;

impl Cpu {
    pub fn of(server: u32, nats: u32, postgres: Vec<u32>) -> Self {
        let postgres = postgres.into_iter().min().unwrap_or_default();
        Self { server, nats, postgres, backends: Arc::default() }
    }

    pub fn used(&self) -> Used {
        let mut backends = self.backends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for pid in children(self.postgres) {
            backends.insert(pid, ticks(pid));
        }
        let postgres = ticks(self.postgres) + backends.values().sum::<u64>();
        let outside = ticks(std::process::id());
        Used { server: ticks(self.server), nats: ticks(self.nats), postgres, outside }
    }

    /// Peak resident memory of api and workers.
    pub fn peak_memory_mib(&self) -> f64 {
        self.status_kib("VmHWM:") / 1_024.0
    }

    /// Resident memory of api and workers now.
    pub fn memory_kib(&self) -> f64 {
        self.status_kib("VmRSS:")
    }

    fn status_kib(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
    }
}

impl Used {
    pub fn since(&self, before: &Self) -> Self {
        Self {
            server: self.server - before.server,
            nats: self.nats - before.nats,
            postgres: self.postgres.saturating_sub(before.postgres),
            outside: self.outside - before.outside,
        }
    }

    /// Cores that were busy over `elapsed`: api, workers and projections; nats-server; Postgres; this process.
    pub fn cores(&self, elapsed: Duration) -> [f64; 4] {
        let Self { server, nats, postgres, outside } = *self;
        [server, nats, postgres, outside]
            .map(|ticks| ticks as f64 * TICK_MS / 1_000.0 / elapsed.as_secs_f64())
    }

    pub fn total_ms(&self) -> f64 {
        (self.server + self.nats + self.postgres) as f64 * TICK_MS
    }

    pub fn split(&self, requests: usize) -> String {
        let each = |ticks: u64| ticks as f64 * TICK_MS / requests as f64;
        let Self { server, nats, postgres, .. } = *self;
        format!(
            "api+workers+projections {:.3}, nats {:.3}, postgres {:.3}",
            each(server),
            each(nats),
            each(postgres)
        )
    }
}

/// utime + stime of a process.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the fields begin behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field =
        |index: usize| fields.get(index).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
    field(11) + field(12)
}

fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
