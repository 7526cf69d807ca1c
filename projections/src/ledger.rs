//! Projection `ledger`: what tenants owe. For requests to models entries come from closed bills alone, the terminal events
//! of messages and the summaries of calls; for speech and carriers from the events that metered them. Corrections are
//! entries of their own ([`repricings`]).

pub mod repricings;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::Tokens;
use events::call::{CallEnded, CarrierMetered, SpeechOutcome, SpeechWorkMetered};
use events::repricing::LedgerAdjusted;
use events::session::{BilledAttempt, Channel};
use events::voice_message::SpeechDone;
use events::{AgentId, Entry, Event, JobId, Payload, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, count, readable, text};
use crate::database::{Database, Error, variant};
use crate::projection::Table;
use crate::transcripts::CHANNELS;

pub(crate) const TABLES: &[Table] = &[
    Table { name: "usage_entries", key: &["tenant_id", "attempt_id"] },
    Table { name: "repricings", key: &["tenant_id", "repricing_id"] },
    Table {
        name: "repricing_differences",
        key: &["tenant_id", "repricing_id", "repriced_tenant_id", "kind", "provider", "model"],
    },
];

/// One entry.
pub(crate) struct Line<'a> {
    sequence: i64,
    pub event: &'a Event,
    /// Of the attempt, or of the event that metered it.
    id: Uuid,
    kind: &'static str,
    session_id: Uuid,
    job_id: Option<JobId>,
    pub agent_id: AgentId,
    channel: Channel,
    provider: &'a str,
    model: &'a str,
    outcome: &'static str,
    tokens: Tokens,
    audio_ms: u64,
    characters: u64,
    requests: u32,
    estimated: bool,
    price_version: &'a str,
    pub cost_usd: Decimal,
    /// The entry that is corrected, and the number of the re-pricing.
    adjusts: Option<(Uuid, u32)>,
}

/// What a carrier's entry is called; speech is called what it is.
const MODEL: &str = "model";
const CARRIER: &str = "carrier";
const ADJUSTMENT: &str = "adjustment";

/// Whom the entries of a bill are for.
#[derive(Clone, Copy)]
struct Bill {
    session_id: Uuid,
    job_id: Option<JobId>,
    agent_id: AgentId,
    channel: Channel,
}

impl<'a> Line<'a> {
    /// What an event puts on the bill.
    pub(crate) fn of(sequence: i64, event: &'a Event) -> Vec<Self> {
        let about = event.envelope.aggregate.id;
        let (bill, billed) = match &event.payload {
            Payload::ReplyCompleted(reply) => {
                let (job_id, agent_id) = (Some(reply.job_id), reply.agent_id);
                (Bill { session_id: about, job_id, agent_id, channel: reply.channel }, &reply.billed)
            }
            Payload::TurnFailed(failure) => {
                let (job_id, agent_id) = (Some(failure.job_id), failure.agent_id);
                (Bill { session_id: about, job_id, agent_id, channel: failure.channel }, &failure.billed)
            }
            Payload::CallSummarized(summary) => {
                let (session_id, agent_id) = (summary.session_id.0, summary.agent_id);
                (Bill { session_id, job_id: None, agent_id, channel: Channel::Voice }, &summary.billed)
            }
            Payload::LedgerAdjusted(adjusted) => return vec![Self::of_adjustment(sequence, event, adjusted)],
            Payload::SpeechDone(work) => return vec![Self::of_message_speech(sequence, event, work)],
            Payload::SpeechMetered(work) => return vec![Self::of_speech(sequence, event, work)],
            Payload::CallEnded(CallEnded { metered: Some(metered), session_id, agent_id, .. }) => {
                let (session_id, agent_id) = (session_id.0, *agent_id);
                let bill = Bill { session_id, job_id: None, agent_id, channel: Channel::Voice };
                return vec![Self::of_carrier(sequence, event, bill, metered)];
            }
            _ => return vec![],
        };
        // An attempt that used nothing and costs nothing is no entry.
        let owed = billed.iter().filter(|billed| {
            let metered = &billed.metered;
            metered.tokens_in > 0 || metered.tokens_out > 0 || !metered.cost_usd.is_zero()
        });
        owed.map(|billed| Self::of_attempt(sequence, event, bill, billed)).collect()
    }

