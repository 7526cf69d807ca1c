//! The questions asked of the tables.

use chrono::{DateTime, TimeDelta};
use events::agent::AgentSettings;
use events::session::{Channel, FailureCode, Then};
use events::tenant::Role;
use events::{AgentId, Aggregate, JobId, SessionId, TenantId};
use projections::Projection;
use projections::configuration::api_keys::{self, KeyUse, ListedKey};
use projections::configuration::prompts;
use projections::jobs::{JobEnding, JobFilter, JobKind, JobStatus};
use projections::ledger::usage;
use projections::rebuild::{Options, rebuild};
use projections::transcripts::MessageRole;
use projections::{
    Page, appointments, configuration, jobs, ledger, provider_calls, snapshots, tool_executions, transcripts,
};
use rust_decimal::Decimal;

use crate::project;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;

#[tokio::test]
async fn a_rotated_key_has_two_secrets_and_the_older_ones_end() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    log.append_all(0, &story.setup());
    let ends = story.time() + TimeDelta::days(1);
    log.append(0, &story.rotate_key("vb_dev_second", ends));
    let last = log.append(0, &story.rotate_key("vb_dev_third", ends + TimeDelta::days(1)));
    project(&test.database, &log, last).await;
    let db = &test.database;
    let end = async |prefix: &str| {
        let [secret] = &api_keys::of_prefix(db, prefix).await.unwrap()[..] else { panic!("one secret") };
        assert_eq!((secret.key.key_id, &*secret.key.prefix), (story.key_id, "vb_dev_third"));
        secret.ends_at
    };
    assert_eq!(end("vb_dev_4f9a1c").await, Some(ends), "a later rotation gives no more time");
    assert_eq!(end("vb_dev_second").await, Some(ends + TimeDelta::days(1)));
    assert_eq!(end("vb_dev_third").await, None);
}

#[tokio::test]
async fn configuration_is_found_by_hash_by_id_and_in_pages() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    log.append_all(0, &story.setup());
    let last = log.append(0, &story.revoke_key());
    project(&test.database, &log, last).await;
    let (db, tenant_id) = (&test.database, story.tenant_id);

    let [secret] = &api_keys::of_prefix(db, "vb_dev_4f9a1c").await.unwrap()[..] else { panic!("one secret") };
    let key = &secret.key;
    assert_eq!((key.key_id, key.tenant_id, key.role), (story.key_id, tenant_id, Role::Developer));
    assert_eq!((&secret.hash, secret.ends_at), (&story.key_hash(), None));
    assert_eq!(key.revoked_at, Some(story.time()));
    assert_eq!(api_keys::of_prefix(db, "unknown").await.unwrap(), []);
    let listed = ListedKey { key: key.clone(), last_used_at: None };
    assert_eq!(api_keys::list(db, tenant_id, Page::first(10)).await.unwrap(), vec![listed]);

    let used = |at| [KeyUse { tenant_id, key_id: story.key_id, at }];
    let (earlier, later) = (story.time(), story.time() + TimeDelta::minutes(1));
    for at in [later, earlier] {
        api_keys::note_uses(db, &used(at)).await.unwrap();
    }
    let listed = api_keys::list(db, tenant_id, Page::first(10)).await.unwrap();
    assert_eq!(listed[0].last_used_at, Some(later), "a time never goes back");

    let tenant = configuration::tenant(db, tenant_id).await.unwrap().unwrap();
    assert_eq!(tenant.name, "TechCorp");
    assert_eq!(configuration::tenants(db, Page::first(10)).await.unwrap(), vec![tenant]);
    let beyond = Page { limit: 10, after: Some(tenant_id.0) };
    assert_eq!(configuration::tenants(db, beyond).await.unwrap(), vec![]);

    let agent = configuration::agent(db, tenant_id, story.agent_id).await.unwrap().unwrap();
    assert_eq!(
        (agent.version, agent.settings),
        (2, AgentSettings { system_prompt_id: Some(story.prompt_id), ..Story::settings("Billing desk") })
    );
    let names = configuration::agent_names(db, tenant_id, &[story.agent_id]).await.unwrap();
    assert_eq!(names[&story.agent_id], "Billing desk");

    let invoice = configuration::invoice(db, tenant_id, "INV-TC-001").await.unwrap().unwrap();
    assert_eq!(invoice.amount.to_string(), "15000.00");
    assert_eq!(configuration::invoice(db, tenant_id, "INV\0").await.unwrap(), None);
}

