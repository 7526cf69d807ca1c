//! Tenants' MCP servers: a real one, and some that lie.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use vendors::http::guard::{Names, SystemNames, UrlPolicy, UrlRefused};
use vendors::mcp::{Listed, MAX_TOOLS, Mcp, McpCall, McpFailed, McpLimits, McpServer};

const ANY: UrlPolicy = UrlPolicy { allow_private: true };
const KEY: &str = "Bearer very-secret-value";
const LIMIT: Duration = Duration::from_secs(10);

/// One request: its method, its headers, and what it asks for.
type Seen = (String, HeaderMap, Value);

/// Something that listens, and what it was asked.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _end: DropGuard,
}

impl Server {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (seen, end) = (Arc::<Mutex<Vec<Seen>>>::default(), CancellationToken::new());
        let heard = seen.clone();
        let router = router.layer(from_fn(move |request: Request, next: Next| {
            let heard = heard.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let asked = serde_json::from_slice(&body).unwrap_or_default();
                heard.lock().unwrap().push((parts.method.to_string(), parts.headers.clone(), asked));
                next.run(Request::from_parts(parts, Body::from(body))).await
            }
        }));
        let ended = end.clone().cancelled_owned();
        TaskTracker::new()
            .spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended).await });
        Self { url, seen, _end: end.drop_guard() }
    }

    /// A server that follows the protocol.
    async fn honest(tools: Vec<Tool>) -> (Self, Arc<LocalSessionManager>) {
        let sessions = Arc::new(LocalSessionManager::default());
        let service = StreamableHttpService::new(
            move || Ok(Desk { tools: tools.clone() }),
            sessions.clone(),
            StreamableHttpServerConfig::default(),
        );
        (Self::start(Router::new().route_service("/mcp", service)).await, sessions)
    }

    /// One that begins a session as it should, and then answers as it is told.
    async fn lying(answers: impl Fn(&Value) -> Response + Clone + Send + Sync + 'static) -> Self {
        let answer = move |request: Request| {
            let answers = answers.clone();
            async move {
                let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
                let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
                match asked["method"].as_str() {
                    Some("initialize") => answered(
                        &asked,
                        json!({
                            "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
                            "serverInfo": { "name": "liar", "version": "1" }
                        }),
                    ),
                    Some("notifications/initialized") => StatusCode::ACCEPTED.into_response(),
                    _ => answers(&asked),
                }
            }
        };
        Self::start(Router::new().fallback(answer)).await
    }

    fn asked_for(&self, method: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(verb, _, asked)| asked["method"] == method || verb == method).cloned().collect()
    }

    /// Waits until it was asked for `method` so often.
    async fn wait_for(&self, method: &str, times: usize) {
        let asked = async {
            while self.asked_for(method).len() < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, asked).await.unwrap();
    }
}

fn answered(asked: &Value, result: Value) -> Response {
    axum::Json(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result })).into_response()
}

#[derive(Clone)]
struct Desk {
    tools: Vec<Tool>,
}

impl ServerHandler for Desk {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    /// In pages of 100.
    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let from = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let page = self.tools.iter().skip(from).take(100).cloned().collect();
        let next = from + 100;
        let mut result = ListToolsResult::with_all_items(page);
        result.next_cursor = (next < self.tools.len()).then(|| next.to_string());
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = |text: &str| vec![ContentBlock::text(text)];
        let result = match &*request.name {
            "echo" => {
                let meta = serde_json::to_value(&context.meta).unwrap();
                CallToolResult::structured(json!({ "arguments": request.arguments, "meta": meta }))
            }
            "say" => CallToolResult::success(text("hello")),
            "fail" => CallToolResult::error(text("out of\npaper")),
            "large" => CallToolResult::success(text(&"x".repeat(100 * 1_024))),
            "huge" => CallToolResult::success(text(&"x".repeat(10 * 1_024 * 1_024))),
            "slow" => pending().await,
            name => return Err(ErrorData::invalid_params(format!("what is {name}?"), None)),
        };
        Ok(result.into())
    }
}

