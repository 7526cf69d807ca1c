//! Projection `webhooks`: tenants' endpoints, what is sent to them and to addresses that messages bring along, and every
//! attempt at it.

mod deliveries;
mod queries;

use chrono::{DateTime, Utc};
use events::webhook::{DisabledReason, WebhookSettings};
use events::{Entry, Event, Payload, TenantId, WebhookId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{json, readable, small};
use crate::database::{Database, Error, Page, parsed, variant};
use crate::projection::Table;

pub use queries::{
    AttemptRecord, DeliveryFilter, DeliveryRecord, Failed, attempts, deliveries, delivery, failed_since,
    has_delivered_since, is_delivered,
};

pub(crate) const TABLES: &[Table] = &[
    Table { name: "webhooks", key: &["tenant_id", "webhook_id"] },
    Table { name: "webhook_deliveries", key: &["tenant_id", "delivery_id"] },
    Table { name: "webhook_attempts", key: &["tenant_id", "attempt_id"] },
];

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    Pending,
    Delivered,
    Failed,
}

impl DeliveryStatus {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// An endpoint as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookRecord {
    pub id: WebhookId,
    pub version: u32,
    pub settings: WebhookSettings,
    /// `None`: we did not switch it off, or it is on again.
    pub disabled: Option<(DisabledReason, DateTime<Utc>)>,
    pub previous_secret_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub(crate) async fn apply(connection: &mut PgConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for (sequence, event) in readable(entries) {
        apply_endpoint(&mut *connection, sequence, event).await?;
    }
    deliveries::apply(connection, entries).await
}

/// These are rare, so each is written by itself.
async fn apply_endpoint(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let Event { envelope, payload } = event;
    let tenant_id = envelope.aggregate.tenant_id.0;
    let query = match payload {
        Payload::WebhookCreated(created) => sqlx::query!(
            "insert into webhooks (tenant_id, webhook_id, version, settings, deleted, created_at, updated_at, sequence)
             values ($1, $2, 1, ($3::text)::json, false, $4, $4, $5) on conflict on constraint webhooks_pkey do nothing",
            tenant_id,
            created.webhook_id.0,
            json(&created.settings),
            envelope.time,
            sequence,
        ),
        Payload::WebhookChanged(changed) => sqlx::query!(
            "update webhooks set version = $3, settings = ($4::text)::json, updated_at = $5, sequence = $6,
                disabled_reason = case when $7 then null else disabled_reason end,
                disabled_at = case when $7 then null else disabled_at end
             where tenant_id = $1 and webhook_id = $2 and sequence < $6",
            tenant_id,
            changed.webhook_id.0,
            i64::from(changed.version),
            json(&changed.settings),
            envelope.time,
            sequence,
            changed.settings.is_active,
        ),
        Payload::WebhookSecretRotated(rotated) => sqlx::query!(
            "update webhooks set previous_secret_until = $3, updated_at = $4, sequence = $5
             where tenant_id = $1 and webhook_id = $2 and sequence < $5",
            tenant_id,
            rotated.webhook_id.0,
            rotated.previous_until,
            envelope.time,
            sequence,
        ),
        Payload::WebhookDisabled(disabled) => sqlx::query!(
            "update webhooks set disabled_reason = $3, disabled_at = $4, updated_at = $4, sequence = $5
             where tenant_id = $1 and webhook_id = $2 and sequence < $5",
            tenant_id,
            disabled.webhook_id.0,
            disabled.reason.as_str(),
            envelope.time,
            sequence,
        ),
        Payload::WebhookDeleted(deleted) => sqlx::query!(
            "update webhooks set deleted = true, updated_at = $3, sequence = $4
             where tenant_id = $1 and webhook_id = $2 and sequence < $4",
            tenant_id,
            deleted.webhook_id.0,
            envelope.time,
            sequence,
        ),
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// The endpoint; `None` also when it was deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn webhook(
    database: &Database,
    tenant_id: TenantId,
    webhook_id: WebhookId,
) -> Result<Option<WebhookRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        Row,
        r#"select webhook_id, version, settings::text as "settings!", disabled_reason, disabled_at,
            previous_secret_until, created_at, updated_at
         from webhooks where tenant_id = $1 and webhook_id = $2 and not deleted"#,
        tenant_id.0,
        webhook_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(Row::record).transpose()
}

/// The tenant's endpoints, newest first, without the deleted ones.
///
/// # Errors
/// When the database does not answer.
pub async fn webhooks(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<WebhookRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select webhook_id, version, settings::text as "settings!", disabled_reason, disabled_at,
            previous_secret_until, created_at, updated_at
         from webhooks where tenant_id = $1 and ($2::uuid is null or webhook_id < $2) and not deleted
         order by webhook_id desc limit $3"#,
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
    webhook_id: Uuid,
    version: i64,
    settings: String,
    disabled_reason: Option<String>,
    disabled_at: Option<DateTime<Utc>>,
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Row {
    fn record(self) -> Result<WebhookRecord, Error> {
        let settings: WebhookSettings = parsed("settings", &self.settings)?;
        let reason = self
            .disabled_reason
            .map(|reason| variant("disabled_reason", &reason, &DisabledReason::ALL, DisabledReason::as_str));
        let disabled = reason.transpose()?.zip(self.disabled_at);
        // A disabled endpoint's settings are what the tenant set, and say so when it is switched on again.
        let is_active = settings.is_active && disabled.is_none();
        Ok(WebhookRecord {
            id: WebhookId(self.webhook_id),
            version: small(self.version),
            settings: WebhookSettings { is_active, ..settings },
            disabled,
            previous_secret_until: self.previous_secret_until,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}