#[tokio::test]
async fn a_prompt_is_found_as_it_is_and_in_every_version() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let last = log.append_all(0, &story.setup());
    project(&test.database, &log, last).await;
    let (db, tenant_id, id, old) = (&test.database, story.tenant_id, story.prompt_id, story.old_prompt_id);

    let prompt = prompts::prompt(db, tenant_id, id).await.unwrap().unwrap();
    assert_eq!((prompt.version, prompt.is_default), (2, true));
    assert_eq!(prompt.settings, Story::prompt_settings("Version 2"));
    assert_eq!(prompts::prompts(db, tenant_id, Page::first(10)).await.unwrap(), vec![prompt.clone()]);
    assert_eq!(prompts::named_or_default(db, tenant_id, &[old]).await.unwrap(), vec![prompt]);
    assert_eq!(prompts::users(db, tenant_id, id).await.unwrap(), 1);

    let contents = async |id, before, limit| {
        let found = prompts::versions(db, tenant_id, id, before, limit).await.unwrap();
        found.map(|found| found.into_iter().map(|version| version.settings.content).collect::<Vec<_>>())
    };
    assert_eq!(contents(id, None, 10).await.unwrap(), ["Version 2", "Version 1"]);
    assert_eq!(contents(id, None, 1).await.unwrap(), ["Version 2"]);
    assert_eq!(contents(id, Some(2), 10).await.unwrap(), ["Version 1"]);
    let content = async |id, version| {
        let found = prompts::version(db, tenant_id, id, version).await.unwrap();
        found.map(|found| found.settings.content)
    };
    assert_eq!(content(id, Some(1)).await.as_deref(), Some("Version 1"));
    assert_eq!(content(id, None).await.as_deref(), Some("Version 2"));
    assert_eq!(content(id, Some(3)).await, None);

    // A deleted one is known by its versions alone.
    assert_eq!(prompts::prompt(db, tenant_id, old).await.unwrap(), None);
    assert_eq!(contents(old, None, 10).await.unwrap(), ["Old"]);
    assert_eq!(content(old, None).await.as_deref(), Some("Old"));
    let stranger = TenantId::new();
    assert_eq!(prompts::versions(db, stranger, id, None, 10).await.unwrap(), None);
    assert_eq!(prompts::named_or_default(db, stranger, &[id]).await.unwrap(), vec![]);
}

#[tokio::test]
async fn a_transcript_is_in_order_and_knows_what_each_reply_took() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let session_id = SessionId::new();
    let created = story.session(session_id);
    log.append(0, &created);
    log.append_all(0, &story.answered(Story::chat(session_id)));
    log.append_all(0, &story.failed(Story::chat(session_id)));
    let last = log.append(0, &story.end(session_id));
    project(&test.database, &log, last).await;
    let (db, tenant_id) = (&test.database, story.tenant_id);

    let messages = transcripts::messages(db, tenant_id, session_id).await.unwrap();
    let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [MessageRole::User, MessageRole::Assistant, MessageRole::User]);
    let reply = messages[1].reply.as_ref().unwrap();
    assert_eq!((reply.tokens_in, reply.tokens_out, reply.cost_usd), (103, 20, Decimal::new(246, 6)));
    assert_eq!(reply.tools_called, ["invoice_lookup"]);
    assert_eq!((reply.agent_version, reply.prompt), (Some(2), Some(story.prompt_version())));

    let session = transcripts::session(db, tenant_id, session_id).await.unwrap().unwrap();
    assert_eq!((session.created_at, session.ended_at), (created.envelope.time, Some(story.time())));
    assert_eq!(session.customer_sealed_for, created.envelope.id);
    assert_eq!(session.prompt_variables.as_ref().unwrap().key_id, session.customer_key_id.0);
    assert_eq!(transcripts::sessions(db, tenant_id, None, Page::first(10)).await.unwrap(), vec![session]);
}

