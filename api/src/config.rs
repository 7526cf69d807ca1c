//! What the api is told at start; cli reads the environment and passes it.

use std::time::Duration;

use domain::{PriceList, Windows};
use events::TenantId;
use secrecy::SecretString;
use vendors::http::guard::UrlPolicy;

use crate::SocketLimits;

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
    pub language_models: LanguageModels,
    /// Which URLs tenants may give.
    pub urls: UrlPolicy,
    pub sockets: SocketLimits,
    pub telephony: Telephony,
    /// The list for everybody, as it stood in the log when the process started.
    pub prices: PriceList,
    /// How much each model can take in and answer.
    pub windows: Windows,
    /// How long the room counts as taken that was reserved for work, unless the work is accepted before.
    pub reservation_lease: Duration,
    /// Longer bodies are refused.
    pub max_body_bytes: usize,
    /// How long a message POST waits for its answer when the client does not say.
    pub default_wait: Duration,
    /// Message POSTs waiting at once in this process; more are refused with 503.
    pub max_waiting: usize,
    /// Streams of session events open at once in this process; more are refused with 503.
    pub max_following: usize,
}

/// Carriers, and whose numbers nobody has assigned.
#[derive(Clone, Debug, Default)]
pub struct Telephony {
    /// The account of tenants that have none of their own.
    pub twilio: Option<TwilioAccount>,
    /// Calls to numbers that are not assigned are this tenant's; `None`: they are refused.
    pub default_tenant_id: Option<TenantId>,
}

#[derive(Clone, Debug)]
pub struct TwilioAccount {
    /// `AC…`.
    pub account_sid: String,
    pub auth_token: SecretString,
}

/// Whom agents can be given to think with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanguageModels {
    /// The vendors that are configured; the first is the default of new agents.
    pub providers: Vec<Provider>,
    /// Vendors that would be there if a variable were set.
    pub absent: Vec<AbsentProvider>,
    /// How much of a conversation each model can be told.
    pub windows: Windows,
}

/// An LLM vendor that agents can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Such as `vendor_a`.
    pub name: String,
    /// The model of an agent that names none.
    pub default_model: Option<String>,
    /// The variable that sets `default_model`, if there is one.
    pub default_model_variable: Option<String>,
    /// A model whose name begins with one of these is the vendor's.
    pub model_prefixes: Vec<String>,
    /// Whether it is asked for other models too, when the vendor is named.
    pub takes_any_model: bool,
}

/// An LLM vendor that is known and not configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentProvider {
    pub name: String,
    /// The variable that would configure it, such as `OPENAI_API_KEY`.
    pub variable: String,
    pub model_prefixes: Vec<String>,
}

impl Config {
    /// 256 KiB.
    pub const DEFAULT_MAX_BODY_BYTES: usize = 256 * 1_024;
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
    pub const DEFAULT_MAX_WAITING: usize = 4_096;
    pub const DEFAULT_MAX_FOLLOWING: usize = 4_096;
}

impl Provider {
    /// Whether the vendor may be asked for a model of this name.
    pub(crate) fn has_model(&self, model: &str) -> bool {
        self.takes_any_model || self.is_named_by(model)
    }

    /// Whether the model's name alone says that it is this vendor's.
    pub(crate) fn is_named_by(&self, model: &str) -> bool {
        self.default_model.as_deref() == Some(model) || begins_with_any(model, &self.model_prefixes)
    }
}

impl AbsentProvider {
    /// Whether the model's name alone says that it is this vendor's.
    pub(crate) fn is_named_by(&self, model: &str) -> bool {
        begins_with_any(model, &self.model_prefixes)
    }
}

fn begins_with_any(model: &str, prefixes: &[String]) -> bool {
    prefixes.iter().any(|prefix| model.starts_with(prefix.as_str()))
}
