//! What never changes about a session, kept at hand for the hot path. A session of another tenant is not found: the
//! tenant is part of the subject that is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use events::{AgentId, Aggregate, CustomerKeyId, Payload, SessionId, TenantId};
use quick_cache::sync::Cache;

use crate::App;
use crate::problem::{Code, Problem};

const CAPACITY: usize = 50_000;

/// The session's first event, and whether this process has seen its last.
#[derive(Debug)]
pub(crate) struct SessionFacts {
    pub agent_id: AgentId,
    pub customer_key_id: CustomerKeyId,
    ended: AtomicBool,
}

impl SessionFacts {
    /// `false` can also mean that another process knows better; the turn then fails with `session_ended`.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Learns from a turn that failed because the session was over.
    pub(crate) fn note(&self, problem: &Problem) {
        if problem.code() == Code::SessionEnded {
            self.end();
        }
    }
}

/// Bounded; the least used are read from the log again.
pub(crate) struct Sessions(Cache<(TenantId, SessionId), Arc<SessionFacts>>);

impl Sessions {
    pub(crate) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

/// # Errors
/// `not_found` when the tenant has no such session.
pub(crate) async fn find(
    app: &App,
    tenant_id: TenantId,
    session_id: SessionId,
) -> Result<Arc<SessionFacts>, Problem> {
    let known = &app.sessions.0;
    if let Some(facts) = known.get(&(tenant_id, session_id)) {
        return Ok(facts);
    }
    let first = app.nats.log.first(&Aggregate::session(tenant_id, session_id)).await?;
    let Some(Payload::SessionCreated(created)) = first.map(|recorded| recorded.event.payload) else {
        return Err(Problem::not_found("session"));
    };
    let facts = Arc::new(SessionFacts {
        agent_id: created.agent_id,
        customer_key_id: created.customer_key_id,
        ended: AtomicBool::new(false),
    });
    // Somebody may have been faster, and may have learned of the session's end since.
    Ok(match known.get(&(tenant_id, session_id)) {
        Some(facts) => facts,
        None => {
            known.insert((tenant_id, session_id), facts.clone());
            facts
        }
    })
}
