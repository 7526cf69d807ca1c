//! A file of a customer's, sealed chunk by chunk under the customer's key: erasing the customer makes it unreadable.

use bytes::Bytes;
use events::{ArtefactId, CustomerKeyId, TenantId};

use crate::keyring::{Keyring, KeyringError};

/// Each chunk but the last has this many bytes before it is sealed.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Seals and opens the chunks of one file; each has its place, so that none can stand in for another.
#[derive(Clone)]
pub struct SealedFile {
    keyring: Keyring,
    tenant_id: TenantId,
    key_id: CustomerKeyId,
    artefact_id: ArtefactId,
}

impl SealedFile {
    pub fn new(
        keyring: Keyring,
        tenant_id: TenantId,
        key_id: CustomerKeyId,
        artefact_id: ArtefactId,
    ) -> Self {
        Self { keyring, tenant_id, key_id, artefact_id }
    }

    pub fn artefact_id(&self) -> ArtefactId {
        self.artefact_id
    }

    /// # Errors
    /// As [`Keyring::seal_bytes`].
    async fn seal(&self, number: u32, chunk: &[u8]) -> Result<Bytes, KeyringError> {
        let place = self.artefact_id.chunk(number);
        self.keyring.seal_bytes(self.tenant_id, self.key_id.0, place, chunk).await.map(Bytes::from)
    }

    /// `None`: the customer was erased.
    ///
    /// # Errors
    /// As [`Keyring::open_bytes`].
    pub async fn open(&self, number: u32, sealed: &[u8]) -> Result<Option<Bytes>, KeyringError> {
        let place = self.artefact_id.chunk(number);
        let opened = self.keyring.open_bytes(self.tenant_id, self.key_id.0, place, sealed).await?;
        Ok(opened.map(Bytes::from))
    }
}

/// Cuts what is written of a file into chunks and seals them.
pub struct Sealing {
    file: SealedFile,
    waiting: Vec<u8>,
    chunks: u32,
    bytes: u64,
}

impl Sealing {
    pub fn new(file: SealedFile) -> Self {
        Self { file, waiting: Vec::new(), chunks: 0, bytes: 0 }
    }

    pub fn file(&self) -> &SealedFile {
        &self.file
    }

    /// Where the file's next bytes are put.
    pub fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// How long the file is so far, before it was sealed.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.waiting.len() as u64
    }

    /// The next chunk once it is full, or what is left when nothing more comes; `None`: there is none.
    ///
    /// # Errors
    /// As [`Keyring::seal_bytes`].
    pub async fn next(&mut self, is_end: bool) -> Result<Option<Bytes>, KeyringError> {
        let length = self.waiting.len().min(CHUNK_BYTES);
        if length == 0 || (length < CHUNK_BYTES && !is_end) {
            return Ok(None);
        }
        let sealed = self.file.seal(self.chunks, &self.waiting[..length]).await?;
        self.waiting.drain(..length);
        self.chunks += 1;
        self.bytes += length as u64;
        Ok(Some(sealed))
    }
}
