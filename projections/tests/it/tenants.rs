//! Row-level security.

use events::{SessionId, TenantId};
use projections::{Config, Database, Page, configuration, transcripts};
use sqlx::PgPool;

use crate::project;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::{READ_SIDE, TestDatabase};
use crate::support::story::Story;

/// Every table with rows of tenants.
fn tenant_tables() -> impl Iterator<Item = &'static str> {
    READ_SIDE.into_iter().chain(["tenant_keys", "customer_keys", "key_uses", "snapshots"])
}

#[tokio::test]
async fn a_tenant_sees_its_own_rows_and_no_others() {
    let test = TestDatabase::start().await;
    let (mut one, mut two, log) = (Story::new(), Story::new(), MemoryLog::new(1));
    let session_id = SessionId::new();
    log.append_all(0, &one.setup());
    log.append(0, &one.session(session_id));
    let last = log.append_all(0, &two.setup());
    project(&test.database, &log, last).await;

    let db = &test.database;
    assert!(transcripts::session(db, one.tenant_id, session_id).await.unwrap().is_some());
    assert!(transcripts::session(db, two.tenant_id, session_id).await.unwrap().is_none());
    assert!(configuration::agent(db, two.tenant_id, one.agent_id).await.unwrap().is_none());
    assert_eq!(configuration::agents(db, two.tenant_id, None, Page::first(10)).await.unwrap().len(), 1);
}

/// Without the help of any `where`: the policies alone.
#[tokio::test]
async fn without_a_tenant_the_application_sees_nothing() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let last = crate::projecting::tell(&mut story, &log);
    project(&test.database, &log, last).await;
    // One connection, so that every statement here meets what the one before it left.
    let config = Config { url: test.url.clone(), max_connections: 1 };
    let database = Database::connect(&config).await.unwrap();

    let mut tx = database.tenant(story.tenant_id).await.unwrap();
    for table in ["sessions", "messages", "jobs", "archive", "usage_entries"] {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let own: i64 = sqlx::query_scalar(query).fetch_one(&mut *tx).await.unwrap();
        assert!(own > 0, "{table}");
    }
    tx.commit().await.unwrap();

    for tenant_id in [TenantId::new(), TenantId::SYSTEM] {
        let mut tx = database.tenant(tenant_id).await.unwrap();
        for table in tenant_tables() {
            let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            let foreign: i64 = sqlx::query_scalar(query).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(foreign, 0, "{table} for another tenant");
        }
        tx.rollback().await.unwrap();
    }

    let pool = app_pool(&test).await;
    for table in tenant_tables() {
        let query = format!("select count(*) from {table}");
        let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&pool).await.unwrap();
        assert_eq!(seen, 0, "{table} without a tenant");
    }
}

#[tokio::test]
async fn a_tenant_that_was_set_does_not_leak_to_the_connections_next_user() {
    let test = TestDatabase::start().await;
    let config = Config { url: test.url.clone(), max_connections: 1 };
    let database = Database::connect(&config).await.unwrap();
    let tenant_id = TenantId::new();
    let current = "select coalesce(current_setting('vocalbridge.tenant_id', true), '')";

    let mut tx = database.tenant(tenant_id).await.unwrap();
    let inside: String = sqlx::query_scalar(current).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(inside, tenant_id.to_string());
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();

    let other = TenantId::new();
    let mut tx = database.tenant(other).await.unwrap();
    let (next, again): (String, i32) =
        sqlx::query_as("select current_setting('vocalbridge.tenant_id', true), pg_backend_pid()")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    assert_eq!((next, again), (other.to_string(), pid), "the same connection, another tenant");
    sqlx::raw_sql("commit; begin").execute(&mut *tx).await.unwrap();
    let after: String = sqlx::query_scalar(current).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(after, "");
}

#[tokio::test]
async fn every_table_with_a_tenant_is_guarded_and_forced() {
    let test = TestDatabase::start().await;
    let unguarded: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'vocalbridge' and c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)
            and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id')",
    )
    .fetch_all(&test.admin)
    .await
    .unwrap();
    assert_eq!(unguarded, Vec::<String>::new());
    let owned: i64 = sqlx::query_scalar(
        "select count(*) from pg_class c join pg_roles r on r.oid = c.relowner
         where r.rolname in ('vocalbridge', 'vocalbridge_app', 'vocalbridge_projector')",
    )
    .fetch_one(&test.admin)
    .await
    .unwrap();
    assert_eq!(owned, 0);
}

#[tokio::test]
async fn the_application_writes_no_projection_and_the_projector_reads_no_key() {
    let test = TestDatabase::start().await;
    let pool = app_pool(&test).await;
    assert!(sqlx::query("delete from messages").execute(&pool).await.is_err());
    assert!(sqlx::query("update checkpoints set sequence = 0").execute(&pool).await.is_err());
    assert!(sqlx::query("create table mine ()").execute(&pool).await.is_err());
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("set role vocalbridge_projector").execute(&mut *connection).await.unwrap();
    assert!(sqlx::query("select * from customer_keys").execute(&mut *connection).await.is_err());
}

/// As the pool inside of `Database` does it.
async fn app_pool(test: &TestDatabase) -> PgPool {
    use secrecy::ExposeSecret;
    let options: sqlx::postgres::PgConnectOptions = test.url.expose_secret().parse().unwrap();
    let setup = sqlx::postgres::PgPoolOptions::new().max_connections(1).after_connect(|connection, _| {
        Box::pin(async move {
            sqlx::raw_sql("set role vocalbridge_app; set search_path to vocalbridge")
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    setup.connect_with(options).await.unwrap()
}
