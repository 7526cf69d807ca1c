//! Turns that can be stopped: those under way in this process, by the job they answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use events::JobId;
use nats::live::Live;
use tokio_util::sync::CancellationToken;

/// Everything of this process that a cancellation can reach. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Running {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    tokens: HashMap<JobId, (u64, CancellationToken)>,
    registered: u64,
}

/// A turn's place among the running ones; dropping it gives the place back.
pub(super) struct Cancellable {
    running: Running,
    job_id: JobId,
    /// A worker that takes a turn over from one of the same process has its place; the other must not take it away.
    number: u64,
    token: CancellationToken,
}

impl Running {
    /// To be called before the claim is appended: whoever cancels later then finds the turn here, and whoever said
    /// earlier that the answer is not wanted has changed the session, so that the claim fails and the session is read.
    pub(super) fn register(&self, job_id: JobId) -> Cancellable {
        let token = CancellationToken::new();
        let mut inner = self.lock();
        inner.registered += 1;
        let number = inner.registered;
        inner.tokens.insert(job_id, (number, token.clone()));
        Cancellable { running: self.clone(), job_id, number, token }
    }

    fn cancel(&self, job_id: JobId) {
        if let Some((_, token)) = self.lock().tokens.get(&job_id) {
            token.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancellable {
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        let mut inner = self.running.lock();
        if inner.tokens.get(&self.job_id).is_some_and(|(number, _)| *number == self.number) {
            inner.tokens.remove(&self.job_id);
        }
    }
}

/// Hears what is cancelled anywhere and stops what runs here. Never ends.
pub(super) async fn hear(live: Live, running: Running) {
    match live.cancellations().await {
        Ok(mut cancellations) => {
            while let Some(job_id) = cancellations.next().await {
                running.cancel(job_id);
            }
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cancellations are not heard; turns run to their end");
        }
    }
    // The connection was closed for good: the process is ending, or its turns go on without.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_job_stops_and_others_go_on() {
        let running = Running::default();
        let (one, other) = (running.register(JobId::new()), running.register(JobId::new()));
        running.cancel(one.job_id);
        running.cancel(JobId::new());
        assert!(one.token().is_cancelled() && !other.token().is_cancelled());
    }

    #[test]
    fn a_place_that_was_taken_over_is_kept_when_the_earlier_one_goes() {
        let (running, job_id) = (Running::default(), JobId::new());
        let earlier = running.register(job_id);
        let later = running.register(job_id);
        drop(earlier);
        running.cancel(job_id);
        assert!(later.token().is_cancelled());
        drop(later);
        assert!(running.lock().tokens.is_empty());
    }
}
