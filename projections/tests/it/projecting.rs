//! What becomes of entries in the tables.

use events::call::CallDeleted;
use events::{Position, SessionId};
use projections::{Page, archive, jobs, provider_calls};

use crate::project;
use crate::support::call_story::Phone;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;

/// Some of everything.
pub fn tell(story: &mut Story, log: &MemoryLog) -> Position {
    let mut events = story.setup();
    for number in 0..6 {
        let session_id = SessionId::new();
        events.push(story.session(session_id));
        events.extend(story.answered(Story::chat(session_id)));
        events.extend(story.answered_with_tool(Story::chat(session_id)));
        events.extend(story.failed(Story::chat(session_id)));
        events.push(story.booked(session_id, number));
        if number % 2 == 0 {
            events.push(story.end(session_id));
        }
    }
    events.extend(story.webhooks());
    events.extend(story.call(Phone::new()));
    let deleted = Phone::new();
    events.extend(story.call(deleted));
    events.push(story.of_call(deleted, CallDeleted {}));
    events.push(story.call_started(Phone::new()));
    log.append_all(0, &events)
}

#[tokio::test]
async fn applying_the_whole_log_again_changes_nothing() {
    let test = TestDatabase::start().await;
    let log = MemoryLog::new(1);
    let last = tell(&mut Story::new(), &log);
    project(&test.database, &log, last).await;
    let once = test.dump().await;

    sqlx::query("update checkpoints set sequence = 0").execute(&test.admin).await.unwrap();
    project(&test.database, &log, last).await;

    assert_eq!(test.dump().await, once);
    assert!(once.len() > 150, "{}", once.len());
}

/// One entry per batch gives the same rows as all entries in one batch: a row is folded alike within and across them.
#[tokio::test]
async fn the_cut_of_batches_does_not_show_in_the_rows() {
    let test = TestDatabase::start().await;
    let mut story = Story::new();
    let whole = MemoryLog::new(1);
    let last = tell(&mut story, &whole);
    project(&test.database, &whole, last).await;
    let at_once = test.dump().await;

    sqlx::query("truncate checkpoints, tenants, api_keys, agents, prompts, prompt_versions, default_prompts, invoices, custom_functions, mcp_servers, phone_numbers, twilio_accounts, sessions, messages, jobs, provider_calls, tool_executions, usage_entries, usage_rollups, closed_invoices, appointments, calls, call_turns, interruptions, webhooks, webhook_deliveries, webhook_attempts, archive")
        .execute(&test.admin)
        .await
        .unwrap();
    let pieces = MemoryLog::new(1);
    let process = crate::Process::start(&test.database, &pieces);
    for event in whole.events(0) {
        let position = pieces.append(0, &event);
        process.reaches(position).await;
    }
    process.stop().await;

    assert_eq!(test.dump().await, at_once);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_kept_by_the_archive_and_stops_nobody() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let session_id = SessionId::new();
    let chat = Story::chat(session_id);
    log.append(0, &story.session(session_id));
    let strange = log.append_undecodable(0, story.time(), b"\xff\x00 not json");
    let last = log.append_all(0, &story.answered(chat));
    project(&test.database, &log, last).await;

    let (payload, event_id): (Vec<u8>, Option<uuid::Uuid>) =
        sqlx::query_as("select raw_payload, event_id from archive where sequence = $1")
            .bind(strange.sequence as i64)
            .fetch_one(&test.admin)
            .await
            .unwrap();
    assert_eq!((payload.as_slice(), event_id), (&b"\xff\x00 not json"[..], None));
    let job = jobs::job(&test.database, story.tenant_id, chat.job_id).await.unwrap().unwrap();
    assert_eq!(job.status, jobs::JobStatus::Succeeded);
}

#[tokio::test]
async fn the_archive_gives_back_the_very_events() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let session_id = SessionId::new();
    let mut events = vec![story.session(session_id)];
    events.extend(story.answered_with_tool(Story::chat(session_id)));
    let last = log.append_all(0, &events);
    project(&test.database, &log, last).await;

    let kept = archive::events_of_session(&test.database, story.tenant_id, session_id, 0, 100).await.unwrap();
    let back: Vec<_> = kept.iter().map(|entry| entry.event().unwrap()).collect();
    assert_eq!(back, events);
    let rest = archive::events_of_session(&test.database, story.tenant_id, session_id, 4, 1).await.unwrap();
    assert_eq!(rest[0].position.sequence, 5);
}

/// Postgres has no NUL in text; what a vendor or a tenant wrote must not stop a projection.
#[tokio::test]
async fn a_nul_in_a_text_stops_nobody() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let session_id = SessionId::new();
    log.append_all(0, &story.setup());
    let last = log.append_all(0, &story.failed(Story::chat(session_id)));
    project(&test.database, &log, last).await;

    let filter = provider_calls::Filter { session_id: Some(session_id), ..Default::default() };
    let calls =
        provider_calls::list(&test.database, story.tenant_id, &filter, Page::first(10)).await.unwrap();
    assert_eq!(calls[0].error.as_deref(), Some("the vendor said \u{fffd} and 500"));
}
