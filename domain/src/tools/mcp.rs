//! Tools of tenants' MCP servers: what they are called here, and which of those that a server offers can be used. All that
//! a server says of its tools comes from outside: it is data for a model, within bounds.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{MAX_NAME_BYTES, Parameters, SEPARATOR};

/// Stands in a tool's place for all tools of a server: `crm__*`.
pub const ALL: &str = "*";
pub const MAX_SERVER_NAME_BYTES: usize = 32;
/// Tools of one server.
pub const MAX_TOOLS: usize = 128;
/// Longer descriptions are cut.
pub const MAX_DESCRIPTION_CHARS: usize = 2_000;
/// What a server's tools come to in a request to a model, names, descriptions and schemas together.
pub const MAX_TOTAL_BYTES: usize = 256 * 1_024;
/// Of a name that cannot be used.
const SHOWN_NAME_CHARS: usize = 80;

/// Whether a server may be called this: a small letter, then small letters, digits and `-`.
pub fn is_server_name(name: &str) -> bool {
    name.len() <= MAX_SERVER_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Server and tool of a name such as `crm__search`; the tool may be [`ALL`].
pub fn split(name: &str) -> Option<(&str, &str)> {
    let (server, tool) = name.split_once(SEPARATOR)?;
    (is_server_name(server) && (tool == ALL || fits(server, tool))).then_some((server, tool))
}

/// What a model calls the server's tool; the other way round of [`split`].
pub fn full_name(server: &str, tool: &str) -> String {
    format!("{server}{SEPARATOR}{tool}")
}

/// Whether `enabled` names the tool, by itself or with all of its server.
pub fn is_enabled(enabled: &[String], server: &str, tool: &str) -> bool {
    let (single, all) = (full_name(server, tool), full_name(server, ALL));
    enabled.iter().any(|name| *name == single || *name == all)
}

/// All vendors of models take the name: `^[a-zA-Z0-9_-]{1,64}$`.
fn fits(server: &str, tool: &str) -> bool {
    !tool.is_empty()
        && server.len() + SEPARATOR.len() + tool.len() <= MAX_NAME_BYTES
        && tool.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A tool as its server describes it.
#[derive(Clone, Debug)]
pub struct Described {
    pub name: String,
    pub description: String,
    pub input_schema: Map<String, Value>,
}

/// A tool that can be used.
#[derive(Debug)]
pub struct Offered {
    /// As models call it.
    pub name: String,
    /// As its server calls it.
    pub own_name: String,
    pub description: String,
    /// JSON Schema.
    pub parameters: Value,
    /// Checks arguments by `parameters`.
    pub check: Parameters,
}

/// A tool that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// As its server calls it, cut where it is very long.
    pub name: String,
    pub reason: String,
}

/// What of a server's tools can be used, in its order, and what cannot.
#[derive(Debug, Default)]
pub struct Offer {
    pub tools: Vec<Offered>,
    pub left_out: Vec<LeftOut>,
}

/// Judges what `server` offers.
pub fn judge(server: &str, described: Vec<Described>) -> Offer {
    let mut offer = Offer::default();
    let (mut names, mut total) = (HashSet::new(), 0);
    for tool in described {
        let size = size(server, &tool);
        let judged = if offer.tools.len() == MAX_TOOLS {
            Err(format!("the server has {MAX_TOOLS} tools before it"))
        } else if !fits(server, &tool.name) {
            let room = MAX_NAME_BYTES - SEPARATOR.len() - server.len();
            Err(format!("its name must have 1 to {room} letters, digits, _ and -"))
        } else if !names.insert(tool.name.clone()) {
            Err("another tool has its name".to_owned())
        } else if total + size > MAX_TOTAL_BYTES {
            Err(format!("the server's tools come to more than {MAX_TOTAL_BYTES} bytes with it"))
        } else {
            let parameters = Value::Object(tool.input_schema);
            Parameters::new(&parameters)
                .map_err(|error| format!("its input schema {error}"))
                .map(|check| (parameters, check))
        };
        match judged {
            Ok((parameters, check)) => {
                total += size;
                offer.tools.push(Offered {
                    name: full_name(server, &tool.name),
                    own_name: tool.name,
                    description: tool.description.chars().take(MAX_DESCRIPTION_CHARS).collect(),
                    parameters,
                    check,
                });
            }
            Err(reason) => {
                let name = tool.name.chars().take(SHOWN_NAME_CHARS).collect();
                offer.left_out.push(LeftOut { name, reason });
            }
        }
    }
    offer
}

fn size(server: &str, tool: &Described) -> usize {
    let description: usize = tool.description.chars().take(MAX_DESCRIPTION_CHARS).map(char::len_utf8).sum();
    let schema = serde_json::to_string(&tool.input_schema).map_or(0, |schema| schema.len());
    server.len() + SEPARATOR.len() + tool.name.len() + description + schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(name: &str, schema: Value) -> Described {
        let input_schema = schema.as_object().unwrap().clone();
        Described { name: name.to_owned(), description: "Does it".to_owned(), input_schema }
    }

    fn plain(name: &str) -> Described {
        described(name, json!({ "type": "object" }))
    }

    fn names(offer: &Offer) -> Vec<&str> {
        offer.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn a_server_is_called_so_that_its_tools_names_fit() {
        let longest = format!("a{}", "b".repeat(31));
        for name in ["a", "crm", "crm-2", &longest] {
            assert!(is_server_name(name), "{name}");
        }
        let too_long = format!("{longest}b");
        for name in ["", "1a", "-a", "Crm", "a_b", "a.b", "ü", "a\n", &too_long] {
            assert!(!is_server_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_name_is_split_into_server_and_tool_and_put_together_again() {
        let fits = format!("crm__{}", "x".repeat(59));
        for (name, parts) in [
            ("crm__search", ("crm", "search")),
            ("crm__*", ("crm", "*")),
            ("crm-2__get__one", ("crm-2", "get__one")),
            ("crm___x", ("crm", "_x")),
            (fits.as_str(), ("crm", &fits[5..])),
        ] {
            assert_eq!(split(name), Some(parts), "{name}");
            assert_eq!(full_name(parts.0, parts.1), name);
        }
        let too_long = format!("{fits}x");
        for name in
            ["crm", "crm_search", "crm__", "__search", "Crm__x", "crm__a*", "crm__a.b", "crm__**", &too_long]
        {
            assert_eq!(split(name), None, "{name}");
        }
    }

    #[test]
    fn a_tool_is_enabled_by_its_name_or_with_all_of_its_server() {
        let enabled = ["crm__search".to_owned(), "shop__*".to_owned()];
        assert!(is_enabled(&enabled, "crm", "search") && is_enabled(&enabled, "shop", "anything"));
        assert!(!is_enabled(&enabled, "crm", "delete") && !is_enabled(&enabled, "sho", "p__x"));
    }

    #[test]
    fn what_cannot_be_used_is_left_out_with_its_reason() {
        let long = "x".repeat(60);
        let offer = judge(
            "crm",
            vec![
                plain("search"),
                plain("files.read"),
                plain(""),
                plain(&long),
                plain("search"),
                described("listing", json!({ "type": "array" })),
                described(
                    "outside",
                    json!({ "type": "object", "properties": { "a": { "$ref": "https://x.test" } } }),
                ),
                described(
                    "garbage",
                    json!({ "type": "object", "properties": { "a": { "type": "strnig" } } }),
                ),
                plain("last"),
            ],
        );
        assert_eq!(names(&offer), ["crm__search", "crm__last"]);
        let left_out: Vec<&str> = offer.left_out.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(left_out, ["files.read", "", &long, "search", "listing", "outside", "garbage"]);
        for (left_out, said) in offer.left_out.iter().zip([
            "1 to 59 letters",
            "1 to 59 letters",
            "1 to 59 letters",
            "another tool",
            "\"type\": \"object\"",
            "$ref",
            "is no JSON Schema",
        ]) {
            assert!(left_out.reason.contains(said), "{left_out:?}");
        }
    }

    #[test]
    fn a_server_offers_so_many_tools_and_bytes_and_no_more() {
        let many: Vec<Described> = (0..130).map(|number| plain(&format!("tool{number}"))).collect();
        let offer = judge("crm", many);
        assert_eq!((offer.tools.len(), offer.left_out.len()), (MAX_TOOLS, 2));
        assert_eq!(offer.left_out[0].name, "tool128");

        let wordy = Described { description: "ü".repeat(10_000), ..plain("wordy") };
        assert_eq!(judge("crm", vec![wordy]).tools[0].description.chars().count(), MAX_DESCRIPTION_CHARS);

        let large = json!({ "type": "object", "description": "x".repeat(15_000) });
        let large = (0..30).map(|number| described(&format!("tool{number}"), large.clone())).collect();
        let offer = judge("crm", large);
        assert!(offer.tools.len() == 17 && offer.left_out.len() == 13, "{}", offer.tools.len());
    }
}
