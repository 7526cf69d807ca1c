//! One request to one vendor: sent, read, and nothing decided.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, Url};
use secrecy::SecretString;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::calls::identify;
use super::floor::Floor;
use super::wire::{Answer, Path, Piece, StreamDecoder, Wire};
use super::{ChatRequest, DeltaSink};
use crate::http::{Body, LineSplitter, VendorError, parse_retry_after};

/// A stream is over with its last event; its connection can be used again only when the body has ended too.
/// A vendor that keeps the body open longer than this costs us the connection, not the caller his time.
const BODY_END_TIME: Duration = Duration::from_millis(10);

/// A vendor, ready to be called.
pub(super) struct Vendor {
    wire: Box<dyn Wire>,
    plain: Endpoint,
    streaming: Endpoint,
    headers: HeaderMap,
}

impl Vendor {
    /// # Errors
    /// When the address is no URL, or the key cannot be sent.
    pub(super) fn new(
        wire: Box<dyn Wire>,
        base_url: &str,
        api_key: &SecretString,
    ) -> Result<Self, VendorError> {
        let (plain, streaming) =
            (Endpoint::new(base_url, wire.path(false))?, Endpoint::new(base_url, wire.path(true))?);
        let mut headers = wire.headers(api_key)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        Ok(Self { wire, plain, streaming, headers })
    }
}

/// Where requests go; all that does not depend on the model is parsed once.
struct Endpoint {
    url: Url,
    after_model: Option<&'static str>,
}

impl Endpoint {
    fn new(base_url: &str, path: Path) -> Result<Self, VendorError> {
        let url = Url::parse(&format!("{}{}", base_url.trim_end_matches('/'), path.fixed))
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .ok_or_else(|| VendorError::misconfigured("the vendor's base URL is no URL"))?;
        Ok(Self { url, after_model: path.after_model })
    }

    /// A model's name is one segment whatever it holds: slashes and question marks are escaped, and with
    /// something behind it it is never `..`.
    fn url(&self, model: &str) -> Url {
        let mut url = self.url.clone();
        if let (Some(after), Ok(mut segments)) = (self.after_model, url.path_segments_mut()) {
            segments.push(&format!("{model}{after}"));
        }
        url
    }
}

/// What one attempt sends, and to whom.
pub(super) struct Attempt<'a> {
    pub(super) id: Uuid,
    pub(super) number: u32,
    pub(super) vendor: &'a Vendor,
    pub(super) model: &'a str,
    pub(super) request: &'a ChatRequest,
    pub(super) deltas: Option<&'a DeltaSink>,
    pub(super) floor: &'a Floor,
    pub(super) max_answer_bytes: usize,
    pub(super) first_token_timeout: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) now: DateTime<Utc>,
}

/// What is known of an attempt, kept outside its future: it survives when that is dropped by a time limit.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) status: Option<u16>,
    pub(super) first_token: Option<Duration>,
    /// The answer as far as it came.
    pub(super) answer: Answer,
    /// The answer has come to its end; what the vendor has told of its usage is final.
    pub(super) whole: bool,
    /// A delta has no room. Time that runs out now is the reader's fault and says nothing of the vendor.
    pub(super) waits_for_reader: bool,
}

