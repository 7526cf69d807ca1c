//! A conversation as people read it.

use events::prompt::PromptVersion;
use events::{EventId, JobId, MessageId, PromptId, Sealed, SessionId, TenantId};

use super::{MessageRecord, MessageRole, ReplyDetails};
use crate::column::{count, small};
use crate::database::{Database, Error, parsed, variant};

/// A session's messages in their order. A reply that was interrupted stands where it was interrupted, or where it was
/// completed when that was before; one of which nothing was heard, and which was never completed, does not stand there.
///
/// # Errors
/// When the database does not answer.
pub async fn messages(
    database: &Database,
    tenant_id: TenantId,
    session_id: SessionId,
) -> Result<Vec<MessageRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        r#"with cut as (select * from interruptions where tenant_id = $1 and session_id = $2)
         select m.session_id as "session_id!", least(m.sequence, cut.sequence) as "sequence!",
            m.message_id as "message_id!", m.role as "role!",
            case when cut.job_id is null then m.content_key_id else cut.heard_key_id end as content_key_id,
            case when cut.job_id is null then m.content_ciphertext else cut.heard_ciphertext end as content_ciphertext,
            coalesce(cut.event_id, m.content_event_id) as "content_event_id!",
            cut.job_id is not null as "interrupted!", m.created_at as "created_at!", m.job_id as "job_id!",
            m.correlation_id as "correlation_id!", m.provider, m.model, m.tokens_in, m.tokens_out, m.cost_usd,
            m.latency_ms, m.tools_called::text as tools_called, m.attempts, m.agent_version, m.prompt_id,
            m.prompt_version
         from messages as m left join cut on cut.job_id = m.job_id and m.role = 'assistant'
         where m.tenant_id = $1 and m.session_id = $2
         union all
         select session_id, sequence, message_id, 'assistant', heard_key_id, heard_ciphertext, event_id, true,
            created_at, job_id, correlation_id, null, null, null, null, null, null, null, null, null, null, null
         from cut
         where heard_key_id is not null and not exists (
            select from messages as m
            where m.tenant_id = $1 and m.session_id = $2 and m.job_id = cut.job_id and m.role = 'assistant'
         )
         order by 2"#,
        tenant_id.0,
        session_id.0
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let role = variant(
                "role",
                &row.role,
                &[MessageRole::User, MessageRole::Assistant],
                MessageRole::as_str,
            )?;
            let reply = match row.provider {
                None => None,
                Some(provider) => Some(ReplyDetails {
                    provider,
                    model: row.model.unwrap_or_default(),
                    tokens_in: row.tokens_in.map(count).unwrap_or_default(),
                    tokens_out: row.tokens_out.map(count).unwrap_or_default(),
                    cost_usd: row.cost_usd.unwrap_or_default(),
                    latency_ms: row.latency_ms.map(count).unwrap_or_default(),
                    tools_called: parsed("tools_called", row.tools_called.as_deref().unwrap_or("[]"))?,
                    attempts: row.attempts.map(count).unwrap_or_default(),
                    agent_version: row.agent_version.map(small),
                    prompt: row
                        .prompt_id
                        .zip(row.prompt_version)
                        .map(|(id, version)| PromptVersion { id: PromptId(id), version: small(version) }),
                }),
            };
            let content = row.content_key_id.zip(row.content_ciphertext);
            Ok(MessageRecord {
                id: MessageId(row.message_id),
                session_id: SessionId(row.session_id),
                sequence: count(row.sequence),
                role,
                content: content.map(|(key_id, ciphertext)| Sealed { key_id, ciphertext }),
                sealed_for: EventId(row.content_event_id),
                interrupted: row.interrupted,
                created_at: row.created_at,
                job_id: JobId(row.job_id),
                correlation_id: row.correlation_id,
                reply,
            })
        })
        .collect()
}
