//! Tenants' MCP servers: tools that are asked of another server (Model Context Protocol).

mod history;
mod offer;
mod settings;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::mcp_server::McpServerSettings;
use events::{Aggregate, McpServerId, TenantId};
use projections::Projection;
use projections::configuration::mcp_servers::{self, McpServerRecord};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, Developer, Viewer};
use crate::extract::{JsonBody, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::Problem;
use crate::routes::answers::Deleted;
use crate::routes::{named, secret_headers};
use crate::{App, freshness};

use history::McpServers;
use settings::{McpServerBody, McpServerPatch};

const PATH: &str = "/api/mcp-servers";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_mcp_servers, create_mcp_server))
        .routes(routes!(get_mcp_server, replace_mcp_server, patch_mcp_server, delete_mcp_server))
        .merge(offer::router())
}

/// An MCP server as it is now.
#[derive(Debug, Serialize, ToSchema)]
struct McpServer {
    #[schema(value_type = Uuid)]
    id: McpServerId,
    /// Counts up from 1 with every change.
    version: u32,
    #[schema(example = "crm")]
    name: String,
    description: String,
    url: String,
    /// What is left visible of each value: its last four characters, when it is long enough to spare them.
    #[schema(example = json!({ "Authorization": "••••1234" }))]
    headers: BTreeMap<String, String>,
    is_active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

async fn shown(app: &App, tenant_id: TenantId, server: McpServerRecord) -> Result<McpServer, Problem> {
    let McpServerRecord { id, version, settings, created_at, updated_at, .. } = server;
    Ok(McpServer {
        id,
        version,
        name: settings.name,
        description: settings.description,
        url: settings.url,
        headers: secret_headers::shown(app, tenant_id, settings.headers).await?,
        is_active: settings.is_active,
        created_at,
        updated_at,
    })
}

/// List MCP servers
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/mcp-servers", tag = "Tools", operation_id = "list_mcp_servers", params(PageQuery),
    responses(
        (status = 200, description = "The servers", body = Vec<McpServer>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_mcp_servers(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::mcp_servers(tenant_id)).await;
    let servers = mcp_servers::servers(&app.database, tenant_id, page).await?;
    let next = next_after(page, servers.iter().map(|server| server.id.0));
    let mut answers = Vec::with_capacity(servers.len());
    for server in servers {
        answers.push(shown(&app, tenant_id, server).await?);
    }
    Ok(list(PATH, &[], page, next, answers))
}

/// Create an MCP server
///
/// At most 20 per tenant. It is not asked until its tools are wanted: `GET /api/mcp-servers/{id}/tools` shows what it
/// offers. An agent whose `tools_enabled` names one of its tools (`crm__search`) or all of them (`crm__*`) can call them.
/// Role: developer.
#[utoipa::path(
    post, path = "/api/mcp-servers", tag = "Tools", operation_id = "create_mcp_server",
    request_body = McpServerBody,
    responses((status = 201, description = "The server", body = McpServer), problems::Writing, problems::OfAName)
)]
async fn create_mcp_server(
    State(app): State<App>,
    Developer(caller): Developer,
    posted: Posted<McpServerPatch>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let settings = posted.body.merged_into(None, app.config.urls)?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let (id, server) =
        named::create::<McpServers>(&app, &caller, &once, settings, &posted.body.headers).await?;
    let answer = shown(&app, tenant_id, server.record(id)).await?;
    Ok(once.mark((StatusCode::CREATED, Json(answer))))
}

/// Get an MCP server
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/mcp-servers/{id}", tag = "Tools", operation_id = "get_mcp_server",
    params(("id" = Uuid, Path, description = "The server")),
    responses((status = 200, description = "The server", body = McpServer), problems::Reading, problems::OfAnId)
)]
async fn get_mcp_server(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(mcp_server_id): PathId<McpServerId>,
) -> Result<Json<McpServer>, Problem> {
    let server = find(&app, caller.tenant_id, mcp_server_id).await?;
    Ok(Json(shown(&app, caller.tenant_id, server).await?))
}

/// Replace an MCP server
///
/// What is left out goes back to its default; headers that are left out are forgotten. Role: developer.
#[utoipa::path(
    put, path = "/api/mcp-servers/{id}", tag = "Tools", operation_id = "replace_mcp_server",
    request_body = McpServerBody, params(("id" = Uuid, Path, description = "The server")),
    responses((status = 200, description = "The server", body = McpServer), problems::Writing, problems::OfAName)
)]
async fn replace_mcp_server(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(mcp_server_id): PathId<McpServerId>,
    JsonBody(body): JsonBody<McpServerPatch>,
) -> Result<Json<McpServer>, Problem> {
    let settings = body.merged_into(None, app.config.urls)?;
    update(&app, &caller, mcp_server_id, &body, |_| Ok(settings.clone())).await
}

/// Change an MCP server
///
/// JSON merge patch (RFC 7396): what is left out stays, `null` goes back to the default. `headers` are merged by name;
/// `null` removes one. What agents name in `tools_enabled` does not follow a new name. Role: developer.
#[utoipa::path(
    patch, path = "/api/mcp-servers/{id}", tag = "Tools", operation_id = "patch_mcp_server",
    request_body = McpServerPatch, params(("id" = Uuid, Path, description = "The server")),
    responses((status = 200, description = "The server", body = McpServer), problems::Writing, problems::OfAName)
)]
async fn patch_mcp_server(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(mcp_server_id): PathId<McpServerId>,
    JsonBody(patch): JsonBody<McpServerPatch>,
) -> Result<Json<McpServer>, Problem> {
    let urls = app.config.urls;
    update(&app, &caller, mcp_server_id, &patch, |current| patch.merged_into(Some(current), urls)).await
}

/// Delete an MCP server
///
/// Agents that name its tools go on without them. Its name is free again. Role: developer.
#[utoipa::path(
    delete, path = "/api/mcp-servers/{id}", tag = "Tools", operation_id = "delete_mcp_server",
    params(("id" = Uuid, Path, description = "The server")),
    responses((status = 200, description = "It is deleted", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn delete_mcp_server(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(mcp_server_id): PathId<McpServerId>,
) -> Result<Json<Deleted>, Problem> {
    named::delete::<McpServers>(&app, &caller, mcp_server_id).await?;
    Ok(Json(Deleted::YES))
}

async fn find(
    app: &App,
    tenant_id: TenantId,
    mcp_server_id: McpServerId,
) -> Result<McpServerRecord, Problem> {
    freshness::of_aggregate(app, Projection::Configuration, Aggregate::mcp_servers(tenant_id)).await;
    let server = mcp_servers::server(&app.database, tenant_id, mcp_server_id).await?;
    server.ok_or_else(named::unknown::<McpServers>)
}

/// Puts new settings in force; settings that are the present ones change nothing.
async fn update(
    app: &App,
    caller: &Caller,
    mcp_server_id: McpServerId,
    sent: &McpServerPatch,
    next: impl Fn(&McpServerSettings) -> Result<McpServerSettings, Problem>,
) -> Result<Json<McpServer>, Problem> {
    let server = named::update::<McpServers>(app, caller, mcp_server_id, &sent.headers, next).await?;
    Ok(Json(shown(app, caller.tenant_id, server.record(mcp_server_id)).await?))
}
