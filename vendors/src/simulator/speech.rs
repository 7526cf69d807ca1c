//! Ears that always hear well and a mouth that babbles: speech at no cost, for tests of load and of faults.
//!
//! | path | request | answer |
//! |---|---|---|
//! | `POST /simulated/v1/transcribe` | `{"model", "utterance", "audio_ms", "final"}`: audio stays at home, only its length travels | `{"text"}`: of the phrase whose turn it is (the `utterance`th, from 0), as much as fits into the time; all of it when `final` |
//! | `POST /simulated/v1/speak` | `{"model", "text", "format"}`, `format` one of `mulaw_8000`, `pcm16_8000`, `pcm16_16000`, `pcm16_24000` | audio, 60 ms for each character, in pieces of half a second at most |
//!
//! Both are in the log and under the control of `simulated_speech`, whose control also has `phrases`, what is heard. No
//! key is needed. The same request gets the same answer, so that one that failed can be made again.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::babble::{self, Babble};
use super::format::{Refusal, TOLD_TO_FAIL};
use super::lots::{Lot, Request, draw};
use super::misbehave::Ready;
use super::phrases::said_within;
use super::vendor_name::VendorName;
use super::{Control, Mode, Simulator};

const OVERSIZED_BYTES: usize = 10 * 1024 * 1024;

pub(super) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/simulated/v1/transcribe", post(transcribe))
        .route("/simulated/v1/speak", post(speak))
}

#[derive(Deserialize)]
struct Heard {
    model: String,
    utterance: u64,
    audio_ms: u64,
    r#final: bool,
}

async fn transcribe(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Response {
    let (asked, control) =
        match begin::<Heard>(&simulator, &headers, &body, |asked| Ok((asked.model.clone(), false))).await {
            Ok(begun) => begun,
            Err(response) => return response,
        };
    let phrases = simulator.state().phrases.clone();
    let phrase = phrases.of(asked.utterance);
    let text = if asked.r#final { phrase } else { said_within(phrase, asked.audio_ms) };
    heard(&simulator, control.mode, text, &error(StatusCode::INTERNAL_SERVER_ERROR, TOLD_TO_FAIL))
}

#[derive(Deserialize)]
struct Said {
    model: String,
    text: String,
    format: String,
}

async fn speak(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Response {
    let check = |said: &Said| match Babble::parse(&said.format) {
        Some(_) => Ok((said.model.clone(), true)),
        None => Err(Refusal::bad(format!("there is no format {:?}", said.format))),
    };
    let (said, control) = match begin::<Said>(&simulator, &headers, &body, check).await {
        Ok(begun) => begun,
        Err(response) => return response,
    };
    let babble = Babble::parse(&said.format).unwrap_or(Babble::MULAW_8000);
    spoken(&simulator, control.mode, &said.text, &babble)
}

/// What was asked and how to answer it; or the answer already. `check` answers model and whether the answer streams.
async fn begin<T: DeserializeOwned>(
    simulator: &Simulator,
    headers: &HeaderMap,
    body: &[u8],
    check: impl Fn(&T) -> Result<(String, bool), Refusal>,
) -> Result<(T, Control), Response> {
    let read = serde_json::from_slice::<T>(body).map_err(Refusal::from);
    let read = read.and_then(|asked| check(&asked).map(|(model, stream)| (asked, model, stream)));
    let request = Request {
        vendor: VendorName::Speech,
        key: None,
        headers,
        model: read.as_ref().ok().map(|(_, model, _)| model.as_str()),
        stream: read.as_ref().ok().map(|(_, _, stream)| *stream),
        body,
        refused: read.as_ref().err().map(|refusal| refusal.status),
    };
    let control = admit(simulator, &request, read.as_ref().err(), error).await?;
    // What was refused is answered by now.
    read.map(|(asked, ..)| (asked, control))
        .map_err(|refusal| refuse(refusal.status, error(refusal.status, &refusal.message), None))
}

/// How to answer a request about speech; or the answer already: it was refused, failed as told, or is never answered.
/// `error` writes a failure as the vendor does.
pub(super) async fn admit(
    simulator: &Simulator,
    request: &Request<'_>,
    refusal: Option<&Refusal>,
    error: fn(StatusCode, &str) -> Value,
) -> Result<Control, Response> {
    let Lot { control, failed, .. } = draw(simulator, request).await;
    match (refusal, failed) {
        (Some(refusal), _) => Err(refuse(refusal.status, error(refusal.status, &refusal.message), None)),
        (None, Some(status)) => Err(refuse(status, error(status, TOLD_TO_FAIL), control.retry_after)),
        (None, None) if control.mode == Mode::Stall => {
            simulator.shutdown.cancelled().await;
            let closing = StatusCode::SERVICE_UNAVAILABLE;
            Err(refuse(closing, error(closing, "the vendor is closing"), None))
        }
        (None, None) => Ok(control),
    }
}

/// A transcript in JSON, which is how all vendors here write it.
pub(super) fn heard(simulator: &Simulator, mode: Mode, text: &str, failure: &Value) -> Response {
    let text = match mode {
        Mode::Empty => "".into(),
        Mode::Oversized => Cow::Owned("x".repeat(OVERSIZED_BYTES)),
        _ => Cow::Borrowed(text),
    };
    let whole = json!({ "text": text }).to_string().into();
    let ready = Ready { content_type: "application/json", pieces: vec![whole], streaming: false };
    let failure = Bytes::from(failure.to_string());
    ready.sent(mode, (failure.clone(), failure), simulator.shutdown.clone())
}

/// A text as babble.
pub(super) fn spoken(simulator: &Simulator, mode: Mode, text: &str, babble: &Babble) -> Response {
    let pieces = match mode {
        Mode::Empty => Vec::new(),
        Mode::Oversized => babble.bytes(OVERSIZED_BYTES),
        _ => babble.ms(babble::ms_for(text)),
    };
    let ready = Ready { content_type: babble.content_type, pieces, streaming: true };
    // Audio has no words for a failure: the connection breaks.
    let mode = if mode == Mode::StreamError { Mode::Drop } else { mode };
    ready.sent(mode, (Bytes::new(), Bytes::new()), simulator.shutdown.clone())
}

fn refuse(status: StatusCode, body: Value, retry_after: Option<u64>) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn error(_status: StatusCode, message: &str) -> Value {
    json!({ "error": { "message": message } })
}
