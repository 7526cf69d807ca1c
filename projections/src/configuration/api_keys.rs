//! API keys, their secrets, and when they were last used.

use chrono::{DateTime, Utc};
use events::tenant::Role;
use events::{AgentId, ApiKeyId, Event, Payload, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{column, count, small, text, uuids};
use crate::database::{Database, Error, Page, variant};

/// An API key, revoked and expired ones too: the caller judges.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecord {
    pub key_id: ApiKeyId,
    pub tenant_id: TenantId,
    pub name: String,
    pub role: Role,
    /// The part of its newest secret that may be shown.
    pub prefix: String,
    /// `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// The only agents that it reaches; `None`: all of the tenant.
    pub agent_ids: Option<Vec<AgentId>>,
    /// `None`: no limit of its own.
    pub requests_per_minute: Option<u32>,
    /// Of the key's newest event.
    pub sequence: u64,
}

/// A key and one of its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySecret {
    pub key: KeyRecord,
    /// Lower-case hex SHA-256 of the whole key.
    pub hash: String,
    /// The secret stops working then; `None`: with the key.
    pub ends_at: Option<DateTime<Utc>>,
}

/// A key as its tenant sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedKey {
    pub key: KeyRecord,
    /// `None`: never, as far as is known.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub tenant_id: TenantId,
    pub key_id: ApiKeyId,
    pub at: DateTime<Utc>,
}

const ROLES: [Role; 3] = [Role::Admin, Role::Developer, Role::Viewer];

pub(crate) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let envelope = &event.envelope;
    let (tenant_id, key_id) = (envelope.aggregate.tenant_id.0, envelope.aggregate.id);
    match &event.payload {
        Payload::KeyCreated(key) => {
            let agent_ids = key.agent_ids.as_deref().map(uuids);
            sqlx::query!(
                "insert into api_keys (tenant_id, key_id, name, role, prefix, expires_at, created_at, sequence,
                    agent_ids, requests_per_minute)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict on constraint api_keys_pkey do nothing",
                tenant_id,
                key_id,
                &*text(&key.name),
                key.role.as_str(),
                &*text(&key.prefix),
                key.expires_at,
                envelope.time,
                sequence,
                agent_ids.as_deref(),
                key.requests_per_minute.map(i64::from),
            )
            .execute(&mut *connection)
            .await?;
            add_secret(connection, sequence, event, &key.prefix, &key.key_hash).await
        }
        Payload::KeyRotated(rotated) => {
            sqlx::query!(
                "update api_keys set prefix = $3, sequence = $4
                 where tenant_id = $1 and key_id = $2 and sequence < $4",
                tenant_id,
                key_id,
                &*text(&rotated.prefix),
                sequence,
            )
            .execute(&mut *connection)
            .await?;
            // `least` passes over a null: a secret that had no end has one now.
            sqlx::query!(
                "update api_key_secrets set ends_at = least(ends_at, $3)
                 where tenant_id = $1 and key_id = $2 and sequence < $4",
                tenant_id,
                key_id,
                rotated.previous_ends_at,
                sequence,
            )
            .execute(&mut *connection)
            .await?;
            add_secret(connection, sequence, event, &rotated.prefix, &rotated.key_hash).await
        }
        Payload::KeyRevoked(_) => {
            sqlx::query!(
                "update api_keys set revoked_at = $3, sequence = $4
                 where tenant_id = $1 and key_id = $2 and sequence < $4",
                tenant_id,
                key_id,
                envelope.time,
                sequence,
            )
            .execute(connection)
            .await?;
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn add_secret(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
    prefix: &str,
    key_hash: &str,
) -> Result<(), sqlx::Error> {
    let aggregate = event.envelope.aggregate;
    sqlx::query!(
        "insert into api_key_secrets (tenant_id, key_id, prefix, key_hash, sequence)
         values ($1, $2, $3, $4, $5) on conflict on constraint api_key_secrets_pkey do nothing",
        aggregate.tenant_id.0,
        aggregate.id,
        &*text(prefix),
        &*text(key_hash),
        sequence,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The secrets whose part that may be shown is `prefix`, whoever's they are: one, unless chance or somebody who tries
/// them out made two the same. The caller compares the hashes.
///
/// # Errors
/// When the database does not answer.
pub async fn of_prefix(database: &Database, prefix: &str) -> Result<Vec<KeySecret>, Error> {
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant_id!", key_id as "key_id!", name as "name!", role as "role!",
            prefix as "prefix!", expires_at, revoked_at, created_at as "created_at!", agent_ids,
            requests_per_minute, sequence as "sequence!", key_hash as "key_hash!", ends_at
         from api_keys_of_prefix($1)"#,
        &*text(prefix)
    )
    .fetch_all(database.app())
    .await?;
    rows.into_iter()
        .map(|row| {
            let key = KeyRow {
                tenant_id: row.tenant_id,
                key_id: row.key_id,
                name: row.name,
                role: row.role,
                prefix: row.prefix,
                expires_at: row.expires_at,
                revoked_at: row.revoked_at,
                created_at: row.created_at,
                agent_ids: row.agent_ids,
                requests_per_minute: row.requests_per_minute,
                sequence: row.sequence,
                last_used_at: None,
            };
            Ok(KeySecret { key: key.listed()?.key, hash: row.key_hash, ends_at: row.ends_at })
        })
        .collect()
}

/// The tenant's keys, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(database: &Database, tenant_id: TenantId, page: Page) -> Result<Vec<ListedKey>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        KeyRow,
        "select keys.tenant_id, keys.key_id, name, role, prefix, expires_at, revoked_at, created_at, agent_ids,
            requests_per_minute, sequence, uses.last_used_at as \"last_used_at?\"
         from api_keys as keys
            left join key_uses as uses on uses.tenant_id = keys.tenant_id and uses.key_id = keys.key_id
         where keys.tenant_id = $1 and ($2::uuid is null or keys.key_id < $2) order by keys.key_id desc limit $3",
        tenant_id.0,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(KeyRow::listed).collect()
}

/// Keeps when keys were used; an older time than the one that is kept changes nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn note_uses(database: &Database, uses: &[KeyUse]) -> Result<(), Error> {
    sqlx::query!(
        r#"select note_key_uses($1, $2, $3) as "noted""#,
        column!(uses, |used| used.tenant_id.0) as _,
        column!(uses, |used| used.key_id.0) as _,
        column!(uses, |used| used.at) as _,
    )
    .execute(database.app())
    .await?;
    Ok(())
}

struct KeyRow {
    tenant_id: Uuid,
    key_id: Uuid,
    name: String,
    role: String,
    prefix: String,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    agent_ids: Option<Vec<Uuid>>,
    requests_per_minute: Option<i64>,
    sequence: i64,
    last_used_at: Option<DateTime<Utc>>,
}

impl KeyRow {
    fn listed(self) -> Result<ListedKey, Error> {
        let key = KeyRecord {
            key_id: ApiKeyId(self.key_id),
            tenant_id: TenantId(self.tenant_id),
            name: self.name,
            role: variant("role", &self.role, &ROLES, Role::as_str)?,
            prefix: self.prefix,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            created_at: self.created_at,
            agent_ids: self.agent_ids.map(|ids| ids.into_iter().map(AgentId).collect()),
            requests_per_minute: self.requests_per_minute.map(small),
            sequence: count(self.sequence),
        };
        Ok(ListedKey { key, last_used_at: self.last_used_at })
    }
}
