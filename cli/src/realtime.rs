//! Voice on time. Frames are due every 20 ms, and whoever waits for a processor behind a database that is writing is late:
//! with 500 calls on two cores, by 28 ms instead of 8 (p99; `docs/decisions/0029-*`). So where it is allowed, the threads
//! that move voice run as soon as they can, as telephone servers' threads do.

use std::fs;
use std::process::Command;

/// Gives the runtime's threads real-time priority (`SCHED_RR`, 1). To be called before anything else has started threads. What
/// they start themselves, threads that think and other programs, runs like everybody else: hence `chrt` of util-linux, for
/// the Rust crates that set priorities know no `SCHED_RESET_ON_FORK`.
pub(crate) fn run_ahead() {
    match workers().map(|threads| threads.iter().try_for_each(|thread| promote(thread))) {
        Ok(Ok(())) => tracing::info!("voice runs at real-time priority"),
        Ok(Err(reason)) => {
            tracing::info!(reason, "voice runs at the same priority as everything else");
        }
        Err(error) => tracing::info!(%error, "voice runs at the same priority as everything else"),
    }
}

/// All threads but the first one.
fn workers() -> std::io::Result<Vec<String>> {
    let first = std::process::id().to_string();
    let threads = fs::read_dir("/proc/self/task")?
        .map(|thread| Ok(thread?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<_>>>()?;
    Ok(threads.into_iter().filter(|thread| *thread != first).collect())
}

fn promote(thread: &str) -> Result<(), String> {
    let chrt = Command::new("chrt").args(["--rr", "--reset-on-fork", "--pid", "1", thread]).output();
    match chrt {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("chrt: {error}")),
    }
}