fn tool(name: impl Into<String>) -> Tool {
    let schema = json!({ "type": "object" });
    Tool::new(name.into(), "Does it", Arc::new(schema.as_object().unwrap().clone()))
}

fn mcp(policy: UrlPolicy, limit: Duration) -> Mcp {
    let names: Arc<dyn Names> = Arc::new(SystemNames);
    let limits = McpLimits { list: limit, call: limit, ..McpLimits::default() };
    Mcp::new(policy, &names, limits).unwrap()
}

fn server(url: &str) -> McpServer {
    McpServer {
        tenant_id: Uuid::from_u128(1),
        id: Uuid::from_u128(2),
        version: 1,
        url: url.to_owned(),
        headers: vec![("Authorization".to_owned(), SecretString::from(KEY))],
    }
}

async fn call(mcp: &Mcp, server: &McpServer, tool: &str) -> Result<Value, McpFailed> {
    let arguments: Map<String, Value> = [("a".to_owned(), json!(1))].into_iter().collect();
    let call = McpCall {
        tool,
        arguments: &arguments,
        idempotency_key: "run-1",
        correlation_id: "correlation-1",
        traceparent: "00-00000000000000000000000000000001-0000000000000001-01",
    };
    mcp.call(server, &call).await
}

#[tokio::test]
async fn tools_are_listed_and_run_in_one_session_with_the_tenants_headers() {
    let (endpoint, _) = Server::honest(vec![tool("echo"), tool("say")]).await;
    let (mcp, server) = (mcp(ANY, LIMIT), server(&endpoint.url));
    let listed = mcp.tools(&server).await.unwrap();
    assert_eq!((listed.tools.len(), listed.more), (2, false));
    assert_eq!((&*listed.tools[0].name, &*listed.tools[0].description), ("echo", "Does it"));
    assert_eq!(Value::Object(listed.tools[0].input_schema.clone()), json!({ "type": "object" }));

    let echoed = call(&mcp, &server, "echo").await.unwrap();
    assert_eq!(echoed["arguments"], json!({ "a": 1 }));
    let meta = &echoed["meta"];
    assert_eq!(meta["vocalbridge/idempotency-key"], "run-1", "{meta}");
    assert_eq!(meta["vocalbridge/correlation-id"], "correlation-1");
    assert_eq!(meta["traceparent"], "00-00000000000000000000000000000001-0000000000000001-01");

    assert_eq!(endpoint.asked_for("initialize").len(), 1);
    let seen = endpoint.seen.lock().unwrap().clone();
    assert!(seen.len() >= 4, "{seen:?}");
    for (method, headers, asked) in seen {
        assert_eq!(method, "POST", "nothing else is opened");
        assert_eq!(headers["authorization"], KEY, "{asked}");
        assert!(headers["user-agent"].to_str().unwrap().starts_with("VocalBridge/"));
    }
}

