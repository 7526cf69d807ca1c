//! What stands on an invoice does not depend on which partition was applied first.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Month, Zone, invoices as months};
use events::billing::InvoiceClosed;
use events::call::{SpeechKind, SpeechMetered, SpeechOutcome, SpeechWorkMetered};
use events::{Aggregate, CallId, SessionId};
use projections::ledger::invoices::{self, Bounds, Earlier, InvoiceLine};
use projections::{Page, Progress, Projection, runner};
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::PATIENCE;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;

const PARTITIONS: u16 = 3;

/// A piece of work of so many cents.
fn work(story: &mut Story, log: &MemoryLog, partition: u16, at: DateTime<Utc>, cents: i64) {
    let work = SpeechWorkMetered {
        kind: SpeechKind::Synthesis,
        job_id: None,
        agent_id: story.agent_id,
        session_id: SessionId::new(),
        provider: "azure".to_owned(),
        model: "hd".to_owned(),
        audio_ms: 1_000,
        characters: 10,
        outcome: SpeechOutcome::Succeeded,
        metered: SpeechMetered {
            cost_usd: Decimal::new(cents, 2),
            price_version: "global:1".to_owned(),
            estimated: false,
        },
    };
    let mut event = story.event(Aggregate::call(story.tenant_id, CallId::new()), Uuid::now_v7(), work);
    event.envelope.time = at;
    log.append(partition, &event);
}

async fn ends(log: &MemoryLog) -> Vec<u64> {
    use projections::EntrySource;
    let mut ends = vec![];
    for partition in 0..PARTITIONS {
        ends.push(log.last_sequence(partition).await.unwrap());
    }
    ends
}

/// Applies one partition after the other.
async fn apply(test: &TestDatabase, log: &MemoryLog, order: [u16; 3]) {
    let ends = ends(log).await;
    for partition in order {
        let (progress, shutdown, tasks) =
            (Progress::new(test.database.clone()), CancellationToken::new(), TaskTracker::new());
        let (listening, until) = (progress.clone(), shutdown.clone());
        tasks.spawn(async move { listening.run(until).await });
        tasks.spawn(runner::run(test.database.clone(), Arc::new(log.clone()), partition, shutdown.clone()));
        let position = events::Position { partition, sequence: ends[usize::from(partition)] };
        assert!(progress.reached(Projection::Ledger.name(), position, PATIENCE).await, "{position}");
        shutdown.cancel();
        tasks.close();
        tasks.wait().await;
    }
}

async fn close(story: &mut Story, log: &MemoryLog, month: Month, total_cents: i64) -> InvoiceClosed {
    let closed = InvoiceClosed {
        month: month.to_string(),
        time_zone: "UTC".to_owned(),
        starts_at: month.starts_at,
        ends_at: month.ends_at,
        through: ends(log).await,
        entries: 1,
        total_usd: Decimal::new(total_cents, 2),
    };
    let event = story.event(Aggregate::billing(story.tenant_id), Uuid::now_v7(), closed.clone());
    log.append(0, &event);
    closed
}

fn figures(lines: &[InvoiceLine]) -> Vec<(&str, u64, Decimal)> {
    lines.iter().map(|line| (line.month.as_str(), line.entries, line.cost_usd)).collect()
}

#[tokio::test]
async fn an_invoice_has_what_stood_in_the_log_whichever_partition_is_applied_first() {
    let mut story = Story::new();
    let log = MemoryLog::new(PARTITIONS);
    log.append_all(0, &story.setup());
    let october = Month::named("2026-10", Zone::UTC).unwrap();
    let november = october.next(Zone::UTC);
    let day = TimeDelta::days(1);
    for partition in 0..PARTITIONS {
        work(&mut story, &log, partition, october.starts_at + day, 1);
        work(&mut story, &log, partition, november.starts_at, 10);
        // Older than all that is invoiced.
        work(&mut story, &log, partition, october.starts_at - day, 100);
    }
    let first = close(&mut story, &log, october, 303).await;
    for partition in 0..PARTITIONS {
        work(&mut story, &log, partition, october.starts_at, 1_000);
        work(&mut story, &log, partition, november.starts_at + day, 10_000);
    }
    let second = close(&mut story, &log, november, 33_030).await;
    for partition in 0..PARTITIONS {
        work(&mut story, &log, partition, october.starts_at, 100_000);
        work(&mut story, &log, partition, november.starts_at, 1_000_000);
        work(&mut story, &log, partition, november.ends_at, 10_000_000);
    }
    let tenant_id = story.tenant_id;
    let usd = |cents| Decimal::new(cents, 2);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let test = TestDatabase::start().await;
        let db = &test.database;
        let lines = async |bounds: &Bounds| invoices::lines(db, tenant_id, bounds).await.unwrap();
        let through = Some(first.through.clone());
        let bounds = Bounds { month: months::closed_month(&first), through, earlier: Earlier::None };
        assert_eq!(lines(&bounds).await, None, "the ledger is not there yet");
        apply(&test, &log, order).await;

        let (found, before) = invoices::closed_month(db, tenant_id, "2026-10").await.unwrap().unwrap();
        assert_eq!((&found.closed, before), (&first, None));
        assert_eq!(
            figures(&lines(&bounds).await.unwrap()),
            [("2026-10", 3, usd(3)), ("2026-09", 3, usd(300))],
            "{order:?}"
        );

        let (found, before) = invoices::closed_month(db, tenant_id, "2026-11").await.unwrap().unwrap();
        assert_eq!((&found.closed, &before.unwrap().closed), (&second, &first));
        let earlier = Earlier::Closed(first.through.clone());
        let bounds =
            Bounds { month: months::closed_month(&second), through: Some(second.through.clone()), earlier };
        assert_eq!(
            figures(&lines(&bounds).await.unwrap()),
            [("2026-11", 6, usd(30_030)), ("2026-10", 3, usd(3_000))],
            "{order:?}"
        );

        // The next two are open: what is late is on the first of them alone.
        let open = months::open_months(Some(&second), story.time(), Zone::UTC, november.ends_at + day * 40);
        let earlier = Earlier::Closed(second.through.clone());
        let bounds = Bounds { month: open[0], through: None, earlier };
        let expected =
            [("2026-12", 3, usd(30_000_000)), ("2026-10", 3, usd(300_000)), ("2026-11", 3, usd(3_000_000))];
        assert_eq!(figures(&lines(&bounds).await.unwrap()), expected, "{order:?}");
        let bounds = Bounds { month: open[1], through: None, earlier: Earlier::Open };
        assert_eq!(lines(&bounds).await, Some(vec![]));
        let all = invoices::closed(db, tenant_id, Page::first(10)).await.unwrap();
        assert_eq!(
            all.iter().map(|one| one.closed.month.as_str()).collect::<Vec<_>>(),
            ["2026-11", "2026-10"]
        );
    }
}
