//! A tool that a person or a program runs by hand, outside any conversation. Each run is a history of its own (family
//! `tool_run`, under the run's id).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::ToolStatus;
use crate::{AgentId, FunctionId, McpServerId, Sealed, ToolCallId};

/// A run was asked for; exactly one `tool_run.completed` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRunRequested {
    /// The run's id, as that of a model's tool call.
    pub tool_call_id: ToolCallId,
    /// For whom the tool runs; left out when a function is tested, and when an MCP server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The function that is tested, switched off or not; left out when the tool is found by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_id: Option<FunctionId>,
    /// The MCP server that is asked what it offers, switched off or not; no tool of it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_server_id: Option<McpServerId>,
    pub name: String,
    /// JSON text, under the tenant's own key.
    pub arguments: Sealed,
}

/// The run is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRunCompleted {
    pub tool_call_id: ToolCallId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_id: Option<FunctionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_server_id: Option<McpServerId>,
    pub name: String,
    /// JSON text, as it was asked for.
    pub arguments: Sealed,
    pub status: ToolStatus,
    /// JSON text: the result, or `{"error": …}`.
    pub result: Sealed,
    /// What a function's server answered; left out when there was no answer, and for built-in tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    pub latency_ms: u64,
}
