//! Waiting until a spoken message is over: heard live, and looked for in the log in case nothing was heard.

use std::time::Duration;

use events::{Aggregate, JobId, Payload};
use nats::LiveMessage;
use nats::live::LiveSubscription;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, VoiceOutcome};
use crate::App;

/// When the log is looked at while nothing is heard.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// An event that was heard of and is not to be read yet: a replica may be a moment behind.
const LOOK_SOON: Duration = Duration::from_millis(50);

/// Waits for one recording's job. `subscription` was made before the recording was appended.
pub(crate) struct VoiceWaiting {
    pub app: App,
    pub session: Aggregate,
    pub job_id: JobId,
    /// The log is looked at after this sequence, that of the recording.
    pub after: u64,
    pub subscription: LiveSubscription,
}

impl VoiceWaiting {
    /// The outcome, when there is one by `deadline`.
    pub(crate) async fn outcome(&mut self, deadline: Instant) -> Option<VoiceOutcome> {
        let mut pause = LOOK_AGAIN;
        while Instant::now() < deadline {
            let until = deadline.min(Instant::now() + pause);
            // Cancel-safe: whatever is not heard stands in the log.
            let is_told = timeout_at(until, told(&mut self.subscription, self.job_id)).await.is_ok();
            if let Some(outcome) = self.look().await {
                return Some(outcome);
            }
            pause = if is_told { LOOK_SOON } else { LOOK_AGAIN };
        }
        None
    }

    async fn look(&self) -> Option<VoiceOutcome> {
        let found = match self.app.nats.log.read(&self.session, self.after).await {
            Ok(history) => answer::of_history(&self.app, &self.session, self.job_id, &history).await,
            Err(error) => Err(error.into()),
        };
        found.unwrap_or_else(|problem| {
            tracing::warn!(job_id = %self.job_id, cause = problem.cause(), "the log could not be looked at for a job's end");
            None
        })
    }
}

/// Returns when the job is over; never, when nothing can be heard any more.
async fn told(subscription: &mut LiveSubscription, job_id: JobId) {
    while let Some(told) = subscription.next().await {
        let LiveMessage::Happened(recorded) = told else { continue };
        match &recorded.event.payload {
            Payload::ReplyVoiced(voiced) if voiced.job_id == job_id => return,
            Payload::TurnFailed(failed) if failed.job_id == job_id => return,
            _ => {}
        }
    }
    std::future::pending().await
}
