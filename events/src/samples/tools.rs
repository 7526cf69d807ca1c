//! Settings of tools for samples.

use super::{id, sealed};
use crate::EventId;
use crate::function::{FunctionMethod, FunctionSettings, SecretHeader};
use crate::mcp_server::McpServerSettings;

pub(super) fn function() -> FunctionSettings {
    let secret = SecretHeader { value: sealed(), sealed_for: EventId(id(13)) };
    let parameters = serde_json::json!({
        "type": "object",
        "properties": { "order_id": { "type": "string" } },
        "required": ["order_id"]
    });
    FunctionSettings {
        name: "order_status".to_owned(),
        description: "Tells how far an order is".to_owned(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        webhook_url: "https://shop.example.com/orders/status".to_owned(),
        method: FunctionMethod::Post,
        headers: [("Authorization".to_owned(), secret)].into(),
        is_active: true,
    }
}

pub(super) fn mcp_server() -> McpServerSettings {
    let secret = SecretHeader { value: sealed(), sealed_for: EventId(id(13)) };
    McpServerSettings {
        name: "crm".to_owned(),
        description: "Customers and their orders".to_owned(),
        url: "https://crm.example.com/mcp".to_owned(),
        headers: [("Authorization".to_owned(), secret)].into(),
        is_active: true,
    }
}
