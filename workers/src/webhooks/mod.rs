//! Telling tenants' webhooks what happened: who is told of an event is decided by [`fan_out`], which reads the log in
//! order; each recipient is one `webhook.delivery_queued`, and [`deliver`] sees to it until it arrived or the schedule is
//! over. A recipient that is slow or away holds up nobody but itself ([`lines`]).

mod deliver;
mod fan_out;
mod lines;
mod recipients;

use std::sync::Arc;

use nats::consume::{self, Limits};
use nats::topology::WEBHOOKS;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Workers;

use deliver::Deliver;
use lines::Lines;
use recipients::Recipients;

const SOURCE: &str = "vocalbridge/webhooks";

/// Most of what runs waits, for a recipient's answer or for its place in a recipient's line.
pub const LIMITS: Limits = Limits {
    held: 8_192,
    running: 4_096,
    running_per_tenant: 2_048,
    drain: std::time::Duration::from_secs(6),
};

/// Runs the worker until `shutdown`, then finishes what it holds.
pub async fn run(workers: Workers, shutdown: CancellationToken) {
    let recipients = Recipients::new(workers.nats.log.clone());
    let tracker = TaskTracker::new();
    for partition in 0..workers.nats.log.partitions() {
        tracker.spawn(fan_out::run(workers.clone(), recipients.clone(), partition, shutdown.clone()));
    }
    tracker.close();
    let (log, clock) = (workers.nats.log.clone(), workers.clock.clone());
    let deliver = Deliver { workers, recipients, lines: Lines::default() };
    consume::run(log, clock, WEBHOOKS, LIMITS, Arc::new(deliver), shutdown).await;
    tracker.wait().await;
}
