//! Price lists: everybody's under [`TenantId::SYSTEM`], and what was agreed with a tenant under the tenant's id.

use chrono::{DateTime, Utc};
use domain::PriceList;
use events::prices::{Price, PricesOrigin};
use events::{Event, EventId, Payload, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{json, small};
use crate::database::{Database, Error, Page, parsed, variant};

/// One version of a price list.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceListRecord {
    /// The event that brought it.
    pub id: EventId,
    pub list: PriceList,
    pub origin: PricesOrigin,
    pub created_at: DateTime<Utc>,
}

/// Writes what follows from one event, when it is about prices.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let Payload::PricesChanged(changed) = &event.payload else { return Ok(()) };
    sqlx::query!(
        "insert into price_lists (tenant_id, version, event_id, effective_from, origin, prices, created_at, sequence)
         values ($1, $2, $3, $4, $5, ($6::text)::json, $7, $8) on conflict on constraint price_lists_pkey do nothing",
        event.envelope.aggregate.tenant_id.0,
        i64::from(changed.version),
        event.envelope.id.0,
        changed.effective_from,
        changed.origin.as_str(),
        json(&changed.prices),
        event.envelope.time,
        sequence,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The lists that are in force at `time` or will be later.
///
/// # Errors
/// When the database does not answer.
pub async fn since(
    database: &Database,
    tenant_id: TenantId,
    time: DateTime<Utc>,
) -> Result<Vec<PriceList>, Error> {
    let records = records_since(database, tenant_id, time).await?;
    Ok(records.into_iter().map(|record| record.list).collect())
}

/// As [`since`], with all that is known of each.
///
/// # Errors
/// When the database does not answer.
pub async fn records_since(
    database: &Database,
    tenant_id: TenantId,
    time: DateTime<Utc>,
) -> Result<Vec<PriceListRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select version, event_id, effective_from, origin, prices::text as "prices!", created_at from price_lists
         where tenant_id = $1 and effective_from >= coalesce(
            (select max(effective_from) from price_lists where tenant_id = $1 and effective_from <= $2), '-infinity')
         order by version"#,
        tenant_id.0,
        time,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

/// All versions, the newest first; the page's ids are those of the records.
///
/// # Errors
/// When the database does not answer.
pub async fn versions(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<PriceListRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select version, event_id, effective_from, origin, prices::text as "prices!", created_at from price_lists
         where tenant_id = $1 and ($2::uuid is null
            or version < (select version from price_lists where tenant_id = $1 and event_id = $2))
         order by version desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

struct Row {
    version: i64,
    event_id: Uuid,
    effective_from: DateTime<Utc>,
    origin: String,
    prices: String,
    created_at: DateTime<Utc>,
}

impl Row {
    fn record(self) -> Result<PriceListRecord, Error> {
        Ok(PriceListRecord {
            id: EventId(self.event_id),
            list: PriceList {
                version: small(self.version),
                effective_from: self.effective_from,
                prices: parsed::<Vec<Price>>("prices", &self.prices)?,
            },
            origin: variant("origin", &self.origin, &PricesOrigin::ALL, PricesOrigin::as_str)?,
            created_at: self.created_at,
        })
    }
}
