//! Agents: who talks to the customers, and how.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PromptId;

/// Everything a tenant sets on an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentSettings {
    pub name: String,
    pub description: String,
    /// Told to the model as it is; empty when there is a `system_prompt_id`.
    pub system_prompt: String,
    /// The vendor asked first, such as `vendor_a`.
    pub primary_provider: String,
    /// Vendors asked in this order when the one before failed.
    pub fallbacks: Vec<String>,
    /// The model asked of the primary vendor; `None`: the vendor's default.
    pub llm_model: Option<String>,
    pub voice_id: Option<String>,
    /// BCP 47, such as `en-US`.
    pub language: String,
    pub tools_enabled: Vec<String>,
    /// What the agent says first; `None`: it waits for the customer.
    pub greeting: Option<String>,
    pub is_active: bool,
    /// The tenant's own; an object.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// When appointments can be had; `None`: Monday to Friday, 09:00 to 17:00 UTC, in half hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<CalendarSettings>,
    /// Whom `transfer_call` may hand a caller over to, in E.164: these and nobody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfer_numbers: Vec<String>,
    /// The prompt whose present version the model is told; `None`: `system_prompt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt_id: Option<PromptId>,
    /// Values for variables of that prompt, in the place of its defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompt_variables: BTreeMap<String, String>,
    /// When a vendor has begun no answer after so many milliseconds (100 to 30,000), a second request starts beside the
    /// first; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after_ms: Option<u32>,
    /// What hears the callers; `None`: the local engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stt: Option<SpeechSettings>,
    /// What speaks to them; `None`: the local engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tts: Option<SpeechSettings>,
    /// Beside those of the tenant; `None`: those alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<AgentLimits>,
}

/// What one agent may have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentLimits {
    /// Of requests that make the agent answer. `None`: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// `None`: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_calls: Option<u32>,
}

/// An engine for speech.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpeechSettings {
    /// Such as `local`.
    pub provider: String,
    /// `None`: the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `None`: the agent's `voice_id`, else the engine's own. No matter for what hears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// BCP 47; `None`: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// An agent's calendar as its tenant wrote it; `domain::calendar` says what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalendarSettings {
    /// An IANA name, such as `Europe/Berlin`.
    pub time_zone: String,
    /// How long an appointment is: 5 to 240.
    pub slot_minutes: u32,
    /// By day (`mon` to `sun`), pairs of opening and closing time on the wall clock, `HH:MM`; a day without any is
    /// closed.
    pub opening_hours: BTreeMap<String, Vec<[String; 2]>>,
}

/// An agent was made; its version is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentCreated {
    pub settings: AgentSettings,
}

/// An agent's settings were replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentUpdated {
    /// Counts up from 1 with every change; turns record the version they used.
    pub version: u32,
    pub settings: AgentSettings,
}

/// An agent was deleted. Its sessions stay readable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDeleted {}
