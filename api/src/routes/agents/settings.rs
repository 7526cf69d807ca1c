//! From what a client sends to an agent's settings: defaults, merging, and every check.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use domain::tools::mcp;
use domain::{tools, transfer};
use events::PromptId;
use events::agent::AgentSettings;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::calendar::{self, CalendarPatch};
use super::limits::{self, LimitsPatch};
use super::owned::Owned;
use super::prompt::{AgentPrompt, SentPrompt};
use super::speech::{self, SpeechPatch};
use crate::config::{AbsentProvider, LanguageModels, Provider};
use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::validation::Mistakes;

/// An agent's fields. JSON merge patch (RFC 7396): what is left out stays as it is, `null` goes back to the default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({
    "name": "Billing desk", "system_prompt": "You are the billing assistant of TechCorp.",
    "primary_provider": "vendor_a", "fallback_provider": "vendor_b", "tools_enabled": ["invoice_lookup"]
}))]
pub(crate) struct AgentPatch {
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 200)]
    name: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Sent<String>,
    /// What the model is told it is, as it stands here. Where there is no `system_prompt_id` either, the tenant's default
    /// prompt is taken, or a text of ours when there is none.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 32000)]
    system_prompt: Sent<String>,
    /// The prompt whose newest version the model is told, in the place of `system_prompt`: setting one clears the other.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Uuid>)]
    system_prompt_id: Sent<Uuid>,
    /// Values for variables of that prompt, by name, in the place of its defaults: each at most 2000 characters, all
    /// together at most 16 KiB. A patch merges into it.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    prompt_variables: Sent<BTreeMap<String, Option<String>>>,
    /// The vendor asked first. Where none is named, the model's name picks it.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    primary_provider: Sent<String>,
    /// Short for `fallbacks` with one entry.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    fallback_provider: Sent<String>,
    /// Vendors asked in this order when the one before failed.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Vec<String>>)]
    fallbacks: Sent<Vec<String>>,
    /// `null`: the vendor's default model.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 200)]
    llm_model: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 200)]
    voice_id: Sent<String>,
    /// BCP 47; `en-US` by default.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 35)]
    language: Sent<String>,
    /// Names of tools, built in or the tenant's own functions (`GET /api/tools`), and of its MCP servers' tools, one
    /// (`crm__search`) or all of a server (`crm__*`). Also accepted as `enabled_tools`.
    #[serde(deserialize_with = "sent", alias = "enabled_tools")]
    #[schema(value_type = Option<Vec<String>>)]
    tools_enabled: Sent<Vec<String>>,
    /// What the agent says first; `null`: it waits for the customer.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    greeting: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<bool>)]
    is_active: Sent<bool>,
    /// The tenant's own; at most 16 KiB. A patch merges into it.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Object>)]
    metadata: Sent<Map<String, Value>>,
    /// For `check_availability` and `book_appointment`; `null`: the default. A patch merges into it.
    #[serde(deserialize_with = "calendar::sent_object")]
    #[schema(value_type = Option<CalendarPatch>)]
    calendar: Sent<CalendarPatch>,
    /// For `transfer_call`: the numbers that callers may be transferred to, in E.164; the model can call no others. At
    /// most 10; a patch replaces them all.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["+493012345678"]))]
    transfer_numbers: Sent<Vec<String>>,
    /// When a vendor has begun no answer after so many milliseconds, a second request starts beside the first, and the
    /// first to answer is heard. Costs money for speed; `null`: never.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 100, maximum = 30000)]
    hedge_after_ms: Sent<u32>,
    /// What the agent may have under way; `null`: the tenant's limits alone. A patch merges into it.
    #[serde(deserialize_with = "calendar::sent_object")]
    #[schema(value_type = Option<LimitsPatch>)]
    limits: Sent<LimitsPatch>,
    /// What hears the callers; `null`: the local engine. A patch merges into it.
    #[serde(deserialize_with = "calendar::sent_object")]
    #[schema(value_type = Option<SpeechPatch>)]
    stt: Sent<SpeechPatch>,
    /// What speaks to the callers; `null`: the local engine. A patch merges into it.
    #[serde(deserialize_with = "calendar::sent_object")]
    #[schema(value_type = Option<SpeechPatch>)]
    tts: Sent<SpeechPatch>,
}

/// An agent's fields, `name` among them.
pub(crate) struct AgentBody;

impl PartialSchema for AgentBody {
    fn schema() -> RefOr<Schema> {
        let mut schema = AgentPatch::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.push("name".to_owned());
            object.description = Some("An agent's fields; only `name` is required.".to_owned());
        }
        schema
    }
}

