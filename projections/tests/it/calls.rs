//! Calls, what was heard in them, and what they cost.

use events::call::SpeechKind;
use events::session::Channel;
use events::{JobId, SessionId, TenantId};
use projections::calls::{self, CallFilter, CallRecord};
use projections::ledger::{Group, Grouping};
use projections::transcripts::{self, MessageRecord, MessageRole};
use projections::{Page, ledger};
use rust_decimal::Decimal;

use crate::project;
use crate::support::call_story::Phone;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::{Chat, Story};

async fn found(test: &TestDatabase, story: &Story, phone: Phone) -> Option<CallRecord> {
    calls::call(&test.database, story.tenant_id, phone.call_id).await.unwrap()
}

#[tokio::test]
async fn a_call_is_seen_from_its_first_ring_to_its_summary() {
    let test = TestDatabase::start().await;
    let (mut story, log, phone) = (Story::new(), MemoryLog::new(1), Phone::new());
    let whole = story.call(phone);
    let mut seen = Vec::new();
    for event in &whole {
        let last = log.append(0, event);
        project(&test.database, &log, last).await;
        let call = found(&test, &story, phone).await;
        let state = call.map(|call| (call.status.clone(), call.worker_id.clone(), call.summary.is_some()));
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    let state = |status: &str, worker: Option<&str>, summary| {
        Some((status.to_owned(), worker.map(str::to_owned), summary))
    };
    let expected = [
        None,
        state("ringing", None, false),
        state("ringing", Some("host-1:4242"), false),
        state("in-progress", Some("host-1:4242"), false),
        state("in-progress", Some("host-2:4242"), false),
        state("completed", Some("host-2:4242"), false),
        state("completed", Some("host-2:4242"), true),
    ];
    assert_eq!(seen, expected);

    let call = found(&test, &story, phone).await.unwrap();
    let started = &whole[1].envelope;
    assert_eq!((call.started_at, call.sealed_for), (started.time, started.id));
    assert_eq!(call.connected_at, Some(whole[3].envelope.time), "the first time counts");
    assert_eq!((call.duration_ms, call.requests), (Some(90_000), Some(2)));
    assert_eq!(call.end_reason.as_deref(), Some("caller_hung_up"));
    assert_eq!(call.summary.as_ref().unwrap().0, whole.last().unwrap().envelope.id);
    // Two replies, a summary, a minute of synthesis, and the carrier.
    assert_eq!(call.cost_usd, Decimal::new(3 * 246 + 10_000 + 2_000, 6));

    let turns = calls::turns(&test.database, story.tenant_id, phone.call_id).await.unwrap();
    let told: Vec<_> = turns.iter().map(|turn| (turn.turn, turn.interrupted, turn.stt_ms)).collect();
    assert_eq!(told, [(1, false, Some(100)), (2, true, Some(200))]);
}

#[tokio::test]
async fn calls_are_listed_newest_first_whatever_their_ids_and_found_by_the_carriers_name() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let mut phones = [Phone::new(), Phone::new(), Phone::new()];
    // The id of a carrier's call is no time.
    phones[0].call_id = uuid::Uuid::from_u128(u128::MAX).into();
    log.append_all(0, &story.call(phones[0]));
    log.append(0, &story.call_started(phones[1]));
    let last = log.append(0, &story.call_started(phones[2]));
    project(&test.database, &log, last).await;
    let (db, tenant_id) = (&test.database, story.tenant_id);

    let listed = async |filter: &CallFilter, page| {
        let found = calls::calls(db, tenant_id, filter, page).await.unwrap();
        found.into_iter().map(|call| call.id).collect::<Vec<_>>()
    };
    let all = CallFilter::default();
    let [oldest, middle, newest] = phones.map(|phone| phone.call_id);
    assert_eq!(listed(&all, Page::first(10)).await, [newest, middle, oldest]);
    assert_eq!(listed(&all, Page { limit: 1, after: Some(newest.0) }).await, [middle]);
    assert_eq!(listed(&all, Page { limit: 10, after: Some(oldest.0) }).await, []);
    let active = CallFilter { active_only: true, ..CallFilter::default() };
    assert_eq!(listed(&active, Page::first(10)).await, [newest, middle]);
    let completed = CallFilter { status: Some("completed".to_owned()), ..CallFilter::default() };
    assert_eq!(listed(&completed, Page::first(10)).await, [oldest]);
    let strange = CallFilter { agent_id: Some(uuid::Uuid::from_u128(1).into()), ..CallFilter::default() };
    assert_eq!(listed(&strange, Page::first(10)).await, []);

    let sid = found(&test, &story, phones[1]).await.unwrap().provider_call_sid.unwrap();
    let by_sid = async |tenant_id, sid: &str| {
        calls::call_by_sid(db, tenant_id, sid).await.unwrap().map(|call| call.id)
    };
    assert_eq!(by_sid(tenant_id, &sid).await, Some(middle));
    assert_eq!(by_sid(tenant_id, "CA\0").await, None);
    assert_eq!(by_sid(TenantId::new(), &sid).await, None);

    // A deleted one is seen no more, and still tells where the next page begins.
    let last = log.append(0, &story.of_call(phones[1], events::call::CallDeleted {}));
    project(db, &log, last).await;
    assert_eq!(found(&test, &story, phones[1]).await, None);
    assert_eq!(by_sid(tenant_id, &sid).await, None);
    assert_eq!(listed(&all, Page::first(10)).await, [newest, oldest]);
    assert_eq!(listed(&all, Page { limit: 10, after: Some(middle.0) }).await, [oldest]);
}