    fn of_attempt(sequence: i64, event: &'a Event, bill: Bill, billed: &'a BilledAttempt) -> Self {
        let metered = &billed.metered;
        Self {
            sequence,
            event,
            id: billed.attempt_id.0,
            kind: MODEL,
            session_id: bill.session_id,
            job_id: bill.job_id,
            agent_id: bill.agent_id,
            channel: bill.channel,
            provider: &billed.provider,
            model: &billed.model,
            outcome: billed.outcome.as_str(),
            tokens: Tokens {
                input: metered.tokens_in,
                cached: metered.tokens_cached,
                output: metered.tokens_out,
            },
            audio_ms: 0,
            characters: 0,
            requests: 1,
            estimated: metered.estimated,
            price_version: &metered.price_version,
            cost_usd: metered.cost_usd,
            adjusts: None,
        }
    }

    fn of_speech(sequence: i64, event: &'a Event, work: &'a SpeechWorkMetered) -> Self {
        Self {
            sequence,
            event,
            id: event.envelope.id.0,
            kind: work.kind.as_str(),
            session_id: work.session_id.0,
            job_id: work.job_id,
            agent_id: work.agent_id,
            channel: Channel::Voice,
            provider: &work.provider,
            model: &work.model,
            outcome: work.outcome.as_str(),
            tokens: Tokens::default(),
            audio_ms: work.audio_ms,
            characters: work.characters,
            requests: 1,
            estimated: work.metered.estimated,
            price_version: &work.metered.price_version,
            cost_usd: work.metered.cost_usd,
            adjusts: None,
        }
    }

    /// Whatever the session's channel: somebody spoke.
    fn of_message_speech(sequence: i64, event: &'a Event, work: &'a SpeechDone) -> Self {
        Self {
            sequence,
            event,
            id: event.envelope.id.0,
            kind: work.kind.as_str(),
            session_id: event.envelope.aggregate.id,
            job_id: Some(work.job_id),
            agent_id: work.agent_id,
            channel: Channel::Voice,
            provider: &work.provider,
            model: &work.model,
            outcome: work.outcome.as_str(),
            tokens: Tokens::default(),
            audio_ms: work.audio_ms,
            characters: work.characters,
            requests: 1,
            estimated: work.metered.estimated,
            price_version: &work.metered.price_version,
            cost_usd: work.metered.cost_usd,
            adjusts: None,
        }
    }

    /// Of what was done before: it counts no work again.
    fn of_adjustment(sequence: i64, event: &'a Event, adjusted: &'a LedgerAdjusted) -> Self {
        Self {
            sequence,
            event,
            id: event.envelope.id.0,
            kind: ADJUSTMENT,
            session_id: adjusted.session_id.0,
            job_id: adjusted.job_id,
            agent_id: adjusted.agent_id,
            channel: adjusted.channel,
            provider: &adjusted.provider,
            model: &adjusted.model,
            outcome: SpeechOutcome::Succeeded.as_str(),
            tokens: Tokens::default(),
            audio_ms: 0,
            characters: 0,
            requests: 0,
            estimated: false,
            price_version: &adjusted.price_version,
            cost_usd: adjusted.delta_usd,
            adjusts: Some((adjusted.entry_id.0, adjusted.repricing_number)),
        }
    }

