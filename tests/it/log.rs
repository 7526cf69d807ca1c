//! The log and the workers' loop, against a real nats-server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cli::system::System;
use events::session::{MessageReceived, SessionEnded};
use events::{
    Aggregate, Cause, CorrelationId, Event, EventId, JobId, MessageId, Origin, Payload, Sealed, SessionId,
    TenantId,
};
use nats::consume::{self, Limits};
use nats::topology::{TOOLS, TURNS};
use nats::{AppendError, Delivery, Expect, Failure, Handler};
use tests::{World, eventually, truth};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(30);
const LIMITS: Limits =
    Limits { held: 100, running: 10, running_per_tenant: 10, drain: Duration::from_secs(2) };

fn cause() -> Cause {
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "system".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        key_id: None,
    };
    Cause { origin, causation_id: None }
}

fn ended(system: &System, session: Aggregate, reason: &str) -> Event {
    let payload = SessionEnded { reason: reason.to_owned() };
    Event::new(EventId::new(), system.clock.now(), "test", session, &cause(), payload)
}

fn message(system: &System) -> Event {
    let payload = MessageReceived {
        message_id: MessageId::new(),
        job_id: JobId::new(),
        content: Sealed { key_id: Uuid::nil(), ciphertext: String::new() },
        agent_version: 1,
        stream: false,
        spoken: None,
        callback: None,
        aloud: false,
    };
    let session = Aggregate::session(TenantId::new(), SessionId::new());
    Event::new(EventId::new(), system.clock.now(), "test", session, &cause(), payload)
}

#[tokio::test]
async fn a_deciding_append_stands_only_on_what_it_was_decided_from() {
    let world = World::services().await;
    let system = world.connect().await;
    let log = &system.nats.log;
    let session = Aggregate::session(TenantId::new(), SessionId::new());
    let first = ended(&system, session, "first");
    let position = log.append(&first, Expect::Last(0)).await.unwrap();

    let late = log.append(&ended(&system, session, "late"), Expect::Last(0)).await;
    assert!(matches!(late, Err(AppendError::Conflict { .. })), "{late:?}");
    let next = log.append(&ended(&system, session, "next"), Expect::Last(position.sequence)).await;
    assert!(next.is_ok(), "{next:?}");
    // Another aggregate is not disturbed, nor are facts that need no check.
    let facts = Aggregate::session_facts(session.tenant_id, SessionId(session.id));
    log.append(&ended(&system, facts, "fact"), Expect::Anything).await.unwrap();
    let read = log.read(&session, 0).await.unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(log.last_of(&session).await.unwrap(), read[1].position.sequence);
}

