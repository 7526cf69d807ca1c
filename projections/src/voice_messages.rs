//! Projection `voice_messages`: the files of messages that are spoken outside of calls, and how their replies were spoken.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::voice_message::{Artefact, ReplyVoiced, VoicingFailure};
use events::{ArtefactId, Entry, Event, EventId, JobId, MessageId, Payload, Sealed, SessionId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, count, readable, text};
use crate::database::{Database, Error};
use crate::projection::Table;

pub(crate) const TABLES: &[Table] = &[
    Table { name: "artefacts", key: &["tenant_id", "artefact_id"] },
    Table { name: "voiced_replies", key: &["tenant_id", "job_id"] },
];

const UPLOAD: &str = "upload";
const REPLY: &str = "reply";

struct File<'a> {
    sequence: i64,
    event: &'a Event,
    message_id: MessageId,
    kind: &'static str,
    artefact: &'a Artefact,
    audio_ms: Option<i64>,
}

impl<'a> File<'a> {
    fn of(sequence: i64, event: &'a Event) -> Option<Self> {
        let (message_id, kind, artefact, audio_ms) = match &event.payload {
            Payload::RecordingReceived(received) => (received.message_id, UPLOAD, &received.audio, None),
            Payload::ReplyVoiced(voiced) => {
                let audio = voiced.audio.as_ref()?;
                (voiced.message_id, REPLY, &audio.file, Some(big(audio.audio_ms)))
            }
            _ => return None,
        };
        Some(Self { sequence, event, message_id, kind, artefact, audio_ms })
    }
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    insert_files(connection, entries).await?;
    insert_voiced(connection, entries).await
}

async fn insert_files(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<File<'_>> =
        readable(entries).filter_map(|(sequence, event)| File::of(sequence, event)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let media_types: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.artefact.media_type)).collect();
    sqlx::query!(
        "insert into artefacts (tenant_id, artefact_id, session_id, message_id, kind, media_type, bytes, audio_ms,
            created_at, sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::int8[],
            $8::int8[], $9::timestamptz[], $10::int8[])
         on conflict on constraint artefacts_pkey do nothing",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.artefact.artefact_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.message_id.0) as _,
        column!(rows, |row| row.kind) as _,
        column!(media_types, |value| &**value) as _,
        column!(rows, |row| big(row.artefact.bytes)) as _,
        column!(rows, |row| row.audio_ms) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| row.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_voiced(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &Event, &ReplyVoiced)> = readable(entries)
        .filter_map(|(sequence, event)| match &event.payload {
            Payload::ReplyVoiced(voiced) => Some((sequence, event, voiced)),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let failures: Vec<Option<&VoicingFailure>> = rows.iter().map(|row| row.2.failure.as_ref()).collect();
    sqlx::query!(
        "insert into voiced_replies (tenant_id, job_id, session_id, message_id, artefact_id, failure_code,
            failure_detail, stt_ms, llm_ms, tts_ms, voiced_at, sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
            $8::int8[], $9::int8[], $10::int8[], $11::timestamptz[], $12::int8[])
         on conflict on constraint voiced_replies_pkey do nothing",
        column!(rows, |row| row.1.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.2.job_id.0) as _,
        column!(rows, |row| row.1.envelope.aggregate.id) as _,
        column!(rows, |row| row.2.message_id.0) as _,
        column!(rows, |row| row.2.audio.as_ref().map(|audio| audio.file.artefact_id.0)) as _,
        column!(failures, |failure| failure.map(|failure| text(&failure.code).into_owned())) as _,
        column!(failures, |failure| failure.map(|failure| text(&failure.detail).into_owned())) as _,
        column!(rows, |row| big(row.2.stt_ms)) as _,
        column!(rows, |row| big(row.2.llm_ms)) as _,
        column!(rows, |row| big(row.2.tts_ms)) as _,
        column!(rows, |row| row.1.envelope.time) as _,
        column!(rows, |row| row.0) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What there is to hear of an assistant's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    Spoken(SpokenFile),
    /// Nothing was said, or could be.
    Silent {
        failure: Option<VoicingFailure>,
    },
    /// The message is there, and was never to be spoken, or not yet.
    NotSpoken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpokenFile {
    pub artefact_id: ArtefactId,
    pub bytes: u64,
    pub audio_ms: u64,
}

/// What there is to hear of a message; `None`: the session has no such message of the assistant's.
///
/// # Errors
/// When the database does not answer.
pub async fn audio(
    database: &Database,
    tenant_id: TenantId,
    session_id: SessionId,
    message_id: MessageId,
) -> Result<Option<Audio>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query!(
        r#"select voiced.job_id as "voiced?: Uuid", voiced.failure_code as "failure_code?",
            voiced.failure_detail as "failure_detail?", artefacts.artefact_id as "artefact_id?: Uuid",
            artefacts.bytes as "bytes?", artefacts.audio_ms as "audio_ms?"
         from messages
         left join voiced_replies as voiced on voiced.tenant_id = messages.tenant_id
            and voiced.session_id = messages.session_id and voiced.message_id = messages.message_id
         left join artefacts on artefacts.tenant_id = messages.tenant_id and artefacts.artefact_id = voiced.artefact_id
         where messages.tenant_id = $1 and messages.session_id = $2 and messages.message_id = $3
            and messages.role = 'assistant'"#,
        tenant_id.0,
        session_id.0,
        message_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    let Some(row) = row else { return Ok(None) };
    let failure = row.failure_code.zip(row.failure_detail);
    Ok(Some(match (row.artefact_id, row.voiced) {
        (Some(artefact_id), _) => Audio::Spoken(SpokenFile {
            artefact_id: ArtefactId(artefact_id),
            bytes: row.bytes.map(count).unwrap_or_default(),
            audio_ms: row.audio_ms.map(count).unwrap_or_default(),
        }),
        (None, Some(_)) => {
            Audio::Silent { failure: failure.map(|(code, detail)| VoicingFailure { code, detail }) }
        }
        (None, None) => Audio::NotSpoken,
    }))
}

/// What a voice message's job has besides a written one's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VoiceJob {
    /// The recording's words and the event that they are sealed for; `None`: they are not known.
    pub transcript: Option<(EventId, Sealed)>,
    /// `None`: not yet.
    pub voiced: Option<Voiced>,
}

/// How a reply was spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voiced {
    pub has_audio: bool,
    pub failure: Option<VoicingFailure>,
    pub stt_ms: u64,
    pub llm_ms: u64,
    pub tts_ms: u64,
    pub at: DateTime<Utc>,
}

