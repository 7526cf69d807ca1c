//! Waiting for the terminal event of a job: heard live, and looked for in the log in case nothing was heard (live
//! messages are kept nowhere, and nats-server may have been restarted).

use std::time::Duration;

use events::{Aggregate, JobId, Payload, Recorded, TenantId};
use nats::live::{Delta, LiveSubscription};
use nats::{LiveMessage, ReadError};
use tokio::time::{Instant, sleep_until};

use super::reply::{self, Outcome};
use crate::App;

/// When the log is looked at while nothing is heard: soon at first, since a turn usually takes less than a second.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Waits for one job.
pub(crate) struct Waiting {
    pub app: App,
    pub tenant_id: TenantId,
    pub session: Aggregate,
    pub job_id: JobId,
    /// The log is looked at after this sequence.
    pub after: u64,
    /// Where the job's end stands, once it was heard of.
    pub ended_at: Option<u64>,
    subscription: Option<LiveSubscription>,
    looked: usize,
    next_look: Instant,
}

/// What a waiting client can be told.
pub(crate) enum News {
    Delta(Delta),
    /// An event of the job that does not end it.
    Happened(Box<Recorded>),
    Ended(Outcome),
}

impl Waiting {
    /// `subscription` was made before the message was appended, so nothing after that is missed.
    pub(crate) fn new(
        app: App,
        session: Aggregate,
        job_id: JobId,
        after: u64,
        subscription: Option<LiveSubscription>,
    ) -> Self {
        let next_look = Instant::now() + LOOKS[0];
        Self {
            app,
            tenant_id: session.tenant_id,
            session,
            job_id,
            after,
            ended_at: None,
            subscription,
            looked: 0,
            next_look,
        }
    }

    /// The next thing to tell. Cancel-safe: a message is taken from the subscription only when it is answered, except
    /// while a terminal event is being opened, and that one is found in the log again.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            let heard = tokio::select! {
                heard = heard(&mut self.subscription) => heard,
                () = sleep_until(self.next_look) => {
                    if let Some(outcome) = self.look().await {
                        return News::Ended(outcome);
                    }
                    continue;
                }
            };
            match heard {
                // The connection was closed for good; the log is still looked at.
                None => self.subscription = None,
                Some(LiveMessage::Delta(delta)) => return News::Delta(delta),
                Some(LiveMessage::Happened(recorded)) => {
                    match reply::of_event(&self.app, self.tenant_id, self.job_id, &recorded).await {
                        Some(outcome) => {
                            self.ended_at = Some(recorded.position.sequence);
                            return News::Ended(outcome);
                        }
                        None => return News::Happened(recorded),
                    }
                }
            }
        }
    }

    /// The outcome, when there is one by `deadline`.
    pub(crate) async fn outcome(&mut self, deadline: Instant) -> Option<Outcome> {
        loop {
            let news = tokio::time::timeout_at(deadline, self.next()).await.ok()?;
            if let News::Ended(outcome) = news {
                return Some(outcome);
            }
        }
    }

    async fn look(&mut self) -> Option<Outcome> {
        self.looked = (self.looked + 1).min(LOOKS.len() - 1);
        self.next_look = Instant::now() + LOOKS[self.looked];
        let ending = match find_ending(&self.app, &self.session, self.job_id, self.after).await {
            Ok(ending) => ending?,
            Err(error) => {
                tracing::warn!(job_id = %self.job_id, %error, "the log could not be looked at for a job's end");
                return None;
            }
        };
        reply::of_event(&self.app, self.tenant_id, self.job_id, &ending).await
    }
}

async fn heard(subscription: &mut Option<LiveSubscription>) -> Option<LiveMessage> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// The terminal event of a job, looked for after sequence `after` of its session.
async fn find_ending(
    app: &App,
    session: &Aggregate,
    job_id: JobId,
    after: u64,
) -> Result<Option<Recorded>, ReadError> {
    let tail = app.nats.log.read(session, after).await?;
    Ok(tail.into_iter().find(|recorded| ends(&recorded.event.payload, job_id)))
}

pub(crate) fn ends(payload: &Payload, job_id: JobId) -> bool {
    match payload {
        Payload::ReplyCompleted(reply) => reply.job_id == job_id,
        Payload::TurnFailed(failure) => failure.job_id == job_id,
        _ => false,
    }
}
