//! What the installation bills its tenants: one history for each tenant (family `billing`, under the tenant's id). The
//! invoices of tenants' customers are another thing ([`crate::invoice`]).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EventId, TenantId};

/// A month is closed: its invoice never changes again. On it stand the ledger's entries of before `ends_at` that are in
/// the log up to `through`, but for those on an earlier invoice. What comes later is on the next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvoiceClosed {
    /// `2026-11`. Months are closed one after the other, without a gap.
    pub month: String,
    /// The tenant's, as it was then.
    pub time_zone: String,
    /// The end of the month before; of the first month its own beginning.
    pub starts_at: DateTime<Utc>,
    /// Not part of it.
    pub ends_at: DateTime<Utc>,
    /// By partition of the log, a sequence; never less than on the invoice before.
    pub through: Vec<u64>,
    /// How many entries stand on it, and their sum in USD, not rounded: to check against.
    pub entries: u64,
    pub total_usd: Decimal,
}

impl InvoiceClosed {
    /// The invoice's id, and that of the event that closes it: a month is closed once.
    pub fn id(tenant_id: TenantId, month: &str) -> EventId {
        EventId(Uuid::new_v5(&tenant_id.0, format!("invoice {month}").as_bytes()))
    }
}
