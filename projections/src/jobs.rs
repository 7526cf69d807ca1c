//! Projection `jobs`: accepted work as its user sees it.

mod record;
mod row;

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::session::{BilledAttempt, Channel, FailureCode, ReplyCompleted, TurnFailed};
use events::{AgentId, Entry, Event, EventId, JobId, MessageId, Payload, Position, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, json, readable, text, uuids};
use crate::database::{Database, Error, Page};
use crate::projection::Table;
use crate::voice_messages;

pub use record::{JobEnding, JobFilter, JobKind, JobOutcome, JobRecord, JobStage, JobStatus};
use row::JobRow;

pub(crate) const TABLES: &[Table] = &[Table { name: "jobs", key: &["tenant_id", "job_id"] }];

const CODES: [FailureCode; 12] = [
    FailureCode::VendorFailed,
    FailureCode::VendorTimeout,
    FailureCode::SessionEnded,
    FailureCode::AgentUnavailable,
    FailureCode::Cancelled,
    FailureCode::ContextExceeded,
    FailureCode::InvalidAudio,
    FailureCode::NoSpeech,
    FailureCode::SpeechFailed,
    FailureCode::SpeechUnavailable,
    FailureCode::BudgetExceeded,
    FailureCode::InternalError,
];

/// What a batch says of one job; `None` where it says nothing.
struct Patch<'a> {
    tenant_id: Uuid,
    job_id: Uuid,
    session_id: Uuid,
    sequence: i64,
    status: JobStatus,
    received: Option<Received<'a>>,
    started_at: Option<DateTime<Utc>>,
    turn_attempts: Option<i64>,
    worker_id: Option<Cow<'a, str>>,
    finished: Option<Finished<'a>>,
}

/// The job's first event.
#[derive(Clone, Copy)]
struct Received<'a> {
    event: &'a Event,
    kind: JobKind,
    message_id: MessageId,
}

struct Finished<'a> {
    event: &'a Event,
    agent_id: AgentId,
    channel: Channel,
    latency_ms: u64,
    attempts: u32,
    tokens_in: u64,
    tokens_out: u64,
    cost_usd: Decimal,
    reply: Option<&'a ReplyCompleted>,
    failure: Option<&'a TurnFailed>,
}

fn fold(entries: &[Entry]) -> Vec<Patch<'_>> {
    let mut patches: Vec<Patch<'_>> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (sequence, event) in readable(entries) {
        let job_id = match &event.payload {
            Payload::MessageReceived(message) => message.job_id,
            Payload::RecordingReceived(recording) => recording.job_id,
            Payload::TurnStarted(turn) => turn.job_id,
            Payload::ReplyCompleted(reply) => reply.job_id,
            Payload::TurnFailed(failure) => failure.job_id,
            _ => continue,
        };
        let place = *places.entry(job_id.0).or_insert_with(|| {
            patches.push(Patch {
                tenant_id: event.envelope.aggregate.tenant_id.0,
                job_id: job_id.0,
                session_id: event.envelope.aggregate.id,
                sequence,
                status: JobStatus::Queued,
                received: None,
                started_at: None,
                turn_attempts: None,
                worker_id: None,
                finished: None,
            });
            patches.len() - 1
        });
        patches[place].add(sequence, event);
    }
    patches
}

impl<'a> Patch<'a> {
    /// A recording's words come after the recording itself.
    fn receive(&mut self, event: &'a Event, kind: JobKind, message_id: MessageId) {
        self.received.get_or_insert(Received { event, kind, message_id });
    }