#[tokio::test]
async fn a_session_ends_with_the_reply_that_says_so_and_ends_once() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let [alone, apart, twice] = [SessionId::new(), SessionId::new(), SessionId::new()];
    let transfer = Then::Transfer { to_number: "+493012345678".to_owned() };
    let process = crate::Process::start(&test.database, &log);
    // In one batch with its beginning, in a later one, and once more after an end by request.
    let mut events = vec![story.session(alone)];
    events.extend(story.answered_last(Story::chat(alone), Then::End));
    events.extend([story.session(apart), story.session(twice)]);
    process.reaches(log.append_all(0, &events)).await;
    let requested = story.end(twice);
    process.reaches(log.append(0, &requested)).await;
    let transferred = story.answered_last(Story::chat(apart), transfer);
    log.append_all(0, &transferred);
    process.reaches(log.append_all(0, &story.answered_last(Story::chat(twice), Then::End))).await;
    process.stop().await;

    let ends = [
        (alone, "ended_by_agent", events[4].envelope.time),
        (apart, "transferred", transferred[3].envelope.time),
        (twice, "requested", requested.envelope.time),
    ];
    for (session_id, reason, at) in ends {
        let session =
            transcripts::session(&test.database, story.tenant_id, session_id).await.unwrap().unwrap();
        assert_eq!((session.end_reason.as_deref(), session.ended_at), (Some(reason), Some(at)));
    }
    let reports = rebuild(&test.database, &log, &Projection::ALL, Options::default(), |_| {}).await.unwrap();
    assert!(reports.iter().all(|report| report.differences.is_empty()), "{reports:?}");
}

#[tokio::test]
async fn a_job_is_followed_from_queued_to_its_end() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let (session_id, tenant_id) = (SessionId::new(), story.tenant_id);
    let (answered, failed) = (Story::chat(session_id), Story::chat(SessionId::new()));
    let process = crate::Process::start(&test.database, &log);
    let mut statuses = Vec::new();
    for event in story.answered(answered) {
        process.reaches(log.append(0, &event)).await;
        let job = jobs::job(&test.database, tenant_id, answered.job_id).await.unwrap().unwrap();
        statuses.push(job.status);
    }
    use JobStatus::{Queued, Running, Succeeded};
    assert_eq!(statuses, [Queued, Running, Running, Succeeded]);
    process.reaches(log.append_all(0, &story.failed(failed))).await;
    process.stop().await;

    let job = jobs::job(&test.database, tenant_id, answered.job_id).await.unwrap().unwrap();
    let outcome = job.outcome.unwrap();
    assert_eq!(
        (outcome.channel, outcome.attempts, outcome.cost_usd),
        (Channel::Chat, 1, Decimal::new(246, 6))
    );
    assert!(matches!(outcome.ending, JobEnding::Replied { content, .. } if content == story.sealed(40)));
    let job = jobs::job(&test.database, tenant_id, failed.job_id).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Failed);
    assert!(matches!(job.outcome.unwrap().ending, JobEnding::Failed { code: FailureCode::VendorFailed, .. }));
    assert_eq!(jobs::job(&test.database, tenant_id, JobId::new()).await.unwrap(), None);

    let all = JobFilter::default();
    let first = jobs::jobs(&test.database, tenant_id, &all, Page::first(1)).await.unwrap();
    assert_eq!(first[0].id, failed.job_id);
    let next = Page { limit: 10, after: Some(first[0].id.0) };
    assert_eq!(jobs::jobs(&test.database, tenant_id, &all, next).await.unwrap()[0].id, answered.job_id);
    let agents = |agent_id| Some(vec![agent_id]);
    for (filter, expected) in [
        (JobFilter { status: Some(JobStatus::Failed), ..all.clone() }, vec![failed.job_id]),
        (JobFilter { status: Some(Running), ..all.clone() }, vec![]),
        (JobFilter { kind: Some(JobKind::VoiceMessage), ..all.clone() }, vec![]),
        (JobFilter { kind: Some(JobKind::Message), ..all.clone() }, vec![failed.job_id, answered.job_id]),
        (JobFilter { session_id: Some(answered.session_id), ..all.clone() }, vec![answered.job_id]),
        (JobFilter { agents: agents(AgentId::new()), ..all.clone() }, vec![]),
    ] {
        let jobs = jobs::jobs(&test.database, tenant_id, &filter, Page::first(10)).await.unwrap();
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn calls_and_tools_are_found_by_correlation_session_and_job() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let chat = Story::chat(SessionId::new());
    log.append_all(0, &story.answered_with_tool(chat));
    let last = log.append_all(0, &story.answered_with_tool(Story::chat(SessionId::new())));
    project(&test.database, &log, last).await;
    let (db, tenant_id, page) = (&test.database, story.tenant_id, Page::first(10));

    let filters = [
        (
            provider_calls::Filter {
                correlation_id: Some(chat.correlation.to_string()),
                ..Default::default()
            },
            1,
        ),
        (provider_calls::Filter { session_id: Some(chat.session_id), ..Default::default() }, 1),
        (provider_calls::Filter { job_id: Some(chat.job_id), ..Default::default() }, 1),
        (provider_calls::Filter::default(), 2),
    ];
    for (filter, expected) in filters {
        let calls = provider_calls::list(db, tenant_id, &filter, page).await.unwrap();
        let tools = tool_executions::list(db, tenant_id, &filter, page).await.unwrap();
        assert_eq!((calls.len(), tools.len()), (expected, expected), "{filter:?}");
    }
}

