//! `GET /api/sessions/{id}/voice/audio/{message_id}`: the spoken reply, as MP3 or as WAV.

use axum::body::Body;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use events::{Aggregate, MessageId, SessionId};
use futures_util::stream::try_unfold;
use projections::Projection;
use projections::voice_messages::{self, Audio, SpokenFile};
use voice::containers::{self, Limits};

use super::audio::SpokenAudio;
use super::upload::Owner;
use crate::auth::AgentViewer;
use crate::extract::{PathId, id_of};
use crate::openapi::problems;
use crate::problem::{Code, Problem};
use crate::routes::calls::asked::{self, Portion};
use crate::{App, freshness, sessions};

const MP3: &str = "audio/mpeg";
const WAV: &str = "audio/wav";
/// Kept by whoever fetched it, but asked for again each time: the customer may have been erased.
const CACHING: &str = "private, no-cache";
/// No reply is spoken for so long.
const LONGEST_SECONDS: u32 = 3_600;

/// Get a spoken reply
///
/// MP3; or, with `Accept: audio/wav`, WAV with 16 bits at 16 kHz. Ranges of bytes are served. A reply that was not, or
/// not yet, spoken is 404 `not_spoken`. Role: viewer.
#[utoipa::path(
    get, path = "/api/sessions/{id}/voice/audio/{message_id}", tag = "Sessions", operation_id = "get_spoken_reply",
    params(
        ("id" = Uuid, Path, description = "The session"),
        ("message_id" = Uuid, Path, description = "The assistant's message"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The reply", content(
            (Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/wav"),
        ), headers(("ETag" = String, description = "Names this version of the file"))),
        (status = 206, description = "A part of it", content((Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/wav"))),
        (status = 304, description = "The client has it already"),
        problems::Reading, problems::OfAFile,
    )
)]
pub(super) async fn get_spoken_reply(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(session_id): PathId<SessionId>,
    path: RawPathParams,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let no_message = || Problem::not_found("message");
    let message_id = path.iter().find(|(name, _)| *name == "message_id").and_then(|(_, text)| id_of(text));
    let message_id = MessageId(message_id.ok_or_else(no_message)?);
    let tenant_id = caller.tenant_id;
    let facts = sessions::find(&app, &caller, session_id).await?;
    let session = Aggregate::session(tenant_id, session_id);
    freshness::of_aggregate(&app, Projection::VoiceMessages, session).await;
    let found = voice_messages::audio(&app.database, tenant_id, session_id, message_id).await?;
    let file = match found.ok_or_else(no_message)? {
        Audio::Spoken(file) => file,
        Audio::Silent { failure: Some(failure) } => {
            let detail = format_args!("the reply could not be spoken: {}", failure.detail).to_string();
            return Err(Problem::new(Code::NotSpoken, detail));
        }
        Audio::Silent { failure: None } => {
            return Err(Problem::new(Code::NotSpoken, "the reply has nothing that could be said"));
        }
        Audio::NotSpoken => {
            return Err(Problem::new(Code::NotSpoken, "the reply was written, or is still being spoken"));
        }
    };
    let owner = Owner { tenant_id, customer_key_id: facts.customer_key_id };
    if wants_wav(&headers) {
        wav(&app, owner, &file, &headers).await
    } else {
        mp3(&app, owner, &file, &headers).await
    }
}

async fn mp3(app: &App, owner: Owner, file: &SpokenFile, headers: &HeaderMap) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", file.artefact_id);
    let whole = 0..file.bytes;
    served(headers, MP3, &etag, file.bytes, async |part| {
        let mut audio = SpokenAudio::open(app, owner, file, part.unwrap_or(whole)).await?;
        // What cannot be read at all is a problem; a file that breaks off later ends the connection.
        let first = audio.next().await?;
        let rest = try_unfold((first, audio), |(ready, mut audio)| async move {
            let Some(bytes) = ready else { return Ok(None) };
            let next = audio.next().await.map_err(|problem| {
                tracing::warn!(cause = problem.cause(), "a spoken reply broke off");
                problem.detail().to_owned()
            })?;
            Ok::<_, String>(Some((bytes, (next, audio))))
        });
        Ok(Body::from_stream(rest))
    })
    .await
}

