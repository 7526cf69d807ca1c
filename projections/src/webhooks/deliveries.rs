//! Writing deliveries and their attempts.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use events::webhook::{AttemptEnd, DeliveryAttempted, DeliveryQueued, QueuedFor, Recipient};
use events::{Entry, Event, Payload};
use sqlx::PgConnection;
use uuid::Uuid;

use super::DeliveryStatus;
use crate::column::{big, column, json, readable, text};

/// What a batch says of one delivery.
struct Patch<'a> {
    tenant_id: Uuid,
    delivery_id: Uuid,
    sequence: i64,
    /// When it was queued, if that is news: its first time, or once more.
    queued: Option<(&'a Event, &'a DeliveryQueued)>,
    end: End<'a>,
    /// Something came of it.
    moved: bool,
}

/// How far it has come.
struct End<'a> {
    status: DeliveryStatus,
    attempts: i64,
    error_code: Option<Cow<'a, str>>,
    next_attempt_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl<'a> End<'a> {
    const QUEUED: Self = Self {
        status: DeliveryStatus::Pending,
        attempts: 0,
        error_code: None,
        next_attempt_at: None,
        finished_at: None,
    };

    fn of(event: &'a Event, attempted: &'a DeliveryAttempted) -> Self {
        let (status, next_attempt_at) = match attempted.end {
            AttemptEnd::Delivered => (DeliveryStatus::Delivered, None),
            AttemptEnd::Again { at } => (DeliveryStatus::Pending, Some(at)),
            AttemptEnd::Failed => (DeliveryStatus::Failed, None),
        };
        Self {
            status,
            attempts: i64::from(attempted.number),
            error_code: attempted.error_code.as_deref().map(text),
            next_attempt_at,
            finished_at: (status != DeliveryStatus::Pending).then_some(event.envelope.time),
        }
    }
}

/// What was delivered stays so until it is queued once more: a second copy of it may still fail.
fn fold(entries: &[Entry]) -> Vec<Patch<'_>> {
    let mut patches: Vec<Patch<'_>> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (sequence, event) in readable(entries) {
        let (delivery_id, queued, end) = match &event.payload {
            Payload::DeliveryQueued(queued) => (queued.delivery_id, Some((event, queued)), End::QUEUED),
            Payload::DeliveryAttempted(attempted) => (attempted.delivery_id, None, End::of(event, attempted)),
            Payload::DeliveryAbandoned(abandoned) => {
                let end = End {
                    status: DeliveryStatus::Failed,
                    error_code: Some(Cow::Borrowed(abandoned.reason.as_str())),
                    finished_at: Some(event.envelope.time),
                    ..End::QUEUED
                };
                (abandoned.delivery_id, None, end)
            }
            _ => continue,
        };
        let Some(place) = places.get(&delivery_id.0) else {
            places.insert(delivery_id.0, patches.len());
            let tenant_id = event.envelope.aggregate.tenant_id.0;
            let moved = queued.is_none();
            patches.push(Patch { tenant_id, delivery_id: delivery_id.0, sequence, queued, end, moved });
            continue;
        };
        let patch = &mut patches[*place];
        let repeats = queued.is_some_and(|(_, queued)| queued.queued_for == QueuedFor::Event);
        let was_delivered = patch.end.status == DeliveryStatus::Delivered && queued.is_none();
        if repeats || was_delivered {
            continue;
        }
        patch.sequence = sequence;
        patch.end = end;
        patch.moved = queued.is_none();
        patch.queued = queued.or(patch.queued);
    }
    patches
}

pub(super) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for entries in cut(entries) {
        apply_part(&mut *connection, entries).await?;
    }
    Ok(())
}

/// Cut where something is queued once more that was queued before in the same part: a row is made of what was queued
/// first, however the log was cut.
fn cut(entries: &[Entry]) -> Vec<&[Entry]> {
    let (mut parts, mut began, mut seen) = (Vec::new(), 0, HashSet::new());
    for (place, entry) in entries.iter().enumerate() {
        let Ok(Event { payload: Payload::DeliveryQueued(queued), .. }) = &entry.event else { continue };
        if !seen.insert(queued.delivery_id) {
            parts.push(&entries[began..place]);
            (began, seen) = (place, HashSet::from([queued.delivery_id]));
        }
    }
    parts.push(&entries[began..]);
    parts
}

async fn apply_part(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let patches = fold(entries);
    if patches.is_empty() {
        return Ok(());
    }
    insert(&mut *connection, &patches).await?;
    // A no-op for what was just inserted, but not for what was there already.
    let moved: Vec<&Patch<'_>> = patches.iter().filter(|patch| patch.moved).collect();
    update(&mut *connection, &moved).await?;
    insert_attempts(connection, entries).await
}

