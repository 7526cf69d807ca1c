//! A simulated MCP server (streamable HTTP, with sessions): a small book of customers to try tools with.

use std::sync::Arc;

use axum::Router;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// Name, city, and what they owe in USD.
const CUSTOMERS: [(&str, &str, &str); 3] = [
    ("Ada Lovelace", "London", "120.00"),
    ("Grace Hopper", "New York", "0.00"),
    ("Alan Turing", "Wilmslow", "42.50"),
];

pub(super) fn routes<S: Clone + Send + Sync + 'static>(shutdown: &CancellationToken) -> Router<S> {
    let config = StreamableHttpServerConfig::default().with_cancellation_token(shutdown.child_token());
    let sessions = Arc::new(LocalSessionManager::default());
    Router::new().route_service("/mcp", StreamableHttpService::new(|| Ok(Customers), sessions, config))
}

struct Customers;

impl ServerHandler for Customers {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("customers", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![find_customer(), list_customers()]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = match &*request.name {
            "find_customer" => found(arguments.get("name").and_then(Value::as_str).unwrap_or_default()),
            "list_customers" => {
                CallToolResult::success(CUSTOMERS.map(|(name, ..)| ContentBlock::text(name)).to_vec())
            }
            name => return Err(ErrorData::invalid_params(format!("there is no tool {name}"), None)),
        };
        Ok(result.into())
    }
}

fn found(wanted: &str) -> CallToolResult {
    let wanted = wanted.to_lowercase();
    match CUSTOMERS.iter().find(|(name, ..)| name.to_lowercase().contains(&wanted)) {
        Some((name, city, owes)) => {
            CallToolResult::structured(json!({ "name": name, "city": city, "owes_usd": owes }))
        }
        None => CallToolResult::error(vec![ContentBlock::text(format!("nobody is called {wanted}"))]),
    }
}

fn find_customer() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "name": { "type": "string", "minLength": 2, "description": "The name, or a part of it" } },
        "required": ["name"],
        "additionalProperties": false
    });
    tool("find_customer", "Finds a customer by name: city, and what they owe.", schema)
}

fn list_customers() -> Tool {
    tool("list_customers", "Lists the names of all customers.", json!({ "type": "object" }))
}

fn tool(name: &'static str, description: &'static str, schema: Value) -> Tool {
    let schema: Map<String, Value> = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name, description, Arc::new(schema))
}
