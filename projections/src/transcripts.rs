//! Projection `transcripts`: sessions and their messages, words sealed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;

use chrono::{DateTime, Utc};
use events::prompt::PromptVersion;
use events::session::{Channel, Greeted, ReplyCompleted, ReplyInterrupted, SessionCreated};
use events::{
    AgentId, CustomerKeyId, Entry, Event, EventId, JobId, MessageId, Payload, Sealed, SessionId, TenantId,
};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, count, json, readable, text, uuids};
use crate::database::{Database, Error, Page, variant};
use crate::projection::Table;

pub(crate) const TABLES: &[Table] = &[
    Table { name: "sessions", key: &["tenant_id", "session_id"] },
    Table { name: "messages", key: &["tenant_id", "session_id", "sequence"] },
    Table { name: "interruptions", key: &["tenant_id", "session_id", "job_id"] },
];

pub(crate) const CHANNELS: [Channel; 2] = [Channel::Chat, Channel::Voice];

mod messages;

pub use messages::messages;

/// A conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    pub id: SessionId,
    pub tenant_id: TenantId,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub customer_key_id: CustomerKeyId,
    /// The tenant's own name for the customer.
    pub customer_id: Sealed,
    /// Values for variables of the agent's prompt: the JSON text of an object of strings. `None`: none were given.
    pub prompt_variables: Option<Sealed>,
    /// The event that `customer_id` and `prompt_variables` are sealed for.
    pub customer_sealed_for: EventId,
    pub created_at: DateTime<Utc>,
    /// `None` while it is open.
    pub ended_at: Option<DateTime<Utc>>,
    pub end_reason: Option<String>,
    /// Of the newest event in this row.
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRole {
    User,
    Assistant,
}

impl MessageRole {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRecord {
    pub id: MessageId,
    pub session_id: SessionId,
    /// Orders the messages of a session.
    pub sequence: u64,
    pub role: MessageRole,
    /// Of an interrupted reply what was heard; `None`: not a word of it.
    pub content: Option<Sealed>,
    /// The event that `content` is sealed for.
    pub sealed_for: EventId,
    /// The customer spoke before all of it was heard.
    pub interrupted: bool,
    pub created_at: DateTime<Utc>,
    pub job_id: JobId,
    pub correlation_id: String,
    /// `None` for a customer's message, a greeting, and a reply that was never completed.
    pub reply: Option<ReplyDetails>,
}

/// What is known of a reply beyond its words.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyDetails {
    pub provider: String,
    pub model: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// USD.
    pub cost_usd: Decimal,
    pub latency_ms: u64,
    pub tools_called: Vec<String>,
    /// Vendor requests over the whole message.
    pub attempts: u64,
    /// Of the agent; `None`: older than that replies say so.
    pub agent_version: Option<u32>,
    /// What the model was told; `None`: the agent's own text.
    pub prompt: Option<PromptVersion>,
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let mut created: Vec<CreatedRow<'_>> = Vec::new();
    let mut born: HashMap<Uuid, usize> = HashMap::new();
    let mut ended: HashMap<Uuid, EndedRow<'_>> = HashMap::new();
    let mut messages: Vec<MessageRow<'_>> = Vec::new();
    let mut interrupted: Vec<InterruptedRow<'_>> = Vec::new();
    for (sequence, event) in readable(entries) {
        let session_id = event.envelope.aggregate.id;
        let end_reason = match &event.payload {
            Payload::SessionEnded(end) => Some(text(&end.reason)),
            Payload::ReplyCompleted(reply) => reply.then.as_ref().map(|then| then.end_reason().into()),
            _ => None,
        };
        if let Some(reason) = end_reason {
            // The first end counts. A session that began in the same batch is written once, in its final state.
            let row = EndedRow { sequence, event, reason };
            match born.get(&session_id) {
                Some(index) => _ = created[*index].ended.get_or_insert(row),
                None => _ = ended.entry(session_id).or_insert(row),
            }
        }
        match &event.payload {
            Payload::SessionCreated(session) => {
                if let Vacant(place) = born.entry(session_id) {
                    place.insert(created.len());
                    created.push(CreatedRow { sequence, event, session, ended: None });
                }
            }
            Payload::MessageReceived(message) => messages.push(MessageRow {
                sequence,
                event,
                message_id: message.message_id.0,
                job_id: message.job_id.0,
                content: &message.content,
                by: By::Customer,
            }),
            Payload::Greeted(greeting) => messages.push(MessageRow {
                sequence,
                event,
                message_id: greeting.message_id.0,
                job_id: greeting.job_id.0,
                content: &greeting.content,
                by: By::Greeting(greeting),
            }),
            Payload::ReplyInterrupted(reply) => interrupted.push(InterruptedRow { sequence, event, reply }),
            Payload::ReplyCompleted(reply) => messages.push(MessageRow {
                sequence,
                event,
                message_id: reply.message_id.0,
                job_id: reply.job_id.0,
                content: &reply.content,
                by: By::Reply(reply),
            }),
            _ => {}
        }
    }
    insert_sessions(connection, &created).await?;
    end_sessions(connection, &ended.into_values().collect::<Vec<_>>()).await?;
    insert_messages(connection, &messages).await?;
    insert_interruptions(connection, &interrupted).await
}