#[tokio::test]
async fn what_a_tool_answers_is_a_result_or_words_for_the_model() {
    let (endpoint, _) = Server::honest(vec![]).await;
    let (mcp, server) = (mcp(ANY, LIMIT), server(&endpoint.url));
    assert_eq!(call(&mcp, &server, "say").await, Ok(json!("hello")));
    for (tool, told) in [
        ("fail", "out of paper"),
        ("large", "the tool's result is larger than 65536 bytes"),
        ("nothing", "the MCP server answered the error -32602: what is nothing?"),
    ] {
        assert_eq!(call(&mcp, &server, tool).await.unwrap_err().to_string(), told);
    }
    // None of these ended the session.
    assert_eq!(endpoint.asked_for("initialize").len(), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (endpoint, _) = Server::honest(vec![]).await;
    let (mcp, server_) = (mcp(ANY, LIMIT), server(&endpoint.url));
    // As an event.
    let started = Instant::now();
    let refused = call(&mcp, &server_, "huge").await.unwrap_err();
    assert!(
        matches!(refused, McpFailed::TooLarge | McpFailed::BrokeOff | McpFailed::Refused { .. }),
        "{refused}"
    );
    assert!(started.elapsed() < LIMIT, "it was told only when the time ran out");
    assert_eq!(endpoint.asked_for("tools/call").len(), 1);
    // As JSON.
    let text = json!([{ "type": "text", "text": "x".repeat(10 * 1_024 * 1_024) }]);
    let liar = Server::lying(move |asked| answered(asked, json!({ "content": text }))).await;
    assert_eq!(call(&mcp, &server(&liar.url), "huge").await, Err(McpFailed::TooLarge));
    // The session that ends with it is begun anew.
    assert_eq!(call(&mcp, &server_, "say").await, Ok(json!("hello")));
}

#[tokio::test]
async fn a_server_with_ten_thousand_tools_is_looked_at_as_far_as_it_pays() {
    let many = (0..10_000).map(|number| tool(format!("tool{number}"))).collect();
    let (endpoint, _) = Server::honest(many).await;
    let listed = mcp(ANY, LIMIT).tools(&server(&endpoint.url)).await.unwrap();
    assert_eq!((listed.tools.len(), listed.more), (MAX_TOOLS, true));
    assert_eq!(endpoint.asked_for("tools/list").len(), 2);
    // And one whose pages never end, and hold nothing.
    let liar = Server::lying(|asked| answered(asked, json!({ "tools": [], "nextCursor": "on" }))).await;
    let listed = mcp(ANY, LIMIT).tools(&server(&liar.url)).await.unwrap();
    assert_eq!(listed, Listed { tools: vec![], more: true });
}

#[tokio::test]
async fn a_server_that_is_away_or_no_mcp_server_is_told_as_that() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failed = mcp(ANY, LIMIT).tools(&server(&format!("http://{gone}/mcp"))).await;
    assert_eq!(failed, Err(McpFailed::Unreachable));
    type Answer = fn() -> Response;
    let cases: [(Answer, McpFailed); 6] = [
        (|| StatusCode::INTERNAL_SERVER_ERROR.into_response(), McpFailed::Status(500)),
        (|| StatusCode::UNAUTHORIZED.into_response(), McpFailed::Status(401)),
        (|| Redirect::temporary("http://127.0.0.1:1/").into_response(), McpFailed::Redirect(307)),
        (|| axum::response::Html("<p>Hello</p>").into_response(), McpFailed::NoMcp),
        (|| axum::Json(json!({ "garbage": [1, 2] })).into_response(), McpFailed::NoMcp),
        (
            || ([(header::CONTENT_TYPE, "text/event-stream")], "data: {]\n\n").into_response(),
            McpFailed::NoMcp,
        ),
    ];
    for (answer, expected) in cases {
        let endpoint = Server::start(Router::new().fallback(async move || answer())).await;
        assert_eq!(
            mcp(ANY, LIMIT).tools(&server(&endpoint.url)).await,
            Err(expected.clone()),
            "{expected:?}"
        );
        assert_eq!(endpoint.seen.lock().unwrap().len(), 1, "{expected:?}");
        // After the session has begun, too.
        let liar = Server::lying(move |_| answer()).await;
        let failed = mcp(ANY, Duration::from_secs(2)).tools(&server(&liar.url)).await.unwrap_err();
        assert_ne!(failed, McpFailed::Unreachable, "{expected:?}");
        assert_eq!(liar.asked_for("tools/list").len(), 1, "{expected:?}");
    }
}

#[tokio::test]
async fn a_slow_server_is_given_up_when_its_time_is_over_and_told_so() {
    let (endpoint, _) = Server::honest(vec![]).await;
    let limit = Duration::from_millis(400);
    let started = Instant::now();
    let mcp = mcp(ANY, limit);
    assert_eq!(call(&mcp, &server(&endpoint.url), "slow").await, Err(McpFailed::TimedOut));
    assert!(started.elapsed() >= limit && started.elapsed() < 10 * limit);
    endpoint.wait_for("notifications/cancelled", 1).await;
}

#[tokio::test]
async fn a_run_that_may_have_happened_is_not_sent_again() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let liar = Server::lying(move |asked| {
        if asked["method"] == "tools/call" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        // The stream ends before the answer.
        ([(header::CONTENT_TYPE, "text/event-stream")], "id: 1\ndata: \n\n").into_response()
    })
    .await;
    let failed = call(&mcp(ANY, Duration::from_secs(3)), &server(&liar.url), "charge").await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(liar.asked_for("GET").len(), 0);
}

