//! What of the tenant's own an agent's settings may come to name.

use std::collections::BTreeSet;

use events::{Aggregate, PromptId, TenantId};
use projections::Projection;
use projections::configuration::custom_functions;

use super::prompt::Prompts;
use super::settings::AgentPatch;
use crate::problem::Problem;
use crate::{App, freshness};

#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    pub prompts: Prompts,
    /// Names of functions.
    pub functions: BTreeSet<String>,
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
        let names = patch.names_of_functions();
        if names.is_empty() {
            return Ok(Self { prompts, functions: BTreeSet::new() });
        }
        freshness::of_aggregate(app, Projection::Configuration, Aggregate::functions(tenant_id)).await;
        let named = custom_functions::named(&app.database, tenant_id, &names).await?;
        Ok(Self { prompts, functions: named.into_iter().map(|function| function.settings.name).collect() })
    }
}
