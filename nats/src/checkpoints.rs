//! How far those who read the log in order have come, where no table says it: compare-and-set in a bucket.

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use bytes::Bytes;

use crate::topology::{INSTALLATION_BUCKET, TopologyError};

/// The checkpoints of an installation's readers, by reader and partition.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    store: Store,
}

/// A checkpoint as it was read or written last. Whoever moves it takes for granted that nobody else did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is done; 0 at the beginning.
    pub sequence: u64,
    /// Of the bucket's entry; `None`: there is none yet.
    revision: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint {key} cannot be read or written")]
    Unavailable { key: String, source: async_nats::Error },
    /// Another process reads here.
    #[error("the checkpoint {key} was moved by another")]
    Moved { key: String },
}

fn key(reader: &str, partition: u16) -> String {
    format!("checkpoint.{reader}.{partition:02}")
}

impl Checkpoints {
    pub(crate) async fn open(context: &Context) -> Result<Self, TopologyError> {
        let store = context
            .get_key_value(INSTALLATION_BUCKET)
            .await
            .map_err(|_| TopologyError::Foreign { name: INSTALLATION_BUCKET.to_owned() })?;
        Ok(Self { store })
    }

    /// # Errors
    /// When the bucket is not to be had.
    pub async fn get(&self, reader: &str, partition: u16) -> Result<Checkpoint, CheckpointError> {
        let key = key(reader, partition);
        let entry = self.store.entry(&key).await;
        let entry = entry.map_err(|error| CheckpointError::Unavailable { key, source: error.into() })?;
        let read = entry.and_then(|entry| {
            let sequence = std::str::from_utf8(&entry.value).ok()?.parse().ok()?;
            Some(Checkpoint { sequence, revision: Some(entry.revision) })
        });
        Ok(read.unwrap_or(Checkpoint { sequence: 0, revision: None }))
    }

    /// Moves the checkpoint from where it is known to be to `sequence`.
    ///
    /// # Errors
    /// [`CheckpointError::Moved`] when it is somewhere else; or when the bucket is not to be had.
    pub async fn advance(
        &self,
        reader: &str,
        partition: u16,
        from: Checkpoint,
        sequence: u64,
    ) -> Result<Checkpoint, CheckpointError> {
        let (key, value) = (key(reader, partition), Bytes::from(sequence.to_string()));
        let written = match from.revision {
            None => self.store.create(&key, value).await.map_err(|error| match error.kind() {
                CreateErrorKind::AlreadyExists => None,
                _ => Some(async_nats::Error::from(error)),
            }),
            Some(revision) => {
                self.store.update(&key, value, revision).await.map_err(|error| match error.kind() {
                    UpdateErrorKind::WrongLastRevision => None,
                    _ => Some(async_nats::Error::from(error)),
                })
            }
        };
        match written {
            Ok(revision) => Ok(Checkpoint { sequence, revision: Some(revision) }),
            Err(None) => Err(CheckpointError::Moved { key }),
            Err(Some(source)) => Err(CheckpointError::Unavailable { key, source }),
        }
    }
}
