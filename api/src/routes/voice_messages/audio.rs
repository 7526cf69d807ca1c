//! The bytes of a spoken reply, opened chunk by chunk.

use std::ops::Range;

use bytes::Bytes;
use nats::artefacts::Reader;
use projections::SealedFile;
use projections::sealed_file::CHUNK_BYTES;
use projections::voice_messages::SpokenFile;

use super::upload::Owner;
use crate::App;
use crate::problem::{Code, Problem};

/// A spoken reply that is being read.
pub(crate) struct SpokenAudio {
    sealed: SealedFile,
    reader: Reader,
    next_chunk: u32,
    /// Of the file, what is still to come.
    range: Range<u64>,
}

impl SpokenAudio {
    /// # Errors
    /// `not_found` when the file is gone.
    pub(crate) async fn open(
        app: &App,
        owner: Owner,
        file: &SpokenFile,
        range: Range<u64>,
    ) -> Result<Self, Problem> {
        let Owner { tenant_id, customer_key_id } = owner;
        let found = app.nats.artefacts.get(tenant_id, file.artefact_id).await;
        let reader = found.map_err(|error| Problem::unavailable(&error))?;
        let reader = reader.ok_or_else(|| Problem::not_found("file"))?;
        let sealed = SealedFile::new(app.keyring.clone(), tenant_id, customer_key_id, file.artefact_id);
        Ok(Self { sealed, reader, next_chunk: 0, range })
    }

    /// The next bytes of the range; `None` at its end. Chunks before it are passed over unopened.
    ///
    /// # Errors
    /// When the customer was erased, or the store or the keyring is away.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while !self.range.is_empty() {
            let Some(chunk) = self.reader.next().await.map_err(|error| Problem::unavailable(&error))? else {
                return Ok(None);
            };
            let number = self.next_chunk;
            self.next_chunk += 1;
            let begins = u64::from(number) * CHUNK_BYTES as u64;
            if begins + CHUNK_BYTES as u64 <= self.range.start {
                continue;
            }
            let opened = self.sealed.open(number, &chunk).await?;
            let erased = || Problem::new(Code::CustomerErased, "the reply was erased");
            let opened = opened.ok_or_else(erased)?;
            let from = (self.range.start - begins) as usize;
            let to = opened.len().min(usize::try_from(self.range.end - begins).unwrap_or(usize::MAX));
            self.range.start = begins + to as u64;
            return Ok((from < to).then(|| opened.slice(from..to)));
        }
        Ok(None)
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`SpokenAudio::next`].
    pub(crate) async fn rest(&mut self) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        while let Some(more) = self.next().await? {
            bytes.extend_from_slice(&more);
        }
        Ok(bytes)
    }
}
