//! Appointments with a tenant's agents.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AppointmentId, Sealed, SessionId, ToolCallId};

/// A customer holds a time of an agent's calendar. The append is conditional on the calendar's last event, so no two of
/// them overlap, whatever length appointments had when each was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppointmentBooked {
    pub appointment_id: AppointmentId,
    pub starts_at: DateTime<Utc>,
    /// The first moment that is free again.
    pub ends_at: DateTime<Utc>,
    /// Where it was agreed: the session, or the run of the tool by hand that has this id.
    pub session_id: SessionId,
    pub tool_call_id: ToolCallId,
    /// Who comes.
    pub name: Sealed,
    pub phone: Sealed,
}