struct CreatedRow<'a> {
    sequence: i64,
    event: &'a Event,
    session: &'a SessionCreated,
    ended: Option<EndedRow<'a>>,
}

struct EndedRow<'a> {
    sequence: i64,
    event: &'a Event,
    reason: Cow<'a, str>,
}

struct MessageRow<'a> {
    sequence: i64,
    event: &'a Event,
    message_id: Uuid,
    job_id: Uuid,
    content: &'a Sealed,
    by: By<'a>,
}

#[derive(Clone, Copy)]
enum By<'a> {
    Customer,
    Greeting(&'a Greeted),
    Reply(&'a ReplyCompleted),
}

impl<'a> MessageRow<'a> {
    fn role(&self) -> MessageRole {
        if matches!(self.by, By::Customer) { MessageRole::User } else { MessageRole::Assistant }
    }

    fn reply(&self) -> Option<&'a ReplyCompleted> {
        if let By::Reply(reply) = self.by { Some(reply) } else { None }
    }

    fn agent_and_channel(&self) -> Option<(AgentId, Channel)> {
        match self.by {
            By::Customer => None,
            By::Greeting(greeting) => Some((greeting.agent_id, greeting.channel)),
            By::Reply(reply) => Some((reply.agent_id, reply.channel)),
        }
    }
}

struct InterruptedRow<'a> {
    sequence: i64,
    event: &'a Event,
    reply: &'a ReplyInterrupted,
}

