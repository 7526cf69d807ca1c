//! The loop every worker runs in: fetch wide, run fair, say "in progress" for all that is held, and end each delivery
//! in exactly one way.
//!
//! A delivery is acknowledged only after its handler has appended its result. A plain acknowledgement suffices: when it
//! is lost the delivery comes again, and a handler that runs twice does nothing the second time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::message::{AckKind, Acker, Message};
use bytes::Bytes;
use events::{Clock, Position, Recorded};
use futures_util::StreamExt;
use metrics::{counter, gauge};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dead_letters::{self, DeadLetter};
use crate::fair::FairQueue;
use crate::topology::{ConsumerSpec, TIMERS_STREAM};
use crate::{Log, message, subjects};

/// One piece of work, as a handler gets it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub recorded: Recorded,
    /// How often the handler asked for a retry before.
    pub retries: u32,
    /// Rises with every new delivery of the same event, so a stale copy can be told from a newer one.
    pub generation: u64,
    /// The sequence of the event of the same aggregate right before this one, when the log has checked that: whoever
    /// knows the aggregate up to there need not read it again.
    pub follows: Option<u64>,
}

/// How handling a delivery failed; nothing else decides what happens next.
#[derive(Debug)]
pub enum Failure {
    /// Something is away that will come back: the delivery returns after a pause, here or at another worker.
    Retry { after: Option<Duration>, reason: String },
    /// It is not the delivery's turn: it returns after the pause as it came, and this does not count as a retry.
    Later { after: Duration },
    /// The business failed and an event says so; the delivery is done.
    Reject { reason: String },
    /// It will never succeed: parked for a person.
    Fatal { reason: String },
    /// This copy is stale and another worker holds the event; leave it alone.
    Stale,
    /// The work is not done and this process is about to stop: another worker goes on with it at once.
    HandOver,
}

/// A worker role's work. It may be handed the same event twice, and must then do nothing the second time.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, delivery: &Delivery) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Called before a delivery is parked: append the event that tells its user.
    fn give_up(&self, delivery: &Delivery, reason: &str) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How much one process takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deliveries held, waiting or running; more are left with the server.
    pub held: usize,
    /// Handlers running at once.
    pub running: usize,
    /// Handlers of one tenant running at once.
    pub running_per_tenant: usize,
    /// How long running handlers may finish after a shutdown was asked for.
    pub drain: Duration,
}

/// After so many retries a delivery is parked. With the pauses below: about ten minutes.
const MAX_RETRIES: u32 = 25;
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];
/// Pull requests: how many messages, how long open, how often the server says it is alive.
const PULL_BATCH: usize = 500;
const PULL_EXPIRES: Duration = Duration::from_secs(30);
const PULL_HEARTBEAT: Duration = Duration::from_secs(5);
/// Pause before a broken stream of deliveries is made again.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

const HELD: &str = "vocalbridge_worker_held_deliveries";
const OUTCOMES: &str = "vocalbridge_worker_deliveries_total";

/// What a retry's timer carries.
#[derive(Serialize, Deserialize)]
struct RetryTicket {
    position: Position,
    retries: u32,
}

/// A message as it came from the server.
struct Fetched {
    position: Position,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    retries: u32,
    generation: u64,
    acker: Arc<Acker>,
}

type Key = (Position, u32);

struct Worker<H> {
    log: Log,
    clock: Clock,
    spec: ConsumerSpec,
    handler: Arc<H>,
}

