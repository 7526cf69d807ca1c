//! How long things take, over many calls and requests.

use chrono::{DateTime, Utc};
use events::session::Channel;
use events::{AgentId, TenantId};

use crate::column::count;
use crate::database::{Database, Error, variant};
use crate::ledger::{Group, Grouping};
use crate::transcripts::CHANNELS;

/// How long one stage took with one group, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct StageLatency {
    /// Of a call's turn: `endpointing`, `stt`, `first_token`, `first_sentence`, `first_audio`, `caller_gap`. Of a request
    /// to a model that succeeded, by chat or voice: `vendor_first_token`, `vendor_total`.
    pub stage: String,
    /// Without a provider: nobody's but our own. The stages of a turn have no model.
    pub group: Group,
    pub count: u64,
    pub p50_ms: u64,
    pub p90_ms: u64,
    pub p99_ms: u64,
}

/// What was measured from `from` on and before `to`, by stage and whatever `grouping` tells apart.
///
/// # Errors
/// When the database does not answer.
pub async fn latencies(
    database: &Database,
    tenant_id: TenantId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    grouping: Grouping,
) -> Result<Vec<StageLatency>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        r#"select stage as "stage!", provider, model, agent_id, channel, count(*) as "count!",
            percentile_disc(0.5) within group (order by ms) as "p50!",
            percentile_disc(0.9) within group (order by ms) as "p90!",
            percentile_disc(0.99) within group (order by ms) as "p99!"
         from (
            select part.stage, case when $4 then part.provider end as provider, null as model,
                case when $6 then (
                    select calls.agent_id from calls
                    where calls.tenant_id = $1 and calls.call_id = call_turns.call_id
                ) end as agent_id,
                case when $7 then 'voice' end as channel, part.ms
            from call_turns, lateral (values
                ('endpointing', null, endpointing_ms), ('stt', stt_provider, stt_ms),
                ('first_token', llm_provider, first_token_ms), ('first_sentence', llm_provider, first_sentence_ms),
                ('first_audio', tts_provider, first_audio_ms), ('caller_gap', null, caller_gap_ms)
            ) as part (stage, provider, ms)
            where tenant_id = $1 and measured_at >= $2 and measured_at < $3
            union all
            select part.stage, case when $4 then provider end, case when $5 then model end,
                case when $6 then agent_id end,
                case when $7 then (
                    select sessions.channel from sessions
                    where sessions.tenant_id = $1 and sessions.session_id = provider_calls.session_id
                ) end,
                part.ms
            from provider_calls, lateral (values
                ('vendor_first_token', first_token_ms), ('vendor_total', latency_ms)
            ) as part (stage, ms)
            where tenant_id = $1 and started_at >= $2 and started_at < $3 and outcome = 'succeeded'
         ) as measured
         where ms is not null group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"#,
        tenant_id.0,
        from,
        to,
        grouping.provider,
        grouping.model,
        grouping.agent,
        grouping.channel,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let stages = rows.into_iter().map(|row| {
        let channel = row.channel.map(|channel| variant("channel", &channel, &CHANNELS, Channel::as_str));
        let group = Group {
            provider: row.provider,
            model: row.model,
            agent_id: row.agent_id.map(AgentId),
            channel: channel.transpose()?,
        };
        Ok(StageLatency {
            stage: row.stage,
            group,
            count: count(row.count),
            p50_ms: count(row.p50),
            p90_ms: count(row.p90),
            p99_ms: count(row.p99),
        })
    });
    stages.collect()
}
