use chrono::DateTime;
use domain::Windows;
use events::agent::AgentSettings;
use events::prompt::PromptSettings;
use events::{CorrelationId, PromptId};
use projections::configuration::prompts::PromptRecord;
use serde_json::{Value, json};
use uuid::Uuid;

use super::owned::Owned;
use super::prompt::Prompts;
use super::settings::AgentPatch;
use crate::config::{LanguageModels, Provider};

const BILLING: Uuid = Uuid::from_u128(1);
const GREETING: Uuid = Uuid::from_u128(2);

fn record(id: Uuid, variables: &[&str], is_default: bool) -> PromptRecord {
    let settings = PromptSettings {
        name: "Prompt".to_owned(),
        description: String::new(),
        category: None,
        content: "Hello".to_owned(),
        variables: variables.iter().map(|name| ((*name).to_owned(), "default".to_owned())).collect(),
    };
    let at = DateTime::UNIX_EPOCH;
    PromptRecord { id: PromptId(id), version: 1, settings, is_default, created_at: at, updated_at: at }
}

/// Both prompts; `default` is the tenant's.
fn prompts(default: Option<Uuid>) -> Prompts {
    let is_default = |id| default == Some(id);
    [
        record(BILLING, &["company", "tone"], is_default(BILLING)),
        record(GREETING, &["company", "name"], is_default(GREETING)),
    ]
    .into_iter()
    .collect()
}

fn patched(
    current: Option<&AgentSettings>,
    mut body: Value,
    prompts: &Prompts,
) -> Result<AgentSettings, Vec<String>> {
    let provider = Provider {
        name: "vendor_a".to_owned(),
        default_model: Some("vendor-a-1".to_owned()),
        default_model_variable: None,
        model_prefixes: vec![],
        takes_any_model: false,
    };
    let models = LanguageModels { providers: vec![provider], absent: vec![], windows: Windows::default() };
    if current.is_none() {
        body["name"] = json!("Desk");
    }
    let patch: AgentPatch = serde_json::from_value(body).unwrap();
    let own = Owned { prompts: prompts.clone(), ..Owned::default() };
    patch.merged_into(current, &models, &own).map_err(|problem| {
        let body = serde_json::to_value(problem.body(&CorrelationId::new())).unwrap();
        let errors = body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    })
}

fn new(body: Value) -> Result<AgentSettings, Vec<String>> {
    patched(None, body, &prompts(None))
}

/// The prompt, its values, and whether there is a text.
fn told(settings: &AgentSettings) -> (Option<Uuid>, Value, bool) {
    let id = settings.system_prompt_id.map(|id| id.0);
    (id, json!(settings.prompt_variables), !settings.system_prompt.is_empty())
}

#[test]
fn an_agent_that_names_nothing_gets_the_tenants_default_or_a_text_of_ours() {
    assert_eq!(told(&new(json!({})).unwrap()), (None, json!({}), true));
    let with_default = prompts(Some(GREETING));
    for body in [json!({}), json!({ "system_prompt": null, "system_prompt_id": null })] {
        let settings = patched(None, body, &with_default).unwrap();
        assert_eq!(told(&settings), (Some(GREETING), json!({}), false));
    }
    let named = patched(None, json!({ "system_prompt_id": BILLING }), &with_default).unwrap();
    assert_eq!(told(&named), (Some(BILLING), json!({}), false));
    let text = patched(None, json!({ "system_prompt": "" }), &with_default).unwrap();
    assert_eq!(told(&text), (None, json!({}), false));
}

#[test]
fn a_text_and_a_prompt_exclude_each_other() {
    let both = json!({ "system_prompt": "You are", "system_prompt_id": BILLING });
    assert_eq!(new(both).unwrap_err(), ["system_prompt_id"]);
    let one = new(json!({ "system_prompt": null, "system_prompt_id": BILLING })).unwrap();
    let text = patched(Some(&one), json!({ "system_prompt": "You are" }), &prompts(None)).unwrap();
    assert_eq!(told(&text), (None, json!({}), true));
    let back = patched(Some(&text), json!({ "system_prompt_id": BILLING }), &prompts(None)).unwrap();
    assert_eq!(back, one);
}

