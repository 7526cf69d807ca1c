//! The engines that hear and speak for an agent, among its fields: merging what a client sends, and its checks.

use events::agent::SpeechSettings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::settings::is_language;
use crate::routes::merge::{Sent, or, sent};
use crate::validation::Mistakes;

/// Engines there are names for. Whether one can be had here is known when a call needs it.
const PROVIDERS: [&str; 6] = ["local", "simulated", "openai", "deepgram", "elevenlabs", "azure"];
const DEFAULT_PROVIDER: &str = "local";
const MAX_NAME_CHARS: usize = 200;

/// An engine for speech. `null` in the place of a field gives the engine's default back.
// `Serialize` is for utoipa, which writes the defaults of the fields around it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "provider": "local" }))]
pub(super) struct SpeechPatch {
    /// `local` (the default, on this machine), `simulated`, `openai` (any compatible server), `deepgram`, `elevenlabs`
    /// or `azure`.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    provider: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 200)]
    model: Sent<String>,
    /// Of `tts` alone; `null`: the agent's `voice_id`, else the engine's own.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 200)]
    voice: Sent<String>,
    /// BCP 47; `null`: the agent's.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 35)]
    language: Sent<String>,
}

impl SpeechPatch {
    /// `current` with what was sent put over it.
    pub(super) fn merged_into(self, current: Option<&SpeechSettings>) -> SpeechSettings {
        let default = SpeechSettings {
            provider: DEFAULT_PROVIDER.to_owned(),
            model: None,
            voice: None,
            language: None,
        };
        let base = current.unwrap_or(&default);
        SpeechSettings {
            provider: or(self.provider, &base.provider, || DEFAULT_PROVIDER.to_owned()),
            model: self.model.unwrap_or_else(|| base.model.clone()),
            voice: self.voice.unwrap_or_else(|| base.voice.clone()),
            language: self.language.unwrap_or_else(|| base.language.clone()),
        }
    }
}

/// An engine as the agent has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SpeechView {
    #[schema(example = "local")]
    provider: String,
    /// `null`: the engine's default.
    model: Option<String>,
    /// `null`: the agent's `voice_id`, else the engine's own.
    voice: Option<String>,
    /// `null`: the agent's.
    language: Option<String>,
}

impl From<SpeechSettings> for SpeechView {
    fn from(settings: SpeechSettings) -> Self {
        let SpeechSettings { provider, model, voice, language } = settings;
        Self { provider, model, voice, language }
    }
}

/// What was sent of an agent's `stt` or `tts`, put over what is.
pub(super) fn merged(sent: Sent<SpeechPatch>, current: Option<&SpeechSettings>) -> Option<SpeechSettings> {
    match sent {
        None => current.cloned(),
        Some(None) => None,
        Some(Some(patch)) => Some(patch.merged_into(current)),
    }
}

pub(super) fn check(field: &str, settings: Option<&SpeechSettings>, mistakes: &mut Mistakes) {
    let Some(settings) = settings else { return };
    if !PROVIDERS.contains(&settings.provider.as_str()) {
        mistakes.add(&format!("{field}.provider"), format_args!("must be one of {}", PROVIDERS.join(", ")));
    }
    for (name, value) in [("model", &settings.model), ("voice", &settings.voice)] {
        let value = value.as_deref().unwrap_or_default();
        mistakes.check_text(&format!("{field}.{name}"), value, MAX_NAME_CHARS);
    }
    if settings.language.as_deref().is_some_and(|language| !is_language(language)) {
        mistakes.add(&format!("{field}.language"), "must be a BCP 47 tag such as en-US");
    }
}
