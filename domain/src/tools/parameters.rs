//! The JSON Schema of a tool's arguments. Tenants write them, so none may cost more than it looks: nothing is fetched,
//! nothing refers to itself, and patterns are of the kind that is matched in linear time.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Of a schema as JSON.
pub const MAX_PARAMETERS_BYTES: usize = 16 * 1_024;

/// How much a schema may amount to with every `$ref` followed; a value in it counts 1.
const MAX_WEIGHT: u32 = 20_000;
/// How deep it may be, with every `$ref` followed.
const MAX_DEPTH: u32 = 128;
/// A pattern is compiled, and may become much larger than it is written.
const PATTERN_WEIGHT: u32 = 200;
const MAX_PATTERN_BYTES: usize = 256 * 1_024;
/// They would change where a `$ref` leads.
const REFUSED_KEYWORDS: [&str; 6] =
    ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"];
/// Mistakes in arguments that the model is told of at once; it corrects the first ones first anyway.
const MAX_MISTAKES: usize = 8;

/// A schema that arguments can be checked against.
#[derive(Debug)]
pub struct Parameters(Validator);

/// The schema cannot be used. The text goes on from the name of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameters {
    #[error("must be a JSON Schema with \"type\": \"object\"")]
    NotOfAnObject,
    #[error("must have at most {MAX_PARAMETERS_BYTES} bytes of JSON")]
    TooLong,
    #[error("must not use {0}")]
    Keyword(&'static str),
    #[error("refers to {0:?}: a $ref must be # and a path within the schema, such as #/$defs/address")]
    Reference(String),
    #[error("refers to itself, or becomes too large when its $refs are followed")]
    TooLarge,
    #[error("is no JSON Schema: {0}")]
    NoSchema(String),
}

impl Parameters {
    /// # Errors
    /// When it is no JSON Schema of an object, or one that we do not check arguments against.
    pub fn new(schema: &Value) -> Result<Self, InvalidParameters> {
        if schema["type"] != "object" {
            return Err(InvalidParameters::NotOfAnObject);
        }
        if schema.to_string().len() > MAX_PARAMETERS_BYTES {
            return Err(InvalidParameters::TooLong);
        }
        weigh(schema, schema, 0, &mut 0)?;
        jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
            .build(schema)
            .map(Self)
            .map_err(|error| InvalidParameters::NoSchema(error.to_string()))
    }

    /// # Errors
    /// What is wrong with the arguments, in words that a model can act on.
    pub fn check(&self, arguments: &Value) -> Result<(), String> {
        let mistakes: Vec<String> = self
            .0
            .iter_errors(arguments)
            .take(MAX_MISTAKES)
            .map(|mistake| match mistake.instance_path().as_str() {
                "" => mistake.to_string(),
                path => format!("{path}: {mistake}"),
            })
            .collect();
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(format!("the arguments do not fit: {}", mistakes.join("; ")))
        }
    }
}

