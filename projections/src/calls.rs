//! Projection `calls`: calls as they are listed, and how long the parts of their turns took.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::call::{CallEnded, CallStarted, CallSummarized, Direction, TurnMeasured};
use events::{Entry, Event, Payload};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, json, readable, text};
use crate::projection::Table;

mod latency;
mod queries;

pub use latency::{StageLatency, latencies};
pub use queries::{CallFilter, CallRecord, TurnRecord, call, call_by_sid, calls, turns};

pub(crate) const TABLES: &[Table] = &[
    Table { name: "calls", key: &["tenant_id", "call_id"] },
    Table { name: "call_turns", key: &["tenant_id", "call_id", "sequence"] },
];

/// A call that is not answered yet: placed by us, or coming in.
const QUEUED: &str = "queued";
const RINGING: &str = "ringing";
const IN_PROGRESS: &str = "in-progress";

/// What a batch says of one call; `None` where it says nothing.
struct Patch<'a> {
    tenant_id: Uuid,
    call_id: Uuid,
    sequence: i64,
    started: Option<(&'a Event, &'a CallStarted)>,
    worker_id: Option<Cow<'a, str>>,
    connected_at: Option<DateTime<Utc>>,
    ended: Option<(&'a Event, &'a CallEnded)>,
    summarized: Option<(&'a Event, &'a CallSummarized)>,
    deleted: bool,
}

struct TurnRow<'a> {
    sequence: i64,
    event: &'a Event,
    turn: &'a TurnMeasured,
}

impl Patch<'_> {
    fn status(&self) -> Option<&'static str> {
        if let Some((_, ended)) = self.ended {
            return Some(ended.status.as_str());
        }
        let before = self.started.map(|(_, started)| match started.direction {
            Direction::Outbound => QUEUED,
            Direction::Inbound | Direction::Browser => RINGING,
        });
        if self.connected_at.is_some() { Some(IN_PROGRESS) } else { before }
    }
}

fn fold(entries: &[Entry]) -> Vec<Patch<'_>> {
    let mut patches: Vec<Patch<'_>> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (sequence, event) in readable(entries) {
        if !matches!(
            event.payload,
            Payload::CallStarted(_)
                | Payload::CallClaimed(_)
                | Payload::CallConnected(_)
                | Payload::CallEnded(_)
                | Payload::CallSummarized(_)
                | Payload::CallDeleted(_)
        ) {
            continue;
        }
        let call_id = event.envelope.aggregate.id;
        let place = *places.entry(call_id).or_insert_with(|| {
            patches.push(Patch {
                tenant_id: event.envelope.aggregate.tenant_id.0,
                call_id,
                sequence,
                started: None,
                worker_id: None,
                connected_at: None,
                ended: None,
                summarized: None,
                deleted: false,
            });
            patches.len() - 1
        });
        patches[place].add(sequence, event);
    }
    patches
}

impl<'a> Patch<'a> {
    fn add(&mut self, sequence: i64, event: &'a Event) {
        self.sequence = sequence;
        match &event.payload {
            // The same call can be told of twice; the first time counts.
            Payload::CallStarted(started) => _ = self.started.get_or_insert((event, started)),
            Payload::CallClaimed(claimed) => self.worker_id = Some(text(&claimed.worker_id)),
            Payload::CallConnected(_) => _ = self.connected_at.get_or_insert(event.envelope.time),
            Payload::CallEnded(ended) => _ = self.ended.get_or_insert((event, ended)),
            Payload::CallSummarized(summarized) => {
                self.summarized.get_or_insert((event, summarized));
            }
            Payload::CallDeleted(_) => self.deleted = true,
            _ => {}
        }
    }
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    write_calls(connection, &fold(entries)).await?;
    write_turns(connection, entries).await
}

