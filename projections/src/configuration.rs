//! Projection `configuration`: tenants, their keys, agents, prompts, functions, MCP servers, phone
//! numbers, prices and invoices.
//!
//! These events are rare, so each is written by itself.

pub mod api_keys;
pub mod custom_functions;
pub mod limits;
pub mod mcp_servers;
pub mod prices;
pub mod prompts;
pub mod telephony;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::agent::AgentSettings;
use events::invoice::InvoiceStatus;
use events::{AgentId, Entry, EventId, Payload, Sealed, TenantId};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{count, json, readable, small, text, uuids};
use crate::database::{Database, Error, Page, parsed, variant};
use crate::projection::Table;

pub(crate) const TABLES: &[Table] = &[
    Table { name: "tenants", key: &["tenant_id"] },
    Table { name: "api_keys", key: &["tenant_id", "key_id"] },
    Table { name: "api_key_secrets", key: &["tenant_id", "key_id", "prefix"] },
    Table { name: "agents", key: &["tenant_id", "agent_id"] },
    Table { name: "prompts", key: &["tenant_id", "prompt_id"] },
    Table { name: "prompt_versions", key: &["tenant_id", "prompt_id", "version"] },
    Table { name: "default_prompts", key: &["tenant_id"] },
    Table { name: "invoices", key: &["tenant_id", "invoice_number"] },
    Table { name: "custom_functions", key: &["tenant_id", "function_id"] },
    Table { name: "mcp_servers", key: &["tenant_id", "mcp_server_id"] },
    Table { name: "phone_numbers", key: &["tenant_id", "number"] },
    Table { name: "twilio_accounts", key: &["tenant_id"] },
    Table { name: "limits", key: &["tenant_id"] },
    Table { name: "budgets", key: &["tenant_id", "scope", "id"] },
    Table { name: "price_lists", key: &["tenant_id", "version"] },
];

/// A business that uses VocalBridge.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantRecord {
    pub id: TenantId,
    pub name: String,
    /// Sealed under the tenant's own key.
    pub webhook_secret: Sealed,
    /// The event that `webhook_secret` is sealed for.
    pub webhook_secret_sealed_for: EventId,
    /// An IANA name.
    pub time_zone: String,
    pub created_at: DateTime<Utc>,
}

/// An agent as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    pub id: AgentId,
    pub tenant_id: TenantId,
    pub version: u32,
    pub settings: AgentSettings,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Of the agent's newest event.
    pub sequence: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InvoiceRecord {
    /// The tenant's own number, such as `INV-TC-001`.
    pub number: String,
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    pub status: InvoiceStatus,
    pub description: String,
}

