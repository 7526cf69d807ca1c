//! Sums by hour and by day, and what is asked of them.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Interval, Zone};
use events::call::{SpeechKind, SpeechMetered, SpeechOutcome, SpeechWorkMetered};
use events::repricing::LedgerAdjusted;
use events::session::Channel;
use events::{AgentId, Aggregate, CallId, Event, EventId, Position, RepricingId, SessionId};
use projections::ledger::usage::{self, Span};
use projections::ledger::{Amounts, Group, Grouping, Used};
use projections::rebuild::{Options, rebuild};
use projections::{Progress, Projection, runner};
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::PATIENCE;
use crate::support::memory_log::MemoryLog;
use crate::support::postgres::TestDatabase;
use crate::support::story::Story;

const PARTITIONS: u16 = 3;
const EVENTS: u64 = 1_200;
/// Both clocks of New York are changed in it.
const MILLIS: u64 = 260 * 24 * 3_600_000;

fn begin() -> DateTime<Utc> {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

/// Numbers that look like chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % limit
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn time(&mut self) -> DateTime<Utc> {
        let time = begin() + TimeDelta::milliseconds(self.below(MILLIS) as i64);
        // On the hour, the edge of everything.
        if self.below(4) == 0 { domain::timeline::whole(time, TimeDelta::hours(1)) } else { time }
    }
}

fn speech(story: &mut Story, chance: &mut Chance, agents: &[AgentId]) -> Event {
    let work = SpeechWorkMetered {
        kind: chance.of(&[SpeechKind::Synthesis, SpeechKind::Transcription]),
        job_id: None,
        agent_id: chance.of(agents),
        session_id: SessionId::new(),
        provider: chance.of(&["azure", "deepgram"]).to_owned(),
        model: chance.of(&["hd", "", "nova"]).to_owned(),
        // More than fits into 64 bits when it is added up.
        audio_ms: if chance.below(100) == 0 { 9_000_000_000_000_000_000 } else { chance.below(90_000) },
        characters: chance.below(900),
        outcome: SpeechOutcome::Succeeded,
        metered: SpeechMetered {
            cost_usd: Decimal::new(chance.below(1_000_000_000) as i64, 12),
            price_version: "global:1".to_owned(),
            estimated: false,
        },
    };
    story.event(Aggregate::call(story.tenant_id, CallId::new()), Uuid::now_v7(), work)
}

fn correction(story: &mut Story, chance: &mut Chance, agents: &[AgentId]) -> Event {
    let adjusted = LedgerAdjusted {
        repricing_id: RepricingId::new(),
        repricing_number: 1,
        entry_id: EventId::new(),
        entry_occurred_at: Some(chance.time()),
        session_id: SessionId::new(),
        job_id: None,
        agent_id: chance.of(agents),
        channel: Channel::Voice,
        provider: "azure".to_owned(),
        model: "hd".to_owned(),
        delta_usd: Decimal::new(500 - chance.below(1_000) as i64, 12),
        price_version: "repricing:1".to_owned(),
    };
    story.event(Aggregate::ledger(story.tenant_id), Uuid::now_v7(), adjusted)
}

/// A year of one tenant, over all partitions; some events stand in the log twice.
fn year(story: &mut Story) -> (MemoryLog, Vec<Position>) {
    let (log, mut chance) = (MemoryLog::new(PARTITIONS), Chance(7));
    let agents = [story.agent_id, AgentId::new(), AgentId::new()];
    let mut ends = vec![];
    for partition in 0..PARTITIONS {
        let mut last = None;
        for _ in 0..EVENTS / u64::from(PARTITIONS) {
            let time = chance.time();
            let mut events = match chance.below(4) {
                0 => story.answered(Story::chat(SessionId::new())),
                1 => vec![correction(story, &mut chance, &agents)],
                _ => vec![speech(story, &mut chance, &agents)],
            };
            for event in &mut events {
                event.envelope.time = time;
                last = Some(log.append(partition, event));
            }
            if events.len() == 1 && chance.below(10) == 0 {
                last = Some(log.append(partition, &events[0]));
            }
        }
        ends.extend(last);
    }
    (log, ends)
}

async fn project_all(test: &TestDatabase, log: &MemoryLog, ends: &[Position]) {
    let (progress, shutdown, tasks) =
        (Progress::new(test.database.clone()), CancellationToken::new(), TaskTracker::new());
    let (listening, until) = (progress.clone(), shutdown.clone());
    tasks.spawn(async move { listening.run(until).await });
    for partition in 0..PARTITIONS {
        tasks.spawn(runner::run(test.database.clone(), Arc::new(log.clone()), partition, shutdown.clone()));
    }
    for position in ends {
        for projection in [Projection::Ledger, Projection::Transcripts] {
            assert!(progress.reached(projection.name(), *position, PATIENCE).await, "{position}");
        }
    }
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
}

