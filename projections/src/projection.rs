//! The list of all projections. To add one: write its file and its migration, and add it here.

use events::{Entry, Event, Payload};
use sqlx::PgConnection;

use crate::{
    appointments, archive, budgets, calls, configuration, jobs, ledger, provider_calls, tool_executions,
    transcripts, voice_messages, webhooks,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    Configuration,
    Transcripts,
    Jobs,
    ProviderCalls,
    ToolExecutions,
    Ledger,
    Appointments,
    Calls,
    VoiceMessages,
    Webhooks,
    Budgets,
    Archive,
}

/// A table of a projection and the columns of its primary key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    pub key: &'static [&'static str],
}

impl Projection {
    pub const ALL: [Self; 12] = [
        Self::Configuration,
        Self::Transcripts,
        Self::Jobs,
        Self::ProviderCalls,
        Self::ToolExecutions,
        Self::Ledger,
        Self::Appointments,
        Self::Calls,
        Self::VoiceMessages,
        Self::Webhooks,
        Self::Budgets,
        Self::Archive,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Transcripts => "transcripts",
            Self::Jobs => "jobs",
            Self::ProviderCalls => "provider_calls",
            Self::ToolExecutions => "tool_executions",
            Self::Ledger => "ledger",
            Self::Appointments => "appointments",
            Self::Calls => "calls",
            Self::VoiceMessages => "voice_messages",
            Self::Webhooks => "webhooks",
            Self::Budgets => "budgets",
            Self::Archive => "archive",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|projection| projection.name() == name)
    }

    pub(crate) fn tables(self) -> &'static [Table] {
        match self {
            Self::Configuration => configuration::TABLES,
            Self::Transcripts => transcripts::TABLES,
            Self::Jobs => jobs::TABLES,
            Self::ProviderCalls => provider_calls::TABLES,
            Self::ToolExecutions => tool_executions::TABLES,
            Self::Ledger => ledger::TABLES,
            Self::Appointments => appointments::TABLES,
            Self::Calls => calls::TABLES,
            Self::VoiceMessages => voice_messages::TABLES,
            Self::Webhooks => webhooks::TABLES,
            Self::Budgets => budgets::TABLES,
            Self::Archive => archive::TABLES,
        }
    }

    /// Writes what follows from `entries`, which are of one partition and in order. Writing them twice changes nothing.
    pub(crate) async fn apply(
        self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), sqlx::Error> {
        match self {
            Self::Configuration => configuration::apply(connection, entries).await,
            Self::Transcripts => transcripts::apply(connection, entries).await,
            Self::Jobs => jobs::apply(connection, entries).await,
            Self::ProviderCalls => provider_calls::apply(connection, entries).await,
            Self::ToolExecutions => tool_executions::apply(connection, entries).await,
            Self::Ledger => ledger::apply(connection, entries).await,
            Self::Appointments => appointments::apply(connection, entries).await,
            Self::Calls => calls::apply(connection, entries).await,
            Self::VoiceMessages => voice_messages::apply(connection, entries).await,
            Self::Webhooks => webhooks::apply(connection, entries).await,
            Self::Budgets => budgets::apply(connection, entries).await,
            Self::Archive => archive::apply(connection, entries).await,
        }
    }
}

/// Whether an event changes what the configuration projection holds.
pub(crate) fn configures(event: &Event) -> bool {
    matches!(
        event.payload,
        Payload::TenantCreated(_)
            | Payload::KeyCreated(_)
            | Payload::KeyRotated(_)
            | Payload::KeyRevoked(_)
            | Payload::AgentCreated(_)
            | Payload::AgentUpdated(_)
            | Payload::AgentDeleted(_)
            | Payload::PromptCreated(_)
            | Payload::PromptUpdated(_)
            | Payload::PromptDeleted(_)
            | Payload::DefaultPromptChosen(_)
            | Payload::InvoiceRecorded(_)
            | Payload::FunctionCreated(_)
            | Payload::FunctionUpdated(_)
            | Payload::FunctionDeleted(_)
            | Payload::McpServerCreated(_)
            | Payload::McpServerUpdated(_)
            | Payload::McpServerDeleted(_)
            | Payload::TenantSettingsChanged(_)
            | Payload::LimitsSet(_)
            | Payload::BudgetSet(_)
            | Payload::BudgetRemoved(_)
            | Payload::PricesChanged(_)
    )
}
