//! A tenant's phone numbers and its accounts with carriers: one history (family `telephony`, under the tenant's id).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentId, Sealed};

/// Calls to a number of the tenant's are answered by this agent from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NumberAssigned {
    /// E.164, such as `+14155550100`.
    pub number: String,
    pub agent_id: AgentId,
}

/// The number is nobody's any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NumberReleased {
    pub number: String,
}

/// The tenant's own Twilio account, in the place of one that was set before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TwilioConfigured {
    /// `AC…`.
    pub account_sid: String,
    /// Sealed under the tenant's own key.
    pub auth_token: Sealed,
}

/// The tenant has no Twilio account of its own any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TwilioRemoved {}
