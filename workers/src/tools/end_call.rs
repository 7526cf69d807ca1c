//! `end_call`: the agent has said what there was to say. It is granted here and takes effect with the turn's reply, so
//! that the closing words are heard and a crash in between loses nothing.

use serde::Deserialize;
use serde_json::{Value, json};
use vendors::llm::ToolSpec;

use super::{ToolError, read};

pub(super) use domain::tools::END_CALL as NAME;

/// The reason is for whoever reads the tool's runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: NAME.to_owned(),
        description:
            "Ends the conversation after your next words. Use it when the customer says goodbye or wants to \
            hang up, and then say goodbye."
                .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "reason": { "type": "string", "description": "Why it ends, in a few words", "maxLength": 200 }
            },
            "additionalProperties": false
        }),
    }
}

pub(super) fn run(arguments: &Value) -> Result<Value, ToolError> {
    read::<Arguments>(arguments)?;
    Ok(json!({ "ok": true, "next": "say goodbye; the conversation ends with your words" }))
}
