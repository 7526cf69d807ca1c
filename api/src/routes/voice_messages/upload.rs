//! A recording on its way into the object store: checked by its first bytes, sealed chunk by chunk, never whole in memory.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};
use events::voice_message::Artefact;
use events::{ArtefactId, CustomerKeyId, TenantId};
use nats::artefacts::{self, Writer};
use projections::SealedFile;
use projections::sealed_file::Sealing;
use sha2::{Digest, Sha256};
use voice::containers::Container;

use crate::App;
use crate::problem::{Code, Problem};

/// The one field of the form.
pub(crate) const FIELD: &str = "audio_file";
/// Of a recording.
pub(crate) const MAX_BYTES: usize = 25 * 1024 * 1024;
/// What a form has around its file at most.
const FORM_BYTES: usize = 64 * 1024;
/// How long a client may take to send a recording.
const TIMEOUT: Duration = Duration::from_secs(120);
/// So many bytes tell what a file is.
const TELLING_BYTES: usize = 8 * 1024;

/// A recording that is in the store.
pub(crate) struct Upload {
    pub artefact: Artefact,
    /// SHA-256 of the file: what tells one request from another.
    pub digest: [u8; 32],
}

/// Whose recording it is.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub tenant_id: TenantId,
    pub customer_key_id: CustomerKeyId,
}

/// Takes the recording of a form.
///
/// # Errors
/// When it is none that can be heard, or does not arrive; nothing is stored then.
pub(crate) async fn of_form(app: &App, owner: Owner, request: Request) -> Result<Upload, Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BYTES + FORM_BYTES) {
        return Err(too_large());
    }
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts, Body::new(body));
    DefaultBodyLimit::max(MAX_BYTES + FORM_BYTES).apply(&mut request);
    let form = Multipart::from_request(request, &()).await.map_err(|_| {
        Problem::new(
            Code::UnsupportedMediaType,
            format_args!("send multipart/form-data with the field {FIELD}"),
        )
    })?;
    store(app, owner, Source::Form(Box::new(form))).await
}

/// Takes a recording that is there already. `media_type`: where it has no container.
///
/// # Errors
/// When it is none that can be heard, or nothing can be stored.
pub(crate) async fn of_bytes(
    app: &App,
    owner: Owner,
    bytes: &[u8],
    media_type: Option<&'static str>,
) -> Result<Upload, Problem> {
    store(app, owner, Source::Bytes { bytes, media_type }).await
}

/// Where a recording comes from.
enum Source<'a> {
    Form(Box<Multipart>),
    Bytes { bytes: &'a [u8], media_type: Option<&'static str> },
}

/// Runs what reads the recording beside what stores it.
async fn store(app: &App, owner: Owner, source: Source<'_>) -> Result<Upload, Problem> {
    let Owner { tenant_id, customer_key_id } = owner;
    let artefact_id = ArtefactId::new();
    let sealed = SealedFile::new(app.keyring.clone(), tenant_id, customer_key_id, artefact_id);
    let (writer, writing) = artefacts::writing();
    let reading = async {
        let mut file =
            File { sealing: Sealing::new(sealed), writer, digest: Sha256::new(), media_type: None };
        match tokio::time::timeout(TIMEOUT, source.read_into(&mut file)).await {
            Ok(read) => read?,
            Err(_) => {
                return Err(Problem::new(Code::RequestTimeout, "the recording did not arrive in time"));
            }
        }
        file.complete().await
    };
    let (stored, read) = tokio::join!(app.nats.artefacts.put(tenant_id, artefact_id, writing), reading);
    let upload = read?;
    stored.map_err(|error| Problem::unavailable(&error))?;
    Ok(upload)
}

/// Takes a stored recording away that nobody needs.
pub(crate) async fn discard(app: &App, tenant_id: TenantId, upload: &Upload) {
    let artefact_id = upload.artefact.artefact_id;
    if let Err(error) = app.nats.artefacts.delete(tenant_id, artefact_id).await {
        tracing::warn!(%tenant_id, %artefact_id, %error, "a recording that nobody needs was left behind");
    }
}

impl Source<'_> {
    async fn read_into(self, file: &mut File) -> Result<(), Problem> {
        match self {
            Self::Form(form) => read(*form, file).await,
            Self::Bytes { bytes, media_type } => {
                file.media_type = media_type;
                file.push(bytes).await
            }
        }
    }
}

async fn read(mut form: Multipart, file: &mut File) -> Result<(), Problem> {
    let mut is_there = false;
    while let Some(mut field) = form.next_field().await.map_err(|error| broken(error.status()))? {
        match field.name() {
            Some(FIELD) if is_there => return Err(Problem::invalid_field(FIELD, "must be sent once")),
            Some(FIELD) => is_there = true,
            other => return Err(Problem::unknown_field(other.unwrap_or_default().to_owned())),
        }
        while let Some(bytes) = field.chunk().await.map_err(|error| broken(error.status()))? {
            file.push(&bytes).await?;
        }
    }
    if is_there { Ok(()) } else { Err(Problem::invalid_field(FIELD, "is required")) }
}

fn broken(status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::new(Code::BadRequest, "the form cannot be read, or broke off"),
    }
}

fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, format_args!("a recording may have {MAX_BYTES} bytes"))
}

/// The file that is being stored.
struct File {
    sealing: Sealing,
    writer: Writer,
    digest: Sha256,
    /// `None` until enough of it is there to tell.
    media_type: Option<&'static str>,
}

impl File {
    async fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.sealing.bytes() + bytes.len() as u64 > MAX_BYTES as u64 {
            return Err(too_large());
        }
        self.digest.update(bytes);
        self.sealing.waiting().extend_from_slice(bytes);
        if self.media_type.is_none() && self.sealing.waiting().len() >= TELLING_BYTES {
            self.media_type = Some(media_type(self.sealing.waiting())?);
        }
        self.write(false).await
    }

    async fn write(&mut self, is_end: bool) -> Result<(), Problem> {
        while let Some(chunk) = self.sealing.next(is_end).await? {
            self.writer.write(chunk).await.map_err(|error| Problem::unavailable(&error))?;
        }
        Ok(())
    }

    async fn complete(mut self) -> Result<Upload, Problem> {
        let bytes = self.sealing.bytes();
        if bytes == 0 {
            return Err(Problem::invalid_field(FIELD, "must not be empty"));
        }
        let media_type = match self.media_type {
            Some(media_type) => media_type,
            None => media_type(self.sealing.waiting())?,
        };
        self.write(true).await?;
        self.writer.complete().await.map_err(|error| Problem::unavailable(&error))?;
        let artefact_id = self.sealing.file().artefact_id();
        let artefact = Artefact { artefact_id, media_type: media_type.to_owned(), bytes };
        Ok(Upload { artefact, digest: self.digest.finalize().into() })
    }
}

/// What the file is by its first bytes; what it is called is not looked at.
fn media_type(first: &[u8]) -> Result<&'static str, Problem> {
    match Container::of(first) {
        Some(Container::Wav) => Ok("audio/wav"),
        Some(Container::Mp3) => Ok("audio/mpeg"),
        Some(Container::Mp4) => Ok("audio/mp4"),
        Some(Container::WebM) => Ok("audio/webm"),
        Some(Container::Ogg) => Ok("audio/ogg"),
        None => Err(Problem::new(Code::InvalidAudio, "the file is neither WAV nor MP3, M4A, WebM or Ogg")),
    }
}
