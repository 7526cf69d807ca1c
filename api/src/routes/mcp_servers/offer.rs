//! What an MCP server offers now. The api calls nobody, so the question goes through the log like a run of a tool.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::tools::mcp;
use events::McpServerId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::auth::Viewer;
use crate::extract::PathId;
use crate::idempotency::Once;
use crate::openapi::problems;
use crate::prefer::Prefer;
use crate::problem::{Code, Problem};
use crate::tool_runs::{self, Wanted};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_mcp_tools))
}

/// What a server offers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct McpTools {
    tools: Vec<McpTool>,
    /// What cannot be used.
    left_out: Vec<McpToolLeftOut>,
}

/// A tool that agents can be given. Its words are the server's.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct McpTool {
    /// As `tools_enabled` names it and models call it.
    #[schema(example = "crm__search")]
    name: String,
    description: String,
    /// JSON Schema of the arguments.
    #[schema(value_type = Object)]
    parameters: Value,
}

/// A tool that cannot be used.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct McpToolLeftOut {
    /// As the server calls it; `*`: all the rest.
    #[schema(example = "files.read")]
    name: String,
    #[schema(example = "its name must have 1 to 59 letters, digits, _ and -")]
    reason: String,
}

/// List an MCP server's tools
///
/// Asks the server, also when it is switched off, and waits for its answer: 5 s at most. The question stands in
/// `GET /api/tool-executions` as `<server>__*`. Role: viewer.
#[utoipa::path(
    get, path = "/api/mcp-servers/{id}/tools", tag = "Tools", operation_id = "list_mcp_tools",
    params(
        ("id" = Uuid, Path, description = "The server"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (RFC 7240)"),
    ),
    responses(
        (status = 200, description = "What it offers", body = McpTools),
        problems::Reading, problems::OfAnId, problems::OfARun, problems::OfAnMcpServer,
    )
)]
async fn list_mcp_tools(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(mcp_server_id): PathId<McpServerId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let prefer = Prefer::to_wait(&headers);
    let server = super::find(&app, caller.tenant_id, mcp_server_id).await?;
    let wanted = async {
        Ok(Wanted {
            agent_id: None,
            function_id: None,
            mcp_server_id: Some(mcp_server_id),
            name: mcp::full_name(&server.settings.name, mcp::ALL),
            arguments: Map::new(),
        })
    };
    let once = Once::now(&app);
    let (ended, _) = tool_runs::run(&app, &caller, &once, prefer, wanted).await?;
    if let Some(error) = ended.error {
        return Err(Problem::new(Code::McpServerFailed, error));
    }
    let tools: McpTools = serde_json::from_value(ended.result).map_err(|error| Problem::internal(&error))?;
    Ok(prefer.applied_to(Json(tools)))
}
