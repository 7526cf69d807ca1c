//! What is in the cluster: our database, its roles, and how they are reached.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::cluster::{Record, SUPERUSER};

pub const DATABASE: &str = "vocalbridge";
pub const ROLE: &str = "vocalbridge";
/// There in every cluster, also in the tests' (see `template`): where to look before our own exists.
pub const MAINTENANCE: &str = "template1";
const ROLES: &str = include_str!("../../../docker/postgres-init.sql");

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

pub fn url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

pub async fn connect(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse().context("our own address")?;
    let options = options.disable_statement_logging();
    let connection = tokio::time::timeout(CONNECT_LIMIT, options.connect()).await;
    connection.context("Postgres does not answer")?.context("connecting to Postgres")
}

/// Takes up wherever an interrupted first start left off.
pub async fn ensure_database(admin_url: &str, record: &Record) -> Result<()> {
    let mut maintenance = connect(admin_url).await?;
    let exists = "select exists (select from pg_database where datname = $1)";
    if !sqlx::query_scalar::<_, bool>(exists).bind(DATABASE).fetch_one(&mut maintenance).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("create database {DATABASE}"))).execute(&mut maintenance).await?;
    }
    let exists = "select exists (select from pg_roles where rolname = $1)";
    if !sqlx::query_scalar::<_, bool>(exists).bind(ROLE).fetch_one(&mut maintenance).await? {
        let port = record.port.ok_or_else(|| anyhow!("no port yet"))?;
        let mut database = connect(&url(SUPERUSER, &record.admin_password, port, DATABASE)).await?;
        // One message is one transaction: roles and password appear together.
        let password = format!("alter role {ROLE} password '{}'", record.password);
        sqlx::raw_sql(AssertSqlSafe(format!("{ROLES}\n{password};"))).execute(&mut database).await?;
        database.close().await?;
    }
    Ok(maintenance.close().await?)
}
