//! System prompts among what tenants set up: as they are, in every version they had, and which one is the default.

use chrono::{DateTime, Utc};
use events::prompt::PromptSettings;
use events::{Event, Payload, PromptId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::column::{count, json, small};
use crate::database::{Database, Error, Page, parsed};

/// A prompt as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptRecord {
    pub id: PromptId,
    pub version: u32,
    pub settings: PromptSettings,
    /// New agents get it when they name no other.
    pub is_default: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A prompt as it was from `created_at` on.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptVersionRecord {
    pub version: u32,
    pub settings: PromptSettings,
    pub created_at: DateTime<Utc>,
}

/// Writes what follows from `event`, if it is about prompts.
pub(super) async fn apply(
    connection: &mut PgConnection,
    sequence: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    let tenant_id = event.envelope.aggregate.tenant_id.0;
    let (id, time) = (event.envelope.aggregate.id, event.envelope.time);
    let query = match &event.payload {
        Payload::PromptCreated(prompt) => sqlx::query!(
            "with version as (
                insert into prompt_versions (tenant_id, prompt_id, version, settings, created_at)
                values ($1, $2, 1, ($3::text)::json, $4) on conflict on constraint prompt_versions_pkey do nothing
             )
             insert into prompts (tenant_id, prompt_id, version, settings, deleted, created_at, updated_at, sequence)
             values ($1, $2, 1, ($3::text)::json, false, $4, $4, $5) on conflict on constraint prompts_pkey do nothing",
            tenant_id,
            id,
            json(&prompt.settings),
            time,
            sequence,
        )
        .execute(connection),
        Payload::PromptUpdated(prompt) => sqlx::query!(
            "with version as (
                insert into prompt_versions (tenant_id, prompt_id, version, settings, created_at)
                values ($1, $2, $3, ($4::text)::json, $5) on conflict on constraint prompt_versions_pkey do nothing
             )
             update prompts set version = $3, settings = ($4::text)::json, updated_at = $5, sequence = $6
             where tenant_id = $1 and prompt_id = $2 and sequence < $6",
            tenant_id,
            id,
            i64::from(prompt.version),
            json(&prompt.settings),
            time,
            sequence,
        )
        .execute(connection),
        Payload::PromptDeleted(_) => sqlx::query!(
            "update prompts set deleted = true, updated_at = $3, sequence = $4
             where tenant_id = $1 and prompt_id = $2 and sequence < $4",
            tenant_id,
            id,
            time,
            sequence,
        )
        .execute(connection),
        Payload::DefaultPromptChosen(chosen) => sqlx::query!(
            "insert into default_prompts (tenant_id, prompt_id, sequence) values ($1, $2, $3)
             on conflict on constraint default_prompts_pkey do update
                set prompt_id = excluded.prompt_id, sequence = excluded.sequence
                where excluded.sequence > default_prompts.sequence",
            tenant_id,
            chosen.prompt_id.map(|id| id.0),
            sequence,
        )
        .execute(connection),
        _ => return Ok(()),
    };
    query.await.map(|_| ())
}

/// The prompt; `None` also when it was deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn prompt(
    database: &Database,
    tenant_id: TenantId,
    prompt_id: PromptId,
) -> Result<Option<PromptRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        PromptRow,
        r#"select prompts.prompt_id, version, settings::text as "settings!",
            chosen.prompt_id is not null as "is_default!", created_at, updated_at
         from prompts left join default_prompts as chosen using (tenant_id, prompt_id)
         where tenant_id = $1 and prompts.prompt_id = $2 and not deleted"#,
        tenant_id.0,
        prompt_id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(PromptRow::record).transpose()
}

/// The tenant's prompts, newest first, without the deleted ones.
///
/// # Errors
/// When the database does not answer.
pub async fn prompts(
    database: &Database,
    tenant_id: TenantId,
    page: Page,
) -> Result<Vec<PromptRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        PromptRow,
        r#"select prompts.prompt_id, version, settings::text as "settings!",
            chosen.prompt_id is not null as "is_default!", created_at, updated_at
         from prompts left join default_prompts as chosen using (tenant_id, prompt_id)
         where tenant_id = $1 and ($2::uuid is null or prompts.prompt_id < $2) and not deleted
         order by prompts.prompt_id desc limit $3"#,
        tenant_id.0,
        page.after,
        page.limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(PromptRow::record).collect()
}

