//! The runner: per partition one reader and one transaction per batch for all projections that are level.
//!
//! The level ones form a group with one sequence. Whoever holds the group's lock is the only one that moves it; so a
//! projection that lags reads for itself, and when it is nearly there takes the lock, does the rest, and joins.

use std::sync::Arc;
use std::time::Duration;

use events::Entry;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::batch::{CommitError, Gap, MAX_ENTRIES, Reader, Writer};
use crate::checkpoints::{checkpoints, stand_by};
use crate::database::{Database, Error};
use crate::projection::Projection;
use crate::reservations;
use crate::source::{EntrySource, SourceError};

/// Entries of the log that are not in a projection's tables yet.
const LAG: &str = "vocalbridge_projection_lag_events";
/// Entries of the log that this program cannot read.
const UNDECODABLE: &str = "vocalbridge_undecodable_events_total";
/// Entries that the log has lost.
const MISSING: &str = "vocalbridge_missing_events_total";

const MEASURE_EVERY: Duration = Duration::from_secs(2);
/// Pauses between attempts; the last one repeats.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Pauses before a projection that refused a batch tries it again.
const REFUSED_PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// How long the group may wait for one that joins it.
const JOIN_LIMIT: Duration = Duration::from_secs(5);

/// Keeps all projections of one partition up to date until `shutdown`. Survives Postgres and the log going away; a
/// second one on the same partition stands by and takes over when the first has stopped.
pub async fn run(
    database: Database,
    source: Arc<dyn EntrySource>,
    partition: u16,
    shutdown: CancellationToken,
) {
    let mut failures = 0;
    let mut gap = None;
    let endless = async {
        loop {
            let runner = Runner::new(&database, &*source, partition, gap.take());
            match runner.run(&mut failures).await {
                Stop::Fenced => {
                    tracing::info!(partition, "another runner projects this partition: standing by");
                    stand_by(&database, &*source, partition).await;
                    tracing::info!(partition, "the other runner has stopped: taking over");
                }
                Stop::Uncertain => {}
                Stop::Log(error) => {
                    gap = error.downcast_ref::<Gap>().map(|gap| gap.to + 1);
                    tracing::warn!(
                        partition,
                        error = &*error as &dyn std::error::Error,
                        "cannot read the log"
                    );
                    pause(&PAUSES, &mut failures).await;
                }
                Stop::Database(error) => {
                    tracing::warn!(
                        partition,
                        error = &error as &dyn std::error::Error,
                        "cannot read checkpoints"
                    );
                    pause(&PAUSES, &mut failures).await;
                }
            }
        }
    };
    // Cancelling is safe at any point: a batch and its checkpoint are committed together or not at all.
    shutdown.run_until_cancelled(endless).await;
}

/// Why a runner has to begin again.
enum Stop {
    Fenced,
    /// Whether the last batch was committed is unknown; the checkpoints say.
    Uncertain,
    Log(SourceError),
    Database(Error),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Log(error)
    }
}

/// The projections that are level.
struct Group {
    sequence: u64,
    members: Vec<Projection>,
}

struct Runner<'a> {
    database: &'a Database,
    source: &'a dyn EntrySource,
    partition: u16,
    accepted_gap: Option<u64>,
}

impl<'a> Runner<'a> {
    fn new(
        database: &'a Database,
        source: &'a dyn EntrySource,
        partition: u16,
        accepted_gap: Option<u64>,
    ) -> Self {
        Self { database, source, partition, accepted_gap }
    }

    async fn run(&self, failures: &mut usize) -> Stop {
        let checkpoints = match checkpoints(self.database, self.partition).await {
            Ok(checkpoints) => checkpoints,
            Err(error) => return Stop::Database(error),
        };
        if let Err(error) = reservations::restore(self.database).await {
            return Stop::Database(error);
        }
        let sequence = checkpoints.iter().map(|(_, sequence)| *sequence).max().unwrap_or_default();
        let (level, behind): (Vec<_>, Vec<_>) = checkpoints.into_iter().partition(|(_, at)| *at == sequence);
        let members = level.into_iter().map(|(projection, _)| projection).collect();
        let group = Mutex::new(Group { sequence, members });
        // One place for each projection: it never fills.
        let (left, mut leavers) = mpsc::channel(Projection::ALL.len());
        let mut catching_up = FuturesUnordered::new();
        catching_up.extend(behind.into_iter().map(|(projection, at)| self.catch_up(&group, projection, at)));
        let lead = self.lead(&group, left, failures);
        tokio::pin!(lead);
        let measure = self.measure(&group);
        tokio::pin!(measure);
        loop {
            tokio::select! {
                // Dropping any of these loses nothing: what they did is committed, or not.
                stop = &mut lead => return stop,
                Some((projection, at)) = leavers.recv() => catching_up.push(self.catch_up(&group, projection, at)),
                caught_up = catching_up.next(), if !catching_up.is_empty() => {
                    if let Some(Err(stop)) = caught_up {
                        return stop;
                    }
                }
                stop = &mut measure => return stop,
            }
        }
    }

