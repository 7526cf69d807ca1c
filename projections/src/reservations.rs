//! The running reservations: what accepted work may cost and takes up, held back before it is accepted, and gone when its
//! costs are spent.
//!
//! Like the keyring this is no projection: a reservation is made before there is an event, and it is a lease. It lasts
//! once the projection `budgets` has seen the work in the log, and ends in the very transaction in which the work's costs
//! are added to what was spent. A process that dies between reserving and appending leaves a lease that runs out;
//! everything else is `open_work`, which the log gives back ([`restore`]). Messages that no hard budget concerns have no
//! reservation: how many there are is in `open_work`, too.

use std::time::Duration;

use domain::Month;
use events::budget::BudgetScope;
use events::{AgentId, ApiKeyId, Entry, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::budgets::{Changes, kind};
use crate::column::column;
use crate::configuration::limits::BudgetRecord;
use crate::database::{Database, Error, Page, variant};

/// What work is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Among the messages that are being answered.
    Turn,
    /// Among the calls.
    Call,
    /// Not at all: it is part of a call.
    Not,
}

impl Counted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Call => "call",
            Self::Not => "other",
        }
    }

    fn of(kind: &str) -> Self {
        match kind {
            kind::TURN | kind::RECORDING => Self::Turn,
            kind::CALL => Self::Call,
            _ => Self::Not,
        }
    }
}

/// How much may be under way before anything more is refused; `None`: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Most {
    pub turns: Option<u32>,
    pub calls: Option<u32>,
    /// Of the agent alone.
    pub agent_calls: Option<u32>,
}

/// What is to be reserved.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub tenant_id: TenantId,
    /// The job's id, or the call's.
    pub work_id: Uuid,
    pub counted: Counted,
    pub agent_id: AgentId,
    pub key_id: Option<ApiKeyId>,
    /// USD: all that the work may have cost when the next thing that it does is done. What is reserved already counts.
    pub usd: Decimal,
    /// The present one, on the tenant's clock.
    pub month: Month,
    /// Asked only of work that has no reservation yet.
    pub most: Most,
    /// How long the reservation counts, unless the work is seen in the log before.
    pub lease: Duration,
}

/// Why there is no room.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    TooManyTurns,
    TooManyCalls,
    TooManyCallsOfAgent,
    OverBudget {
        scope: BudgetScope,
        id: Uuid,
        required_usd: Decimal,
        /// Not spent and not reserved by other work.
        remaining_usd: Decimal,
    },
}

/// Reserves, or raises what is reserved, where every hard budget and limit has room for it. `None`: it is reserved.
/// Doing it again changes nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn reserve(database: &Database, wanted: &Wanted) -> Result<Option<Refusal>, Error> {
    let Wanted { tenant_id, work_id, counted, agent_id, key_id, usd, month, most, lease } = *wanted;
    let _turn = database.turn_to_reserve(tenant_id).await?;
    let row = sqlx::query!(
        r#"select refused as "refused!", scope, id, remaining_usd
         from reserve($1, $2, $3, $4, $5, $6, make_interval(secs => $7), $8, $9, $10, $11, $12)"#,
        tenant_id.0,
        work_id,
        counted.as_str(),
        agent_id.0,
        key_id.map(|key_id| key_id.0),
        usd,
        lease.as_secs_f64(),
        month.starts_at,
        month.ends_at,
        most.turns.map(i64::from),
        most.calls.map(i64::from),
        most.agent_calls.map(i64::from),
    )
    .fetch_optional(database.app())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let refusal = match (row.refused.as_str(), row.scope, row.id, row.remaining_usd) {
        ("turns", ..) => Refusal::TooManyTurns,
        ("calls", ..) => Refusal::TooManyCalls,
        ("agent_calls", ..) => Refusal::TooManyCallsOfAgent,
        (_, Some(scope), Some(id), Some(remaining_usd)) => Refusal::OverBudget {
            scope: variant("scope", &scope, &BudgetScope::ALL, BudgetScope::as_str)?,
            id,
            required_usd: usd,
            remaining_usd,
        },
        _ => return Err(Error::Unreadable { column: "refused", value: row.refused }),
    };
    Ok(Some(refusal))
}

/// How many messages are being answered, as far as the projection `budgets` has come.
///
/// # Errors
/// When the database does not answer.
pub async fn turns_under_way(database: &Database, tenant_id: TenantId) -> Result<u64, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let turns = sqlx::query_scalar!(r#"select turns_under_way($1) as "turns!""#, tenant_id.0)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(u64::try_from(turns).unwrap_or_default())
}

