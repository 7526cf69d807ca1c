//! Tools of MCP servers: a tenant's server is asked what it offers, and told to run one of it (Model Context Protocol,
//! streamable HTTP).
//!
//! The protocol is rmcp's; the requests are ours ([`transport`]): they go where [`guard`](crate::http::guard) lets them,
//! follow no redirect, and read bounded answers. A server is trusted with nothing else: it is refused every request of
//! its own (sampling, elicitation, roots), and there is no OAuth, only the headers that the tenant has set.
//!
//! A run is sent once. It is sent again only after the answer that the session is over (HTTP 404), which says that nothing
//! was done.

mod answer;
mod sessions;
mod tools;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use reqwest::Client;
use rmcp::model::{CallToolRequestParams, CallToolResponse, RequestMetaObject};
use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::http::ClientError;
use crate::http::guard::{self, Names, UrlPolicy, UrlRefused};

use sessions::Sessions;
use transport::Unanswered;

pub use tools::{Listed, ListedTool, MAX_TOOLS};

/// A larger answer is not read.
pub const MAX_ANSWER_BYTES: usize = 2 * 1_024 * 1_024;
/// A larger result is not one: it would fill a model's window.
pub const MAX_RESULT_BYTES: usize = 64 * 1_024;

/// Headers that a tenant cannot set besides those that no function may have: they are the protocol's. In lower case.
pub const RESERVED_HEADERS: [&str; 3] = ["last-event-id", "mcp-protocol-version", "mcp-session-id"];

/// Where a run carries what is the same whenever it is sent. `traceparent` is the protocol's own name.
const IDEMPOTENCY_KEY: &str = "vocalbridge/idempotency-key";
const CORRELATION_ID: &str = "vocalbridge/correlation-id";
const TRACEPARENT: &str = "traceparent";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const LISTS: &str = "vocalbridge_mcp_lists_total";
const CALLS: &str = "vocalbridge_mcp_calls_total";

/// How long servers are waited for, connecting included.
#[derive(Clone, Copy, Debug)]
pub struct McpLimits {
    pub list: Duration,
    pub call: Duration,
    /// A session that is not used for so long is closed.
    pub idle: Duration,
}

impl Default for McpLimits {
    fn default() -> Self {
        Self {
            list: Duration::from_secs(5),
            call: Duration::from_secs(20),
            idle: Duration::from_secs(5 * 60),
        }
    }
}

/// Whom to ask. Its session ends with its `version`.
#[derive(Clone, Debug)]
pub struct McpServer {
    pub tenant_id: Uuid,
    pub id: Uuid,
    /// Of its settings.
    pub version: u32,
    pub url: String,
    /// The tenant's own headers, names and values as [`is_header`](crate::functions::is_header) wants them.
    pub headers: Vec<(String, SecretString)>,
}

/// One run of a tool.
#[derive(Clone, Debug)]
pub struct McpCall<'a> {
    /// As the server calls it.
    pub tool: &'a str,
    pub arguments: &'a Map<String, Value>,
    /// The same whenever this run is sent, here and by another process. Servers need not know it.
    pub idempotency_key: &'a str,
    pub correlation_id: &'a str,
    /// W3C Trace Context.
    pub traceparent: &'a str,
}

/// Why a server did not do what it was asked. The text is for tenants and their models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum McpFailed {
    #[error("the MCP server's URL {0}")]
    Url(UrlRefused),
    #[error("the MCP server could not be reached")]
    Unreachable,
    #[error("the MCP server answered HTTP {0}: redirects are not followed")]
    Redirect(u16),
    #[error("the MCP server answered HTTP {0}")]
    Status(u16),
    #[error("the MCP server's answer is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
    #[error("the MCP server did not answer in time")]
    TimedOut,
    #[error("the MCP server's answer broke off")]
    BrokeOff,
    #[error("the MCP server's answer is not of the Model Context Protocol")]
    NoMcp,
    #[error("the MCP server answered the error {code}: {message}")]
    Refused { code: i32, message: String },
    /// What the tool itself said, or why its result cannot be told.
    #[error("{0}")]
    Tool(String),
}

impl McpFailed {
    /// Whether the session may be broken, so that the next request had better begin a new one. A run that takes too long is
    /// cancelled in its session, and says nothing of others.
    fn ends_session(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Tool(_) | Self::TimedOut)
    }
}

/// Asks MCP servers, and keeps the sessions with them.
pub struct Mcp {
    client: Client,
    policy: UrlPolicy,
    limits: McpLimits,
    sessions: Sessions,
}

