//! Cutting the log into batches, and committing one together with its checkpoint.

use std::collections::BTreeSet;
use std::time::Duration;

use events::Entry;
use futures_util::StreamExt;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep_until, timeout};

use crate::archive::{self, Month};
use crate::column::big;
use crate::database::{Database, Error};
use crate::progress::{self, CONFIGURATION_CHANNEL, PROGRESS_CHANNEL};
use crate::projection::{Projection, configures};
use crate::reservations;
use crate::source::{Entries, EntrySource, SourceError};

/// Most entries and bytes of a batch.
pub(crate) const MAX_ENTRIES: usize = 1_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// After a batch the next one collects for so many times as long as that one took to write, within a limit. An entry
/// that comes alone is written at once; a log with some traffic is written in short strokes, which hold up nobody who
/// shares the processor; a busy log in large batches, which cost less (docs/decisions/0014).
const REST: u32 = 2;
const MAX_REST: Duration = Duration::from_millis(50);
/// A batch that takes longer is given up and tried again.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);

/// Reads one partition in batches.
pub(crate) struct Reader {
    entries: Entries,
    /// Of the last entry handed out.
    sequence: u64,
    max_entries: usize,
    /// Read, but beyond what was wanted.
    held: Option<Entry>,
    /// Ended the stream while a batch was under way.
    failed: Option<SourceError>,
    /// A gap before this sequence was seen twice: the entries are gone, waiting for them would stop everything.
    accepted_gap: Option<u64>,
    accepts_all_gaps: bool,
    /// When the last batch was handed out.
    handed_out: Option<Instant>,
}

/// The log answered with a sequence that leaves some out.
#[derive(Debug, thiserror::Error)]
#[error("entries {from} to {to} are missing from the log")]
pub(crate) struct Gap {
    pub from: u64,
    pub to: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the log's stream ended")]
struct Ended;

impl Reader {
    /// Reads on after `sequence`. `accepted_gap` is the end of a gap that an earlier reader met at the same place.
    pub async fn open(
        source: &dyn EntrySource,
        partition: u16,
        sequence: u64,
        accepted_gap: Option<u64>,
    ) -> Result<Self, SourceError> {
        let entries = source.follow(partition, sequence).await?;
        Ok(Self {
            entries,
            sequence,
            max_entries: MAX_ENTRIES,
            held: None,
            failed: None,
            accepted_gap,
            accepts_all_gaps: false,
            handed_out: None,
        })
    }

    /// For a rebuild, which takes the log as it is: larger batches, and gaps are passed over.
    pub fn for_rebuild(self, max_entries: usize) -> Self {
        Self { max_entries, accepts_all_gaps: true, ..self }
    }

    /// The next entries, none beyond `limit`: waits for the first, then takes what comes soon. Empty when there is
    /// nothing left up to `limit`.
    pub async fn next(&mut self, limit: u64) -> Result<Vec<Entry>, SourceError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let rest = self.handed_out.map_or(Duration::ZERO, |at| rest_after(at.elapsed()));
        let not_before = sleep_until(Instant::now() + rest);
        tokio::pin!(not_before);
        while batch.len() < self.max_entries && bytes < MAX_BYTES && self.sequence < limit {
            let entry = match self.held.take() {
                Some(entry) => entry,
                None => match self.read(&mut not_before, batch.is_empty()).await {
                    Some(Ok(entry)) => entry,
                    Some(Err(error)) if batch.is_empty() => return Err(error),
                    Some(Err(error)) => {
                        self.failed = Some(error);
                        break;
                    }
                    None => break,
                },
            };
            let sequence = entry.position.sequence;
            if sequence <= self.sequence {
                continue;
            }
            let gap_is_news = !self.accepts_all_gaps && self.accepted_gap != Some(sequence);
            if sequence > self.sequence + 1 && gap_is_news {
                let gap = Gap { from: self.sequence + 1, to: sequence - 1 };
                if batch.is_empty() {
                    return Err(gap.into());
                }
                self.failed = Some(gap.into());
                break;
            }
            if sequence > limit {
                self.held = Some(entry);
                break;
            }
            bytes += entry.raw_payload.len() + entry.raw_headers.len();
            self.sequence = sequence;
            batch.push(entry);
        }
        self.handed_out = Some(Instant::now());
        Ok(batch)
    }

