//! What processes let through of limits that they share: core NATS, kept nowhere.

use async_nats::{Client, Subscriber};
use events::{AgentId, ApiKeyId, TenantId};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::live::LiveError;
use crate::subjects;

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Key(ApiKeyId),
    Agent(AgentId),
    Tenant(TenantId),
}

impl Subject {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Agent(_) => "agent",
            Self::Tenant(_) => "tenant",
        }
    }
}

/// How much of a limit was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub subject: Subject,
    pub per_minute: u32,
    pub count: u32,
}

/// What another process said.
#[derive(Clone, Debug)]
pub struct Told {
    pub used: Vec<Used>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    from: Uuid,
    used: Vec<Used>,
}

/// Tells and hears. Cheap to clone; clones are one process.
#[derive(Clone, Debug)]
pub struct Rates {
    client: Client,
    process: Uuid,
}

/// What the others say, from the moment of listening.
pub struct RatesSubscription {
    subscriber: Subscriber,
    process: Uuid,
}

/// So many fit into a message of the server's default size many times over.
const USED_AT_ONCE: usize = 1_000;

impl Rates {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, process: Uuid::now_v7() }
    }

    /// Tells the other processes. Lost where nobody listens.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn tell(&self, used: Vec<Used>) -> Result<(), LiveError> {
        let subject = subjects::RATES;
        let failed = |source| LiveError::new(subject, source);
        for used in used.chunks(USED_AT_ONCE) {
            let message = Message { from: self.process, used: used.to_vec() };
            let payload = serde_json::to_vec(&message).map_err(|error| failed(error.into()))?;
            let sent = self.client.publish(subject, payload.into()).await;
            sent.map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }

    /// # Errors
    /// When the connection is closed.
    pub async fn listen(&self) -> Result<RatesSubscription, LiveError> {
        let subject = subjects::RATES;
        let subscribed = self.client.subscribe(subject).await;
        let subscriber = subscribed.map_err(|error| LiveError::new(subject, error.into()))?;
        Ok(RatesSubscription { subscriber, process: self.process })
    }
}

impl RatesSubscription {
    /// What another process says next; `None` when the connection was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            let message = self.subscriber.next().await?;
            match serde_json::from_slice::<Message>(&message.payload) {
                Ok(Message { from, used }) if from != self.process => return Some(Told { used }),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "what a process says of rates cannot be read"),
            }
        }
    }
}