impl ToSchema for AgentBody {}

const DEFAULT_LANGUAGE: &str = "en-US";
const MAX_FALLBACKS: usize = 8;
const MAX_METADATA_BYTES: usize = 16 * 1_024;
const HEDGE_AFTER_MS: RangeInclusive<u32> = 100..=30_000;

impl AgentPatch {
    /// The settings of a new agent, or of one that is replaced.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(crate) fn into_settings(
        self,
        models: &LanguageModels,
        own: &Owned,
    ) -> Result<AgentSettings, Problem> {
        self.merged_into(None, models, own)
    }

    /// The prompt that it names.
    pub(super) fn names_prompt(&self) -> Option<PromptId> {
        self.system_prompt_id.flatten().map(PromptId)
    }

    /// Names of tools that were sent and, if anything, are functions'.
    pub(crate) fn names_of_functions(&self) -> Vec<String> {
        let named = self.tools_enabled.iter().flatten().flatten();
        named.filter(|name| tools::is_function_name(name)).cloned().collect()
    }

    /// Names that were sent of MCP servers' tools, and of the servers.
    pub(super) fn names_of_servers_tools(&self) -> Vec<(String, String)> {
        let named = self.tools_enabled.iter().flatten().flatten();
        named.filter_map(|name| Some((name.clone(), mcp::split(name)?.0.to_owned()))).collect()
    }

    /// `current` with what was sent put over it. A tool that it names already may be gone by now; one
    /// that it names newly must be there.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(crate) fn merged_into(
        self,
        current: Option<&AgentSettings>,
        models: &LanguageModels,
        own: &Owned,
    ) -> Result<AgentSettings, Problem> {
        let mut mistakes = Mistakes::default();
        let fresh = defaults(&models.providers);
        let base = current.unwrap_or(&fresh);
        let vendors = Vendors::new(models, current, &mut mistakes);
        let (primary_provider, llm_model) = vendors.primary(&self.primary_provider, self.llm_model);
        let fallbacks_sent = match (self.fallbacks, self.fallback_provider) {
            (Some(_), Some(_)) => {
                mistakes.add("fallback_provider", "cannot be sent together with fallbacks");
                None
            }
            (Some(fallbacks), None) => Some(fallbacks.unwrap_or_default()),
            (None, Some(fallback)) => Some(fallback.into_iter().collect()),
            (None, None) => None,
        };
        let vendors = Vendors::new(models, current, &mut mistakes);
        let fallbacks = vendors.fallbacks(fallbacks_sent, &base.fallbacks, &primary_provider);
        let sent = SentPrompt {
            text: self.system_prompt,
            id: self.system_prompt_id,
            variables: self.prompt_variables,
        };
        let AgentPrompt { text, id, variables } = sent.merged_into(current, &own.prompts, &mut mistakes);
        let settings = AgentSettings {
            name: or(self.name, &base.name, String::new),
            description: or(self.description, &base.description, String::new),
            system_prompt: text,
            system_prompt_id: id,
            prompt_variables: variables,
            primary_provider,
            fallbacks,
            llm_model,
            voice_id: self.voice_id.unwrap_or_else(|| base.voice_id.clone()),
            language: or(self.language, &base.language, || DEFAULT_LANGUAGE.to_owned()),
            tools_enabled: or(self.tools_enabled, &base.tools_enabled, Vec::new),
            greeting: self
                .greeting
                .unwrap_or_else(|| base.greeting.clone())
                .filter(|greeting| !greeting.is_empty()),
            is_active: or(self.is_active, &base.is_active, || true),
            metadata: match self.metadata {
                None => base.metadata.clone(),
                Some(None) => Map::new(),
                Some(Some(sent)) if current.is_some() => merged(&base.metadata, sent),
                Some(Some(sent)) => sent,
            },
            calendar: match self.calendar {
                None => base.calendar.clone(),
                Some(None) => None,
                Some(Some(patch)) => Some(patch.merged_into(base.calendar.as_ref())),
            },
            transfer_numbers: or(self.transfer_numbers, &base.transfer_numbers, Vec::new),
            hedge_after_ms: self.hedge_after_ms.unwrap_or(base.hedge_after_ms),
            limits: limits::merged(self.limits, base.limits.as_ref()),
            stt: speech::merged(self.stt, base.stt.as_ref()),
            tts: speech::merged(self.tts, base.tts.as_ref()),
        };
        check(&settings, &mut mistakes);
        let is_tool = |name: &String| {
            tools::find(name).is_some() || own.tools.contains(name) || base.tools_enabled.contains(name)
        };
        check_tools(&settings.tools_enabled, is_tool, &mut mistakes);
        mistakes.into_result()?;
        Ok(settings)
    }
}

