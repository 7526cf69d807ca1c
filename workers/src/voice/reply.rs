//! The agent's reply to one message as it comes: word by word from the live subject, in the end from the log.

use std::time::Duration;

use domain::session::Words;
use events::session::{FailureCode, Then};
use events::{JobId, Payload, Recorded};
use nats::live::{Delta, Hear, LiveSubscription};
use nats::{Failure, LiveMessage};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::Claimed;
use crate::{Workers, away};

/// An outcome that nobody told us of is looked for in the log this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What was heard of a reply.
#[derive(Debug)]
pub(super) enum Told {
    Delta(Delta),
    /// A tool was asked for or has run, or the turn is over.
    Happened(Box<Recorded>),
    /// Nothing for a while: look into the log.
    Nothing,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Completed {
        words: Words,
        then: Option<Then>,
        provider: String,
    },
    Failed,
    /// No budget has room for an answer.
    OverBudget,
}

/// Follows the reply to one message.
pub(super) struct Reply {
    pub job_id: JobId,
    live: LiveSubscription,
    look_again: Interval,
}

impl Reply {
    /// Follows from now on: before the message is appended, nothing can be missed.
    pub(super) async fn follow(workers: &Workers, job_id: JobId) -> Result<Self, Failure> {
        let live = workers.nats.live.subscribe(job_id, Hear::All).await.map_err(away)?;
        let mut look_again = interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { job_id, live, look_again })
    }

    /// What comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            heard = self.live.next() => match heard {
                Some(LiveMessage::Delta(delta)) => {
                    self.look_again.reset();
                    return Told::Delta(delta);
                }
                Some(LiveMessage::Happened(recorded)) => return Told::Happened(recorded),
                // The connection is closed for good; the log will say so, too.
                None => {}
            },
            _ = self.look_again.tick() => return Told::Nothing,
        }
        self.look_again.tick().await;
        Told::Nothing
    }

    /// The outcome, if the log has one by now.
    pub(super) async fn look(
        &self,
        workers: &Workers,
        claimed: &Claimed,
    ) -> Result<Option<Outcome>, Failure> {
        let session = &claimed.session_aggregate;
        // The message is the newest that this worker knows of or lies just before it: what ends it comes after.
        let since = claimed.session.pending.front().map_or(0, |pending| pending.sequence);
        let history = workers.nats.log.read(session, since).await.map_err(away)?;
        Ok(history.iter().find_map(|recorded| outcome(recorded, self.job_id)))
    }
}

/// What `recorded` says of how the turn of `job_id` ended; `None`: nothing.
pub(super) fn outcome(recorded: &Recorded, job_id: JobId) -> Option<Outcome> {
    match &recorded.event.payload {
        Payload::ReplyCompleted(reply) if reply.job_id == job_id => Some(Outcome::Completed {
            words: Words { event_id: recorded.event.envelope.id, sealed: reply.content.clone() },
            then: reply.then.clone(),
            provider: reply.provider.clone(),
        }),
        Payload::TurnFailed(failed) if failed.job_id == job_id => Some(match failed.code {
            FailureCode::BudgetExceeded => Outcome::OverBudget,
            _ => Outcome::Failed,
        }),
        _ => None,
    }
}
