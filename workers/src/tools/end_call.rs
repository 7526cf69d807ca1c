//! `end_call`: the agent has said what there was to say. It is granted here and takes effect with the turn's reply, so
//! that the closing words are heard and a crash in between loses nothing.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{By, Call, ToolError, read};

pub(super) use domain::tools::END_CALL as NAME;

/// The reason is for whoever reads the tool's runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

pub(super) fn run(call: &Call<'_>, arguments: &Value) -> Result<Value, ToolError> {
    read::<Arguments>(arguments)?;
    if !matches!(call.by, By::Model(_)) {
        return Err(ToolError::Refused("there is no conversation to end".to_owned()));
    }
    Ok(json!({ "ok": true, "next": "say goodbye; the conversation ends with your words" }))
}
