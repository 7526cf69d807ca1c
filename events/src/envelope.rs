//! The CloudEvents 1.0 attributes that every event carries, and the aggregate it belongs to.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    AgentId, ApiKeyId, CallId, CorrelationId, EventId, Payload, PromptId, RepricingId, SessionId, TenantId,
    ToolCallId, WebhookId,
};

/// One event: who, when and why around what.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub envelope: Envelope,
    pub payload: Payload,
}

/// CloudEvents attributes of an event. `type` and `dataschema` follow from the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub id: EventId,
    /// The role that wrote it, such as `vocalbridge/api`.
    pub source: String,
    pub time: DateTime<Utc>,
    /// What the event is about; the CloudEvents `subject`.
    pub aggregate: Aggregate,
    pub origin: Origin,
    /// The event that led to this one; `None` for a root.
    pub causation_id: Option<EventId>,
}

/// Attributes that pass unchanged from an event to all it causes, except the actor.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub correlation_id: CorrelationId,
    /// Who acted: `key:<id>`, `operator`, `worker:<role>@<host>:<pid>`, or `system`.
    pub actor: String,
    /// W3C Trace Context; always there.
    pub traceparent: String,
    /// The key that all this is done for, and counted on; `None`: nobody's, as a call that comes in.
    pub key_id: Option<ApiKeyId>,
}

/// How a new event came about: its origin, and the event that caused it.
#[derive(Clone, Debug)]
pub struct Cause {
    pub origin: Origin,
    pub causation_id: Option<EventId>,
}

impl Cause {
    /// The cause of whatever `worker` does because of `event`.
    pub fn by(event: &Event, worker: &str) -> Self {
        let origin = Origin { actor: worker.to_owned(), ..event.envelope.origin.clone() };
        Self { origin, causation_id: Some(event.envelope.id) }
    }
}

impl Event {
    /// A new event about `aggregate`. `source` is the role that writes it.
    pub fn new(
        id: EventId,
        time: DateTime<Utc>,
        source: &str,
        aggregate: Aggregate,
        cause: &Cause,
        payload: impl Into<Payload>,
    ) -> Self {
        let envelope = Envelope {
            id,
            source: source.to_owned(),
            time,
            aggregate,
            origin: cause.origin.clone(),
            causation_id: cause.causation_id,
        };
        Self { envelope, payload: payload.into() }
    }
}

/// The kind of thing an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Tenant,
    Key,
    Agent,
    Prompt,
    /// Which prompt is a tenant's default, under the tenant's id.
    DefaultPrompt,
    Invoice,
    /// The appointments of one agent, under the agent's id.
    Calendar,
    /// All functions of one tenant, under the tenant's id.
    Functions,
    /// All MCP servers of one tenant, under the tenant's id.
    McpServers,
    /// The phone numbers and carriers of one tenant, under the tenant's id.
    Telephony,
    /// All budgets of one tenant, under the tenant's id.
    Budgets,
    /// A price list: everybody's under the system's id, what was agreed with a tenant under the tenant's.
    PriceBook,
    /// Re-pricings: all of them under the system's id, and how far one has come under its own.
    Repricing,
    /// What was corrected of a tenant's ledger, under the tenant's id.
    Ledger,
    /// Which months of a tenant's are closed, under the tenant's id.
    Billing,
    Session,
    /// Facts about a session that no decision depends on (vendor attempts, tool runs): they stand beside the session,
    /// under the session's id, so that recording one never fails and never disturbs the session's compare-and-set.
    SessionFacts,
    Call,
    /// One run of a tool by hand, under the run's id.
    ToolRun,
    /// The webhooks of one tenant, under the tenant's id.
    Webhooks,
    /// What was sent to one webhook, under its id; to addresses that messages brought along, under the tenant's.
    WebhookDeliveries,
    /// What becomes of the jobs of one partition; no job's own history.
    Jobs,
    /// The installation itself: dead letters.
    System,
}

impl Family {
    pub const ALL: [Self; 23] = [
        Self::Tenant,
        Self::Key,
        Self::Agent,
        Self::Prompt,
        Self::DefaultPrompt,
        Self::Invoice,
        Self::Calendar,
        Self::Functions,
        Self::McpServers,
        Self::Telephony,
        Self::Budgets,
        Self::PriceBook,
        Self::Repricing,
        Self::Ledger,
        Self::Billing,
        Self::Session,
        Self::SessionFacts,
        Self::Call,
        Self::ToolRun,
        Self::Webhooks,
        Self::WebhookDeliveries,
        Self::Jobs,
        Self::System,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Agent => "agent",
            Self::Prompt => "prompt",
            Self::DefaultPrompt => "default_prompt",
            Self::Invoice => "invoice",
            Self::Calendar => "calendar",
            Self::Functions => "functions",
            Self::McpServers => "mcp_servers",
            Self::Telephony => "telephony",
            Self::Budgets => "budgets",
            Self::PriceBook => "price_book",
            Self::Repricing => "repricing",
            Self::Ledger => "ledger",
            Self::Billing => "billing",
            Self::Session => "session",
            Self::SessionFacts => "session_facts",
            Self::Call => "call",
            Self::ToolRun => "tool_run",
            Self::Webhooks => "webhooks",
            Self::WebhookDeliveries => "webhook_deliveries",
            Self::Jobs => "jobs",
            Self::System => "system",
        }
    }
}

