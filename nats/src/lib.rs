//! JetStream plumbing, with no business words: the log, the workers' loop, timers, dead letters, live subjects.
//!
//! It is the only crate that speaks to nats-server. It must never know what an event means beyond its aggregate and
//! lane.
//!
//! Start with [`topology`] (every stream, consumer and bucket in one table), then [`log`] (append and read) and
//! [`consume`] (the loop every worker runs in).

pub mod artefacts;
pub mod checkpoints;
pub mod consume;
pub mod dead_letters;
mod fair;
pub mod live;
pub mod log;
pub mod media;
mod message;
pub mod notes;
pub mod once;
pub mod rates;
pub mod reader;
pub mod recordings;
mod stored;
pub mod subjects;
pub mod timers;
pub mod topology;

pub use artefacts::Artefacts;
pub use checkpoints::Checkpoints;
pub use consume::{Delivery, Failure, Handler};
pub use live::{Live, LiveMessage};
pub use log::{AppendError, Expect, Log, PendingAppend, ReadError};
pub use media::Media;
pub use notes::Notes;
pub use once::OnceStore;
pub use rates::Rates;
pub use recordings::Recordings;
pub use topology::{ConsumerSpec, TopologyConfig};

use std::time::Duration;

use tokio::sync::watch;

/// How to reach nats-server.
#[derive(Clone, Debug)]
pub struct Config {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// Shown in the server's connection list.
    pub name: String,
    pub topology: TopologyConfig,
}

/// No connection, or the streams could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect to NATS at {url}")]
    Unreachable { url: String, source: async_nats::ConnectError },
    #[error("cannot prepare the streams")]
    Topology(#[from] topology::TopologyError),
}

/// Everything that one process needs of NATS.
#[derive(Clone, Debug)]
pub struct Nats {
    pub log: Log,
    pub live: Live,
    pub media: Media,
    pub recordings: Recordings,
    pub artefacts: Artefacts,
    pub idempotency: OnceStore,
    pub notes: Notes,
    pub checkpoints: Checkpoints,
    pub rates: Rates,
    client: async_nats::Client,
}

impl Nats {
    /// Connects, and makes sure every stream, consumer and bucket exists. Later losses of the connection heal by
    /// themselves.
    ///
    /// # Errors
    /// When the server cannot be reached now, or the streams there are not ours.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let connections = watch::Sender::new(0);
        let counted = connections.clone();
        let client = async_nats::ConnectOptions::new()
            .name(&config.name)
            .event_callback(move |event| {
                if event == async_nats::Event::Connected {
                    counted.send_modify(|count| *count += 1);
                }
                std::future::ready(())
            })
            .reconnect_delay_callback(|attempts| Duration::from_millis((50 * attempts as u64).min(1_000)))
            .max_reconnects(None)
            .connect(&config.url)
            .await
            .map_err(|source| ConnectError::Unreachable { url: config.url.clone(), source })?;
        let context = async_nats::jetstream::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(MAX_APPENDS_IN_FLIGHT)
            .build(client.clone());
        let partitions = topology::ensure(&context, &config.topology).await?;
        let log = Log::open(context.clone(), partitions, connections).await?;
        let idempotency = OnceStore::open(&context).await?;
        let notes = Notes::open(&context).await?;
        let checkpoints = Checkpoints::open(&context).await?;
        let artefacts = Artefacts::open(&context).await?;
        let recordings = Recordings::open(context).await?;
        Ok(Self {
            log,
            live: Live::new(client.clone()),
            media: Media::new(client.clone()),
            rates: Rates::new(client.clone()),
            recordings,
            artefacts,
            idempotency,
            notes,
            checkpoints,
            client,
        })
    }

    /// Whether the server answers at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Sends what is still buffered; for the end of the process.
    pub async fn flush(&self) {
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.client.flush()).await;
    }
}

/// How long one request to the server may take before it is tried again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Appends of one process waiting for their acknowledgement; more wait for a place.
const MAX_APPENDS_IN_FLIGHT: usize = 4_096;