const INVOICE_STATUSES: [InvoiceStatus; 3] =
    [InvoiceStatus::Paid, InvoiceStatus::Pending, InvoiceStatus::Overdue];

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for (sequence, event) in readable(entries) {
        let envelope = &event.envelope;
        let tenant_id = envelope.aggregate.tenant_id.0;
        let id = envelope.aggregate.id;
        let query = match &event.payload {
            Payload::TenantCreated(tenant) => sqlx::query!(
                "insert into tenants (tenant_id, name, webhook_secret_key_id, webhook_secret_ciphertext,
                    webhook_secret_event_id, created_at, sequence)
                 values ($1, $2, $3, $4, $5, $6, $7) on conflict on constraint tenants_pkey do nothing",
                tenant_id,
                &*text(&tenant.name),
                tenant.webhook_secret.key_id,
                &*text(&tenant.webhook_secret.ciphertext),
                envelope.id.0,
                envelope.time,
                sequence,
            )
            .execute(&mut *connection),
            Payload::TenantWebhookSecretRotated(rotated) => sqlx::query!(
                "update tenants set webhook_secret_key_id = $2, webhook_secret_ciphertext = $3,
                    webhook_secret_event_id = $4, previous_webhook_secret_until = $5, sequence = $6
                 where tenant_id = $1 and sequence < $6",
                tenant_id,
                rotated.webhook_secret.key_id,
                &*text(&rotated.webhook_secret.ciphertext),
                envelope.id.0,
                rotated.previous_until,
                sequence,
            )
            .execute(&mut *connection),
            Payload::AgentCreated(agent) => sqlx::query!(
                "insert into agents (tenant_id, agent_id, version, settings, deleted, created_at, updated_at, sequence,
                    system_prompt_id)
                 values ($1, $2, 1, ($3::text)::json, false, $4, $4, $5, $6)
                 on conflict on constraint agents_pkey do nothing",
                tenant_id,
                id,
                json(&agent.settings),
                envelope.time,
                sequence,
                agent.settings.system_prompt_id.map(|id| id.0),
            )
            .execute(&mut *connection),
            Payload::AgentUpdated(agent) => sqlx::query!(
                "update agents set version = $3, settings = ($4::text)::json, updated_at = $5, sequence = $6,
                    system_prompt_id = $7
                 where tenant_id = $1 and agent_id = $2 and sequence < $6",
                tenant_id,
                id,
                i64::from(agent.version),
                json(&agent.settings),
                envelope.time,
                sequence,
                agent.settings.system_prompt_id.map(|id| id.0),
            )
            .execute(&mut *connection),
            Payload::AgentDeleted(_) => sqlx::query!(
                "update agents set deleted = true, updated_at = $3, sequence = $4
                 where tenant_id = $1 and agent_id = $2 and sequence < $4",
                tenant_id,
                id,
                envelope.time,
                sequence,
            )
            .execute(&mut *connection),
            Payload::InvoiceRecorded(invoice) => sqlx::query!(
                "insert into invoices (tenant_id, invoice_number, amount, currency, status, description, recorded_at,
                    sequence)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict on constraint invoices_pkey do update set amount = excluded.amount,
                    currency = excluded.currency, status = excluded.status, description = excluded.description,
                    recorded_at = excluded.recorded_at, sequence = excluded.sequence
                    where excluded.sequence > invoices.sequence",
                tenant_id,
                &*text(&invoice.invoice_id),
                invoice.amount,
                &*text(&invoice.currency),
                invoice.status.as_str(),
                &*text(&invoice.description),
                envelope.time,
                sequence,
            )
            .execute(&mut *connection),
            _ => {
                api_keys::apply(&mut *connection, sequence, event).await?;
                prompts::apply(&mut *connection, sequence, event).await?;
                custom_functions::apply(&mut *connection, sequence, event).await?;
                mcp_servers::apply(&mut *connection, sequence, event).await?;
                telephony::apply(&mut *connection, sequence, event).await?;
                limits::apply(&mut *connection, sequence, event).await?;
                prices::apply(&mut *connection, sequence, event).await?;
                continue;
            }
        };
        query.await?;
    }
    Ok(())
}

/// # Errors
/// When the database does not answer.
pub async fn tenant(database: &Database, tenant_id: TenantId) -> Result<Option<TenantRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        TenantRow,
        "select tenant_id, name, webhook_secret_key_id, webhook_secret_ciphertext, webhook_secret_event_id, time_zone,
            created_at
         from tenants where tenant_id = $1",
        tenant_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row.map(TenantRow::record))
}

/// All tenants, newest first: the operator's list.
///
/// # Errors
/// When the database does not answer.
pub async fn tenants(database: &Database, page: Page) -> Result<Vec<TenantRecord>, Error> {
    let rows = sqlx::query_as!(
        TenantRow,
        r#"select tenant_id as "tenant_id!", name as "name!", webhook_secret_key_id as "webhook_secret_key_id!",
            webhook_secret_ciphertext as "webhook_secret_ciphertext!",
            webhook_secret_event_id as "webhook_secret_event_id!", time_zone as "time_zone!",
            created_at as "created_at!"
         from all_tenants($1, $2)"#,
        page.after,
        page.limit
    )
    .fetch_all(database.app())
    .await?;
    Ok(rows.into_iter().map(TenantRow::record).collect())
}

