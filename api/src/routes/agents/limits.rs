//! Limits among an agent's fields: merging what a client sends, and its checks.

use std::ops::RangeInclusive;

use events::agent::AgentLimits;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::routes::merge::{Sent, sent};
use crate::validation::Mistakes;

const REQUESTS_PER_MINUTE: RangeInclusive<u32> = 1..=1_000_000;
const CONCURRENT_CALLS: RangeInclusive<u32> = 0..=100_000;

/// What the agent may have under way, beside the tenant's own limits.
// `Serialize` is for utoipa, which writes the defaults of the fields around it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "requests_per_minute": 60, "max_concurrent_calls": 2 }))]
pub(super) struct LimitsPatch {
    /// Of requests that make the agent answer; `null`: no limit of its own.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    requests_per_minute: Sent<u32>,
    /// `null`: no limit of its own.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 100_000)]
    max_concurrent_calls: Sent<u32>,
}

/// `current` with what was sent put over it; limits that say nothing are none.
pub(super) fn merged(sent: Sent<LimitsPatch>, current: Option<&AgentLimits>) -> Option<AgentLimits> {
    let Some(sent) = sent else { return current.copied() };
    let patch = sent?;
    let present =
        current.copied().unwrap_or(AgentLimits { requests_per_minute: None, max_concurrent_calls: None });
    let limits = AgentLimits {
        requests_per_minute: patch.requests_per_minute.unwrap_or(present.requests_per_minute),
        max_concurrent_calls: patch.max_concurrent_calls.unwrap_or(present.max_concurrent_calls),
    };
    (limits.requests_per_minute.is_some() || limits.max_concurrent_calls.is_some()).then_some(limits)
}

pub(super) fn check(limits: Option<&AgentLimits>, mistakes: &mut Mistakes) {
    let Some(limits) = limits else { return };
    for (field, value, range) in [
        ("limits.requests_per_minute", limits.requests_per_minute, REQUESTS_PER_MINUTE),
        ("limits.max_concurrent_calls", limits.max_concurrent_calls, CONCURRENT_CALLS),
    ] {
        if value.is_some_and(|value| !range.contains(&value)) {
            mistakes.add(field, format_args!("must be {} to {}, or null", range.start(), range.end()));
        }
    }
}

/// An agent's limits, as they are shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentLimits)]
pub(super) struct LimitsView {
    requests_per_minute: Option<u32>,
    max_concurrent_calls: Option<u32>,
}

impl From<AgentLimits> for LimitsView {
    fn from(limits: AgentLimits) -> Self {
        let AgentLimits { requests_per_minute, max_concurrent_calls } = limits;
        Self { requests_per_minute, max_concurrent_calls }
    }
}
