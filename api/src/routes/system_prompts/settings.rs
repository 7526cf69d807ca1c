//! From what a client sends to a prompt's settings: defaults, merging, and every check.

use std::collections::BTreeMap;

use domain::Prompt;
use events::prompt::PromptSettings;
use serde::Deserialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::validation::Mistakes;

/// A prompt's fields. JSON merge patch (RFC 7396): what is left out stays as it is, `null` goes back to the default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({
    "name": "Billing", "category": "billing", "is_default": true,
    "content": "You are the billing assistant of {{company}}. Call the customer {{ customer_name }}.",
    "variables": { "company": "TechCorp", "customer_name": "our customer" }
}))]
pub(crate) struct PromptPatch {
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 200)]
    name: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Sent<String>,
    /// Your own.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 100)]
    category: Sent<String>,
    /// What the model is told, with at most 100 times a variable: `{{name}}`; `\{{` is a plain `{{`.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 32000)]
    content: Sent<String>,
    /// Every variable, by name, with the value it has where neither agent nor session gives one: at most 50, each value
    /// at most 2000 characters. A patch merges into it.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    variables: Sent<BTreeMap<String, Option<String>>>,
    /// New agents get this prompt when they name no other. It takes the place of the one that was the default before.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<bool>)]
    is_default: Sent<bool>,
}

/// A prompt's fields, `name` and `content` among them.
pub(crate) struct PromptBody;

impl PartialSchema for PromptBody {
    fn schema() -> RefOr<Schema> {
        let mut schema = PromptPatch::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.extend(["name".to_owned(), "content".to_owned()]);
            object.description = Some("A prompt's fields; `name` and `content` are required.".to_owned());
        }
        schema
    }
}

impl ToSchema for PromptBody {}

const NOTHING: PromptSettings = PromptSettings {
    name: String::new(),
    description: String::new(),
    category: None,
    content: String::new(),
    variables: BTreeMap::new(),
};

impl PromptPatch {
    /// Whether it is to be the default; `None`: that stays.
    pub(super) fn wants_default(&self) -> Option<bool> {
        self.is_default.map(Option::unwrap_or_default)
    }

    /// The settings of a new prompt, or of one that is replaced.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(super) fn into_settings(self) -> Result<PromptSettings, Problem> {
        self.merged_into(None)
    }

    /// `current` with what was sent put over it.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(super) fn merged_into(self, current: Option<&PromptSettings>) -> Result<PromptSettings, Problem> {
        let nothing = NOTHING;
        let base = current.unwrap_or(&nothing);
        let mut variables = match self.variables {
            Some(None) => BTreeMap::new(),
            _ => base.variables.clone(),
        };
        for (name, value) in self.variables.flatten().unwrap_or_default() {
            match value {
                Some(value) => variables.insert(name, value),
                None => variables.remove(&name),
            };
        }
        let settings = PromptSettings {
            name: or(self.name, &base.name, String::new),
            description: or(self.description, &base.description, String::new),
            category: self
                .category
                .unwrap_or_else(|| base.category.clone())
                .filter(|category| !category.is_empty()),
            content: or(self.content, &base.content, String::new),
            variables,
        };
        check(&settings)?;
        Ok(settings)
    }
}

fn check(settings: &PromptSettings) -> Result<(), Problem> {
    let mut mistakes = Mistakes::default();
    mistakes.check_required("name", &settings.name, 200);
    mistakes.check_text("description", &settings.description, 2_000);
    mistakes.check_text("category", settings.category.as_deref().unwrap_or_default(), 100);
    mistakes.check_required("content", &settings.content, 32_000);
    for (name, value) in &settings.variables {
        mistakes.check_storable(&format!("variables.{name}"), value);
    }
    for mistake in Prompt::of(settings).err().unwrap_or_default() {
        mistakes.add(&mistake.field, mistake.message);
    }
    mistakes.into_result()
}

#[cfg(test)]
mod tests {
    use events::CorrelationId;
    use serde_json::{Value, json};

    use super::*;

    fn patched(current: Option<&PromptSettings>, body: Value) -> Result<PromptSettings, Vec<String>> {
        let patch: PromptPatch = serde_json::from_value(body).unwrap();
        patch.merged_into(current).map_err(|problem| {
            let body = serde_json::to_value(problem.body(&CorrelationId::new())).unwrap();
            let errors = body["errors"].as_array().unwrap();
            errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
        })
    }

    fn given() -> PromptSettings {
        let body = json!({
            "name": "Desk", "category": "a", "content": "Hello {{x}}", "variables": { "x": "1", "y": "2" }
        });
        patched(None, body).unwrap()
    }

    #[test]
    fn a_name_and_a_content_are_enough() {
        let settings = patched(None, json!({ "name": "Desk", "content": "Hello" })).unwrap();
        assert_eq!(settings, PromptSettings { name: "Desk".into(), content: "Hello".into(), ..NOTHING });
        assert_eq!(patched(None, json!({})).unwrap_err(), ["name", "content"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let body = json!({ "name": " ", "content": "{{a}} {{b}} {{", "variables": { "1": "", "c": "\0" } });
        let mistakes = patched(None, body).unwrap_err();
        assert_eq!(mistakes, ["name", "variables.c", "variables.1", "content", "content", "content"]);
    }

    #[test]
    fn a_patch_merges_and_null_takes_away() {
        let merged =
            patched(Some(&given()), json!({ "variables": { "y": null, "z": "3" }, "category": null }));
        let merged = merged.unwrap();
        assert_eq!(json!(merged.variables), json!({ "x": "1", "z": "3" }));
        assert_eq!((merged.category, merged.content.as_str()), (None, "Hello {{x}}"));
        // What the content names cannot be taken away.
        assert_eq!(patched(Some(&given()), json!({ "variables": null })).unwrap_err(), ["content"]);
        assert_eq!(patched(Some(&given()), json!({ "content": "Hello {{z}}" })).unwrap_err(), ["content"]);
    }

    #[test]
    fn whether_it_is_the_default_is_no_part_of_a_version() {
        let patch: PromptPatch = serde_json::from_value(json!({ "is_default": true })).unwrap();
        assert_eq!(patch.wants_default(), Some(true));
        assert_eq!(patch.merged_into(Some(&given())).unwrap(), given());
        for (body, wanted) in [(json!({}), None), (json!({ "is_default": null }), Some(false))] {
            assert_eq!(serde_json::from_value::<PromptPatch>(body).unwrap().wants_default(), wanted);
        }
    }
}
