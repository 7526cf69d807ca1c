//! Who opens a browser's socket: an API key in a header, or a ticket in the query where no header can be set.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use events::tenant::Role;
use events::{AgentId, Aggregate, ApiKeyId, Payload, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::{self, AgentDeveloper, Caller, Reach};
use crate::problem::{Code, Problem};
use crate::tokens::{self, Claims, TokenError};
use crate::{App, rates};

/// Lets somebody open one socket in place of an API key.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub tenant_id: TenantId,
    /// The key that asked for it.
    pub key_id: ApiKeyId,
    pub role: Role,
    pub reach: Reach,
    pub actor: String,
    /// `None`: for any agent of the tenant.
    pub agent_id: Option<AgentId>,
}

impl Claims for Ticket {
    const PURPOSE: &'static str = "ws-ticket";
}

/// Who comes in, and to whom.
pub(super) struct Entrance {
    pub(super) caller: Caller,
    pub(super) agent_id: AgentId,
}

impl Entrance {
    /// Checks key or ticket; a ticket is used up by it.
    ///
    /// # Errors
    /// `invalid_ticket`, `forbidden`, those of keys, and `validation_failed` when no agent is named.
    pub(super) async fn pass(
        app: &App,
        parts: &mut Parts,
        ticket: Option<&str>,
        agent_id: Option<Uuid>,
    ) -> Result<Self, Problem> {
        let wanted = agent_id.map(AgentId);
        let (caller, bound) = match ticket {
            None => (AgentDeveloper::from_request_parts(parts, app).await?.0, None),
            Some(ticket) => {
                let ticket: Ticket = tokens::redeem(app, ticket).await.map_err(refused)?;
                auth::check_role(ticket.role, Role::Developer)?;
                check_stands(app, &ticket).await?;
                let trace = auth::trace_of(parts);
                let _ = trace.tenant_id.set(ticket.tenant_id);
                rates::count_caller(app, &trace, ticket.tenant_id, None).await?;
                let caller = Caller {
                    tenant_id: ticket.tenant_id,
                    key_id: ticket.key_id,
                    role: ticket.role,
                    reach: ticket.reach,
                    actor: ticket.actor,
                    trace: Arc::clone(&trace),
                };
                (caller, ticket.agent_id)
            }
        };
        let agent_id = match (wanted, bound) {
            (Some(wanted), Some(bound)) if wanted != bound => {
                return Err(Problem::new(Code::Forbidden, "the ticket is for another agent"));
            }
            (wanted, bound) => wanted.or(bound),
        };
        let agent_id = agent_id.ok_or_else(|| Problem::invalid_field("agent_id", "is required"))?;
        Ok(Self { caller, agent_id })
    }
}

/// A ticket is worth no more than the key that asked for it.
async fn check_stands(app: &App, ticket: &Ticket) -> Result<(), Problem> {
    let key = app.nats.log.read(&Aggregate::key(ticket.tenant_id, ticket.key_id), 0).await?;
    match key.iter().any(|recorded| matches!(recorded.event.payload, Payload::KeyRevoked(_))) {
        true => Err(Problem::new(Code::InvalidTicket, "the key that asked for it was revoked")),
        false => Ok(()),
    }
}

fn refused(error: TokenError) -> Problem {
    match error {
        TokenError::Unavailable(error) => Problem::unavailable(&error),
        error => Problem::new(Code::InvalidTicket, format_args!("{error}; get a new one")),
    }
}
