//! Phone numbers, and tenants' own accounts with carriers.

use chrono::{DateTime, Utc};
use events::{AgentId, Event, EventId, Payload, Sealed, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{AgentRecord, AgentRow};
use crate::column::text;
use crate::database::{Database, Error, Page};

/// Which agent answers a number.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberRecord {
    /// Orders the tenant's numbers by when they were assigned.
    pub assignment_id: Uuid,
    pub tenant_id: TenantId,
    /// E.164.
    pub number: String,
    pub agent_id: AgentId,
    pub assigned_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A tenant's own Twilio account.
#[derive(Clone, Debug, PartialEq)]
pub struct TwilioRecord {
    pub account_sid: String,
    pub auth_token: Sealed,
    /// The event that `auth_token` is sealed for.
    pub auth_token_sealed_for: EventId,
    pub updated_at: DateTime<Utc>,
}

/// Writes what follows from one event, when it is about telephony.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let Event { envelope, payload } = event;
    let tenant_id = envelope.aggregate.tenant_id.0;
    let query = match payload {
        Payload::NumberAssigned(assigned) => sqlx::query!(
            "insert into phone_numbers as old (tenant_id, number, assignment_id, agent_id, released, assigned_at,
                updated_at, sequence)
             values ($1, $2, $3, $4, false, $5, $5, $6)
             on conflict on constraint phone_numbers_pkey do update set
                assignment_id = case when old.released then excluded.assignment_id else old.assignment_id end,
                assigned_at = case when old.released then excluded.assigned_at else old.assigned_at end,
                agent_id = excluded.agent_id, released = false, updated_at = excluded.updated_at,
                sequence = excluded.sequence
             where old.sequence < excluded.sequence",
            tenant_id,
            &*text(&assigned.number),
            envelope.id.0,
            assigned.agent_id.0,
            envelope.time,
            sequence,
        ),
        Payload::NumberReleased(released) => sqlx::query!(
            "update phone_numbers set released = true, updated_at = $3, sequence = $4
             where tenant_id = $1 and number = $2 and sequence < $4",
            tenant_id,
            &*text(&released.number),
            envelope.time,
            sequence,
        ),
        Payload::TwilioConfigured(account) => sqlx::query!(
            "insert into twilio_accounts as old (tenant_id, account_sid, auth_token_key_id, auth_token_ciphertext,
                auth_token_event_id, removed, updated_at, sequence)
             values ($1, $2, $3, $4, $5, false, $6, $7)
             on conflict on constraint twilio_accounts_pkey do update set
                account_sid = excluded.account_sid, auth_token_key_id = excluded.auth_token_key_id,
                auth_token_ciphertext = excluded.auth_token_ciphertext,
                auth_token_event_id = excluded.auth_token_event_id, removed = false,
                updated_at = excluded.updated_at, sequence = excluded.sequence
             where old.sequence < excluded.sequence",
            tenant_id,
            &*text(&account.account_sid),
            account.auth_token.key_id,
            &*text(&account.auth_token.ciphertext),
            envelope.id.0,
            envelope.time,
            sequence,
        ),
        Payload::TwilioRemoved(_) => sqlx::query!(
            "update twilio_accounts set removed = true, updated_at = $2, sequence = $3
             where tenant_id = $1 and sequence < $3",
            tenant_id,
            envelope.time,
            sequence,
        ),
        _ => return Ok(()),
    };
    query.execute(connection).await?;
    Ok(())
}

/// The tenant's numbers, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn numbers(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<NumberRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        NumberRow,
        r#"select tenant_id as "tenant_id!", number as "number!", assignment_id as "assignment_id!",
            agent_id as "agent_id!", assigned_at as "assigned_at!", updated_at as "updated_at!"
         from phone_numbers
         where tenant_id = $1 and ($2::uuid is null or assignment_id < $2) and not released
         order by assignment_id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows.into_iter().map(NumberRow::record).collect())
}

/// Everybody who has this number, whoever has it longest first.
///
/// # Errors
/// When the database does not answer.
pub async fn holders(database: &Database, number: &str) -> Result<Vec<NumberRecord>, Error> {
    let rows = sqlx::query_as!(
        NumberRow,
        r#"select tenant_id as "tenant_id!", number as "number!", assignment_id as "assignment_id!",
            agent_id as "agent_id!", assigned_at as "assigned_at!", updated_at as "updated_at!"
         from holders_of_phone_number($1)"#,
        number,
    )
    .fetch_all(database.app())
    .await?;
    Ok(rows.into_iter().map(NumberRow::record).collect())
}

/// The tenant's own account; `None`: it has none.
///
/// # Errors
/// When the database does not answer.
pub async fn twilio_account(database: &Database, tenant_id: TenantId) -> Result<Option<TwilioRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query!(
        "select account_sid, auth_token_key_id, auth_token_ciphertext, auth_token_event_id, updated_at
         from twilio_accounts where tenant_id = $1 and not removed",
        tenant_id.0,
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row.map(|row| TwilioRecord {
        account_sid: row.account_sid,
        auth_token: Sealed { key_id: row.auth_token_key_id, ciphertext: row.auth_token_ciphertext },
        auth_token_sealed_for: EventId(row.auth_token_event_id),
        updated_at: row.updated_at,
    }))
}

/// The tenant's first agent that is switched on; `None`: there is none.
///
/// # Errors
/// When the database does not answer.
pub async fn first_active_agent(
    database: &Database,
    tenant_id: TenantId,
) -> Result<Option<AgentRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        AgentRow,
        r#"select tenant_id, agent_id, version, settings::text as "settings!", created_at, updated_at, sequence
         from agents where tenant_id = $1 and not deleted and (settings->>'is_active')::boolean
         order by created_at, agent_id limit 1"#,
        tenant_id.0,
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(AgentRow::record).transpose()
}

struct NumberRow {
    tenant_id: Uuid,
    number: String,
    assignment_id: Uuid,
    agent_id: Uuid,
    assigned_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl NumberRow {
    fn record(self) -> NumberRecord {
        NumberRecord {
            assignment_id: self.assignment_id,
            tenant_id: TenantId(self.tenant_id),
            number: self.number,
            agent_id: AgentId(self.agent_id),
            assigned_at: self.assigned_at,
            updated_at: self.updated_at,
        }
    }
}
