//! System prompts: what agents tell their models, with variables.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PromptId;

/// Everything a tenant sets on a prompt; one version of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PromptSettings {
    pub name: String,
    pub description: String,
    /// The tenant's own; `None`: none.
    pub category: Option<String>,
    /// Text with variables, `{{name}}`; `domain::prompt` says how it is read.
    pub content: String,
    /// Every variable that the content may name, with the value it has where nobody gives another.
    pub variables: BTreeMap<String, String>,
}

/// A prompt was made; its version is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PromptCreated {
    pub settings: PromptSettings,
}

/// A prompt's settings were replaced. The versions before stay readable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PromptUpdated {
    /// Counts up from 1 with every change; turns record the version they used.
    pub version: u32,
    pub settings: PromptSettings,
}

/// A prompt was deleted. Its versions stay readable, for the turns that used them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PromptDeleted {}

/// The tenant chose the prompt that new agents get when they name none. All choices of a tenant are one history, so the
/// last one is the same for everybody who reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DefaultPromptChosen {
    /// `None`: no prompt is the default any more.
    pub prompt_id: Option<PromptId>,
}

/// The prompt that a turn used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptVersion {
    pub id: PromptId,
    pub version: u32,
}
