//! Budgets: what a tenant may spend in a calendar month, altogether, with one agent, or by one key. One history for all
//! of a tenant's (family `budgets`, under the tenant's id).

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whose spending a budget is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    Tenant,
    Agent,
    Key,
}

impl BudgetScope {
    pub const ALL: [Self; 3] = [Self::Tenant, Self::Agent, Self::Key];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Agent => "agent",
            Self::Key => "key",
        }
    }
}

/// A budget is in force, in the place of one that was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetSet {
    pub scope: BudgetScope,
    /// Of the tenant, the agent or the key.
    pub id: Uuid,
    /// USD in a calendar month of the tenant's time zone.
    pub monthly_limit_usd: Decimal,
    /// Parts of the limit whose reaching is told, ascending; 0.8 is 80 %.
    pub alert_at: Vec<Decimal>,
    /// Whether work is refused that might go beyond the limit.
    pub hard: bool,
}

/// The spending has no budget any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetRemoved {
    pub scope: BudgetScope,
    pub id: Uuid,
}

/// The spending of a month has reached one of the parts that are to be told. Once for each month and part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetAlerted {
    pub scope: BudgetScope,
    pub id: Uuid,
    /// The month in the tenant's time zone, `2026-11`.
    pub period: String,
    /// The part of the limit, one of the budget's `alert_at`.
    pub threshold: Decimal,
    /// USD, of the month so far.
    pub spent_usd: Decimal,
    /// USD, as it was then.
    pub monthly_limit_usd: Decimal,
}
