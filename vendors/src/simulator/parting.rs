//! How a user says that the conversation should end or go on with somebody else, and what the brain says then.

use serde_json::{Value, json};

const END_TOOL: &str = "end_call";
const TRANSFER_TOOL: &str = "transfer_call";

const ENDING: [&str; 4] = ["hang up", "end the call", "end this call", "end the conversation"];
const TRANSFERRING: [&str; 5] =
    ["transfer me", "connect me", "speak to a person", "talk to a person", "talk to a human"];

/// The tool that does what the user wants, and its arguments.
pub(super) fn wanted(message: &str) -> Option<(&'static str, Value)> {
    let lower = message.to_ascii_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    if has(&TRANSFERRING) {
        let arguments = number_in(message).map_or_else(|| json!({}), |number| json!({"to_number": number}));
        return Some((TRANSFER_TOOL, arguments));
    }
    has(&ENDING).then(|| (END_TOOL, json!({"reason": "the customer asked for it"})))
}

/// The last words after a tool that was run; `None` for all others.
pub(super) fn words(tool: &str) -> Option<&'static str> {
    match tool {
        END_TOOL => Some("Goodbye, and thank you for calling."),
        TRANSFER_TOOL => Some("I am connecting you now. One moment, please."),
        _ => None,
    }
}

/// What begins with a plus sign and goes on with digits.
fn number_in(message: &str) -> Option<&str> {
    let from = &message[message.find('+')?..];
    let digits = from[1..].bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| &from[..=digits])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_to_leave_are_understood() {
        assert_eq!(wanted("Please hang up").unwrap().0, END_TOOL);
        assert_eq!(wanted("Goodbye, END the call").unwrap().0, END_TOOL);
        assert_eq!(wanted("Transfer me to a person").unwrap(), (TRANSFER_TOOL, json!({})));
        let (_, arguments) = wanted("transfer me to +4930123, now").unwrap();
        assert_eq!(arguments, json!({"to_number": "+4930123"}));
        assert_eq!(wanted("Goodbye"), None);
    }
}