/// The agent; `None` also when it was deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn agent(
    database: &Database,
    tenant_id: TenantId,
    agent_id: AgentId,
) -> Result<Option<AgentRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        AgentRow,
        r#"select tenant_id, agent_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from agents where tenant_id = $1 and agent_id = $2 and not deleted"#,
        tenant_id.0,
        agent_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(AgentRow::record).transpose()
}

/// The tenant's agents, newest first, without the deleted ones. `only`: of these; `None`: of all.
///
/// # Errors
/// When the database does not answer.
pub async fn agents(
    database: &Database,
    tenant_id: TenantId,
    only: Option<&[AgentId]>,
    page: Page,
) -> Result<Vec<AgentRecord>, Error> {
    let only = only.map(uuids);
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        AgentRow,
        r#"select tenant_id, agent_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from agents where tenant_id = $1 and ($2::uuid is null or agent_id < $2) and not deleted
            and ($4::uuid[] is null or agent_id = any($4))
         order by agent_id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
        only.as_deref() as _,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(AgentRow::record).collect()
}

/// What these agents are called, deleted ones too.
///
/// # Errors
/// When the database does not answer.
pub async fn agent_names(
    database: &Database,
    tenant_id: TenantId,
    agent_ids: &[AgentId],
) -> Result<HashMap<AgentId, String>, Error> {
    let ids = uuids(agent_ids);
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        r#"select agent_id, settings::text as "settings!" from agents where tenant_id = $1 and agent_id = any($2)"#,
        tenant_id.0,
        &ids
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    // Not `settings ->> 'name'`: Postgres refuses to take a name with a NUL out of JSON.
    rows.into_iter()
        .map(|row| Ok((AgentId(row.agent_id), parsed::<AgentSettings>("settings", &row.settings)?.name)))
        .collect()
}

/// # Errors
/// When the database does not answer.
pub async fn invoice(
    database: &Database,
    tenant_id: TenantId,
    number: &str,
) -> Result<Option<InvoiceRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query!(
        "select invoice_number, amount, currency, status, description from invoices
         where tenant_id = $1 and invoice_number = $2",
        tenant_id.0,
        &*text(number)
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| {
        Ok(InvoiceRecord {
            number: row.invoice_number,
            amount: row.amount,
            currency: row.currency,
            status: variant("status", &row.status, &INVOICE_STATUSES, InvoiceStatus::as_str)?,
            description: row.description,
        })
    })
    .transpose()
}

struct TenantRow {
    tenant_id: Uuid,
    name: String,
    webhook_secret_key_id: Uuid,
    webhook_secret_ciphertext: String,
    webhook_secret_event_id: Uuid,
    time_zone: String,
    created_at: DateTime<Utc>,
}

impl TenantRow {
    fn record(self) -> TenantRecord {
        TenantRecord {
            id: TenantId(self.tenant_id),
            name: self.name,
            webhook_secret: Sealed {
                key_id: self.webhook_secret_key_id,
                ciphertext: self.webhook_secret_ciphertext,
            },
            webhook_secret_sealed_for: EventId(self.webhook_secret_event_id),
            time_zone: self.time_zone,
            created_at: self.created_at,
        }
    }
}

struct AgentRow {
    tenant_id: Uuid,
    agent_id: Uuid,
    version: i64,
    settings: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    sequence: i64,
}

impl AgentRow {
    fn record(self) -> Result<AgentRecord, Error> {
        Ok(AgentRecord {
            id: AgentId(self.agent_id),
            tenant_id: TenantId(self.tenant_id),
            version: small(self.version),
            settings: parsed("settings", &self.settings)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            sequence: count(self.sequence),
        })
    }
}
