//! From what a client sends to an MCP server's settings: defaults, merging, and every check.

use std::collections::BTreeMap;

use domain::tools::mcp;
use events::mcp_server::McpServerSettings;
use serde::Deserialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use vendors::http::guard::{self, UrlPolicy};
use vendors::mcp::RESERVED_HEADERS;

use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::routes::secret_headers::{self, SentHeaders};
use crate::validation::Mistakes;

/// An MCP server's fields. JSON merge patch (RFC 7396): what is left out stays as it is, `null` goes back to the default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({
    "name": "crm", "description": "Customers and their orders", "url": "https://crm.example.com/mcp",
    "headers": { "Authorization": "Bearer …" }
}))]
pub(super) struct McpServerPatch {
    /// Unique among the tenant's servers. Its tools are called `<name>__<tool>`.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 32, pattern = "^[a-z][a-z0-9-]{0,31}$")]
    name: Sent<String>,
    /// For people; models are told what the server says of its tools.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Sent<String>,
    /// Where it speaks streamable HTTP. `https://`, and no private, local or reserved address. Redirects are not followed.
    /// It is answered whole: secrets belong into `headers`.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    url: Sent<String>,
    /// Sent with every request, at most 20; the only credentials that there are (no OAuth). The values are secret: they are
    /// encrypted, and never answered whole.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Object>)]
    pub(super) headers: SentHeaders,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<bool>)]
    is_active: Sent<bool>,
}

/// An MCP server's fields, the required ones among them.
pub(super) struct McpServerBody;

impl PartialSchema for McpServerBody {
    fn schema() -> RefOr<Schema> {
        let mut schema = McpServerPatch::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.extend(["name".to_owned(), "url".to_owned()]);
            object.description =
                Some("An MCP server's fields; only `name` and `url` are required.".to_owned());
        }
        schema
    }
}

impl ToSchema for McpServerBody {}

const MAX_DESCRIPTION_CHARS: usize = 2_000;

impl McpServerPatch {
    /// `current` with what was sent put over it. Of the headers it has those that stay; [`secret_headers::sealed`]
    /// gives the new ones.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(super) fn merged_into(
        &self,
        current: Option<&McpServerSettings>,
        urls: UrlPolicy,
    ) -> Result<McpServerSettings, Problem> {
        let fresh = defaults();
        let base = current.unwrap_or(&fresh);
        let settings = McpServerSettings {
            name: or(self.name.clone(), &base.name, String::new),
            description: or(self.description.clone(), &base.description, String::new),
            url: or(self.url.clone(), &base.url, String::new),
            headers: secret_headers::staying(&self.headers, &base.headers),
            is_active: or(self.is_active, &base.is_active, || true),
        };
        let mut mistakes = Mistakes::default();
        secret_headers::check(&self.headers, settings.headers.len(), &RESERVED_HEADERS, &mut mistakes);
        check(&settings, urls, &mut mistakes);
        mistakes.into_result()?;
        Ok(settings)
    }
}

fn check(settings: &McpServerSettings, urls: UrlPolicy, mistakes: &mut Mistakes) {
    if !mcp::is_server_name(&settings.name) {
        let max = mcp::MAX_SERVER_NAME_BYTES;
        mistakes.add(
            "name",
            format_args!("must begin with a small letter and have up to {max} small letters, digits and -"),
        );
    }
    mistakes.check_text("description", &settings.description, MAX_DESCRIPTION_CHARS);
    if let Err(refused) = guard::checked(&settings.url, urls) {
        mistakes.add("url", refused);
    }
}

fn defaults() -> McpServerSettings {
    McpServerSettings {
        name: String::new(),
        description: String::new(),
        url: String::new(),
        headers: BTreeMap::new(),
        is_active: true,
    }
}

#[cfg(test)]
mod tests {
    use events::CorrelationId;
    use serde_json::{Value, json};

    use super::*;

    const PUBLIC: UrlPolicy = UrlPolicy { allow_private: false };

    fn mistakes_in(body: Value) -> Vec<String> {
        let patch: McpServerPatch = serde_json::from_value(body).unwrap();
        let Err(problem) = patch.merged_into(None, PUBLIC) else { return vec![] };
        let body = serde_json::to_value(problem.body(&CorrelationId::new())).unwrap();
        let errors = body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_name_and_a_url_are_enough() {
        assert!(mistakes_in(json!({ "name": "crm", "url": "https://crm.example.com/mcp" })).is_empty());
        assert_eq!(mistakes_in(json!({})), ["name", "url"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let body = json!({
            "name": "Crm_1", "description": "x".repeat(2_001), "url": "https://127.0.0.1/mcp",
            "headers": { "Mcp-Session-Id": "a", "MCP-Protocol-Version": "b", "Last-Event-ID": "c", "Host": "d", "X": "e" }
        });
        let headers = [
            "headers.Host",
            "headers.Last-Event-ID",
            "headers.MCP-Protocol-Version",
            "headers.Mcp-Session-Id",
        ];
        let fields = [&headers[..], &["name", "description", "url"]].concat();
        assert_eq!(mistakes_in(body), fields);
    }
}
