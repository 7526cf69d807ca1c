//! A customer's program: JSON over HTTP.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// One API key at one address. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    key: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no text {field} in {}", self.body))
    }

    /// The problem's stable code.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// It was given before, and the sender is told so.
    pub fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == "true"
    }

    /// Asserts a complete RFC 9457 problem with this status and code. `sent` is named when it is none.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str, sent: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{sent}: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{sent}: {self:?}");
        assert_eq!(self.body["status"], status, "{sent}: {self:?}");
        assert_eq!(self.body["type"], format!("urn:vocalbridge:problem:{code}"), "{sent}: {self:?}");
        assert!(!self.text("title").is_empty() && !self.text("detail").is_empty(), "{sent}: {self:?}");
        assert!(!self.text("correlation_id").is_empty(), "{sent}: {self:?}");
        assert_eq!(self.text("correlation_id"), self.header("x-correlation-id"), "{sent}: {self:?}");
        assert_eq!(
            self.body["errors"].is_array(),
            status == 422 && !["idempotency_key_reused", "invalid_audio", "no_speech"].contains(&code),
            "{sent}: {self:?}"
        );
    }

    /// Asserts a problem of a job, which has no field to blame.
    #[track_caller]
    pub fn assert_problem_code(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
    }

    /// The fields that a 422 complains of.
    pub fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).collect()
    }

    /// The rows of a list.
    #[track_caller]
    pub fn rows(&self) -> &[Value] {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.body.as_array().unwrap_or_else(|| panic!("no list: {self:?}"))
    }
}

impl Client {
    pub fn new(base_url: &str, key: &str) -> Self {
        // reqwest is built without a default TLS provider; plain http needs one installed all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().tcp_nodelay(true).build().unwrap();
        Self { http, base_url: base_url.to_owned(), key: key.to_owned() }
    }

    /// The same with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// A request to be completed by the caller.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path)).header("X-API-Key", &self.key)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        read(request.send().await?).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await.unwrap()
    }

    /// A POST with further headers.
    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request).await.unwrap()
    }

    /// The same with a new key of `role`, made with this one.
    pub async fn with_role(&self, role: &str) -> Self {
        let answer = self.post("/api/keys", json!({ "name": role, "role": role })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.with_key(answer.text("api_key"))
    }

    /// All that a tenant has used.
    pub async fn usage(&self) -> Answer {
        self.get("/api/analytics/usage?start_date=2020-01-01&end_date=2100-01-01").await
    }

    /// A new session with `agent_id`.
    pub async fn session(&self, agent_id: &str) -> String {
        let body = json!({ "agent_id": agent_id, "customer_id": "customer-1", "channel": "chat" });
        let answer = self.post("/api/sessions", body).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer.text("id").to_owned()
    }

    pub async fn say(&self, session: &str, content: &str) -> Answer {
        self.post(&format!("/api/sessions/{session}/messages"), json!({ "content": content })).await
    }
}

async fn read(response: Response) -> reqwest::Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer { status, headers, body })
}
