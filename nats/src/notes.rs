//! What the processes of one installation tell each other: a bucket without a time to live.

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::Store;

use crate::topology::{INSTALLATION_BUCKET, TopologyError};

/// Named values of the installation.
#[derive(Clone, Debug)]
pub struct Notes {
    store: Store,
}

/// Where the simulated vendors listen.
pub const SIMULATOR_URL: &str = "simulator_url";

#[derive(Debug, thiserror::Error)]
#[error("the note {name} cannot be read or written")]
pub struct NoteError {
    name: &'static str,
    source: async_nats::Error,
}

impl Notes {
    pub(crate) async fn open(context: &Context) -> Result<Self, TopologyError> {
        let store = context
            .get_key_value(INSTALLATION_BUCKET)
            .await
            .map_err(|_| TopologyError::Foreign { name: INSTALLATION_BUCKET.to_owned() })?;
        Ok(Self { store })
    }

    /// # Errors
    /// When the server is away.
    pub async fn set(&self, name: &'static str, value: &str) -> Result<(), NoteError> {
        let put = self.store.put(name, value.to_owned().into()).await;
        put.map(|_| ()).map_err(|error| NoteError { name, source: error.into() })
    }

    /// # Errors
    /// When the server is away.
    pub async fn get(&self, name: &'static str) -> Result<Option<String>, NoteError> {
        let found = self.store.get(name).await.map_err(|error| NoteError { name, source: error.into() })?;
        Ok(found.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
    }
}