/// Adds up what is in `part`, with every reference followed.
fn weigh(root: &Value, part: &Value, depth: u32, weight: &mut u32) -> Result<(), InvalidParameters> {
    let depth = depth + 1;
    *weight += 1;
    if *weight > MAX_WEIGHT || depth > MAX_DEPTH {
        return Err(InvalidParameters::TooLarge);
    }
    match part {
        Value::Array(parts) => parts.iter().try_for_each(|part| weigh(root, part, depth, weight)),
        Value::Object(parts) => {
            for keyword in REFUSED_KEYWORDS {
                if parts.contains_key(keyword) {
                    return Err(InvalidParameters::Keyword(keyword));
                }
            }
            if let Some(Value::String(_)) = parts.get("pattern") {
                *weight += PATTERN_WEIGHT;
            }
            if let Some(Value::Object(patterns)) = parts.get("patternProperties") {
                *weight = weight.saturating_add(PATTERN_WEIGHT.saturating_mul(patterns.len() as u32));
            }
            if let Some(Value::String(reference)) = parts.get("$ref") {
                let target = reference.strip_prefix('#').and_then(|path| root.pointer(path));
                let target = target.ok_or_else(|| InvalidParameters::Reference(reference.clone()))?;
                weigh(root, target, depth, weight)?;
            }
            parts.values().try_for_each(|part| weigh(root, part, depth, weight))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(properties: Value) -> Result<Parameters, InvalidParameters> {
        Parameters::new(&json!({ "type": "object", "properties": properties }))
    }

    #[test]
    fn every_mistake_in_the_arguments_is_told_with_its_place() {
        let tool = super::super::find("invoice_lookup").unwrap();
        let parameters = Parameters::new(&tool.parameters).unwrap();
        assert_eq!(parameters.check(&json!({"invoice_id": "INV-1"})), Ok(()));
        for (arguments, told) in [
            (json!({}), "invoice_id"),
            (json!({"invoice_id": 7}), "/invoice_id: 7 is not of type"),
            (json!({"invoice_id": "x", "drop": true}), "drop"),
            // What a vendor sent as arguments and was no JSON.
            (json!("{not json"), "is not of type \"object\""),
        ] {
            let mistake = parameters.check(&arguments).unwrap_err();
            assert!(mistake.contains(told), "{arguments}: {mistake}");
        }
    }

    #[test]
    fn what_is_no_schema_of_an_object_is_refused() {
        for schema in
            [json!({}), json!({"type": "string"}), json!({"type": ["object"]}), json!(7), json!(null)]
        {
            assert_eq!(Parameters::new(&schema).err(), Some(InvalidParameters::NotOfAnObject), "{schema}");
        }
        for schema in [
            json!({"type": "object", "properties": 7}),
            json!({"type": "object", "required": "a"}),
            json!({"type": "object", "properties": {"a": {"type": "strnig"}}}),
            json!({"type": "object", "properties": {"a": {"pattern": "("}}}),
            json!({"type": "object", "$schema": "https://example.com/mine"}),
        ] {
            assert!(matches!(Parameters::new(&schema), Err(InvalidParameters::NoSchema(_))), "{schema}");
        }
        let long = json!({"type": "object", "description": "x".repeat(MAX_PARAMETERS_BYTES)});
        assert_eq!(Parameters::new(&long).err(), Some(InvalidParameters::TooLong));
    }

    #[test]
    fn a_reference_leads_into_the_schema_and_nowhere_else() {
        let schema = json!({
            "type": "object",
            "properties": { "to": { "$ref": "#/$defs/address" } },
            "$defs": { "address": { "type": "string", "minLength": 3 } }
        });
        let parameters = Parameters::new(&schema).unwrap();
        assert!(parameters.check(&json!({"to": "abc"})).is_ok());
        assert!(parameters.check(&json!({"to": "a"})).is_err());
        for reference in [
            "http://127.0.0.1/schema",
            "https://example.com/a#/b",
            "file:///etc/passwd",
            "other.json",
            "#/$defs/none",
            "",
        ] {
            let refused = of(json!({ "a": { "$ref": reference } })).err();
            assert_eq!(refused, Some(InvalidParameters::Reference(reference.to_owned())));
        }
        for keyword in REFUSED_KEYWORDS {
            assert_eq!(
                of(json!({ "a": { keyword: "#a" } })).err(),
                Some(InvalidParameters::Keyword(keyword))
            );
        }
    }

    #[test]
    fn a_schema_costs_no_more_than_it_looks() {
        let itself = json!({ "type": "object", "properties": { "a": { "$ref": "#" } } });
        assert_eq!(Parameters::new(&itself).err(), Some(InvalidParameters::TooLarge));
        let circle = json!({ "type": "object", "$ref": "#/$defs/a",
            "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } });
        assert_eq!(Parameters::new(&circle).err(), Some(InvalidParameters::TooLarge));
        // Each level twice the one below.
        let mut doubling = json!({ "type": "object", "$ref": "#/$defs/a40", "$defs": { "a0": {} } });
        for level in 0..40 {
            let below = json!({ "$ref": format!("#/$defs/a{level}") });
            doubling["$defs"][format!("a{}", level + 1)] = json!({ "allOf": [below, below] });
        }
        assert_eq!(Parameters::new(&doubling).err(), Some(InvalidParameters::TooLarge));
        let patterns: serde_json::Map<String, Value> =
            (0..200).map(|number| (format!("p{number}"), json!({ "pattern": "\\w{50}" }))).collect();
        assert_eq!(of(Value::Object(patterns)).err(), Some(InvalidParameters::TooLarge));
        // Look-around and back-references need an engine that can take for ever.
        for pattern in ["(?=a)b", "(a)\\1", "(\\w{500}){500}"] {
            let refused = of(json!({ "a": { "type": "string", "pattern": pattern } })).err();
            assert!(matches!(refused, Some(InvalidParameters::NoSchema(_))), "{pattern}: {refused:?}");
        }
        let slow_elsewhere = of(json!({ "a": { "type": "string", "pattern": "^(a+)+$" } })).unwrap();
        assert!(slow_elsewhere.check(&json!({ "a": format!("{}!", "a".repeat(50_000)) })).is_err());
    }
}
