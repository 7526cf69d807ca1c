//! What a model is told of the tools that its agent has.

use domain::tools;
use events::TenantId;
use projections::configuration::custom_functions;
use serde_json::Value;
use vendors::llm::ToolSpec;

use crate::Workers;

/// The tools `enabled` for an agent, in that order, without those that are no more. A function is not remembered from one
/// turn to the next: what a tenant has just changed is offered as it is now.
pub(crate) async fn specs(
    workers: &Workers,
    tenant_id: TenantId,
    enabled: &[String],
) -> Result<Vec<ToolSpec>, projections::Error> {
    let names: Vec<String> = enabled.iter().filter(|name| tools::find(name).is_none()).cloned().collect();
    let functions = if names.is_empty() {
        Vec::new()
    } else {
        custom_functions::named(&workers.database, tenant_id, &names).await?
    };
    let spec = |name: &String| {
        if let Some(tool) = tools::find(name) {
            return Some(ToolSpec {
                name: tool.name.to_owned(),
                description: tool.description.to_owned(),
                parameters: tool.parameters.clone(),
            });
        }
        let mut active =
            functions.iter().map(|function| &function.settings).filter(|settings| settings.is_active);
        active.find(|settings| settings.name == *name).map(|settings| ToolSpec {
            name: settings.name.clone(),
            description: settings.description.clone(),
            parameters: Value::Object(settings.parameters.clone()),
        })
    };
    Ok(enabled.iter().filter_map(spec).collect())
}
