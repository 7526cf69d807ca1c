//! One request to a simulated vendor, from its headers to its answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::conversation::{self, Answer};
use super::format::{Asked, Catalogue, Format, Received, Refusal, Reply, TOLD_TO_FAIL};
use super::lots::{Lot, Request, draw};
use super::misbehave::Ready;
use super::{Mode, Simulator};

/// Neither JSON nor an object.
const BROKEN_ARGUMENTS: &str = "{\"invoice_id\": \"INV-";
const OVERSIZED_BYTES: usize = 10 * 1024 * 1024;
const OVERSIZED_WORD_BYTES: usize = 16 * 1024;

pub(super) async fn serve<F: Format>(
    State(simulator): State<Arc<Simulator>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received { uri: &uri, headers: &headers, body: &body };
    let asked = examine::<F>(&received);
    let read = asked.as_ref().ok().map(|(_, asked)| asked);
    let request = Request {
        vendor: F::VENDOR,
        key: F::key(&received),
        headers: &headers,
        model: read.map(|asked| &*asked.model),
        stream: read.map(|asked| asked.stream),
        body: &body,
        refused: asked.as_ref().err().map(|refusal| refusal.status),
    };
    let Lot { at, control, index, failed } = draw(&simulator, &request).await;
    let (format, asked) = match (asked, failed) {
        (Err(refusal), _) => return refuse::<F>(refusal.status, &refusal.message, None),
        (Ok(_), Some(status)) => return refuse::<F>(status, TOLD_TO_FAIL, control.retry_after),
        (Ok(asked), None) => asked,
    };
    if control.mode == Mode::Stall {
        simulator.shutdown.cancelled().await;
        return refuse::<F>(StatusCode::SERVICE_UNAVAILABLE, "the vendor is closing", None);
    }
    let ready = answer(&format, &asked, control.mode, reply_id(&headers, index), at);
    let whole = F::error(StatusCode::INTERNAL_SERVER_ERROR, TOLD_TO_FAIL, None);
    ready.sent(control.mode, (format.stream_error(), whole), simulator.shutdown.clone())
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
