//! What the model is told, among an agent's fields: a text of the agent's own, or a prompt with values for its variables.

use std::collections::{BTreeMap, HashMap};

use events::agent::AgentSettings;
use events::{PromptId, TenantId};
use projections::configuration::prompts::{self, PromptRecord};
use uuid::Uuid;

use super::settings::AgentPatch;
use crate::problem::Problem;
use crate::routes::merge::Sent;
use crate::validation::Mistakes;
use crate::{App, prompt_variables};

const DEFAULT_SYSTEM_PROMPT: &str = "You are a helpful assistant of our company. Answer briefly and to the point. Use the \
    tools you have instead of guessing, and say so when you do not know something.";

/// The prompts of the tenant that an agent's settings may come to name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompts {
    known: HashMap<PromptId, PromptRecord>,
    default: Option<PromptId>,
}

impl Prompts {
    /// The one that `patch` names, the one that the agent has now, and the tenant's default.
    pub(crate) async fn of(
        app: &App,
        tenant_id: TenantId,
        patch: &AgentPatch,
        current: Option<PromptId>,
    ) -> Result<Self, Problem> {
        let ids: Vec<PromptId> = patch.names_prompt().into_iter().chain(current).collect();
        let found = prompts::named_or_default(&app.database, tenant_id, &ids).await?;
        Ok(found.into_iter().collect())
    }
}

impl FromIterator<PromptRecord> for Prompts {
    fn from_iter<T: IntoIterator<Item = PromptRecord>>(records: T) -> Self {
        let known: HashMap<PromptId, PromptRecord> =
            records.into_iter().map(|record| (record.id, record)).collect();
        let default = known.values().find(|prompt| prompt.is_default).map(|prompt| prompt.id);
        Self { known, default }
    }
}

/// The part of a body that is about it.
pub(super) struct SentPrompt {
    pub text: Sent<String>,
    pub id: Sent<Uuid>,
    /// A variable whose value is `None` goes back to the prompt's default.
    pub variables: Sent<BTreeMap<String, Option<String>>>,
}

/// The part of the settings that is about it.
pub(super) struct AgentPrompt {
    /// Empty when there is an `id`.
    pub text: String,
    pub id: Option<PromptId>,
    pub variables: BTreeMap<String, String>,
}

impl SentPrompt {
    /// `current` with what was sent put over it. Of text and prompt, the one that is set takes the other's place; where
    /// neither is left, the tenant's default prompt stands, or our own text when there is none.
    pub(super) fn merged_into(
        self,
        current: Option<&AgentSettings>,
        prompts: &Prompts,
        mistakes: &mut Mistakes,
    ) -> AgentPrompt {
        let Self { text, id, variables } = self;
        let kept = current.filter(|current| match current.system_prompt_id {
            Some(_) => id.is_none(),
            None => text.is_none(),
        });
        match (text, id, kept) {
            (Some(Some(text)), Some(Some(_)), _) => {
                mistakes.add("system_prompt_id", "cannot be sent together with system_prompt");
                AgentPrompt { text, id: None, variables: BTreeMap::new() }
            }
            (Some(Some(text)), ..) => own(text, variables, mistakes),
            (_, Some(Some(id)), _) => named(PromptId(id), variables, current, prompts, mistakes),
            (.., Some(kept)) => match kept.system_prompt_id {
                None => own(kept.system_prompt.clone(), variables, mistakes),
                Some(id) if variables.is_none() => AgentPrompt {
                    text: String::new(),
                    id: Some(id),
                    variables: kept.prompt_variables.clone(),
                },
                Some(id) => named(id, variables, current, prompts, mistakes),
            },
            (.., None) => match prompts.default {
                Some(id) => named(id, variables, current, prompts, mistakes),
                None => own(DEFAULT_SYSTEM_PROMPT.to_owned(), variables, mistakes),
            },
        }
    }
}

fn own(
    text: String,
    variables: Sent<BTreeMap<String, Option<String>>>,
    mistakes: &mut Mistakes,
) -> AgentPrompt {
    if variables.flatten().is_some_and(|sent| sent.values().any(Option::is_some)) {
        mistakes.add(prompt_variables::FIELD, "are for an agent with a system_prompt_id");
    }
    AgentPrompt { text, id: None, variables: BTreeMap::new() }
}

fn named(
    id: PromptId,
    sent: Sent<BTreeMap<String, Option<String>>>,
    current: Option<&AgentSettings>,
    prompts: &Prompts,
    mistakes: &mut Mistakes,
) -> AgentPrompt {
    let Some(prompt) = prompts.known.get(&id).map(|prompt| &prompt.settings) else {
        mistakes.add("system_prompt_id", "there is no such prompt");
        return AgentPrompt { text: String::new(), id: Some(id), variables: BTreeMap::new() };
    };
    let mut variables = match (&sent, current) {
        (Some(None), _) | (_, None) => BTreeMap::new(),
        (_, Some(current)) => current.prompt_variables.clone(),
    };
    // Gone are those that were set for another prompt, or for this one before it changed.
    variables.retain(|name, _| prompt.variables.contains_key(name));
    for (name, value) in sent.flatten().unwrap_or_default() {
        match value {
            Some(value) => variables.insert(name, value),
            None => variables.remove(&name),
        };
    }
    prompt_variables::check(&variables, prompt, mistakes);
    AgentPrompt { text: String::new(), id: Some(id), variables }
}
