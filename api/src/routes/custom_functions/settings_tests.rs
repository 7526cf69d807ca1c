use events::function::{FunctionMethod, FunctionSettings, SecretHeader};
use events::{CorrelationId, EventId, Sealed};
use serde_json::{Value, json};
use uuid::Uuid;
use vendors::http::guard::UrlPolicy;

use super::settings::FunctionPatch;
use crate::routes::secret_headers::masked;

const PUBLIC: UrlPolicy = UrlPolicy { allow_private: false };

fn patched(current: Option<&FunctionSettings>, body: Value) -> Result<FunctionSettings, Vec<String>> {
    let patch: FunctionPatch = serde_json::from_value(body).unwrap();
    patch.merged_into(current, PUBLIC).map_err(|problem| {
        let body = serde_json::to_value(problem.body(&CorrelationId::new())).unwrap();
        let errors = body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    })
}

fn function() -> Value {
    json!({ "name": "order_status", "webhook_url": "https://shop.example.com/orders" })
}

fn with(field: &str, value: Value) -> Value {
    let mut body = function();
    body[field] = value;
    body
}

/// A function that has these headers.
fn having(names: &[&str]) -> FunctionSettings {
    let mut settings = patched(None, function()).unwrap();
    for name in names {
        let value = Sealed { key_id: Uuid::nil(), ciphertext: (*name).to_owned() };
        let header = SecretHeader { value, sealed_for: EventId(Uuid::nil()) };
        settings.headers.insert((*name).to_owned(), header);
    }
    settings
}

#[test]
fn a_name_and_a_url_are_enough() {
    let settings = patched(None, function()).unwrap();
    assert_eq!((settings.method, settings.is_active), (FunctionMethod::Post, true));
    assert_eq!(Value::Object(settings.parameters), json!({ "type": "object", "properties": {} }));
    assert_eq!(patched(None, json!({})).unwrap_err(), ["name", "webhook_url"]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let body = json!({
        "name": "crm__find", "description": "x".repeat(2_001), "parameters": { "type": "string" },
        "webhook_url": "http://localhost/", "headers": { "Host": "a", "X-Ok": "b", "X-Bad": "a\nb", "b ad": "c" }
    });
    let fields =
        ["headers.Host", "headers.X-Bad", "headers", "name", "description", "parameters", "webhook_url"];
    assert_eq!(patched(None, body).unwrap_err(), fields);
}

#[test]
fn a_url_inside_is_refused_when_it_is_saved() {
    for url in [
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "http://example.com/",
        "",
        "x",
    ] {
        assert_eq!(patched(None, with("webhook_url", json!(url))).unwrap_err(), ["webhook_url"], "{url}");
    }
}

#[test]
fn headers_that_are_not_the_tenants_to_set_are_refused() {
    for name in
        ["Host", "content-length", "Content-Type", "Transfer-Encoding", "Connection", "TE", "Idempotency-Key"]
    {
        let refused = patched(None, with("headers", json!({ name: "a" }))).unwrap_err();
        assert_eq!(refused, [format!("headers.{name}")]);
    }
    for (headers, field) in [
        (json!({ "X-A": "" }), "headers.X-A"),
        (json!({ "X-A": " a" }), "headers.X-A"),
        (json!({ "X-A": "a\r\nX-B: b" }), "headers.X-A"),
        (json!({ "X-A": "ü" }), "headers.X-A"),
        (json!({ "X-A": "••••1234" }), "headers.X-A"),
        (json!({ "X-A": "a".repeat(4_097) }), "headers.X-A"),
        (json!({ "X-A": "a", "x-a": "b" }), "headers.x-a"),
        (json!({ "": "a" }), "headers"),
        (json!({ "X A": "a" }), "headers"),
        (json!({ "x".repeat(129): "a" }), "headers"),
    ] {
        assert_eq!(patched(None, with("headers", headers.clone())).unwrap_err(), [field], "{headers}");
    }
    let many: serde_json::Map<String, Value> =
        (0..21).map(|number| (format!("X-{number}"), json!("a"))).collect();
    assert_eq!(patched(None, with("headers", Value::Object(many))).unwrap_err(), ["headers"]);
}

#[test]
fn a_patch_keeps_replaces_and_removes_headers_by_name_in_any_case() {
    let current = having(&["Authorization", "X-Old", "X-Kept"]);
    let patch = json!({ "headers": { "authorization": "Bearer new", "x-old": null, "X-Never": null } });
    let staying = patched(Some(&current), patch).unwrap().headers;
    assert_eq!(staying.keys().collect::<Vec<_>>(), ["X-Kept"]);
    assert_eq!(patched(Some(&current), json!({})).unwrap(), current);
    assert!(patched(Some(&current), json!({ "headers": null })).unwrap().headers.is_empty());
    // Replacing one of the most that there may be is no mistake, one more is.
    let names: Vec<String> = (0..20).map(|number| format!("X-{number}")).collect();
    let full = having(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(patched(Some(&full), json!({ "headers": { "x-7": "a" } })).is_ok());
    assert_eq!(patched(Some(&full), json!({ "headers": { "X-20": "a" } })).unwrap_err(), ["headers"]);
}

#[test]
fn a_secret_shows_its_end_when_it_is_long_enough() {
    for (secret, shown) in
        [("", "••••"), ("short", "••••"), ("fifteen-letters", "••••"), ("Bearer abcdef1234", "••••1234")]
    {
        assert_eq!(masked(secret), shown);
    }
}
