//! What of the tenant's own an agent's settings may come to name.

use std::collections::BTreeSet;

use events::{Aggregate, PromptId, TenantId};
use projections::Projection;
use projections::configuration::{custom_functions, mcp_servers};

use super::prompt::Prompts;
use super::settings::AgentPatch;
use crate::problem::Problem;
use crate::{App, freshness};

#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    pub prompts: Prompts,
    /// Names of functions, and of MCP servers' tools as far as they are known without asking the servers.
    pub tools: BTreeSet<String>,
}

impl Owned {
    /// As far as `patch` and an agent that has the prompt `current` need it.
    pub(super) async fn of(
        app: &App,
        tenant_id: TenantId,
        patch: &AgentPatch,
        current: Option<PromptId>,
    ) -> Result<Self, Problem> {
        let prompts = Prompts::of(app, tenant_id, patch, current).await?;
        Ok(Self { prompts, tools: tools(app, tenant_id, patch).await? })
    }
}

async fn tools(app: &App, tenant_id: TenantId, patch: &AgentPatch) -> Result<BTreeSet<String>, Problem> {
    let mut tools = BTreeSet::new();
    let functions = patch.names_of_functions();
    if !functions.is_empty() {
        freshness::of_aggregate(app, Projection::Configuration, Aggregate::functions(tenant_id)).await;
        let functions = custom_functions::named(&app.database, tenant_id, &functions).await?;
        tools.extend(functions.into_iter().map(|function| function.settings.name));
    }
    let of_servers = patch.names_of_servers_tools();
    if !of_servers.is_empty() {
        freshness::of_aggregate(app, Projection::Configuration, Aggregate::mcp_servers(tenant_id)).await;
        let servers: Vec<String> = of_servers.iter().map(|(_, server)| server.clone()).collect();
        let servers = mcp_servers::named(&app.database, tenant_id, &servers).await?;
        let is_known = |name: &str| servers.iter().any(|server| server.settings.name == name);
        tools.extend(of_servers.into_iter().filter(|(_, server)| is_known(server)).map(|(name, _)| name));
    }
    Ok(tools)
}
