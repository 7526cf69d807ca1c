//! Projection `archive`: an independent copy of every entry of the log, readable or not.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, Datelike, Utc};
use events::{Entry, Event, Family, Position, SessionId, TenantId, binding};
use sqlx::PgConnection;

use crate::column::{big, column, count, text};
use crate::database::{Database, Error};
use crate::projection::Table;

pub(crate) const TABLES: &[Table] =
    &[Table { name: "archive", key: &["partition", "sequence", "recorded_at"] }];

/// An entry as the archive kept it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedEntry {
    pub position: Position,
    pub recorded_at: DateTime<Utc>,
    pub subject: String,
    /// One `name: value` a line.
    pub raw_headers: String,
    pub raw_payload: Bytes,
}

impl ArchivedEntry {
    /// The event.
    ///
    /// # Errors
    /// When this program cannot read it.
    pub fn event(&self) -> Result<Event, binding::BindingError> {
        let header = |wanted: &'static str| {
            self.raw_headers
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value)
        };
        binding::decode(header, &self.raw_payload)
    }
}

/// A month that a partition of the table holds, in UTC.
pub(crate) type Month = (i32, u32);

/// Makes the partitions that `entries` need, except those for the months in `made`. Answers the months it looked after.
pub(crate) async fn ensure_months(
    connection: &mut PgConnection,
    entries: &[Entry],
    made: &BTreeSet<Month>,
) -> Result<BTreeSet<Month>, sqlx::Error> {
    let month = |entry: &Entry| (entry.recorded_at.year(), entry.recorded_at.month());
    let mut ensured = BTreeSet::new();
    for entry in entries {
        if !made.contains(&month(entry)) && ensured.insert(month(entry)) {
            sqlx::query!("select ensure_archive_month($1) as ensured", entry.recorded_at)
                .fetch_one(&mut *connection)
                .await?;
        }
    }
    Ok(ensured)
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let events: Vec<Option<&Event>> = entries.iter().map(|entry| entry.event.as_ref().ok()).collect();
    let subjects: Vec<Cow<'_, str>> = entries.iter().map(|entry| text(&entry.subject)).collect();
    sqlx::query!(
        "insert into archive (partition, sequence, recorded_at, subject, raw_headers, raw_payload, event_id, event_type,
            event_time, tenant_id, session_id, correlation_id)
         select * from unnest($1::int4[], $2::int8[], $3::timestamptz[], $4::text[], $5::bytea[], $6::bytea[],
            $7::uuid[], $8::text[], $9::timestamptz[], $10::uuid[], $11::uuid[], $12::text[])
         on conflict on constraint archive_pkey do nothing",
        column!(entries, |entry| i32::from(entry.position.partition)) as _,
        column!(entries, |entry| big(entry.position.sequence)) as _,
        column!(entries, |entry| entry.recorded_at) as _,
        column!(subjects, |value| &**value) as _,
        column!(entries, |entry| entry.raw_headers.as_bytes()) as _,
        column!(entries, |entry| &*entry.raw_payload) as _,
        column!(events, |event| event.map(|event| event.envelope.id.0)) as _,
        column!(events, |event| event.map(|event| event.payload.event_type())) as _,
        column!(events, |event| event.map(|event| event.envelope.time)) as _,
        column!(events, |event| event.map(|event| event.envelope.aggregate.tenant_id.0)) as _,
        column!(events, |event| event.and_then(session_of)) as _,
        column!(events, |event| event.map(|event| event.envelope.origin.correlation_id.as_str())) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn session_of(event: &Event) -> Option<uuid::Uuid> {
    let aggregate = event.envelope.aggregate;
    matches!(aggregate.family, Family::Session | Family::SessionFacts).then_some(aggregate.id)
}

/// The entries about a session in their order, at most `limit`, those after sequence `after`. A session has one
/// partition, so its sequences order them.
///
/// # Errors
/// When the database does not answer.
pub async fn events_of_session(
    database: &Database,
    tenant_id: TenantId,
    session_id: SessionId,
    after: u64,
    limit: i64,
) -> Result<Vec<ArchivedEntry>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select partition, sequence, recorded_at, subject, raw_headers, raw_payload from archive
         where tenant_id = $1 and session_id = $2 and sequence > $3 order by sequence limit $4",
        tenant_id.0,
        session_id.0,
        big(after),
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let unreadable = |_| Error::Unreadable {
                column: "raw_headers",
                value: format!("{}:{}", row.partition, row.sequence),
            };
            Ok(ArchivedEntry {
                position: Position {
                    partition: u16::try_from(row.partition).unwrap_or(u16::MAX),
                    sequence: count(row.sequence),
                },
                recorded_at: row.recorded_at,
                subject: row.subject,
                raw_headers: String::from_utf8(row.raw_headers).map_err(unreadable)?,
                raw_payload: row.raw_payload.into(),
            })
        })
        .collect()
}
