//! `check_availability`: the times of a day at which the agent's calendar is free.

use chrono::NaiveDate;
use events::{AgentId, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ToolError, calendar, read};
use crate::Workers;

pub(super) use domain::tools::CHECK_AVAILABILITY as NAME;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// In the calendar's time zone.
    date: NaiveDate,
}

pub(super) async fn run(
    workers: &Workers,
    tenant_id: TenantId,
    agent_id: AgentId,
    arguments: &Value,
) -> Result<Value, ToolError> {
    let Arguments { date } = read(arguments)?;
    let calendar = calendar::calendar(workers, tenant_id, agent_id).await?;
    let slots = calendar
        .slots_on(date, workers.clock.now())
        .map_err(|error| ToolError::Refused(error.to_string()))?;
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
        return Ok(json!({ "slots": [] }));
    };
    let booked = calendar::booked(workers, tenant_id, agent_id, first.starts_at, last.ends_at).await?;
    let free = slots.iter().filter(|slot| calendar::is_free(slot, &booked));
    Ok(json!({ "slots": free.map(|slot| calendar::written(slot.starts_at)).collect::<Vec<_>>() }))
}
