//! One request to one vendor: sent, read, and nothing decided.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, Url};
use secrecy::SecretString;
use tokio::time::Instant;
use uuid::Uuid;

use super::wire::{Piece, StreamDecoder, Wire};
use super::{ChatReply, ChatRequest, DeltaSink};
use crate::http::{Body, LineSplitter, VendorError, parse_retry_after};

/// A stream is over with its last event; its connection can be used again only when the body has ended too.
/// A vendor that keeps the body open longer than this costs us the connection, not the caller his time.
const BODY_END_TIME: Duration = Duration::from_millis(10);

/// A vendor, ready to be called.
pub(super) struct Vendor {
    wire: Box<dyn Wire>,
    plain_url: Url,
    streaming_url: Url,
    credentials: (HeaderName, HeaderValue),
}

impl Vendor {
    /// # Errors
    /// When the address is no URL, or the key cannot be sent.
    pub(super) fn new(
        wire: Box<dyn Wire>,
        base_url: &str,
        api_key: &SecretString,
    ) -> Result<Self, VendorError> {
        let url = |streaming| {
            Url::parse(&format!("{}{}", base_url.trim_end_matches('/'), wire.path(streaming)))
                .map_err(|_| VendorError::misconfigured("the vendor's base URL is no URL"))
        };
        let (plain_url, streaming_url) = (url(false)?, url(true)?);
        let credentials = wire.credentials(api_key)?;
        Ok(Self { wire, plain_url, streaming_url, credentials })
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
    pub(super) max_answer_bytes: usize,
    pub(super) now: DateTime<Utc>,
}

/// What is known of an attempt, kept outside its future: it survives when that is dropped by a time limit.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) status: Option<u16>,
    pub(super) first_token: Option<Duration>,
    /// The reply as far as it came; whole once [`Attempt::send`] is done.
    pub(super) reply: ChatReply,
    /// A delta has no room. Time that runs out now is the reader's fault and says nothing of the vendor.
    pub(super) waits_for_reader: bool,
}

impl Attempt<'_> {
    /// Sends the request and reads the answer. Has no time limit of its own; dropping it breaks the
    /// connection.
    ///
    /// # Errors
    /// As the vendor failed.
    pub(super) async fn send(&self, http: &Client, progress: &mut Progress) -> Result<(), VendorError> {
        let started = Instant::now();
        let request = self.encode()?;
        let response = http.execute(request).await.map_err(|error| VendorError::from_transport(&error))?;
        progress.status = Some(response.status().as_u16());
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let mut body = Body::new(response, self.max_answer_bytes);
        match self.deltas {
            None => {
                progress.reply = self.vendor.wire.decode(&body.whole().await?)?;
                Ok(())
            }
            Some(deltas) => self.read_stream(&mut body, deltas, started, progress).await,
        }
    }

    fn encode(&self) -> Result<Request, VendorError> {
        let streaming = self.deltas.is_some();
        let vendor = self.vendor;
        let url = if streaming { &vendor.streaming_url } else { &vendor.plain_url };
        let mut request = Request::new(Method::POST, url.clone());
        *request.body_mut() = Some(vendor.wire.encode(self.request, self.model, streaming)?.into());
        let mut id = Uuid::encode_buffer();
        let id = HeaderValue::from_str(self.id.hyphenated().encode_lower(&mut id))
            .map_err(|_| VendorError::misconfigured("the attempt's id cannot be sent in a header"))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(HeaderName::from_static("x-request-id"), id.clone());
        headers.insert(HeaderName::from_static("idempotency-key"), id);
        headers.insert(vendor.credentials.0.clone(), vendor.credentials.1.clone());
        Ok(request)
    }

    async fn refused(&self, response: Response) -> VendorError {
        let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let error = VendorError::from_status(
            response.status(),
            wish.and_then(|wish| parse_retry_after(wish, self.now)),
        );
        Body::new(response, self.max_answer_bytes).drain().await;
        error
    }

    async fn read_stream(
        &self,
        body: &mut Body,
        deltas: &DeltaSink,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<(), VendorError> {
        let mut decoder = self.vendor.wire.stream_decoder();
        let mut lines = LineSplitter::default();
        while let Some(chunk) = body.chunk().await? {
            lines.push(&chunk);
            while let Some(line) = lines.next_line() {
                if self.read_line(&mut *decoder, line, deltas, started, progress).await? {
                    // Nothing depends on how this goes.
                    let _ = tokio::time::timeout(BODY_END_TIME, body.chunk()).await;
                    return Ok(());
                }
            }
        }
        if let Some(line) = lines.rest()
            && self.read_line(&mut *decoder, line, deltas, started, progress).await?
        {
            return Ok(());
        }
        Err(VendorError::dropped())
    }

    /// Takes one line; true when it was the reply's end.
    async fn read_line(
        &self,
        decoder: &mut dyn StreamDecoder,
        line: &[u8],
        deltas: &DeltaSink,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<bool, VendorError> {
        let piece = decoder.line(line, &mut progress.reply)?;
        if matches!(piece, Piece::Text(_) | Piece::Call) && progress.first_token.is_none() {
            progress.first_token = Some(started.elapsed());
        }
        if let Piece::Text(text) = piece {
            progress.waits_for_reader = true;
            deltas.send(self.number, text).await;
            progress.waits_for_reader = false;
            return Ok(false);
        }
        Ok(piece == Piece::End)
    }
}
