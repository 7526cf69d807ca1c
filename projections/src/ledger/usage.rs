//! What was used: from the sums by day and by hour where whole ones fall into a span, and from the entries at its edges.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use domain::timeline;
use events::session::Channel;
use events::{AgentId, TenantId};
use rust_decimal::Decimal;

use crate::column::{big, count};
use crate::database::{Database, Error, variant};
use crate::transcripts::CHANNELS;

/// From its start on and before its end.
pub type Span = Range<DateTime<Utc>>;

/// What a tenant used in a span of time. A message is an assistant's reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Sessions that were opened in the span.
    pub sessions: u64,
    pub total: Amounts,
    /// A reply counts for the provider whose words it has; tokens and cost count for the provider that took them.
    pub by_provider: Vec<(String, Amounts)>,
    /// Of a provider.
    pub by_model: Vec<((String, String), Amounts)>,
    pub by_agent: Vec<(AgentId, Amounts)>,
    pub by_channel: Vec<(Channel, Amounts)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub messages: u64,
    /// To models and speech engines.
    pub requests: u64,
    pub tokens_in: u64,
    /// A part of `tokens_in`.
    pub tokens_cached: u64,
    pub tokens_out: u64,
    /// Heard or spoken.
    pub speech_ms: u64,
    /// Spoken.
    pub characters: u64,
    /// Of calls, as the carrier counts them.
    pub carrier_ms: u64,
    /// USD.
    pub cost_usd: Decimal,
}

impl Amounts {
    fn add(&mut self, other: &Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.requests = self.requests.saturating_add(other.requests);
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_cached = self.tokens_cached.saturating_add(other.tokens_cached);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.speech_ms = self.speech_ms.saturating_add(other.speech_ms);
        self.characters = self.characters.saturating_add(other.characters);
        self.carrier_ms = self.carrier_ms.saturating_add(other.carrier_ms);
        self.cost_usd += other.cost_usd;
    }
}

/// By what usage is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    pub provider: bool,
    pub model: bool,
    pub agent: bool,
    pub channel: bool,
}

/// What one group has in common; `None`: it is not told apart by that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub provider: Option<String>,
    pub model: Option<String>,
    pub agent_id: Option<AgentId>,
    pub channel: Option<Channel>,
}

/// What one group used in one span.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// Which of the spans.
    pub span: usize,
    pub group: Group,
    pub amounts: Amounts,
}

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    Day,
    Hour,
    Entry,
}

impl Grain {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Entry => "entry",
        }
    }
}

/// The fewest parts that `span` is the sum of: whole days, at their edges whole hours, and at theirs entries.
fn parts(span: &Span) -> Vec<(Grain, Span)> {
    let mut parts = Vec::new();
    let grains = [(Grain::Day, TimeDelta::days(1)), (Grain::Hour, TimeDelta::hours(1))];
    cut(span.clone(), &grains, &mut parts);
    parts
}

fn cut(span: Span, grains: &[(Grain, TimeDelta)], parts: &mut Vec<(Grain, Span)>) {
    if span.is_empty() {
        return;
    }
    let Some(((grain, unit), finer)) = grains.split_first() else {
        parts.push((Grain::Entry, span));
        return;
    };
    let end = timeline::whole(span.end, *unit);
    let before = timeline::whole(span.start, *unit);
    let start = if before == span.start { before } else { before + *unit };
    if start >= end {
        return cut(span, finer, parts);
    }
    cut(span.start..start, finer, parts);
    parts.push((*grain, start..end));
    cut(end..span.end, finer, parts);
}