async fn write_calls(connection: &mut PgConnection, rows: &[Patch<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let started: Vec<Option<&CallStarted>> =
        rows.iter().map(|row| row.started.map(|(_, call)| call)).collect();
    let began: Vec<Option<&Event>> = rows.iter().map(|row| row.started.map(|(event, _)| event)).collect();
    let ended: Vec<Option<&CallEnded>> = rows.iter().map(|row| row.ended.map(|(_, end)| end)).collect();
    let summaries: Vec<_> = rows
        .iter()
        .map(|row| row.summarized.and_then(|(event, call)| Some((event.envelope.id, call.summary.as_ref()?))))
        .collect();
    sqlx::query!(
        "with patch as (
            select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::uuid[],
                $8::text[], $9::text[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                $16::int8[], $17::int8[], $18::uuid[], $19::text[], $20::uuid[], $21::bool[], $22::timestamptz[],
                $23::timestamptz[], $24::timestamptz[], $25::int8[])
                as patch (tenant_id, call_id, session_id, agent_id, direction, transport, customer_key_id,
                caller_ciphertext, called_ciphertext, sealed_event_id, provider_call_sid, metadata, status, worker_id,
                end_reason, duration_ms, requests, summary_key_id, summary_ciphertext, summary_event_id, deleted,
                started_at, connected_at, ended_at, sequence)
         ), touched as (
            update calls set
                status = case when calls.ended_at is null then coalesce(patch.status, calls.status) else calls.status end,
                worker_id = coalesce(patch.worker_id, calls.worker_id),
                end_reason = coalesce(calls.end_reason, patch.end_reason),
                duration_ms = coalesce(calls.duration_ms, patch.duration_ms),
                requests = coalesce(calls.requests, patch.requests),
                summary_key_id = coalesce(calls.summary_key_id, patch.summary_key_id),
                summary_ciphertext = coalesce(calls.summary_ciphertext, patch.summary_ciphertext),
                summary_event_id = coalesce(calls.summary_event_id, patch.summary_event_id),
                deleted = calls.deleted or patch.deleted,
                connected_at = coalesce(calls.connected_at, patch.connected_at),
                ended_at = coalesce(calls.ended_at, patch.ended_at),
                sequence = patch.sequence
            from patch
            where patch.started_at is null and calls.tenant_id = patch.tenant_id and calls.call_id = patch.call_id
                and patch.sequence > calls.sequence
         )
         insert into calls (tenant_id, call_id, session_id, agent_id, direction, transport, customer_key_id,
            caller_ciphertext, called_ciphertext, sealed_event_id, provider_call_sid, metadata, status, worker_id,
            end_reason, duration_ms, requests, summary_key_id, summary_ciphertext, summary_event_id, deleted,
            started_at, connected_at, ended_at, sequence)
         select tenant_id, call_id, session_id, agent_id, direction, transport, customer_key_id, caller_ciphertext,
            called_ciphertext, sealed_event_id, provider_call_sid, metadata::json, status, worker_id, end_reason,
            duration_ms, requests, summary_key_id, summary_ciphertext, summary_event_id, deleted, started_at,
            connected_at, ended_at, sequence
         from patch where patch.started_at is not null
         on conflict on constraint calls_pkey do update set
            (status, worker_id, end_reason, duration_ms, requests, summary_key_id, summary_ciphertext,
            summary_event_id, deleted, connected_at, ended_at, sequence)
            = (excluded.status, excluded.worker_id, excluded.end_reason, excluded.duration_ms, excluded.requests,
            excluded.summary_key_id, excluded.summary_ciphertext, excluded.summary_event_id, excluded.deleted,
            excluded.connected_at, excluded.ended_at, excluded.sequence)
            where excluded.sequence > calls.sequence and excluded.sealed_event_id = calls.sealed_event_id",
        column!(rows, |row| row.tenant_id) as _,
        column!(rows, |row| row.call_id) as _,
        column!(started, |call| call.map(|call| call.session_id.0)) as _,
        column!(started, |call| call.map(|call| call.agent_id.0)) as _,
        column!(started, |call| call.map(|call| call.direction.as_str())) as _,
        column!(started, |call| call.map(|call| call.transport.as_str())) as _,
        column!(started, |call| call.map(|call| call.customer_key_id.0)) as _,
        column!(started, |call| call.and_then(|call| call.caller_number.as_ref()).map(|number| text(&number.ciphertext).into_owned())) as _,
        column!(started, |call| call.and_then(|call| call.called_number.as_ref()).map(|number| text(&number.ciphertext).into_owned())) as _,
        column!(began, |event| event.map(|event| event.envelope.id.0)) as _,
        column!(started, |call| call.and_then(|call| call.provider_call_sid.as_deref()).map(|sid| text(sid).into_owned())) as _,
        column!(started, |call| call.map(|call| json(&call.metadata))) as _,
        column!(rows, |row| row.status()) as _,
        column!(rows, |row| row.worker_id.as_deref()) as _,
        column!(ended, |end| end.map(|end| text(&end.end_reason).into_owned())) as _,
        column!(ended, |end| end.map(|end| big(end.duration_ms))) as _,
        column!(ended, |end| end.map(|end| i64::from(end.requests))) as _,
        column!(summaries, |summary| summary.map(|(_, words)| words.key_id)) as _,
        column!(summaries, |summary| summary.map(|(_, words)| text(&words.ciphertext).into_owned())) as _,
        column!(summaries, |summary| summary.map(|(event_id, _)| event_id.0)) as _,
        column!(rows, |row| row.deleted) as _,
        column!(began, |event| event.map(|event| event.envelope.time)) as _,
        column!(rows, |row| row.connected_at) as _,
        column!(rows, |row| row.ended.map(|(event, _)| event.envelope.time)) as _,
        column!(rows, |row| row.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_turns(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<TurnRow<'_>> = readable(entries)
        .filter_map(|(sequence, event)| match &event.payload {
            Payload::TurnMeasured(turn) => Some(TurnRow { sequence, event, turn }),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let provider = |name: &Option<String>| name.as_deref().map(|name| text(name).into_owned());
    sqlx::query!(
        "insert into call_turns (tenant_id, call_id, sequence, job_id, turn, interrupted, speech_ms, endpointing_ms,
            stt_ms, first_token_ms, first_sentence_ms, first_audio_ms, caller_gap_ms, stt_provider, llm_provider,
            tts_provider, measured_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::uuid[], $5::int8[], $6::bool[], $7::int8[],
            $8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::text[], $15::text[],
            $16::text[], $17::timestamptz[])
         on conflict on constraint call_turns_pkey do nothing",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.sequence) as _,
        column!(rows, |row| row.turn.job_id.0) as _,
        column!(rows, |row| i64::from(row.turn.turn)) as _,
        column!(rows, |row| row.turn.interrupted) as _,
        column!(rows, |row| row.turn.speech_ms.map(big)) as _,
        column!(rows, |row| row.turn.endpointing_ms.map(big)) as _,
        column!(rows, |row| row.turn.stt_ms.map(big)) as _,
        column!(rows, |row| row.turn.first_token_ms.map(big)) as _,
        column!(rows, |row| row.turn.first_sentence_ms.map(big)) as _,
        column!(rows, |row| row.turn.first_audio_ms.map(big)) as _,
        column!(rows, |row| row.turn.caller_gap_ms.map(big)) as _,
        column!(rows, |row| provider(&row.turn.stt_provider)) as _,
        column!(rows, |row| provider(&row.turn.llm_provider)) as _,
        column!(rows, |row| provider(&row.turn.tts_provider)) as _,
        column!(rows, |row| row.event.envelope.time) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}
