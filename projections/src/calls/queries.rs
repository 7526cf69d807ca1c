//! The questions that are asked of calls.

use chrono::{DateTime, Utc};
use events::call::{Direction, Transport};
use events::{AgentId, CallId, EventId, JobId, Sealed, SessionId, TenantId};
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::column::{count, small, uuids};
use crate::database::{Database, Error, Page, parsed, variant};

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    pub id: CallId,
    pub session_id: SessionId,
    pub agent_id: AgentId,
    pub direction: Direction,
    pub transport: Transport,
    pub caller_number: Option<Sealed>,
    pub called_number: Option<Sealed>,
    /// The event that the numbers are sealed for.
    pub sealed_for: EventId,
    pub provider_call_sid: Option<String>,
    pub metadata: Map<String, Value>,
    /// `queued`, `ringing`, `in-progress`, `completed`, `failed`, `busy` or `no-answer`.
    pub status: String,
    /// `host:pid` of the last worker that held it.
    pub worker_id: Option<String>,
    pub end_reason: Option<String>,
    /// `None` until it is over.
    pub duration_ms: Option<u64>,
    /// Replies of models; `None` until it is over.
    pub requests: Option<u64>,
    /// With the event that it is sealed for.
    pub summary: Option<(EventId, Sealed)>,
    pub started_at: DateTime<Utc>,
    pub connected_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// All that was billed so far: models, speech, carrier. USD.
    pub cost_usd: Decimal,
}

/// Which calls are wanted.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    pub agent_id: Option<AgentId>,
    /// Only those of these agents.
    pub agents: Option<Vec<AgentId>>,
    pub status: Option<String>,
    /// Only those that are not over.
    pub active_only: bool,
}

/// One measured turn, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRecord {
    pub job_id: JobId,
    /// 1-based.
    pub turn: u32,
    pub interrupted: bool,
    pub speech_ms: Option<u64>,
    pub endpointing_ms: Option<u64>,
    pub stt_ms: Option<u64>,
    pub first_token_ms: Option<u64>,
    pub first_sentence_ms: Option<u64>,
    pub first_audio_ms: Option<u64>,
    pub caller_gap_ms: Option<u64>,
    pub stt_provider: Option<String>,
    pub llm_provider: Option<String>,
    pub tts_provider: Option<String>,
}

/// # Errors
/// When the database does not answer.
pub async fn call(
    database: &Database,
    tenant_id: TenantId,
    call_id: CallId,
) -> Result<Option<CallRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        CallRow,
        r#"select call_id, session_id, agent_id, direction, transport, customer_key_id, caller_ciphertext,
            called_ciphertext, sealed_event_id, provider_call_sid, metadata::text as "metadata!", status, worker_id,
            end_reason, duration_ms, requests, summary_key_id, summary_ciphertext, summary_event_id, started_at,
            connected_at, ended_at,
            (select coalesce(sum(cost_usd), 0) from usage_entries
             where usage_entries.tenant_id = calls.tenant_id and usage_entries.session_id = calls.session_id) as "cost_usd!"
         from calls where tenant_id = $1 and call_id = $2 and not deleted"#,
        tenant_id.0,
        call_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(CallRow::record).transpose()
}