async fn insert_sessions(connection: &mut PgConnection, rows: &[CreatedRow<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let customers: Vec<Cow<'_, str>> =
        rows.iter().map(|row| text(&row.session.customer_id.ciphertext)).collect();
    let variables: Vec<Option<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.session.prompt_variables.as_ref().map(|sealed| text(&sealed.ciphertext)))
        .collect();
    sqlx::query!(
        "insert into sessions (tenant_id, session_id, agent_id, channel, customer_key_id, customer_ciphertext,
            customer_event_id, created_at, ended_at, end_reason, sequence, prompt_variables_ciphertext)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::uuid[],
            $8::timestamptz[], $9::timestamptz[], $10::text[], $11::int8[], $12::text[])
         on conflict on constraint sessions_pkey do update
            set ended_at = excluded.ended_at, end_reason = excluded.end_reason, sequence = excluded.sequence
            where excluded.sequence > sessions.sequence and excluded.customer_event_id = sessions.customer_event_id",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.session.agent_id.0) as _,
        column!(rows, |row| row.session.channel.as_str()) as _,
        column!(rows, |row| row.session.customer_id.key_id) as _,
        column!(customers, |value| &**value) as _,
        column!(rows, |row| row.event.envelope.id.0) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| row.ended.as_ref().map(|end| end.event.envelope.time)) as _,
        column!(rows, |row| row.ended.as_ref().map(|end| &*end.reason)) as _,
        column!(rows, |row| row.ended.as_ref().map_or(row.sequence, |end| end.sequence)) as _,
        column!(variables, |value| value.as_deref()) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn end_sessions(connection: &mut PgConnection, rows: &[EndedRow<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update sessions set ended_at = ended.at, end_reason = ended.reason, sequence = ended.sequence
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::int8[])
            as ended (tenant_id, session_id, at, reason, sequence)
         where sessions.tenant_id = ended.tenant_id and sessions.session_id = ended.session_id
            and sessions.ended_at is null and ended.sequence > sessions.sequence",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| &*row.reason) as _,
        column!(rows, |row| row.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_messages(connection: &mut PgConnection, rows: &[MessageRow<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let contents: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.content.ciphertext)).collect();
    let providers: Vec<Option<Cow<'_, str>>> =
        rows.iter().map(|row| row.reply().map(|reply| text(&reply.provider))).collect();
    let models: Vec<Option<Cow<'_, str>>> =
        rows.iter().map(|row| row.reply().map(|reply| text(&reply.model))).collect();
    sqlx::query!(
        "insert into messages (tenant_id, session_id, sequence, message_id, role, content_key_id, content_ciphertext,
            content_event_id, created_at, job_id, correlation_id, agent_id, channel, provider, model, tokens_in,
            tokens_out, cost_usd, latency_ms, tools_called, attempts, agent_version, prompt_id, prompt_version)
         select tenant_id, session_id, sequence, message_id, role, content_key_id, content_ciphertext,
            content_event_id, created_at, job_id, correlation_id, agent_id, channel, provider, model, tokens_in,
            tokens_out, cost_usd, latency_ms, tools_called::json, attempts, agent_version, prompt_id, prompt_version
         from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::uuid[],
            $9::timestamptz[], $10::uuid[], $11::text[], $12::uuid[], $13::text[], $14::text[], $15::text[],
            $16::int8[], $17::int8[], $18::numeric[], $19::int8[], $20::text[], $21::int8[],
            $22::int8[], $23::uuid[], $24::int8[])
            as message (tenant_id, session_id, sequence, message_id, role, content_key_id, content_ciphertext,
            content_event_id, created_at, job_id, correlation_id, agent_id, channel, provider, model, tokens_in,
            tokens_out, cost_usd, latency_ms, tools_called, attempts, agent_version, prompt_id, prompt_version)
         on conflict on constraint messages_pkey do nothing",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.sequence) as _,
        column!(rows, |row| row.message_id) as _,
        column!(rows, |row| row.role().as_str()) as _,
        column!(rows, |row| row.content.key_id) as _,
        column!(contents, |value| &**value) as _,
        column!(rows, |row| row.event.envelope.id.0) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| row.job_id) as _,
        column!(rows, |row| row.event.envelope.origin.correlation_id.as_str()) as _,
        column!(rows, |row| row.agent_and_channel().map(|(agent_id, _)| agent_id.0)) as _,
        column!(rows, |row| row.agent_and_channel().map(|(_, channel)| channel.as_str())) as _,
        column!(providers, |value| value.as_deref()) as _,
        column!(models, |value| value.as_deref()) as _,
        column!(rows, |row| row.reply().map(|reply| big(reply.tokens_in))) as _,
        column!(rows, |row| row.reply().map(|reply| big(reply.tokens_out))) as _,
        column!(rows, |row| row.reply().map(|reply| reply.cost_usd)) as _,
        column!(rows, |row| row.reply().map(|reply| big(reply.latency_ms))) as _,
        column!(rows, |row| row.reply().map(|reply| json(&reply.tools_called))) as _,
        column!(rows, |row| row.reply().map(|reply| i64::from(reply.attempts))) as _,
        column!(rows, |row| row.reply().and_then(|reply| reply.agent_version).map(i64::from)) as _,
        column!(rows, |row| row.reply().and_then(|reply| reply.prompt).map(|prompt| prompt.id.0)) as _,
        column!(rows, |row| row.reply().and_then(|reply| reply.prompt).map(|prompt| i64::from(prompt.version))) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_interruptions(
    connection: &mut PgConnection,
    rows: &[InterruptedRow<'_>],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let heard: Vec<Option<Cow<'_, str>>> =
        rows.iter().map(|row| row.reply.heard.as_ref().map(|heard| text(&heard.ciphertext))).collect();
    // The first interruption of a reply counts.
    sqlx::query!(
        "insert into interruptions (tenant_id, session_id, job_id, message_id, heard_key_id, heard_ciphertext, event_id,
            heard_ms, created_at, correlation_id, sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::uuid[],
            $8::int8[], $9::timestamptz[], $10::text[], $11::int8[])
         on conflict on constraint interruptions_pkey do nothing",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.reply.job_id.0) as _,
        column!(rows, |row| row.reply.message_id.0) as _,
        column!(rows, |row| row.reply.heard.as_ref().map(|heard| heard.key_id)) as _,
        column!(heard, |value| value.as_deref()) as _,
        column!(rows, |row| row.event.envelope.id.0) as _,
        column!(rows, |row| big(row.reply.heard_ms)) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| row.event.envelope.origin.correlation_id.as_str()) as _,
        column!(rows, |row| row.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// # Errors
/// When the database does not answer.
pub async fn session(
    database: &Database,
    tenant_id: TenantId,
    session_id: SessionId,
) -> Result<Option<SessionRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        SessionRow,
        "select * from sessions where tenant_id = $1 and session_id = $2",
        tenant_id.0,
        session_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(SessionRow::record).transpose()
}

/// The tenant's sessions, newest first. `only`: with these agents; `None`: with all.
///
/// # Errors
/// When the database does not answer.
pub async fn sessions(
    database: &Database,
    tenant_id: TenantId,
    only: Option<&[AgentId]>,
    page: Page,
) -> Result<Vec<SessionRecord>, Error> {
    let only = only.map(uuids);
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        SessionRow,
        "select * from sessions where tenant_id = $1 and ($2::uuid is null or session_id < $2)
            and ($4::uuid[] is null or agent_id = any($4))
         order by session_id desc limit $3",
        tenant_id.0,
        page.after,
        page.limit,
        only.as_deref() as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(SessionRow::record).collect()
}

struct SessionRow {
    tenant_id: Uuid,
    session_id: Uuid,
    agent_id: Uuid,
    channel: String,
    customer_key_id: Uuid,
    customer_ciphertext: String,
    customer_event_id: Uuid,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    end_reason: Option<String>,
    sequence: i64,
    prompt_variables_ciphertext: Option<String>,
}

impl SessionRow {
    fn record(self) -> Result<SessionRecord, Error> {
        Ok(SessionRecord {
            id: SessionId(self.session_id),
            tenant_id: TenantId(self.tenant_id),
            agent_id: AgentId(self.agent_id),
            channel: variant("channel", &self.channel, &CHANNELS, Channel::as_str)?,
            customer_key_id: CustomerKeyId(self.customer_key_id),
            customer_id: Sealed { key_id: self.customer_key_id, ciphertext: self.customer_ciphertext },
            prompt_variables: self
                .prompt_variables_ciphertext
                .map(|ciphertext| Sealed { key_id: self.customer_key_id, ciphertext }),
            customer_sealed_for: EventId(self.customer_event_id),
            created_at: self.created_at,
            ended_at: self.ended_at,
            end_reason: self.end_reason,
            sequence: count(self.sequence),
        })
    }
}
