//! Finished jobs leave the list of jobs after a while. That is said in the log, once for each partition and with the time
//! that counts, so that a table that is made again forgets just what the live one did.

use std::time::Duration;

use chrono::TimeDelta;
use events::system::JobsRetired;
use events::{Aggregate, Cause, Clock, CorrelationId, Event, EventId, Origin};
use nats::{Expect, Log};
use projections::{Database, jobs};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SOURCE: &str = "vocalbridge/retention";
const EVERY: Duration = Duration::from_secs(3_600);
/// RFC 9562's nil trace: nobody asked for it.
const NO_TRACE: &str = "00-00000000000000000000000000000001-0000000000000001-00";

/// Looks every hour until `shutdown` for jobs that finished longer than `keep` ago. Several processes may do so: saying
/// it twice changes nothing.
pub async fn run(log: Log, database: Database, clock: Clock, keep: TimeDelta, shutdown: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        for partition in 0..log.partitions() {
            if let Err(error) = retire(&log, &database, &clock, keep, partition).await {
                tracing::warn!(partition, %error, "old jobs stay for another hour");
            }
        }
    }
}

async fn retire(
    log: &Log,
    database: &Database,
    clock: &Clock,
    keep: TimeDelta,
    partition: u16,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let now = clock.now();
    let finished_before = now - keep;
    if !jobs::any_finished_before(database, partition, finished_before).await? {
        return Ok(());
    }
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "system".to_owned(),
        traceparent: NO_TRACE.to_owned(),
        key_id: None,
    };
    let cause = Cause { origin, causation_id: None };
    let retired = JobsRetired { finished_before };
    let event = Event::new(EventId::new(), now, SOURCE, of_partition(log, partition), &cause, retired);
    log.append(&event, Expect::Anything).await?;
    tracing::info!(partition, %finished_before, "finished jobs leave the list");
    Ok(())
}

/// An aggregate whose events stand in `partition`: of so many ids, some lead to each.
fn of_partition(log: &Log, partition: u16) -> Aggregate {
    let candidates = (1_u128..).map(|number| Aggregate::jobs(Uuid::from_u128(number)));
    let mut fitting = candidates.filter(|aggregate| log.partition_of(aggregate) == partition);
    fitting.next().unwrap_or_else(Aggregate::system)
}
