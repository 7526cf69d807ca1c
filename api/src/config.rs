//! What the api is told at start; cli reads the environment and passes it.

use std::time::Duration;

use secrecy::SecretString;

#[derive(Clone, Debug)]
pub struct Config {
    /// `VOCALBRIDGE_OPERATOR_KEY`: creates tenants.
    pub operator_key: SecretString,
    /// `APP_URL`: where people reach this installation, without a slash at the end.
    pub app_url: String,
    /// `CORS_ORIGINS`: web pages of these origins may call; `*` is any.
    pub cors_origins: Vec<String>,
    /// The middle part of new API keys, such as `dev` or `live`; ASCII letters and digits.
    pub environment: String,
    /// The LLM vendors that are configured; the first is the default of new agents.
    pub providers: Vec<Provider>,
    /// Longer bodies are refused.
    pub max_body_bytes: usize,
    /// How long a message POST waits for its answer when the client does not say.
    pub default_wait: Duration,
    /// Message POSTs waiting at once in this process; more are refused with 503.
    pub max_waiting: usize,
}

/// An LLM vendor that agents can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Such as `vendor_a`.
    pub name: String,
    pub default_model: String,
    /// The vendor's models begin with one of these; empty: any name is taken, when the vendor is named too.
    pub model_prefixes: Vec<String>,
}

impl Config {
    /// 256 KiB.
    pub const DEFAULT_MAX_BODY_BYTES: usize = 256 * 1_024;
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
    pub const DEFAULT_MAX_WAITING: usize = 4_096;
}

impl Provider {
    /// Whether the vendor may be asked for a model of this name.
    pub(crate) fn has_model(&self, model: &str) -> bool {
        self.model_prefixes.is_empty() || self.is_named_by(model)
    }

    /// Whether the model's name alone says that it is this vendor's.
    pub(crate) fn is_named_by(&self, model: &str) -> bool {
        self.default_model == model
            || self.model_prefixes.iter().any(|prefix| model.starts_with(prefix.as_str()))
    }
}
