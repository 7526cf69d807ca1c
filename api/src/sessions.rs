//! What never changes about a session, kept at hand for the hot path. A session of another tenant is not found: the
//! tenant is part of the subject that is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use events::{AgentId, Aggregate, CustomerKeyId, Payload, SessionId, TenantId};
use quick_cache::sync::Cache;

use crate::App;
use crate::auth::Caller;
use crate::problem::{Code, Problem};
use crate::routes::Outcome;

const CAPACITY: usize = 20_000;

/// The session's first event, and whether this process has seen its last.
#[derive(Debug)]
pub(crate) struct SessionFacts {
    pub agent_id: AgentId,
    pub customer_key_id: CustomerKeyId,
    ended: AtomicBool,
    /// The sequence of its newest event, as far as this process knows; 0: something is under way.
    newest: AtomicU64,
}

impl SessionFacts {
    /// `false` can also mean that another process knows better; the turn then fails with `session_ended`.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// What the next message follows, when this process knows. The log checks it; a worker that knows the session up to
    /// there then need not read it again. Whoever takes it takes it away: of two messages at once only one follows it.
    pub(crate) fn take_newest(&self) -> Option<u64> {
        Some(self.newest.swap(0, Ordering::Relaxed)).filter(|sequence| *sequence > 0)
    }

    /// A turn ended at `sequence`.
    pub(crate) fn ended_at(&self, sequence: u64) {
        self.newest.store(sequence, Ordering::Relaxed);
    }

    /// Learns from a turn that ended the session, or failed because it was over.
    pub(crate) fn note(&self, outcome: &Outcome) {
        let is_over = match outcome {
            Ok(reply) => reply.ends_session,
            Err(problem) => problem.code() == Code::SessionEnded,
        };
        if is_over {
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
/// `not_found` when the tenant has no such session, or the caller's key does not reach its agent.
pub(crate) async fn find(
    app: &App,
    caller: &Caller,
    session_id: SessionId,
) -> Result<Arc<SessionFacts>, Problem> {
    let facts = find_any(app, caller.tenant_id, session_id).await?;
    caller.check_reaches(facts.agent_id, "session")?;
    Ok(facts)
}

async fn find_any(
    app: &App,
    tenant_id: TenantId,
    session_id: SessionId,
) -> Result<Arc<SessionFacts>, Problem> {
    let known = &app.sessions.0;
    if let Some(facts) = known.get(&(tenant_id, session_id)) {
        return Ok(facts);
    }
    let first = app.nats.log.first(&Aggregate::session(tenant_id, session_id)).await?;
    let not_found = || Problem::not_found("session");
    let first = first.ok_or_else(not_found)?;
    let Payload::SessionCreated(created) = first.event.payload else {
        return Err(not_found());
    };
    let facts = Arc::new(SessionFacts {
        agent_id: created.agent_id,
        customer_key_id: created.customer_key_id,
        ended: AtomicBool::new(false),
        newest: AtomicU64::new(first.position.sequence),
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
