//! Rebuilding projections from the log and comparing the result with the live tables.
//!
//! The shadow tables are temporary ones: the session's own schema `pg_temp` comes before all others in the search path,
//! so the same `apply` writes to them unchanged. That needs no right to change the real schema, writes no WAL, and
//! leaves nothing behind when the rebuild dies.

use std::collections::HashMap;
use std::time::Duration;

use events::Entry;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{Instant, timeout};

use crate::batch::Reader;
use crate::column::count;
use crate::compare::{self, Difference};
use crate::database::{self, Database};
use crate::progress::CONFIGURATION_CHANNEL;
use crate::projection::{Projection, Table};
use crate::source::{EntrySource, SourceError};

/// Larger than live ones: nobody waits for the single event.
const BATCH: usize = 4_000;
/// Entries that are known to be in the log must come within this time.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// A rebuild may read the log for long while its transaction rests.
const SETUP: &str =
    "set idle_in_transaction_session_timeout to 0; set temp_buffers to '128MB'; set work_mem to '64MB'";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Put the rebuilt contents in the live tables' place.
    pub swap: bool,
}

/// What the rebuild of one projection found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub projection: &'static str,
    /// How many were read.
    pub events: u64,
    /// Until the comparison began; projections that are rebuilt together share it.
    pub seconds: f64,
    /// The first [`compare::LISTED`] of each table.
    pub differences: Vec<Difference>,
    /// The number of rows that differ, listed or not.
    #[serde(skip)]
    pub differing_rows: u64,
}