/// Whose work an event is: the worker role that must act on it, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Turn,
    Tool,
    /// Talking on a call.
    Voice,
    /// Putting what was said into few words.
    Summary,
    /// Correcting what was charged.
    Repricing,
    /// Telling a tenant's webhooks.
    Webhook,
    Note,
}

impl Lane {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Tool => "tool",
            Self::Voice => "voice",
            Self::Summary => "summary",
            Self::Repricing => "repricing",
            Self::Webhook => "webhook",
            Self::Note => "note",
        }
    }
}

/// The thing whose history an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggregate {
    pub tenant_id: TenantId,
    pub family: Family,
    pub id: Uuid,
}

impl Aggregate {
    pub fn tenant(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Tenant, id: tenant_id.0 }
    }

    pub fn key(tenant_id: TenantId, key_id: ApiKeyId) -> Self {
        Self { tenant_id, family: Family::Key, id: key_id.0 }
    }

    pub fn agent(tenant_id: TenantId, agent_id: AgentId) -> Self {
        Self { tenant_id, family: Family::Agent, id: agent_id.0 }
    }

    pub fn prompt(tenant_id: TenantId, prompt_id: PromptId) -> Self {
        Self { tenant_id, family: Family::Prompt, id: prompt_id.0 }
    }

    /// All choices of a tenant's default are one history: which one is the last must not depend on where the prompts'
    /// own histories are kept.
    pub fn default_prompt(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::DefaultPrompt, id: tenant_id.0 }
    }

    /// An invoice is known by the tenant's own number for it; the aggregate's id is derived from that.
    pub fn invoice(tenant_id: TenantId, invoice_number: &str) -> Self {
        Self { tenant_id, family: Family::Invoice, id: Uuid::new_v5(&tenant_id.0, invoice_number.as_bytes()) }
    }

    /// All bookings of an agent are one history: whether a time is free depends on every other booking.
    pub fn calendar(tenant_id: TenantId, agent_id: AgentId) -> Self {
        Self { tenant_id, family: Family::Calendar, id: agent_id.0 }
    }

    /// All functions of a tenant are one history: whether a name is free depends on every other function.
    pub fn functions(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Functions, id: tenant_id.0 }
    }

    /// All MCP servers of a tenant are one history, as its functions are.
    pub fn mcp_servers(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::McpServers, id: tenant_id.0 }
    }

    /// All numbers of a tenant are one history, as its functions are.
    pub fn telephony(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Telephony, id: tenant_id.0 }
    }

    /// All budgets of a tenant are one history: so is what was told of them.
    pub fn budgets(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Budgets, id: tenant_id.0 }
    }

    /// [`TenantId::SYSTEM`]: the list for everybody. All versions of a list are one history: which is the newest must be
    /// the same for everybody who reads it.
    pub fn price_book(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::PriceBook, id: tenant_id.0 }
    }

    /// All re-pricings are one history: one comes after the other.
    pub fn repricings() -> Self {
        Self { tenant_id: TenantId::SYSTEM, family: Family::Repricing, id: Uuid::nil() }
    }

    pub fn repricing(repricing_id: RepricingId) -> Self {
        Self { tenant_id: TenantId::SYSTEM, family: Family::Repricing, id: repricing_id.0 }
    }

    pub fn ledger(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Ledger, id: tenant_id.0 }
    }

    /// All closed months of a tenant are one history: one is closed after the other.
    pub fn billing(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Billing, id: tenant_id.0 }
    }

    pub fn session(tenant_id: TenantId, session_id: SessionId) -> Self {
        Self { tenant_id, family: Family::Session, id: session_id.0 }
    }

    pub fn session_facts(tenant_id: TenantId, session_id: SessionId) -> Self {
        Self { tenant_id, family: Family::SessionFacts, id: session_id.0 }
    }

    pub fn call(tenant_id: TenantId, call_id: CallId) -> Self {
        Self { tenant_id, family: Family::Call, id: call_id.0 }
    }

    pub fn tool_run(tenant_id: TenantId, tool_call_id: ToolCallId) -> Self {
        Self { tenant_id, family: Family::ToolRun, id: tool_call_id.0 }
    }

    /// All webhooks of a tenant are one history, as its functions are.
    pub fn webhooks(tenant_id: TenantId) -> Self {
        Self { tenant_id, family: Family::Webhooks, id: tenant_id.0 }
    }

    /// `webhook_id` `None`: to addresses that messages brought along.
    pub fn webhook_deliveries(tenant_id: TenantId, webhook_id: Option<WebhookId>) -> Self {
        let id = webhook_id.map_or(tenant_id.0, Uuid::from);
        Self { tenant_id, family: Family::WebhookDeliveries, id }
    }

    /// `id` is any that leads to the partition.
    pub fn jobs(id: Uuid) -> Self {
        Self { tenant_id: TenantId::SYSTEM, family: Family::Jobs, id }
    }

    pub fn system() -> Self {
        Self { tenant_id: TenantId::SYSTEM, family: Family::System, id: Uuid::nil() }
    }
}

/// `<family>/<id>`: the CloudEvents `subject`.
impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.family.as_str(), self.id.as_hyphenated())
    }
}

/// The text is not a family of ours.
#[derive(Debug, thiserror::Error)]
#[error("unknown family {0:?}")]
pub struct UnknownFamily(String);

impl FromStr for Family {
    type Err = UnknownFamily;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|family| family.as_str() == text)
            .ok_or_else(|| UnknownFamily(text.to_owned()))
    }
}
