//! Every stream, consumer and bucket, in one table, made sure of at start.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy};
use async_nats::jetstream::stream::{self, Compression, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, kv, object_store};
use events::Lane;

use crate::subjects;

/// What an installation decides once.
#[derive(Clone, Debug)]
pub struct TopologyConfig {
    /// 1 to 99; taken when the streams are first made, fixed ever after. 1 suits one machine, 16 a cluster.
    pub partitions: u16,
    /// Copies of every stream: 1 on one server, 3 on a cluster.
    pub replicas: usize,
}

impl Default for TopologyConfig {
    fn default() -> Self {
        Self { partitions: 1, replicas: 1 }
    }
}

/// The streams could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    #[error("cannot make the stream {name}")]
    Stream { name: String, source: async_nats::jetstream::context::CreateStreamError },
    #[error("cannot read the stream {name}")]
    ReadStream { name: String, source: async_nats::jetstream::context::GetStreamError },
    #[error("cannot make the consumer {name} of {stream}")]
    Consumer { stream: String, name: &'static str, source: stream::ConsumerError },
    #[error("cannot make the bucket {name}")]
    Bucket { name: &'static str, source: async_nats::jetstream::context::CreateKeyValueError },
    #[error("cannot make the object store {name}")]
    ObjectStore { name: &'static str, source: async_nats::jetstream::context::CreateObjectStoreError },
    #[error("the stream {name} has no readable partition count")]
    Foreign { name: String },
}

/// A durable consumer: one worker role's view of its lane.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSpec {
    pub name: &'static str,
    pub lane: Lane,
    /// A delivery neither acknowledged nor called in progress for this long goes to another worker.
    pub ack_wait: Duration,
}

/// The brain: answers messages. A caller waits no longer for the turn of a worker that died.
pub const TURNS: ConsumerSpec =
    ConsumerSpec { name: "turns", lane: Lane::Turn, ack_wait: Duration::from_secs(2) };
/// The hands: runs tools.
pub const TOOLS: ConsumerSpec =
    ConsumerSpec { name: "tools", lane: Lane::Tool, ack_wait: Duration::from_secs(5) };

/// Ears and mouth: talks on calls. A caller hears nothing until another worker has taken over from one that died.
pub const VOICE: ConsumerSpec =
    ConsumerSpec { name: "voice", lane: Lane::Voice, ack_wait: Duration::from_millis(1_500) };
/// Puts calls into few words once they are over.
pub const SUMMARIES: ConsumerSpec =
    ConsumerSpec { name: "summaries", lane: Lane::Summary, ack_wait: Duration::from_secs(5) };

/// Corrects what was charged.
pub const REPRICINGS: ConsumerSpec =
    ConsumerSpec { name: "repricings", lane: Lane::Repricing, ack_wait: Duration::from_secs(5) };
/// Tells tenants' webhooks. An attempt may last 15 s; a worker that is killed in one is noticed sooner.
pub const WEBHOOKS: ConsumerSpec =
    ConsumerSpec { name: "webhooks", lane: Lane::Webhook, ack_wait: Duration::from_secs(5) };

/// Every durable consumer of the event streams.
pub const CONSUMERS: [ConsumerSpec; 6] = [TURNS, TOOLS, VOICE, SUMMARIES, REPRICINGS, WEBHOOKS];

pub(crate) const TIMERS_STREAM: &str = "TIMERS";
pub(crate) const RECORDINGS_STREAM: &str = "RECORDINGS";
pub(crate) const DEAD_LETTERS_STREAM: &str = "DLQ";
const ADVISORIES_STREAM: &str = "ADVISORIES";
pub(crate) const IDEMPOTENCY_BUCKET: &str = "idempotency";
pub(crate) const INSTALLATION_BUCKET: &str = "installation";
pub(crate) const ARTEFACTS_BUCKET: &str = "artefacts";

/// How long a repeated `Nats-Msg-Id` is recognised.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
/// Deliveries of one consumer that may be out with workers at once; what bounds a flood is the tenants' own limits.
const MAX_ACK_PENDING: i64 = 20_000;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3_600);
const ADVISORIES_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A timer that was due and not taken for this long has nobody to take it.
const TIMERS_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);
const PARTITIONS_KEY: &str = "vocalbridge.partitions";

/// Makes sure of everything and answers the installation's number of partitions, which is that of the streams when
/// there are any already.
///
/// # Errors
/// When the server refuses a stream, consumer or bucket.
pub async fn ensure(context: &Context, config: &TopologyConfig) -> Result<u16, TopologyError> {
    let first = ensure_stream(context, event_stream(0, config.partitions, config.replicas)).await?;
    let partitions = first
        .config
        .metadata
        .get(PARTITIONS_KEY)
        .and_then(|count| count.parse::<u16>().ok())
        .ok_or(TopologyError::Foreign { name: subjects::stream(0) })?;
    for partition in 1..partitions {
        ensure_stream(context, event_stream(partition, partitions, config.replicas)).await?;
    }
    let others = [
        timers_stream(config),
        dead_letters_stream(config),
        advisories_stream(config),
        recordings_stream(config),
    ];
    for stream in others {
        ensure_stream(context, stream).await?;
    }
    for partition in 0..partitions {
        for spec in CONSUMERS {
            ensure_consumer(context, &subjects::stream(partition), &spec, subjects::lane_filter(spec.lane))
                .await?;
        }
    }
    for spec in CONSUMERS {
        ensure_consumer(context, TIMERS_STREAM, &spec, subjects::timer_due_filter(spec.name)).await?;
    }
    ensure_bucket(context, IDEMPOTENCY_BUCKET, IDEMPOTENCY_TTL, config.replicas).await?;
    ensure_bucket(context, INSTALLATION_BUCKET, Duration::ZERO, config.replicas).await?;
    ensure_artefacts(context, config.replicas).await?;
    Ok(partitions)
}