async fn insert(connection: &mut PgConnection, patches: &[Patch<'_>]) -> Result<(), sqlx::Error> {
    let rows: Vec<(&Patch<'_>, &Event, &DeliveryQueued)> = patches
        .iter()
        .filter_map(|patch| patch.queued.map(|(event, queued)| (patch, event, queued)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let callbacks: Vec<Option<String>> = rows
        .iter()
        .map(|row| match &row.2.recipient {
            Recipient::Callback(callback) => Some(json(callback)),
            Recipient::Endpoint(_) => None,
        })
        .collect();
    sqlx::query!(
        "insert into webhook_deliveries (tenant_id, delivery_id, webhook_id, callback, event_type, event_id, body,
            seal_with, status, is_test, attempts, error_code, next_attempt_at, created_at, queued_at, finished_at,
            sequence)
         select tenant_id, delivery_id, webhook_id, callback::json, event_type, event_id, body, seal_with, status,
            queued_for = 'test', attempts, error_code, next_attempt_at, queued_at, queued_at, finished_at, sequence
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::uuid[],
            $9::text[], $10::text[], $11::int8[], $12::text[], $13::timestamptz[], $14::timestamptz[],
            $15::timestamptz[], $16::int8[])
            as patch (tenant_id, delivery_id, webhook_id, callback, event_type, event_id, body, seal_with, status,
            queued_for, attempts, error_code, next_attempt_at, queued_at, finished_at, sequence)
         on conflict on constraint webhook_deliveries_pkey do update set
            (status, attempts, error_code, next_attempt_at, queued_at, finished_at, sequence)
            = (excluded.status, excluded.attempts, excluded.error_code, excluded.next_attempt_at, excluded.queued_at,
            excluded.finished_at, excluded.sequence)
            where excluded.sequence > webhook_deliveries.sequence and excluded.delivery_id = any($17)",
        column!(rows, |row| row.0.tenant_id) as _,
        column!(rows, |row| row.0.delivery_id) as _,
        column!(rows, |row| row.2.recipient.webhook_id().map(Uuid::from)) as _,
        column!(callbacks, |callback| callback.as_deref()) as _,
        column!(rows, |row| text(&row.2.event_type).into_owned()) as _,
        column!(rows, |row| row.2.event_id.0) as _,
        column!(rows, |row| text(&row.2.body).into_owned()) as _,
        column!(rows, |row| row.2.seal_with) as _,
        column!(rows, |row| row.0.end.status.as_str()) as _,
        column!(rows, |row| queued_for(row.2)) as _,
        column!(rows, |row| row.0.end.attempts) as _,
        column!(rows, |row| row.0.end.error_code.as_deref()) as _,
        column!(rows, |row| row.0.end.next_attempt_at) as _,
        column!(rows, |row| row.1.envelope.time) as _,
        column!(rows, |row| row.0.end.finished_at) as _,
        column!(rows, |row| row.0.sequence) as _,
        // Of those that are there already, only these are news.
        &rows
            .iter()
            .filter(|row| row.2.queued_for == QueuedFor::Redelivery)
            .map(|row| row.0.delivery_id)
            .collect::<Vec<_>>()[..] as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn queued_for(queued: &DeliveryQueued) -> &'static str {
    match queued.queued_for {
        QueuedFor::Event => "event",
        QueuedFor::Test => "test",
        QueuedFor::Redelivery => "redelivery",
    }
}

async fn update(connection: &mut PgConnection, rows: &[&Patch<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update webhook_deliveries as delivery set
            status = patch.status,
            attempts = greatest(patch.attempts, delivery.attempts),
            error_code = patch.error_code,
            next_attempt_at = patch.next_attempt_at,
            finished_at = patch.finished_at,
            sequence = patch.sequence
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::int8[])
            as patch (tenant_id, delivery_id, status, attempts, error_code, next_attempt_at, finished_at, sequence)
         where delivery.tenant_id = patch.tenant_id and delivery.delivery_id = patch.delivery_id
            and patch.sequence > delivery.sequence and delivery.status <> 'delivered'",
        column!(rows, |row| row.tenant_id) as _,
        column!(rows, |row| row.delivery_id) as _,
        column!(rows, |row| row.end.status.as_str()) as _,
        column!(rows, |row| row.end.attempts) as _,
        column!(rows, |row| row.end.error_code.as_deref()) as _,
        column!(rows, |row| row.end.next_attempt_at) as _,
        column!(rows, |row| row.end.finished_at) as _,
        column!(rows, |row| row.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_attempts(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &Event, &DeliveryAttempted)> = readable(entries)
        .filter_map(|(sequence, event)| match &event.payload {
            Payload::DeliveryAttempted(attempted) => Some((sequence, event, attempted)),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into webhook_attempts (tenant_id, attempt_id, delivery_id, webhook_id, number, started_at, duration_ms,
            status, error_code, response_key_id, response_ciphertext, response_cut, sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int8[], $6::timestamptz[], $7::int8[],
            $8::int4[], $9::text[], $10::uuid[], $11::text[], $12::bool[], $13::int8[])
         on conflict on constraint webhook_attempts_pkey do nothing",
        column!(rows, |row| row.1.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.1.envelope.id.0) as _,
        column!(rows, |row| row.2.delivery_id.0) as _,
        column!(rows, |row| row.2.webhook_id.map(Uuid::from)) as _,
        column!(rows, |row| i64::from(row.2.number)) as _,
        column!(rows, |row| row.2.started_at) as _,
        column!(rows, |row| big(row.2.duration_ms)) as _,
        column!(rows, |row| row.2.status.map(i32::from)) as _,
        column!(rows, |row| row.2.error_code.as_deref().map(|code| text(code).into_owned())) as _,
        column!(rows, |row| row.2.response.as_ref().map(|response| response.key_id)) as _,
        column!(rows, |row| row.2.response.as_ref().map(|response| text(&response.ciphertext).into_owned())) as _,
        column!(rows, |row| row.2.response_cut) as _,
        column!(rows, |row| row.0) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}
