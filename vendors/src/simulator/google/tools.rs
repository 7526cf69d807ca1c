//! The tools that a request offers.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::format::Refusal;

/// What a schema in `parameters` is made of.
const SCHEMA_WORDS: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "items",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
];

pub(super) fn names(tools: Vec<Tool>) -> Result<Vec<Cow<'static, str>>, Refusal> {
    let declared = tools.into_iter().flat_map(|tool| tool.function_declarations);
    declared.map(FunctionDeclaration::into_name).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tool {
    #[serde(alias = "function_declarations", default)]
    function_declarations: Vec<FunctionDeclaration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FunctionDeclaration {
    name: String,
    parameters: Option<Value>,
    #[serde(alias = "parameters_json_schema")]
    parameters_json_schema: Option<IgnoredAny>,
    #[serde(rename = "description")]
    _description: Option<IgnoredAny>,
    #[serde(rename = "behavior")]
    _behavior: Option<IgnoredAny>,
    #[serde(rename = "response")]
    _response: Option<IgnoredAny>,
    #[serde(rename = "responseJsonSchema", alias = "response_json_schema")]
    _response_json_schema: Option<IgnoredAny>,
}

impl FunctionDeclaration {
    fn into_name(self) -> Result<Cow<'static, str>, Refusal> {
        if self.parameters.is_some() && self.parameters_json_schema.is_some() {
            return Err(Refusal::bad("only one of parameters and parametersJsonSchema may be set"));
        }
        if let Some(word) = self.parameters.as_ref().and_then(unknown_word) {
            return Err(Refusal::bad(format!(
                "Invalid JSON payload received. Unknown name \"{word}\" at 'tools.function_declarations.\
                 parameters': Cannot find field."
            )));
        }
        Ok(self.name.into())
    }
}

/// The first word of a schema that is not one of [`SCHEMA_WORDS`].
fn unknown_word(schema: &Value) -> Option<&str> {
    let schema = schema.as_object()?;
    let known = |word: &str| {
        let camel = word.split('_').enumerate().map(|(index, part)| match part.get(..1) {
            Some(first) if index > 0 => first.to_ascii_uppercase() + &part[1..],
            _ => part.to_owned(),
        });
        SCHEMA_WORDS.contains(&camel.collect::<String>().as_str())
    };
    let inner = schema.iter().flat_map(|(word, value)| match (word.as_str(), value) {
        ("properties", Value::Object(properties)) => properties.values().collect(),
        ("anyOf" | "any_of", Value::Array(schemas)) => schemas.iter().collect(),
        ("items", schema) => vec![schema],
        _ => Vec::new(),
    });
    let outer = schema.keys().find(|word| !known(word)).map(String::as_str);
    outer.or_else(|| inner.filter_map(unknown_word).next())
}