async fn wav(app: &App, owner: Owner, file: &SpokenFile, headers: &HeaderMap) -> Result<Response, Problem> {
    let mp3 = SpokenAudio::open(app, owner, file, 0..file.bytes).await?.rest().await?;
    let decoding = app.tasks.spawn_blocking(move || {
        let mut samples = Vec::new();
        let limits = Limits { bytes: mp3.len(), seconds: LONGEST_SECONDS };
        let give = |more: &[i16]| samples.extend(more.iter().flat_map(|sample| sample.to_le_bytes()));
        containers::decode(&mp3, limits, give).map(|_| samples)
    });
    let samples = decoding.await.map_err(|error| Problem::internal(&error))?;
    let samples = samples.map_err(|error| Problem::internal(&error))?;
    let file_bytes = Bytes::from([&wav_header(samples.len())[..], &samples].concat());
    let etag = format!("\"{}-wav\"", file.artefact_id);
    let length = file_bytes.len() as u64;
    served(headers, WAV, &etag, length, async |part| {
        Ok(Body::from(match part {
            Some(part) => file_bytes.slice(part.start as usize..part.end as usize),
            None => file_bytes,
        }))
    })
    .await
}

/// The file or the part of it that is asked for, if the client has it not already.
async fn served(
    headers: &HeaderMap,
    media_type: &'static str,
    etag: &str,
    length: u64,
    body: impl AsyncFnOnce(Option<std::ops::Range<u64>>) -> Result<Body, Problem>,
) -> Result<Response, Problem> {
    let common = [
        (header::ETAG, etag.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, CACHING.to_owned()),
        (header::VARY, "accept".to_owned()),
    ];
    if asked::is_there_already(headers, etag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let of_body = |length: u64| {
        [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_LENGTH, length.to_string())]
    };
    match Portion::of(headers, etag, length) {
        Portion::Whole => Ok((common, of_body(length), body(None).await?).into_response()),
        Portion::Part(part) => {
            let shown = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            let of_body = of_body(part.end - part.start);
            let body = body(Some(part)).await?;
            let status = StatusCode::PARTIAL_CONTENT;
            Ok((status, common, of_body, [(header::CONTENT_RANGE, shown)], body).into_response())
        }
        Portion::Beyond => {
            let problem =
                Problem::new(Code::RangeNotSatisfiable, format_args!("the file has {length} bytes"));
            Ok(([(header::CONTENT_RANGE, format!("bytes */{length}"))], problem).into_response())
        }
    }
}

/// WAV is served to those who ask for it and not for MP3.
fn wants_wav(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = accepted
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let first =
        ranges.find(|range| ["audio/wav", "audio/x-wav", "audio/wave", MP3].contains(&range.as_str()));
    first.is_some_and(|first| first != MP3)
}

/// 16 bits, one channel, 16 kHz.
fn wav_header(sample_bytes: usize) -> [u8; 44] {
    const RATE_HZ: u32 = containers::SAMPLE_RATE_HZ;
    let length = u32::try_from(sample_bytes).unwrap_or(u32::MAX);
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &length.saturating_add(36).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        &1u16.to_le_bytes(),
        &RATE_HZ.to_le_bytes(),
        &(RATE_HZ * 2).to_le_bytes(),
        &2u16.to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
    ];
    let mut header = [0; 44];
    header.copy_from_slice(&fields.concat());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wav_is_for_those_who_ask_for_it() {
        let wants =
            |accept: &str| wants_wav(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]));
        assert!(wants("audio/wav") && wants("text/html, Audio/X-WAV;q=0.9"));
        assert!(!wants("*/*") && !wants("audio/*") && !wants("audio/mpeg, audio/wav;q=0.5"));
        assert!(!wants_wav(&HeaderMap::new()));
    }

    #[test]
    fn the_header_says_how_long_the_file_is() {
        let header = wav_header(32_000);
        assert_eq!(
            (&header[4..8], &header[40..]),
            (&32_036u32.to_le_bytes()[..], &32_000u32.to_le_bytes()[..])
        );
    }
}
