//! The routes as the OpenAPI document lists them, so that no test can forget a new one.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Client;
use crate::client::Answer;

/// One operation.
#[derive(Debug, Clone)]
pub struct Route {
    pub method: Method,
    /// With `{id}` where an id goes.
    pub path: String,
    pub operation: Value,
    /// Every parameter, and every field of the body, that names something by its id.
    pub ids: Vec<IdParameter>,
}

/// Where an operation takes an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdParameter {
    pub place: Place,
    pub name: String,
    /// A list of ids.
    pub several: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Path,
    Query,
    Body,
}

impl Route {
    /// Whether a key is needed. Carriers' webhooks are signed instead.
    pub fn is_api(&self) -> bool {
        self.path.starts_with("/api/") && !self.path.starts_with("/api/twilio/")
    }

    /// Whether it is the operator's alone.
    pub fn is_operators(&self) -> bool {
        self.operation["security"] == json!([{ "operator_key": [] }])
    }

    pub fn has_id(&self) -> bool {
        self.path.contains('{')
    }

    /// The path with `id` in the place of its parameters.
    pub fn with_id(&self, id: &str) -> String {
        let parts = self.path.split('/').map(|part| if part.starts_with('{') { id } else { part });
        parts.collect::<Vec<_>>().join("/")
    }

    /// A body that is in order.
    pub fn body(&self) -> Value {
        match self.operation["operationId"].as_str().unwrap_or_default() {
            "create_tenant" | "create_agent" | "replace_agent" => json!({ "name": "Another" }),
            "set_budget" => {
                json!({ "scope": "agent", "id": Uuid::now_v7(), "monthly_limit_usd": "100" })
            }
            "set_limits" => json!({ "concurrent_calls": 7 }),
            "patch_own_tenant" => json!({ "time_zone": "Europe/Berlin" }),
            "patch_agent" | "patch_system_prompt" => json!({ "description": "changed" }),
            "create_system_prompt" | "replace_system_prompt" => {
                json!({ "name": "Another", "content": "Hello" })
            }
            "create_key" => json!({ "name": "Another", "role": "viewer" }),
            "create_session" => json!({ "agent_id": Uuid::now_v7(), "customer_id": "customer-9" }),
            "create_function" | "replace_function" => {
                // No two have one name.
                let name = format!("another_{}", Uuid::now_v7().simple());
                json!({ "name": name, "webhook_url": "https://example.com/hook" })
            }
            "create_mcp_server" | "replace_mcp_server" => {
                let name = format!("m{}", &Uuid::now_v7().simple().to_string()[8..]);
                json!({ "name": name, "url": "https://example.com/mcp" })
            }
            "patch_function" | "patch_mcp_server" => json!({ "description": "changed" }),
            "test_function" => json!({ "arguments": {} }),
            "run_tool" => json!({ "agent_id": Uuid::now_v7(), "arguments": {} }),
            "create_ws_ticket" | "rotate_key" => json!({}),
            "assign_phone_number" => json!({ "agent_id": Uuid::now_v7() }),
            "set_twilio_account" => {
                json!({ "account_sid": format!("AC{}", "0".repeat(32)), "auth_token": "another" })
            }
            "set_prices" | "set_price_overrides" => json!({ "prices": [] }),
            "create_repricing" => {
                let rate = |unit| json!({ "unit": unit, "usd": "1" });
                let price = json!({
                    "kind": "model", "provider": "nobody", "rates": [rate("input"), rate("output")]
                });
                json!({
                    "from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z", "prices": [price],
                    "reason": "Another", "dry_run": true
                })
            }
            "create_webhook" => json!({ "url": "https://example.com/hook", "events": ["call.ended"] }),
            "patch_webhook" => json!({ "description": "changed" }),
            "rotate_webhook_secret" | "rotate_own_webhook_secret" => json!({}),
            "redeliver_failed" => json!({ "since": "2020-01-01T00:00:00Z" }),
            "post_message" => json!({ "content": "Hello" }),
            // A form; of no use as JSON, and refused before it is looked at.
            "post_voice_message" => json!({}),
            _ => {
                assert!(
                    self.operation["requestBody"].is_null(),
                    "a new route with a body: name one here: {self}"
                );
                Value::Null
            }
        }
    }

    /// A list is answered.
    pub fn is_list(&self) -> bool {
        self.method == Method::GET
            && self.operation["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Client {
    /// A request to `route` with `id` in its path and a body that is in order.
    pub async fn try_route(&self, route: &Route, id: &str) -> Answer {
        let request = self.request(route.method.clone(), &route.with_id(id));
        let body = route.body();
        let request = if body.is_null() { request } else { request.json(&body) };
        self.send(request).await.unwrap()
    }
}

/// Every documented route.
pub async fn routes(client: &Client) -> Vec<Route> {
    let document = client.get("/openapi.json").await.body;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("the document has paths") {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let ids = ids(&document, operation);
            routes.push(Route { method, path: path.clone(), operation: operation.clone(), ids });
        }
    }
    assert!(routes.len() > 20, "the document lists the routes: {}", routes.len());
    routes
}

fn ids(document: &Value, operation: &Value) -> Vec<IdParameter> {
    let mut ids = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let place = match parameter["in"].as_str() {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            _ => continue,
        };
        let name = parameter["name"].as_str().unwrap().to_owned();
        // Whatever stands in a path names something; months are the same for everybody.
        if (place == Place::Path && name != "month") || is_id(document, &name, &parameter["schema"]) {
            ids.push(IdParameter { place, name, several: false });
        }
    }
    for media in
        operation["requestBody"]["content"].as_object().into_iter().flat_map(|content| content.values())
    {
        for (name, schema) in fields(document, &media["schema"]) {
            let several = resolved(document, &schema)
                .iter()
                .any(|schema| is_id(document, name.trim_end_matches('s'), &schema["items"]));
            if several || is_id(document, &name, &schema) {
                ids.push(IdParameter { place: Place::Body, name, several });
            }
        }
    }
    ids
}

/// By its type, or by its name.
fn is_id(document: &Value, name: &str, schema: &Value) -> bool {
    resolved(document, schema).iter().any(|schema| {
        let is_text = schema["type"] == "string"
            || schema["type"].as_array().is_some_and(|types| types.contains(&json!("string")));
        // These are named by whoever sends them, or by a vendor.
        let is_own_name = ["customer_id", "correlation_id", "voice_id"].contains(&name);
        schema["format"] == "uuid" || (is_text && !is_own_name && (name == "id" || name.ends_with("_id")))
    })
}

/// The fields of a body, through references and alternatives.
fn fields(document: &Value, schema: &Value) -> Vec<(String, Value)> {
    let schemas = resolved(document, schema);
    let properties = schemas.iter().filter_map(|schema| schema["properties"].as_object());
    properties.flatten().map(|(name, schema)| (name.clone(), schema.clone())).collect()
}

/// A schema without references, and each of its alternatives.
fn resolved(document: &Value, schema: &Value) -> Vec<Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target =
            document.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        return resolved(document, target);
    }
    let parts = ["allOf", "oneOf", "anyOf"].iter().filter_map(|kind| schema[*kind].as_array()).flatten();
    let mut schemas = vec![schema.clone()];
    schemas.extend(parts.flat_map(|part| resolved(document, part)));
    schemas
}
