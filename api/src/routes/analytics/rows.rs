//! What was used, in rows: how reports tell groups apart, and how they are exported.

use chrono::{DateTime, Utc};
use events::{AgentId, TenantId};
use projections::configuration;
use projections::ledger::usage::Span;
use projections::ledger::{Amounts, Grouping, Used};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::export::Row;
use crate::money::Usd;
use crate::problem::Problem;

/// What one group used in one span of time.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct UsageRow {
    starts_at: DateTime<Utc>,
    /// Not included.
    ends_at: DateTime<Utc>,
    /// `null`, as with the next ones: of all.
    provider: Option<String>,
    model: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    agent_id: Option<AgentId>,
    agent_name: Option<String>,
    /// `chat` or `voice`.
    channel: Option<&'static str>,
    messages: u64,
    /// To models and speech engines.
    requests: u64,
    tokens_in: u64,
    /// A part of `tokens_in`.
    tokens_cached: u64,
    tokens_out: u64,
    /// Heard or spoken.
    speech_ms: u64,
    /// Spoken.
    characters: u64,
    /// Of calls, as carriers count them.
    carrier_ms: u64,
    cost_usd: Usd,
}

impl Row for UsageRow {
    const COLUMNS: &'static [&'static str] = &[
        "starts_at",
        "ends_at",
        "provider",
        "model",
        "agent_id",
        "agent_name",
        "channel",
        "messages",
        "requests",
        "tokens_in",
        "tokens_cached",
        "tokens_out",
        "speech_ms",
        "characters",
        "carrier_ms",
        "cost_usd",
    ];

    fn names(&mut self) -> Vec<&mut String> {
        [&mut self.provider, &mut self.model, &mut self.agent_name].into_iter().flatten().collect()
    }
}

impl UsageRow {
    pub(super) fn total(span: &Span, amounts: Amounts) -> Self {
        let Amounts {
            messages,
            requests,
            tokens_in,
            tokens_cached,
            tokens_out,
            speech_ms,
            characters,
            carrier_ms,
            cost_usd,
        } = amounts;
        Self {
            starts_at: span.start,
            ends_at: span.end,
            messages,
            requests,
            tokens_in,
            tokens_cached,
            tokens_out,
            speech_ms,
            characters,
            carrier_ms,
            cost_usd: Usd(cost_usd),
            ..Self::default()
        }
    }
}

/// The rows of `used`, with the agents' names.
pub(super) async fn named(
    app: &App,
    tenant_id: TenantId,
    spans: &[Span],
    used: Vec<Used>,
) -> Result<Vec<UsageRow>, Problem> {
    let mut ids: Vec<AgentId> = used.iter().filter_map(|used| used.group.agent_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let names = configuration::agent_names(&app.database, tenant_id, &ids).await?;
    let row = |Used { span, group, amounts }: Used| {
        Some(UsageRow {
            provider: group.provider,
            model: group.model,
            agent_id: group.agent_id,
            agent_name: group.agent_id.and_then(|agent_id| names.get(&agent_id).cloned()),
            channel: group.channel.map(|channel| channel.as_str()),
            ..UsageRow::total(spans.get(span)?, amounts)
        })
    };
    Ok(used.into_iter().filter_map(row).collect())
}

/// `provider`, `model`, `agent` and `channel`, separated by commas; `None`: nothing is told apart.
pub(super) fn grouping(sent: Option<&str>) -> Result<Option<Grouping>, Problem> {
    let Some(sent) = sent else { return Ok(None) };
    let mut grouping = Grouping::default();
    for name in sent.split(',') {
        let part = match name.trim() {
            "provider" => &mut grouping.provider,
            "model" => &mut grouping.model,
            "agent" => &mut grouping.agent,
            "channel" => &mut grouping.channel,
            _ => {
                let allowed = "must be of provider, model, agent and channel, separated by commas";
                return Err(Problem::invalid_field("group_by", allowed));
            }
        };
        *part = true;
    }
    Ok(Some(grouping))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_the_fields() {
        crate::export::assert_columns(&UsageRow::default());
    }

    #[test]
    fn several_groups_are_told_apart_at_once() {
        let both = Grouping { provider: true, agent: true, ..Grouping::default() };
        assert_eq!(grouping(Some("agent, provider")).unwrap(), Some(both));
        assert_eq!(grouping(None).unwrap(), None);
        for wrong in ["", "vendor", "agent,", "Agent"] {
            assert!(grouping(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
