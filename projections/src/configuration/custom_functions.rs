//! Tenants' own functions.

use chrono::{DateTime, Utc};
use events::function::FunctionSettings;
use events::{Event, FunctionId, Payload, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{count, json, text};
use crate::database::{Database, Error, Page, parsed};

/// A function as it is now. Its headers' values are sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionRecord {
    pub id: FunctionId,
    pub version: u32,
    pub settings: FunctionSettings,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Of the function's newest event.
    pub sequence: u64,
}

/// Writes what follows from one event, when it is about a function.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let Event { envelope, payload } = event;
    let tenant_id = envelope.aggregate.tenant_id.0;
    let query = match payload {
        Payload::FunctionCreated(function) => sqlx::query!(
            "insert into custom_functions (tenant_id, function_id, version, name, settings, deleted, created_at,
                updated_at, sequence)
             values ($1, $2, 1, $3, ($4::text)::json, false, $5, $5, $6)
             on conflict on constraint custom_functions_pkey do nothing",
            tenant_id,
            function.function_id.0,
            &*text(&function.settings.name),
            json(&function.settings),
            envelope.time,
            sequence,
        ),
        Payload::FunctionUpdated(function) => sqlx::query!(
            "update custom_functions set version = $3, name = $4, settings = ($5::text)::json, updated_at = $6,
                sequence = $7
             where tenant_id = $1 and function_id = $2 and sequence < $7",
            tenant_id,
            function.function_id.0,
            i64::from(function.version),
            &*text(&function.settings.name),
            json(&function.settings),
            envelope.time,
            sequence,
        ),
        Payload::FunctionDeleted(function) => sqlx::query!(
            "update custom_functions set deleted = true, updated_at = $3, sequence = $4
             where tenant_id = $1 and function_id = $2 and sequence < $4",
            tenant_id,
            function.function_id.0,
            envelope.time,
            sequence,
        ),
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// The function; `None` also when it was deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn function(
    database: &Database,
    tenant_id: TenantId,
    function_id: FunctionId,
) -> Result<Option<FunctionRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        Row,
        r#"select function_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from custom_functions where tenant_id = $1 and function_id = $2 and not deleted"#,
        tenant_id.0,
        function_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(Row::record).transpose()
}

/// The tenant's functions, newest first, without the deleted ones.
///
/// # Errors
/// When the database does not answer.
pub async fn functions(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<FunctionRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select function_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from custom_functions where tenant_id = $1 and ($2::uuid is null or function_id < $2) and not deleted
         order by function_id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

/// Those of the tenant's functions that have one of these names, switched on or off.
///
/// # Errors
/// When the database does not answer.
pub async fn named(
    database: &Database,
    tenant_id: TenantId,
    names: &[String],
) -> Result<Vec<FunctionRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select function_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from custom_functions where tenant_id = $1 and name = any($2) and not deleted"#,
        tenant_id.0,
        names,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

struct Row {
    function_id: Uuid,
    version: i64,
    settings: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    sequence: i64,
}

impl Row {
    fn record(self) -> Result<FunctionRecord, Error> {
        Ok(FunctionRecord {
            id: FunctionId(self.function_id),
            version: u32::try_from(self.version).unwrap_or(u32::MAX),
            settings: parsed("settings", &self.settings)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            sequence: count(self.sequence),
        })
    }
}