#[tokio::test]
async fn a_session_that_is_over_is_begun_anew_and_the_run_sent_once_more() {
    let (endpoint, sessions) = Server::honest(vec![]).await;
    let (mcp, server) = (mcp(ANY, LIMIT), server(&endpoint.url));
    assert_eq!(call(&mcp, &server, "say").await, Ok(json!("hello")));
    let known: Vec<_> = sessions.sessions.read().await.keys().cloned().collect();
    assert_eq!(known.len(), 1);
    sessions.close_session(&known[0]).await.unwrap();
    assert_eq!(call(&mcp, &server, "say").await, Ok(json!("hello")));
    assert_eq!(endpoint.asked_for("initialize").len(), 2);
    // Of the three, the second was answered with 404.
    assert_eq!(endpoint.asked_for("tools/call").len(), 3);
}

#[tokio::test]
async fn changed_settings_end_the_session() {
    let (endpoint, _) = Server::honest(vec![]).await;
    let (mcp, server) = (mcp(ANY, LIMIT), server(&endpoint.url));
    call(&mcp, &server, "say").await.unwrap();
    let headers = vec![("Authorization".to_owned(), SecretString::from("Bearer new"))];
    let changed = McpServer { version: 2, headers, ..server };
    call(&mcp, &changed, "say").await.unwrap();
    assert_eq!(endpoint.asked_for("initialize").len(), 2);
    endpoint.wait_for("DELETE", 1).await;
    assert_eq!(endpoint.asked_for("DELETE")[0].1["authorization"], KEY);
    assert_eq!(endpoint.asked_for("tools/call")[1].1["authorization"], "Bearer new");
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_closed() {
    let (endpoint, _) = Server::honest(vec![]).await;
    let names: Arc<dyn Names> = Arc::new(SystemNames);
    let limits = McpLimits { idle: Duration::from_millis(40), ..McpLimits::default() };
    let mcp = Arc::new(Mcp::new(ANY, &names, limits).unwrap());
    call(&mcp, &server(&endpoint.url), "say").await.unwrap();
    let (end, keeper) = (CancellationToken::new(), mcp.clone());
    let ended = end.clone();
    let running = TaskTracker::new().spawn(async move { keeper.run(ended).await });
    endpoint.wait_for("DELETE", 1).await;
    end.cancel();
    running.await.unwrap();
    assert_eq!(call(&mcp, &server(&endpoint.url), "say").await, Ok(json!("hello")));
    assert_eq!(endpoint.asked_for("initialize").len(), 2);
}

#[tokio::test]
async fn a_private_url_is_not_asked() {
    let (endpoint, _) = Server::honest(vec![]).await;
    let careful = mcp(UrlPolicy::default(), LIMIT);
    let https = endpoint.url.replace("http://", "https://");
    for (url, refused) in [
        (endpoint.url.as_str(), UrlRefused::NotHttps),
        (&https, UrlRefused::NotPublic),
        ("https://localhost/mcp", UrlRefused::NotPublic),
        ("https://169.254.169.254/mcp", UrlRefused::NotPublic),
    ] {
        assert_eq!(careful.tools(&server(url)).await, Err(McpFailed::Url(refused)), "{url}");
    }
    assert!(endpoint.seen.lock().unwrap().is_empty());
    // By name, where the name leads inside.
    struct Inside;
    impl Names for Inside {
        fn addresses(
            &self,
            _name: String,
        ) -> futures_util::future::BoxFuture<'static, std::io::Result<Vec<std::net::IpAddr>>> {
            Box::pin(async { Ok(vec!["10.0.0.1".parse().unwrap()]) })
        }
    }
    let names: Arc<dyn Names> = Arc::new(Inside);
    let careful = Mcp::new(UrlPolicy::default(), &names, McpLimits::default()).unwrap();
    let refused = careful.tools(&server("https://inside.example/mcp")).await;
    assert_eq!(refused, Err(McpFailed::Url(UrlRefused::NotPublic)));
}
