//! Tenants and their API keys.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentId, Sealed};

/// A business was given an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TenantCreated {
    pub name: String,
    /// Signs deliveries to a message's own `webhook_url`; sealed under the tenant's own key.
    pub webhook_secret: Sealed,
}

/// A tenant's own settings were replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TenantSettingsChanged {
    pub name: String,
    /// An IANA name, such as `Europe/Berlin`: its months are those of the tenant's budgets.
    pub time_zone: String,
}

/// What a tenant may have under way was set, in the place of what was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsSet {
    pub requests_per_minute: u32,
    /// Messages that are being answered at once.
    pub concurrent_turns: u32,
    pub concurrent_calls: u32,
}

/// A tenant has a new secret for the addresses that messages bring along. Both sign until the earlier one's time is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSecretRotated {
    /// Sealed under the tenant's own key.
    pub webhook_secret: Sealed,
    pub previous_until: DateTime<Utc>,
}

/// What a key may do; each role may do all that the ones after it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The tenant's own settings, keys, webhooks and budgets.
    Admin,
    /// Agents, prompts, functions, sessions and calls.
    Developer,
    /// Reads only.
    Viewer,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }

    /// Whether a key of this role may do what `needed` may.
    pub fn includes(self, needed: Self) -> bool {
        (self as u8) <= (needed as u8)
    }
}

/// An API key was issued. The key itself was shown once and is kept nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyCreated {
    pub name: String,
    pub role: Role,
    /// The part of the key that may be shown, such as `vb_live_4f9a1c`.
    pub prefix: String,
    /// Lower-case hex SHA-256 of the whole key.
    pub key_hash: String,
    /// `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// The only agents that it reaches, with what is theirs; `None`: all of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_ids: Option<Vec<AgentId>>,
    /// Beside the tenant's limit; `None`: that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// An API key got a new secret. What it may do stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRotated {
    /// The part of the new secret that may be shown.
    pub prefix: String,
    /// Lower-case hex SHA-256 of the whole new key.
    pub key_hash: String,
    /// No secret from before works longer than that.
    pub previous_ends_at: DateTime<Utc>,
}

/// An API key stopped working.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRevoked {}