#[tokio::test]
async fn an_event_appended_twice_stands_once() {
    let world = World::services().await;
    let system = world.connect().await;
    let event = message(&system);
    let first = system.nats.log.append(&event, Expect::Anything).await.unwrap();
    let again = system.nats.log.append(&event, Expect::Anything).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(system.nats.log.read(&event.envelope.aggregate, 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_long_history_is_read_whole_and_in_order() {
    const LENGTH: usize = 2 * nats::log::READ_PAGE + 7;
    let world = World::services().await;
    let system = world.connect().await;
    let session = Aggregate::session(TenantId::new(), SessionId::new());
    let mut pending = Vec::new();
    for number in 0..LENGTH {
        pending.push(
            system.nats.log.send(&ended(&system, session, &number.to_string()), Expect::Anything).await,
        );
    }
    for append in pending {
        append.acknowledged().await.unwrap();
    }
    let read = system.nats.log.read(&session, 0).await.unwrap();
    let reasons: Vec<String> = read
        .into_iter()
        .map(|recorded| match recorded.event.payload {
            Payload::SessionEnded(ended) => ended.reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, (0..LENGTH).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Says what came, and does as `answer` says.
struct Told<F> {
    came: mpsc::Sender<(EventId, u32)>,
    gave_up: AtomicU32,
    answer: F,
}

impl<F: Fn(&Delivery) -> Result<(), Failure> + Send + Sync + 'static> Handler for Told<F> {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        let _ = self.came.send((delivery.recorded.event.envelope.id, delivery.retries)).await;
        (self.answer)(delivery)
    }

    async fn give_up(&self, _: &Delivery, _: &str) -> Result<(), Failure> {
        self.gave_up.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Loop<F> {
    handler: Arc<Told<F>>,
    came: mpsc::Receiver<(EventId, u32)>,
    end: CancellationToken,
    tracker: TaskTracker,
}

impl<F: Fn(&Delivery) -> Result<(), Failure> + Send + Sync + 'static> Loop<F> {
    fn start(system: &System, answer: F) -> Self {
        let (sender, came) = mpsc::channel(100);
        let handler = Arc::new(Told { came: sender, gave_up: AtomicU32::new(0), answer });
        let (end, tracker) = (CancellationToken::new(), TaskTracker::new());
        let run = consume::run(
            system.nats.log.clone(),
            system.clock.clone(),
            TURNS,
            LIMITS,
            handler.clone(),
            end.clone(),
        );
        tracker.spawn(run);
        Self { handler, came, end, tracker }
    }

    async fn next(&mut self) -> (EventId, u32) {
        tokio::time::timeout(LIMIT, self.came.recv()).await.unwrap().unwrap()
    }

    async fn stop(self) {
        self.end.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[tokio::test]
async fn a_delivery_that_asks_for_a_retry_comes_again_with_its_count() {
    let world = World::services().await;
    let system = world.connect().await;
    let event = message(&system);
    system.nats.log.append(&event, Expect::Anything).await.unwrap();
    let mut running = Loop::start(&system, |delivery| match delivery.retries {
        0 | 1 => Err(Failure::Retry { after: Some(Duration::from_millis(50)), reason: "not yet".to_owned() }),
        _ => Ok(()),
    });
    for retries in 0..3 {
        assert_eq!(running.next().await, (event.envelope.id, retries));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_fatal_delivery_is_parked_and_told_of_and_holds_nobody_up() {
    let world = World::services().await;
    let system = world.connect().await;
    let (poison, good) = (message(&system), message(&system));
    let position = system.nats.log.append(&poison, Expect::Anything).await.unwrap();
    let poisonous = poison.envelope.id;
    let mut running = Loop::start(&system, move |delivery| {
        let fatal = delivery.recorded.event.envelope.id == poisonous;
        if fatal { Err(Failure::Fatal { reason: "poison".to_owned() }) } else { Ok(()) }
    });
    assert_eq!(running.next().await.0, poison.envelope.id);
    let parked = eventually("the parking", LIMIT, async || {
        let events = truth::Truth::read(&system).await.events;
        events.into_iter().find_map(|event| match event.payload {
            Payload::DeliveryParked(parked) => Some(parked),
            _ => None,
        })
    })
    .await;
    assert_eq!((parked.sequence, parked.reason.as_str()), (position.sequence, "poison"));
    assert_eq!(running.handler.gave_up.load(Ordering::Relaxed), 1);
    system.nats.log.append(&good, Expect::Anything).await.unwrap();
    assert_eq!(running.next().await.0, good.envelope.id);
    running.stop().await;
}

#[tokio::test]
async fn work_that_a_stopping_worker_did_not_begin_goes_to_the_next_one() {
    let world = World::services().await;
    let system = world.connect().await;
    let first = Loop::start(&system, |_| Ok(()));
    first.stop().await;
    let event = message(&system);
    system.nats.log.append(&event, Expect::Anything).await.unwrap();
    let mut second = Loop::start(&system, |_| Ok(()));
    assert_eq!(second.next().await.0, event.envelope.id);
    second.stop().await;
}

/// Works until it is told to stop, as whoever talks on a call does.
struct Talks {
    came: mpsc::Sender<u64>,
    stop: CancellationToken,
}

impl Handler for Talks {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        let _ = self.came.send(delivery.generation).await;
        self.stop.cancelled().await;
        Err(Failure::HandOver)
    }

    async fn give_up(&self, _: &Delivery, _: &str) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn work_that_is_handed_over_goes_on_elsewhere_at_once() {
    let world = World::services().await;
    let system = world.connect().await;
    let tracker = TaskTracker::new();
    let start = |system: &System| {
        let (sender, came) = mpsc::channel(10);
        let stop = CancellationToken::new();
        let handler = Arc::new(Talks { came: sender, stop: stop.clone() });
        let (log, clock) = (system.nats.log.clone(), system.clock.clone());
        tracker.spawn(consume::run(log, clock, TOOLS, LIMITS, handler, stop.clone()));
        (came, stop)
    };
    let (mut first, stop_first) = start(&system);
    let wanted = events::samples::payloads()
        .into_iter()
        .find(|payload| matches!(payload, Payload::ToolRequested(_)))
        .unwrap();
    let session = Aggregate::session(TenantId::new(), SessionId::new());
    let event = Event::new(EventId::new(), system.clock.now(), "test", session, &cause(), wanted);
    system.nats.log.append(&event, Expect::Anything).await.unwrap();
    let generation = tokio::time::timeout(LIMIT, first.recv()).await.unwrap().unwrap();

    let (mut second, stop_second) = start(&system);
    let asked = tokio::time::Instant::now();
    stop_first.cancel();
    let taken_over = tokio::time::timeout(LIMIT, second.recv()).await.unwrap().unwrap();
    assert!(taken_over > generation, "whoever goes on knows that it takes over");
    // The last heartbeat was at most a third of this before.
    assert!(asked.elapsed() < TOOLS.ack_wait / 2, "nobody waited for silence: {:?}", asked.elapsed());
    stop_second.cancel();
    tracker.close();
    tracker.wait().await;
}
