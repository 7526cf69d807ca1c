//! System prompts, from memory while they do not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::Prompt;
use events::prompt::PromptVersion;
use events::{PromptId, TenantId};
use nats::Failure;
use projections::Database;
use projections::configuration::prompts::{self, PromptVersionRecord};
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::away;

const CACHED_PROMPTS: usize = 1_000;

/// One version of a prompt, ready to be rendered.
pub(crate) struct LoadedPrompt {
    pub version: PromptVersion,
    prompt: Prompt,
}

impl LoadedPrompt {
    /// What the model is told. A value of the session stands before one of the agent, and that before the default.
    pub fn render(&self, agent: &BTreeMap<String, String>, session: &BTreeMap<String, String>) -> String {
        self.prompt.render(&[session, agent])
    }
}

/// A prompt, and which change of configuration it was looked up after.
type Known = (u64, Arc<LoadedPrompt>);

/// Looks prompts up. Forgets all it knows whenever any configuration changes.
#[derive(Clone)]
pub(crate) struct Prompts {
    database: Database,
    cache: Arc<Cache<(TenantId, PromptId), Known>>,
    changes: watch::Receiver<u64>,
}

impl Prompts {
    pub(crate) fn new(database: Database, changes: watch::Receiver<u64>) -> Self {
        Self { database, cache: Arc::new(Cache::new(CACHED_PROMPTS)), changes }
    }

    /// The prompt in its newest version, or in `version`. Also one that has been deleted: an agent may have named it at
    /// the moment when it was.
    pub(crate) async fn get(
        &self,
        tenant_id: TenantId,
        id: PromptId,
        version: Option<u32>,
    ) -> Result<Arc<LoadedPrompt>, Failure> {
        let change = *self.changes.borrow();
        let key = (tenant_id, id);
        if let Some((seen, known)) = self.cache.get(&key)
            && version.map_or(seen == change, |version| version == known.version.version)
        {
            return Ok(known);
        }
        let found = prompts::version(&self.database, tenant_id, id, version).await.map_err(away)?;
        // An agent can only name one that is in the tables, and they lose none: they will be back.
        let missing = || Failure::Retry { after: None, reason: format!("prompt {id} is not in the tables") };
        let loaded = Arc::new(loaded(id, &found.ok_or_else(missing)?)?);
        if version.is_none() {
            self.cache.insert(key, (change, loaded.clone()));
        }
        Ok(loaded)
    }
}

fn loaded(id: PromptId, record: &PromptVersionRecord) -> Result<LoadedPrompt, Failure> {
    let version = record.version;
    let prompt = Prompt::of(&record.settings).map_err(|mistakes| {
        let told: Vec<String> =
            mistakes.into_iter().map(|mistake| format!("{} {}", mistake.field, mistake.message)).collect();
        let reason = format!("prompt {id} in version {version} cannot be read: {}", told.join("; "));
        Failure::Fatal { reason }
    })?;
    Ok(LoadedPrompt { version: PromptVersion { id, version }, prompt })
}