    /// Applies batch after batch to the group.
    async fn lead(
        &self,
        group: &Mutex<Group>,
        left: mpsc::Sender<(Projection, u64)>,
        failures: &mut usize,
    ) -> Stop {
        let after = group.lock().await.sequence;
        let mut reader = match Reader::open(self.source, self.partition, after, self.accepted_gap).await {
            Ok(reader) => reader,
            Err(error) => return Stop::Log(error),
        };
        let mut writer = Writer::new(self.database.clone(), self.partition);
        loop {
            let batch = match reader.next(u64::MAX).await {
                Ok(batch) => batch,
                Err(error) => return Stop::Log(error),
            };
            let Some(last) = batch.last() else { continue };
            let last = last.position.sequence;
            let mut uncertain = false;
            let before = loop {
                let mut group = group.lock().await;
                let before = group.sequence;
                match self.advance(&mut writer, &mut group, last, &batch, &left).await {
                    Ok(()) => break before,
                    Err(CommitError::Partial) => return Stop::Uncertain,
                    Err(CommitError::Fenced) if uncertain => return Stop::Uncertain,
                    Err(CommitError::Fenced) => return Stop::Fenced,
                    Err(CommitError::Database(error)) => {
                        uncertain = true;
                        // Others may join meanwhile.
                        drop(group);
                        tracing::error!(
                            partition = self.partition,
                            error = &error as &dyn std::error::Error,
                            "projections cannot write"
                        );
                        pause(&PAUSES, failures).await;
                    }
                }
            };
            *failures = 0;
            report_strange(&batch, before);
        }
    }

    /// Applies a batch to the whole group at once. If the database refuses that, each is tried alone, so that one that
    /// cannot go on stops nobody else: it leaves the group.
    async fn advance(
        &self,
        writer: &mut Writer,
        group: &mut Group,
        last: u64,
        batch: &[Entry],
        left: &mpsc::Sender<(Projection, u64)>,
    ) -> Result<(), CommitError> {
        let old = group.sequence;
        let refusal = match writer.commit(&group.members, old, last, batch).await {
            Ok(()) => {
                group.sequence = last;
                return Ok(());
            }
            Err(CommitError::Database(Error::Refused(refusal))) if group.members.len() > 1 => {
                Error::Refused(refusal)
            }
            Err(error) => return Err(error),
        };
        let (mut well, mut refused) = (Vec::new(), Vec::new());
        for projection in &group.members {
            match writer.commit(&[*projection], old, last, batch).await {
                Ok(()) => well.push(*projection),
                Err(CommitError::Database(Error::Refused(_))) => refused.push(*projection),
                // The checkpoints of those that were written have moved: begin again from there.
                Err(_) if !well.is_empty() => return Err(CommitError::Partial),
                Err(error) => return Err(error),
            }
        }
        if well.is_empty() {
            // Not one projection's fault.
            return Err(CommitError::Database(refusal));
        }
        for projection in refused {
            let partition = self.partition;
            tracing::error!(
                partition,
                projection = projection.name(),
                after = old,
                "a projection refuses a batch"
            );
            let _ = left.try_send((projection, old));
        }
        group.members = well;
        group.sequence = last;
        Ok(())
    }

    /// Brings one projection up to the group and lets it join, trying again and again.
    async fn catch_up(&self, group: &Mutex<Group>, projection: Projection, mut at: u64) -> Result<(), Stop> {
        let (mut failures, mut gap) = (0, self.accepted_gap);
        loop {
            let before = at;
            match self.approach(group, projection, &mut at, gap).await {
                Ok(()) => {
                    tracing::info!(
                        partition = self.partition,
                        projection = projection.name(),
                        at,
                        "projection is level"
                    );
                    return Ok(());
                }
                Err(Setback::Fenced) => return Err(Stop::Fenced),
                Err(Setback::Log(error)) => {
                    gap = error.downcast_ref::<Gap>().map(|gap| gap.to + 1).or(gap);
                    self.report_setback(projection, at, &*error);
                }
                Err(Setback::Database(error)) => {
                    self.report_setback(projection, at, &error);
                    if matches!(error, Error::Unavailable(_)) {
                        // Whether the last batch was committed is unknown.
                        return Err(Stop::Uncertain);
                    }
                }
            }
            if at > before {
                failures = 0;
            }
            pause(&REFUSED_PAUSES, &mut failures).await;
        }
    }