fn defaults(providers: &[Provider]) -> AgentSettings {
    AgentSettings {
        name: String::new(),
        description: String::new(),
        system_prompt: String::new(),
        system_prompt_id: None,
        prompt_variables: BTreeMap::new(),
        primary_provider: providers.first().map(|provider| provider.name.clone()).unwrap_or_default(),
        fallbacks: Vec::new(),
        llm_model: None,
        voice_id: None,
        language: DEFAULT_LANGUAGE.to_owned(),
        tools_enabled: Vec::new(),
        greeting: None,
        is_active: true,
        metadata: Map::new(),
        calendar: None,
        transfer_numbers: Vec::new(),
        hedge_after_ms: None,
        limits: None,
        stt: None,
        tts: None,
    }
}

/// RFC 7396 on objects: `null` removes.
fn merged(current: &Map<String, Value>, patch: Map<String, Value>) -> Map<String, Value> {
    let mut result = current.clone();
    for (name, value) in patch {
        match value {
            Value::Null => {
                result.remove(&name);
            }
            Value::Object(patch) => {
                let inner = result.get(&name).and_then(Value::as_object).cloned().unwrap_or_default();
                result.insert(name, Value::Object(merged(&inner, patch)));
            }
            value => {
                result.insert(name, value);
            }
        }
    }
    result
}

/// Which vendors are asked.
struct Vendors<'a> {
    providers: &'a [Provider],
    absent: &'a [AbsentProvider],
    current: Option<&'a AgentSettings>,
    mistakes: &'a mut Mistakes,
}

impl<'a> Vendors<'a> {
    fn new(
        models: &'a LanguageModels,
        current: Option<&'a AgentSettings>,
        mistakes: &'a mut Mistakes,
    ) -> Self {
        Self { providers: &models.providers, absent: &models.absent, current, mistakes }
    }