/// Consumes the lane of `spec` until `shutdown`, then drains.
pub async fn run<H: Handler>(
    log: Log,
    clock: Clock,
    spec: ConsumerSpec,
    limits: Limits,
    handler: Arc<H>,
    shutdown: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let (fetched_tx, mut fetched) = mpsc::channel::<Fetched>(1);
    for partition in 0..log.partitions() {
        let feed = feed(log.clone(), subjects::stream(partition), spec, fetched_tx.clone(), shutdown.clone());
        tracker.spawn(feed);
    }
    tracker.spawn(feed(log.clone(), TIMERS_STREAM.to_owned(), spec, fetched_tx, shutdown.clone()));

    let worker = Arc::new(Worker { log, clock, spec, handler });
    let (done_tx, mut done) = mpsc::channel::<(String, Key)>(limits.running.max(1));
    let mut queue: FairQueue<Fetched> = FairQueue::new(limits.running_per_tenant);
    let mut held: HashMap<Key, Arc<Acker>> = HashMap::new();
    let mut running = 0;
    let mut heartbeat = interval(spec.ack_wait / 3);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drain_until: Option<Instant> = None;

    loop {
        while drain_until.is_none() && running < limits.running {
            let Some((tenant, next)) = queue.pop() else { break };
            running += 1;
            let (worker, done) = (worker.clone(), done_tx.clone());
            tracker.spawn(async move {
                let key = (next.position, next.retries);
                worker.work(next).await;
                let _ = done.send((tenant, key)).await;
            });
        }
        if drain_until.is_some() && running == 0 {
            break;
        }
        gauge!(HELD, "consumer" => spec.name).set(held.len() as f64);
        // Every branch is cancel-safe: channel receives, a timer and a token lose nothing when another branch wins.
        tokio::select! {
            () = shutdown.cancelled(), if drain_until.is_none() => {
                for waiting in queue.drain() {
                    held.remove(&(waiting.position, waiting.retries));
                    let _ = waiting.acker.ack_with(AckKind::Nak(None)).await;
                }
                drain_until = Some(Instant::now() + limits.drain);
            }
            () = until(drain_until) => {
                tracing::warn!(consumer = spec.name, running, "stopped before all work was finished; others will take it");
                break;
            }
            Some((tenant, key)) = done.recv() => {
                queue.finished(&tenant);
                held.remove(&key);
                running -= 1;
            }
            Some(next) = fetched.recv(), if drain_until.is_none() && held.len() < limits.held => {
                let key = (next.position, next.retries);
                // The same event again while we hold it: keep the newer acknowledgement, do not work twice.
                if held.insert(key, next.acker.clone()).is_none() {
                    queue.push(subjects::tenant_of(&next.subject).to_owned(), next);
                }
            }
            _ = heartbeat.tick() => {
                for acker in held.values() {
                    let _ = acker.ack_with(AckKind::Progress).await;
                }
            }
        }
    }
    tracker.close();
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Keeps a stream of deliveries open and passes them on, whatever breaks.
async fn feed(
    log: Log,
    stream: String,
    spec: ConsumerSpec,
    deliveries: mpsc::Sender<Fetched>,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let mut reconnected = std::pin::pin!(log.reconnected());
        match open(&log, &stream, spec).await {
            Ok(mut messages) => loop {
                // Cancel-safe: the stream keeps what it has buffered, and what it has not delivered stays unacknowledged.
                let next = tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = &mut reconnected => break,
                    next = messages.next() => next,
                };
                match next {
                    Some(Ok(message)) => {
                        if let Some(fetched) = take(&log, &stream, message).await
                            && deliveries.send(fetched).await.is_err()
                        {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        tracing::warn!(consumer = spec.name, stream, %error, "deliveries broke off; opening them again");
                        break;
                    }
                    None => break,
                }
            },
            Err(error) => {
                tracing::warn!(consumer = spec.name, stream, error = %message::reason(&*error), "cannot open deliveries yet");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(REOPEN_PAUSE) => {}
        }
    }
}

async fn open(log: &Log, stream: &str, spec: ConsumerSpec) -> Result<pull::Stream, async_nats::Error> {
    let consumer: PullConsumer = log.context().get_consumer_from_stream(spec.name, stream).await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(PULL_BATCH)
        .expires(PULL_EXPIRES)
        .heartbeat(PULL_HEARTBEAT)
        .messages()
        .await?;
    Ok(messages)
}

/// Reads a delivery of an event stream, or a due retry (and then the event it is about).
async fn take(log: &Log, stream: &str, mut received: Message) -> Option<Fetched> {
    let (delivered, sequence) = {
        let info = received.info().ok()?;
        (info.delivered.max(0) as u64, info.stream_sequence)
    };
    // What comes off the connection is a part of a large buffer. A delivery may be held for an hour.
    received.message.reply = received.message.reply.map(|reply| reply.to_string().into());
    let (message, acker) = received.split();
    if stream != TIMERS_STREAM {
        let partition = stream.rsplit('_').next()?.parse().ok()?;
        return Some(Fetched {
            position: Position { partition, sequence },
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            payload: Bytes::copy_from_slice(&message.payload),
            retries: 0,
            generation: delivered,
            acker: Arc::new(acker),
        });
    }
    let Ok(RetryTicket { position, retries }) = serde_json::from_slice(&message.payload) else {
        tracing::error!(subject = %message.subject, "a retry timer cannot be read and was dropped");
        let _ = acker.ack().await;
        return None;
    };
    let stored = log.stream(position.partition).direct_get(position.sequence).await.ok()?;
    Some(Fetched {
        position,
        subject: stored.subject.to_string(),
        headers: stored.headers,
        payload: stored.payload,
        retries,
        generation: (u64::from(retries) << 32) + delivered,
        acker: Arc::new(acker),
    })
}

impl<H: Handler> Worker<H> {
    async fn work(&self, fetched: Fetched) {
        let outcome = match message::decode(&fetched.headers, &fetched.payload) {
            Err(error) => self.park(&fetched, None, &message::reason(&error)).await,
            Ok(event) => {
                let recorded = Recorded { position: fetched.position, event };
                let Fetched { retries, generation, .. } = fetched;
                let follows = crate::log::expected_sequence(&fetched.headers);
                let delivery = Delivery { recorded, retries, generation, follows };
                match self.handler.handle(&delivery).await {
                    Ok(()) => acknowledge(&fetched, "done").await,
                    Err(failure) => self.failed(&fetched, &delivery, failure).await,
                }
            }
        };
        counter!(OUTCOMES, "consumer" => self.spec.name, "outcome" => outcome).increment(1);
    }

    async fn failed(&self, fetched: &Fetched, delivery: &Delivery, failure: Failure) -> &'static str {
        let event = &delivery.recorded.event;
        match failure {
            Failure::Stale => "stale",
            Failure::HandOver => hand_over(fetched).await,
            Failure::Later { after } => self.come_back(fetched, after, fetched.retries, "put_off").await,
            Failure::Reject { reason } => {
                tracing::info!(
                    consumer = self.spec.name,
                    event_type = event.payload.event_type(),
                    reason,
                    "a delivery was rejected"
                );
                acknowledge(fetched, "rejected").await
            }
            Failure::Retry { after, reason } if fetched.retries < MAX_RETRIES => {
                self.retry(fetched, after, &reason).await
            }
            Failure::Retry { reason, .. } => {
                self.park(fetched, Some(delivery), &format!("gave up after {MAX_RETRIES} retries: {reason}"))
                    .await
            }
            Failure::Fatal { reason } => self.park(fetched, Some(delivery), &reason).await,
        }
    }

    async fn retry(&self, fetched: &Fetched, after: Option<Duration>, reason: &str) -> &'static str {
        let step = usize::try_from(fetched.retries).unwrap_or(usize::MAX).min(RETRY_PAUSES.len() - 1);
        let pause = after.unwrap_or(RETRY_PAUSES[step]);
        let retries = fetched.retries + 1;
        tracing::warn!(
            consumer = self.spec.name, position = %fetched.position, retries, reason,
            pause_ms = pause.as_millis() as u64, "a delivery will be tried again"
        );
        self.come_back(fetched, pause, retries, "retried").await
    }

    async fn come_back(
        &self,
        fetched: &Fetched,
        pause: Duration,
        retries: u32,
        outcome: &'static str,
    ) -> &'static str {
        let ticket = RetryTicket { position: fetched.position, retries };
        let id = format!("{}-{}-{}", ticket.position.partition, ticket.position.sequence, ticket.retries);
        let due = self.clock.now() + pause;
        let payload = serde_json::to_vec(&ticket).unwrap_or_default().into();
        match self.log.set_timer(self.spec.name, &id, due, payload).await {
            Ok(()) => acknowledge(fetched, outcome).await,
            Err(error) => {
                // Not acknowledged: the server delivers it again after the acknowledgement wait.
                tracing::warn!(consumer = self.spec.name, error = %message::reason(&error), "a retry waits for the server");
                "unsettled"
            }
        }
    }

    async fn park(&self, fetched: &Fetched, delivery: Option<&Delivery>, reason: &str) -> &'static str {
        tracing::error!(consumer = self.spec.name, position = %fetched.position, reason, "a delivery was parked");
        if let Some(delivery) = delivery
            && let Err(failure) = self.handler.give_up(delivery, reason).await
        {
            tracing::warn!(
                consumer = self.spec.name,
                ?failure,
                "a parked delivery's user could not be told yet"
            );
            return "unsettled";
        }
        let letter = DeadLetter {
            consumer: self.spec.name,
            partition: fetched.position.partition,
            sequence: fetched.position.sequence,
            subject: &fetched.subject,
            headers: &fetched.headers,
            payload: &fetched.payload,
            reason,
            deliveries: fetched.retries + 1,
        };
        match dead_letters::park(&self.log, &self.clock, letter).await {
            Ok(()) => acknowledge(fetched, "parked").await,
            Err(error) => {
                tracing::warn!(consumer = self.spec.name, error = %message::reason(&error), "parking waits for the server");
                "unsettled"
            }
        }
    }
}

/// The deliveries of this process are closed when it is about to stop, so the server hands it to another.
async fn hand_over(fetched: &Fetched) -> &'static str {
    if let Err(error) = fetched.acker.ack_with(AckKind::Nak(None)).await {
        tracing::warn!(position = %fetched.position, %error, "a delivery was not handed over; it will come again");
    }
    "handed_over"
}

async fn acknowledge(fetched: &Fetched, outcome: &'static str) -> &'static str {
    if let Err(error) = fetched.acker.ack().await {
        tracing::warn!(position = %fetched.position, %error, "an acknowledgement was not sent; the delivery will come again");
    }
    outcome
}