async fn lines(test: &TestDatabase, story: &Story, session_id: SessionId) -> Vec<MessageRecord> {
    transcripts::messages(&test.database, story.tenant_id, session_id).await.unwrap()
}

/// Who, whether interrupted, and how long the sealed words are; `None`: there are none.
fn told(messages: &[MessageRecord]) -> Vec<(MessageRole, bool, Option<usize>)> {
    let length = |message: &MessageRecord| message.content.as_ref().map(|words| words.ciphertext.len() / 4);
    messages.iter().map(|message| (message.role, message.interrupted, length(message))).collect()
}

#[tokio::test]
async fn a_transcript_has_what_was_heard_whenever_the_interruption_came() {
    use MessageRole::{Assistant, User};
    let test = TestDatabase::start().await;
    let (mut story, log, session_id) = (Story::new(), MemoryLog::new(1), SessionId::new());
    let chats: [Chat; 5] = std::array::from_fn(|_| Story::chat(session_id));
    let mut events = vec![story.session(session_id)];
    let greeting = JobId::new();
    events.push(story.greeted(session_id, greeting));
    events.push(story.interrupted(Chat { job_id: greeting, ..chats[0] }, Some(1)));
    // After the reply was complete.
    events.extend(story.answered(chats[0]));
    events.push(story.interrupted(chats[0], Some(2)));
    // Before, and the customer's next words came in between.
    let (mut early, late) = (story.answered(chats[1]), story.answered(chats[4]));
    let completed = early.pop().unwrap();
    events.extend(early);
    events.push(story.interrupted(chats[1], Some(3)));
    events.push(late[0].clone());
    events.push(completed);
    events.extend_from_slice(&late[1..]);
    // Of a turn that never had a reply.
    events.extend(story.failed(chats[2]));
    events.push(story.interrupted(chats[2], Some(4)));
    // Not a word of it; and told twice.
    events.extend(story.failed(chats[3]));
    events.push(story.interrupted(chats[3], None));
    events.push(story.interrupted(chats[3], Some(9)));
    let last = log.append_all(0, &events);
    project(&test.database, &log, last).await;

    let messages = lines(&test, &story, session_id).await;
    let expected = [
        (Assistant, true, Some(1)),
        (User, false, Some(24)),
        (Assistant, true, Some(2)),
        (User, false, Some(24)),
        (Assistant, true, Some(3)),
        (User, false, Some(24)),
        (Assistant, false, Some(40)),
        (User, false, Some(24)),
        (Assistant, true, Some(4)),
        (User, false, Some(24)),
    ];
    assert_eq!(told(&messages), expected);
    assert!(messages[0].reply.is_none() && messages[2].reply.is_some() && messages[8].reply.is_none());
    let of_event = |index: usize| events[index].envelope.id;
    assert_eq!((messages[0].sealed_for, messages[2].sealed_for), (of_event(2), of_event(7)));

    // A completed reply of which nothing was heard keeps its row.
    let silent = Story::chat(session_id);
    log.append_all(0, &story.answered(silent));
    let last = log.append(0, &story.interrupted(silent, None));
    project(&test.database, &log, last).await;
    assert_eq!(told(&lines(&test, &story, session_id).await).last(), Some(&(Assistant, true, None)));
}

