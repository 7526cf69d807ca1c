//! What the tools of a calendar share: the agent's own calendar, and what is taken in it.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Calendar, Slot};
use events::{AgentId, Aggregate, Payload, TenantId};
use projections::appointments::{self, Booked, Taken};
use projections::configuration;

use super::ToolError;
use crate::{Workers, away};

/// As the tenant has set it now. Not from memory: a turn that knows the newest settings may have asked.
pub(super) async fn calendar(
    workers: &Workers,
    tenant_id: TenantId,
    agent_id: AgentId,
) -> Result<Calendar, ToolError> {
    let found = configuration::agent(&workers.database, tenant_id, agent_id).await;
    let Some(agent) = found.map_err(|error| ToolError::Away(away(error)))? else {
        return Err(ToolError::Refused("this agent takes no appointments any more".to_owned()));
    };
    Calendar::of(agent.settings.calendar.as_ref())
        .map_err(|_| ToolError::Refused("this agent's calendar is not set up".to_owned()))
}

/// What is taken between `from` and `to` at this moment: the table, and what the log has after it. An append on the
/// condition that `last` is still the calendar's last event stands on exactly this.
pub(super) async fn booked(
    workers: &Workers,
    tenant_id: TenantId,
    agent_id: AgentId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Booked, ToolError> {
    let (log, calendar) = (&workers.nats.log, Aggregate::calendar(tenant_id, agent_id));
    let partition = log.partition_of(&calendar);
    let mut booked = appointments::booked(&workers.database, tenant_id, agent_id, partition, from, to)
        .await
        .map_err(|error| ToolError::Away(away(error)))?;
    let newer = log.read(&calendar, booked.through).await.map_err(|error| ToolError::Away(away(error)))?;
    for recorded in newer {
        booked.last = booked.last.max(recorded.position.sequence);
        let Payload::AppointmentBooked(appointment) = recorded.event.payload else { continue };
        let is_within = appointment.starts_at < to && appointment.ends_at > from;
        // The table may have come further since it was asked how far it is.
        let is_known = booked.taken.iter().any(|taken| taken.appointment_id == appointment.appointment_id);
        if is_within && !is_known {
            booked.taken.push(Taken {
                appointment_id: appointment.appointment_id,
                starts_at: appointment.starts_at,
                ends_at: appointment.ends_at,
            });
        }
    }
    Ok(booked)
}

pub(super) fn is_free(slot: &Slot, booked: &Booked) -> bool {
    let slot_of = |taken: &Taken| Slot { starts_at: taken.starts_at, ends_at: taken.ends_at };
    !booked.taken.iter().any(|taken| slot_of(taken).overlaps(slot))
}

/// RFC 3339 in UTC, as models are told times.
pub(super) fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
