//! What a tenant's telephony history comes to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::{AgentId, Payload, Recorded};

/// The numbers and the account that are in force.
#[derive(Default)]
pub(super) struct Telephony<'a> {
    pub(super) numbers: BTreeMap<&'a str, Assigned>,
    /// The account's SID.
    pub(super) twilio: Option<&'a str>,
}

#[derive(Clone, Copy)]
pub(super) struct Assigned {
    pub(super) agent_id: AgentId,
    /// Since it was released last.
    pub(super) assigned_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl<'a> Telephony<'a> {
    pub(super) fn of(history: &'a [Recorded]) -> Self {
        let mut telephony = Self::default();
        for recorded in history {
            let time = recorded.event.envelope.time;
            match &recorded.event.payload {
                Payload::NumberAssigned(assigned) => {
                    let before = telephony.numbers.get(assigned.number.as_str());
                    let assigned_at = before.map_or(time, |before| before.assigned_at);
                    let now = Assigned { agent_id: assigned.agent_id, assigned_at, updated_at: time };
                    telephony.numbers.insert(&assigned.number, now);
                }
                Payload::NumberReleased(released) => _ = telephony.numbers.remove(released.number.as_str()),
                Payload::TwilioConfigured(account) => telephony.twilio = Some(&account.account_sid),
                Payload::TwilioRemoved(_) => telephony.twilio = None,
                _ => {}
            }
        }
        telephony
    }
}