    async fn approach(
        &self,
        group: &Mutex<Group>,
        projection: Projection,
        at: &mut u64,
        accepted_gap: Option<u64>,
    ) -> Result<(), Setback> {
        let mut writer = Writer::new(self.database.clone(), self.partition);
        let mut reader = Reader::open(self.source, self.partition, *at, accepted_gap).await?;
        loop {
            let target = group.lock().await.sequence;
            while *at < target {
                step(&mut reader, &mut writer, projection, at, target).await?;
            }
            let mut group = group.lock().await;
            if group.sequence - *at > MAX_ENTRIES as u64 {
                continue;
            }
            let target = group.sequence;
            let rest = async {
                while *at < target {
                    step(&mut reader, &mut writer, projection, at, target).await?;
                }
                Ok::<(), Setback>(())
            };
            timeout(JOIN_LIMIT, rest).await.map_err(|_| Setback::Log("the log is silent".into()))??;
            group.members.push(projection);
            return Ok(());
        }
    }

    fn report_setback(&self, projection: Projection, after: u64, error: &(dyn std::error::Error + 'static)) {
        let partition = self.partition;
        tracing::error!(partition, projection = projection.name(), after, error, "a projection cannot go on");
    }

    /// Measures how far behind the log each projection is. Ends when the tables know less than was committed to them: a
    /// projector does not wait for the disk, and a database that crashed has forgotten its newest batches.
    async fn measure(&self, group: &Mutex<Group>) -> Stop {
        loop {
            sleep(MEASURE_EVERY).await;
            let (committed, members) = {
                let group = group.lock().await;
                (group.sequence, group.members.clone())
            };
            let (Ok(last), Ok(checkpoints)) = (
                self.source.last_sequence(self.partition).await,
                checkpoints(self.database, self.partition).await,
            ) else {
                continue;
            };
            if checkpoints.iter().any(|(projection, at)| *at < committed && members.contains(projection)) {
                tracing::warn!(
                    partition = self.partition,
                    "the database forgot batches; they are applied again"
                );
                return Stop::Uncertain;
            }
            for (projection, at) in checkpoints {
                let lag = last.saturating_sub(at) as f64;
                metrics::gauge!(LAG, "projection" => projection.name(), "partition" => self.partition.to_string()).set(lag);
            }
        }
    }
}

/// Why a lagging projection did not get on.
enum Setback {
    Fenced,
    Log(SourceError),
    Database(Error),
}

impl From<SourceError> for Setback {
    fn from(error: SourceError) -> Self {
        Self::Log(error)
    }
}

impl From<CommitError> for Setback {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced | CommitError::Partial => Self::Fenced,
            CommitError::Database(error) => Self::Database(error),
        }
    }
}

/// One batch of a lagging projection, not beyond `target`.
async fn step(
    reader: &mut Reader,
    writer: &mut Writer,
    projection: Projection,
    at: &mut u64,
    target: u64,
) -> Result<(), Setback> {
    let batch = reader.next(target).await?;
    let last = batch.last().map_or(target, |entry| entry.position.sequence);
    writer.commit(&[projection], *at, last, &batch).await?;
    *at = last;
    Ok(())
}

/// Counts what an operator has to know of: entries that cannot be read, and entries that are gone. `before` is the
/// sequence that the batch follows on.
fn report_strange(batch: &[Entry], before: u64) {
    for entry in batch {
        if let Err(reason) = &entry.event {
            metrics::counter!(UNDECODABLE).increment(1);
            tracing::error!(position = %entry.position, reason, "an entry of the log cannot be read");
        }
    }
    // A batch ends where a gap begins.
    let missing = batch.first().map_or(0, |first| first.position.sequence - before - 1);
    if missing > 0 {
        metrics::counter!(MISSING).increment(missing);
        tracing::error!(after = before, missing, "entries are missing from the log");
    }
}

/// Waits the longer, the more attempts have failed in a row.
async fn pause(pauses: &[Duration], failures: &mut usize) {
    let pause = pauses.get(*failures).or(pauses.last()).copied().unwrap_or_default();
    *failures += 1;
    sleep(pause).await;
}
