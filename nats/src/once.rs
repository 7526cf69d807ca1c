//! Things that happen once per key: the bucket behind idempotency keys.

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{CreateErrorKind, Store};
use bytes::Bytes;

use crate::topology::{IDEMPOTENCY_BUCKET, TopologyError};

/// A bucket in which each key is set at most once within its time to live ([`crate::topology::IDEMPOTENCY_TTL`]).
#[derive(Clone, Debug)]
pub struct OnceStore {
    store: Store,
}

/// The outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key was free and is now ours.
    Ours,
    /// Somebody came first and left this.
    Taken(Bytes),
}

#[derive(Debug, thiserror::Error)]
#[error("the idempotency keys are not to be had")]
pub struct OnceError(#[source] async_nats::Error);

impl OnceStore {
    pub(crate) async fn open(context: &Context) -> Result<Self, TopologyError> {
        let store = context
            .get_key_value(IDEMPOTENCY_BUCKET)
            .await
            .map_err(|_| TopologyError::Foreign { name: IDEMPOTENCY_BUCKET.to_owned() })?;
        Ok(Self { store })
    }

    /// Sets `key` unless it is set already. `key` is of `A–Z a–z 0–9 - _ = . /`; hash what users send.
    ///
    /// # Errors
    /// When the bucket is not to be had.
    pub async fn claim(&self, key: &str, value: Bytes) -> Result<Claim, OnceError> {
        match self.store.create(key, value).await {
            Ok(_) => Ok(Claim::Ours),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                let taken = self.get(key).await?;
                // Gone between the two: its time ran out just now, and the caller tries again.
                taken.map(Claim::Taken).ok_or_else(|| OnceError("the key expired while it was read".into()))
            }
            Err(error) => Err(OnceError(error.into())),
        }
    }

    /// # Errors
    /// When the bucket is not to be had.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, OnceError> {
        self.store.get(key).await.map_err(|error| OnceError(error.into()))
    }

    /// Sets `key` whatever it holds.
    ///
    /// # Errors
    /// When the bucket is not to be had.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<(), OnceError> {
        self.store.put(key, value).await.map(|_| ()).map_err(|error| OnceError(error.into()))
    }
}
