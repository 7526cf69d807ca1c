//! Tool calls as vendors really write them: without ids, without arguments, with arguments that are no JSON.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::ToolCall;
use super::wire::Answer;
use crate::http::VendorError;

/// More calls than this in one reply are taken for garbage: their number comes from outside.
pub(super) const CALLS_PER_REPLY: usize = 64;
/// Marks an id that the vendor never gave.
const MADE_UP: &str = "unnamed_call_";

/// Adds a call to the answer; its id may be empty.
///
/// # Errors
/// When the call has no name, or there are too many.
pub(super) fn add_call(answer: &mut Answer, call: ToolCall) -> Result<(), VendorError> {
    if call.name.is_empty() {
        return Err(VendorError::garbage("a tool call without a name"));
    }
    if answer.tool_calls.len() >= CALLS_PER_REPLY {
        return Err(VendorError::garbage("too many tool calls"));
    }
    answer.tool_calls.push(call);
    Ok(())
}

/// Gives an id to every call that came without one of its own. It is made of the attempt and the place in
/// the reply: the same answer always reads the same, and the calls of a turn's later replies, which a vendor
/// gets to see together, have other ids.
pub(super) fn identify(calls: &mut [ToolCall], attempt: u32) {
    for place in 0..calls.len() {
        let (before, rest) = calls.split_at_mut(place);
        let call = &mut rest[0];
        if call.id.is_empty() || before.iter().any(|other| other.id == call.id) {
            call.id = format!("{MADE_UP}{attempt}_{place}");
        }
    }
}

/// Whether the vendor that made this call gave it no id.
pub(super) fn is_made_up(id: &str) -> bool {
    id.starts_with(MADE_UP)
}

/// Arguments as a model wrote them: none at all are an empty object, and what is not JSON stays the string
/// that it is, so that whoever runs the tool can tell the model.
pub(super) fn parse_arguments(raw: &str) -> Value {
    if raw.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(raw) {
        Ok(Value::Null) => json!({}),
        Ok(arguments) => arguments,
        Err(_) => Value::String(raw.to_owned()),
    }
}

/// Arguments to show a vendor again. Vendors refuse a conversation whose calls have anything but objects.
pub(super) fn arguments_object(arguments: &Value) -> Cow<'_, Value> {
    match arguments {
        Value::Object(_) => Cow::Borrowed(arguments),
        Value::Null => Cow::Owned(json!({})),
        other => Cow::Owned(json!({ "malformed": other })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(answer: &mut Answer, id: &str) -> Result<(), VendorError> {
        let call = ToolCall { id: id.into(), name: "lookup".into(), arguments: json!({}), signature: None };
        add_call(answer, call)
    }

    #[test]
    fn arguments_are_an_object_json_or_what_was_written() {
        assert_eq!(parse_arguments(" "), json!({}));
        assert_eq!(parse_arguments("null"), json!({}));
        assert_eq!(parse_arguments("{\"id\": 7}"), json!({"id": 7}));
        assert_eq!(parse_arguments("{\"id\": "), json!("{\"id\": "));
    }

    #[test]
    fn vendors_are_shown_objects_only() {
        assert_eq!(*arguments_object(&json!({"id": 7})), json!({"id": 7}));
        assert_eq!(*arguments_object(&json!("{\"id\": ")), json!({"malformed": "{\"id\": "}));
        assert_eq!(*arguments_object(&Value::Null), json!({}));
    }

    #[test]
    fn missing_and_repeated_ids_are_replaced_by_the_attempt_and_the_place_in_its_reply() {
        let mut answer = Answer::default();
        for id in ["c1", "", "c1"] {
            add(&mut answer, id).unwrap();
        }
        identify(&mut answer.tool_calls, 3);
        let ids: Vec<_> = answer.tool_calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["c1", "unnamed_call_3_1", "unnamed_call_3_2"]);
        assert!(is_made_up(ids[1]) && !is_made_up(ids[0]));
    }

    #[test]
    fn too_many_calls_are_garbage() {
        let mut answer = Answer::default();
        for _ in 0..CALLS_PER_REPLY {
            add(&mut answer, "").unwrap();
        }
        assert_eq!(add(&mut answer, "").unwrap_err().code.as_str(), "garbage");
    }
}
