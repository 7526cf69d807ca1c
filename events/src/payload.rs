//! The list of all event types. To add one: write its struct in its family's module, add a line here and a sample in
//! [`crate::samples`]; then `vocalbridge schemas` writes its JSON Schema.
//!
//! A shipped payload is frozen. An optional field may be added to it; anything else is a new version with
//! `From<Old> for New`, applied when an old event is read.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    Lane, agent, appointment, billing, budget, call, function, invoice, mcp_server, prices, prompt,
    repricing, session, system, telephony, tenant, tool_run, voice_message, webhook,
};

/// What one event type is called and whose work it is.
pub trait EventPayload: Serialize + DeserializeOwned {
    /// The CloudEvents `type`, `vocalbridge.<family>.<verb>`.
    const TYPE: &'static str;
    /// Named by `dataschema`; 1-based.
    const VERSION: u16;
    const LANE: Lane;
}

/// The event's bytes are not what its type and version promise.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error("no event type {event_type:?} in version {version}")]
    Unknown { event_type: String, version: u16 },
    #[error("the payload of {event_type} does not fit its schema")]
    Malformed { event_type: &'static str, source: serde_json::Error },
}

macro_rules! payloads {
    ($($variant:ident($payload:ty) = $event_type:literal, version $version:literal, lane $lane:ident;)*) => {
        /// What happened: one variant per event type, in its newest version.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Payload {
            $($variant($payload),)*
        }

        impl Payload {
            /// The CloudEvents `type`.
            pub fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $event_type,)* }
            }

            pub fn version(&self) -> u16 {
                match self { $(Self::$variant(_) => $version,)* }
            }

            pub fn lane(&self) -> Lane {
                match self { $(Self::$variant(_) => Lane::$lane,)* }
            }

            /// The JSON that goes into the log.
            pub fn encode(&self) -> Bytes {
                let encoded = match self { $(Self::$variant(payload) => serde_json::to_vec(payload),)* };
                // Payloads are plain structs with string keys.
                encoded.expect("a payload struct always serialises").into()
            }

            /// Reads a payload back, bringing an older version up to the newest.
            ///
            /// # Errors
            /// When the type or version is unknown or the bytes do not fit.
            pub fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Result<Self, PayloadError> {
                match (event_type, version) {
                    $(($event_type, $version) => serde_json::from_slice(bytes)
                        .map(Self::$variant)
                        .map_err(|source| PayloadError::Malformed { event_type: $event_type, source }),)*
                    _ => Err(PayloadError::Unknown { event_type: event_type.to_owned(), version }),
                }
            }

            /// JSON Schema of every type and version.
            pub(crate) fn schemas() -> Vec<(&'static str, u16, Lane, schemars::Schema)> {
                vec![$(($event_type, $version, Lane::$lane, schemars::schema_for!($payload)),)*]
            }
        }

        $(
            impl EventPayload for $payload {
                const TYPE: &'static str = $event_type;
                const VERSION: u16 = $version;
                const LANE: Lane = Lane::$lane;
            }

            impl From<$payload> for Payload {
                fn from(payload: $payload) -> Self {
                    Self::$variant(payload)
                }
            }
        )*
    };
}

