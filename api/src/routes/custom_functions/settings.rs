//! From what a client sends to a function's settings: defaults, merging, and every check.

use std::collections::BTreeMap;

use domain::tools::{self, Parameters};
use events::function::{FunctionMethod, FunctionSettings};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use vendors::http::guard::{self, UrlPolicy};

use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::routes::secret_headers::{self, SentHeaders};
use crate::validation::Mistakes;

/// A function's fields. JSON merge patch (RFC 7396): what is left out stays as it is, `null` goes back to the default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({
    "name": "order_status", "description": "Tells how far an order is",
    "parameters": {
        "type": "object", "properties": { "order_id": { "type": "string" } }, "required": ["order_id"]
    },
    "webhook_url": "https://shop.example.com/orders/status", "method": "POST",
    "headers": { "Authorization": "Bearer …" }
}))]
pub(super) struct FunctionPatch {
    /// Unique among the tenant's functions: a letter, then letters, digits, `_` and `-`; no `__`, and no built-in tool's
    /// name.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 64, pattern = "^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
    name: Sent<String>,
    /// What models are told that it does.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Sent<String>,
    /// JSON Schema with `"type": "object"`, at most 16 KiB; a `$ref` may lead to a place in the schema itself only. By
    /// default the function takes no arguments.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Object>)]
    parameters: Sent<Map<String, Value>>,
    /// `https://`, and no private, local or reserved address. Redirects are not followed. It
    /// is answered whole: secrets belong into `headers`.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    webhook_url: Sent<String>,
    /// `POST` (the default), `PUT` and `PATCH` send the arguments as a JSON body, `GET` as query parameters. `GET` and
    /// `PUT` are sent again when they fail, so they must do the same when repeated.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, example = "POST")]
    method: Sent<FunctionMethod>,
    /// Sent with every request, at most 20. The values are secret: they are encrypted, and never answered whole.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Object>)]
    pub(super) headers: SentHeaders,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<bool>)]
    is_active: Sent<bool>,
}

/// A function's fields, the required ones among them.
pub(super) struct FunctionBody;

impl PartialSchema for FunctionBody {
    fn schema() -> RefOr<Schema> {
        let mut schema = FunctionPatch::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.extend(["name".to_owned(), "webhook_url".to_owned()]);
            object.description =
                Some("A function's fields; only `name` and `webhook_url` are required.".to_owned());
        }
        schema
    }
}

impl ToSchema for FunctionBody {}

const MAX_DESCRIPTION_CHARS: usize = 2_000;

impl FunctionPatch {
    /// `current` with what was sent put over it. Of the headers it has those that stay; [`secret_headers::sealed`]
    /// gives the new ones.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(super) fn merged_into(
        &self,
        current: Option<&FunctionSettings>,
        urls: UrlPolicy,
    ) -> Result<FunctionSettings, Problem> {
        let fresh = defaults();
        let base = current.unwrap_or(&fresh);
        let settings = FunctionSettings {
            name: or(self.name.clone(), &base.name, String::new),
            description: or(self.description.clone(), &base.description, String::new),
            parameters: or(self.parameters.clone(), &base.parameters, || fresh.parameters.clone()),
            webhook_url: or(self.webhook_url.clone(), &base.webhook_url, String::new),
            method: or(self.method, &base.method, || fresh.method),
            headers: secret_headers::staying(&self.headers, &base.headers),
            is_active: or(self.is_active, &base.is_active, || true),
        };
        let mut mistakes = Mistakes::default();
        secret_headers::check(&self.headers, settings.headers.len(), &[], &mut mistakes);
        check(&settings, urls, &mut mistakes);
        mistakes.into_result()?;
        Ok(settings)
    }
}

fn check(settings: &FunctionSettings, urls: UrlPolicy, mistakes: &mut Mistakes) {
    if tools::find(&settings.name).is_some() {
        mistakes.add("name", "is a built-in tool's");
    } else if !tools::is_function_name(&settings.name) {
        let max = tools::MAX_NAME_BYTES;
        mistakes.add(
            "name",
            format_args!("must begin with a letter and have up to {max} letters, digits, _ and -, and no __"),
        );
    }
    mistakes.check_text("description", &settings.description, MAX_DESCRIPTION_CHARS);
    match Parameters::new(&Value::Object(settings.parameters.clone())) {
        Ok(_) => mistakes.check_object("parameters", &settings.parameters, tools::MAX_PARAMETERS_BYTES),
        Err(error) => mistakes.add("parameters", error),
    }
    if let Err(refused) = guard::checked(&settings.webhook_url, urls) {
        mistakes.add("webhook_url", refused);
    }
}

fn defaults() -> FunctionSettings {
    let nothing = json!({ "type": "object", "properties": {} });
    FunctionSettings {
        name: String::new(),
        description: String::new(),
        parameters: nothing.as_object().cloned().unwrap_or_default(),
        webhook_url: String::new(),
        method: FunctionMethod::Post,
        headers: BTreeMap::new(),
        is_active: true,
    }
}
