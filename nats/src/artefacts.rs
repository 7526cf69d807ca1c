//! Files of conversations: recordings that were sent, replies that were spoken. One object each in one object store.
//!
//! A file comes and goes in chunks, so that it is never whole in memory. What is stored here is ciphertext; the bytes
//! are the caller's business.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{DeleteErrorKind, GetErrorKind, Object, ObjectStore};
use bytes::{BufMut, Bytes, BytesMut};
use events::{ArtefactId, TenantId};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use crate::topology::{ARTEFACTS_BUCKET, TopologyError};

/// Chunks that were written and not stored yet; when full, the writer waits.
const WRITTEN_AHEAD: usize = 2;
/// How long one chunk may take to come.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// A stored chunk is never longer; whatever says so is not ours.
const MOST_CHUNK_BYTES: u32 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("the file {artefact_id} cannot be read or written")]
pub struct ArtefactError {
    artefact_id: ArtefactId,
    source: async_nats::Error,
}

/// All files. Cheap to clone.
#[derive(Clone)]
pub struct Artefacts {
    store: ObjectStore,
}

impl std::fmt::Debug for Artefacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Artefacts")
    }
}

/// Where the chunks of a new file are written. Dropped before it is [complete](Writer::complete), there is no file.
pub struct Writer {
    chunks: mpsc::Sender<Written>,
}

/// The other end of a [`Writer`]: what [`Artefacts::put`] stores.
pub struct Writing {
    chunks: mpsc::Receiver<Written>,
}

enum Written {
    Chunk(Bytes),
    Complete,
}

/// Nobody stores what is written: [`Artefacts::put`] knows why.
#[derive(Debug, thiserror::Error)]
#[error("the file is not being stored")]
pub struct NotStored;

/// A new file. `Artefacts::put` and the writer run side by side.
pub fn writing() -> (Writer, Writing) {
    let (written, chunks) = mpsc::channel(WRITTEN_AHEAD);
    (Writer { chunks: written }, Writing { chunks })
}

impl Writer {
    /// # Errors
    /// When nobody stores it any more.
    pub async fn write(&self, chunk: Bytes) -> Result<(), NotStored> {
        self.chunks.send(Written::Chunk(chunk)).await.map_err(|_| NotStored)
    }

    /// That was all.
    ///
    /// # Errors
    /// When nobody stores it any more.
    pub async fn complete(self) -> Result<(), NotStored> {
        self.chunks.send(Written::Complete).await.map_err(|_| NotStored)
    }
}

impl Artefacts {
    pub(crate) async fn open(context: &Context) -> Result<Self, TopologyError> {
        let store = context.get_object_store(ARTEFACTS_BUCKET).await;
        let store = store.map_err(|_| TopologyError::Foreign { name: ARTEFACTS_BUCKET.to_owned() })?;
        Ok(Self { store })
    }

    /// Stores a file; one of the same id is replaced, so it is safe to call again.
    ///
    /// # Errors
    /// When the server is away, or the writer was dropped before the file was complete; there is no file then.
    pub async fn put(
        &self,
        tenant_id: TenantId,
        artefact_id: ArtefactId,
        writing: Writing,
    ) -> Result<(), ArtefactError> {
        let failed = |source| ArtefactError { artefact_id, source };
        let is_complete = AtomicBool::new(false);
        let framed = unfold(writing, |mut writing| async {
            match writing.chunks.recv().await? {
                Written::Chunk(chunk) => Some((io::Result::Ok(framed(&chunk)), writing)),
                Written::Complete => {
                    is_complete.store(true, Ordering::Relaxed);
                    None
                }
            }
        });
        let mut bytes = StreamReader::new(Box::pin(framed));
        let put = self.store.put(name(tenant_id, artefact_id).as_str(), &mut bytes).await;
        put.map_err(|error| failed(error.into()))?;
        if is_complete.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Only a file that has an end can be taken away again, with all that was stored of it.
        self.delete(tenant_id, artefact_id).await?;
        Err(failed("it was not completed".into()))
    }

    /// `None`: there is no such file.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get(
        &self,
        tenant_id: TenantId,
        artefact_id: ArtefactId,
    ) -> Result<Option<Reader>, ArtefactError> {
        match self.store.get(name(tenant_id, artefact_id)).await {
            Ok(object) => Ok(Some(Reader { artefact_id, object })),
            Err(error) if error.kind() == GetErrorKind::NotFound => Ok(None),
            Err(error) => Err(ArtefactError { artefact_id, source: error.into() }),
        }
    }

    /// How many files there are.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn count(&self) -> Result<usize, async_nats::Error> {
        let mut files = self.store.list().await?;
        let mut count = 0;
        while let Some(file) = files.next().await {
            file?;
            count += 1;
        }
        Ok(count)
    }

    /// Takes a file away; one that is not there is gone already.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&self, tenant_id: TenantId, artefact_id: ArtefactId) -> Result<(), ArtefactError> {
        match self.store.delete(name(tenant_id, artefact_id)).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(ArtefactError { artefact_id, source: error.into() }),
        }
    }
}

/// The chunks of a file in their order, each as it was written.
pub struct Reader {
    artefact_id: ArtefactId,
    object: Object,
}

impl Reader {
    /// The next chunk; `None` after the last. Not cancel-safe.
    ///
    /// # Errors
    /// When the server does not answer, or the file is not what was stored.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ArtefactError> {
        let failed = |source| ArtefactError { artefact_id: self.artefact_id, source };
        match timeout(CHUNK_TIMEOUT, read(&mut self.object)).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(late) => Err(failed(late.into())),
        }
    }
}

async fn read(object: &mut Object) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    if object.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    object.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length);
    if length > MOST_CHUNK_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut chunk = BytesMut::zeroed(length as usize);
    object.read_exact(&mut chunk).await?;
    Ok(Some(chunk.freeze()))
}

fn name(tenant_id: TenantId, artefact_id: ArtefactId) -> String {
    format!("{tenant_id}.{artefact_id}")
}

/// A chunk and its length before it: the store cuts files where it likes.
fn framed(chunk: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(4 + chunk.len());
    framed.put_u32(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(chunk);
    framed.freeze()
}
