//! One database, two roles: the application's pool with its transaction that sees one tenant only, and the projectors'
//! connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use events::TenantId;
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, PgTransaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// How long a caller waits for a connection, also while Postgres is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Those that reserve at the moment; of one more, a reservation waits in Postgres alone.
const RESERVING_TENANTS: usize = 10_000;
/// A connection that rested longer is tried out before it is handed on: Postgres may have gone away meanwhile.
const TRUSTED_REST: Duration = Duration::from_secs(1);

/// Where the read side is kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`.
    pub url: SecretString,
    /// Of the application's pool. Beside it every runner and rebuild holds a connection of its own.
    pub max_connections: u32,
}

/// The database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres is away, starting, or has no connection left: trying again later may help.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// It will refuse again.
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
    #[error("column {column} holds {value:?}, which this program cannot read")]
    Unreadable { column: &'static str, value: String },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

/// Whether the fault lies with the connection or the server's state, and not with what was asked.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        // Classes of SQLSTATE: connection, transaction rolled back, resources, lock not available, operator intervention.
        sqlx::Error::Database(refusal) => refusal.code().is_some_and(|code| {
            ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// The read side's database. Cheap to clone; its pool mends itself after Postgres was away.
#[derive(Clone, Debug)]
pub struct Database {
    app: PgPool,
    options: PgConnectOptions,
    reserving: Arc<Cache<TenantId, Arc<Mutex<()>>>>,
}

const APP_SETUP: &str = "set role vocalbridge_app; set search_path to vocalbridge";
/// A commit of the projectors need not reach the disk at once: rows and checkpoint are lost together, and the log
/// gives both back. A projector that hangs in a transaction gives its checkpoints free for another.
const PROJECTOR_SETUP: &str = "set role vocalbridge_projector; set search_path to vocalbridge; \
    set synchronous_commit to off; set idle_in_transaction_session_timeout to '30s'";

impl Database {
    /// # Errors
    /// When the URL cannot be read or Postgres does not answer.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let options: PgConnectOptions = config.url.expose_secret().parse()?;
        let options = options.application_name("vocalbridge");
        let app = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .before_acquire(|connection, rest| {
                Box::pin(async move {
                    if rest.idle_for > TRUSTED_REST {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(APP_SETUP).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_with(options.clone())
            .await?;
        Ok(Self { app, options, reserving: Arc::new(Cache::new(RESERVING_TENANTS)) })
    }

    /// A transaction that sees the rows of one tenant. The tenant is set for the transaction only: a plain `set` would
    /// stay on the connection and leak to its next user.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn tenant(&self, tenant_id: TenantId) -> Result<PgTransaction<'static>, Error> {
        // One round trip instead of two. Nothing but a UUID's own characters is put into the statement.
        let begin = format!("begin; set local vocalbridge.tenant_id = '{tenant_id}'");
        Ok(self.app.begin_with(AssertSqlSafe(begin)).await?)
    }

    /// A tenant's reservations are made one after the other, in Postgres too. Whoever waits there holds a connection, and
    /// the flood of one tenant would hold them all; so they wait here.
    pub(crate) async fn turn_to_reserve(&self, tenant_id: TenantId) -> Result<OwnedMutexGuard<()>, Error> {
        let queue =
            match self.reserving.get_or_insert_with(&tenant_id, || Ok::<_, Infallible>(Arc::default())) {
                Ok(queue) => queue,
                Err(never) => match never {},
            };
        timeout(PATIENCE, queue.lock_owned()).await.map_err(|_| sqlx::Error::PoolTimedOut.into())
    }

    /// For the few questions that are asked before a tenant is known.
    pub(crate) fn app(&self) -> &PgPool {
        &self.app
    }

    /// A projector's own connection: a runner keeps one as long as it lives, so a pool would only stand in the way.
    pub(crate) async fn projector(&self) -> Result<PgConnection, Error> {
        let connect = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            sqlx::raw_sql(PROJECTOR_SETUP).execute(&mut connection).await?;
            Ok(connection)
        };
        timeout(PATIENCE, connect).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Error::from)
    }

    /// Whether Postgres answers, for the health report.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::raw_sql("select 1").execute(&self.app).await?;
        Ok(())
    }

    pub async fn close(&self) {
        self.app.close().await;
    }
}

/// The schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("cannot prepare the roles and the schema")]
    Prepare(#[from] sqlx::Error),
    #[error("a migration failed")]
    Migrate(#[from] MigrateError),
}

/// Brings the schema up to date and lets `login_role`, the role that `DATABASE_URL` names, act as the application and
/// as the projectors. `admin_url` names the same database as a role that may create roles; safe to run again, and by
/// several at once.
///
/// # Errors
/// When the administrator lacks a right or a migration fails.
pub async fn migrate(admin_url: &SecretString, login_role: &str) -> Result<(), MigrationError> {
    let mut connection = PgConnection::connect(admin_url.expose_secret()).await?;
    // The session's end releases it.
    sqlx::raw_sql("select pg_advisory_lock(hashtext('vocalbridge.migrate'))")
        .execute(&mut connection)
        .await?;
    for role in ["vocalbridge_owner", "vocalbridge_app", "vocalbridge_projector"] {
        let create = format!(
            "do $$ begin if not exists (select from pg_roles where rolname = '{role}') then create role {role} nologin; \
             end if; end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
    }
    let (database, login): (String, String) =
        sqlx::query_as("select quote_ident(current_database()), quote_ident($1)")
            .bind(login_role)
            .fetch_one(&mut connection)
            .await?;
    // The login role takes a role on with `set role`; inheriting both would undo their separation. A rebuild needs
    // temporary tables.
    let grants = format!(
        "grant vocalbridge_owner to current_user;
         alter role {login} noinherit;
         grant vocalbridge_app, vocalbridge_projector to {login};
         grant temporary on database {database} to vocalbridge_projector;
         create schema if not exists vocalbridge authorization vocalbridge_owner;
         set role vocalbridge_owner;
         set search_path to vocalbridge;
         grant usage on schema vocalbridge to vocalbridge_app, vocalbridge_projector"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut connection).await?;
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Which part of a list is wanted: newest first, at most `limit`, those that come after the row with the id `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: i64,
    /// The id of the last row of the page before; ids are UUIDv7, so they order by time.
    pub after: Option<uuid::Uuid>,
}

impl Page {
    pub fn first(limit: i64) -> Self {
        Self { limit, after: None }
    }
}

/// Finds the variant that is written as `value`.
pub(crate) fn variant<T: Copy>(
    column: &'static str,
    value: &str,
    variants: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, Error> {
    let found = variants.iter().copied().find(|variant| name(*variant) == value);
    found.ok_or_else(|| Error::Unreadable { column, value: value.to_owned() })
}

/// Parses a JSON column.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(column: &'static str, value: &str) -> Result<T, Error> {
    serde_json::from_str(value).map_err(|_| Error::Unreadable { column, value: value.to_owned() })
}
