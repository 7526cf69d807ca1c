//! Folded aggregates, kept to save reading their whole history again. A cache that may vanish at any time.

use events::{Aggregate, TenantId};
use serde_json::Value;

use crate::column::{big, count, json};
use crate::database::{Database, Error, parsed};

/// Keeps `state`, the fold of `aggregate` up to `sequence`, unless a newer one is kept already.
///
/// # Errors
/// When the database does not answer.
pub async fn save(
    database: &Database,
    aggregate: &Aggregate,
    sequence: u64,
    state: &Value,
) -> Result<(), Error> {
    let Aggregate { tenant_id: TenantId(tenant_id), family, id } = aggregate;
    let mut tx = database.tenant(aggregate.tenant_id).await?;
    sqlx::query!(
        "insert into snapshots (tenant_id, family, id, sequence, state) values ($1, $2, $3, $4, ($5::text)::json)
         on conflict on constraint snapshots_pkey do update set sequence = excluded.sequence, state = excluded.state
         where excluded.sequence > snapshots.sequence",
        tenant_id,
        family.as_str(),
        id,
        big(sequence),
        json(state),
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The newest kept fold of `aggregate`, with the sequence of the last event in it.
///
/// # Errors
/// When the database does not answer.
pub async fn load(database: &Database, aggregate: &Aggregate) -> Result<Option<(u64, Value)>, Error> {
    let mut tx = database.tenant(aggregate.tenant_id).await?;
    let row = sqlx::query!(
        r#"select sequence, state::text as "state!" from snapshots where tenant_id = $1 and family = $2 and id = $3"#,
        aggregate.tenant_id.0,
        aggregate.family.as_str(),
        aggregate.id,
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| Ok((count(row.sequence), parsed("state", &row.state)?))).transpose()
}
