//! Which limits a request counts against.

use events::{ApiKeyId, TenantId};
use nats::rates::Subject;
use projections::configuration::AgentRecord;

use crate::App;
use crate::problem::Problem;
use crate::trace::Trace;

/// A request of a tenant, with a key or a ticket. The key's own limit first: what it refuses is nobody else's loss.
///
/// # Errors
/// `rate_limited`.
pub(crate) async fn count_caller(
    app: &App,
    trace: &Trace,
    tenant_id: TenantId,
    key: Option<(ApiKeyId, u32)>,
) -> Result<(), Problem> {
    if let Some((key_id, per_minute)) = key {
        count(app, trace, Subject::Key(key_id), per_minute)?;
    }
    let limits = app.limits(tenant_id).await?;
    count(app, trace, Subject::Tenant(tenant_id), limits.requests_per_minute)
}

/// A request that makes the agent answer.
///
/// # Errors
/// `rate_limited`.
pub(crate) fn count_agent(app: &App, trace: &Trace, agent: &AgentRecord) -> Result<(), Problem> {
    match agent.settings.limits.and_then(|limits| limits.requests_per_minute) {
        Some(per_minute) => count(app, trace, Subject::Agent(agent.id), per_minute),
        None => Ok(()),
    }
}

fn count(app: &App, trace: &Trace, subject: Subject, per_minute: u32) -> Result<(), Problem> {
    match app.rates.take(subject, per_minute) {
        Ok(standing) => {
            trace.counted(standing);
            Ok(())
        }
        Err(refused) => {
            trace.counted(refused.standing());
            Err(refused.problem())
        }
    }
}
