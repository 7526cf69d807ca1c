//! Webhooks: addresses of a tenant's that are told what happens, and what was sent to them.
//!
//! The endpoints of a tenant are one history (family `webhooks`, under the tenant's id). What was sent to one of them
//! stands beside it (family `webhook_deliveries`, under the endpoint's id, or the tenant's for addresses that messages
//! brought along), so that recording an attempt never disturbs the endpoints' compare-and-set.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DeliveryId, EventId, Sealed, WebhookId};

/// Everything a tenant sets on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSettings {
    pub url: String,
    pub description: String,
    /// Public names such as `job.completed`, or `*` for all of them.
    pub events: Vec<String>,
    pub is_active: bool,
}

/// An endpoint was made; its version is 1. The append is conditional on the last event of all the tenant's endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookCreated {
    pub webhook_id: WebhookId,
    pub settings: WebhookSettings,
    /// Signs what is sent; sealed under the tenant's own key.
    pub secret: Sealed,
}

/// An endpoint's settings were replaced. One that is switched on again is no longer disabled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookChanged {
    pub webhook_id: WebhookId,
    /// Counts up from 1 with every change.
    pub version: u32,
    pub settings: WebhookSettings,
}

/// An endpoint has a new secret. Both sign until the earlier one's time is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookSecretRotated {
    pub webhook_id: WebhookId,
    /// Sealed under the tenant's own key.
    pub secret: Sealed,
    pub previous_until: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// It answered 410: it wants nothing any more.
    Gone,
    /// Every attempt of a delivery failed, and nothing else was delivered meanwhile.
    Failing,
}

impl DisabledReason {
    pub const ALL: [Self; 2] = [Self::Gone, Self::Failing];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// We switched an endpoint off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDisabled {
    pub webhook_id: WebhookId,
    pub reason: DisabledReason,
    /// The delivery that showed it.
    pub delivery_id: DeliveryId,
}

/// An endpoint was deleted; what was still to be sent to it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDeleted {
    pub webhook_id: WebhookId,
}

/// An address that came with a message and is told how the message ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Callback {
    /// Under the customer's key.
    pub url: Sealed,
    /// The event that `url` is sealed for.
    pub sealed_for: EventId,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    Endpoint(WebhookId),
    Callback(Callback),
}

impl Recipient {
    /// `None`: it is an address that came with a message.
    pub fn webhook_id(&self) -> Option<WebhookId> {
        match self {
            Self::Endpoint(webhook_id) => Some(*webhook_id),
            Self::Callback(_) => None,
        }
    }
}

/// Why something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueuedFor {
    /// It happened.
    Event,
    /// Somebody tries the endpoint: one attempt, also when the endpoint is switched off.
    Test,
    /// Somebody wants it sent again, under the same id.
    Redelivery,
}

/// Something is to be sent; attempts follow until one succeeds or the schedule is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryQueued {
    /// `webhook-id`: the same in every attempt. Derived from the event and the recipient.
    pub delivery_id: DeliveryId,
    pub recipient: Recipient,
    pub queued_for: QueuedFor,
    /// The public name.
    pub event_type: String,
    /// What happened.
    pub event_id: EventId,
    /// The request's body: JSON, with ids and never with anybody's words.
    pub body: String,
    /// The data key that seals what is answered: the customer's that it is about, else the tenant's own.
    pub seal_with: Uuid,
}

/// How an attempt leaves its delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum AttemptEnd {
    Delivered,
    /// It is tried again.
    Again {
        at: DateTime<Utc>,
    },
    /// It is not tried again.
    Failed,
}

/// One request to a recipient ended, well or badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryAttempted {
    pub delivery_id: DeliveryId,
    /// `None`: to an address that came with a message.
    pub webhook_id: Option<WebhookId>,
    /// 1-based since it was queued. A worker that died may leave the same number twice.
    pub number: u32,
    pub started_at: DateTime<Utc>,
    pub duration_ms: u64,
    /// `None`: there was no answer.
    pub status: Option<u16>,
    /// Stable and short, such as `http_500` or `timeout`; `None` when it succeeded.
    pub error_code: Option<String>,
    /// The first bytes of the answer, sealed for this event; `None`: it was empty, or its customer is erased.
    pub response: Option<Sealed>,
    /// There was more of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub response_cut: bool,
    pub end: AttemptEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AbandonedReason {
    /// The endpoint was switched off, by us or by the tenant.
    Disabled,
    Deleted,
    /// The customer of the message that brought the address along was erased.
    Erased,
    /// We failed; an operator finds the delivery in the dead letters.
    InternalError,
}

impl AbandonedReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "endpoint_disabled",
            Self::Deleted => "endpoint_deleted",
            Self::Erased => "customer_erased",
            Self::InternalError => "internal_error",
        }
    }
}

/// What was queued is not sent any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryAbandoned {
    pub delivery_id: DeliveryId,
    /// `None`: to an address that came with a message.
    pub webhook_id: Option<WebhookId>,
    pub reason: AbandonedReason,
}
