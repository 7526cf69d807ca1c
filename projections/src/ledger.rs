//! Projection `ledger`: what tenants owe. For requests to models entries come from closed bills alone, the terminal events
//! of messages and the summaries of calls; for speech and carriers from the events that metered them. Corrections are
//! entries of their own ([`repricings`]). Sums by hour and by day are kept beside the entries; [`usage`] is asked of both.

pub mod entries;
pub mod invoices;
pub mod repricings;
pub mod usage;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::Tokens;
use events::call::{CallEnded, CarrierMetered, SpeechOutcome, SpeechWorkMetered};
use events::repricing::LedgerAdjusted;
use events::session::{BilledAttempt, Channel, ReplyCompleted};
use events::voice_message::SpeechDone;
use events::{AgentId, Entry, Event, JobId, Payload};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{big, column, readable, text};
use crate::projection::Table;

pub use usage::{Amounts, Group, Grouping, Usage, Used};

pub(crate) const TABLES: &[Table] = &[
    Table { name: "usage_entries", key: &["tenant_id", "attempt_id"] },
    Table {
        name: "usage_rollups",
        key: &[
            "tenant_id",
            "grain",
            "starts_at",
            "partition",
            "kind",
            "provider",
            "model",
            "agent_id",
            "channel",
        ],
    },
    Table { name: "closed_invoices", key: &["tenant_id", "month"] },
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
    /// When the work was done that this is for.
    belongs_at: DateTime<Utc>,
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
            belongs_at: event.envelope.time,
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
            belongs_at: event.envelope.time,
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
            belongs_at: event.envelope.time,
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
            belongs_at: adjusted.entry_occurred_at.unwrap_or(event.envelope.time),
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
            belongs_at: event.envelope.time,
        }
    }
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    repricings::apply(&mut *connection, entries).await?;
    invoices::apply(&mut *connection, entries).await?;
    let Some(partition) = entries.first().map(|entry| i32::from(entry.position.partition)) else {
        return Ok(());
    };
    let rows: Vec<Line<'_>> =
        readable(entries).flat_map(|(sequence, event)| Line::of(sequence, event)).collect();
    let replies: Vec<(i64, &Event, &ReplyCompleted)> = readable(entries)
        .filter_map(|(sequence, event)| match &event.payload {
            Payload::ReplyCompleted(reply) => Some((sequence, event, reply)),
            _ => None,
        })
        .collect();
    if rows.is_empty() && replies.is_empty() {
        return Ok(());
    }
    let providers: Vec<Cow<'_, str>> = rows.iter().map(|row| text(row.provider)).collect();
    let models: Vec<Cow<'_, str>> = rows.iter().map(|row| text(row.model)).collect();
    let versions: Vec<Cow<'_, str>> = rows.iter().map(|row| text(row.price_version)).collect();
    let reply_providers: Vec<Cow<'_, str>> = replies.iter().map(|row| text(&row.2.provider)).collect();
    let reply_models: Vec<Cow<'_, str>> = replies.iter().map(|row| text(&row.2.model)).collect();
    // Only entries that are new are added up. In the order of the key, as every batch does.
    sqlx::query!(
        "with added as (
            insert into usage_entries (tenant_id, attempt_id, session_id, job_id, agent_id, channel, provider, model,
                outcome, tokens_in, tokens_out, estimated, price_version, cost_usd, occurred_at, sequence, kind,
                audio_ms, characters, requests, tokens_cached, adjusts, repricing_number, belongs_at, partition)
            select *, $31::int4 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::int8[], $11::int8[], $12::bool[], $13::text[], $14::numeric[],
                $15::timestamptz[], $16::int8[], $17::text[], $18::int8[], $19::int8[], $20::int8[], $21::int8[],
                $22::uuid[], $23::int8[], $32::timestamptz[])
            on conflict on constraint usage_entries_pkey do nothing
            returning tenant_id, occurred_at, kind, provider, model, agent_id, channel, 1 as entries, 0 as replies,
                tokens_in, tokens_cached, tokens_out, audio_ms, characters, requests, cost_usd, sequence
         ), counted as (
            select * from added
            union all
            select tenant_id, replied_at, 'model', provider, model, agent_id, channel, 0, 1, 0, 0, 0, 0, 0, 0, 0, sequence
            from unnest($24::uuid[], $25::timestamptz[], $26::text[], $27::text[], $28::uuid[], $29::text[], $30::int8[])
                as reply (tenant_id, replied_at, provider, model, agent_id, channel, sequence)
         )
         insert into usage_rollups as old (tenant_id, grain, starts_at, partition, kind, provider, model, agent_id,
            channel, entries, replies, tokens_in, tokens_cached, tokens_out, audio_ms, characters, requests, cost_usd,
            sequence)
         select tenant_id, grain, date_trunc(grain, occurred_at, 'UTC'), $31::int4, kind, provider, model, agent_id, channel,
            sum(entries), sum(replies), sum(tokens_in), sum(tokens_cached), sum(tokens_out), sum(audio_ms),
            sum(characters), sum(requests), sum(cost_usd), max(sequence)
         from counted cross join (values ('hour'), ('day')) as grains (grain)
         group by 1, 2, 3, 5, 6, 7, 8, 9 order by 1, 2, 3, 5, 6, 7, 8, 9
         on conflict on constraint usage_rollups_pkey do update set
            entries = old.entries + excluded.entries, replies = old.replies + excluded.replies,
            tokens_in = old.tokens_in + excluded.tokens_in, tokens_cached = old.tokens_cached + excluded.tokens_cached,
            tokens_out = old.tokens_out + excluded.tokens_out, audio_ms = old.audio_ms + excluded.audio_ms,
            characters = old.characters + excluded.characters, requests = old.requests + excluded.requests,
            cost_usd = old.cost_usd + excluded.cost_usd, sequence = excluded.sequence
         where old.sequence < excluded.sequence",
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
        column!(replies, |row| row.1.envelope.aggregate.tenant_id.0) as _,
        column!(replies, |row| row.1.envelope.time) as _,
        column!(reply_providers, |value| &**value) as _,
        column!(reply_models, |value| &**value) as _,
        column!(replies, |row| row.2.agent_id.0) as _,
        column!(replies, |row| row.2.channel.as_str()) as _,
        column!(replies, |row| row.0) as _,
        partition,
        column!(rows, |row| row.belongs_at) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}
