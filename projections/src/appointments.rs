//! Projection `appointments`: who holds which time of an agent's calendar.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use events::appointment::AppointmentBooked;
use events::{AgentId, AppointmentId, Entry, Event, Payload, TenantId};
use sqlx::PgConnection;

use crate::column::{column, count, readable, text};
use crate::database::{Database, Error};
use crate::projection::{Projection, Table};

pub(crate) const TABLES: &[Table] =
    &[Table { name: "appointments", key: &["tenant_id", "agent_id", "starts_at"] }];

/// A time that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub appointment_id: AppointmentId,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

/// What the table knows of a calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Everything up to here in the log is in the table.
    pub through: u64,
    /// The sequence of the calendar's last event in the table; 0 when there is none.
    pub last: u64,
    /// In their order.
    pub taken: Vec<Taken>,
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &Event, &AppointmentBooked)> = readable(entries)
        .filter_map(|(sequence, event)| match &event.payload {
            Payload::AppointmentBooked(booked) => Some((sequence, event, booked)),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.2.name.ciphertext)).collect();
    let phones: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.2.phone.ciphertext)).collect();
    sqlx::query!(
        "insert into appointments (tenant_id, agent_id, starts_at, ends_at, appointment_id, session_id, tool_call_id,
            correlation_id, name_key_id, name_ciphertext, phone_key_id, phone_ciphertext, sealed_event_id, booked_at,
            sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::uuid[], $6::uuid[],
            $7::uuid[], $8::text[], $9::uuid[], $10::text[], $11::uuid[], $12::text[], $13::uuid[],
            $14::timestamptz[], $15::int8[])
         on conflict on constraint appointments_pkey do nothing",
        column!(rows, |row| row.1.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.1.envelope.aggregate.id) as _,
        column!(rows, |row| row.2.starts_at) as _,
        column!(rows, |row| row.2.ends_at) as _,
        column!(rows, |row| row.2.appointment_id.0) as _,
        column!(rows, |row| row.2.session_id.0) as _,
        column!(rows, |row| row.2.tool_call_id.0) as _,
        column!(rows, |row| row.1.envelope.origin.correlation_id.as_str()) as _,
        column!(rows, |row| row.2.name.key_id) as _,
        column!(names, |value| &**value) as _,
        column!(rows, |row| row.2.phone.key_id) as _,
        column!(phones, |value| &**value) as _,
        column!(rows, |row| row.1.envelope.id.0) as _,
        column!(rows, |row| row.1.envelope.time) as _,
        column!(rows, |row| row.0) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What is taken between `from` and `to`, as far as the table has come. `partition` is the calendar's. Who decides by
/// it reads on in the log after `through`.
///
/// # Errors
/// When the database does not answer.
pub async fn booked(
    database: &Database,
    tenant_id: TenantId,
    agent_id: AgentId,
    partition: u16,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Booked, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    // First: rows that come meanwhile are seen here and in the log, none is missed in both.
    let through = sqlx::query_scalar!(
        "select sequence from checkpoints where projection = $1 and partition = $2",
        Projection::Appointments.name(),
        i32::from(partition)
    )
    .fetch_optional(&mut *tx)
    .await?;
    let last = sqlx::query_scalar!(
        "select max(sequence) from appointments where tenant_id = $1 and agent_id = $2",
        tenant_id.0,
        agent_id.0
    )
    .fetch_one(&mut *tx)
    .await?;
    let rows = sqlx::query!(
        "select appointment_id, starts_at, ends_at from appointments
         where tenant_id = $1 and agent_id = $2 and starts_at < $4 and ends_at > $3 order by starts_at",
        tenant_id.0,
        agent_id.0,
        from,
        to
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let taken = rows.into_iter().map(|row| Taken {
        appointment_id: AppointmentId(row.appointment_id),
        starts_at: row.starts_at,
        ends_at: row.ends_at,
    });
    Ok(Booked { through: through.map_or(0, count), last: last.map_or(0, count), taken: taken.collect() })
}
