//! Projection `tool_executions`: every run of a tool, by a model or by hand, its words sealed.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use events::session::ToolStatus;
use events::{
    AgentId, Entry, Event, EventId, JobId, Payload, Sealed, SessionId, TenantId, ToolCallId, TurnId,
};
use sqlx::PgConnection;
use uuid::Uuid;

pub use crate::provider_calls::Filter;

use crate::column::{big, column, count, readable, text, uuids};
use crate::database::{Database, Error, Page, variant};
use crate::projection::Table;

pub(crate) const TABLES: &[Table] = &[Table { name: "tool_executions", key: &["tenant_id", "tool_call_id"] }];

/// One run of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolExecution {
    pub tool_call_id: ToolCallId,
    /// `None`, as are the job and the turn: it was run by hand.
    pub session_id: Option<SessionId>,
    pub job_id: Option<JobId>,
    pub turn_id: Option<TurnId>,
    /// `None`: a function was tested.
    pub agent_id: Option<AgentId>,
    pub correlation_id: String,
    pub name: String,
    /// JSON text.
    pub arguments: Sealed,
    pub status: ToolStatus,
    /// JSON text.
    pub result: Sealed,
    /// The event that `arguments` and `result` are sealed for.
    pub sealed_for: EventId,
    pub latency_ms: u64,
    pub created_at: DateTime<Utc>,
}

/// What a run by a model and one by hand have in common.
struct Run<'a> {
    sequence: i64,
    event: &'a Event,
    tool_call_id: ToolCallId,
    session_id: Option<Uuid>,
    job_id: Option<JobId>,
    turn_id: Option<TurnId>,
    agent_id: Option<AgentId>,
    name: &'a str,
    arguments: &'a Sealed,
    status: ToolStatus,
    result: &'a Sealed,
    latency_ms: u64,
}

impl<'a> Run<'a> {
    fn of(sequence: i64, event: &'a Event) -> Option<Self> {
        match &event.payload {
            Payload::ToolCompleted(run) => Some(Self {
                sequence,
                event,
                tool_call_id: run.tool_call_id,
                session_id: Some(event.envelope.aggregate.id),
                job_id: Some(run.job_id),
                turn_id: Some(run.turn_id),
                agent_id: Some(run.agent_id),
                name: &run.name,
                arguments: &run.arguments,
                status: run.status,
                result: &run.result,
                latency_ms: run.latency_ms,
            }),
            Payload::ToolRunCompleted(run) => Some(Self {
                sequence,
                event,
                tool_call_id: run.tool_call_id,
                session_id: None,
                job_id: None,
                turn_id: None,
                agent_id: run.agent_id,
                name: &run.name,
                arguments: &run.arguments,
                status: run.status,
                result: &run.result,
                latency_ms: run.latency_ms,
            }),
            _ => None,
        }
    }
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let rows: Vec<Run<'_>> =
        readable(entries).filter_map(|(sequence, event)| Run::of(sequence, event)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<Cow<'_, str>> = rows.iter().map(|run| text(run.name)).collect();
    let arguments: Vec<Cow<'_, str>> = rows.iter().map(|run| text(&run.arguments.ciphertext)).collect();
    let results: Vec<Cow<'_, str>> = rows.iter().map(|run| text(&run.result.ciphertext)).collect();
    sqlx::query!(
        "insert into tool_executions (tenant_id, tool_call_id, session_id, job_id, turn_id, agent_id, correlation_id,
            name, arguments_key_id, arguments_ciphertext, status, result_key_id, result_ciphertext, sealed_event_id,
            latency_ms, created_at, sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
            $8::text[], $9::uuid[], $10::text[], $11::text[], $12::uuid[], $13::text[], $14::uuid[], $15::int8[],
            $16::timestamptz[], $17::int8[])
         on conflict on constraint tool_executions_pkey do nothing",
        column!(rows, |run| run.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |run| run.tool_call_id.0) as _,
        column!(rows, |run| run.session_id) as _,
        column!(rows, |run| run.job_id.map(|id| id.0)) as _,
        column!(rows, |run| run.turn_id.map(|id| id.0)) as _,
        column!(rows, |run| run.agent_id.map(|id| id.0)) as _,
        column!(rows, |run| run.event.envelope.origin.correlation_id.as_str()) as _,
        column!(names, |value| &**value) as _,
        column!(rows, |run| run.arguments.key_id) as _,
        column!(arguments, |value| &**value) as _,
        column!(rows, |run| run.status.as_str()) as _,
        column!(rows, |run| run.result.key_id) as _,
        column!(results, |value| &**value) as _,
        column!(rows, |run| run.event.envelope.id.0) as _,
        column!(rows, |run| big(run.latency_ms)) as _,
        column!(rows, |run| run.event.envelope.time) as _,
        column!(rows, |run| run.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The runs that fit `filter`, newest first; the page's ids are tool call ids.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    database: &Database,
    tenant_id: TenantId,
    filter: &Filter,
    page: Page,
) -> Result<Vec<ToolExecution>, Error> {
    let only = filter.agents.as_deref().map(uuids);
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select * from tool_executions
         where tenant_id = $1 and ($2::uuid is null or tool_call_id < $2)
            and ($3::text is null or correlation_id = $3)
            and ($4::uuid is null or session_id = $4)
            and ($5::uuid is null or job_id = $5)
            and ($7::uuid[] is null or agent_id = any($7))
         order by tool_call_id desc limit $6",
        tenant_id.0,
        page.after,
        filter.correlation_id.as_deref(),
        filter.session_id.map(|id| id.0),
        filter.job_id.map(|id| id.0),
        page.limit,
        only.as_deref() as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            Ok(ToolExecution {
                tool_call_id: ToolCallId(row.tool_call_id),
                session_id: row.session_id.map(SessionId),
                job_id: row.job_id.map(JobId),
                turn_id: row.turn_id.map(TurnId),
                agent_id: row.agent_id.map(AgentId),
                correlation_id: row.correlation_id,
                name: row.name,
                arguments: Sealed { key_id: row.arguments_key_id, ciphertext: row.arguments_ciphertext },
                status: variant(
                    "status",
                    &row.status,
                    &[ToolStatus::Ok, ToolStatus::Error],
                    ToolStatus::as_str,
                )?,
                result: Sealed { key_id: row.result_key_id, ciphertext: row.result_ciphertext },
                sealed_for: EventId(row.sealed_event_id),
                latency_ms: count(row.latency_ms),
                created_at: row.created_at,
            })
        })
        .collect()
}
