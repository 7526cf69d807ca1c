//! The requests below rmcp: its own client would read answers of any number of events, and up to 16 MiB of one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt, unfold};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientJsonRpcMessage, Implementation, JsonRpcMessage, ProtocolVersion,
    ServerJsonRpcMessage,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use rmcp::{ClientCacheConfig, ClientHandler, serve_client};
use secrecy::{ExposeSecret, SecretString};
use sse_stream::{Sse, SseStream};

use super::sessions::Running;
use super::{MAX_ANSWER_BYTES, McpFailed, not_begun};
use crate::functions::OUR_NAME;
use crate::http::guard::{self, UrlRefused};
use crate::http::{Body, ErrorCode, VendorError};

/// Runs that one session sends at once; the others wait within their time limit.
const MAX_CONCURRENT_REQUESTS: usize = 64;
const SESSION_ID: &str = "mcp-session-id";
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// Who we are to servers: a client that can do nothing for them.
pub(super) struct Us;

impl ClientHandler for Us {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("vocalbridge", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

/// Begins a session.
pub(super) async fn connect(
    client: Client,
    url: &Url,
    headers: &[(String, SecretString)],
) -> Result<Running, McpFailed> {
    let mut secret = HashMap::with_capacity(headers.len());
    for (name, value) in headers {
        if let (Ok(name), Ok(mut value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.expose_secret()))
        {
            value.set_sensitive(true);
            secret.insert(name, value);
        }
    }
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(secret)
        .max_concurrent_requests(MAX_CONCURRENT_REQUESTS);
    let transport = StreamableHttpClientTransport::with_client(Guarded(client), config);
    let running = serve_client(Us, transport).await.map_err(not_begun)?;
    // What a server offers is remembered by who asks here, not for as long as the server says.
    running.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
    Ok(running)
}

/// No answer, or none that is read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unanswered(pub(super) McpFailed);

type Failed = StreamableHttpError<Unanswered>;

impl From<McpFailed> for Failed {
    fn from(failed: McpFailed) -> Self {
        Self::Client(Unanswered(failed))
    }
}

/// The guarded client, as rmcp uses one.
#[derive(Clone)]
pub(super) struct Guarded(Client);

impl StreamableHttpClient for Guarded {
    type Error = Unanswered;

    async fn post_message(
        &self,
        url: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let request = self.0.post(&*url).header(ACCEPT, "application/json, text/event-stream").json(&message);
        let response = sent(request, session_id.as_deref(), headers).await?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && session_id.is_some() {
            return Err(StreamableHttpError::SessionExpired);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is = |wanted: &str| kind.is_some_and(|kind| kind.starts_with(wanted));
        let (is_json, is_stream) = (is(JSON), is(EVENT_STREAM));
        if !status.is_success() {
            // A server may refuse in words of the protocol; these say more than the status.
            let refused = Body::new(response, MAX_ANSWER_BYTES).drain().await;
            return match serde_json::from_slice(&refused) {
                Ok(refused @ JsonRpcMessage::Error(_)) if is_json => {
                    Ok(StreamableHttpPostResponse::Json(refused, None))
                }
                _ => Err(McpFailed::of_status(status).into()),
            };
        }
        let next_session = response.headers().get(SESSION_ID).and_then(|id| id.to_str().ok());
        let next_session = next_session.map(str::to_owned);
        if is_stream {
            return Ok(StreamableHttpPostResponse::Sse(events(response), next_session));
        }
        let body =
            Body::new(response, MAX_ANSWER_BYTES).whole(|| ()).await.map_err(|error| not_read(&error))?;
        if body.is_empty() {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let answer: ServerJsonRpcMessage = serde_json::from_slice(&body).map_err(|_| McpFailed::NoMcp)?;
        Ok(StreamableHttpPostResponse::Json(answer, next_session))
    }

    async fn delete_session(
        &self,
        url: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        // Servers may refuse; whatever they say, we are done.
        sent(self.0.delete(&*url), Some(&session_id), headers).await.map(drop)
    }

    /// Nothing that a server has to say of its own is wanted, and an answer that broke off is not asked for again.
    async fn get_stream(
        &self,
        _url: Arc<str>,
        _session_id: Option<Arc<str>>,
        _last_event_id: Option<String>,
        _auth_header: Option<String>,
        _headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

async fn sent(
    request: RequestBuilder,
    session_id: Option<&str>,
    headers: HashMap<HeaderName, HeaderValue>,
) -> Result<Response, Failed> {
    let mut request = request.headers(HeaderMap::from_iter(headers)).header(USER_AGENT, OUR_NAME);
    if let Some(session_id) = session_id {
        request = request.header(SESSION_ID, session_id);
    }
    request.send().await.map_err(|error| {
        let failed = match VendorError::from_transport(&error).code {
            _ if guard::is_refused(&error) => McpFailed::Url(UrlRefused::NotPublic),
            ErrorCode::Connect => McpFailed::Unreachable,
            _ => McpFailed::BrokeOff,
        };
        failed.into()
    })
}

impl McpFailed {
    fn of_status(status: StatusCode) -> Self {
        let number = status.as_u16();
        if status.is_redirection() { Self::Redirect(number) } else { Self::Status(number) }
    }
}

fn not_read(error: &VendorError) -> McpFailed {
    if error.code == ErrorCode::Garbage { McpFailed::TooLarge } else { McpFailed::BrokeOff }
}

/// The answer's events, of so many bytes in all.
fn events(response: Response) -> BoxStream<'static, Result<Sse, SseError>> {
    SseStream::from_bytes_stream(pieces(Body::new(response, MAX_ANSWER_BYTES))).boxed()
}

fn pieces(body: Body) -> impl Stream<Item = Result<Bytes, Unanswered>> + Send {
    unfold(Some(body), |body| async {
        let mut body = body?;
        match body.chunk().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(body))),
            Ok(None) => None,
            Err(error) => Some((Err(Unanswered(not_read(&error))), None)),
        }
    })
}
