//! The runner: two of them, a projection that cannot go on, a database that dies.

use std::time::Duration;

use events::{Position, SessionId};
use projections::Projection;
use projections::configuration::api_keys;

use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;
use crate::{Process, projecting};

/// Two runners, each killed in turn: nothing is applied twice, nothing is left out.
#[tokio::test]
async fn a_second_runner_stands_by_and_takes_over() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let one = Process::start(&test.database, &log);
    let two = Process::start(&test.database, &log);
    let last = projecting::tell(&mut story, &log);
    one.reaches(last).await;
    two.reaches(last).await;
    one.stop().await;
    let last = projecting::tell(&mut story, &log);
    two.reaches(last).await;
    two.stop().await;

    assert_level(&test, last).await;
    let expected = test.dump().await;
    sqlx::query("truncate checkpoints, tenants, api_keys, agents, invoices, custom_functions, mcp_servers, phone_numbers, twilio_accounts, sessions, messages, jobs, provider_calls, tool_executions, usage_entries, usage_rollups, closed_invoices, appointments, webhooks, webhook_deliveries, webhook_attempts, archive")
        .execute(&test.admin)
        .await
        .unwrap();
    crate::project(&test.database, &log, last).await;
    assert_eq!(test.dump().await, expected);
}

/// The ledger is made to refuse one entry. The others go on; when the cause is gone, so does the ledger.
#[tokio::test]
async fn a_projection_that_refuses_a_batch_stops_only_itself() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let (good, bad) = (SessionId::new(), SessionId::new());
    let process = Process::start(&test.database, &log);
    process.reaches(log.append_all(0, &story.answered(Story::chat(good)))).await;
    let poison = sqlx::AssertSqlSafe(format!(
        "alter table usage_entries add constraint poison check (session_id <> '{bad}')"
    ));
    sqlx::query(poison).execute(&test.admin).await.unwrap();

    log.append_all(0, &story.answered(Story::chat(bad)));
    let last = log.append_all(0, &story.answered(Story::chat(good)));
    for projection in Projection::ALL.into_iter().filter(|projection| *projection != Projection::Ledger) {
        process.reaches_in(projection, last).await;
    }
    let kept: i64 = sqlx::query_scalar("select sequence from checkpoints where projection = 'ledger'")
        .fetch_one(&test.admin)
        .await
        .unwrap();
    assert_eq!(kept, 4, "no event is skipped");

    sqlx::query("alter table usage_entries drop constraint poison").execute(&test.admin).await.unwrap();
    process.reaches(last).await;
    // It is level again, and goes with the others.
    process.reaches(log.append_all(0, &story.answered(Story::chat(good)))).await;
    process.stop().await;
    let entries: i64 =
        sqlx::query_scalar("select count(*) from usage_entries").fetch_one(&test.admin).await.unwrap();
    assert_eq!(entries, 4);
}

/// A projection that is new, or was set back, reads for itself and joins the others.
#[tokio::test]
async fn a_projection_that_lags_catches_up_while_the_others_go_on() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let mut last = Position { partition: 0, sequence: 0 };
    for _ in 0..40 {
        last = projecting::tell(&mut story, &log);
    }
    crate::project(&test.database, &log, last).await;
    let expected = test.dump().await;
    sqlx::query("update checkpoints set sequence = 0 where projection in ('jobs', 'archive')")
        .execute(&test.admin)
        .await
        .unwrap();
    sqlx::query("truncate jobs, archive").execute(&test.admin).await.unwrap();

    let process = Process::start(&test.database, &log);
    process.reaches(last).await;
    assert_eq!(test.dump().await, expected);
    process.reaches(projecting::tell(&mut story, &log)).await;
    process.stop().await;
}

#[tokio::test]
async fn a_database_that_crashes_and_comes_back_loses_nothing() {
    let mut test = TestDatabase::start_private().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let process = Process::start(&test.database, &log);
    let mut last = Position { partition: 0, sequence: 0 };
    for _ in 0..3 {
        for _ in 0..20 {
            last = projecting::tell(&mut story, &log);
        }
        // Early enough that batches are under way when the server dies.
        process.reaches_in(Projection::Jobs, Position { sequence: last.sequence - 1_200, ..last }).await;
        test.server.as_mut().unwrap().crash_and_restart();
    }
    process.reaches(last).await;
    process.stop().await;
    let first = test.dump().await;

    sqlx::query("truncate checkpoints, tenants, api_keys, agents, invoices, custom_functions, mcp_servers, phone_numbers, twilio_accounts, sessions, messages, jobs, provider_calls, tool_executions, usage_entries, usage_rollups, closed_invoices, appointments, webhooks, webhook_deliveries, webhook_attempts, archive")
        .execute(&test.admin)
        .await
        .unwrap();
    crate::project(&test.database, &log, last).await;
    assert_eq!(test.dump().await, first);
}

#[tokio::test]
async fn a_change_of_configuration_is_told_when_it_can_be_read() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let process = Process::start(&test.database, &log);
    process.reaches(log.append_all(0, &story.setup())).await;
    let mut changes = process.progress.config_changes();
    changes.mark_unchanged();

    log.append(0, &story.revoke_key());
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    let secrets = api_keys::of_prefix(&test.database, "vb_dev_4f9a1c").await.unwrap();
    assert!(secrets[0].key.revoked_at.is_some());
    process.stop().await;
}

#[tokio::test]
async fn waiting_for_what_never_comes_ends_in_time() {
    let test = TestDatabase::start().await;
    let log = MemoryLog::new(1);
    let process = Process::start(&test.database, &log);
    let never = Position { partition: 3, sequence: 1 };
    assert!(!process.progress.reached("jobs", never, Duration::from_millis(20)).await);
    assert!(!process.progress.reached("no such projection", never, Duration::from_secs(60)).await);
    process.stop().await;
}

async fn assert_level(test: &TestDatabase, last: Position) {
    let behind: i64 = sqlx::query_scalar("select count(*) from checkpoints where sequence <> $1")
        .bind(last.sequence as i64)
        .fetch_one(&test.admin)
        .await
        .unwrap();
    assert_eq!(behind, 0);
}