#[tokio::test]
async fn speech_and_carriers_are_on_the_bill_once_and_a_greeting_is_no_reply() {
    let test = TestDatabase::start().await;
    let (mut story, log, phone) = (Story::new(), MemoryLog::new(1), Phone::new());
    let mut events = story.call(phone);
    // The worker that metered it died before it heard that it had.
    let again = events.iter().rev().find(|event| event.payload.event_type().ends_with("speech_metered"));
    events.push(again.unwrap().clone());
    let last = log.append_all(0, &events);
    project(&test.database, &log, last).await;

    let (from, to) = (story.time() - chrono::TimeDelta::days(1), story.time() + chrono::TimeDelta::days(1));
    let usage = ledger::usage::usage(&test.database, story.tenant_id, &(from..to)).await.unwrap();
    assert_eq!((usage.sessions, usage.total.messages), (1, 2));
    assert_eq!(usage.total.cost_usd, Decimal::new(3 * 246 + 10_000 + 2_000, 6));
    let of = |provider: &str| usage.by_provider.iter().find(|(name, _)| name == provider).unwrap().1;
    assert_eq!(of("azure").cost_usd, Decimal::new(1, 2));
    assert_eq!((of("twilio").cost_usd, of("vendor_a").messages), (Decimal::new(2, 3), 2));

    let entries: Vec<(String, i64, i64, i64, String)> = sqlx::query_as(
        "select kind, audio_ms, characters, requests, model from usage_entries where kind <> 'model' order by kind",
    )
    .fetch_all(&test.admin)
    .await
    .unwrap();
    let entry = |kind: &str, audio_ms, characters, requests, model: &str| {
        (kind.to_owned(), audio_ms, characters, requests, model.to_owned())
    };
    let expected = [
        entry("carrier", 90_000, 0, 2, ""),
        entry(SpeechKind::Synthesis.as_str(), 60_000, 800, 1, "hd\u{fffd}"),
        entry(SpeechKind::Transcription.as_str(), 60_000, 800, 1, "hd\u{fffd}"),
    ];
    assert_eq!(entries, expected);
    let top = ledger::usage::top_agents(&test.database, story.tenant_id, &(from..to), 10).await.unwrap();
    assert_eq!((top.len(), top[0].1), (1, usage.total));
}

#[tokio::test]
async fn latencies_are_told_by_stage_and_provider() {
    let test = TestDatabase::start().await;
    let (mut story, log, phone) = (Story::new(), MemoryLog::new(1), Phone::new());
    log.append(0, &story.call_started(phone));
    let turns: Vec<_> = (1..=100).map(|turn| story.turn_measured(phone, JobId::new(), turn)).collect();
    log.append_all(0, &turns);
    let last = log.append_all(0, &story.answered(Story::chat(SessionId::new())));
    project(&test.database, &log, last).await;

    let day = chrono::TimeDelta::days(1);
    let (from, to) = (story.time() - day, story.time() + day);
    let by_provider = Grouping { provider: true, ..Grouping::default() };
    let latencies = async |tenant_id, from, to, grouping| {
        calls::latencies(&test.database, tenant_id, from, to, grouping).await.unwrap()
    };
    let found = latencies(story.tenant_id, from, to, by_provider).await;
    let of = |stage: &str| {
        let stage = found.iter().find(|latency| latency.stage == stage)?;
        Some((stage.group.provider.as_deref(), stage.count, [stage.p50_ms, stage.p90_ms, stage.p99_ms]))
    };
    assert_eq!(of("stt"), Some((Some("local"), 100, [5_000, 9_000, 9_900])));
    assert_eq!(of("caller_gap"), Some((None, 100, [700; 3])));
    assert_eq!(of("first_audio"), None, "none was measured");
    assert_eq!(of("vendor_first_token"), Some((Some("vendor_a"), 1, [90; 3])));
    assert_eq!(of("vendor_total"), Some((Some("vendor_a"), 1, [212; 3])));
    assert_eq!(latencies(story.tenant_id, to, to + day, by_provider).await, []);
    assert_eq!(latencies(TenantId::new(), from, to, by_provider).await, []);

    let apart = Grouping { provider: false, model: true, agent: true, channel: true };
    let found = latencies(story.tenant_id, from, to, apart).await;
    let of = |stage: &str| found.iter().find(|latency| latency.stage == stage).unwrap().group.clone();
    let turn = Group { agent_id: Some(story.agent_id), channel: Some(Channel::Voice), ..Group::default() };
    assert_eq!(of("caller_gap"), turn);
    let request = of("vendor_total");
    assert_eq!((request.provider, request.agent_id), (None, Some(story.agent_id)));
    assert!(request.model.is_some_and(|model| !model.is_empty()));
}