/// Those of `prompt_ids` that there are, and the tenant's default if it has one; none that was deleted.
///
/// # Errors
/// When the database does not answer.
pub async fn named_or_default(
    database: &Database,
    tenant_id: TenantId,
    prompt_ids: &[PromptId],
) -> Result<Vec<PromptRecord>, Error> {
    let ids: Vec<Uuid> = prompt_ids.iter().map(|id| id.0).collect();
    let mut tx = database.tenant(tenant_id).await?;
    let rows = sqlx::query_as!(
        PromptRow,
        r#"select prompts.prompt_id, version, settings::text as "settings!",
            chosen.prompt_id is not null as "is_default!", created_at, updated_at
         from prompts left join default_prompts as chosen using (tenant_id, prompt_id)
         where tenant_id = $1 and (prompts.prompt_id = any($2) or chosen.prompt_id is not null) and not deleted"#,
        tenant_id.0,
        &ids
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(PromptRow::record).collect()
}

/// Versions of the prompt, deleted or not, newest first, at most `limit`, below `before` when there is one. `None`: the
/// tenant never had such a prompt.
///
/// # Errors
/// When the database does not answer.
pub async fn versions(
    database: &Database,
    tenant_id: TenantId,
    prompt_id: PromptId,
    before: Option<u32>,
    limit: i64,
) -> Result<Option<Vec<PromptVersionRecord>>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let known = sqlx::query_scalar!(
        r#"select exists (select from prompts where tenant_id = $1 and prompt_id = $2) as "known!""#,
        tenant_id.0,
        prompt_id.0
    )
    .fetch_one(&mut *tx)
    .await?;
    let rows = sqlx::query_as!(
        VersionRow,
        r#"select version, settings::text as "settings!", created_at from prompt_versions
         where tenant_id = $1 and prompt_id = $2 and ($3::int8 is null or version < $3)
         order by version desc limit $4"#,
        tenant_id.0,
        prompt_id.0,
        before.map(i64::from),
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    known.then(|| rows.into_iter().map(VersionRow::record).collect()).transpose()
}

/// One version of the prompt, deleted or not; with `version` `None` the newest.
///
/// # Errors
/// When the database does not answer.
pub async fn version(
    database: &Database,
    tenant_id: TenantId,
    prompt_id: PromptId,
    version: Option<u32>,
) -> Result<Option<PromptVersionRecord>, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let row = sqlx::query_as!(
        VersionRow,
        r#"select version, settings::text as "settings!", created_at from prompt_versions
         where tenant_id = $1 and prompt_id = $2 and ($3::int8 is null or version = $3)
         order by version desc limit 1"#,
        tenant_id.0,
        prompt_id.0,
        version.map(i64::from),
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(VersionRow::record).transpose()
}

/// The agents that use the prompt, without the deleted ones.
///
/// # Errors
/// When the database does not answer.
pub async fn users(database: &Database, tenant_id: TenantId, prompt_id: PromptId) -> Result<u64, Error> {
    let mut tx = database.tenant(tenant_id).await?;
    let users = sqlx::query_scalar!(
        r#"select count(*) as "users!" from agents where tenant_id = $1 and system_prompt_id = $2 and not deleted"#,
        tenant_id.0,
        prompt_id.0
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(count(users))
}

struct PromptRow {
    prompt_id: Uuid,
    version: i64,
    settings: String,
    is_default: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl PromptRow {
    fn record(self) -> Result<PromptRecord, Error> {
        Ok(PromptRecord {
            id: PromptId(self.prompt_id),
            version: small(self.version),
            settings: parsed("settings", &self.settings)?,
            is_default: self.is_default,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

struct VersionRow {
    version: i64,
    settings: String,
    created_at: DateTime<Utc>,
}

impl VersionRow {
    fn record(self) -> Result<PromptVersionRecord, Error> {
        let settings = parsed("settings", &self.settings)?;
        Ok(PromptVersionRecord { version: small(self.version), settings, created_at: self.created_at })
    }
}