#[tokio::test]
async fn usage_is_the_sum_of_closed_bills() {
    let test = TestDatabase::start().await;
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let (session_id, tenant_id, from) = (SessionId::new(), story.tenant_id, story.time());
    log.append(0, &story.session(session_id));
    log.append_all(0, &story.answered(Story::chat(session_id)));
    log.append_all(0, &story.answered_with_tool(Story::chat(session_id)));
    let last = log.append_all(0, &story.failed(Story::chat(session_id)));
    project(&test.database, &log, last).await;

    let to = story.time() + TimeDelta::seconds(1);
    let usage = usage::usage(&test.database, tenant_id, &(from..to)).await.unwrap();
    let expected = ledger::Amounts {
        messages: 2,
        requests: 2,
        tokens_in: 206,
        tokens_cached: 8,
        tokens_out: 40,
        cost_usd: Decimal::new(492, 6),
        ..Default::default()
    };
    assert_eq!((usage.sessions, usage.total), (1, expected));
    assert_eq!(usage.by_provider, [("vendor_a".to_owned(), expected)]);
    assert_eq!(usage.by_agent, [(story.agent_id, expected)]);
    assert_eq!(usage.by_channel, [(Channel::Chat, expected)]);
    let none = usage::usage(&test.database, tenant_id, &(to..to + TimeDelta::days(1))).await.unwrap();
    assert_eq!(none, ledger::Usage::default());
    let top = usage::top_agents(&test.database, tenant_id, &(from..to), 5).await.unwrap();
    assert_eq!(top, [(story.agent_id, expected)]);
}

#[tokio::test]
async fn a_snapshot_never_goes_back() {
    let test = TestDatabase::start().await;
    let aggregate = Aggregate::session(TenantId::new(), SessionId::new());
    assert_eq!(snapshots::load(&test.database, &aggregate).await.unwrap(), None);
    let (old, new) = (serde_json::json!({"at": 1}), serde_json::json!({"at": 2, "odd": "\0"}));
    snapshots::save(&test.database, &aggregate, 20, &new).await.unwrap();
    snapshots::save(&test.database, &aggregate, 10, &old).await.unwrap();
    assert_eq!(snapshots::load(&test.database, &aggregate).await.unwrap(), Some((20, new)));
}

#[tokio::test]
async fn a_calendar_knows_what_is_taken_and_how_far_it_has_read() {
    let test = TestDatabase::start().await;
    let (mut one, mut two, log) = (Story::new(), Story::new(), MemoryLog::new(1));
    let session_id = SessionId::new();
    let booked = log.append(0, &one.booked(session_id, 2));
    log.append(0, &one.booked(session_id, 5));
    let newest = log.append(0, &one.booked(session_id, 1));
    let last = log.append(0, &two.session(session_id));
    project(&test.database, &log, last).await;

    let (minutes, begin) =
        (TimeDelta::minutes, DateTime::from_timestamp_micros(1_763_700_000_000_000).unwrap());
    let ask = async |tenant_id, from, to| {
        let (from, to) = (begin + minutes(from), begin + minutes(to));
        let db = &test.database;
        appointments::booked(db, tenant_id, one.agent_id, 0, from, to).await.unwrap()
    };
    let whole = ask(one.tenant_id, 0, 300).await;
    let starts: Vec<_> = whole.taken.iter().map(|taken| (taken.starts_at - begin).num_minutes()).collect();
    assert_eq!(starts, [30, 60, 150]);
    assert_eq!((whole.through, whole.last), (last.sequence, newest.sequence));
    assert!(booked.sequence < whole.last);
    // Up to 60, and from 90 on, nothing is in the way of one who was there from 60 to 90.
    assert_eq!(ask(one.tenant_id, 60, 61).await.taken.len(), 1);
    assert_eq!(ask(one.tenant_id, 89, 90).await.taken.len(), 1);
    assert_eq!(ask(one.tenant_id, 90, 150).await.taken, []);
    let foreign = ask(two.tenant_id, 0, 300).await;
    assert_eq!((foreign.last, foreign.taken.len()), (0, 0));
}