    fn find(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    fn unknown(&mut self, field: &str, name: &str) {
        if let Some(absent) = self.absent.iter().find(|absent| absent.name == name) {
            self.missing(field, absent);
            return;
        }
        let names: Vec<&str> = self.providers.iter().map(|provider| provider.name.as_str()).collect();
        self.mistakes.add(field, format_args!("{name:?} is not configured; there are: {}", names.join(", ")));
    }

    fn missing(&mut self, field: &str, absent: &AbsentProvider) {
        let AbsentProvider { name, variable, .. } = absent;
        self.mistakes.add(field, format_args!("{name} is not configured here: {variable} is not set"));
    }

    /// A vendor without a default model has to be told one.
    fn check_default_model(&mut self, field: &str, name: &str) {
        let Some(provider) = self.find(name) else { return };
        if provider.default_model.is_none() {
            let variable = provider.default_model_variable.clone().unwrap_or_default();
            self.mistakes.add(field, format_args!("{name} has no default model here: {variable} is not set"));
        }
    }

    /// The first vendor and its model; where there is no model, the vendor has a default one.
    fn primary(mut self, named: &Sent<String>, model: Sent<String>) -> (String, Option<String>) {
        let (provider, model) = self.primary_unchecked(named, model);
        if model.is_none() {
            self.check_default_model("llm_model", &provider);
        }
        (provider, model)
    }

    /// The first vendor and its model. A model that was set before and does not fit a newly named vendor is dropped; one
    /// that is sent without a vendor and does not fit the present one picks another.
    fn primary_unchecked(&mut self, named: &Sent<String>, model: Sent<String>) -> (String, Option<String>) {
        let default = self.providers.first().map(|provider| provider.name.clone()).unwrap_or_default();
        let present =
            self.current.filter(|_| *named != Some(None)).map(|current| current.primary_provider.clone());
        let model_was_sent = matches!(model, Some(Some(_)));
        let model = model.unwrap_or_else(|| self.current.and_then(|current| current.llm_model.clone()));
        if let Some(Some(named)) = named {
            let Some(provider) = self.find(named) else {
                self.unknown("primary_provider", named);
                return (named.clone(), model);
            };
            return match model {
                Some(model) if !provider.has_model(&model) && model_was_sent => {
                    self.mistakes.add("llm_model", format_args!("{named} has no model {model:?}"));
                    (named.clone(), Some(model))
                }
                model => {
                    let model = model.filter(|model| provider.has_model(model));
                    (named.clone(), model)
                }
            };
        }
        let Some(model) = model else { return (present.unwrap_or(default), None) };
        let fits = |name: &String| self.find(name).is_some_and(|provider| provider.has_model(&model));
        if let Some(present) = present.filter(fits) {
            return (present, Some(model));
        }
        match self.providers.iter().find(|provider| provider.is_named_by(&model)) {
            Some(provider) => (provider.name.clone(), Some(model)),
            None => {
                match self.absent.iter().find(|absent| absent.is_named_by(&model)) {
                    Some(absent) => self.missing("llm_model", absent),
                    None => self
                        .mistakes
                        .add("llm_model", format_args!("no configured vendor has a model {model:?}")),
                }
                (default, Some(model))
            }
        }
    }

    /// Those that were sent must be right; those that stay lose the one that has become the first vendor.
    fn fallbacks(mut self, sent: Option<Vec<String>>, current: &[String], primary: &str) -> Vec<String> {
        let Some(sent) = sent else {
            return current.iter().filter(|name| *name != primary).cloned().collect();
        };
        if sent.len() > MAX_FALLBACKS {
            self.mistakes.add("fallbacks", format_args!("must have at most {MAX_FALLBACKS} entries"));
        }
        for (index, name) in sent.iter().enumerate() {
            let field = format!("fallbacks[{index}]");
            if self.find(name).is_none() {
                self.unknown(&field, name);
            } else if name == primary {
                self.mistakes.add(&field, "is the primary provider");
            } else if sent[..index].contains(name) {
                self.mistakes.add(&field, "is named twice");
            } else {
                self.check_default_model(&field, name);
            }
        }
        sent
    }
}

fn check(settings: &AgentSettings, mistakes: &mut Mistakes) {
    mistakes.check_required("name", &settings.name, 200);
    mistakes.check_text("description", &settings.description, 2_000);
    mistakes.check_text("system_prompt", &settings.system_prompt, 32_000);
    mistakes.check_text("greeting", settings.greeting.as_deref().unwrap_or_default(), 2_000);
    mistakes.check_text("voice_id", settings.voice_id.as_deref().unwrap_or_default(), 200);
    mistakes.check_text("llm_model", settings.llm_model.as_deref().unwrap_or_default(), 200);
    if !is_language(&settings.language) {
        mistakes.add("language", "must be a BCP 47 tag such as en-US");
    }
    mistakes.check_object("metadata", &settings.metadata, MAX_METADATA_BYTES);
    calendar::check(settings.calendar.as_ref(), mistakes);
    check_transfer_numbers(&settings.transfer_numbers, mistakes);
    if settings.hedge_after_ms.is_some_and(|after| !HEDGE_AFTER_MS.contains(&after)) {
        let (least, most) = HEDGE_AFTER_MS.into_inner();
        mistakes.add("hedge_after_ms", format_args!("must be {least} to {most}, or null"));
    }
    limits::check(settings.limits.as_ref(), mistakes);
    speech::check("stt", settings.stt.as_ref(), mistakes);
    speech::check("tts", settings.tts.as_ref(), mistakes);
}

fn check_tools(enabled: &[String], is_tool: impl Fn(&String) -> bool, mistakes: &mut Mistakes) {
    for (index, tool) in enabled.iter().enumerate() {
        let field = format!("tools_enabled[{index}]");
        if !is_tool(tool) {
            let names: Vec<&str> = tools::built_in().iter().map(|tool| tool.name).collect();
            mistakes.add(
                &field,
                format_args!(
                    "is no tool; there are: {}, your functions, and the tools of your MCP servers",
                    names.join(", ")
                ),
            );
        } else if enabled[..index].contains(tool) {
            mistakes.add(&field, "is named twice");
        }
    }
}

fn check_transfer_numbers(numbers: &[String], mistakes: &mut Mistakes) {
    if numbers.len() > transfer::MAX_NUMBERS {
        let most = transfer::MAX_NUMBERS;
        return mistakes.add("transfer_numbers", format_args!("must have at most {most} entries"));
    }
    for (index, number) in numbers.iter().enumerate() {
        let field = format!("transfer_numbers[{index}]");
        if !transfer::is_e164(number) {
            mistakes.add(&field, "must be a number in E.164, such as +493012345678");
        } else if numbers[..index].contains(number) {
            mistakes.add(&field, "is named twice");
        }
    }
}

/// Shaped like BCP 47; whether anybody speaks it is not checked.
pub(super) fn is_language(tag: &str) -> bool {
    let subtag =
        |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let primary = tag.split('-').next().unwrap_or_default();
    tag.len() <= 35
        && primary.len() >= 2
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && tag.split('-').all(subtag)
}