/// Gives back what was reserved for work that was never accepted.
///
/// # Errors
/// When the database does not answer; then the lease runs out.
pub async fn release(database: &Database, tenant_id: TenantId, work_id: Uuid) -> Result<(), Error> {
    let mut tx = database.tenant(tenant_id).await?;
    sqlx::query!(
        "delete from reservations where tenant_id = $1 and work_id = $2 and lease_until is not null",
        tenant_id.0,
        work_id,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Gives back what is reserved for the work beyond `usd`.
///
/// # Errors
/// When the database does not answer.
pub async fn lower(
    database: &Database,
    tenant_id: TenantId,
    work_id: Uuid,
    usd: Decimal,
) -> Result<(), Error> {
    let mut tx = database.tenant(tenant_id).await?;
    sqlx::query!(
        "update reservations set reserved_usd = $3 where tenant_id = $1 and work_id = $2 and reserved_usd > $3",
        tenant_id.0,
        work_id,
        usd,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// How a budget stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub budget: BudgetRecord,
    /// USD, of the month so far.
    pub spent_usd: Decimal,
    /// USD that work under way may cost.
    pub reserved_usd: Decimal,
}

/// How the tenant's budgets stand in `month`; those whose ids are the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn standings(
    database: &Database,
    tenant_id: TenantId,
    month: Month,
    page: Page,
) -> Result<Vec<Standing>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        r#"select scope, id, monthly_limit_usd, alert_at as "alert_at: Vec<Decimal>", hard, (
                select coalesce(sum(spent_usd), 0) from budget_spending
                where tenant_id = $1 and budget_spending.scope = budgets.scope and budget_spending.id = budgets.id
                    and starts_at >= $4 and starts_at < $5
            ) as "spent_usd!", (
                select coalesce(sum(reserved_usd), 0) from reservations
                where tenant_id = $1 and (lease_until is null or lease_until > clock_timestamp())
                    and (budgets.scope = 'tenant' or (budgets.scope = 'agent' and agent_id = budgets.id)
                        or (budgets.scope = 'key' and key_id = budgets.id))
            ) as "reserved_usd!"
         from budgets
         where tenant_id = $1 and not removed and ($2::uuid is null or id < $2) order by id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
        month.starts_at,
        month.ends_at,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let budget = BudgetRecord {
                scope: variant("scope", &row.scope, &BudgetScope::ALL, BudgetScope::as_str)?,
                id: row.id,
                monthly_limit_usd: row.monthly_limit_usd,
                alert_at: row.alert_at,
                hard: row.hard,
            };
            Ok(Standing { budget, spent_usd: row.spent_usd, reserved_usd: row.reserved_usd })
        })
        .collect()
}

/// Makes the reservations of accepted work last, and settles those of work that is over. In the transaction of the
/// projection `budgets`, after it.
pub(crate) async fn follow(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let changes = Changes::of(entries);
    let opened: Vec<_> = changes.opened.iter().collect();
    if !opened.is_empty() {
        sqlx::query!(
            "update reservations set lease_until = null
             from unnest($1::uuid[], $2::uuid[]) as work (tenant_id, work_id)
             where reservations.tenant_id = work.tenant_id and reservations.work_id = work.work_id
                and lease_until is not null",
            column!(opened, |row| row.0.0) as _,
            column!(opened, |row| row.0.1) as _,
        )
        .execute(&mut *connection)
        .await?;
    }
    let calls: Vec<_> = opened.iter().filter(|row| Counted::of(row.1.kind) == Counted::Call).collect();
    if !calls.is_empty() {
        sqlx::query!(
            "insert into reservations (tenant_id, work_id, kind, key_id, reserved_usd)
             select tenant_id, work_id, $4, key_id, 0
             from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as work (tenant_id, work_id, key_id)
             on conflict on constraint reservations_pkey do nothing",
            column!(calls, |row| row.0.0) as _,
            column!(calls, |row| row.0.1) as _,
            column!(calls, |row| row.1.event.envelope.origin.key_id.map(|key_id| key_id.0)) as _,
            Counted::Call.as_str(),
        )
        .execute(&mut *connection)
        .await?;
    }
    if !changes.rung_off.is_empty() {
        sqlx::query!(
            "update reservations set kind = $3
             from unnest($1::uuid[], $2::uuid[]) as call (tenant_id, work_id)
             where reservations.tenant_id = call.tenant_id and reservations.work_id = call.work_id",
            column!(changes.rung_off, |work| work.0) as _,
            column!(changes.rung_off, |work| work.1) as _,
            Counted::Not.as_str(),
        )
        .execute(&mut *connection)
        .await?;
    }
    let over: Vec<_> = changes.over().map(|(work, _)| work).collect();
    if !over.is_empty() {
        sqlx::query!(
            "delete from reservations using unnest($1::uuid[], $2::uuid[]) as work (tenant_id, work_id)
             where reservations.tenant_id = work.tenant_id and reservations.work_id = work.work_id
                and not exists (
                    select from open_work where open_work.tenant_id = work.tenant_id and open_work.work_id = work.work_id
                )",
            column!(over, |work| work.0) as _,
            column!(over, |work| work.1) as _,
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Fills in the calls that were lost: they count against limits. What work may cost that lost its reservation is not known:
/// whoever works on it reserves that before the next thing that costs.
pub(crate) async fn restore(database: &Database) -> Result<(), Error> {
    let mut connection = database.projector().await?;
    // Locked, so that work that ends meanwhile is passed over instead of being reserved for ever.
    let restored = sqlx::query!(
        "insert into reservations (tenant_id, work_id, kind, key_id, reserved_usd)
         select tenant_id, work_id, kind, key_id, 0
         from open_work
         where kind = 'call' and not exists (
            select from reservations where reservations.tenant_id = open_work.tenant_id
                and reservations.work_id = open_work.work_id
         )
         for share of open_work
         on conflict on constraint reservations_pkey do nothing",
    )
    .execute(&mut connection)
    .await?;
    if restored.rows_affected() > 0 {
        tracing::warn!(reservations = restored.rows_affected(), "reservations of calls were restored");
    }
    Ok(())
}