impl Attempt<'_> {
    /// Sends the request and reads the answer. Has no time limit for the whole of it; dropping it breaks the
    /// connection.
    ///
    /// # Errors
    /// As the vendor failed.
    pub(super) async fn send(&self, http: &Client, progress: &mut Progress) -> Result<(), VendorError> {
        let request = self.encode()?;
        match self.deltas {
            None => {
                let body = self.answer(http, request, progress).await?;
                let whole = body.whole(|| self.floor.begin()).await?;
                progress.answer = self.vendor.wire.decode(&whole)?;
            }
            Some(deltas) => {
                let patience = Patience::new(self);
                let mut body = patience.wait(self.answer(http, request, progress)).await??;
                self.read_stream(&mut body, deltas, patience, progress).await?;
            }
        }
        progress.whole = true;
        identify(&mut progress.answer.tool_calls, self.number);
        progress.answer.check()?;
        self.take_the_floor()
    }

    /// Two attempts may be under way; only one of them may be heard.
    fn take_the_floor(&self) -> Result<(), VendorError> {
        if self.floor.take(self.number) { Ok(()) } else { Err(VendorError::cancelled()) }
    }

    /// The body of an answer that is not an error.
    async fn answer(
        &self,
        http: &Client,
        request: Request,
        progress: &mut Progress,
    ) -> Result<Body, VendorError> {
        let response = http.execute(request).await.map_err(|error| VendorError::from_transport(&error))?;
        progress.status = Some(response.status().as_u16());
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        Ok(Body::new(response, self.max_answer_bytes))
    }

    fn encode(&self) -> Result<Request, VendorError> {
        let streaming = self.deltas.is_some();
        let vendor = self.vendor;
        let endpoint = if streaming { &vendor.streaming } else { &vendor.plain };
        let mut request = Request::new(Method::POST, endpoint.url(self.model));
        *request.body_mut() = Some(vendor.wire.encode(self.request, self.model, streaming)?.into());
        let mut id = Uuid::encode_buffer();
        let id = HeaderValue::from_str(self.id.hyphenated().encode_lower(&mut id))
            .map_err(|_| VendorError::misconfigured("the attempt's id cannot be sent in a header"))?;
        let headers = request.headers_mut();
        headers.clone_from(&vendor.headers);
        headers.insert(HeaderName::from_static("x-request-id"), id.clone());
        headers.insert(HeaderName::from_static("idempotency-key"), id);
        Ok(request)
    }

    async fn refused(&self, response: Response) -> VendorError {
        let status = response.status();
        let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wish = wish.and_then(|wish| parse_retry_after(wish, self.now));
        let body = Body::new(response, self.max_answer_bytes).drain().await;
        let mut refusal = self.vendor.wire.refusal(&body);
        refusal.retry_after = wish.or(refusal.retry_after);
        VendorError::from_status(status, refusal)
    }

    async fn read_stream(
        &self,
        body: &mut Body,
        deltas: &DeltaSink,
        mut patience: Patience,
        progress: &mut Progress,
    ) -> Result<(), VendorError> {
        let mut decoder = self.vendor.wire.stream_decoder();
        let mut lines = LineSplitter::default();
        while let Some(chunk) = patience.wait(body.chunk()).await?? {
            lines.push(&chunk);
            while let Some(line) = lines.next_line() {
                if self.read_line(&mut *decoder, line, deltas, &mut patience, progress).await? {
                    // Nothing depends on how this goes.
                    let _ = timeout(BODY_END_TIME, body.chunk()).await;
                    return Ok(());
                }
            }
        }
        // Not every server writes the last line's end, and fewer the empty line after it.
        for line in [lines.rest().unwrap_or_default(), b""] {
            if self.read_line(&mut *decoder, line, deltas, &mut patience, progress).await? {
                return Ok(());
            }
        }
        decoder.end(&mut progress.answer)
    }

    /// Takes one line; true when it was the answer's end.
    async fn read_line(
        &self,
        decoder: &mut dyn StreamDecoder,
        line: &[u8],
        deltas: &DeltaSink,
        patience: &mut Patience,
        progress: &mut Progress,
    ) -> Result<bool, VendorError> {
        let piece = decoder.line(line, &mut progress.answer)?;
        if matches!(piece, Piece::Text(_) | Piece::Call) && progress.first_token.is_none() {
            progress.first_token = Some(patience.started.elapsed());
            self.take_the_floor()?;
        }
        match piece {
            Piece::Text(text) => {
                progress.waits_for_reader = true;
                deltas.send(self.number, text).await;
                progress.waits_for_reader = false;
                patience.renew();
            }
            Piece::Call => patience.renew(),
            Piece::End => return Ok(true),
            Piece::Nothing => {}
        }
        Ok(false)
    }
}

/// How long a stream may bring nothing. Only text and tool calls renew it, so that neither keep-alives nor a
/// trickle of events without words hold a caller on the line.
struct Patience {
    started: Instant,
    since: Instant,
    limit: Duration,
    stall_timeout: Duration,
    exceeded: fn(Duration) -> VendorError,
}

impl Patience {
    fn new(attempt: &Attempt<'_>) -> Self {
        let started = Instant::now();
        Self {
            started,
            since: started,
            limit: attempt.first_token_timeout,
            stall_timeout: attempt.stall_timeout,
            exceeded: VendorError::no_first_token,
        }
    }

    fn renew(&mut self) {
        self.since = Instant::now();
        self.limit = self.stall_timeout;
        self.exceeded = VendorError::stalled;
    }

    async fn wait<T>(&self, event: impl Future<Output = T>) -> Result<T, VendorError> {
        let left = self.limit.saturating_sub(self.since.elapsed());
        timeout(left, event).await.map_err(|_| (self.exceeded)(self.limit))
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
