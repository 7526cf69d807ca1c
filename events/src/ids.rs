//! Newtypes for every id. All are UUIDv7 unless said otherwise, so they sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, unique and ordered by time.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

uuid_id! {
    /// A business that uses VocalBridge.
    TenantId;
    /// One API key of a tenant (its record, not its secret).
    ApiKeyId;
    /// An AI agent of a tenant.
    AgentId;
    /// A system prompt of a tenant, over all its versions.
    PromptId;
    /// A conversation between a customer and an agent, by chat or by voice.
    SessionId;
    /// One call; of a carrier's call derived from the carrier's own name of it, so that a repeated webhook is the same call.
    CallId;
    /// One message of a session, by the customer or by the assistant.
    MessageId;
    /// The work that one accepted message (or replay) causes, as its user sees it.
    JobId;
    /// One turn: from taking a message to its terminal event, over all its attempts.
    TurnId;
    /// One tool call, inside a turn or by hand.
    ToolCallId;
    /// A tenant's own function.
    FunctionId;
    /// A tenant's MCP server.
    McpServerId;
    /// One booked appointment; derived from the tool call that booked it, so that the call books once.
    AppointmentId;
    /// One correction of what was charged.
    RepricingId;
    /// A file that belongs to a conversation: a recording that was sent, a reply that was spoken.
    ArtefactId;
    /// An address of a tenant's that is told what happens.
    WebhookId;
    /// One thing that one recipient is told, over all its attempts; derived from the event and the recipient.
    DeliveryId;
    /// One event of the log; also the `Nats-Msg-Id` it is de-duplicated by.
    EventId;
    /// The data key that seals one customer's words; a pseudonym for the customer in the log.
    CustomerKeyId;
}

impl TenantId {
    /// The tenant of events that are about no tenant; written `system`.
    pub const SYSTEM: Self = Self(Uuid::nil());
    const SYSTEM_NAME: &str = "system";

    /// The token used in subjects and in the `tenantid` attribute.
    pub fn token(self) -> String {
        if self == Self::SYSTEM { Self::SYSTEM_NAME.to_owned() } else { self.to_string() }
    }

    /// # Errors
    /// When the text is neither `system` nor a UUID.
    pub fn from_token(token: &str) -> Result<Self, uuid::Error> {
        if token == Self::SYSTEM_NAME { Ok(Self::SYSTEM) } else { token.parse() }
    }
}

impl CallId {
    /// The place of one segment of the call's recording: what its audio is sealed for.
    pub fn recorded_segment(self, index: u32) -> Uuid {
        Uuid::new_v5(&self.0, format!("recording {index}").as_bytes())
    }
}

impl DeliveryId {
    /// What `recipient` is told of the event `event_id` under the public name `event_type`. A UUIDv7 of the event's time,
    /// so that deliveries sort as things happened; the same whenever it is derived.
    pub fn of(event_id: EventId, at: DateTime<Utc>, event_type: &str, recipient: Uuid) -> Self {
        let named = Uuid::new_v5(&recipient, format!("{event_id} {event_type}").as_bytes());
        let mut bytes = *named.as_bytes();
        bytes[..6].copy_from_slice(&at.timestamp_millis().to_be_bytes()[2..]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        Self(Uuid::from_bytes(bytes))
    }
}

impl ArtefactId {
    /// The place of one chunk of the file: what its bytes are sealed for.
    pub fn chunk(self, number: u32) -> Uuid {
        Uuid::new_v5(&self.0, format!("chunk {number}").as_bytes())
    }
}

/// Ties together everything that one request caused. Taken from the client's `X-Correlation-ID`, or made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// Longest accepted value, in bytes.
    pub const MAX_LEN: usize = 128;

    pub fn new() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    /// Takes a client's value when it is 1 to 128 visible ASCII characters; headers and logs can hold nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= Self::MAX_LEN
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
