//! Tools of a tenant's MCP server.

use domain::tools::mcp::{self, Offer};
use events::{McpServerId, TenantId};
use nats::Failure;
use projections::configuration;
use projections::configuration::mcp_servers::{self as servers, McpServerRecord};
use serde_json::{Value, json};
use vendors::mcp::McpCall;

use super::{By, Call, Ran};
use crate::{Workers, away};

/// What the server offers now, for whoever is setting it up.
pub(super) async fn list(
    workers: &Workers,
    tenant_id: TenantId,
    mcp_server_id: McpServerId,
) -> Result<Ran, Failure> {
    let server = servers::server(&workers.database, tenant_id, mcp_server_id).await.map_err(away)?;
    let Some(server) = server else {
        return Ok(Ran::from(Err("there is no such MCP server any more".to_owned())));
    };
    Ok(Ran::from(workers.mcp_servers.list(tenant_id, &server).await.map(|offer| shown(&offer))))
}

fn shown(offer: &Offer) -> Value {
    let tools = offer.tools.iter().map(
        |tool| json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters }),
    );
    let left_out = offer.left_out.iter().map(|tool| json!({ "name": tool.name, "reason": tool.reason }));
    json!({ "tools": tools.collect::<Value>(), "left_out": left_out.collect::<Value>() })
}

/// Runs `tool` of `server`. It is sent once: a server need not know that it has seen a run before. Run again by a worker
/// that took over, it has the same idempotency key.
pub(super) async fn run(
    workers: &Workers,
    call: &Call<'_>,
    (server, tool): (&str, &str),
    arguments: &Value,
) -> Result<Ran, Failure> {
    let answer = match find(workers, call, server, tool).await.map_err(away)? {
        Ok(server) => ask(workers, call, &server, tool, arguments).await,
        Err(reason) => Err(reason),
    };
    Ok(Ran::from(answer))
}

async fn ask(
    workers: &Workers,
    call: &Call<'_>,
    server: &McpServerRecord,
    tool: &str,
    arguments: &Value,
) -> Result<Value, String> {
    let tenant_id = call.tenant_id();
    let known = workers.mcp_servers.offer(tenant_id, server).await;
    let Some(offer) = &known.offer else {
        return Err(known.failed.clone().unwrap_or_else(|| unknown(call)));
    };
    let offered = offer.tools.iter().find(|offered| offered.own_name == tool).ok_or_else(|| unknown(call))?;
    offered.check.check(arguments)?;
    let arguments = arguments.as_object().ok_or("the arguments must be an object")?;
    let asked = workers.mcp_servers.asked(tenant_id, server).await?;
    let origin = &call.event.envelope.origin;
    let run = McpCall {
        tool,
        arguments,
        idempotency_key: &call.tool_call_id.to_string(),
        correlation_id: origin.correlation_id.as_str(),
        traceparent: &origin.traceparent,
    };
    workers.mcp_servers.mcp.call(&asked, &run).await.map_err(|failed| failed.to_string())
}

/// The server as it is now, or why there is none for this call.
async fn find(
    workers: &Workers,
    call: &Call<'_>,
    server: &str,
    tool: &str,
) -> Result<Result<McpServerRecord, String>, projections::Error> {
    if !may_use(workers, call, server, tool).await? {
        return Ok(Err(unknown(call)));
    }
    let named = servers::named(&workers.database, call.tenant_id(), &[server.to_owned()]).await?;
    Ok(match named.into_iter().next() {
        Some(server) if server.settings.is_active => Ok(server),
        Some(_) => Err(format!("the MCP server {server:?} is switched off")),
        None => Err(unknown(call)),
    })
}

/// A model uses the tools that its agent was given, not all that the tenant has.
async fn may_use(
    workers: &Workers,
    call: &Call<'_>,
    server: &str,
    tool: &str,
) -> Result<bool, projections::Error> {
    let (By::Model(_), Some(agent_id)) = (&call.by, call.agent_id) else { return Ok(true) };
    let agent = configuration::agent(&workers.database, call.tenant_id(), agent_id).await?;
    Ok(agent.is_some_and(|agent| mcp::is_enabled(&agent.settings.tools_enabled, server, tool)))
}

fn unknown(call: &Call<'_>) -> String {
    format!("there is no tool {:?}", call.name)
}
