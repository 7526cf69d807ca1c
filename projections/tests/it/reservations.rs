//! Reservations: never more than there is room for, nothing leaks, and what was lost comes back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Month, Zone};
use events::budget::{BudgetScope, BudgetSet};
use events::{AgentId, Aggregate, ApiKeyId, Payload, SessionId, TenantId};
use projections::Page;
use projections::Projection;
use projections::rebuild::{Options, rebuild};
use projections::reservations::{self, Counted, Most, Refusal, Wanted};
use rust_decimal::Decimal;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::{Chat, Story};
use crate::{Process, project};

const LEASE: Duration = Duration::from_secs(60);

fn month(story: &Story) -> Month {
    Month::at(story.time(), Zone::UTC)
}

/// One cent for a turn of the story's agent.
fn wanted(story: &Story, work_id: Uuid) -> Wanted {
    Wanted {
        tenant_id: story.tenant_id,
        work_id,
        counted: Counted::Turn,
        agent_id: story.agent_id,
        key_id: Some(story.key_id),
        usd: Decimal::new(1, 2),
        month: month(story),
        most: Most::default(),
        lease: LEASE,
    }
}

fn budget(scope: BudgetScope, id: Uuid, cents: i64, hard: bool) -> BudgetSet {
    BudgetSet { scope, id, monthly_limit_usd: Decimal::new(cents, 2), alert_at: vec![Decimal::ONE], hard }
}

/// A database in which the tenant's budgets are set.
async fn with_budgets(story: &mut Story, log: &MemoryLog, budgets: &[BudgetSet]) -> TestDatabase {
    let test = TestDatabase::start().await;
    log.append_all(0, &story.setup());
    let aggregate = Aggregate::budgets(story.tenant_id);
    let events: Vec<_> =
        budgets.iter().map(|budget| story.event(aggregate, Uuid::now_v7(), budget.clone())).collect();
    let last = log.append_all(0, &events);
    project(&test.database, log, last).await;
    test
}

/// Spent and reserved cents of the tenant's only budget.
async fn cents(test: &TestDatabase, story: &Story, month: Month) -> (i64, i64) {
    let found =
        reservations::standings(&test.database, story.tenant_id, month, Page::first(10)).await.unwrap();
    let cents = |usd: Decimal| i64::try_from(usd * Decimal::ONE_HUNDRED).unwrap();
    (cents(found[0].spent_usd), cents(found[0].reserved_usd))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_at_once_as_many_get_room_as_there_is() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let hard = budget(BudgetScope::Tenant, story.tenant_id.0, 37, true);
    let test = with_budgets(&mut story, &log, &[hard]).await;
    let mut asked = JoinSet::new();
    for _ in 0..200 {
        let (database, wanted) = (test.database.clone(), wanted(&story, Uuid::now_v7()));
        asked.spawn(async move { reservations::reserve(&database, &wanted).await.unwrap() });
    }
    let refusals: Vec<Refusal> = asked.join_all().await.into_iter().flatten().collect();
    assert_eq!(refusals.len(), 163);
    let expected = Refusal::OverBudget {
        scope: BudgetScope::Tenant,
        id: story.tenant_id.0,
        required_usd: Decimal::new(1, 2),
        remaining_usd: Decimal::ZERO,
    };
    assert!(refusals.iter().all(|refusal| *refusal == expected), "{refusals:?}");
    assert_eq!(cents(&test, &story, month(&story)).await, (0, 37));
}

#[tokio::test]
async fn the_same_work_reserves_once_and_may_reserve_more() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let hard = budget(BudgetScope::Agent, story.agent_id.0, 3, true);
    let test = with_budgets(&mut story, &log, &[hard]).await;
    let first = wanted(&story, Uuid::now_v7());
    let reserve = async |wanted: Wanted| reservations::reserve(&test.database, &wanted).await.unwrap();
    for cents in [1, 1, 2, 1, 3] {
        assert_eq!(reserve(Wanted { usd: Decimal::new(cents, 2), ..first }).await, None, "{cents}");
    }
    assert_eq!(cents(&test, &story, month(&story)).await, (0, 3));
    let more = reserve(Wanted { usd: Decimal::new(4, 2), ..first }).await;
    let remaining_usd = Decimal::new(3, 2);
    assert!(
        matches!(more, Some(Refusal::OverBudget { remaining_usd: left, .. }) if left == remaining_usd),
        "what it holds itself is not taken from it: {more:?}"
    );
    assert_eq!(cents(&test, &story, month(&story)).await, (0, 3), "it keeps what it had");
    // Another agent's work is none of this budget's.
    let other = Wanted { work_id: Uuid::now_v7(), agent_id: AgentId::new(), ..first };
    assert_eq!(reserve(other).await, None);
    // What costs nothing has room everywhere.
    assert_eq!(reserve(Wanted { usd: Decimal::ZERO, ..wanted(&story, Uuid::now_v7()) }).await, None);
    assert!(reserve(wanted(&story, Uuid::now_v7())).await.is_some());
}

