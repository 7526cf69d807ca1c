//! Tenants' MCP servers.

use chrono::{DateTime, Utc};
use events::mcp_server::McpServerSettings;
use events::{Event, McpServerId, Payload, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{count, json, text};
use crate::database::{Database, Error, Page, parsed};

/// A server as it is now. Its headers' values are sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct McpServerRecord {
    pub id: McpServerId,
    pub version: u32,
    pub settings: McpServerSettings,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Of the server's newest event.
    pub sequence: u64,
}

/// Writes what follows from one event, when it is about a server.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let Event { envelope, payload } = event;
    let tenant_id = envelope.aggregate.tenant_id.0;
    let query = match payload {
        Payload::McpServerCreated(server) => sqlx::query!(
            "insert into mcp_servers (tenant_id, mcp_server_id, version, name, settings, deleted, created_at,
                updated_at, sequence)
             values ($1, $2, 1, $3, ($4::text)::json, false, $5, $5, $6)
             on conflict on constraint mcp_servers_pkey do nothing",
            tenant_id,
            server.mcp_server_id.0,
            &*text(&server.settings.name),
            json(&server.settings),
            envelope.time,
            sequence,
        ),
        Payload::McpServerUpdated(server) => sqlx::query!(
            "update mcp_servers set version = $3, name = $4, settings = ($5::text)::json, updated_at = $6,
                sequence = $7
             where tenant_id = $1 and mcp_server_id = $2 and sequence < $7",
            tenant_id,
            server.mcp_server_id.0,
            i64::from(server.version),
            &*text(&server.settings.name),
            json(&server.settings),
            envelope.time,
            sequence,
        ),
        Payload::McpServerDeleted(server) => sqlx::query!(
            "update mcp_servers set deleted = true, updated_at = $3, sequence = $4
             where tenant_id = $1 and mcp_server_id = $2 and sequence < $4",
            tenant_id,
            server.mcp_server_id.0,
            envelope.time,
            sequence,
        ),
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// The server; `None` also when it was deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn server(
    database: &Database,
    tenant_id: TenantId,
    mcp_server_id: McpServerId,
) -> Result<Option<McpServerRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        Row,
        r#"select mcp_server_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from mcp_servers where tenant_id = $1 and mcp_server_id = $2 and not deleted"#,
        tenant_id.0,
        mcp_server_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(Row::record).transpose()
}

/// The tenant's servers, newest first, without the deleted ones.
///
/// # Errors
/// When the database does not answer.
pub async fn servers(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<McpServerRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select mcp_server_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from mcp_servers where tenant_id = $1 and ($2::uuid is null or mcp_server_id < $2) and not deleted
         order by mcp_server_id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

/// Those of the tenant's servers that have one of these names, switched on or off.
///
/// # Errors
/// When the database does not answer.
pub async fn named(
    database: &Database,
    tenant_id: TenantId,
    names: &[String],
) -> Result<Vec<McpServerRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select mcp_server_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from mcp_servers where tenant_id = $1 and name = any($2) and not deleted"#,
        tenant_id.0,
        names,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

struct Row {
    mcp_server_id: Uuid,
    version: i64,
    settings: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    sequence: i64,
}

impl Row {
    fn record(self) -> Result<McpServerRecord, Error> {
        Ok(McpServerRecord {
            id: McpServerId(self.mcp_server_id),
            version: u32::try_from(self.version).unwrap_or(u32::MAX),
            settings: parsed("settings", &self.settings)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            sequence: count(self.sequence),
        })
    }
}
