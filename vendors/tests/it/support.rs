//! A running simulator, a client of ours pointed at it, and an observer that remembers.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vendors::llm::{
    AttemptObserver, AttemptReport, CallOptions, ChainFailed, ChatMessage, ChatRequest, Completed, DeltaSink,
    LlmConfig, LlmEndpoint, LlmVendorConfig, LlmVendors, LlmWire, Target, ToolSpec, VENDOR_A, VENDOR_B,
};
use vendors::resilience::Backoff;
use vendors::simulator::{self, Control, SimulatorConfig};

/// Both vendors with their wire formats and a model of theirs.
pub const VENDORS: [(&str, &str); 2] = [(VENDOR_A, "vendor-a-1"), (VENDOR_B, "vendor-b-1")];

/// Long enough for any answer that is not held back, however busy the machine.
pub const PATIENT: Duration = Duration::from_secs(30);
/// For answers that never come. Long enough for a request to arrive on a busy machine, and shorter than the second
/// between two pieces of a trickle.
pub const IMPATIENT: Duration = Duration::from_millis(600);

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 0).unwrap()
}

/// A simulator on a port of its own; it ends with this value.
pub struct Simulator {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub tracker: TaskTracker,
    pub http: Client,
    _guard: DropGuard,
}

impl Simulator {
    /// One whose vendors do not fail on their own.
    pub async fn start() -> Self {
        Self::start_with(|config| {
            config.vendor_a = Control { failure_rate: 0.0, ..Control::vendor_a() };
            config.vendor_b = Control { failure_rate: 0.0, ..Control::vendor_b() };
        })
        .await
    }

    pub async fn start_with(change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = SimulatorConfig::new(now);
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(simulator::run(listener, config, shutdown.clone()));
        tracker.close();
        // Reading the machine's root certificates would take longer than most tests.
        let http = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { address, shutdown: shutdown.clone(), tracker, http, _guard: shutdown.drop_guard() }
    }

    pub async fn request(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn control(&self, vendor: &str, changes: Value) {
        let (status, body) = self.request(Method::PUT, &format!("/_control/{vendor}"), Some(changes)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// The same for the requests with this API key alone.
    pub async fn control_key(&self, vendor: &str, key: &str, changes: Value) {
        self.control(&format!("{vendor}?key={key}"), changes).await;
    }

    pub async fn log(&self, vendor: &str) -> Vec<Value> {
        let (status, body) = self.request(Method::GET, &format!("/_log/{vendor}"), None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value(body).unwrap()
    }

    /// Returns once a vendor has received this many requests.
    pub async fn received(&self, vendor: &str, requests: usize) {
        while self.log(vendor).await.len() < requests {
            tokio::task::yield_now().await;
        }
    }

    pub fn vendors(&self, change: impl FnOnce(&mut LlmConfig)) -> LlmVendors {
        vendors_at(self.address, change)
    }
}

/// Our client with both vendors at this address and hardly any wait between attempts.
pub fn vendors_at(address: SocketAddr, change: impl FnOnce(&mut LlmConfig)) -> LlmVendors {
    let vendor = |provider: &str, wire| LlmVendorConfig {
        provider: provider.to_owned(),
        wire,
        endpoints: vec![endpoint(address, provider, "a-key-for-tests")],
    };
    let mut config = LlmConfig {
        vendors: vec![vendor(VENDOR_A, LlmWire::VendorA), vendor(VENDOR_B, LlmWire::VendorB)],
        timeout: PATIENT,
        backoff: Backoff { min_wait: Duration::from_millis(1), max_wait: Duration::from_millis(5) },
        ..LlmConfig::default()
    };
    change(&mut config);
    LlmVendors::new(config, now).unwrap()
}

/// A key of a simulated vendor.
pub fn endpoint(address: SocketAddr, vendor: &str, key: &str) -> LlmEndpoint {
    LlmEndpoint { base_url: format!("http://{address}/{vendor}"), api_key: key.to_owned().into() }
}

pub fn target(provider: &str, model: &str) -> Target {
    Target { provider: provider.to_owned(), model: model.to_owned() }
}

/// VendorA, then VendorB.
pub fn chain() -> Vec<Target> {
    VENDORS.map(|(provider, model)| target(provider, model)).to_vec()
}

pub fn user(text: &str) -> ChatMessage {
    ChatMessage::User { content: text.to_owned() }
}

pub fn ask(messages: Vec<ChatMessage>) -> ChatRequest {
    let parameters = json!({"type": "object", "properties": {"invoice_id": {"type": "string"}}});
    let tool =
        ToolSpec { name: "invoice_lookup".into(), description: "Looks up an invoice".into(), parameters };
    ChatRequest {
        model: String::new(),
        system: "You are the assistant of TechCorp.".to_owned(),
        messages,
        tools: vec![tool],
        max_output_tokens: None,
    }
}

pub fn hello() -> ChatRequest {
    ask(vec![user("Hello")])
}

pub const GREETING: &str = "Hello! I am the assistant of TechCorp. How can I help you today?";

/// Remembers every report.
#[derive(Default)]
pub struct Reports(pub Vec<AttemptReport>);

impl AttemptObserver for Reports {
    async fn attempted(&mut self, report: AttemptReport) {
        self.0.push(report);
    }
}

impl Reports {
    /// Number, provider and error code of each attempt.
    pub fn story(&self) -> Vec<(u32, &str, &'static str)> {
        let code = |report: &AttemptReport| report.error_code.map_or("ok", |code| code.as_str());
        self.0.iter().map(|report| (report.number, report.provider.as_str(), code(report))).collect()
    }
}

/// `complete` without cancelling, and its reports.
pub async fn complete(
    vendors: &LlmVendors,
    chain: &[Target],
    request: &ChatRequest,
    deltas: Option<&DeltaSink>,
) -> (Result<Completed, ChainFailed>, Reports) {
    complete_with(vendors, chain, request, deltas, CallOptions::default()).await
}

pub async fn complete_with(
    vendors: &LlmVendors,
    chain: &[Target],
    request: &ChatRequest,
    deltas: Option<&DeltaSink>,
    options: CallOptions,
) -> (Result<Completed, ChainFailed>, Reports) {
    let mut reports = Reports::default();
    let result =
        vendors.complete(chain, request, deltas, options, &mut reports, &CancellationToken::new()).await;
    (result, reports)
}
