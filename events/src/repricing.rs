//! Correcting what was charged: all re-pricings are one history under the system's id (family `repricing`), so that one
//! comes after the other; what each corrects stands in the tenants' own (family `ledger`).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::prices::{Price, PriceKind};
use crate::session::Channel;
use crate::{AgentId, EventId, JobId, RepricingId, SessionId, TenantId};

/// The operator wants what was charged in a period to be what `prices` say. Exactly one `repricing.completed` or
/// `repricing.failed` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepricingRequested {
    pub repricing_id: RepricingId,
    /// Counts up from 1. A re-pricing corrects what all with a lower number have left.
    pub number: u32,
    /// `None`: all tenants.
    pub tenant_id: Option<TenantId>,
    pub from: DateTime<Utc>,
    /// Not part of the period.
    pub to: DateTime<Utc>,
    /// Of each model the price that was right: its own, else its vendor's. What has none here stays as it was charged.
    pub prices: Vec<Price>,
    /// For people.
    pub reason: String,
    /// Nothing is corrected; only the differences are told.
    pub dry_run: bool,
}

/// What one model's work of one tenant was charged in the period, and what is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepricingDifference {
    pub kind: PriceKind,
    pub provider: String,
    /// Empty where the vendor has no models.
    pub model: String,
    /// Entries of the ledger whose cost changes.
    pub entries: u64,
    /// USD of these entries, with what was corrected before.
    pub before_usd: Decimal,
    pub after_usd: Decimal,
}

/// All entries of one tenant have been gone through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TenantRepriced {
    pub repricing_id: RepricingId,
    pub tenant_id: TenantId,
    pub differences: Vec<RepricingDifference>,
}

/// All tenants have been gone through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepricingCompleted {
    pub repricing_id: RepricingId,
}

/// The re-pricing was given up; what it has corrected until then stays corrected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepricingFailed {
    pub repricing_id: RepricingId,
    /// For people.
    pub reason: String,
}

/// An entry of the ledger was corrected. The event's id is derived from re-pricing and entry, so that it is corrected once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerAdjusted {
    pub repricing_id: RepricingId,
    pub repricing_number: u32,
    /// The attempt, or the event that metered the work.
    pub entry_id: EventId,
    /// When that was; `None`: written before corrections said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_occurred_at: Option<DateTime<Utc>>,
    pub session_id: SessionId,
    pub job_id: Option<JobId>,
    pub agent_id: AgentId,
    pub channel: Channel,
    pub provider: String,
    /// Empty where the vendor has no models.
    pub model: String,
    /// USD; what the entry cost too little, or below zero too much.
    pub delta_usd: Decimal,
    /// Names the re-pricing, such as `repricing:2`.
    pub price_version: String,
}
