//! Ears that always hear well and a mouth that babbles: speech at no cost, for tests of load and of faults.
//!
//! | path | request | answer |
//! |---|---|---|
//! | `POST /simulated/v1/transcribe` | `{"model", "utterance", "audio_ms", "final"}`: audio stays at home, only its length travels | `{"text"}`: of the phrase whose turn it is (the `utterance`th, from 0), as much as fits into the time; all of it when `final` |
//! | `POST /simulated/v1/speak` | `{"model", "text", "format"}`, `format` one of `mulaw_8000`, `pcm16_8000`, `pcm16_16000`, `pcm16_24000` | audio, 60 ms for each character, in pieces of half a second at most |
//!
//! Both are in the log and under the control of `simulated_speech`, whose control also has `phrases`, what is heard. No
//! key is needed. The same request gets the same answer, so that one that failed can be made again.

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
    let (heard, control) =
        match begin::<Heard>(&simulator, &headers, &body, |heard| Ok((heard.model.clone(), false))).await {
            Ok(begun) => begun,
            Err(response) => return response,
        };
    let text = match control.mode {
        Mode::Empty => String::new(),
        Mode::Oversized => "x".repeat(OVERSIZED_BYTES),
        _ => {
            let phrases = simulator.state().phrases.clone();
            let phrase = phrases.of(heard.utterance);
            (if heard.r#final { phrase } else { said_within(phrase, heard.audio_ms) }).to_owned()
        }
    };
    let whole = json!({ "text": text }).to_string().into();
    let ready = Ready { content_type: "application/json", pieces: vec![whole], streaming: false };
    ready.sent(control.mode, failure(), simulator.shutdown.clone())
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
    let ready = Ready {
        content_type: babble.content_type,
        pieces: match control.mode {
            Mode::Empty => Vec::new(),
            Mode::Oversized => babble.bytes(OVERSIZED_BYTES),
            _ => babble.ms(babble::ms_for(&said.text)),
        },
        streaming: true,
    };
    if control.mode == Mode::StreamError {
        // Audio has no words for a failure: the connection breaks.
        return ready.sent(Mode::Drop, failure(), simulator.shutdown.clone());
    }
    ready.sent(control.mode, failure(), simulator.shutdown.clone())
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
    let Lot { control, failed, .. } = draw(simulator, &request).await;
    match (read, failed) {
        (Err(refusal), _) => Err(refuse(refusal.status, &refusal.message, None)),
        (Ok(_), Some(status)) => Err(refuse(status, TOLD_TO_FAIL, control.retry_after)),
        (Ok(_), None) if control.mode == Mode::Stall => {
            simulator.shutdown.cancelled().await;
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "the vendor is closing", None))
        }
        (Ok((asked, ..)), None) => Ok((asked, control)),
    }
}

fn failure() -> (Bytes, Bytes) {
    let body = Bytes::from(error(TOLD_TO_FAIL).to_string());
    (body.clone(), body)
}

fn refuse(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let mut response = (status, Json(error(message))).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn error(message: &str) -> Value {
    json!({ "error": { "message": message } })
}