/// The newest call that the carrier knows by `sid`.
///
/// # Errors
/// When the database does not answer.
pub async fn call_by_sid(
    database: &Database,
    tenant_id: TenantId,
    sid: &str,
) -> Result<Option<CallRecord>, Error> {
    // Postgres refuses a NUL, and no carrier has one in its names.
    if sid.contains('\0') {
        return Ok(None);
    }
    let mut tx = database.tenant(tenant_id).await?;
    let found = sqlx::query_scalar!(
        "select call_id from calls where tenant_id = $1 and provider_call_sid = $2 and not deleted
         order by started_at desc limit 1",
        tenant_id.0,
        sid
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    match found {
        Some(call_id) => call(database, tenant_id, CallId(call_id)).await,
        None => Ok(None),
    }
}

/// The tenant's calls, newest first. The page's ids are call ids.
///
/// # Errors
/// When the database does not answer.
pub async fn calls(
    database: &Database,
    tenant_id: TenantId,
    filter: &CallFilter,
    page: Page,
) -> Result<Vec<CallRecord>, Error> {
    let only = filter.agents.as_deref().map(uuids);
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        CallRow,
        r#"select call_id, session_id, agent_id, direction, transport, customer_key_id, caller_ciphertext,
            called_ciphertext, sealed_event_id, provider_call_sid, metadata::text as "metadata!", status, worker_id,
            end_reason, duration_ms, requests, summary_key_id, summary_ciphertext, summary_event_id, started_at,
            connected_at, ended_at,
            (select coalesce(sum(cost_usd), 0) from usage_entries
             where usage_entries.tenant_id = calls.tenant_id and usage_entries.session_id = calls.session_id) as "cost_usd!"
         from calls
         where tenant_id = $1 and not deleted
            and ($2::uuid is null or (started_at, call_id)
                < (select before.started_at, before.call_id from calls as before
                   where before.tenant_id = $1 and before.call_id = $2))
            and ($3::uuid is null or agent_id = $3) and ($4::text is null or status = $4)
            and (not $5 or ended_at is null)
            and ($7::uuid[] is null or agent_id = any($7))
         order by started_at desc, call_id desc limit $6"#,
        tenant_id.0,
        page.after,
        filter.agent_id.map(|id| id.0),
        filter.status,
        filter.active_only,
        page.limit,
        only.as_deref() as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(CallRow::record).collect()
}

/// The measured turns of a call, in their order.
///
/// # Errors
/// When the database does not answer.
pub async fn turns(
    database: &Database,
    tenant_id: TenantId,
    call_id: CallId,
) -> Result<Vec<TurnRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select * from call_turns where tenant_id = $1 and call_id = $2 order by sequence",
        tenant_id.0,
        call_id.0
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let turns = rows.into_iter().map(|row| TurnRecord {
        job_id: JobId(row.job_id),
        turn: small(row.turn),
        interrupted: row.interrupted,
        speech_ms: row.speech_ms.map(count),
        endpointing_ms: row.endpointing_ms.map(count),
        stt_ms: row.stt_ms.map(count),
        first_token_ms: row.first_token_ms.map(count),
        first_sentence_ms: row.first_sentence_ms.map(count),
        first_audio_ms: row.first_audio_ms.map(count),
        caller_gap_ms: row.caller_gap_ms.map(count),
        stt_provider: row.stt_provider,
        llm_provider: row.llm_provider,
        tts_provider: row.tts_provider,
    });
    Ok(turns.collect())
}

struct CallRow {
    call_id: Uuid,
    session_id: Uuid,
    agent_id: Uuid,
    direction: String,
    transport: String,
    customer_key_id: Uuid,
    caller_ciphertext: Option<String>,
    called_ciphertext: Option<String>,
    sealed_event_id: Uuid,
    provider_call_sid: Option<String>,
    metadata: String,
    status: String,
    worker_id: Option<String>,
    end_reason: Option<String>,
    duration_ms: Option<i64>,
    requests: Option<i64>,
    summary_key_id: Option<Uuid>,
    summary_ciphertext: Option<String>,
    summary_event_id: Option<Uuid>,
    started_at: DateTime<Utc>,
    connected_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    cost_usd: Decimal,
}

impl CallRow {
    fn record(self) -> Result<CallRecord, Error> {
        let sealed = |ciphertext| Sealed { key_id: self.customer_key_id, ciphertext };
        let summary = self.summary_event_id.zip(self.summary_key_id).zip(self.summary_ciphertext);
        Ok(CallRecord {
            id: CallId(self.call_id),
            session_id: SessionId(self.session_id),
            agent_id: AgentId(self.agent_id),
            direction: variant("direction", &self.direction, &Direction::ALL, Direction::as_str)?,
            transport: variant("transport", &self.transport, &Transport::ALL, Transport::as_str)?,
            caller_number: self.caller_ciphertext.map(sealed),
            called_number: self.called_ciphertext.map(sealed),
            sealed_for: EventId(self.sealed_event_id),
            provider_call_sid: self.provider_call_sid,
            metadata: parsed("metadata", &self.metadata)?,
            status: self.status,
            worker_id: self.worker_id,
            end_reason: self.end_reason,
            duration_ms: self.duration_ms.map(count),
            requests: self.requests.map(count),
            summary: summary
                .map(|((event_id, key_id), ciphertext)| (EventId(event_id), Sealed { key_id, ciphertext })),
            started_at: self.started_at,
            connected_at: self.connected_at,
            ended_at: self.ended_at,
            cost_usd: self.cost_usd.normalize(),
        })
    }
}
