//! Tenants' own functions: tools that are a request to an address of the tenant's.

mod history;
mod settings;
#[cfg(test)]
mod settings_tests;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::function::FunctionSettings;
use events::{Aggregate, FunctionId, TenantId};
use projections::Projection;
use projections::configuration::custom_functions::{self, FunctionRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, Developer, Viewer};
use crate::extract::{JsonBody, PathId, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::prefer::Prefer;
use crate::problem::Problem;
use crate::routes::answers::Deleted;
use crate::routes::{named, secret_headers};
use crate::tool_runs::{self, Ended, Wanted};
use crate::{App, freshness};

use history::CustomFunctions;
use settings::{FunctionBody, FunctionPatch};

const PATH: &str = "/api/custom-functions";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_functions, create_function))
        .routes(routes!(get_function, replace_function, patch_function, delete_function))
        .routes(routes!(test_function))
}

/// A function as it is now.
#[derive(Debug, Serialize, ToSchema)]
struct CustomFunction {
    #[schema(value_type = Uuid)]
    id: FunctionId,
    /// Counts up from 1 with every change.
    version: u32,
    #[schema(example = "order_status")]
    name: String,
    description: String,
    /// JSON Schema.
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
    webhook_url: String,
    #[schema(example = "POST")]
    method: &'static str,
    /// What is left visible of each value: its last four characters, when it is long enough to spare them.
    #[schema(example = json!({ "Authorization": "••••1234" }))]
    headers: BTreeMap<String, String>,
    is_active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

async fn shown(app: &App, tenant_id: TenantId, function: FunctionRecord) -> Result<CustomFunction, Problem> {
    let FunctionRecord { id, version, settings, created_at, updated_at, .. } = function;
    let headers = secret_headers::shown(app, tenant_id, settings.headers).await?;
    Ok(CustomFunction {
        id,
        version,
        name: settings.name,
        description: settings.description,
        parameters: settings.parameters,
        webhook_url: settings.webhook_url,
        method: settings.method.as_str(),
        headers,
        is_active: settings.is_active,
        created_at,
        updated_at,
    })
}

/// List functions
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/custom-functions", tag = "Tools", operation_id = "list_functions", params(PageQuery),
    responses(
        (status = 200, description = "The functions", body = Vec<CustomFunction>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_functions(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::functions(tenant_id)).await;
    let functions = custom_functions::functions(&app.database, tenant_id, page).await?;
    let next = next_after(page, functions.iter().map(|function| function.id.0));
    let mut answers = Vec::with_capacity(functions.len());
    for function in functions {
        answers.push(shown(&app, tenant_id, function).await?);
    }
    Ok(list(PATH, &[], page, next, answers))
}

/// Create a function
///
/// At most 100 per tenant. An agent whose `tools_enabled` names it can call it. Role: developer.
#[utoipa::path(
    post, path = "/api/custom-functions", tag = "Tools", operation_id = "create_function",
    request_body = FunctionBody,
    responses((status = 201, description = "The function", body = CustomFunction), problems::Writing, problems::OfAName)
)]
async fn create_function(
    State(app): State<App>,
    Developer(caller): Developer,
    posted: Posted<FunctionPatch>,
) -> Result<Response, Problem> {
    let tenant_id = caller.tenant_id;
    let settings = posted.body.merged_into(None, app.config.urls)?;
    let once = posted.claim(&app, tenant_id, Makes::NoSecret).await?;
    let (id, function) =
        named::create::<CustomFunctions>(&app, &caller, &once, settings, &posted.body.headers).await?;
    let answer = shown(&app, tenant_id, function.record(id)).await?;
    Ok(once.mark((StatusCode::CREATED, Json(answer))))
}

/// Get a function
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/custom-functions/{id}", tag = "Tools", operation_id = "get_function",
    params(("id" = Uuid, Path, description = "The function")),
    responses((status = 200, description = "The function", body = CustomFunction), problems::Reading, problems::OfAnId)
)]
async fn get_function(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(function_id): PathId<FunctionId>,
) -> Result<Json<CustomFunction>, Problem> {
    let function = find(&app, caller.tenant_id, function_id).await?;
    Ok(Json(shown(&app, caller.tenant_id, function).await?))
}

