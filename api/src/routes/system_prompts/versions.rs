//! Every version that a prompt had: what a reply came from can be looked up.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::prompt::PromptSettings;
use events::{Aggregate, PromptId};
use projections::Projection;
use projections::configuration::prompts::{self, PromptVersionRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PATH, not_found};
use crate::auth::Viewer;
use crate::extract::{PathId, QueryOf};
use crate::openapi::problems;
use crate::page::{list, page_of};
use crate::problem::Problem;
use crate::{App, freshness};

/// The part of the versions that is wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionsQuery {
    /// How many versions.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on below this version: the last one of the page before. To look one version up, ask for one version after the
    /// next.
    #[param(minimum = 1)]
    after: Option<u32>,
}

/// A prompt as it was from `created_at` until the next version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SystemPromptVersion {
    version: u32,
    name: String,
    description: String,
    category: Option<String>,
    content: String,
    /// Every variable with its default.
    variables: BTreeMap<String, String>,
    created_at: DateTime<Utc>,
}

impl From<PromptVersionRecord> for SystemPromptVersion {
    fn from(record: PromptVersionRecord) -> Self {
        let PromptVersionRecord { version, settings, created_at } = record;
        let PromptSettings { name, description, category, content, variables } = settings;
        Self { version, name, description, category, content, variables, created_at }
    }
}

/// List the versions of a system prompt
///
/// Newest first; of a deleted prompt too. Role: viewer.
#[utoipa::path(
    get, path = "/api/system-prompts/{id}/versions", tag = "System prompts",
    operation_id = "list_system_prompt_versions",
    params(("id" = Uuid, Path, description = "The prompt"), VersionsQuery),
    responses(
        (status = 200, description = "The versions", body = Vec<SystemPromptVersion>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading, problems::OfAnId,
    )
)]
pub(super) async fn list_system_prompt_versions(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(prompt_id): PathId<PromptId>,
    QueryOf(query): QueryOf<VersionsQuery>,
) -> Result<Response, Problem> {
    let page = page_of(query.limit, None)?;
    let aggregate = Aggregate::prompt(caller.tenant_id, prompt_id);
    freshness::of_aggregate(&app, Projection::Configuration, aggregate).await;
    let found =
        prompts::versions(&app.database, caller.tenant_id, prompt_id, query.after, page.limit).await?;
    let versions = found.ok_or_else(not_found)?;
    let is_full = i64::try_from(versions.len()).is_ok_and(|count| count == page.limit);
    let next = versions.last().filter(|last| is_full && last.version > 1).map(|last| last.version);
    let path = format!("{PATH}/{prompt_id}/versions");
    Ok(list(&path, &[], page, next, versions.into_iter().map(SystemPromptVersion::from).collect()))
}
