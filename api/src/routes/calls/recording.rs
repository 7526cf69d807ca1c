//! `GET /api/calls/{id}/recording`: what was said in a call, to be listened to.

pub(crate) mod asked;
mod kept;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::{Aggregate, CallId};

use self::asked::{Kind, Portion};
use self::kept::Recording;
use super::change;
use crate::App;
use crate::auth::AgentViewer;
use crate::extract::PathId;
use crate::openapi::problems;
use crate::problem::{Code, Problem};

/// Kept by whoever fetched it, but asked for again each time: the customer may have been erased.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Get the recording of a call
///
/// Of a call that is over. `audio/wav`: 16 bits, at the rate of the call (8 kHz on the phone, 16 kHz in a browser), the
/// caller on the left and the agent on the right; parts of it can be asked for with `Range`. `audio/mpeg`, for those who
/// prefer it in `Accept`: both in one channel, made while it is sent, so only whole. What was lost is silence. In the
/// moment in which a call ends its last seconds may still be missing; `ETag` tells. Role: viewer.
#[utoipa::path(
    get, path = "/api/calls/{id}/recording", tag = "Calls", operation_id = "get_call_recording",
    params(
        ("id" = Uuid, Path, description = "The call"),
        ("Accept" = Option<String>, Header, description = "`audio/mpeg`: as MP3"),
        ("Range" = Option<String>, Header, description = "One range of bytes of the WAV file; several are answered whole"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` that the range belongs to"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is there already"),
    ),
    responses(
        (status = 200, description = "The recording", content((String = "audio/wav"), (String = "audio/mpeg")),
            headers(("ETag" = String), ("Accept-Ranges" = String, description = "`bytes`, or of MP3 `none`"))),
        (status = 206, description = "The range", body = String, content_type = "audio/wav",
            headers(("ETag" = String), ("Content-Range" = String))),
        (status = 304, description = "It is the same still"),
        problems::Reading, problems::OfARecording, problems::Streaming,
    )
)]
pub(super) async fn get_call_recording(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    PathId(call_id): PathId<CallId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let call = change::known(&caller, &app.nats.log.read(&Aggregate::call(tenant_id, call_id), 0).await?)?;
    let started = call.started.ok_or_else(|| Problem::not_found("call"))?.call;
    if !call.ended {
        return Err(Problem::new(Code::CallActive, "there is a recording when the call is over"));
    }
    let recording = Recording::of(&app, tenant_id, call_id, started.customer_key_id.0).await?;
    let kind = Kind::preferred(&headers);
    let tag = format!("\"{}-{}\"", recording.version(), kind.extension());
    let name = format!("inline; filename=\"{call_id}.{}\"", kind.extension());
    let about = [
        (header::ETAG, value(&tag)?),
        (header::VARY, HeaderValue::from_static("accept")),
        (header::CACHE_CONTROL, CACHING),
    ];
    if asked::is_there_already(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let is = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type())),
        (header::CONTENT_DISPOSITION, value(&name)?),
        (header::ACCEPT_RANGES, HeaderValue::from_static(kind.ranges())),
    ];
    if kind == Kind::Mp3 {
        let mp3 = recording.mp3().map_err(|error| Problem::internal(&error))?;
        return Ok((about, is, Body::from_stream(mp3)).into_response());
    }
    let length = recording.wav_bytes();
    // A range is a matter of GET only.
    let portion = if method == Method::GET { Portion::of(&headers, &tag, length) } else { Portion::Whole };
    let (status, range) = match portion {
        Portion::Whole => (StatusCode::OK, 0..length),
        Portion::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Portion::Beyond => {
            let refused = Problem::new(Code::RangeNotSatisfiable, format_args!("it has {length} bytes"));
            let has = [(header::CONTENT_RANGE, value(&format!("bytes */{length}"))?)];
            return Ok((has, refused).into_response());
        }
    };
    let size = [(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start))];
    let place = value(&format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1)))?;
    let mut response = (status, about, is, size, Body::from_stream(recording.wav(range))).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        response.headers_mut().insert(header::CONTENT_RANGE, place);
    }
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|error| Problem::internal(&error))
}
