//! From what a client sends to an endpoint's settings: defaults, merging, and every check.

use std::collections::BTreeSet;

use domain::webhooks::{EVERYTHING, PublicEvent};
use events::webhook::WebhookSettings;
use serde::Deserialize;
use utoipa::ToSchema;
use vendors::http::guard::{self, UrlPolicy};

use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::validation::Mistakes;

const MAX_DESCRIPTION_CHARS: usize = 500;

/// An endpoint.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// `https://`, and no private, local or reserved address. Redirects are not followed.
    #[schema(max_length = 2048, example = "https://crm.example.com/hooks/vocalbridge")]
    url: String,
    /// What it is told of: names of events, or `*` for everything, later kinds too.
    #[schema(example = json!(["job.completed", "call.ended"]))]
    events: Vec<String>,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
    #[serde(default = "yes")]
    #[schema(default = true)]
    is_active: bool,
}

fn yes() -> bool {
    true
}

/// An endpoint's fields. JSON merge patch (RFC 7396): what is left out stays as it is, `null` goes back to the default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebhookPatch {
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 2048)]
    url: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<Vec<String>>)]
    events: Sent<Vec<String>>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, max_length = 500)]
    description: Sent<String>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<bool>)]
    is_active: Sent<bool>,
}

impl NewWebhook {
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(super) fn settings(&self, urls: UrlPolicy) -> Result<WebhookSettings, Problem> {
        let Self { url, events, description, is_active } = self.clone();
        checked(WebhookSettings { url, description, events, is_active }, urls)
    }
}

impl WebhookPatch {
    /// `current` with what was sent put over it.
    ///
    /// # Errors
    /// When a value is not allowed; all mistakes at once.
    pub(super) fn merged_into(
        &self,
        current: &WebhookSettings,
        urls: UrlPolicy,
    ) -> Result<WebhookSettings, Problem> {
        let Self { url, events, description, is_active } = self.clone();
        let merged = WebhookSettings {
            url: or(url, &current.url, String::new),
            events: or(events, &current.events, Vec::new),
            description: or(description, &current.description, String::new),
            is_active: or(is_active, &current.is_active, yes),
        };
        checked(merged, urls)
    }
}

fn checked(settings: WebhookSettings, urls: UrlPolicy) -> Result<WebhookSettings, Problem> {
    let mut mistakes = Mistakes::default();
    mistakes.check_text("description", &settings.description, MAX_DESCRIPTION_CHARS);
    if let Err(refused) = guard::checked(&settings.url, urls) {
        mistakes.add("url", refused);
    }
    if settings.events.is_empty() {
        mistakes.add("events", "must name at least one event, or be [\"*\"]");
    }
    let mut seen = BTreeSet::new();
    for (index, name) in settings.events.iter().enumerate() {
        let field = format!("events[{index}]");
        if name != EVERYTHING && PublicEvent::from_name(name).is_none() {
            mistakes.add(&field, "is no event; the documentation of webhooks lists them");
        } else if !seen.insert(name) {
            mistakes.add(&field, "is named twice");
        }
    }
    mistakes.into_result()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STRICT: UrlPolicy = UrlPolicy { allow_private: false };

    fn new(value: serde_json::Value) -> Result<WebhookSettings, Problem> {
        serde_json::from_value::<NewWebhook>(value).unwrap().settings(STRICT)
    }

    #[test]
    fn url_and_events_are_checked_and_the_rest_has_defaults() {
        let settings = new(json!({ "url": "https://example.com/a", "events": ["call.ended"] })).unwrap();
        assert!(settings.is_active && settings.description.is_empty());
        for (url, events) in [
            ("http://example.com/", json!(["*"])),
            ("https://127.0.0.1/", json!(["*"])),
            ("https://example.com/", json!([])),
            ("https://example.com/", json!(["call.*"])),
            ("https://example.com/", json!(["*", "*"])),
        ] {
            assert!(new(json!({ "url": url, "events": events })).is_err(), "{url} {events}");
        }
    }

    #[test]
    fn what_is_left_out_stays() {
        let settings =
            new(json!({ "url": "https://example.com/a", "events": ["*"], "description": "x" })).unwrap();
        let patch = |value| serde_json::from_value::<WebhookPatch>(value).unwrap();
        let patched = patch(json!({ "is_active": false, "description": null }));
        let patched = patched.merged_into(&settings, STRICT).unwrap();
        assert_eq!((patched.is_active, patched.description.as_str()), (false, ""));
        assert_eq!((&patched.url, &patched.events), (&settings.url, &settings.events));
        assert!(patch(json!({ "events": null })).merged_into(&settings, STRICT).is_err());
    }
}
