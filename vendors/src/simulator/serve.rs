//! One request to a simulated vendor, from its headers to its answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::RngExt;

use super::conversation::{self, Answer};
use super::format::{Asked, Catalogue, Format, Received, Refusal, Reply, TOLD_TO_FAIL};
use super::log::Entry;
use super::misbehave::{self, Ready};
use super::{Control, Mode, Simulator};

/// Neither JSON nor an object.
const BROKEN_ARGUMENTS: &str = "{\"invoice_id\": \"INV-";
const OVERSIZED_BYTES: usize = 10 * 1024 * 1024;
const OVERSIZED_WORD_BYTES: usize = 16 * 1024;

/// What a request gets.
enum Verdict<'a, F> {
    Refused(Refusal),
    Failed(StatusCode),
    Answered(F, Asked<'a>),
}

pub(super) async fn serve<F: Format>(
    State(simulator): State<Arc<Simulator>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received { uri: &uri, headers: &headers, body: &body };
    let asked = examine::<F>(&received);
    let at = (simulator.config.now)();
    let (control, index, verdict) = decide(&simulator, &received, at, asked);
    if control.latency_ms > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(control.latency_ms)) => {}
            () = simulator.shutdown.cancelled() => {}
        }
    }
    match verdict {
        Verdict::Refused(refusal) => refuse::<F>(refusal.status, &refusal.message, None),
        Verdict::Failed(status) => refuse::<F>(status, TOLD_TO_FAIL, control.retry_after),
        Verdict::Answered(..) if control.mode == Mode::Stall => {
            simulator.shutdown.cancelled().await;
            refuse::<F>(StatusCode::SERVICE_UNAVAILABLE, "the vendor is closing", None)
        }
        Verdict::Answered(format, asked) => {
            let ready = answer(&format, &asked, control.mode, reply_id(&headers, index), at);
            match control.mode {
                Mode::Garbage => ready.garbage(),
                Mode::Html => misbehave::html(),
                Mode::StallMidway => ready.stalled_midway(simulator.shutdown.clone()),
                Mode::Drop => ready.dropped(),
                Mode::SlowDrip => ready.slow_drip(simulator.shutdown.clone()),
                Mode::StreamError => {
                    let whole = F::error(StatusCode::INTERNAL_SERVER_ERROR, TOLD_TO_FAIL, None);
                    ready.failed_midway(format.stream_error(), whole)
                }
                Mode::Normal | Mode::Stall | Mode::Empty | Mode::Oversized | Mode::BadArguments => {
                    ready.normal()
                }
            }
        }
    }
}

fn examine<'a, F: Format>(received: &Received<'a>) -> Result<(F, Asked<'a>), Refusal> {
    if F::key(received).is_none() {
        return Err(Refusal::new(F::KEYLESS, "no key was sent"));
    }
    let (format, asked) = F::read(received)?;
    if !F::has_model(&asked.model) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no model {:?}", asked.model)));
    }
    Ok((format, asked))
}

/// Draws the request's lot and writes it into the log, in one order.
fn decide<'a, F: Format>(
    simulator: &Simulator,
    received: &Received<'a>,
    at: DateTime<Utc>,
    asked: Result<(F, Asked<'a>), Refusal>,
) -> (Control, u64, Verdict<'a, F>) {
    let request_id = received.headers.get("x-request-id");
    let read = asked.as_ref().ok().map(|(_, asked)| asked);
    let mut entry = Entry {
        vendor: F::VENDOR,
        index: 0,
        request_id: request_id.map(|id| String::from_utf8_lossy(id.as_bytes()).into()),
        at,
        model: read.map(|asked| (&*asked.model).into()),
        stream: read.map(|asked| asked.stream),
        status: None,
        mode: Mode::Normal,
        body: Bytes::copy_from_slice(received.body),
    };
    let mut state = simulator.state();
    let vendor = &mut state.vendors[F::VENDOR];
    vendor.requests += 1;
    let (control, index) = (vendor.control_of(F::key(received)).next(), vendor.requests);
    // Drawn for every request, so that a change of the control does not shift the lots of later ones.
    let lot: f64 = vendor.failures.random();
    let verdict = match asked {
        Err(refusal) => Verdict::Refused(refusal),
        Ok(_) if control.mode == Mode::Normal && lot < control.failure_rate => {
            Verdict::Failed(StatusCode::from_u16(control.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Ok((format, asked)) => Verdict::Answered(format, asked),
    };
    entry.index = index;
    entry.mode = control.mode;
    entry.status = match &verdict {
        Verdict::Refused(Refusal { status, .. }) | Verdict::Failed(status) => Some(status.as_u16()),
        Verdict::Answered(..) => (control.mode != Mode::Stall).then_some(200),
    };
    state.log.push(entry);
    (control, index, verdict)
}

fn answer<F: Format>(format: &F, asked: &Asked<'_>, mode: Mode, id: u64, at: DateTime<Utc>) -> Ready {
    let mut answer = match mode {
        Mode::Empty => Answer::default(),
        Mode::Oversized => oversized(),
        _ => conversation::answer(&asked.conversation, asked.max_tokens),
    };
    if mode == Mode::BadArguments {
        answer.calls.iter_mut().for_each(|call| call.arguments = BROKEN_ARGUMENTS.into());
    }
    let tokens_in = asked.conversation.tokens();
    let tokens_out = answer.tokens();
    let created = at.timestamp();
    let reply = Reply { id, created, model: &asked.model, answer, tokens_in, tokens_out };
    if asked.stream {
        let (content_type, pieces) = (format.stream_content_type(), format.pieces(&reply));
        Ready { content_type, pieces, streaming: true }
    } else {
        Ready { content_type: "application/json", pieces: vec![format.whole(&reply)], streaming: false }
    }
}

/// In long words, which are few pieces of a stream.
fn oversized() -> Answer {
    let word = "x".repeat(OVERSIZED_WORD_BYTES - 1) + " ";
    Answer::say(word.repeat(OVERSIZED_BYTES / OVERSIZED_WORD_BYTES))
}

fn reply_id(headers: &HeaderMap, index: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    headers.get("x-request-id").map(HeaderValue::as_bytes).hash(&mut hasher);
    index.hash(&mut hasher);
    hasher.finish()
}

fn refuse<F: Format>(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (status, content_type, F::error(status, message, retry_after)).into_response();
    if let Some(seconds) = retry_after.filter(|_| F::RETRY_AFTER_HEADER) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Answers at any time, whatever the control says: only the model is simulated to fail.
pub(super) async fn models<F: Catalogue>(uri: Uri, headers: HeaderMap) -> Response {
    if F::key(&Received { uri: &uri, headers: &headers, body: &[] }).is_some() {
        Json(F::models()).into_response()
    } else {
        refuse::<F>(F::KEYLESS, "no key was sent", None)
    }
}