#[tokio::test]
async fn every_hard_budget_is_asked_and_no_soft_one() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let budgets = [
        budget(BudgetScope::Tenant, story.tenant_id.0, 0, false),
        budget(BudgetScope::Agent, story.agent_id.0, 2, true),
        budget(BudgetScope::Key, story.key_id.0, 1, true),
    ];
    let test = with_budgets(&mut story, &log, &budgets).await;
    let reserve = async |wanted: Wanted| match reservations::reserve(&test.database, &wanted).await.unwrap() {
        None => None,
        Some(Refusal::OverBudget { scope, .. }) => Some(scope),
        Some(other) => panic!("{other:?}"),
    };
    let other_key = |wanted: Wanted| Wanted { key_id: Some(ApiKeyId::new()), ..wanted };
    assert_eq!(reserve(wanted(&story, Uuid::now_v7())).await, None);
    assert_eq!(reserve(wanted(&story, Uuid::now_v7())).await, Some(BudgetScope::Key));
    assert_eq!(reserve(other_key(wanted(&story, Uuid::now_v7()))).await, None);
    assert_eq!(reserve(other_key(wanted(&story, Uuid::now_v7()))).await, Some(BudgetScope::Agent));
    let nobody = Wanted { key_id: None, agent_id: AgentId::new(), ..wanted(&story, Uuid::now_v7()) };
    assert_eq!(reserve(nobody).await, None, "the soft one refuses nothing");
    let stranger = Wanted { tenant_id: TenantId::new(), ..wanted(&story, Uuid::now_v7()) };
    assert_eq!(reserve(stranger).await, None, "another tenant's");
}

#[tokio::test]
async fn as_much_is_under_way_as_the_limits_allow() {
    let (story, test) = (Story::new(), TestDatabase::start().await);
    let most = Most { turns: Some(2), calls: Some(2), agent_calls: Some(1) };
    let reserve = async |counted, agent_id| {
        let wanted = Wanted { counted, agent_id, most, ..wanted(&story, Uuid::now_v7()) };
        reservations::reserve(&test.database, &wanted).await.unwrap()
    };
    let (one, two, three) = (story.agent_id, AgentId::new(), AgentId::new());
    for refusal in [None, None, Some(Refusal::TooManyTurns)] {
        assert_eq!(reserve(Counted::Turn, one).await, refusal);
    }
    assert_eq!(reserve(Counted::Call, one).await, None);
    assert_eq!(reserve(Counted::Call, one).await, Some(Refusal::TooManyCallsOfAgent));
    assert_eq!(reserve(Counted::Call, two).await, None);
    assert_eq!(reserve(Counted::Call, three).await, Some(Refusal::TooManyCalls));
    assert_eq!(reserve(Counted::Not, one).await, None);
}

#[tokio::test]
async fn a_lease_that_nobody_used_runs_out() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let hard = budget(BudgetScope::Tenant, story.tenant_id.0, 1, true);
    let test = with_budgets(&mut story, &log, &[hard]).await;
    let reserve = async |lease| {
        let wanted = Wanted { lease, ..wanted(&story, Uuid::now_v7()) };
        reservations::reserve(&test.database, &wanted).await.unwrap()
    };
    assert_eq!(reserve(LEASE).await, None);
    assert!(reserve(LEASE).await.is_some());
    sqlx::query("update reservations set lease_until = clock_timestamp()")
        .execute(&test.admin)
        .await
        .unwrap();
    assert_eq!(cents(&test, &story, month(&story)).await, (0, 0));
    assert_eq!(reserve(LEASE).await, None);
    let left: i64 =
        sqlx::query_scalar("select count(*) from reservations").fetch_one(&test.admin).await.unwrap();
    assert_eq!(left, 1, "the one that ran out is gone");
}

/// The events of one chat, the last of which ends it; each attempt on its bill costs what the story says.
fn chat(story: &mut Story) -> (Chat, Vec<events::Event>) {
    let chat = Story::chat(SessionId::new());
    let events = story.answered(chat);
    (chat, events)
}

