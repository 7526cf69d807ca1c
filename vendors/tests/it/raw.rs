//! Requests to the simulated vendors as they go over the wire, without a client of ours.

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::*;

/// One vendor of each wire format.
pub const FORMATS: [&str; 5] = ["vendor_a", "vendor_b", "openai", "anthropic", "google"];

pub const QUESTION: &str = "What is the status of invoice INV-TC-001?";

/// Sends a body, with every header that any of the vendors wants.
pub async fn post(simulator: &Simulator, path: &str, body: &Value) -> Response {
    let request = simulator.http.post(format!("http://{}{path}", simulator.address)).json(body);
    let request = request.bearer_auth("a-key").header("x-api-token", "a-key").header("x-api-key", "a-key");
    let request = request.header("anthropic-version", "2023-06-01").header("x-goog-api-key", "a-key");
    request.send().await.unwrap()
}

pub async fn post_json(simulator: &Simulator, path: &str, body: &Value) -> (u16, Value) {
    let response = post(simulator, path, body).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Says something to a vendor in its wire format; a tool is offered.
pub async fn say(simulator: &Simulator, vendor: &str, text: &str, stream: bool) -> Response {
    let (path, body) = match vendor {
        "vendor_a" => (
            "/vendor_a/v1/generate",
            json!({"model": "vendor-a-1", "stream": stream,
            "turns": [{"role": "user", "text": text}], "tools": [{"name": "invoice_lookup"}]}),
        ),
        "vendor_b" => (
            "/vendor_b/chat",
            json!({"modelName": "vendor-b-1", "options": {"streaming": stream},
            "conversation": [{"speaker": "human", "content": [{"kind": "text", "value": text}]}],
            "functions": [{"functionName": "invoice_lookup"}]}),
        ),
        "openai" => (
            OPENAI,
            with(&chat("gpt-test", json!([{"role": "user", "content": text}])), json!({"stream": stream})),
        ),
        "groq" => (
            "/groq/openai/v1/chat/completions",
            with(&chat("llama-test", json!([{"role": "user", "content": text}])), json!({"stream": stream})),
        ),
        "deepseek" => (
            "/deepseek/chat/completions",
            with(
                &chat("deepseek-reasoner", json!([{"role": "user", "content": text}])),
                json!({"stream": stream}),
            ),
        ),
        "anthropic" => (
            ANTHROPIC,
            with(&messages(json!([{"role": "user", "content": text}])), json!({"stream": stream})),
        ),
        "google" => (
            if stream { "/google/v1beta/models/gemini-test:streamGenerateContent?alt=sse" } else { GOOGLE },
            contents(json!([{"role": "user", "parts": [{"text": text}]}])),
        ),
        _ => unreachable!("{vendor}"),
    };
    post(simulator, path, &body).await
}

pub const OPENAI: &str = "/openai/v1/chat/completions";
pub const ANTHROPIC: &str = "/anthropic/v1/messages";
pub const GOOGLE: &str = "/google/v1beta/models/gemini-test:generateContent";

pub fn chat(model: &str, messages: Value) -> Value {
    let function = json!({"name": "invoice_lookup", "parameters": {"type": "object"}});
    json!({"model": model, "messages": messages, "tools": [{"type": "function", "function": function}]})
}

pub fn messages(messages: Value) -> Value {
    json!({"model": "claude-test", "max_tokens": 100, "messages": messages,
        "tools": [{"name": "invoice_lookup", "input_schema": {"type": "object"}}]})
}

pub fn contents(contents: Value) -> Value {
    let declaration = json!({"name": "invoice_lookup", "parameters": {"type": "OBJECT"}});
    json!({"contents": contents, "tools": [{"functionDeclarations": [declaration]}]})
}

/// A body with other fields; `null` takes one away.
pub fn with(body: &Value, fields: Value) -> Value {
    let mut body = body.clone();
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    body
}

/// The JSON of each `data:` line but `[DONE]`.
pub fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}
