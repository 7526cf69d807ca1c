//! How quiet the machine is: a loop that does nothing but look at the clock is only ever held up by others.
//!
//! And how those who measure get ahead of what they measure.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WATCH: Duration = Duration::from_secs(2);
const STALL: Duration = Duration::from_millis(1);

/// Times that a core was taken away for longer than [`STALL`].
pub struct Stalls {
    pub per_second: f64,
    pub longest: Duration,
}

/// Watches all cores at once while nothing else of ours runs.
pub fn stalls() -> Stalls {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seen: Vec<Duration> = std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..cores).map(|_| scope.spawn(watch)).collect();
        watchers.into_iter().flat_map(|watcher| watcher.join().unwrap_or_default()).collect()
    });
    Stalls {
        per_second: seen.len() as f64 / WATCH.as_secs_f64(),
        longest: seen.into_iter().max().unwrap_or_default(),
    }
}

fn watch() -> Vec<Duration> {
    let (end, mut last, mut stalls) = (Instant::now() + WATCH, Instant::now(), Vec::new());
    while last < end {
        let now = Instant::now();
        if now - last > STALL {
            stalls.push(now - last);
        }
        last = now;
    }
    stalls
}

/// From now on this thread runs as soon as it can, whoever else is running. Callers stand for other machines: that they
/// would wait for this one's processors is no delay of the system that they call. `false`: it is not allowed here.
pub fn run_ahead() -> bool {
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return false };
    let Some(id) = thread.file_name() else { return false };
    let mut chrt = Command::new("chrt");
    chrt.args(["--rr", "--pid", "1"]).arg(id).stdout(Stdio::null()).stderr(Stdio::null());
    chrt.status().is_ok_and(|status| status.success())
}