    fn add(&mut self, sequence: i64, event: &'a Event) {
        self.sequence = sequence;
        match &event.payload {
            Payload::MessageReceived(message) => {
                self.receive(event, JobKind::Message, message.message_id);
            }
            Payload::RecordingReceived(recording) => {
                self.receive(event, JobKind::VoiceMessage, recording.message_id);
            }
            Payload::TurnStarted(turn) => {
                self.status = JobStatus::Running;
                self.started_at = self.started_at.or(Some(event.envelope.time));
                self.turn_attempts = Some(i64::from(turn.attempt));
                self.worker_id = Some(text(&turn.worker_id));
            }
            Payload::ReplyCompleted(reply) => {
                self.status = JobStatus::Succeeded;
                self.finished = Some(Finished {
                    event,
                    agent_id: reply.agent_id,
                    channel: reply.channel,
                    latency_ms: reply.latency_ms,
                    attempts: reply.attempts,
                    tokens_in: reply.tokens_in,
                    tokens_out: reply.tokens_out,
                    cost_usd: reply.cost_usd,
                    reply: Some(reply),
                    failure: None,
                });
            }
            Payload::TurnFailed(failure) => {
                let cancelled = failure.code == FailureCode::Cancelled;
                self.status = if cancelled { JobStatus::Cancelled } else { JobStatus::Failed };
                let sum = |of: fn(&BilledAttempt) -> u64| {
                    failure.billed.iter().map(of).fold(0, u64::saturating_add)
                };
                self.finished = Some(Finished {
                    event,
                    agent_id: failure.agent_id,
                    channel: failure.channel,
                    latency_ms: failure.latency_ms,
                    attempts: failure.attempts,
                    tokens_in: sum(|billed| billed.metered.tokens_in),
                    tokens_out: sum(|billed| billed.metered.tokens_out),
                    cost_usd: failure.billed.iter().map(|billed| billed.metered.cost_usd).sum(),
                    reply: None,
                    failure: Some(failure),
                });
            }
            _ => {}
        }
    }
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    write(connection, entries).await?;
    for (partition, sequence, event) in entries.iter().filter_map(|entry| {
        let Position { partition, sequence } = entry.position;
        entry.event.as_ref().ok().map(|event| (partition, sequence, event))
    }) {
        // After what stands before it and, in a batch, also after what stands behind it: `sequence` tells them apart.
        if let Payload::JobsRetired(retired) = &event.payload {
            sqlx::query!(
                "delete from jobs where partition = $1 and finished_at < $2 and sequence < $3",
                i32::from(partition),
                retired.finished_before,
                big(sequence),
            )
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}

async fn write(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows = fold(entries);
    // A batch is of one partition.
    let partition = entries.first().map_or(0, |entry| i32::from(entry.position.partition));
    if rows.is_empty() {
        return Ok(());
    }
    let finished: Vec<Option<&Finished<'_>>> = rows.iter().map(|row| row.finished.as_ref()).collect();
    let replies: Vec<Option<(EventId, &ReplyCompleted)>> = finished
        .iter()
        .map(|end| end.and_then(|end| end.reply.map(|reply| (end.event.envelope.id, reply))))
        .collect();
    let failures: Vec<Option<&TurnFailed>> =
        finished.iter().map(|end| end.and_then(|end| end.failure)).collect();
    sqlx::query!(
        "with patch as (
            select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::int8[],
                $8::text[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::uuid[], $13::text[],
                $14::uuid[], $15::uuid[], $16::text[], $17::uuid[], $18::text[], $19::text[], $20::int8[], $21::int8[],
                $22::numeric[], $23::int8[], $24::text[], $25::int8[], $26::text[], $27::text[], $28::int8[],
                $29::text[])
                as patch (tenant_id, job_id, status, session_id, in_reply_to, correlation_id, turn_attempts, worker_id,
                created_at, started_at, finished_at, agent_id, channel, message_id, content_key_id, content_ciphertext,
                content_event_id, provider, model, tokens_in, tokens_out, cost_usd, latency_ms, tools_called, attempts,
                error_code, error_detail, sequence, kind)
         ), touched as (
            update jobs set
                status = patch.status,
                turn_attempts = coalesce(patch.turn_attempts, jobs.turn_attempts),
                worker_id = coalesce(patch.worker_id, jobs.worker_id),
                started_at = coalesce(jobs.started_at, patch.started_at),
                finished_at = coalesce(patch.finished_at, jobs.finished_at),
                agent_id = coalesce(patch.agent_id, jobs.agent_id),
                channel = coalesce(patch.channel, jobs.channel),
                message_id = coalesce(patch.message_id, jobs.message_id),
                content_key_id = coalesce(patch.content_key_id, jobs.content_key_id),
                content_ciphertext = coalesce(patch.content_ciphertext, jobs.content_ciphertext),
                content_event_id = coalesce(patch.content_event_id, jobs.content_event_id),
                provider = coalesce(patch.provider, jobs.provider),
                model = coalesce(patch.model, jobs.model),
                tokens_in = coalesce(patch.tokens_in, jobs.tokens_in),
                tokens_out = coalesce(patch.tokens_out, jobs.tokens_out),
                cost_usd = coalesce(patch.cost_usd, jobs.cost_usd),
                latency_ms = coalesce(patch.latency_ms, jobs.latency_ms),
                tools_called = coalesce(patch.tools_called::json, jobs.tools_called),
                attempts = coalesce(patch.attempts, jobs.attempts),
                error_code = coalesce(patch.error_code, jobs.error_code),
                error_detail = coalesce(patch.error_detail, jobs.error_detail),
                sequence = patch.sequence
            from patch
            where patch.created_at is null and jobs.tenant_id = patch.tenant_id and jobs.job_id = patch.job_id
                and patch.sequence > jobs.sequence
         )
         insert into jobs (tenant_id, job_id, kind, status, session_id, in_reply_to, correlation_id, turn_attempts,
            worker_id, created_at, started_at, finished_at, agent_id, channel, message_id, content_key_id,
            content_ciphertext, content_event_id, provider, model, tokens_in, tokens_out, cost_usd, latency_ms,
            tools_called, attempts, error_code, error_detail, sequence, partition)
         select tenant_id, job_id, kind, status, session_id, in_reply_to, correlation_id,
            coalesce(turn_attempts, 0), worker_id, created_at, started_at, finished_at, agent_id, channel, message_id,
            content_key_id, content_ciphertext, content_event_id, provider, model, tokens_in, tokens_out, cost_usd,
            latency_ms, tools_called::json, attempts, error_code, error_detail, sequence, $30
         from patch where patch.created_at is not null
         on conflict on constraint jobs_pkey do update set
            (status, turn_attempts, worker_id, started_at, finished_at, agent_id, channel, message_id, content_key_id,
            content_ciphertext, content_event_id, provider, model, tokens_in, tokens_out, cost_usd, latency_ms,
            tools_called, attempts, error_code, error_detail, sequence)
            = (excluded.status, excluded.turn_attempts, excluded.worker_id, excluded.started_at, excluded.finished_at,
            excluded.agent_id, excluded.channel, excluded.message_id, excluded.content_key_id,
            excluded.content_ciphertext, excluded.content_event_id, excluded.provider, excluded.model,
            excluded.tokens_in, excluded.tokens_out, excluded.cost_usd, excluded.latency_ms, excluded.tools_called,
            excluded.attempts, excluded.error_code, excluded.error_detail, excluded.sequence)
            where excluded.sequence > jobs.sequence",
        column!(rows, |row| row.tenant_id) as _,
        column!(rows, |row| row.job_id) as _,
        column!(rows, |row| row.status.as_str()) as _,
        column!(rows, |row| row.session_id) as _,
        column!(rows, |row| row.received.map(|received| received.message_id.0)) as _,
        column!(rows, |row| row.received.map(|received| received.event.envelope.origin.correlation_id.as_str())) as _,
        column!(rows, |row| row.turn_attempts) as _,
        column!(rows, |row| row.worker_id.as_deref()) as _,
        column!(rows, |row| row.received.map(|received| received.event.envelope.time)) as _,
        column!(rows, |row| row.started_at) as _,
        column!(finished, |end| end.map(|end| end.event.envelope.time)) as _,
        column!(finished, |end| end.map(|end| end.agent_id.0)) as _,
        column!(finished, |end| end.map(|end| end.channel.as_str())) as _,
        column!(replies, |reply| reply.map(|(_, reply)| reply.message_id.0)) as _,
        column!(replies, |reply| reply.map(|(_, reply)| reply.content.key_id)) as _,
        column!(replies, |reply| reply.map(|(_, reply)| text(&reply.content.ciphertext).into_owned())) as _,
        column!(replies, |reply| reply.map(|(event_id, _)| event_id.0)) as _,
        column!(replies, |reply| reply.map(|(_, reply)| text(&reply.provider).into_owned())) as _,
        column!(replies, |reply| reply.map(|(_, reply)| text(&reply.model).into_owned())) as _,
        column!(finished, |end| end.map(|end| big(end.tokens_in))) as _,
        column!(finished, |end| end.map(|end| big(end.tokens_out))) as _,
        column!(finished, |end| end.map(|end| end.cost_usd)) as _,
        column!(finished, |end| end.map(|end| big(end.latency_ms))) as _,
        column!(replies, |reply| reply.map(|(_, reply)| json(&reply.tools_called))) as _,
        column!(finished, |end| end.map(|end| i64::from(end.attempts))) as _,
        column!(failures, |failure| failure.map(|failure| failure.code.as_str())) as _,
        column!(failures, |failure| failure.map(|failure| text(&failure.detail).into_owned())) as _,
        column!(rows, |row| row.sequence) as _,
        column!(rows, |row| row.received.map(|received| received.kind.as_str())) as _,
        partition,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there are jobs in `partition` that finished before then.
///
/// # Errors
/// When the database does not answer.
pub async fn any_finished_before(
    database: &Database,
    partition: u16,
    before: DateTime<Utc>,
) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select has_jobs_finished_before($1, $2) as "found!""#,
        i32::from(partition),
        before
    )
    .fetch_one(database.app())
    .await?;
    Ok(found)
}

/// # Errors
/// When the database does not answer.
pub async fn job(
    database: &Database,
    tenant_id: TenantId,
    job_id: JobId,
) -> Result<Option<JobRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        JobRow,
        "select job_id, kind, status, session_id, in_reply_to, correlation_id, turn_attempts, worker_id, created_at,
            started_at, finished_at, agent_id, channel, message_id, content_key_id, content_ciphertext,
            content_event_id, provider, model, tokens_in, tokens_out, cost_usd, latency_ms,
            tools_called::text as tools_called, attempts, error_code, error_detail
         from jobs where tenant_id = $1 and job_id = $2",
        tenant_id.0,
        job_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    let mut records: Vec<JobRecord> = row.map(JobRow::record).transpose()?.into_iter().collect();
    add_voices(&mut tx, tenant_id, &mut records).await?;
    tx.commit().await?;
    Ok(records.pop())
}

