//! A call: which worker talks, and how far it has come.
//!
//! Invariants, kept by the compare-and-set of claim and end:
//! - at most one worker holds a call: the one whose claim is the newest, for as long as it holds the delivery of
//!   `call.started` that the claim names;
//! - a call ends once.

use chrono::{DateTime, Utc};
use events::call::CallStarted;
use events::{EventId, JobId, Payload, Recorded};
use serde::{Deserialize, Serialize};

use crate::session::Held;

/// The fold of a call's history up to and with `last_sequence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// 0: nothing happened yet.
    pub last_sequence: u64,
    pub started: Option<Started>,
    /// The newest.
    pub claimed: Option<Claimed>,
    /// `None`: the call's socket was not heard from yet.
    pub connected_at: Option<DateTime<Utc>>,
    /// Turns that were measured: the next one has the number above.
    pub turns: u32,
    /// The last reply that was played to its end.
    pub spoken: Option<JobId>,
    pub hangup_requested: bool,
    pub ended: bool,
    /// There is a summary, or there will be none.
    pub summarized: bool,
    pub deleted: bool,
}

/// How the call began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The event, for which the numbers in it are sealed.
    pub event_id: EventId,
    pub at: DateTime<Utc>,
    pub call: CallStarted,
}

/// Who holds the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// `host:pid`.
    pub worker_id: String,
    pub attempt: u32,
    pub held: Held,
}

/// What the holder of a delivery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallClaim {
    /// Nobody had the call.
    Start { attempt: u32 },
    /// Go on for a worker that let the delivery fall, or handed it over.
    TakeOver { attempt: u32 },
    /// This is an old copy of a delivery that another worker holds; do nothing, not even acknowledge.
    Stale,
    /// The call is over; acknowledge.
    Ended,
}

impl Call {
    /// The fold of `history`.
    pub fn of(history: &[Recorded]) -> Self {
        let mut call = Self::default();
        for recorded in history {
            call.evolve(recorded);
        }
        call
    }

    /// Takes in one event. Events at or before `last_sequence` have been taken in already and are passed over.
    pub fn evolve(&mut self, recorded: &Recorded) {
        if recorded.position.sequence <= self.last_sequence {
            return;
        }
        self.last_sequence = recorded.position.sequence;
        let envelope = &recorded.event.envelope;
        match &recorded.event.payload {
            Payload::CallStarted(started) => {
                self.started.get_or_insert_with(|| Started {
                    event_id: envelope.id,
                    at: envelope.time,
                    call: started.clone(),
                });
            }
            Payload::CallClaimed(claimed) => {
                self.claimed = Some(Claimed {
                    worker_id: claimed.worker_id.clone(),
                    attempt: claimed.attempt,
                    held: Held { sequence: claimed.held_sequence, generation: claimed.held_generation },
                });
            }
            // Every worker that takes the call over hears from the socket; the first time counts.
            Payload::CallConnected(_) => _ = self.connected_at.get_or_insert(envelope.time),
            Payload::TurnMeasured(_) => self.turns += 1,
            Payload::ReplySpoken(reply) => self.spoken = Some(reply.job_id),
            Payload::HangupRequested(_) => self.hangup_requested = true,
            Payload::CallEnded(_) => self.ended = true,
            Payload::CallSummarized(_) => self.summarized = true,
            Payload::CallDeleted(_) => self.deleted = true,
            _ => {}
        }
    }

    /// What the holder of `held` may do now.
    pub fn claim(&self, held: Held) -> CallClaim {
        match &self.claimed {
            _ if self.ended => CallClaim::Ended,
            None => CallClaim::Start { attempt: 1 },
            Some(claimed) if claimed.held.generation < held.generation => {
                CallClaim::TakeOver { attempt: claimed.attempt + 1 }
            }
            Some(_) => CallClaim::Stale,
        }
    }

    /// Whether attempt `attempt` still holds the call.
    pub fn is_held_by(&self, attempt: u32) -> bool {
        !self.ended && self.claimed.as_ref().is_some_and(|claimed| claimed.attempt == attempt)
    }

    /// How long the call lasts at `now`, in milliseconds; 0 before it is connected.
    pub fn duration_ms(&self, now: DateTime<Utc>) -> u64 {
        let lasted = self.connected_at.map_or(0, |connected_at| (now - connected_at).num_milliseconds());
        u64::try_from(lasted).unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
