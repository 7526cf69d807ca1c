//! Rebuilding and comparing.

use projections::Projection;
use projections::rebuild::{Options, rebuild};

use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;
use crate::{Process, project, projecting};

#[tokio::test]
async fn a_rebuild_equals_the_live_tables() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let last = projecting::tell(&mut story, &log);
    log.append_undecodable(0, story.time(), b"?");
    project(&test.database, &log, last).await;

    let mut told = 0;
    let reports = rebuild(&test.database, &log, &Projection::ALL, Options::default(), |events| told = events)
        .await
        .unwrap();
    assert_eq!(reports.len(), Projection::ALL.len());
    assert!(told >= last.sequence);
    for report in reports {
        assert_eq!(report.differences, vec![], "{}", report.projection);
        assert!(report.events >= last.sequence);
    }
}

#[tokio::test]
async fn a_rebuild_beside_a_busy_runner_equals_too() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let process = Process::start(&test.database, &log);
    process.reaches(projecting::tell(&mut story, &log)).await;
    let busy = async {
        for _ in 0..30 {
            projecting::tell(&mut story, &log);
            tokio::task::yield_now().await;
        }
    };
    let (reports, ()) =
        tokio::join!(rebuild(&test.database, &log, &Projection::ALL, Options::default(), |_| {}), busy);
    for report in reports.unwrap() {
        assert_eq!(report.differences, vec![], "{}", report.projection);
    }
    process.stop().await;
}

#[tokio::test]
async fn an_edited_a_lost_and_an_invented_row_are_reported_exactly() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let last = projecting::tell(&mut story, &log);
    project(&test.database, &log, last).await;
    let (tenant_id, job_id, session_id): (uuid::Uuid, uuid::Uuid, uuid::Uuid) = sqlx::query_as(
        "update jobs set cost_usd = 1 where job_id = (select job_id from jobs where status = 'succeeded' limit 1)
         returning tenant_id, job_id, session_id",
    )
    .fetch_one(&test.admin)
    .await
    .unwrap();
    let lost: String = sqlx::query_scalar(
        "delete from messages where sequence = (select min(sequence) from messages)
         returning tenant_id || '/' || session_id || '/' || sequence",
    )
    .fetch_one(&test.admin)
    .await
    .unwrap();
    sqlx::query("insert into usage_entries (tenant_id, attempt_id, session_id, job_id, agent_id, channel, provider, model, outcome,
            tokens_in, tokens_out, estimated, price_version, cost_usd, occurred_at, sequence, partition, belongs_at)
        select tenant_id, session_id, session_id, job_id, agent_id, channel, provider,
            model, outcome, 1, 1, true, 'x', 1, occurred_at, 1, 0, occurred_at from usage_entries where job_id = $1")
        .bind(job_id)
        .execute(&test.admin)
        .await
        .unwrap();

    let reports =
        rebuild(&test.database, &log, &Projection::ALL, Options { swap: true }, |_| {}).await.unwrap();
    let found: Vec<_> = reports.iter().flat_map(|report| &report.differences).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    let of = |table| *found.iter().find(|difference| difference.table == table).unwrap();
    let edited = of("jobs");
    assert_eq!((edited.key.clone(), edited.column.as_str()), (format!("{tenant_id}/{job_id}"), "cost_usd"));
    assert_eq!(edited.live.as_deref(), Some("1.000000000000"));
    assert_eq!(edited.rebuilt.as_deref(), Some("0.000246000000"));
    assert_eq!((&of("messages").key, of("messages").column.as_str()), (&lost, "*"));
    assert_eq!((of("messages").live.as_deref(), of("messages").rebuilt.is_some()), (None, true));
    let invented = of("usage_entries");
    assert_eq!((&invented.key, invented.rebuilt.as_deref()), (&format!("{tenant_id}/{session_id}"), None));
    let json = serde_json::to_value(&reports[0]).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["differences", "events", "projection", "seconds"]);

    // The swap put it right.
    let reports = rebuild(&test.database, &log, &Projection::ALL, Options::default(), |_| {}).await.unwrap();
    assert!(reports.iter().all(|report| report.differences.is_empty()));
    // And the runner goes on from there.
    let process = Process::start(&test.database, &log);
    process.reaches(projecting::tell(&mut story, &log)).await;
    process.stop().await;
}
