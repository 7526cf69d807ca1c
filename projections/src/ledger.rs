//! Projection `ledger`: what tenants owe. Entries come from closed bills alone, the terminal events of messages.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use events::session::{BilledAttempt, Channel};
use events::{AgentId, Entry, Event, JobId, Payload, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, count, readable, text};
use crate::database::{Database, Error, variant};
use crate::projection::Table;
use crate::transcripts::CHANNELS;

pub(crate) const TABLES: &[Table] = &[Table { name: "usage_entries", key: &["tenant_id", "attempt_id"] }];

struct Line<'a> {
    sequence: i64,
    event: &'a Event,
    job_id: JobId,
    agent_id: AgentId,
    channel: Channel,
    billed: &'a BilledAttempt,
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let mut rows: Vec<Line<'_>> = Vec::new();
    for (sequence, event) in readable(entries) {
        let (job_id, agent_id, channel, bill) = match &event.payload {
            Payload::ReplyCompleted(reply) => (reply.job_id, reply.agent_id, reply.channel, &reply.billed),
            Payload::TurnFailed(failure) => {
                (failure.job_id, failure.agent_id, failure.channel, &failure.billed)
            }
            _ => continue,
        };
        // An attempt that used nothing and costs nothing is no entry.
        let owed = bill.iter().filter(|billed| {
            let metered = &billed.metered;
            metered.tokens_in > 0 || metered.tokens_out > 0 || !metered.cost_usd.is_zero()
        });
        rows.extend(owed.map(|billed| Line { sequence, event, job_id, agent_id, channel, billed }));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let providers: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.billed.provider)).collect();
    let models: Vec<Cow<'_, str>> = rows.iter().map(|row| text(&row.billed.model)).collect();
    let versions: Vec<Cow<'_, str>> =
        rows.iter().map(|row| text(&row.billed.metered.price_version)).collect();
    sqlx::query!(
        "insert into usage_entries (tenant_id, attempt_id, session_id, job_id, agent_id, channel, provider, model,
            outcome, tokens_in, tokens_out, estimated, price_version, cost_usd, occurred_at, sequence)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::int8[], $11::int8[], $12::bool[], $13::text[], $14::numeric[],
            $15::timestamptz[], $16::int8[])
         on conflict on constraint usage_entries_pkey do nothing",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.billed.attempt_id.0) as _,
        column!(rows, |row| row.event.envelope.aggregate.id) as _,
        column!(rows, |row| row.job_id.0) as _,
        column!(rows, |row| row.agent_id.0) as _,
        column!(rows, |row| row.channel.as_str()) as _,
        column!(providers, |value| &**value) as _,
        column!(models, |value| &**value) as _,
        column!(rows, |row| row.billed.outcome.as_str()) as _,
        column!(rows, |row| big(row.billed.metered.tokens_in)) as _,
        column!(rows, |row| big(row.billed.metered.tokens_out)) as _,
        column!(rows, |row| row.billed.metered.estimated) as _,
        column!(versions, |value| &**value) as _,
        column!(rows, |row| row.billed.metered.cost_usd) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| row.sequence) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a tenant used in a span of time. A message is an assistant's reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Sessions that were opened in the span.
    pub sessions: u64,
    pub total: Amounts,
    /// A reply counts for the provider whose words it has; tokens and cost count for the provider that took them.
    pub by_provider: Vec<(String, Amounts)>,
    pub by_agent: Vec<(AgentId, Amounts)>,
    pub by_channel: Vec<(Channel, Amounts)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub messages: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// USD.
    pub cost_usd: Decimal,
}

impl Amounts {
    fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.tokens_in += other.tokens_in;
        self.tokens_out += other.tokens_out;
        self.cost_usd += other.cost_usd;
    }
}

fn add_to<K: PartialEq>(groups: &mut Vec<(K, Amounts)>, key: K, amounts: &Amounts) {
    match groups.iter_mut().find(|(group, _)| *group == key) {
        Some((_, sum)) => sum.add(amounts),
        None => groups.push((key, *amounts)),
    }
}

/// What the tenant used from `from` on and before `to`.
///
/// # Errors
/// When the database does not answer.
pub async fn usage(
    database: &Database,
    tenant_id: TenantId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Usage, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let sessions = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sessions where tenant_id = $1 and created_at >= $2 and created_at < $3"#,
        tenant_id.0,
        from,
        to
    )
    .fetch_one(&mut *tx)
    .await?;
    // Few combinations of the three exist, so the sums over each one alone are taken here.
    let rows = sqlx::query!(
        r#"select provider as "provider!", agent_id as "agent_id!", channel as "channel!",
            sum(messages)::int8 as "messages!", sum(tokens_in)::int8 as "tokens_in!",
            sum(tokens_out)::int8 as "tokens_out!", sum(cost_usd) as "cost_usd!"
         from (
            select provider, agent_id, channel, 0 as messages, tokens_in, tokens_out, cost_usd
            from usage_entries where tenant_id = $1 and occurred_at >= $2 and occurred_at < $3
            union all
            select provider, agent_id, channel, 1, 0, 0, 0
            from messages where tenant_id = $1 and created_at >= $2 and created_at < $3 and role = 'assistant'
         ) as used group by 1, 2, 3 order by 1, 2, 3"#,
        tenant_id.0,
        from,
        to
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut usage = Usage { sessions: count(sessions), ..Usage::default() };
    for row in rows {
        let amounts = Amounts {
            messages: count(row.messages),
            tokens_in: count(row.tokens_in),
            tokens_out: count(row.tokens_out),
            cost_usd: row.cost_usd,
        };
        usage.total.add(&amounts);
        add_to(&mut usage.by_provider, row.provider, &amounts);
        add_to(&mut usage.by_agent, AgentId(row.agent_id), &amounts);
        let channel = variant("channel", &row.channel, &CHANNELS, Channel::as_str)?;
        add_to(&mut usage.by_channel, channel, &amounts);
    }
    Ok(usage)
}

/// The agents that replied most, with all they ever used.
///
/// # Errors
/// When the database does not answer.
pub async fn top_agents(
    database: &Database,
    tenant_id: TenantId,
    limit: i64,
) -> Result<Vec<(AgentId, Amounts)>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        r#"select agent_id as "agent_id!: Uuid", sum(messages)::int8 as "messages!", sum(tokens_in)::int8 as "tokens_in!",
            sum(tokens_out)::int8 as "tokens_out!", sum(cost_usd) as "cost_usd!"
         from (
            select agent_id, 0 as messages, tokens_in, tokens_out, cost_usd from usage_entries where tenant_id = $1
            union all
            select agent_id, 1, 0, 0, 0 from messages where tenant_id = $1 and role = 'assistant'
         ) as used group by 1 order by 2 desc, 1 limit $2"#,
        tenant_id.0,
        limit
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let amounts = rows.into_iter().map(|row| {
        let amounts = Amounts {
            messages: count(row.messages),
            tokens_in: count(row.tokens_in),
            tokens_out: count(row.tokens_out),
            cost_usd: row.cost_usd,
        };
        (AgentId(row.agent_id), amounts)
    });
    Ok(amounts.collect())
}
