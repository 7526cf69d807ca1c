//! What is asked about deliveries.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::webhook::{Callback, Recipient};
use events::{DeliveryId, EventId, Position, Sealed, TenantId, WebhookId};
use uuid::Uuid;

use super::DeliveryStatus;
use crate::column::{big, count, small};
use crate::database::{Database, Error, Page, parsed, variant};

/// One thing that one recipient is told.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRecord {
    pub id: DeliveryId,
    pub recipient: Recipient,
    pub event_type: String,
    pub event_id: EventId,
    pub body: String,
    pub seal_with: Uuid,
    pub status: DeliveryStatus,
    pub is_test: bool,
    /// Since it was queued last.
    pub attempts: u32,
    /// Of the last attempt, or why there are no more.
    pub error_code: Option<String>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// The event, which `response` is sealed for.
    pub id: EventId,
    pub number: u32,
    pub started_at: DateTime<Utc>,
    pub duration_ms: u64,
    pub status: Option<u16>,
    pub error_code: Option<String>,
    pub response: Option<Sealed>,
    pub response_cut: bool,
}

/// Which deliveries of a tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryFilter {
    pub webhook_id: Option<WebhookId>,
    pub status: Option<DeliveryStatus>,
}

/// The delivery.
///
/// # Errors
/// When the database does not answer.
pub async fn delivery(
    database: &Database,
    tenant_id: TenantId,
    delivery_id: DeliveryId,
) -> Result<Option<DeliveryRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        Row,
        r#"select delivery_id, webhook_id, callback::text as callback, event_type, event_id, body, seal_with, status,
            is_test, attempts, error_code, next_attempt_at, created_at, finished_at
         from webhook_deliveries where tenant_id = $1 and delivery_id = $2"#,
        tenant_id.0,
        delivery_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(Row::record).transpose()
}

/// The tenant's deliveries, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn deliveries(
    database: &Database,
    tenant_id: TenantId,
    filter: DeliveryFilter,
    page: Page,
) -> Result<Vec<DeliveryRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select delivery_id, webhook_id, callback::text as callback, event_type, event_id, body, seal_with, status,
            is_test, attempts, error_code, next_attempt_at, created_at, finished_at
         from webhook_deliveries
         where tenant_id = $1 and ($2::uuid is null or delivery_id < $2) and ($4::uuid is null or webhook_id = $4)
            and ($5::text is null or status = $5)
         order by delivery_id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
        filter.webhook_id.map(Uuid::from),
        filter.status.map(DeliveryStatus::as_str),
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Row::record).collect()
}

/// The attempts at these deliveries, the first one first.
///
/// # Errors
/// When the database does not answer.
pub async fn attempts(
    database: &Database,
    tenant_id: TenantId,
    delivery_ids: &[Uuid],
) -> Result<HashMap<DeliveryId, Vec<AttemptRecord>>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query!(
        "select attempt_id, delivery_id, number, started_at, duration_ms, status, error_code, response_key_id,
            response_ciphertext, response_cut
         from webhook_attempts where tenant_id = $1 and delivery_id = any($2) order by delivery_id, attempt_id",
        tenant_id.0,
        delivery_ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut attempts: HashMap<DeliveryId, Vec<AttemptRecord>> = HashMap::new();
    for row in rows {
        let response = row.response_key_id.zip(row.response_ciphertext);
        attempts.entry(DeliveryId(row.delivery_id)).or_default().push(AttemptRecord {
            id: EventId(row.attempt_id),
            number: small(row.number),
            started_at: row.started_at,
            duration_ms: count(row.duration_ms),
            status: row.status.and_then(|status| status.try_into().ok()),
            error_code: row.error_code,
            response: response.map(|(key_id, ciphertext)| Sealed { key_id, ciphertext }),
            response_cut: row.response_cut,
        });
    }
    Ok(attempts)
}

/// Whether what was queued at `queued` is known to be delivered since.
///
/// # Errors
/// When the database does not answer.
pub async fn is_delivered(
    database: &Database,
    tenant_id: TenantId,
    delivery_id: DeliveryId,
    queued: Position,
) -> Result<bool, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let found = sqlx::query_scalar!(
        r#"select exists (select from webhook_deliveries
            where tenant_id = $1 and delivery_id = $2 and status = 'delivered' and sequence > $3) as "found!""#,
        tenant_id.0,
        delivery_id.0,
        big(queued.sequence),
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found)
}

/// Whether the endpoint took anything since then.
///
/// # Errors
/// When the database does not answer.
pub async fn has_delivered_since(
    database: &Database,
    tenant_id: TenantId,
    webhook_id: WebhookId,
    since: DateTime<Utc>,
) -> Result<bool, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let found = sqlx::query_scalar!(
        r#"select exists (select from webhook_attempts
            where tenant_id = $1 and webhook_id = $2 and started_at >= $3 and error_code is null) as "found!""#,
        tenant_id.0,
        webhook_id.0,
        since,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found)
}

/// Some of an endpoint's deliveries that failed, and whether there are more.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    pub deliveries: Vec<DeliveryRecord>,
    pub more: bool,
}

/// Those of the endpoint's deliveries that failed and that were made since then, the oldest first; at most `most`.
///
/// # Errors
/// When the database does not answer.
pub async fn failed_since(
    database: &Database,
    tenant_id: TenantId,
    webhook_id: WebhookId,
    since: DateTime<Utc>,
    most: usize,
) -> Result<Failed, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let mut rows = sqlx::query_as!(
        Row,
        r#"select delivery_id, webhook_id, callback::text as callback, event_type, event_id, body, seal_with, status,
            is_test, attempts, error_code, next_attempt_at, created_at, finished_at
         from webhook_deliveries
         where tenant_id = $1 and webhook_id = $2 and created_at >= $3 and status = 'failed' and not is_test
         order by delivery_id limit $4"#,
        tenant_id.0,
        webhook_id.0,
        since,
        big(most + 1),
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let more = rows.len() > most;
    rows.truncate(most);
    let deliveries = rows.into_iter().map(Row::record).collect::<Result<_, _>>()?;
    Ok(Failed { deliveries, more })
}

struct Row {
    delivery_id: Uuid,
    webhook_id: Option<Uuid>,
    callback: Option<String>,
    event_type: String,
    event_id: Uuid,
    body: String,
    seal_with: Uuid,
    status: String,
    is_test: bool,
    attempts: i64,
    error_code: Option<String>,
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl Row {
    fn record(self) -> Result<DeliveryRecord, Error> {
        let recipient = match self.webhook_id {
            Some(webhook_id) => Recipient::Endpoint(WebhookId(webhook_id)),
            None => {
                let callback = self.callback.unwrap_or_default();
                Recipient::Callback(parsed::<Callback>("callback", &callback)?)
            }
        };
        Ok(DeliveryRecord {
            id: DeliveryId(self.delivery_id),
            recipient,
            event_type: self.event_type,
            event_id: EventId(self.event_id),
            body: self.body,
            seal_with: self.seal_with,
            status: variant("status", &self.status, &DeliveryStatus::ALL, DeliveryStatus::as_str)?,
            is_test: self.is_test,
            attempts: small(self.attempts),
            error_code: self.error_code,
            next_attempt_at: self.next_attempt_at,
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}
