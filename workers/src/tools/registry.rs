//! Which tools there are, and what each takes.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;
use vendors::llm::ToolSpec;

use super::{book_appointment, check_availability, end_call, invoice_lookup, transfer_call};

/// A tool and the check of its arguments.
pub(super) struct Tool {
    pub(super) spec: ToolSpec,
    validator: Validator,
}

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let specs = [
        invoice_lookup::spec(),
        check_availability::spec(),
        book_appointment::spec(),
        end_call::spec(),
        transfer_call::spec(),
    ];
    specs.into_iter().filter_map(Tool::new).collect()
});

/// Mistakes in arguments that the model is told of at once; it corrects the first ones first anyway.
const MAX_MISTAKES: usize = 8;

/// The tool of this name.
pub(super) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.spec.name == name)
}

/// What the model is told of the tools `enabled` for its agent, in that order.
pub(crate) fn specs(enabled: &[String]) -> Vec<ToolSpec> {
    enabled.iter().filter_map(|name| find(name)).map(|tool| tool.spec.clone()).collect()
}

impl Tool {
    /// `None` when the parameters are no JSON Schema; a test sees that all of ours are.
    fn new(spec: ToolSpec) -> Option<Self> {
        let validator = jsonschema::options().should_validate_formats(true).build(&spec.parameters).ok()?;
        Some(Self { spec, validator })
    }

    /// # Errors
    /// What is wrong with the arguments, in words that the model can act on.
    pub(super) fn check(&self, arguments: &Value) -> Result<(), String> {
        let mistakes: Vec<String> = self
            .validator
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_tool_has_a_schema_that_can_be_checked() {
        let names: Vec<&str> = TOOLS.iter().map(|tool| &*tool.spec.name).collect();
        assert_eq!(names, domain::tools::BUILT_IN, "what an agent may be given, and nothing else");
    }

    #[test]
    fn every_mistake_in_the_arguments_is_told_with_its_place() {
        let tool = find(invoice_lookup::NAME).unwrap();
        assert_eq!(tool.check(&json!({"invoice_id": "INV-1"})), Ok(()));
        for (arguments, told) in [
            (json!({}), "invoice_id"),
            (json!({"invoice_id": 7}), "/invoice_id: 7 is not of type"),
            (json!({"invoice_id": "x", "drop": true}), "drop"),
            // What a vendor sent as arguments and was no JSON.
            (json!("{not json"), "is not of type \"object\""),
        ] {
            let mistake = tool.check(&arguments).unwrap_err();
            assert!(mistake.contains(told), "{arguments}: {mistake}");
        }
    }
}
