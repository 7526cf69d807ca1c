//! One request to a simulated vendor, from its headers to its answer.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rand::RngExt;

use super::conversation::{self, Answer, Conversation};
use super::log::Entry;
use super::misbehave::Ready;
use super::{Control, Mode, Simulator, VendorName};

/// A vendor's wire format, seen from the vendor.
pub(super) trait Format {
    const VENDOR: VendorName;
    /// Every model whose name begins with this exists.
    const MODEL_PREFIX: &'static str;
    const STREAM_CONTENT_TYPE: &'static str;

    /// Whether the request carries a key; any key will do.
    fn has_key(headers: &HeaderMap) -> bool;

    /// # Errors
    /// When the body is not in this format.
    fn read(body: &[u8]) -> Result<Asked<'_>, serde_json::Error>;

    fn whole(reply: &Reply<'_>) -> Bytes;

    /// The stream's pieces, about one per token.
    fn pieces(reply: &Reply<'_>) -> Vec<Bytes>;

    fn error(status: StatusCode, message: &str) -> Bytes;
}

/// A request, read.
pub(super) struct Asked<'a> {
    pub(super) model: Cow<'a, str>,
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) conversation: Conversation<'a>,
}

/// What is to be written in a vendor's format.
pub(super) struct Reply<'a> {
    /// Of this request, and not of another one even after a restart.
    pub(super) id: u64,
    pub(super) model: &'a str,
    pub(super) answer: Answer,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
}

impl Reply<'_> {
    pub(super) fn call_id(&self, position: usize) -> String {
        format!("call_{:016x}_{position}", self.id)
    }
}

/// What a request gets.
enum Verdict<'a> {
    Refused(StatusCode, String),
    Failed(StatusCode),
    Answered(Asked<'a>),
}

pub(super) async fn serve<F: Format>(
    State(simulator): State<Arc<Simulator>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = examine::<F>(&headers, &body);
    let (control, index, verdict) = decide::<F>(&simulator, &headers, &body, asked);
    if control.latency_ms > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(control.latency_ms)) => {}
            () = simulator.shutdown.cancelled() => {}
        }
    }
    match verdict {
        Verdict::Refused(status, message) => refuse::<F>(status, &message, None),
        Verdict::Failed(status) => {
            refuse::<F>(status, "the vendor failed, as it was told to", control.retry_after)
        }
        Verdict::Answered(_) if control.mode == Mode::Stall => {
            simulator.shutdown.cancelled().await;
            refuse::<F>(StatusCode::SERVICE_UNAVAILABLE, "the vendor is closing", None)
        }
        Verdict::Answered(asked) => {
            let ready = answer::<F>(&asked, reply_id(&headers, index));
            match control.mode {
                Mode::Normal | Mode::Stall => ready.normal(),
                Mode::Garbage => ready.garbage(),
                Mode::Drop => ready.dropped(),
                Mode::SlowDrip => ready.slow_drip(simulator.shutdown.clone()),
            }
        }
    }
}

fn examine<'a, F: Format>(headers: &HeaderMap, body: &'a [u8]) -> Result<Asked<'a>, (StatusCode, String)> {
    if !F::has_key(headers) {
        return Err((StatusCode::UNAUTHORIZED, "no key was sent".to_owned()));
    }
    let asked = F::read(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    if !asked.model.starts_with(F::MODEL_PREFIX) {
        return Err((StatusCode::NOT_FOUND, format!("there is no model {:?}", asked.model)));
    }
    Ok(asked)
}

/// Draws the request's lot and writes it into the log, in one order.
fn decide<'a, F: Format>(
    simulator: &Simulator,
    headers: &HeaderMap,
    body: &[u8],
    asked: Result<Asked<'a>, (StatusCode, String)>,
) -> (Control, u64, Verdict<'a>) {
    let mut entry = Entry {
        vendor: F::VENDOR,
        index: 0,
        request_id: headers.get("x-request-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into()),
        at: (simulator.config.now)(),
        model: asked.as_ref().ok().map(|asked| (&*asked.model).into()),
        stream: asked.as_ref().ok().map(|asked| asked.stream),
        status: None,
        mode: Mode::Normal,
        body: Bytes::copy_from_slice(body),
    };
    let mut state = simulator.state();
    let vendor = state.vendor(F::VENDOR);
    vendor.requests += 1;
    let (control, index) = (vendor.control, vendor.requests);
    // Drawn for every request, so that a change of the control does not shift the lots of later ones.
    let lot: f64 = vendor.failures.random();
    let verdict = match asked {
        Err((status, message)) => Verdict::Refused(status, message),
        Ok(_) if control.mode == Mode::Normal && lot < control.failure_rate => {
            Verdict::Failed(StatusCode::from_u16(control.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Ok(asked) => Verdict::Answered(asked),
    };
    entry.index = index;
    entry.mode = control.mode;
    entry.status = match &verdict {
        Verdict::Refused(status, _) | Verdict::Failed(status) => Some(status.as_u16()),
        Verdict::Answered(_) => (control.mode != Mode::Stall).then_some(200),
    };
    state.log.push(entry);
    (control, index, verdict)
}

fn answer<F: Format>(asked: &Asked<'_>, id: u64) -> Ready {
    let answer = conversation::answer(&asked.conversation, asked.max_tokens);
    let tokens_in = asked.conversation.tokens();
    let tokens_out = answer.tokens();
    let reply = Reply { id, model: &asked.model, answer, tokens_in, tokens_out };
    if asked.stream {
        Ready { content_type: F::STREAM_CONTENT_TYPE, pieces: F::pieces(&reply), streaming: true }
    } else {
        Ready { content_type: "application/json", pieces: vec![F::whole(&reply)], streaming: false }
    }
}

fn reply_id(headers: &HeaderMap, index: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    headers.get("x-request-id").map(HeaderValue::as_bytes).hash(&mut hasher);
    index.hash(&mut hasher);
    hasher.finish()
}

fn refuse<F: Format>(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (status, content_type, F::error(status, message)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Appends compact JSON. Only maps with keys that are no strings cannot be written, and nothing here has one;
/// the bytes stay as they were then.
pub(super) fn write_json(bytes: &mut Vec<u8>, value: &impl serde::Serialize) {
    let before = bytes.len();
    if serde_json::to_writer(&mut *bytes, value).is_err() {
        bytes.truncate(before);
    }
}