impl Mcp {
    /// `names` says where names lead.
    ///
    /// # Errors
    /// When the TLS configuration is refused.
    pub fn new(policy: UrlPolicy, names: &Arc<dyn Names>, limits: McpLimits) -> Result<Self, ClientError> {
        let client = guard::guarded_client(policy, names, CONNECT_TIMEOUT)?;
        Ok(Self { client, policy, limits, sessions: Sessions::default() })
    }

    /// What the server offers now.
    ///
    /// # Errors
    /// When it does not say so within the time limit.
    pub async fn tools(&self, server: &McpServer) -> Result<Listed, McpFailed> {
        let listed = self.with_session(server, self.limits.list, tools::list).await;
        counter!(LISTS, "outcome" => outcome(&listed)).increment(1);
        listed
    }

    /// Runs a tool and answers its result.
    ///
    /// # Errors
    /// When the tool says that it failed, and when there is no result, though the tool may have run.
    pub async fn call(&self, server: &McpServer, call: &McpCall<'_>) -> Result<Value, McpFailed> {
        let ran = self
            .with_session(server, self.limits.call, async |peer| {
                match peer.call_tool_once(params(call)).await.map_err(failed)? {
                    CallToolResponse::Complete(result) => answer::result(result),
                    _ => Err(McpFailed::Tool("the tool wants more than a call can give it".to_owned())),
                }
            })
            .await;
        counter!(CALLS, "outcome" => outcome(&ran)).increment(1);
        ran
    }

    /// Closes sessions that nobody uses, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(self.limits.idle / 4);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.sessions.close_idle(self.limits.idle);
        }
    }

    async fn with_session<T>(
        &self,
        server: &McpServer,
        limit: Duration,
        ask: impl AsyncFnOnce(&sessions::Peer) -> Result<T, McpFailed>,
    ) -> Result<T, McpFailed> {
        let url = guard::checked(&server.url, self.policy).map_err(McpFailed::Url)?;
        let session = self.sessions.of(server);
        let asked = async {
            let peer =
                session.peer(|| transport::connect(self.client.clone(), &url, &server.headers)).await?;
            ask(peer).await
        };
        let answered = timeout(limit, asked).await.unwrap_or(Err(McpFailed::TimedOut));
        if answered.as_ref().is_err_and(McpFailed::ends_session) {
            self.sessions.forget(&session);
        }
        answered
    }
}

fn outcome<T>(answered: &Result<T, McpFailed>) -> &'static str {
    match answered {
        Ok(_) => "ok",
        Err(McpFailed::Tool(_)) => "tool_error",
        Err(_) => "error",
    }
}

fn params(call: &McpCall<'_>) -> CallToolRequestParams {
    let mut meta = RequestMetaObject::default();
    for (name, value) in [
        (IDEMPOTENCY_KEY, call.idempotency_key),
        (CORRELATION_ID, call.correlation_id),
        (TRACEPARENT, call.traceparent),
    ] {
        meta.insert(name.to_owned(), value.into());
    }
    let mut params = CallToolRequestParams::new(call.tool.to_owned()).with_arguments(call.arguments.clone());
    params.meta = Some(meta);
    params
}

fn failed(error: ServiceError) -> McpFailed {
    match error {
        ServiceError::McpError(error) => {
            McpFailed::Refused { code: error.code.0, message: answer::excerpt(&error.message) }
        }
        ServiceError::TransportSend(error) => not_sent(&error),
        ServiceError::TransportClosed | ServiceError::Cancelled { .. } => McpFailed::BrokeOff,
        ServiceError::Timeout { .. } => McpFailed::TimedOut,
        _ => McpFailed::NoMcp,
    }
}

fn not_begun(error: ClientInitializeError) -> McpFailed {
    match error {
        ClientInitializeError::TransportError { error, .. } => not_sent(&error),
        ClientInitializeError::JsonRpcError(error) => {
            McpFailed::Refused { code: error.code.0, message: answer::excerpt(&error.message) }
        }
        _ => McpFailed::NoMcp,
    }
}

fn not_sent(error: &DynamicTransportError) -> McpFailed {
    match error.error.downcast_ref::<StreamableHttpError<Unanswered>>() {
        Some(StreamableHttpError::Client(unanswered)) => unanswered.0.clone(),
        Some(StreamableHttpError::SessionExpired) => McpFailed::Status(404),
        Some(
            StreamableHttpError::SessionRecoveryTimeout
            | StreamableHttpError::TransportChannelClosed
            | StreamableHttpError::UnexpectedEndOfStream,
        ) => McpFailed::BrokeOff,
        _ => McpFailed::NoMcp,
    }
}