    /// Its requests are the replies of models in the call, which the carrier's price counts too.
    fn of_carrier(sequence: i64, event: &'a Event, bill: Bill, metered: &'a CarrierMetered) -> Self {
        Self {
            sequence,
            event,
            id: event.envelope.id.0,
            kind: CARRIER,
            session_id: bill.session_id,
            job_id: bill.job_id,
            agent_id: bill.agent_id,
            channel: bill.channel,
            provider: &metered.provider,
            model: "",
            outcome: SpeechOutcome::Succeeded.as_str(),
            tokens: Tokens::default(),
            audio_ms: metered.duration_ms,
            characters: 0,
            requests: metered.requests,
            estimated: false,
            price_version: &metered.price_version,
            cost_usd: metered.cost_usd,
            adjusts: None,
        }
    }
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    repricings::apply(&mut *connection, entries).await?;
    let rows: Vec<Line<'_>> =
        readable(entries).flat_map(|(sequence, event)| Line::of(sequence, event)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let providers: Vec<Cow<'_, str>> = rows.iter().map(|row| text(row.provider)).collect();
    let models: Vec<Cow<'_, str>> = rows.iter().map(|row| text(row.model)).collect();
    let versions: Vec<Cow<'_, str>> = rows.iter().map(|row| text(row.price_version)).collect();
    sqlx::query!(
        "insert into usage_entries (tenant_id, attempt_id, session_id, job_id, agent_id, channel, provider, model,
            outcome, tokens_in, tokens_out, estimated, price_version, cost_usd, occurred_at, sequence, kind, audio_ms,
            characters, requests, tokens_cached, adjusts, repricing_number)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::int8[], $11::int8[], $12::bool[], $13::text[], $14::numeric[],
            $15::timestamptz[], $16::int8[], $17::text[], $18::int8[], $19::int8[], $20::int8[], $21::int8[], $22::uuid[],
            $23::int8[])
         on conflict on constraint usage_entries_pkey do nothing",
        column!(rows, |row| row.event.envelope.aggregate.tenant_id.0) as _,
        column!(rows, |row| row.id) as _,
        column!(rows, |row| row.session_id) as _,
        column!(rows, |row| row.job_id.map(|job_id| job_id.0)) as _,
        column!(rows, |row| row.agent_id.0) as _,
        column!(rows, |row| row.channel.as_str()) as _,
        column!(providers, |value| &**value) as _,
        column!(models, |value| &**value) as _,
        column!(rows, |row| row.outcome) as _,
        column!(rows, |row| big(row.tokens.input)) as _,
        column!(rows, |row| big(row.tokens.output)) as _,
        column!(rows, |row| row.estimated) as _,
        column!(versions, |value| &**value) as _,
        column!(rows, |row| row.cost_usd) as _,
        column!(rows, |row| row.event.envelope.time) as _,
        column!(rows, |row| row.sequence) as _,
        column!(rows, |row| row.kind) as _,
        column!(rows, |row| big(row.audio_ms)) as _,
        column!(rows, |row| big(row.characters)) as _,
        column!(rows, |row| i64::from(row.requests)) as _,
        column!(rows, |row| big(row.tokens.cached)) as _,
        column!(rows, |row| row.adjusts.map(|(entry_id, _)| entry_id)) as _,
        column!(rows, |row| row.adjusts.map(|(_, number)| i64::from(number))) as _,
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
    // Words without a vendor, such as a greeting, are no reply. Few combinations of the three exist, so the sums over each one alone are taken here.
    let rows = sqlx::query!(
        r#"select provider as "provider!", agent_id as "agent_id!", channel as "channel!",
            sum(messages)::int8 as "messages!", sum(tokens_in)::int8 as "tokens_in!",
            sum(tokens_out)::int8 as "tokens_out!", sum(cost_usd) as "cost_usd!"
         from (
            select provider, agent_id, channel, 0 as messages, tokens_in, tokens_out, cost_usd
            from usage_entries where tenant_id = $1 and occurred_at >= $2 and occurred_at < $3
            union all
            select provider, agent_id, channel, 1, 0, 0, 0
            from messages where tenant_id = $1 and created_at >= $2 and created_at < $3 and role = 'assistant' and provider is not null
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
            select agent_id, 1, 0, 0, 0 from messages where tenant_id = $1 and role = 'assistant' and provider is not null
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