/// A projection was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the database failed a rebuild")]
    Database(#[from] database::Error),
    #[error("the log could not be read for a rebuild")]
    Log(#[source] SourceError),
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<SourceError> for RebuildError {
    fn from(error: SourceError) -> Self {
        Self::Log(error)
    }
}

/// Rebuilds `projections` from the first event on, compares them with the live tables at the same sequence, and swaps
/// them in if asked to. `progress` is told now and then how many events have been applied.
///
/// The comparison holds nothing up: it looks at one snapshot, in which the live tables and their checkpoints agree, and
/// brings the shadow to those. Only a swap holds the checkpoints, so that the runner waits for it.
///
/// # Errors
/// When the log or the database fails; nothing is left behind then and nothing is swapped.
pub async fn rebuild(
    database: &Database,
    source: &dyn EntrySource,
    projections: &[Projection],
    options: Options,
    progress: impl FnMut(u64) + Send,
) -> Result<Vec<Report>, RebuildError> {
    let started = Instant::now();
    let mut connection = database.projector().await?;
    sqlx::raw_sql(SETUP).execute(&mut connection).await?;
    for table in projections.iter().flat_map(|projection| projection.tables()) {
        create_shadow(&mut connection, table).await?;
    }
    let mut shadow = Shadow { source, projections, at: HashMap::new(), applied: 0, progress };

    let targets = checkpoints(&mut connection, projections).await?;
    shadow.advance(&mut connection, &targets).await?;

    let mut snapshot = connection.begin_with("begin isolation level repeatable read").await?;
    let targets = checkpoints(&mut snapshot, projections).await?;
    shadow.advance(&mut snapshot, &targets).await?;
    let seconds = started.elapsed().as_secs_f64();
    let mut reports = Vec::new();
    for projection in projections {
        let events =
            shadow.at.iter().filter(|((of, _), _)| of == projection).map(|(_, sequence)| sequence).sum();
        let (mut differences, mut differing_rows) = (Vec::new(), 0);
        for table in projection.tables() {
            let found = compare::compare(&mut snapshot, table).await?;
            differing_rows += found.rows;
            differences.extend(found.differences);
        }
        reports.push(Report { projection: projection.name(), events, seconds, differences, differing_rows });
    }
    // The shadow's rows of this transaction are kept for the swap.
    snapshot.commit().await?;

    if options.swap {
        let mut tx = connection.begin().await?;
        let targets = checkpoints_held(&mut tx, projections).await?;
        shadow.advance(&mut tx, &targets).await?;
        for table in projections.iter().flat_map(|projection| projection.tables()) {
            let name = table.name;
            let swap = format!(
                "truncate vocalbridge.{name}; insert into vocalbridge.{name} select * from pg_temp.{name}"
            );
            sqlx::raw_sql(AssertSqlSafe(swap)).execute(&mut *tx).await?;
        }
        if projections.contains(&Projection::Configuration) {
            sqlx::query!("select pg_notify($1, '')", CONFIGURATION_CHANNEL).fetch_one(&mut *tx).await?;
        }
        tx.commit().await?;
    }
    connection.close().await?;
    Ok(reports)
}

/// An empty table like the live one with its primary key, which writes are guarded by, and without the other indexes,
/// which only readers need.
async fn create_shadow(connection: &mut PgConnection, table: &Table) -> Result<(), sqlx::Error> {
    let Table { name, key } = table;
    let create = format!(
        "create temporary table {name} (like vocalbridge.{name} including defaults including generated);
         alter table pg_temp.{name} add constraint {name}_pkey primary key ({})",
        key.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(create)).execute(connection).await?;
    Ok(())
}

/// Sequences by projection and partition.
type Sequences = HashMap<(Projection, u16), u64>;

async fn checkpoints(
    connection: &mut PgConnection,
    projections: &[Projection],
) -> Result<Sequences, sqlx::Error> {
    let rows =
        sqlx::query!("select projection, partition, sequence from checkpoints").fetch_all(connection).await?;
    Ok(sequences(projections, rows.into_iter().map(|row| (row.projection, row.partition, row.sequence))))
}

/// Likewise, and nobody moves them until the transaction ends.
async fn checkpoints_held(
    connection: &mut PgConnection,
    projections: &[Projection],
) -> Result<Sequences, sqlx::Error> {
    let names: Vec<String> = projections.iter().map(|projection| projection.name().to_owned()).collect();
    let rows = sqlx::query!(
        "select projection, partition, sequence from checkpoints where projection = any($1)
         order by projection, partition for update",
        &names
    )
    .fetch_all(connection)
    .await?;
    Ok(sequences(projections, rows.into_iter().map(|row| (row.projection, row.partition, row.sequence))))
}

fn sequences(projections: &[Projection], rows: impl Iterator<Item = (String, i32, i64)>) -> Sequences {
    rows.filter_map(|(name, partition, sequence)| {
        let projection =
            Projection::from_name(&name).filter(|projection| projections.contains(projection))?;
        Some(((projection, u16::try_from(partition).ok()?), count(sequence)))
    })
    .collect()
}

struct Shadow<'a, P> {
    source: &'a dyn EntrySource,
    projections: &'a [Projection],
    at: Sequences,
    applied: u64,
    progress: P,
}

impl<P: FnMut(u64) + Send> Shadow<'_, P> {
    /// Applies the log up to `targets`.
    async fn advance(
        &mut self,
        connection: &mut PgConnection,
        targets: &Sequences,
    ) -> Result<(), RebuildError> {
        for partition in 0..self.source.partitions() {
            let at =
                |of: &Sequences, projection| of.get(&(projection, partition)).copied().unwrap_or_default();
            let open: Vec<Projection> = self.projections.to_vec();
            let begin = open.iter().map(|projection| at(&self.at, *projection)).min().unwrap_or_default();
            let end = open.iter().map(|projection| at(targets, *projection)).max().unwrap_or_default();
            if begin >= end {
                continue;
            }
            let mut reader = Reader::open(self.source, partition, begin, None).await?.for_rebuild(BATCH);
            let mut batch = next(&mut reader, end).await?;
            while !batch.is_empty() {
                // The next batch is read while Postgres writes this one.
                let (read, ()) = tokio::try_join!(
                    next(&mut reader, end),
                    self.apply(connection, partition, targets, &batch)
                )?;
                self.applied += batch.len() as u64;
                (self.progress)(self.applied);
                batch = read;
            }
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        connection: &mut PgConnection,
        partition: u16,
        targets: &Sequences,
        batch: &[Entry],
    ) -> Result<(), RebuildError> {
        let mut tx = connection.begin().await?;
        for projection in self.projections {
            let target = targets.get(&(*projection, partition)).copied().unwrap_or_default();
            let at = self.at.entry((*projection, partition)).or_default();
            let from = batch.partition_point(|entry| entry.position.sequence <= *at);
            let to = batch.partition_point(|entry| entry.position.sequence <= target);
            let Some(entries) = batch.get(from..to).filter(|entries| !entries.is_empty()) else { continue };
            projection.apply(&mut tx, entries).await?;
            *at = entries.last().map_or(*at, |entry| entry.position.sequence);
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn next(reader: &mut Reader, end: u64) -> Result<Vec<Entry>, RebuildError> {
    let read = timeout(READ_LIMIT, reader.next(end)).await;
    Ok(read.map_err(|_| RebuildError::Log("the log is silent".into()))??)
}