/// The tenant's jobs that fit `filter`, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn jobs(
    database: &Database,
    tenant_id: TenantId,
    filter: &JobFilter,
    page: Page,
) -> Result<Vec<JobRecord>, Error> {
    let only = filter.agents.as_deref().map(uuids);
    let mut tx = database.tenant(tenant_id).await?;
    // A voice message runs until its reply was spoken.
    let rows = sqlx::query_as!(
        JobRow,
        "select job_id, kind, status, session_id, in_reply_to, correlation_id, turn_attempts, worker_id, created_at,
            started_at, finished_at, agent_id, channel, message_id, content_key_id, content_ciphertext,
            content_event_id, provider, model, tokens_in, tokens_out, cost_usd, latency_ms,
            tools_called::text as tools_called, attempts, error_code, error_detail
         from jobs where tenant_id = $1 and ($2::uuid is null or job_id < $2)
            and ($4::text is null or $4 = case
                when kind = 'voice_message' and status = 'succeeded' and not exists (
                    select from voiced_replies as voiced
                    where voiced.tenant_id = jobs.tenant_id and voiced.job_id = jobs.job_id)
                then 'running' else status end)
            and ($5::text is null or kind = $5)
            and ($6::uuid is null or session_id = $6)
            and ($7::uuid[] is null or exists (
                select from sessions
                where sessions.tenant_id = jobs.tenant_id and sessions.session_id = jobs.session_id
                    and sessions.agent_id = any($7)))
         order by job_id desc limit $3",
        tenant_id.0,
        page.after,
        page.limit,
        filter.status.map(JobStatus::as_str),
        filter.kind.map(JobKind::as_str),
        filter.session_id.map(|id| id.0),
        only.as_deref() as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut records = rows.into_iter().map(JobRow::record).collect::<Result<Vec<_>, _>>()?;
    add_voices(&mut tx, tenant_id, &mut records).await?;
    tx.commit().await?;
    Ok(records)
}

/// Tells voice messages their words and how they were spoken: until that is known, they are under way.
async fn add_voices(
    connection: &mut PgConnection,
    tenant_id: TenantId,
    records: &mut [JobRecord],
) -> Result<(), Error> {
    let is_voice = |record: &JobRecord| record.kind == JobKind::VoiceMessage;
    let ids: Vec<Uuid> = records.iter().filter(|record| is_voice(record)).map(|record| record.id.0).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut voices = voice_messages::of_jobs(connection, tenant_id, &ids).await?;
    for record in records.iter_mut().filter(|record| is_voice(record)) {
        let voice = voices.remove(&record.id).unwrap_or_default();
        if record.status == JobStatus::Succeeded {
            match &voice.voiced {
                Some(voiced) => record.finished_at = Some(voiced.at),
                None => {
                    record.status = JobStatus::Running;
                    record.stage = Some(JobStage::Speaking);
                    (record.finished_at, record.outcome) = (None, None);
                }
            }
        }
        if record.status == JobStatus::Queued && voice.transcript.is_none() {
            record.stage = Some(JobStage::Hearing);
        }
        record.voice = Some(voice);
    }
    Ok(())
}
