//! The read side against a real Postgres.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod invoices;
mod keyring;
mod projecting;
mod queries;
mod rebuild;
mod reservations;
mod rollups;
mod running;
mod tenants;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use events::Position;
use projections::{Database, Progress, Projection, runner};
use support::memory_log::MemoryLog;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that runs the projections of partition 0.
struct Process {
    progress: Progress,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Process {
    fn start(database: &Database, log: &MemoryLog) -> Self {
        let (progress, shutdown, tasks) =
            (Progress::new(database.clone()), CancellationToken::new(), TaskTracker::new());
        let listening = progress.clone();
        let until = shutdown.clone();
        tasks.spawn(async move { listening.run(until).await });
        tasks.spawn(runner::run(database.clone(), Arc::new(log.clone()), 0, shutdown.clone()));
        Self { progress, shutdown, tasks }
    }

    /// Waits until every projection has applied `position`.
    async fn reaches(&self, position: Position) {
        for projection in Projection::ALL {
            self.reaches_in(projection, position).await;
        }
    }

    async fn reaches_in(&self, projection: Projection, position: Position) {
        let name = projection.name();
        assert!(self.progress.reached(name, position, PATIENCE).await, "{name} did not reach {position}");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Applies all of the log.
async fn project(database: &Database, log: &MemoryLog, last: Position) {
    let process = Process::start(database, log);
    process.reaches(last).await;
    process.stop().await;
}
