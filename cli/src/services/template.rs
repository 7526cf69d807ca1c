//! A stopped cluster with database and roles, kept beside the binaries: tests copy theirs from it in a fraction of the
//! time that `initdb` takes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sqlx::Connection;

use super::{
    Durability,
    account::{self, Account},
    binaries::PostgresPrograms,
    cluster::{self, Record},
    database::connect,
    lock,
    postgres::Postgres,
};

/// Makes it at the first use; other processes that want it meanwhile wait. One per version of Postgres.
pub async fn template(
    binaries_dir: &Path,
    programs: &PostgresPrograms,
    account: Option<&Account>,
) -> Result<Record> {
    let root = account::reachable(binaries_dir, account)?;
    let _lock = lock::hold(&root).await?;
    let home = root.join(format!("cluster-{}", programs.version));
    let record_path = home.join("postgres.json");
    if let Some(record) = Record::read(&record_path)? {
        return Ok(Record { home, ..record });
    }
    super::remove_dir(&home)?;
    create_open_dir(&home)?;
    let record = Record::new(home.clone())?;
    cluster::init(&record, programs, account).await?;
    let log: PathBuf = home.join("postgres.log");
    let postgres =
        Postgres::launch(record, programs.clone(), account.cloned(), Durability::Fast, log).await?;
    let record = postgres.record().clone();
    drop_unused_databases(&postgres).await.context("slimming the ready-made cluster")?;
    postgres.stop().await?;
    // The last step: a template with a record is complete.
    record.write(&record_path)?;
    Ok(record)
}

/// Nobody uses them, and a copy takes as long as it has files: each database has 300.
async fn drop_unused_databases(postgres: &Postgres) -> Result<()> {
    let mut database = connect(postgres.admin_url()).await?;
    for statement in [
        "drop database postgres",
        "update pg_database set datistemplate = false where datname = 'template0'",
        "drop database template0",
    ] {
        sqlx::raw_sql(statement).execute(&mut database).await?;
    }
    Ok(database.close().await?)
}

/// Open to the account Postgres runs under even when our umask is strict.
fn create_open_dir(dir: &Path) -> Result<()> {
    fs::create_dir(dir)
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("creating {}", dir.display()))
}
