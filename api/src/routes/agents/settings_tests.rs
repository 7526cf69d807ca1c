use domain::Windows;
use events::CorrelationId;
use events::agent::AgentSettings;
use serde_json::{Value, json};

use super::owned::Owned;
use super::settings::AgentPatch;
use crate::config::{AbsentProvider, LanguageModels, Provider};

fn models() -> LanguageModels {
    let built_in = |name: &str, prefix: &str| Provider {
        name: name.to_owned(),
        default_model: Some(format!("{prefix}1")),
        default_model_variable: None,
        model_prefixes: vec![prefix.to_owned()],
        takes_any_model: false,
    };
    let anthropic = Provider {
        name: "anthropic".to_owned(),
        default_model: None,
        default_model_variable: Some("ANTHROPIC_DEFAULT_MODEL".to_owned()),
        model_prefixes: vec!["claude-".to_owned()],
        takes_any_model: true,
    };
    let openai = AbsentProvider {
        name: "openai".to_owned(),
        variable: "OPENAI_API_KEY".to_owned(),
        model_prefixes: vec!["gpt-".to_owned()],
    };
    LanguageModels {
        providers: vec![built_in("vendor_a", "vendor-a-"), built_in("vendor_b", "vendor-b-"), anthropic],
        absent: vec![openai],
        windows: Windows::default(),
    }
}

/// What the tenant has of its own: a function.
fn own() -> Owned {
    Owned { tools: ["order_status".to_owned()].into(), ..Owned::default() }
}

fn settings(body: Value) -> Result<AgentSettings, Vec<String>> {
    patched(None, body)
}

fn patched(current: Option<&AgentSettings>, body: Value) -> Result<AgentSettings, Vec<String>> {
    let patch: AgentPatch = serde_json::from_value(body).unwrap();
    patch.merged_into(current, &models(), &own()).map_err(|problem| {
        let body = serde_json::to_value(problem.body(&CorrelationId::new())).unwrap();
        body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    })
}

#[test]
fn a_name_is_enough() {
    let settings = settings(json!({"name": "Desk"})).unwrap();
    assert_eq!(settings.primary_provider, "vendor_a");
    assert_eq!(settings.language, "en-US");
    assert!(settings.is_active && !settings.system_prompt.is_empty());
}

#[test]
fn the_models_name_picks_the_vendor_where_none_is_named() {
    let settings = settings(json!({"name": "Desk", "llm_model": "vendor-b-2"})).unwrap();
    assert_eq!(settings.primary_provider, "vendor_b");
}

#[test]
fn a_named_vendor_takes_any_model_of_its_own_naming() {
    let settings =
        settings(json!({"name": "Desk", "primary_provider": "anthropic", "llm_model": "tuned"})).unwrap();
    assert_eq!((&*settings.primary_provider, settings.llm_model.as_deref()), ("anthropic", Some("tuned")));
}

#[test]
fn a_missing_key_is_named() {
    for body in [
        json!({"name": "Desk", "primary_provider": "openai"}),
        json!({"name": "Desk", "llm_model": "gpt-5"}),
        json!({"name": "Desk", "fallback_provider": "openai"}),
    ] {
        let patch: AgentPatch = serde_json::from_value(body.clone()).unwrap();
        let problem = patch.merged_into(None, &models(), &own()).unwrap_err();
        let told = serde_json::to_string(&problem.body(&CorrelationId::new())).unwrap();
        assert!(told.contains("OPENAI_API_KEY is not set"), "{body}: {told}");
    }
}

