//! One calendar, many callers: a time is had once.

use std::time::Duration;

use chrono::{DateTime, Days, TimeDelta, Utc};
use cli::system::System;
use domain::{Calendar, Slot};
use events::session::{ToolRequested, ToolStatus};
use events::{
    AgentId, Aggregate, Cause, CorrelationId, Event, EventId, JobId, Origin, Payload, SessionId, TenantId,
    ToolCallId, TurnId,
};
use futures_util::future::join_all;
use nats::live::Hear;
use nats::{Expect, LiveMessage};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{World, eventually, truth};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LIMIT: Duration = Duration::from_secs(60);
const CALLERS: usize = 100;
/// Several processes share a small Postgres.
const FEW_CONNECTIONS: [(&str, &str); 1] = [("DATABASE_MAX_CONNECTIONS", "5")];

/// A result, or the error that the model is told.
type Answer = Result<Value, String>;

/// A tool call of one caller in a session of their own.
struct Call<'a> {
    system: &'a System,
    tenant_id: TenantId,
    agent_id: AgentId,
    tool_call_id: ToolCallId,
    caller: String,
}

impl<'a> Call<'a> {
    fn new(system: &'a System, (tenant_id, agent_id): (TenantId, AgentId), caller: usize) -> Self {
        let caller = format!("Caller {caller}");
        Self { system, tenant_id, agent_id, tool_call_id: ToolCallId::new(), caller }
    }

    async fn book(&self, starts_at: DateTime<Utc>) -> Answer {
        let arguments = json!({ "start": starts_at, "name": self.caller, "phone": "+1 555 0100" });
        self.run("book_appointment", &arguments).await
    }

    async fn free_on(&self, date: &str) -> Vec<String> {
        let answer = self.run("check_availability", &json!({ "date": date })).await.unwrap();
        answer["slots"].as_array().unwrap().iter().map(|slot| slot.as_str().unwrap().to_owned()).collect()
    }

