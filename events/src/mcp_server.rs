//! A tenant's MCP servers: tools that are asked of another server (Model Context Protocol). All of a tenant's servers are
//! one history (family `mcp_servers`, under the tenant's id), because names are unique in it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::McpServerId;
use crate::function::SecretHeader;

/// Everything a tenant sets on an MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpServerSettings {
    /// Begins the names of its tools; no two servers of a tenant have one name.
    pub name: String,
    pub description: String,
    pub url: String,
    /// By name, as the tenant wrote it; no two names differ in case alone.
    pub headers: BTreeMap<String, SecretHeader>,
    pub is_active: bool,
}

/// A server was made known; its version is 1. The append is conditional on the last event of all the tenant's servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpServerCreated {
    pub mcp_server_id: McpServerId,
    pub settings: McpServerSettings,
}

/// A server's settings were replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpServerUpdated {
    pub mcp_server_id: McpServerId,
    /// Counts up from 1 with every change.
    pub version: u32,
    pub settings: McpServerSettings,
}

/// A server was deleted. Agents that name its tools go on without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpServerDeleted {
    pub mcp_server_id: McpServerId,
}