/// Replace a function
///
/// What is left out goes back to its default; headers that are left out are forgotten. Role: developer.
#[utoipa::path(
    put, path = "/api/custom-functions/{id}", tag = "Tools", operation_id = "replace_function",
    request_body = FunctionBody, params(("id" = Uuid, Path, description = "The function")),
    responses((status = 200, description = "The function", body = CustomFunction), problems::Writing, problems::OfAName)
)]
async fn replace_function(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(function_id): PathId<FunctionId>,
    JsonBody(body): JsonBody<FunctionPatch>,
) -> Result<Json<CustomFunction>, Problem> {
    let settings = body.merged_into(None, app.config.urls)?;
    update(&app, &caller, function_id, &body, |_| Ok(settings.clone())).await
}

/// Change a function
///
/// JSON merge patch (RFC 7396): what is left out stays, `null` goes back to the default. `headers` are merged by name;
/// `null` removes one. Role: developer.
#[utoipa::path(
    patch, path = "/api/custom-functions/{id}", tag = "Tools", operation_id = "patch_function",
    request_body = FunctionPatch, params(("id" = Uuid, Path, description = "The function")),
    responses((status = 200, description = "The function", body = CustomFunction), problems::Writing, problems::OfAName)
)]
async fn patch_function(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(function_id): PathId<FunctionId>,
    JsonBody(patch): JsonBody<FunctionPatch>,
) -> Result<Json<CustomFunction>, Problem> {
    update(&app, &caller, function_id, &patch, |current| patch.merged_into(Some(current), app.config.urls))
        .await
}

/// Delete a function
///
/// Agents that name it go on without it: it is not offered to models any more. Its name is free again. Role: developer.
#[utoipa::path(
    delete, path = "/api/custom-functions/{id}", tag = "Tools", operation_id = "delete_function",
    params(("id" = Uuid, Path, description = "The function")),
    responses((status = 200, description = "It is deleted", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn delete_function(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(function_id): PathId<FunctionId>,
) -> Result<Json<Deleted>, Problem> {
    named::delete::<CustomFunctions>(&app, &caller, function_id).await?;
    Ok(Json(Deleted::YES))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TestFunction {
    /// What a model would send.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Value>,
}

/// How a test ended.
#[derive(Debug, Serialize, ToSchema)]
struct FunctionTested {
    #[serde(flatten)]
    ended: Ended,
    /// What the function's server answered; `null`: nothing, or it was not asked.
    http_status: Option<u16>,
}

/// Test a function
///
/// Calls it as a model's call would, also when it is switched off, and waits for the result: 30 s, or as `Prefer: wait=N`
/// says. A run that fails is a 200 whose `status` is `error`. Role: developer.
#[utoipa::path(
    post, path = "/api/custom-functions/{id}/test", tag = "Tools", operation_id = "test_function",
    params(
        ("id" = Uuid, Path, description = "The function"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (RFC 7240)"),
    ),
    request_body = TestFunction,
    responses(
        (status = 200, description = "How the run ended", body = FunctionTested),
        problems::Writing, problems::OfARun,
    )
)]
async fn test_function(
    State(app): State<App>,
    Developer(caller): Developer,
    PathId(function_id): PathId<FunctionId>,
    posted: Posted<TestFunction>,
) -> Result<Response, Problem> {
    let once = posted.claim(&app, caller.tenant_id, Makes::NoSecret).await?;
    let prefer = Prefer::to_wait(&posted.headers);
    let wanted = async {
        let function = find(&app, caller.tenant_id, function_id).await?;
        Ok(Wanted {
            agent_id: None,
            function_id: Some(function_id),
            mcp_server_id: None,
            name: function.settings.name,
            arguments: posted.body.arguments.clone(),
        })
    };
    let (ended, http_status) = tool_runs::run(&app, &caller, &once, prefer, wanted).await?;
    Ok(once.mark(prefer.applied_to(Json(FunctionTested { ended, http_status }))))
}

async fn find(app: &App, tenant_id: TenantId, function_id: FunctionId) -> Result<FunctionRecord, Problem> {
    freshness::of_aggregate(app, Projection::Configuration, Aggregate::functions(tenant_id)).await;
    let function = custom_functions::function(&app.database, tenant_id, function_id).await?;
    function.ok_or_else(named::unknown::<CustomFunctions>)
}

/// Puts new settings in force; settings that are the present ones change nothing.
async fn update(
    app: &App,
    caller: &Caller,
    function_id: FunctionId,
    sent: &FunctionPatch,
    next: impl Fn(&FunctionSettings) -> Result<FunctionSettings, Problem>,
) -> Result<Json<CustomFunction>, Problem> {
    let function = named::update::<CustomFunctions>(app, caller, function_id, &sent.headers, next).await?;
    Ok(Json(shown(app, caller.tenant_id, function.record(function_id)).await?))
}
