//! The tools that agents can be given, and running one by hand.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::response::Response;
use domain::tools::{self, mcp};
use events::{AgentId, Aggregate, TenantId};
use projections::configuration::custom_functions::{self, FunctionRecord};
use projections::configuration::mcp_servers;
use projections::{Page, Projection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::{AgentDeveloper, Viewer};
use crate::extract::{Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::page_of;
use crate::prefer::Prefer;
use crate::problem::Problem;
use crate::tool_runs::{self, Ended, Wanted};
use crate::{App, freshness};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_tools)).routes(routes!(run_tool))
}

/// A tenant has few functions, so there are no pages.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ToolsQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

/// What an agent's `tools_enabled` can name.
#[derive(Debug, Serialize, ToSchema)]
struct Tool {
    #[schema(example = "invoice_lookup")]
    name: String,
    /// What models are told that it does.
    description: String,
    /// JSON Schema of the arguments.
    #[schema(value_type = Object)]
    parameters: Value,
    /// `false`: it is a function of the tenant's.
    built_in: bool,
    /// `false`: it is not offered to models now.
    is_active: bool,
}

impl From<&tools::Tool> for Tool {
    fn from(tool: &tools::Tool) -> Self {
        Self {
            name: tool.name.to_owned(),
            description: tool.description.to_owned(),
            parameters: tool.parameters.clone(),
            built_in: true,
            is_active: true,
        }
    }
}

impl From<FunctionRecord> for Tool {
    fn from(FunctionRecord { settings, .. }: FunctionRecord) -> Self {
        Self {
            name: settings.name,
            description: settings.description,
            parameters: Value::Object(settings.parameters),
            built_in: false,
            is_active: settings.is_active,
        }
    }
}

/// List the tools
///
/// The built-in ones, then the tenant's own functions, newest first. What an MCP server offers is at
/// `/api/mcp-servers/{id}/tools`. Role: viewer.
#[utoipa::path(
    get, path = "/api/tools", tag = "Tools", operation_id = "list_tools", params(ToolsQuery),
    responses((status = 200, description = "The tools", body = Vec<Tool>), problems::Reading)
)]
async fn list_tools(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<ToolsQuery>,
) -> Result<Json<Vec<Tool>>, Problem> {
    let page @ Page { limit, .. } = page_of(query.limit, None)?;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::functions(caller.tenant_id)).await;
    let functions = custom_functions::functions(&app.database, caller.tenant_id, page).await?;
    let all = tools::built_in().iter().map(Tool::from).chain(functions.into_iter().map(Tool::from));
    Ok(Json(all.take(usize::try_from(limit).unwrap_or_default()).collect()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RunTool {
    /// For whom the tool runs: whose calendar, for one.
    agent_id: Uuid,
    /// What a model would send.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Value>,
}

/// Run a tool
///
/// Runs a built-in tool, a function or a tool of an MCP server (`crm__search`) as a model's call would, whether or not the agent has it, and waits for the result:
/// 30 s, or as `Prefer: wait=N` says. A run that fails is a 200 whose `status` is `error`. Role: developer.
#[utoipa::path(
    post, path = "/api/tools/{name}/run", tag = "Tools", operation_id = "run_tool",
    params(
        ("name" = String, Path, description = "The tool"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (RFC 7240)"),
    ),
    request_body = RunTool,
    responses(
        (status = 200, description = "How the run ended", body = Ended),
        problems::Writing, problems::OfARun,
    )
)]
async fn run_tool(
    State(app): State<App>,
    AgentDeveloper(caller): AgentDeveloper,
    PathName(name): PathName,
    posted: Result<Posted<RunTool>, Problem>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let posted = match posted {
        Ok(posted) => posted,
        // What is not there is not found, whatever was sent to it.
        Err(problem) => {
            check_exists(&app, tenant_id, &name).await?;
            return Err(problem);
        }
    };
    caller.check_reaches(AgentId(posted.body.agent_id), "agent")?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let prefer = Prefer::to_wait(&posted.headers);
    let wanted = async {
        check_exists(&app, tenant_id, &name).await?;
        let agent_id = AgentId(posted.body.agent_id);
        app.agent_of(&caller, agent_id).await?;
        let arguments = posted.body.arguments.clone();
        Ok(Wanted { agent_id: Some(agent_id), function_id: None, mcp_server_id: None, name, arguments })
    };
    let (ended, _) = tool_runs::run(&app, &caller, &once, prefer, wanted).await?;
    Ok(once.mark(prefer.applied_to(Json(ended))))
}

async fn check_exists(app: &App, tenant_id: TenantId, name: &str) -> Result<(), Problem> {
    if tools::find(name).is_some() {
        return Ok(());
    }
    let is_known = match mcp::split(name) {
        // What the server offers is seen when the tool runs.
        Some((server, _)) => {
            freshness::of_aggregate(app, Projection::Configuration, Aggregate::mcp_servers(tenant_id)).await;
            !mcp_servers::named(&app.database, tenant_id, &[server.to_owned()]).await?.is_empty()
        }
        None => {
            freshness::of_aggregate(app, Projection::Configuration, Aggregate::functions(tenant_id)).await;
            !custom_functions::named(&app.database, tenant_id, &[name.to_owned()]).await?.is_empty()
        }
    };
    if is_known { Ok(()) } else { Err(unknown()) }
}

fn unknown() -> Problem {
    Problem::not_found("tool")
}

fn is_tool_name(name: &str) -> bool {
    tools::find(name).is_some()
        || tools::is_function_name(name)
        || mcp::split(name).is_some_and(|(_, tool)| tool != mcp::ALL)
}

/// The `{name}` of the path. What can be no tool's name names nothing, and is not found.
struct PathName(String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let name = params.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "name"));
        let name = name.map(|(_, text)| text.to_owned());
        name.filter(|name| is_tool_name(name)).map(Self).ok_or_else(unknown)
    }
}