payloads! {
    TenantCreated(tenant::TenantCreated) = "vocalbridge.tenant.created", version 1, lane Note;
    KeyCreated(tenant::KeyCreated) = "vocalbridge.key.created", version 1, lane Note;
    KeyRotated(tenant::KeyRotated) = "vocalbridge.key.rotated", version 1, lane Note;
    KeyRevoked(tenant::KeyRevoked) = "vocalbridge.key.revoked", version 1, lane Note;
    AgentCreated(agent::AgentCreated) = "vocalbridge.agent.created", version 1, lane Note;
    AgentUpdated(agent::AgentUpdated) = "vocalbridge.agent.updated", version 1, lane Note;
    AgentDeleted(agent::AgentDeleted) = "vocalbridge.agent.deleted", version 1, lane Note;
    PromptCreated(prompt::PromptCreated) = "vocalbridge.prompt.created", version 1, lane Note;
    PromptUpdated(prompt::PromptUpdated) = "vocalbridge.prompt.updated", version 1, lane Note;
    PromptDeleted(prompt::PromptDeleted) = "vocalbridge.prompt.deleted", version 1, lane Note;
    DefaultPromptChosen(prompt::DefaultPromptChosen) = "vocalbridge.prompt.default_chosen", version 1, lane Note;
    InvoiceRecorded(invoice::InvoiceRecorded) = "vocalbridge.invoice.recorded", version 1, lane Note;
    AppointmentBooked(appointment::AppointmentBooked) = "vocalbridge.appointment.booked", version 1, lane Note;
    FunctionCreated(function::FunctionCreated) = "vocalbridge.function.created", version 1, lane Note;
    FunctionUpdated(function::FunctionUpdated) = "vocalbridge.function.updated", version 1, lane Note;
    FunctionDeleted(function::FunctionDeleted) = "vocalbridge.function.deleted", version 1, lane Note;
    McpServerCreated(mcp_server::McpServerCreated) = "vocalbridge.mcp_server.created", version 1, lane Note;
    McpServerUpdated(mcp_server::McpServerUpdated) = "vocalbridge.mcp_server.updated", version 1, lane Note;
    McpServerDeleted(mcp_server::McpServerDeleted) = "vocalbridge.mcp_server.deleted", version 1, lane Note;
    SessionCreated(session::SessionCreated) = "vocalbridge.session.created", version 1, lane Note;
    MessageReceived(session::MessageReceived) = "vocalbridge.session.message_received", version 1, lane Turn;
    TurnStarted(session::TurnStarted) = "vocalbridge.session.turn_started", version 1, lane Note;
    VendorAttempted(session::VendorAttempted) = "vocalbridge.session.vendor_attempted", version 1, lane Note;
    ToolRequested(session::ToolRequested) = "vocalbridge.session.tool_requested", version 1, lane Tool;
    ToolCompleted(session::ToolCompleted) = "vocalbridge.session.tool_completed", version 1, lane Note;
    SessionSummarized(session::SessionSummarized) = "vocalbridge.session.summarized", version 1, lane Note;
    ReplyCompleted(session::ReplyCompleted) = "vocalbridge.session.reply_completed", version 1, lane Note;
    TurnFailed(session::TurnFailed) = "vocalbridge.session.turn_failed", version 1, lane Note;
    SessionEnded(session::SessionEnded) = "vocalbridge.session.ended", version 1, lane Note;
    Greeted(session::Greeted) = "vocalbridge.session.greeted", version 1, lane Note;
    ReplyInterrupted(session::ReplyInterrupted) = "vocalbridge.session.reply_interrupted", version 1, lane Note;
    CancelRequested(session::CancelRequested) = "vocalbridge.session.cancel_requested", version 1, lane Note;
    CallStarted(call::CallStarted) = "vocalbridge.call.started", version 1, lane Voice;
    CallClaimed(call::CallClaimed) = "vocalbridge.call.claimed", version 1, lane Note;
    CallConnected(call::CallConnected) = "vocalbridge.call.connected", version 1, lane Note;
    TurnMeasured(call::TurnMeasured) = "vocalbridge.call.turn_measured", version 1, lane Note;
    ReplySpoken(call::ReplySpoken) = "vocalbridge.call.reply_spoken", version 1, lane Note;
    SpeechMetered(call::SpeechWorkMetered) = "vocalbridge.call.speech_metered", version 1, lane Note;
    CallEnded(call::CallEnded) = "vocalbridge.call.ended", version 1, lane Summary;
    CallSummarized(call::CallSummarized) = "vocalbridge.call.summarized", version 1, lane Note;
    HangupRequested(call::HangupRequested) = "vocalbridge.call.hangup_requested", version 1, lane Note;
    CallDeleted(call::CallDeleted) = "vocalbridge.call.deleted", version 1, lane Note;
    RecordingReceived(voice_message::RecordingReceived) = "vocalbridge.session.recording_received", version 1, lane Voice;
    ReplyVoiced(voice_message::ReplyVoiced) = "vocalbridge.session.reply_voiced", version 1, lane Note;
    SpeechDone(voice_message::SpeechDone) = "vocalbridge.session.speech_metered", version 1, lane Note;
    ToolRunRequested(tool_run::ToolRunRequested) = "vocalbridge.tool_run.requested", version 1, lane Tool;
    ToolRunCompleted(tool_run::ToolRunCompleted) = "vocalbridge.tool_run.completed", version 1, lane Note;
    NumberAssigned(telephony::NumberAssigned) = "vocalbridge.telephony.number_assigned", version 1, lane Note;
    NumberReleased(telephony::NumberReleased) = "vocalbridge.telephony.number_released", version 1, lane Note;
    TwilioConfigured(telephony::TwilioConfigured) = "vocalbridge.telephony.twilio_configured", version 1, lane Note;
    TwilioRemoved(telephony::TwilioRemoved) = "vocalbridge.telephony.twilio_removed", version 1, lane Note;
    TenantSettingsChanged(tenant::TenantSettingsChanged) = "vocalbridge.tenant.settings_changed", version 1, lane Note;
    LimitsSet(tenant::LimitsSet) = "vocalbridge.limits.set", version 1, lane Note;
    BudgetSet(budget::BudgetSet) = "vocalbridge.budget.set", version 1, lane Note;
    BudgetRemoved(budget::BudgetRemoved) = "vocalbridge.budget.removed", version 1, lane Note;
    BudgetAlerted(budget::BudgetAlerted) = "vocalbridge.budget.alerted", version 1, lane Note;
    PricesChanged(prices::PricesChanged) = "vocalbridge.price_book.changed", version 1, lane Note;
    RepricingRequested(repricing::RepricingRequested) = "vocalbridge.repricing.requested", version 1, lane Repricing;
    TenantRepriced(repricing::TenantRepriced) = "vocalbridge.repricing.tenant_repriced", version 1, lane Note;
    RepricingCompleted(repricing::RepricingCompleted) = "vocalbridge.repricing.completed", version 1, lane Note;
    RepricingFailed(repricing::RepricingFailed) = "vocalbridge.repricing.failed", version 1, lane Note;
    LedgerAdjusted(repricing::LedgerAdjusted) = "vocalbridge.ledger.adjusted", version 1, lane Note;
    InvoiceClosed(billing::InvoiceClosed) = "vocalbridge.billing.invoice_closed", version 1, lane Note;
    WebhookCreated(webhook::WebhookCreated) = "vocalbridge.webhook.created", version 1, lane Note;
    WebhookChanged(webhook::WebhookChanged) = "vocalbridge.webhook.changed", version 1, lane Note;
    WebhookSecretRotated(webhook::WebhookSecretRotated) = "vocalbridge.webhook.secret_rotated", version 1, lane Note;
    WebhookDisabled(webhook::WebhookDisabled) = "vocalbridge.webhook.disabled", version 1, lane Note;
    WebhookDeleted(webhook::WebhookDeleted) = "vocalbridge.webhook.deleted", version 1, lane Note;
    DeliveryQueued(webhook::DeliveryQueued) = "vocalbridge.webhook.delivery_queued", version 1, lane Webhook;
    DeliveryAttempted(webhook::DeliveryAttempted) = "vocalbridge.webhook.delivery_attempted", version 1, lane Note;
    DeliveryAbandoned(webhook::DeliveryAbandoned) = "vocalbridge.webhook.delivery_abandoned", version 1, lane Note;
    TenantWebhookSecretRotated(tenant::WebhookSecretRotated) = "vocalbridge.tenant.webhook_secret_rotated", version 1, lane Note;
    JobsRetired(system::JobsRetired) = "vocalbridge.jobs.retired", version 1, lane Note;
    DeliveryParked(system::DeliveryParked) = "vocalbridge.system.delivery_parked", version 1, lane Note;
}