#[test]
fn a_vendor_without_a_default_model_must_be_told_one() {
    assert_eq!(
        settings(json!({"name": "Desk", "primary_provider": "anthropic"})).unwrap_err(),
        ["llm_model"]
    );
    assert_eq!(settings(json!({"name": "Desk", "fallbacks": ["anthropic"]})).unwrap_err(), ["fallbacks[0]"]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let mistakes = settings(json!({
        "name": " ", "primary_provider": "nobody", "fallbacks": ["vendor_b", "vendor_b", "else"],
        "tools_enabled": ["rm_rf"], "language": "not a language"
    }))
    .unwrap_err();
    for field in ["name", "primary_provider", "fallbacks[1]", "fallbacks[2]", "tools_enabled[0]", "language"]
    {
        assert!(mistakes.contains(&field.to_owned()), "{field} in {mistakes:?}");
    }
}

#[test]
fn an_unknown_model_or_one_of_another_vendor_is_refused() {
    assert_eq!(settings(json!({"name": "Desk", "llm_model": "gpt-9"})).unwrap_err(), ["llm_model"]);
    let other = json!({"name": "Desk", "primary_provider": "vendor_a", "llm_model": "vendor-b-1"});
    assert_eq!(settings(other).unwrap_err(), ["llm_model"]);
}

#[test]
fn fallbacks_have_a_short_form_and_never_hold_the_primary() {
    let short = settings(json!({"name": "Desk", "fallback_provider": "vendor_b"})).unwrap();
    assert_eq!(short.fallbacks, ["vendor_b"]);
    let own = settings(json!({"name": "Desk", "fallback_provider": "vendor_a"}));
    assert_eq!(own.unwrap_err(), ["fallbacks[0]"]);
    let both = settings(json!({"name": "Desk", "fallback_provider": "vendor_b", "fallbacks": []}));
    assert_eq!(both.unwrap_err(), ["fallback_provider"]);
}

#[test]
fn enabled_tools_is_another_name_for_tools_enabled() {
    let settings = settings(json!({"name": "Desk", "enabled_tools": ["invoice_lookup"]})).unwrap();
    assert_eq!(settings.tools_enabled, ["invoice_lookup"]);
}

#[test]
fn a_patch_keeps_what_it_does_not_name_and_null_resets() {
    let current = settings(json!({
        "name": "Desk", "description": "d", "language": "de-DE", "metadata": {"a": {"b": 1, "c": 2}, "d": 3}
    }))
    .unwrap();
    let patch = json!({"language": null, "metadata": {"a": {"b": null}, "e": 4}});
    let next = patched(Some(&current), patch).unwrap();
    assert_eq!(
        (next.name.as_str(), next.description.as_str(), next.language.as_str()),
        ("Desk", "d", "en-US")
    );
    assert_eq!(Value::Object(next.metadata), json!({"a": {"c": 2}, "d": 3, "e": 4}));
    assert_eq!(patched(Some(&current), json!({"name": null})).unwrap_err(), ["name"]);
}

#[test]
fn a_patch_of_the_vendor_drops_what_no_longer_fits() {
    let current =
        settings(json!({"name": "Desk", "llm_model": "vendor-a-2", "fallbacks": ["vendor_b"]})).unwrap();
    let next = patched(Some(&current), json!({"primary_provider": "vendor_b"})).unwrap();
    assert_eq!((next.primary_provider.as_str(), next.llm_model), ("vendor_b", None));
    assert!(next.fallbacks.is_empty());
    let next = patched(Some(&current), json!({"llm_model": "vendor-b-1"})).unwrap();
    assert_eq!(next.primary_provider, "vendor_b");
}

#[test]
fn a_calendar_is_checked_and_every_mistake_in_it_named() {
    let wrong = json!({
        "name": "Desk", "calendar": {
            "time_zone": "CET/nowhere", "slot_minutes": 241,
            "opening_hours": { "mon": [["17:00", "09:00"]], "someday": [] }
        }
    });
    let fields = [
        "calendar.time_zone",
        "calendar.slot_minutes",
        "calendar.opening_hours.mon[0]",
        "calendar.opening_hours.someday",
    ];
    assert_eq!(settings(wrong).unwrap_err(), fields);
    assert!(serde_json::from_value::<AgentPatch>(json!({ "calendar": [] })).is_err());
    assert!(serde_json::from_value::<AgentPatch>(json!({ "calendar": { "timezone": "UTC" } })).is_err());
}

#[test]
fn a_patch_merges_into_the_calendar_and_null_gives_the_default_back() {
    let hours = json!({ "mon": [["09:00", "12:00"]], "tue": [["10:00", "11:00"]] });
    let current = settings(json!({ "name": "Desk", "calendar": { "opening_hours": hours } })).unwrap();
    let calendar = current.calendar.clone().unwrap();
    assert_eq!((calendar.time_zone.as_str(), calendar.slot_minutes), ("UTC", 30));

    let patch = json!({ "calendar": {
        "time_zone": "Europe/Berlin", "opening_hours": { "tue": null, "sat": [["10:00", "12:00"]] }
    } });
    let calendar = patched(Some(&current), patch).unwrap().calendar.unwrap();
    assert_eq!(calendar.time_zone, "Europe/Berlin");
    assert_eq!(calendar.opening_hours.keys().collect::<Vec<_>>(), ["mon", "sat"]);

    assert_eq!(patched(Some(&current), json!({ "name": "Desk 2" })).unwrap().calendar, current.calendar);
    assert_eq!(patched(Some(&current), json!({ "calendar": null })).unwrap().calendar, None);
}

#[test]
fn hedging_has_its_bounds_and_null_takes_it_back() {
    for after in [100, 30_000] {
        let settings = settings(json!({ "name": "Desk", "hedge_after_ms": after })).unwrap();
        assert_eq!(settings.hedge_after_ms, Some(after));
    }
    for after in [0, 99, 30_001] {
        let mistakes = settings(json!({ "name": "Desk", "hedge_after_ms": after })).unwrap_err();
        assert_eq!(mistakes, ["hedge_after_ms"]);
    }
    let current = settings(json!({ "name": "Desk", "hedge_after_ms": 500 })).unwrap();
    assert_eq!(patched(Some(&current), json!({ "name": "Desk 2" })).unwrap().hedge_after_ms, Some(500));
    assert_eq!(patched(Some(&current), json!({ "hedge_after_ms": null })).unwrap().hedge_after_ms, None);
}

#[test]
fn an_engine_for_speech_is_merged_into_and_null_takes_it_back() {
    let sent = json!({ "name": "Desk", "stt": { "model": "tiny" }, "tts": { "provider": "openai", "voice": "echo" } });
    let current = settings(sent).unwrap();
    let (stt, tts) = (current.stt.clone().unwrap(), current.tts.clone().unwrap());
    assert_eq!((stt.provider.as_str(), stt.model.as_deref()), ("local", Some("tiny")));
    assert_eq!((tts.provider.as_str(), tts.voice.as_deref()), ("openai", Some("echo")));
    let patch = json!({ "stt": null, "tts": { "voice": null, "language": "de-DE" } });
    let patched = patched(Some(&current), patch).unwrap();
    let tts = patched.tts.unwrap();
    assert_eq!((patched.stt, tts.provider.as_str(), tts.voice), (None, "openai", None));
    assert_eq!(tts.language.as_deref(), Some("de-DE"));
    let wrong = json!({ "name": "Desk", "stt": { "provider": "parrot", "language": "?" }, "tts": { "model": "m".repeat(201) } });
    assert_eq!(settings(wrong).unwrap_err(), ["stt.provider", "stt.language", "tts.model"]);
}

#[test]
fn the_tools_of_the_calendar_can_be_given() {
    let tools = json!(["check_availability", "book_appointment", "invoice_lookup"]);
    assert_eq!(settings(json!({ "name": "Desk", "tools_enabled": tools })).unwrap().tools_enabled.len(), 3);
}

#[test]
fn numbers_to_transfer_to_are_e164_each_once_and_few() {
    let numbers = |numbers: Value| settings(json!({ "name": "Desk", "transfer_numbers": numbers }));
    let good = json!(["+493012345678", "+15550100200"]);
    let current = numbers(good.clone()).unwrap();
    assert_eq!(json!(current.transfer_numbers), good);
    let wrong = json!(["+493012345678", "030 123", "+493012345678"]);
    assert_eq!(numbers(wrong).unwrap_err(), ["transfer_numbers[1]", "transfer_numbers[2]"]);
    let many: Vec<String> = (0..11).map(|number| format!("+4930123456{number:02}")).collect();
    assert_eq!(numbers(json!(many)).unwrap_err(), ["transfer_numbers"]);
    assert_eq!(numbers(json!(many[..10])).unwrap().transfer_numbers.len(), 10);

    assert_eq!(json!(patched(Some(&current), json!({ "name": "D" })).unwrap().transfer_numbers), good);
    let none = patched(Some(&current), json!({ "transfer_numbers": null })).unwrap();
    assert!(none.transfer_numbers.is_empty());
}

#[test]
fn the_tenants_functions_can_be_given_and_nobody_elses() {
    let both = json!({ "name": "Desk", "tools_enabled": ["order_status", "invoice_lookup"] });
    let current = settings(both).unwrap();
    assert_eq!(current.tools_enabled, ["order_status", "invoice_lookup"]);
    for unknown in ["order_state", "ORDER_STATUS", "crm__find", ""] {
        let named = json!({ "name": "Desk", "tools_enabled": [unknown] });
        assert_eq!(settings(named).unwrap_err(), ["tools_enabled[0]"], "{unknown}");
    }
    // It stays where it is when it is deleted; another agent does not get it any more.
    let patch = |body: Value| -> AgentPatch { serde_json::from_value(body).unwrap() };
    let none = Owned::default();
    let renamed = patch(json!({ "name": "Counter" })).merged_into(Some(&current), &models(), &none).unwrap();
    assert_eq!(renamed.tools_enabled, current.tools_enabled);
    let named = patch(json!({ "name": "Desk", "tools_enabled": ["order_status"] }));
    assert_eq!(named.names_of_functions(), ["order_status"]);
    assert!(named.merged_into(None, &models(), &none).is_err());
}
