//! What a tenant set for itself: its name and time zone, its limits, its budgets.

use domain::Limits;
use events::budget::BudgetScope;
use events::{Event, Payload, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{small, text};
use crate::database::{Database, Error, variant};

/// A budget that is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetRecord {
    pub scope: BudgetScope,
    /// Of the tenant, the agent or the key.
    pub id: Uuid,
    /// USD.
    pub monthly_limit_usd: Decimal,
    /// Parts of the limit, ascending.
    pub alert_at: Vec<Decimal>,
    pub hard: bool,
}

/// Writes what follows from one event, when it is about a tenant's own settings.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let Event { envelope, payload } = event;
    let tenant_id = envelope.aggregate.tenant_id.0;
    let query = match payload {
        Payload::TenantSettingsChanged(settings) => sqlx::query!(
            "update tenants set name = $2, time_zone = $3, sequence = $4 where tenant_id = $1 and sequence < $4",
            tenant_id,
            &*text(&settings.name),
            &*text(&settings.time_zone),
            sequence,
        ),
        Payload::LimitsSet(limits) => sqlx::query!(
            "insert into limits as old (tenant_id, requests_per_minute, concurrent_turns, concurrent_calls, updated_at,
                sequence)
             values ($1, $2, $3, $4, $5, $6)
             on conflict on constraint limits_pkey do update set
                requests_per_minute = excluded.requests_per_minute, concurrent_turns = excluded.concurrent_turns,
                concurrent_calls = excluded.concurrent_calls, updated_at = excluded.updated_at,
                sequence = excluded.sequence
             where old.sequence < excluded.sequence",
            tenant_id,
            i64::from(limits.requests_per_minute),
            i64::from(limits.concurrent_turns),
            i64::from(limits.concurrent_calls),
            envelope.time,
            sequence,
        ),
        Payload::BudgetSet(budget) => sqlx::query!(
            "insert into budgets as old (tenant_id, scope, id, monthly_limit_usd, alert_at, hard, removed, updated_at,
                sequence)
             values ($1, $2, $3, $4, $5, $6, false, $7, $8)
             on conflict on constraint budgets_pkey do update set
                monthly_limit_usd = excluded.monthly_limit_usd, alert_at = excluded.alert_at, hard = excluded.hard,
                removed = false, updated_at = excluded.updated_at, sequence = excluded.sequence
             where old.sequence < excluded.sequence",
            tenant_id,
            budget.scope.as_str(),
            budget.id,
            budget.monthly_limit_usd,
            &budget.alert_at,
            budget.hard,
            envelope.time,
            sequence,
        ),
        Payload::BudgetRemoved(budget) => sqlx::query!(
            "update budgets set removed = true, updated_at = $4, sequence = $5
             where tenant_id = $1 and scope = $2 and id = $3 and sequence < $5",
            tenant_id,
            budget.scope.as_str(),
            budget.id,
            envelope.time,
            sequence,
        ),
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// # Errors
/// When the database does not answer.
pub async fn limits(database: &Database, tenant_id: TenantId) -> Result<Limits, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query!(
        "select requests_per_minute, concurrent_turns, concurrent_calls from limits where tenant_id = $1",
        tenant_id.0,
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row.map_or_else(Limits::default, |row| Limits {
        requests_per_minute: small(row.requests_per_minute),
        concurrent_turns: small(row.concurrent_turns),
        concurrent_calls: small(row.concurrent_calls),
    }))
}

/// All budgets of the tenant: its own first, then by whose they are.
///
/// # Errors
/// When the database does not answer.
pub async fn budgets(database: &Database, tenant_id: TenantId) -> Result<Vec<BudgetRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        r#"select scope, id, monthly_limit_usd, alert_at as "alert_at: Vec<Decimal>", hard
         from budgets where tenant_id = $1 and not removed order by scope = 'tenant' desc, scope, id"#,
        tenant_id.0,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            Ok(BudgetRecord {
                scope: variant("scope", &row.scope, &BudgetScope::ALL, BudgetScope::as_str)?,
                id: row.id,
                monthly_limit_usd: row.monthly_limit_usd,
                alert_at: row.alert_at,
                hard: row.hard,
            })
        })
        .collect()
}