fn event_stream(partition: u16, partitions: u16, replicas: usize) -> stream::Config {
    stream::Config {
        name: subjects::stream(partition),
        subjects: vec![subjects::partition_filter(partition)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: replicas,
        compression: Some(Compression::S2),
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        deny_delete: true,
        deny_purge: true,
        metadata: HashMap::from([(PARTITIONS_KEY.to_owned(), partitions.to_string())]),
        ..Default::default()
    }
}

fn timers_stream(config: &TopologyConfig) -> stream::Config {
    stream::Config {
        name: TIMERS_STREAM.to_owned(),
        subjects: vec!["timer.>".to_owned()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: config.replicas,
        max_age: TIMERS_MAX_AGE,
        allow_message_schedules: true,
        allow_message_ttl: true,
        allow_direct: true,
        ..Default::default()
    }
}

fn dead_letters_stream(config: &TopologyConfig) -> stream::Config {
    stream::Config {
        name: DEAD_LETTERS_STREAM.to_owned(),
        subjects: vec!["dlq.>".to_owned()],
        storage: StorageType::File,
        num_replicas: config.replicas,
        allow_direct: true,
        ..Default::default()
    }
}

/// The safety net under our own counting: deliveries that the server itself gave up.
fn advisories_stream(config: &TopologyConfig) -> stream::Config {
    stream::Config {
        name: ADVISORIES_STREAM.to_owned(),
        subjects: vec![
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>".to_owned(),
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>".to_owned(),
        ],
        storage: StorageType::File,
        num_replicas: config.replicas,
        max_age: ADVISORIES_MAX_AGE,
        ..Default::default()
    }
}

/// What was said in calls, sealed: kept until the call is deleted.
fn recordings_stream(config: &TopologyConfig) -> stream::Config {
    stream::Config {
        name: RECORDINGS_STREAM.to_owned(),
        subjects: vec!["rec.>".to_owned()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: config.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        ..Default::default()
    }
}

async fn ensure_stream(context: &Context, config: stream::Config) -> Result<stream::Info, TopologyError> {
    let name = config.name.clone();
    if let Ok(stream) = context.get_stream(&name).await {
        return Ok(stream.cached_info().clone());
    }
    // Two processes may start at once; whichever comes second finds the stream made.
    match context.create_stream(config).await {
        Ok(stream) => Ok(stream.cached_info().clone()),
        Err(source) => match context.get_stream(&name).await {
            Ok(stream) => Ok(stream.cached_info().clone()),
            Err(_) => Err(TopologyError::Stream { name, source }),
        },
    }
}

/// `max_age` zero: values stay.
async fn ensure_bucket(
    context: &Context,
    name: &'static str,
    max_age: Duration,
    num_replicas: usize,
) -> Result<(), TopologyError> {
    if context.get_key_value(name).await.is_ok() {
        return Ok(());
    }
    let config = kv::Config {
        bucket: name.to_owned(),
        max_age,
        storage: StorageType::File,
        num_replicas,
        ..Default::default()
    };
    let made = context.create_key_value(config).await;
    made.map(|_| ()).map_err(|source| TopologyError::Bucket { name, source })
}

/// Files of conversations, sealed; until somebody deletes them.
async fn ensure_artefacts(context: &Context, num_replicas: usize) -> Result<(), TopologyError> {
    if context.get_object_store(ARTEFACTS_BUCKET).await.is_ok() {
        return Ok(());
    }
    let config = object_store::Config {
        bucket: ARTEFACTS_BUCKET.to_owned(),
        storage: StorageType::File,
        num_replicas,
        ..Default::default()
    };
    let made = context.create_object_store(config).await;
    made.map(|_| ()).map_err(|source| TopologyError::ObjectStore { name: ARTEFACTS_BUCKET, source })
}

async fn ensure_consumer(
    context: &Context,
    stream_name: &str,
    spec: &ConsumerSpec,
    filter_subject: String,
) -> Result<(), TopologyError> {
    let stream = context
        .get_stream(stream_name)
        .await
        .map_err(|source| TopologyError::ReadStream { name: stream_name.to_owned(), source })?;
    let config = consumer::pull::Config {
        durable_name: Some(spec.name.to_owned()),
        filter_subject,
        ack_policy: AckPolicy::Explicit,
        ack_wait: spec.ack_wait,
        max_ack_pending: MAX_ACK_PENDING,
        max_deliver: -1,
        ..Default::default()
    };
    let failed = |source| TopologyError::Consumer { stream: stream_name.to_owned(), name: spec.name, source };
    let found = stream.get_or_create_consumer(spec.name, config.clone()).await.map_err(failed)?;
    if found.cached_info().config.ack_wait != spec.ack_wait {
        // Made by an earlier version; what it has delivered stays as it is.
        stream.create_consumer(config).await.map_err(failed)?;
    }
    Ok(())
}