    /// Asks the worker for it and waits for what it says.
    async fn run(&self, name: &str, arguments: &Value) -> Answer {
        let System { nats, keyring, clock, .. } = self.system;
        let (job_id, id) = (JobId::new(), EventId::new());
        let key_id = keyring.customer_key(self.tenant_id, "family").await.unwrap();
        let requested = ToolRequested {
            turn_id: TurnId::new(),
            job_id,
            agent_id: self.agent_id,
            tool_call_id: self.tool_call_id,
            vendor_call_id: "call_1".to_owned(),
            name: name.to_owned(),
            arguments: keyring.seal(self.tenant_id, key_id.0, id, &arguments.to_string()).await.unwrap(),
            round: 1,
            said: None,
            signature: None,
        };
        let origin = Origin {
            correlation_id: CorrelationId::new(),
            actor: "system".to_owned(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            key_id: None,
        };
        let session = Aggregate::session(self.tenant_id, SessionId::new());
        let cause = Cause { origin, causation_id: None };
        let event = Event::new(id, clock.now(), "test", session, &cause, requested);
        let mut live = nats.live.subscribe(job_id, Hear::Events).await.unwrap();
        nats.log.append(&event, Expect::Anything).await.unwrap();
        let heard = tokio::time::timeout(LIMIT, live.next()).await.unwrap();
        let Some(LiveMessage::Happened(recorded)) = heard else { panic!("{heard:?}") };
        let Payload::ToolCompleted(completed) = recorded.event.payload else { panic!("no result") };
        let sealed_for = recorded.event.envelope.id;
        let result = keyring.open(self.tenant_id, sealed_for, &completed.result).await.unwrap().unwrap();
        let result: Value = serde_json::from_str(&result).unwrap();
        match completed.status {
            ToolStatus::Ok => Ok(result),
            ToolStatus::Error => Err(result["error"].as_str().unwrap().to_owned()),
        }
    }
}

fn agent(world: &World, tenant: usize) -> (TenantId, AgentId) {
    let tenant = world.tenant(tenant);
    (tenant.id, tenant.agents[0].id)
}

/// All times of the first day after today on which the default calendar is open.
fn open_day(system: &System) -> Vec<Slot> {
    let (calendar, now) = (Calendar::of(None).unwrap(), system.clock.now());
    let mut days = (1..).map(|days| calendar.slots_on(now.date_naive() + Days::new(days), now).unwrap());
    days.find(|slots| !slots.is_empty()).unwrap()
}

fn date_of(slot: &Slot) -> String {
    slot.starts_at.date_naive().to_string()
}

/// What stands in the log of the agent's calendar, in order of time.
async fn booked(system: &System, (tenant_id, agent_id): (TenantId, AgentId)) -> Vec<(Slot, Event)> {
    let read = system.nats.log.read(&Aggregate::calendar(tenant_id, agent_id), 0).await.unwrap();
    let slot = |event: Event| {
        let Payload::AppointmentBooked(booked) = &event.payload else { panic!("{event:?}") };
        (Slot { starts_at: booked.starts_at, ends_at: booked.ends_at }, event)
    };
    let mut booked: Vec<_> = read.into_iter().map(|recorded| slot(recorded.event)).collect();
    booked.sort_by_key(|(slot, _)| slot.starts_at);
    booked
}

/// Workers and projections.
struct Hands {
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Hands {
    async fn stop(self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The answers to `asked`, by several workers, none of which begins before everything is asked, so that they meet.
async fn all_at_once(
    world: &World,
    system: &System,
    asked: impl Iterator<Item = impl Future<Output = Answer>>,
) -> (Vec<Answer>, Hands) {
    let asked: Vec<_> = asked.collect();
    let wanted = system.nats.log.last_of_partition(0).await.unwrap() + asked.len() as u64;
    let working = async {
        let mut workers = Vec::new();
        for roles in ["tools,projections", "tools", "tools", "tools", "tools", "tools"] {
            workers.push((world.connect().await, roles.parse().unwrap()));
        }
        eventually("everything is asked", LIMIT, async || {
            let last = system.nats.log.last_of_partition(0).await.ok()?;
            (last >= wanted).then_some(())
        })
        .await;
        let hands = Hands { end: CancellationToken::new(), tasks: TaskTracker::new() };
        for (worker, roles) in workers {
            let end = hands.end.clone();
            hands.tasks.spawn(async move { worker.run(&roles, None, end).await });
        }
        hands
    };
    tokio::join!(join_all(asked), working)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_who_want_one_time_get_it_once() {
    let world = World::with_environment(&FEW_CONNECTIONS).await;
    let system = world.connect().await;
    let (ours, theirs) = (agent(&world, 0), agent(&world, 1));
    let slots = open_day(&system);
    let wanted = slots[3];

    let calls: Vec<Call<'_>> = (0..CALLERS).map(|number| Call::new(&system, ours, number)).collect();
    let asked = calls.iter().map(|call| call.book(wanted.starts_at));
    let (answers, hands) = all_at_once(&world, &system, asked).await;
    let won: Vec<(&Call<'_>, &Value)> =
        calls.iter().zip(&answers).filter_map(|(call, answer)| Some((call, answer.as_ref().ok()?))).collect();
    let taken = answers.iter().filter(|answer| **answer == Err("slot_taken".to_owned())).count();
    assert_eq!((won.len(), taken), (1, CALLERS - 1), "{answers:?}");

    // The log has one event, of the one who won, and no name in clear.
    let booked_now = booked(&system, ours).await;
    assert_eq!(booked_now.len(), 1);
    let (slot, event) = &booked_now[0];
    let Payload::AppointmentBooked(appointment) = &event.payload else { panic!("{event:?}") };
    assert_eq!(*slot, wanted);
    assert_eq!(won[0].1["appointment_id"], json!(appointment.appointment_id));
    assert_eq!(won[0].1["start"], json!(wanted.starts_at));
    assert_eq!(won[0].1["end"], json!(wanted.ends_at));
    let name = system.keyring.open(ours.0, event.envelope.id, &appointment.name).await.unwrap();
    assert_eq!(name.as_ref(), Some(&won[0].0.caller));
    let stored = String::from_utf8(event.payload.encode().to_vec()).unwrap();
    assert!(!stored.contains("Caller") && !stored.contains("+1 555"), "{stored}");

    // It is not offered any more, here; another tenant's calendar is another one.
    let expected: Vec<Value> =
        slots.iter().filter(|slot| **slot != wanted).map(|slot| json!(slot.starts_at)).collect();
    let day = date_of(&wanted);
    assert_eq!(json!(Call::new(&system, ours, 0).free_on(&day).await), json!(expected));
    assert_eq!(Call::new(&system, theirs, 0).free_on(&day).await.len(), slots.len());
    assert!(Call::new(&system, theirs, 0).book(wanted.starts_at).await.is_ok());

    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
    hands.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_time_of_a_day_that_many_want_is_had_once() {
    const EACH: usize = 8;
    let world = World::with_environment(&FEW_CONNECTIONS).await;
    let system = world.connect().await;
    let ours = agent(&world, 0);
    let slots = open_day(&system);
    let calls: Vec<Call<'_>> =
        (0..slots.len() * EACH).map(|number| Call::new(&system, ours, number)).collect();
    let asked = calls.iter().enumerate().map(|(number, call)| call.book(slots[number / EACH].starts_at));
    let (answers, hands) = all_at_once(&world, &system, asked).await;
    for (of_one_time, slot) in answers.chunks(EACH).zip(&slots) {
        let won = of_one_time.iter().filter(|answer| answer.is_ok()).count();
        let taken = of_one_time.iter().filter(|answer| **answer == Err("slot_taken".to_owned())).count();
        assert_eq!((won, taken), (1, EACH - 1), "{slot:?}: {of_one_time:?}");
    }
    assert_eq!(booked(&system, ours).await.len(), slots.len());
    assert!(Call::new(&system, ours, 0).free_on(&date_of(&slots[0])).await.is_empty());
    hands.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_run_twice_books_once_and_answers_the_same() {
    let (world, _client) = World::start().await;
    let system = world.connect().await;
    let ours = agent(&world, 0);
    let starts_at = open_day(&system)[0].starts_at;
    let call = Call::new(&system, ours, 1);

    let first = call.book(starts_at).await;
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(call.book(starts_at).await, first);
    // Also from the table alone.
    truth::projections_are_level(&system).await;
    assert_eq!(call.book(starts_at).await, first);
    assert_eq!(Call::new(&system, ours, 1).book(starts_at).await, Err("slot_taken".to_owned()));
    assert_eq!(booked(&system, ours).await.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appointments_never_overlap_when_their_length_is_changed() {
    let (world, client) = World::start().await;
    let system = world.connect().await;
    let day = system.clock.now().date_naive() + Days::new(2);
    let at = |minutes: i64| day.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::minutes(minutes);
    let whole_day = json!([["00:00", "24:00"]]);
    let hours: serde_json::Map<String, Value> =
        domain::calendar::DAYS.iter().map(|day| ((*day).to_owned(), whole_day.clone())).collect();
    let made = client
        .post(
            "/api/agents",
            json!({ "name": "Desk", "calendar": { "slot_minutes": 60, "opening_hours": hours } }),
        )
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("/api/agents/{}", made.text("id"));
    let ours = (world.tenant(0).id, made.text("id").parse().unwrap());
    let set_length = async |minutes: u32| {
        let patch = json!({ "calendar": { "slot_minutes": minutes } });
        let answer = client.send(client.request(Method::PATCH, &path).json(&patch)).await.unwrap();
        assert_eq!(answer.body["calendar"]["slot_minutes"], json!(minutes), "{answer:?}");
        // Reading waits until the tables have it.
        client.get(&path).await;
    };
    client.get(&path).await;

    assert!(Call::new(&system, ours, 1).book(at(600)).await.is_ok());
    set_length(30).await;
    let taken = Err("slot_taken".to_owned());
    assert_eq!(Call::new(&system, ours, 2).book(at(600)).await, taken);
    assert_eq!(Call::new(&system, ours, 2).book(at(630)).await, taken);
    assert!(Call::new(&system, ours, 2).book(at(660)).await.is_ok());
    assert!(Call::new(&system, ours, 2).book(at(570)).await.is_ok());

    // And while it changes, whoever wins.
    let half_hours = async |from: usize| {
        let calls = (0..24).map(|number| {
            let call = Call::new(&system, ours, from + number);
            async move { call.book(at(720 + 30 * number as i64)).await.is_ok() }
        });
        join_all(calls).await.into_iter().filter(|won| *won).count()
    };
    let (first, (), second) = tokio::join!(half_hours(100), set_length(60), half_hours(200));
    let booked = booked(&system, ours).await;
    assert_eq!(booked.len(), 3 + first + second);
    for [(one, _), (next, _)] in booked.array_windows() {
        assert!(!one.overlaps(next), "{one:?} {next:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_booked_is_refused_with_a_reason() {
    let (world, _client) = World::start().await;
    let system = world.connect().await;
    let ours = agent(&world, 0);
    let slot = open_day(&system)[0];
    let cases = [
        (json!("2020-03-02T09:00:00Z"), "over"),
        (json!(slot.starts_at + TimeDelta::minutes(1)), "no appointment begins"),
        (json!(slot.starts_at + TimeDelta::days(400)), "366 days"),
        (json!(slot.starts_at.naive_utc().to_string()), "date-time"),
        (json!(7), "do not fit"),
    ];
    for (start, reason) in cases {
        let arguments = json!({ "start": start, "name": "Ada", "phone": "+1 555 0100" });
        let refused = Call::new(&system, ours, 1).run("book_appointment", &arguments).await.unwrap_err();
        assert!(refused.contains(reason), "{start}: {refused}");
    }
    let far = json!({ "date": "2999-01-01" });
    let refused = Call::new(&system, ours, 1).run("check_availability", &far).await.unwrap_err();
    assert!(refused.contains("366 days"), "{refused}");
    assert!(Call::new(&system, ours, 1).free_on("2020-03-02").await.is_empty());
    assert!(booked(&system, ours).await.is_empty());
    world.stop().await;
}