#[tokio::test]
async fn accepted_work_holds_its_room_until_its_costs_are_spent() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let hard = budget(BudgetScope::Tenant, story.tenant_id.0, 1, true);
    let test = with_budgets(&mut story, &log, &[hard]).await;
    let (told, events) = chat(&mut story);
    let is_end = |payload: &Payload| matches!(payload, Payload::ReplyCompleted(_));
    let end = events.iter().position(|event| is_end(&event.payload)).unwrap();
    let reserved = wanted(&story, told.job_id.0);
    assert_eq!(reservations::reserve(&test.database, &reserved).await.unwrap(), None);

    let process = Process::start(&test.database, &log);
    process.reaches_in(Projection::Budgets, log.append_all(0, &events[..end])).await;
    // However long it takes.
    sqlx::query("update reservations set lease_until = clock_timestamp() where lease_until is not null")
        .execute(&test.admin)
        .await
        .unwrap();
    assert_eq!(cents(&test, &story, month(&story)).await, (0, 1));
    reservations::release(&test.database, story.tenant_id, told.job_id.0).await.unwrap();
    assert_eq!(cents(&test, &story, month(&story)).await, (0, 1), "accepted work is not released");

    process.reaches_in(Projection::Budgets, log.append_all(0, &events[end..])).await;
    let found = reservations::standings(&test.database, story.tenant_id, month(&story), Page::first(1))
        .await
        .unwrap();
    let Payload::ReplyCompleted(reply) = &events[end].payload else { panic!() };
    assert_eq!((found[0].spent_usd, found[0].reserved_usd), (reply.cost_usd, Decimal::ZERO));
    process.stop().await;
}

#[tokio::test]
async fn open_work_counts_and_what_its_reservation_lost_is_reserved_anew() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let hard = budget(BudgetScope::Tenant, story.tenant_id.0, 2, true);
    let test = with_budgets(&mut story, &log, &[hard]).await;
    let (_, ended) = chat(&mut story);
    let (open, events) = chat(&mut story);
    log.append_all(0, &ended);
    let is_received = |event: &&events::Event| matches!(event.payload, Payload::MessageReceived(_));
    let received = events.iter().find(is_received).unwrap();
    let last = log.append(0, received);
    project(&test.database, &log, last).await;
    // Accepted without one, or lost.
    let left: i64 =
        sqlx::query_scalar("select count(*) from reservations").fetch_one(&test.admin).await.unwrap();
    assert_eq!(left, 0);
    assert_eq!(reservations::turns_under_way(&test.database, story.tenant_id).await.unwrap(), 1);
    let most = Most { turns: Some(1), ..Most::default() };
    let another = Wanted { most, ..wanted(&story, Uuid::now_v7()) };
    let refusal = reservations::reserve(&test.database, &another).await.unwrap();
    assert_eq!(refusal, Some(Refusal::TooManyTurns));
    // Whoever works on it reserves what it may cost, until it is over.
    assert_eq!(reservations::reserve(&test.database, &wanted(&story, open.job_id.0)).await.unwrap(), None);
    let leases: Vec<Option<DateTime<Utc>>> =
        sqlx::query_scalar("select lease_until from reservations").fetch_all(&test.admin).await.unwrap();
    assert_eq!(leases, [None]);
    assert_eq!(cents(&test, &story, month(&story)).await.1, 1);
}

#[tokio::test]
async fn spending_is_counted_in_the_months_of_the_tenants_clock_and_survives_a_rebuild() {
    let (mut story, log) = (Story::new(), MemoryLog::new(1));
    let hard = budget(BudgetScope::Tenant, story.tenant_id.0, 1, true);
    let test = with_budgets(&mut story, &log, &[hard]).await;
    let (_, mut events) = chat(&mut story);
    // 31 October in UTC and in Berlin; 1 November in Kathmandu from 18:15 on.
    let at: DateTime<Utc> = "2026-10-31T18:20:00Z".parse().unwrap();
    for (event, ms) in events.iter_mut().zip(0..) {
        event.envelope.time = at + TimeDelta::milliseconds(ms);
    }
    let last = log.append_all(0, &events);
    project(&test.database, &log, last).await;
    let spent = async |zone: &str, at: &str| {
        let month = Month::at(at.parse().unwrap(), Zone::named(zone).unwrap());
        let found =
            reservations::standings(&test.database, story.tenant_id, month, Page::first(1)).await.unwrap();
        !found[0].spent_usd.is_zero()
    };
    for (zone, in_october, in_november) in
        [("UTC", true, false), ("Europe/Berlin", true, false), ("Asia/Kathmandu", false, true)]
    {
        assert_eq!(spent(zone, "2026-10-15T12:00:00Z").await, in_october, "{zone}");
        assert_eq!(spent(zone, "2026-11-15T12:00:00Z").await, in_november, "{zone}");
    }
    let report =
        rebuild(&test.database, &log, &[Projection::Budgets], Options { swap: true }, |_| {}).await.unwrap();
    assert!(report[0].differences.is_empty(), "{report:?}");
    assert!(spent("UTC", "2026-10-15T12:00:00Z").await);
}
