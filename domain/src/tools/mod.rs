//! Tools: what models are offered, by the names that agents and models use, and what their arguments must be.
//!
//! The built-in ones are the same everywhere; a tenant's own functions, and the tools of
//! its MCP servers ([`mcp`]), come beside them and never take their names.

pub mod mcp;
mod parameters;

use std::sync::LazyLock;

use serde_json::{Value, json};

pub use parameters::{InvalidParameters, MAX_PARAMETERS_BYTES, Parameters};

pub const INVOICE_LOOKUP: &str = "invoice_lookup";
pub const CHECK_AVAILABILITY: &str = "check_availability";
pub const BOOK_APPOINTMENT: &str = "book_appointment";
pub const END_CALL: &str = "end_call";
pub const TRANSFER_CALL: &str = "transfer_call";

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: &'static str,
    pub description: &'static str,
    /// JSON Schema.
    pub parameters: Value,
}

static BUILT_IN: LazyLock<[Tool; 5]> = LazyLock::new(|| {
    [invoice_lookup(), check_availability(), book_appointment(), end_call(), transfer_call()]
});

/// The tools that every installation has.
pub fn built_in() -> &'static [Tool] {
    &*BUILT_IN
}

/// The built-in tool of this name.
pub fn find(name: &str) -> Option<&'static Tool> {
    built_in().iter().find(|tool| tool.name == name)
}

/// Longest name of a function, as the vendors of models take it.
pub const MAX_NAME_BYTES: usize = 64;
/// Stands between a server's name and its tool's; no function has it in its name.
const SEPARATOR: &str = "__";

/// Whether a tenant's function may be called this: a letter, then letters, digits, `_` and `-`; no `__`, and no built-in
/// tool's name.
pub fn is_function_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && !name.contains(SEPARATOR)
        && find(name).is_none()
}

fn invoice_lookup() -> Tool {
    Tool {
        name: INVOICE_LOOKUP,
        description: "Looks up one of the company's invoices by its number: amount, currency, status, description.",
        parameters: json!({
            "type": "object",
            "properties": {
                "invoice_id": { "type": "string", "description": "The invoice's number, such as INV-0042" }
            },
            "required": ["invoice_id"],
            "additionalProperties": false
        }),
    }
}

fn check_availability() -> Tool {
    Tool {
        name: CHECK_AVAILABILITY,
        description: "Lists the times on a day at which an appointment can be booked, in UTC.",
        parameters: json!({
            "type": "object",
            "properties": {
                "date": { "type": "string", "format": "date", "description": "The day, such as 2026-03-02" }
            },
            "required": ["date"],
            "additionalProperties": false
        }),
    }
}

fn book_appointment() -> Tool {
    Tool {
        name: BOOK_APPOINTMENT,
        description: "Books an appointment at a time that check_availability lists. Answers the error slot_taken when \
            somebody else has it: offer another time then.",
        parameters: json!({
            "type": "object",
            "properties": {
                "start": {
                    "type": "string", "format": "date-time",
                    "description": "When it begins, RFC 3339 with an offset, such as 2026-03-02T09:00:00Z"
                },
                "name": { "type": "string", "description": "Who comes" },
                "phone": { "type": "string", "description": "Where to reach them, such as +15550100" }
            },
            "required": ["start", "name", "phone"],
            "additionalProperties": false
        }),
    }
}

fn end_call() -> Tool {
    Tool {
        name: END_CALL,
        description: "Ends the conversation after your next words. Use it when the customer says goodbye or wants to \
            hang up, and then say goodbye.",
        parameters: json!({
            "type": "object",
            "properties": {
                "reason": { "type": "string", "description": "Why it ends, in a few words", "maxLength": 200 }
            },
            "additionalProperties": false
        }),
    }
}

fn transfer_call() -> Tool {
    Tool {
        name: TRANSFER_CALL,
        description: "Hands the caller over to a person after your next words. Use it when the customer asks for one, \
            or when you cannot help.",
        parameters: json!({
            "type": "object",
            "properties": {
                "to_number": {
                    "type": "string",
                    "description": "The number to transfer to, such as +15550100; leave it out when you were told none"
                },
                "reason": { "type": "string", "description": "Why, in a few words", "maxLength": 200 }
            },
            "additionalProperties": false
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_tool_takes_arguments_that_can_be_checked() {
        for tool in built_in() {
            assert!(Parameters::new(&tool.parameters).is_ok(), "{}", tool.name);
            assert_eq!(find(tool.name), Some(tool));
        }
    }

    #[test]
    fn a_function_is_called_as_models_can_call_it() {
        let longest = format!("a{}", "b".repeat(63));
        for name in ["a", "order_status", "Order-Status-2", "a_b_c", &longest] {
            assert!(is_function_name(name), "{name}");
        }
        let too_long = format!("{longest}b");
        for name in [
            "",
            "1a",
            "_a",
            "-a",
            "a b",
            "a.b",
            "a/b",
            "crm__find",
            "a__",
            "ü",
            "a\n",
            "invoice_lookup",
            &too_long,
        ] {
            assert!(!is_function_name(name), "{name}");
        }
    }
}