/// What each group used in each of `spans`; who used nothing is not there. Ordered by span, then by group.
///
/// # Errors
/// When the database does not answer.
pub async fn used(
    database: &Database,
    tenant_id: TenantId,
    spans: &[Span],
    grouping: Grouping,
) -> Result<Vec<Used>, Error> {
    let parts: Vec<(usize, Grain, Span)> = spans
        .iter()
        .enumerate()
        .flat_map(|(index, span)| parts(span).into_iter().map(move |(grain, part)| (index, grain, part)))
        .collect();
    let mut tx = database.tenant(tenant_id).await?;
    // Words without a vendor, such as a greeting, are no reply. A carrier's requests are those of models, counted there.
    // Counts that a vendor made up may add up to anything.
    let rows = sqlx::query!(
        r#"select span as "span!", case when $6 then provider end as provider, case when $7 then model end as model,
            case when $8 then agent_id end as agent_id, case when $9 then channel end as channel,
            sum(messages)::int8 as "messages!", least($10, coalesce(sum(requests) filter (where kind <> 'carrier'), 0))::int8 as "requests!",
            least($10, sum(tokens_in))::int8 as "tokens_in!", least($10, sum(tokens_cached))::int8 as "tokens_cached!",
            least($10, sum(tokens_out))::int8 as "tokens_out!",
            least($10, coalesce(sum(audio_ms) filter (where kind <> 'carrier'), 0))::int8 as "speech_ms!",
            least($10, sum(characters))::int8 as "characters!",
            least($10, coalesce(sum(audio_ms) filter (where kind = 'carrier'), 0))::int8 as "carrier_ms!",
            sum(cost_usd) as "cost_usd!"
         from unnest($2::int8[], $3::text[], $4::timestamptz[], $5::timestamptz[]) as part (span, grain, since, until)
         cross join lateral (
            select kind, provider, model, agent_id, channel, replies as messages, requests, tokens_in, tokens_cached,
                tokens_out, audio_ms, characters, cost_usd
            from usage_rollups
            where tenant_id = $1 and grain = part.grain and starts_at >= since and starts_at < until
            union all
            select kind, provider, model, agent_id, channel, 0, requests, tokens_in, tokens_cached, tokens_out, audio_ms,
                characters, cost_usd
            from usage_entries
            where part.grain = 'entry' and tenant_id = $1 and occurred_at >= since and occurred_at < until
            union all
            select 'model', provider, model, agent_id, channel, 1, 0, 0, 0, 0, 0, 0, 0
            from messages
            where part.grain = 'entry' and tenant_id = $1 and created_at >= since and created_at < until
                and role = 'assistant' and provider is not null
         ) as used
         group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"#,
        tenant_id.0,
        &parts.iter().map(|part| big(part.0)).collect::<Vec<_>>(),
        &parts.iter().map(|part| part.1.as_str().to_owned()).collect::<Vec<_>>(),
        &parts.iter().map(|part| part.2.start).collect::<Vec<_>>(),
        &parts.iter().map(|part| part.2.end).collect::<Vec<_>>(),
        grouping.provider,
        grouping.model,
        grouping.agent,
        grouping.channel,
        Decimal::from(i64::MAX),
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let used = rows.into_iter().map(|row| {
        let channel = row.channel.map(|channel| variant("channel", &channel, &CHANNELS, Channel::as_str));
        let group = Group {
            provider: row.provider,
            model: row.model,
            agent_id: row.agent_id.map(AgentId),
            channel: channel.transpose()?,
        };
        let amounts = Amounts {
            messages: count(row.messages),
            requests: count(row.requests),
            tokens_in: count(row.tokens_in),
            tokens_cached: count(row.tokens_cached),
            tokens_out: count(row.tokens_out),
            speech_ms: count(row.speech_ms),
            characters: count(row.characters),
            carrier_ms: count(row.carrier_ms),
            cost_usd: row.cost_usd,
        };
        Ok(Used { span: usize::try_from(row.span).unwrap_or_default(), group, amounts })
    });
    used.collect()
}

/// What the tenant used in `span`.
///
/// # Errors
/// When the database does not answer.
pub async fn usage(database: &Database, tenant_id: TenantId, span: &Span) -> Result<Usage, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let sessions = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sessions where tenant_id = $1 and created_at >= $2 and created_at < $3"#,
        tenant_id.0,
        span.start,
        span.end
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    // Few combinations of the four exist, so the sums over each one alone are taken here.
    let apart = Grouping { provider: true, model: true, agent: true, channel: true };
    let mut usage = Usage { sessions: count(sessions), ..Usage::default() };
    for Used { group, amounts, .. } in used(database, tenant_id, std::slice::from_ref(span), apart).await? {
        let Group {
            provider: Some(provider),
            model: Some(model),
            agent_id: Some(agent_id),
            channel: Some(channel),
        } = group
        else {
            continue;
        };
        usage.total.add(&amounts);
        add_to(&mut usage.by_provider, provider.clone(), &amounts);
        add_to(&mut usage.by_model, (provider, model), &amounts);
        add_to(&mut usage.by_agent, agent_id, &amounts);
        add_to(&mut usage.by_channel, channel, &amounts);
    }
    Ok(usage)
}

fn add_to<K: PartialEq>(groups: &mut Vec<(K, Amounts)>, key: K, amounts: &Amounts) {
    match groups.iter_mut().find(|(group, _)| *group == key) {
        Some((_, sum)) => sum.add(amounts),
        None => groups.push((key, *amounts)),
    }
}

/// The agents that replied most in `span`, at most `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn top_agents(
    database: &Database,
    tenant_id: TenantId,
    span: &Span,
    limit: usize,
) -> Result<Vec<(AgentId, Amounts)>, Error> {
    let grouping = Grouping { agent: true, ..Grouping::default() };
    let used = used(database, tenant_id, std::slice::from_ref(span), grouping).await?;
    let mut agents: Vec<(AgentId, Amounts)> =
        used.into_iter().filter_map(|used| Some((used.group.agent_id?, used.amounts))).collect();
    agents.sort_by_key(|(agent_id, amounts)| (std::cmp::Reverse(amounts.messages), *agent_id));
    agents.truncate(limit);
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn whole_days_and_hours_are_taken_whole() {
        let span = time("2026-11-01T22:30:00Z")..time("2026-11-04T01:00:00Z");
        let expected = [
            (Grain::Entry, time("2026-11-01T22:30:00Z")..time("2026-11-01T23:00:00Z")),
            (Grain::Hour, time("2026-11-01T23:00:00Z")..time("2026-11-02T00:00:00Z")),
            (Grain::Day, time("2026-11-02T00:00:00Z")..time("2026-11-04T00:00:00Z")),
            (Grain::Hour, time("2026-11-04T00:00:00Z")..time("2026-11-04T01:00:00Z")),
        ];
        assert_eq!(parts(&span), expected);
        assert_eq!(parts(&(span.start..span.start)), []);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(start in -200_000_000_000i64..2_000_000_000_000, millis in 0i64..500_000_000) {
            let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
            let span = at(start)..at(start + millis);
            let mut end = span.start;
            for (grain, part) in parts(&span) {
                prop_assert!(part.start == end && part.end > part.start);
                let unit = match grain { Grain::Day => 86_400_000, Grain::Hour => 3_600_000, Grain::Entry => 1 };
                prop_assert_eq!((part.start.timestamp_millis() % unit, part.end.timestamp_millis() % unit), (0, 0));
                end = part.end;
            }
            prop_assert_eq!(end, span.end);
        }
    }
}