    /// The next entry; `None` when the batch has waited long enough.
    async fn read(
        &mut self,
        not_before: &mut std::pin::Pin<&mut tokio::time::Sleep>,
        first: bool,
    ) -> Option<Result<Entry, SourceError>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let next = async |entries: &mut Entries| entries.next().await.unwrap_or_else(|| Err(Ended.into()));
        if first {
            return Some(next(&mut self.entries).await);
        }
        tokio::select! {
            biased;
            // Cancel-safe: a stream's next entry is taken whole or not at all.
            entry = next(&mut self.entries) => Some(entry),
            () = not_before => None,
        }
    }
}

/// How long to collect after a batch that took `written` to write.
fn rest_after(written: Duration) -> Duration {
    (written * REST).min(MAX_REST)
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Another runner moved a checkpoint.
    #[error("a checkpoint is not where this runner left it")]
    Fenced,
    /// Projections that were tried one by one stand at different sequences now.
    #[error("some projections have the batch and others have not")]
    Partial,
    #[error("the database failed a batch")]
    Database(#[from] Error),
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A projector's connection, made again after a failure.
pub(crate) struct Writer {
    database: Database,
    partition: u16,
    connection: Option<PgConnection>,
    /// Months that the archive has partitions for.
    months: BTreeSet<Month>,
}

impl Writer {
    pub fn new(database: Database, partition: u16) -> Self {
        Self { database, partition, connection: None, months: BTreeSet::new() }
    }

    /// Applies `batch` to `projections` and moves their checkpoints from `old` to `new`, all or nothing.
    pub async fn commit(
        &mut self,
        projections: &[Projection],
        old: u64,
        new: u64,
        batch: &[Entry],
    ) -> Result<(), CommitError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.projector().await?,
        };
        let written = self.write(&mut connection, projections, old, new, batch);
        let months = timeout(COMMIT_LIMIT, written).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        self.months.extend(months);
        // Only one that worked is used again.
        self.connection = Some(connection);
        Ok(())
    }

    /// Few round trips: at the usual size of a batch they cost as much as its rows.
    async fn write(
        &self,
        connection: &mut PgConnection,
        projections: &[Projection],
        old: u64,
        new: u64,
        batch: &[Entry],
    ) -> Result<BTreeSet<Month>, CommitError> {
        let names: Vec<String> = projections.iter().map(|projection| projection.name().to_owned()).collect();
        let configured = projections.contains(&Projection::Configuration)
            && batch.iter().any(|entry| entry.event.as_ref().is_ok_and(configures));
        let mut tx = connection.begin().await?;
        // Notifications are sent when the transaction commits, and only then; in this order, so that whoever hears of
        // the progress has forgotten the old configuration before.
        let row = sqlx::query!(
            r#"with moved as (
                update checkpoints set sequence = $1
                where projection = any($2) and partition = $3 and sequence = $4 returning projection
             )
             select count(*) as "moved!", case when $7 then pg_notify($8, '') end as configured, pg_notify($5, $6)
             from moved"#,
            big(new),
            &names,
            i32::from(self.partition),
            big(old),
            PROGRESS_CHANNEL,
            progress::message(self.partition, new, projections),
            configured,
            CONFIGURATION_CHANNEL,
        )
        .fetch_one(&mut *tx)
        .await?;
        if row.moved != big(names.len()) {
            return Err(CommitError::Fenced);
        }
        let mut months = BTreeSet::new();
        if projections.contains(&Projection::Archive) {
            months = archive::ensure_months(&mut tx, batch, &self.months).await?;
        }
        for projection in projections {
            projection.apply(&mut tx, batch).await?;
        }
        if projections.contains(&Projection::Budgets) {
            // With what was spent: at no moment is it both or neither.
            reservations::follow(&mut tx, batch).await?;
        }
        tx.commit().await?;
        Ok(months)
    }
}
