//! A tool that is to be run, whoever asked for it.

use events::session::ToolRequested;
use events::{
    AgentId, Event, FunctionId, JobId, McpServerId, Payload, Sealed, SessionId, TenantId, ToolCallId,
};

/// One call, as the event that asks for it says.
pub(super) struct Call<'a> {
    pub(super) event: &'a Event,
    pub(super) by: By<'a>,
    pub(super) tool_call_id: ToolCallId,
    /// For whom; `None`: a function is tested, or an MCP server asked what it offers.
    pub(super) agent_id: Option<AgentId>,
    pub(super) name: &'a str,
    pub(super) arguments: &'a Sealed,
}

/// Who asked.
pub(super) enum By<'a> {
    /// In a turn of a session.
    Model(&'a ToolRequested),
    /// Somebody by hand.
    Hand {
        /// Of a function to be tested.
        function_id: Option<FunctionId>,
        /// Of a server that is asked what it offers.
        mcp_server_id: Option<McpServerId>,
    },
}

impl<'a> Call<'a> {
    /// `None` when the event asks for no tool.
    pub(super) fn of(event: &'a Event) -> Option<Self> {
        match &event.payload {
            Payload::ToolRequested(requested) => Some(Self {
                event,
                by: By::Model(requested),
                tool_call_id: requested.tool_call_id,
                agent_id: Some(requested.agent_id),
                name: &requested.name,
                arguments: &requested.arguments,
            }),
            Payload::ToolRunRequested(requested) => Some(Self {
                event,
                by: By::Hand { function_id: requested.function_id, mcp_server_id: requested.mcp_server_id },
                tool_call_id: requested.tool_call_id,
                agent_id: requested.agent_id,
                name: &requested.name,
                arguments: &requested.arguments,
            }),
            _ => None,
        }
    }

    pub(super) fn tenant_id(&self) -> TenantId {
        self.event.envelope.aggregate.tenant_id
    }

    /// The session, or the run by hand that stands in its place.
    pub(super) fn session_id(&self) -> SessionId {
        SessionId(self.event.envelope.aggregate.id)
    }

    /// Under which job those listen who wait for the result. A run by hand is no job; its id stands for one.
    pub(super) fn waited_for_as(&self) -> JobId {
        match &self.by {
            By::Model(requested) => requested.job_id,
            By::Hand { .. } => JobId(self.tool_call_id.0),
        }
    }
}
