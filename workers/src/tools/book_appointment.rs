//! `book_appointment`: takes a time of the agent's calendar for a customer, or says that somebody has it.
//!
//! The log decides (docs/decisions/0015): a booking is appended on the condition that the calendar's last event is the
//! one that was looked at, so two bookings never overlap, and neither a lock nor a fresh table is needed for it.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use events::appointment::AppointmentBooked;
use events::{AgentId, Aggregate, AppointmentId, Cause, Event, EventId};
use nats::{AppendError, Expect, Failure};
use projections::appointments::Taken;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, SOURCE, ToolError, calendar, read};
use crate::{Workers, away};

pub(super) use domain::tools::BOOK_APPOINTMENT as NAME;

/// What the model is told when somebody else has the time.
const SLOT_TAKEN: &str = "slot_taken";
const MAX_NAME_CHARACTERS: usize = 200;
/// ITU-T E.164; the fewest are those of short national numbers.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 3..=15;
const MAX_PHONE_CHARACTERS: usize = 40;
/// Each time another booking of this calendar was faster; then the delivery makes room for a while.
const MAX_LOST_RACES: u32 = 32;
const LOST_RACES_PAUSE: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    start: String,
    name: String,
    phone: String,
}

/// Arguments that were looked at.
struct Wanted {
    starts_at: DateTime<Utc>,
    name: String,
    phone: String,
}

/// Run again for the same call, it answers as the first time.
pub(super) async fn run(
    workers: &Workers,
    call: &Call<'_>,
    agent_id: AgentId,
    arguments: &Value,
) -> Result<Value, ToolError> {
    let wanted = wanted(arguments)?;
    let tenant_id = call.tenant_id();
    let appointment_id = AppointmentId(Uuid::new_v5(&call.tool_call_id.0, b"booked"));
    let calendar = calendar::calendar(workers, tenant_id, agent_id).await?;
    for _ in 0..MAX_LOST_RACES {
        let ends_at = wanted.starts_at + calendar.length();
        let booked = calendar::booked(workers, tenant_id, agent_id, wanted.starts_at, ends_at).await?;
        // Before anything else: meanwhile the time may be over or the calendar another one.
        if let Some(own) = booked.taken.iter().find(|taken| taken.appointment_id == appointment_id) {
            return Ok(answer(own));
        }
        let slot = calendar
            .slot_at(wanted.starts_at, workers.clock.now())
            .map_err(|error| ToolError::Refused(error.to_string()))?;
        if !calendar::is_free(&slot, &booked) {
            return Err(ToolError::Refused(SLOT_TAKEN.to_owned()));
        }
        let taken = Taken { appointment_id, starts_at: slot.starts_at, ends_at: slot.ends_at };
        let booking = booking(workers, call, agent_id, &wanted, &taken).await?;
        match workers.nats.log.append(&booking, Expect::Last(booked.last)).await {
            Ok(_) => return Ok(answer(&taken)),
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(ToolError::Away(away(error))),
        }
    }
    let reason = format!("the calendar of agent {agent_id} is booked too fast");
    Err(ToolError::Away(Failure::Retry { after: Some(LOST_RACES_PAUSE), reason }))
}

fn wanted(arguments: &Value) -> Result<Wanted, ToolError> {
    let refused = |reason: &str| ToolError::Refused(reason.to_owned());
    let Arguments { start, name, phone } = read(arguments)?;
    let starts_at: DateTime<FixedOffset> = DateTime::parse_from_rfc3339(start.trim())
        .map_err(|_| refused("start must be RFC 3339 with an offset, such as 2026-03-02T09:00:00Z"))?;
    let (name, phone) = (name.trim(), phone.trim());
    if name.is_empty() || name.chars().nth(MAX_NAME_CHARACTERS).is_some() {
        return Err(refused("name must have 1 to 200 characters"));
    }
    let is_digit = |character: &char| character.is_ascii_digit();
    let is_phone = phone.len() <= MAX_PHONE_CHARACTERS
        && PHONE_DIGITS.contains(&phone.chars().filter(is_digit).count())
        && phone.chars().all(|character| is_digit(&character) || "+-./() ".contains(character));
    if !is_phone {
        return Err(refused("phone must be a phone number such as +15550100"));
    }
    Ok(Wanted { starts_at: starts_at.to_utc(), name: name.to_owned(), phone: phone.to_owned() })
}

async fn booking(
    workers: &Workers,
    call: &Call<'_>,
    agent_id: AgentId,
    wanted: &Wanted,
    taken: &Taken,
) -> Result<Event, ToolError> {
    let tenant_id = call.tenant_id();
    // One id per call, so that a second run is recognised by the log too.
    let id = EventId(taken.appointment_id.0);
    let seal = |text: String| async move {
        let sealed = workers.keyring.seal(tenant_id, call.arguments.key_id, id, &text).await;
        sealed.map_err(|error| ToolError::Away(away(error)))
    };
    let booked = AppointmentBooked {
        appointment_id: taken.appointment_id,
        starts_at: taken.starts_at,
        ends_at: taken.ends_at,
        session_id: call.session_id(),
        tool_call_id: call.tool_call_id,
        name: seal(wanted.name.clone()).await?,
        phone: seal(wanted.phone.clone()).await?,
    };
    let cause = Cause::by(call.event, &workers.actor("tools"));
    let calendar = Aggregate::calendar(tenant_id, agent_id);
    Ok(Event::new(id, workers.clock.now(), SOURCE, calendar, &cause, booked))
}

fn answer(taken: &Taken) -> Value {
    json!({
        "appointment_id": taken.appointment_id,
        "start": calendar::written(taken.starts_at),
        "end": calendar::written(taken.ends_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(start: &str, name: &str, phone: &str) -> Option<String> {
        match wanted(&json!({ "start": start, "name": name, "phone": phone })) {
            Err(ToolError::Refused(reason)) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_start_without_an_offset_is_refused() {
        for start in ["2026-03-02T09:00:00", "2026-03-02", "tomorrow", ""] {
            assert!(
                refusal(start, "Ada", "+1 555 0100").is_some_and(|reason| reason.contains("offset")),
                "{start}"
            );
        }
        assert_eq!(refusal("2026-03-02T09:00:00+05:30", "Ada", "+1 555 0100"), None);
    }

    #[test]
    fn a_name_and_a_phone_number_are_needed() {
        let start = "2026-03-02T09:00:00Z";
        assert!(refusal(start, " ", "+1 555 0100").is_some());
        assert!(refusal(start, &"a".repeat(201), "+1 555 0100").is_some());
        for phone in ["", "call me", "12", "+1234567890123456", "555-0100 ext"] {
            assert!(refusal(start, "Ada", phone).is_some(), "{phone}");
        }
        assert_eq!(refusal(start, "Ada", "(030) 555-0100"), None);
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let arguments =
            json!({ "start": "2026-03-02T09:00:00Z", "name": "Ada", "phone": "5550100", "vip": true });
        assert!(wanted(&arguments).is_err());
        assert!(wanted(&Value::Null).is_err());
    }
}
