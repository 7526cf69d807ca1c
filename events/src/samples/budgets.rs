//! Of budgets, limits, and a tenant's settings.

use rust_decimal::Decimal;

use super::id;
use crate::Payload;
use crate::budget::{BudgetAlerted, BudgetRemoved, BudgetScope, BudgetSet};
use crate::tenant::{LimitsSet, TenantSettingsChanged};

pub(super) fn payloads() -> Vec<Payload> {
    let (scope, agent_id) = (BudgetScope::Agent, id(4));
    vec![
        TenantSettingsChanged { name: "TechCorp".to_owned(), time_zone: "Europe/Berlin".to_owned() }.into(),
        LimitsSet { requests_per_minute: 600, concurrent_turns: 50, concurrent_calls: 10 }.into(),
        BudgetSet {
            scope,
            id: agent_id,
            monthly_limit_usd: Decimal::new(25, 0),
            alert_at: vec![Decimal::new(5, 1), Decimal::new(8, 1), Decimal::ONE],
            hard: true,
        }
        .into(),
        BudgetAlerted {
            scope,
            id: agent_id,
            period: "2026-11".to_owned(),
            threshold: Decimal::new(8, 1),
            spent_usd: Decimal::new(200_000_246, 7),
            monthly_limit_usd: Decimal::new(25, 0),
        }
        .into(),
        BudgetRemoved { scope, id: agent_id }.into(),
    ]
}