pub(crate) async fn of_jobs(
    connection: &mut PgConnection,
    tenant_id: TenantId,
    job_ids: &[Uuid],
) -> Result<HashMap<JobId, VoiceJob>, Error> {
    let rows = sqlx::query!(
        r#"select jobs.job_id, said.content_key_id as "key_id?", said.content_ciphertext as "ciphertext?",
            said.content_event_id as "event_id?", voiced.artefact_id as "artefact_id?",
            voiced.failure_code as "failure_code?", voiced.failure_detail as "failure_detail?",
            voiced.stt_ms as "stt_ms?", voiced.llm_ms as "llm_ms?", voiced.tts_ms as "tts_ms?",
            voiced.voiced_at as "voiced_at?"
         from jobs
         left join messages as said on said.tenant_id = jobs.tenant_id and said.session_id = jobs.session_id
            and said.message_id = jobs.in_reply_to
         left join voiced_replies as voiced on voiced.tenant_id = jobs.tenant_id and voiced.job_id = jobs.job_id
         where jobs.tenant_id = $1 and jobs.job_id = any($2)"#,
        tenant_id.0,
        job_ids
    )
    .fetch_all(connection)
    .await?;
    let jobs = rows.into_iter().map(|row| {
        let transcript = match (row.event_id, row.key_id, row.ciphertext) {
            (Some(event_id), Some(key_id), Some(ciphertext)) => {
                Some((EventId(event_id), Sealed { key_id, ciphertext }))
            }
            _ => None,
        };
        let failure = row.failure_code.zip(row.failure_detail);
        let ms = |ms: Option<i64>| ms.map(count).unwrap_or_default();
        let voiced = row.voiced_at.map(|at| Voiced {
            has_audio: row.artefact_id.is_some(),
            failure: failure.map(|(code, detail)| VoicingFailure { code, detail }),
            stt_ms: ms(row.stt_ms),
            llm_ms: ms(row.llm_ms),
            tts_ms: ms(row.tts_ms),
            at,
        });
        (JobId(row.job_id), VoiceJob { transcript, voiced })
    });
    Ok(jobs.collect())
}