#[test]
fn an_unknown_prompt_and_an_unknown_variable_are_named() {
    assert_eq!(new(json!({ "system_prompt_id": Uuid::from_u128(9) })).unwrap_err(), ["system_prompt_id"]);
    let body = json!({ "system_prompt_id": BILLING, "prompt_variables": { "tone": "dry", "name": "Ada" } });
    assert_eq!(new(body).unwrap_err(), ["prompt_variables.name"]);
    let without = json!({ "prompt_variables": { "tone": "dry" } });
    assert_eq!(new(without.clone()).unwrap_err(), ["prompt_variables"]);
    assert!(new(json!({ "prompt_variables": null })).is_ok());
    // The default is a prompt like any other.
    let settings = patched(None, without, &prompts(Some(BILLING))).unwrap();
    assert_eq!(told(&settings), (Some(BILLING), json!({ "tone": "dry" }), false));
}

#[test]
fn values_have_limits() {
    let with = |value: String| {
        new(json!({ "system_prompt_id": BILLING, "prompt_variables": { "tone": value } })).map(|_| ())
    };
    assert_eq!(with("ü".repeat(2_000)), Ok(()));
    assert_eq!(with("ü".repeat(2_001)).unwrap_err(), ["prompt_variables.tone"]);
    assert_eq!(with("a\0b".to_owned()).unwrap_err(), ["prompt_variables.tone"]);
}

#[test]
fn a_patch_merges_values_and_drops_those_of_another_prompt() {
    let body = json!({ "system_prompt_id": BILLING, "prompt_variables": { "company": "A", "tone": "dry" } });
    let current = new(body).unwrap();
    let merged = patched(
        Some(&current),
        json!({ "prompt_variables": { "tone": null, "company": "B" } }),
        &prompts(None),
    );
    assert_eq!(told(&merged.unwrap()), (Some(BILLING), json!({ "company": "B" }), false));
    let cleared = patched(Some(&current), json!({ "prompt_variables": null }), &prompts(None)).unwrap();
    assert_eq!(told(&cleared), (Some(BILLING), json!({}), false));
    let moved = patched(Some(&current), json!({ "system_prompt_id": GREETING }), &prompts(None)).unwrap();
    assert_eq!(told(&moved), (Some(GREETING), json!({ "company": "A" }), false));
}

#[test]
fn a_patch_of_something_else_leaves_it_alone_whatever_became_of_the_prompt() {
    let body = json!({ "system_prompt_id": BILLING, "prompt_variables": { "tone": "dry" } });
    let current = new(body).unwrap();
    let gone = Prompts::default();
    let next = patched(Some(&current), json!({ "description": "d" }), &gone).unwrap();
    assert_eq!(told(&next), told(&current));
    // That it has no text is so already.
    assert_eq!(patched(Some(&current), json!({ "system_prompt": null }), &gone).unwrap(), current);
}

#[test]
fn null_goes_back_to_the_default() {
    let current = new(json!({ "system_prompt_id": BILLING })).unwrap();
    let reset = json!({ "system_prompt_id": null });
    assert_eq!(
        told(&patched(Some(&current), reset.clone(), &prompts(None)).unwrap()),
        (None, json!({}), true)
    );
    let next = patched(Some(&current), reset, &prompts(Some(GREETING))).unwrap();
    assert_eq!(told(&next), (Some(GREETING), json!({}), false));
    let text = new(json!({ "system_prompt": "You are" })).unwrap();
    let reset = json!({ "system_prompt": null });
    let next = patched(Some(&text), reset, &prompts(Some(GREETING))).unwrap();
    assert_eq!(told(&next), (Some(GREETING), json!({}), false));
}
