//! What a model is told of the tools that its agent has.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use domain::tools::{self, mcp};
use events::TenantId;
use futures_util::future::join_all;
use projections::configuration::{custom_functions, mcp_servers};
use serde_json::Value;
use vendors::llm::ToolSpec;

use crate::Workers;

/// Vendors of models take no more.
const MAX_SPECS: usize = 128;

/// The tools `enabled` for an agent, in that order, without those that are no more. A function is not remembered from one
/// turn to the next: what a tenant has just changed is offered as it is now. What an MCP server offers is remembered for a
/// while; one that is away offers what it did before, or nothing.
pub(crate) async fn specs(
    workers: &Workers,
    tenant_id: TenantId,
    enabled: &[String],
) -> Result<Vec<ToolSpec>, projections::Error> {
    let functions = functions(workers, tenant_id, enabled).await?;
    let servers = servers(workers, tenant_id, enabled).await?;
    let named = enabled.iter().flat_map(|name| {
        if let Some(tool) = tools::find(name) {
            return vec![ToolSpec {
                name: tool.name.to_owned(),
                description: tool.description.to_owned(),
                parameters: tool.parameters.clone(),
            }];
        }
        match mcp::split(name) {
            Some((server, tool)) => servers.get(server).map_or_else(Vec::new, |offer| of_server(offer, tool)),
            None => functions.get(name).cloned().into_iter().collect(),
        }
    });
    // A tool may be named by itself and with all of its server.
    let mut seen = HashSet::new();
    Ok(named.filter(|spec| seen.insert(spec.name.clone())).take(MAX_SPECS).collect())
}

async fn functions(
    workers: &Workers,
    tenant_id: TenantId,
    enabled: &[String],
) -> Result<HashMap<String, ToolSpec>, projections::Error> {
    let names: Vec<String> = enabled.iter().filter(|name| tools::is_function_name(name)).cloned().collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let named = custom_functions::named(&workers.database, tenant_id, &names).await?;
    let active = named.into_iter().map(|function| function.settings).filter(|settings| settings.is_active);
    let specs = active.map(|settings| {
        let spec = ToolSpec {
            name: settings.name.clone(),
            description: settings.description,
            parameters: Value::Object(settings.parameters),
        };
        (settings.name, spec)
    });
    Ok(specs.collect())
}

/// What the servers offer that are named, by their names; all are asked at once.
async fn servers(
    workers: &Workers,
    tenant_id: TenantId,
    enabled: &[String],
) -> Result<HashMap<String, Arc<mcp::Offer>>, projections::Error> {
    let names: BTreeSet<&str> =
        enabled.iter().filter_map(|name| mcp::split(name)).map(|(server, _)| server).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let named = mcp_servers::named(&workers.database, tenant_id, &names).await?;
    let asked = named.iter().filter(|server| server.settings.is_active).map(|server| async {
        let known = workers.mcp_servers.offer(tenant_id, server).await;
        Some((server.settings.name.clone(), known.offer.clone()?))
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

fn of_server(offer: &mcp::Offer, tool: &str) -> Vec<ToolSpec> {
    let named = offer.tools.iter().filter(|offered| tool == mcp::ALL || offered.own_name == tool);
    let specs = named.map(|offered| ToolSpec {
        name: offered.name.clone(),
        description: offered.description.clone(),
        parameters: offered.parameters.clone(),
    });
    specs.collect()
}
