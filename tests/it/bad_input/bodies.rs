//! Bodies: not JSON, not the right fields, or too long.

use reqwest::Method;
use serde_json::{Value, json};
use tests::raw;

use super::{JSON, Patient, UNKNOWN, send};

const HOOK: &str = "https://example.com/hook";

#[tokio::test]
async fn a_body_that_cannot_be_used_is_refused_with_the_field_it_fails_on() {
    let patient = Patient::new().await;
    let Patient { world, client, session, .. } = &patient;
    let agent = world.agent(0, 0);
    let messages = format!("/api/sessions/{session}/messages");
    let deep = "[".repeat(20_000);

    let malformed: [&[u8]; 10] = [
        b"",
        b"  ",
        b"{",
        b"nonsense",
        b"{'content': 'a'}",
        b"{\"content\": \"a\"} {}",
        b"{\"content\": \"a\",}",
        b"{\"content\": \"\xff\"}",
        b"{\"content\": \"\\ud800\"}",
        b"\xef\xbb\xbf{\"content\": \"a\"}",
    ];
    for body in malformed {
        let sent = String::from_utf8_lossy(body);
        send(client, &Method::POST, &messages, body).await.assert_problem(400, "malformed_json", &sent);
    }
    let agent_path = format!("/api/agents/{agent}");
    let nested = format!("{{\"name\": \"a\", \"metadata\": {{\"a\": {deep}");
    send(client, &Method::POST, "/api/agents", nested.as_bytes()).await.assert_problem(
        400,
        "malformed_json",
        "deep",
    );

    let long = |length: usize| "x".repeat(length);
    let invalid: Vec<(&str, Value, &str)> = vec![
        // Not an object; an array is not taken for the fields in order.
        (&messages, json!([]), "$"),
        (&messages, json!(["Hello"]), "$"),
        (&messages, json!(null), "$"),
        (&messages, json!("Hello"), "$"),
        (&messages, json!(7), "$"),
        (&messages, json!({}), "content"),
        (&messages, json!({ "content": null }), "content"),
        (&messages, json!({ "content": 7 }), "content"),
        (&messages, json!({ "content": true }), "content"),
        (&messages, json!({ "content": ["Hello"] }), "content"),
        (&messages, json!({ "content": { "text": "Hello" } }), "content"),
        (&messages, json!({ "content": "" }), "content"),
        (&messages, json!({ "content": " \n\t\u{a0}" }), "content"),
        (&messages, json!({ "content": long(33_000) }), "content"),
        ("/api/sessions", json!({ "customer_id": "c" }), "agent_id"),
        ("/api/sessions", json!({ "customer_id": "c", "agent_id": "*" }), "agent_id"),
        ("/api/sessions", json!({ "customer_id": "c", "agent_id": 7 }), "agent_id"),
        ("/api/sessions", json!({ "agent_id": agent }), "customer_id"),
        ("/api/sessions", json!({ "agent_id": agent, "customer_id": " " }), "customer_id"),
        ("/api/sessions", json!({ "agent_id": agent, "customer_id": long(257) }), "customer_id"),
        ("/api/sessions", json!({ "agent_id": agent, "customer_id": "a\0b" }), "customer_id"),
        ("/api/sessions", json!({ "agent_id": agent, "customer_id": "c", "channel": "smoke" }), "channel"),
        ("/api/agents", json!([]), "$"),
        ("/api/agents", json!({}), "name"),
        ("/api/agents", json!({ "name": null }), "name"),
        ("/api/agents", json!({ "name": 7 }), "name"),
        ("/api/agents", json!({ "name": long(201) }), "name"),
        ("/api/agents", json!({ "name": "a\0b" }), "name"),
        ("/api/agents", json!({ "name": "a", "system_prompt": long(33_000) }), "system_prompt"),
        ("/api/agents", json!({ "name": "a", "language": "!!" }), "language"),
        ("/api/agents", json!({ "name": "a", "is_active": "yes" }), "is_active"),
        ("/api/agents", json!({ "name": "a", "primary_provider": "nobody" }), "primary_provider"),
        ("/api/agents", json!({ "name": "a", "fallbacks": ["vendor_b", "nobody"] }), "fallbacks[1]"),
        ("/api/agents", json!({ "name": "a", "tools_enabled": "invoice_lookup" }), "tools_enabled"),
        ("/api/agents", json!({ "name": "a", "tools_enabled": ["nothing"] }), "tools_enabled[0]"),
        ("/api/agents", json!({ "name": "a", "metadata": [] }), "metadata"),
        ("/api/agents", json!({ "name": "a", "metadata": { "a\0": 1 } }), "metadata"),
        ("/api/agents", json!({ "name": "a", "metadata": { "a": long(20_000) } }), "metadata"),
        ("/api/agents", json!({ "name": "a", "calendar": [] }), "calendar"),
        (
            "/api/agents",
            json!({ "name": "a", "calendar": { "time_zone": "Mars/Olympus" } }),
            "calendar.time_zone",
        ),
        (
            "/api/agents",
            json!({ "name": "a", "calendar": { "opening_hours": { "mon": [["9", "17"]] } } }),
            "calendar.opening_hours.mon[0]",
        ),
        ("/api/agents", json!({ "name": "a", "transfer_numbers": "+15550100200" }), "transfer_numbers"),
        ("/api/agents", json!({ "name": "a", "transfer_numbers": ["0900 123456"] }), "transfer_numbers[0]"),
        ("/api/agents", json!({ "name": "a", "system_prompt_id": "*" }), "system_prompt_id"),
        ("/api/agents", json!({ "name": "a", "system_prompt_id": UNKNOWN }), "system_prompt_id"),
        (
            "/api/agents",
            json!({ "name": "a", "system_prompt": "b", "system_prompt_id": UNKNOWN }),
            "system_prompt_id",
        ),
        ("/api/agents", json!({ "name": "a", "prompt_variables": { "a": "b" } }), "prompt_variables"),
        ("/api/agents", json!({ "name": "a", "prompt_variables": ["b"] }), "prompt_variables"),
        ("/api/system-prompts", json!([]), "$"),
        ("/api/system-prompts", json!({ "content": "a" }), "name"),
        ("/api/system-prompts", json!({ "name": "a" }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": null }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": 7 }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": long(33_000) }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": "a\0b" }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": "Hi {{b" }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": "Hi {{b}}" }), "content"),
        ("/api/system-prompts", json!({ "name": "a", "content": "b", "category": long(101) }), "category"),
        ("/api/system-prompts", json!({ "name": "a", "content": "b", "is_default": "yes" }), "is_default"),
        ("/api/system-prompts", json!({ "name": "a", "content": "b", "variables": ["c"] }), "variables"),
        (
            "/api/system-prompts",
            json!({ "name": "a", "content": "b", "variables": { "c": 1 } }),
            "variables.c",
        ),
        (
            "/api/system-prompts",
            json!({ "name": "a", "content": "b", "variables": { "c d": "" } }),
            "variables.c d",
        ),
        ("/api/custom-functions", json!([]), "$"),
        ("/api/custom-functions", json!({ "webhook_url": HOOK }), "name"),
        ("/api/custom-functions", json!({ "name": "a" }), "webhook_url"),
        ("/api/custom-functions", json!({ "name": 7, "webhook_url": HOOK }), "name"),
        ("/api/custom-functions", json!({ "name": "a b", "webhook_url": HOOK }), "name"),
        ("/api/custom-functions", json!({ "name": "a__b", "webhook_url": HOOK }), "name"),
        ("/api/custom-functions", json!({ "name": "invoice_lookup", "webhook_url": HOOK }), "name"),
        ("/api/custom-functions", json!({ "name": long(65), "webhook_url": HOOK }), "name"),
        ("/api/custom-functions", json!({ "name": "a", "webhook_url": 7 }), "webhook_url"),
        ("/api/custom-functions", json!({ "name": "a", "webhook_url": "https://10.0.0.1/" }), "webhook_url"),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "description": "a\0" }),
            "description",
        ),
        ("/api/custom-functions", json!({ "name": "a", "webhook_url": HOOK, "method": "DELETE" }), "method"),
        ("/api/custom-functions", json!({ "name": "a", "webhook_url": HOOK, "headers": [] }), "headers"),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "headers": { "Host": "b" } }),
            "headers.Host",
        ),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "headers": { "X-A": 7 } }),
            "headers.X-A",
        ),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "parameters": [] }),
            "parameters",
        ),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "parameters": { "type": "string" } }),
            "parameters",
        ),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "parameters": { "type": "object", "$ref": "http://a/" } }),
            "parameters",
        ),
        (
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "parameters": { "type": "object", "title": "\0" } }),
            "parameters",
        ),
        ("/api/mcp-servers", json!([]), "$"),
        ("/api/mcp-servers", json!({ "url": HOOK }), "name"),
        ("/api/mcp-servers", json!({ "name": "a" }), "url"),
        ("/api/mcp-servers", json!({ "name": "A", "url": HOOK }), "name"),
        ("/api/mcp-servers", json!({ "name": "a_b", "url": HOOK }), "name"),
        ("/api/mcp-servers", json!({ "name": long(33), "url": HOOK }), "name"),
        ("/api/mcp-servers", json!({ "name": "a", "url": "https://10.0.0.1/" }), "url"),
        ("/api/mcp-servers", json!({ "name": "a", "url": HOOK, "description": "a\0" }), "description"),
        ("/api/mcp-servers", json!({ "name": "a", "url": HOOK, "is_active": "yes" }), "is_active"),
        (
            "/api/mcp-servers",
            json!({ "name": "a", "url": HOOK, "headers": { "Mcp-Session-Id": "b" } }),
            "headers.Mcp-Session-Id",
        ),
        ("/api/agents", json!({ "name": "a", "tools_enabled": ["none__*"] }), "tools_enabled[0]"),
        ("/api/tools/invoice_lookup/run", json!({ "arguments": {} }), "agent_id"),
        ("/api/tools/invoice_lookup/run", json!({ "agent_id": "*" }), "agent_id"),
        ("/api/tools/invoice_lookup/run", json!({ "agent_id": agent, "arguments": [] }), "arguments"),
        ("/api/agents", json!({ "name": "a", "hedge_after_ms": 99 }), "hedge_after_ms"),
        ("/api/agents", json!({ "name": "a", "hedge_after_ms": 30_001 }), "hedge_after_ms"),
        ("/api/agents", json!({ "name": "a", "hedge_after_ms": -1 }), "hedge_after_ms"),
        ("/api/agents", json!({ "name": "a", "hedge_after_ms": "soon" }), "hedge_after_ms"),
        (
            "/api/agents",
            json!({ "name": "a", "limits": { "requests_per_minute": 0 } }),
            "limits.requests_per_minute",
        ),
        ("/api/agents", json!({ "name": "a", "limits": 5 }), "limits"),
        ("/api/keys", json!({ "role": "viewer" }), "name"),
        ("/api/keys", json!({ "name": "k" }), "role"),
        ("/api/keys", json!({ "name": "k", "role": "king" }), "role"),
        ("/api/keys", json!({ "name": "k", "role": "viewer", "expires_at": "tomorrow" }), "expires_at"),
        (
            "/api/keys",
            json!({ "name": "k", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z" }),
            "expires_at",
        ),
    ];
    for (path, body, field) in &invalid {
        let answer = client.post(path, body.clone()).await;
        let sent = format!("{path} {:.80}", body.to_string());
        answer.assert_problem(422, "validation_failed", &sent);
        assert_eq!(answer.fields(), [*field], "{sent}: {answer:?}");
    }
    // The type is wrong before the depth is.
    let nested = format!("{{\"content\": {deep}");
    let answer = send(client, &Method::POST, &messages, nested.as_bytes()).await;
    answer.assert_problem(422, "validation_failed", "deep content");
    let double = send(client, &Method::POST, &messages, b"{\"content\": \"a\", \"content\": \"b\"}").await;
    double.assert_problem(422, "validation_failed", "a field sent twice");

    let unknown = [
        (Method::POST, messages.as_str(), json!({ "content": "Hello", "contnet": "Hello" }), "contnet"),
        (Method::POST, "/api/sessions", json!({ "agent_id": agent, "customer_id": "c", "user": 1 }), "user"),
        (Method::POST, "/api/agents", json!({ "name": "a", "nmae": "b" }), "nmae"),
        (
            Method::POST,
            "/api/custom-functions",
            json!({ "name": "a", "webhook_url": HOOK, "url": HOOK }),
            "url",
        ),
        (Method::POST, "/api/mcp-servers", json!({ "name": "a", "url": HOOK, "auth": {} }), "auth"),
        (Method::POST, "/api/tools/invoice_lookup/run", json!({ "agent_id": agent, "args": {} }), "args"),
        (Method::PUT, &agent_path, json!({ "name": "a", "id": UNKNOWN }), "id"),
        (Method::PATCH, &agent_path, json!({ "tools": [] }), "tools"),
        (
            Method::POST,
            "/api/system-prompts",
            json!({ "name": "a", "content": "b", "version": 1 }),
            "version",
        ),
        (
            Method::POST,
            "/api/keys",
            json!({ "name": "k", "role": "viewer", "tenant_id": UNKNOWN }),
            "tenant_id",
        ),
        (Method::POST, &format!("/api/sessions/{session}/end"), json!({ "why": 1 }), "why"),
    ];
    for (method, path, body, field) in unknown {
        let answer = send(client, &method, path, body.to_string().as_bytes()).await;
        answer.assert_problem(422, "unknown_field", path);
        assert_eq!(answer.fields(), [field], "{answer:?}");
    }
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
    {
        let request = client.request(Method::POST, &messages).header("Content-Type", content_type);
        let answer = client.send(request.body("{\"content\": \"Hello\"}")).await.unwrap();
        answer.assert_problem(415, "unsupported_media_type", content_type);
    }
    assert_eq!(client.get("/api/agents").await.rows().len(), 3);
    assert_eq!(client.get("/api/system-prompts").await.rows().len(), 0);
    assert_eq!(client.get("/api/custom-functions").await.rows().len(), 0);
    assert_eq!(client.get("/api/mcp-servers").await.rows().len(), 0);
    assert_eq!(client.get("/api/tool-executions").await.rows().len(), 0);
    assert_eq!(client.get("/api/sessions").await.rows().len(), 1);
    patient.is_unharmed().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_comes() {
    let patient = Patient::new().await;
    let Patient { client, session, .. } = &patient;
    let path = format!("/api/sessions/{session}/messages");
    for size in [256 * 1_024 + 1, 1_024 * 1_024, 32 * 1_024 * 1_024] {
        let mut body = b"{\"content\": \"".to_vec();
        body.resize(size, b'x');
        let sent = format!("{size} bytes");
        send(client, &Method::POST, &path, &body).await.assert_problem(413, "payload_too_large", &sent);
        // Nobody says how long a chunked body will be.
        let chunked: Vec<u8> = body
            .chunks(10_000)
            .flat_map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())
            .collect();
        let headers = [JSON, ("Transfer-Encoding", "chunked")];
        let answer = raw::send(client, &format!("POST {path}"), &headers, &chunked).await;
        answer.assert_problem(413, "payload_too_large", &format!("{sent}, chunked"));
        // A common client that sends all before it reads.
        let request = client.request(Method::POST, &path).header(JSON.0, JSON.1).body(body);
        client.send(request).await.unwrap().assert_problem(413, "payload_too_large", &sent);
        // Refused before its body was looked at, it hears of it just the same.
        let nobody = client.with_key("nobody").request(Method::POST, &path).header(JSON.0, JSON.1);
        let refused = client.send(nobody.body(vec![b'x'; size])).await.unwrap();
        refused.assert_problem(401, "invalid_api_key", &sent);
    }
    patient.is_unharmed().await;
}
