//! Running a tool by hand: the request is an event, a worker runs the tool, and its completion is waited for. Repeated
//! with the same `Idempotency-Key`, a request finds its own run and never makes a second one.

use events::session::ToolStatus;
use events::tool_run::{ToolRunCompleted, ToolRunRequested};
use events::{
    AgentId, Aggregate, Event, EventId, FunctionId, JobId, McpServerId, Payload, Recorded, TenantId,
    ToolCallId,
};
use nats::live::Hear;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::SOURCE;
use crate::append;
use crate::auth::Caller;
use crate::idempotency::Once;
use crate::prefer::Prefer;
use crate::problem::{Code, Problem};
use crate::{App, waiting};

/// What is to be run.
pub(crate) struct Wanted {
    /// For whom; `None`: a function is tested, or an MCP server asked.
    pub agent_id: Option<AgentId>,
    pub function_id: Option<FunctionId>,
    /// A server to be asked what it offers.
    pub mcp_server_id: Option<McpServerId>,
    pub name: String,
    pub arguments: Map<String, Value>,
}

/// How a run ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    /// As in `GET /api/tool-executions`.
    #[schema(value_type = Uuid)]
    id: ToolCallId,
    /// `ok` or `error`.
    #[schema(example = "ok")]
    pub(crate) status: &'static str,
    /// `null` when it failed.
    #[schema(value_type = Object)]
    pub(crate) result: Value,
    /// What a model would have been told; `null` when it succeeded.
    pub(crate) error: Option<String>,
    latency_ms: u64,
}

/// Runs what is `wanted`, unless this very request did so before, and waits for the end. `wanted` is asked only for a
/// new run. Also answers the HTTP status of a function's server.
pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    once: &Once,
    prefer: Prefer,
    wanted: impl Future<Output = Result<Wanted, Problem>>,
) -> Result<(Ended, Option<u16>), Problem> {
    let (tenant_id, tool_call_id) = (caller.tenant_id, once.id::<ToolCallId>());
    let aggregate = Aggregate::tool_run(tenant_id, tool_call_id);
    let _place = app.place_to_wait()?;
    // Before the append, so that not even the fastest end is missed.
    let live = app.nats.live.subscribe(JobId(tool_call_id.0), Hear::Events).await;
    let live = live.map_err(|error| Problem::unavailable(&error))?;
    let is_under_way = once.replayed && app.nats.log.first(&aggregate).await?.is_some();
    if !is_under_way {
        let Wanted { agent_id, function_id, mcp_server_id, name, arguments } = wanted.await?;
        let event_id: EventId = once.derived("tool_run.requested");
        let arguments = Value::Object(arguments).to_string();
        let arguments = app.keyring.seal(tenant_id, tenant_id.0, event_id, &arguments).await?;
        let requested =
            ToolRunRequested { tool_call_id, agent_id, function_id, mcp_server_id, name, arguments };
        let event = Event::new(event_id, once.at, SOURCE, aggregate, &caller.cause(), requested);
        append::create(app, event, once.replayed).await?;
    }
    let deadline = Instant::now() + prefer.wait.unwrap_or(app.config.default_wait);
    let ended = tokio::select! {
        ended = waiting::for_end(app, aggregate, live, is_under_way, deadline, completion) => ended?,
        () = app.nearly_drained() => {
            return Err(Problem::new(Code::ShuttingDown, "the tool runs on; ask again with the same Idempotency-Key"));
        }
    };
    match ended {
        Some((event_id, completed)) => opened(app, tenant_id, event_id, &completed).await,
        None => Err(Problem::new(
            Code::ToolTimeout,
            "the tool runs on; the same request with the same Idempotency-Key waits for it again",
        )),
    }
}

fn completion(recorded: &Recorded) -> Option<(EventId, ToolRunCompleted)> {
    match &recorded.event.payload {
        Payload::ToolRunCompleted(completed) => Some((recorded.event.envelope.id, completed.clone())),
        _ => None,
    }
}

async fn opened(
    app: &App,
    tenant_id: TenantId,
    event_id: EventId,
    completed: &ToolRunCompleted,
) -> Result<(Ended, Option<u16>), Problem> {
    let text = app.keyring.open(tenant_id, event_id, &completed.result).await?.unwrap_or_default();
    let result: Value = serde_json::from_str(&text).map_err(|error| Problem::internal(&error))?;
    let (result, error) = match completed.status {
        ToolStatus::Ok => (result, None),
        ToolStatus::Error => {
            (Value::Null, Some(result["error"].as_str().unwrap_or("the tool failed").to_owned()))
        }
    };
    let ended = Ended {
        id: completed.tool_call_id,
        status: completed.status.as_str(),
        result,
        error,
        latency_ms: completed.latency_ms,
    };
    Ok((ended, completed.http_status))
}