type Counted = (String, String, Uuid, String, i64, i64, i64, Decimal);

/// The same, added up entry by entry.
async fn counted(test: &TestDatabase, span: &Span) -> Vec<Counted> {
    sqlx::query_as(
        "select provider, model, agent_id, channel, sum(messages)::int8, sum(requests)::int8, sum(tokens_in)::int8,
            sum(cost_usd)
         from (
            select provider, model, agent_id, channel, 0 as messages, requests, tokens_in, cost_usd from usage_entries
            where occurred_at >= $1 and occurred_at < $2
            union all
            select provider, model, agent_id, channel, 1, 0, 0, 0 from messages
            where role = 'assistant' and provider is not null and created_at >= $1 and created_at < $2
         ) as used group by 1, 2, 3, 4 order by 1, 2, 3, 4",
    )
    .bind(span.start)
    .bind(span.end)
    .fetch_all(&test.admin)
    .await
    .unwrap()
}

fn figures(used: &[Used], span: usize) -> Vec<Counted> {
    let of_span = used.iter().filter(|used| used.span == span);
    let figures = of_span.map(|Used { group, amounts, .. }| {
        let Group {
            provider: Some(provider),
            model: Some(model),
            agent_id: Some(agent_id),
            channel: Some(channel),
        } = group.clone()
        else {
            panic!("{group:?}")
        };
        let channel = channel.as_str().to_owned();
        let Amounts { messages, requests, tokens_in, cost_usd, .. } = *amounts;
        (provider, model, agent_id.0, channel, messages as i64, requests as i64, tokens_in as i64, cost_usd)
    });
    figures.collect()
}

#[tokio::test]
async fn sums_are_what_the_entries_are_to_the_last_digit_whatever_the_span_and_the_clock() {
    let test = TestDatabase::start().await;
    let mut story = Story::new();
    let (log, ends) = year(&mut story);
    project_all(&test, &log, &ends).await;
    let apart = Grouping { provider: true, model: true, agent: true, channel: true };
    let tenant_id = story.tenant_id;
    let used = async |spans: &[Span]| usage::used(&test.database, tenant_id, spans, apart).await.unwrap();

    let (rows, entries): (i64, i64) = sqlx::query_as(
        "select (select sum(entries)::int8 from usage_rollups where grain = 'day'), (select count(*) from usage_entries)",
    )
    .fetch_one(&test.admin)
    .await
    .unwrap();
    assert_eq!(rows, entries, "what stands in the log twice is one entry, and counts once");

    let mut chance = Chance(11);
    for _ in 0..40 {
        let from = chance.time();
        let length = chance.of(&[90, 3_600, 100_000, 9_000_000]);
        let span = from..from + TimeDelta::seconds(chance.below(length) as i64);
        assert_eq!(
            figures(&used(std::slice::from_ref(&span)).await, 0),
            counted(&test, &span).await,
            "{span:?}"
        );
    }

    let whole = begin()..begin() + TimeDelta::days(260);
    for zone in ["UTC", "America/New_York", "Asia/Kolkata"] {
        let zone = Zone::named(zone).unwrap();
        let days = Interval::Day.cut(whole.clone(), zone, 1_000).unwrap();
        let by_day = used(&days).await;
        let mut busy = 0;
        for (index, day) in days.iter().enumerate() {
            let expected = counted(&test, day).await;
            busy += usize::from(!expected.is_empty());
            assert_eq!(figures(&by_day, index), expected, "{day:?}");
        }
        assert!(busy > 200, "{busy}");
        let sum: Decimal = by_day.iter().map(|used| used.amounts.cost_usd).sum();
        let total = usage::usage(&test.database, tenant_id, &whole).await.unwrap().total;
        assert_eq!(sum, total.cost_usd);
    }
}

#[tokio::test]
async fn the_same_log_gives_the_same_sums_in_whatever_batches() {
    let test = TestDatabase::start().await;
    let mut story = Story::new();
    let (log, ends) = year(&mut story);
    project_all(&test, &log, &ends).await;
    let ledger = [Projection::Ledger];
    for report in rebuild(&test.database, &log, &ledger, Options { swap: true }, |_| {}).await.unwrap() {
        assert_eq!(report.differences, vec![]);
        assert!(report.events > EVENTS);
    }
    // What is compared would show it.
    sqlx::query("update usage_rollups set cost_usd = cost_usd + 0.000000000001 where grain = 'hour' and partition = 1")
        .execute(&test.admin)
        .await
        .unwrap();
    let reports = rebuild(&test.database, &log, &ledger, Options::default(), |_| {}).await.unwrap();
    assert!(
        reports[0]
            .differences
            .iter()
            .all(|found| found.table == "usage_rollups" && found.column == "cost_usd")
    );
    assert!(!reports[0].differences.is_empty());
}
