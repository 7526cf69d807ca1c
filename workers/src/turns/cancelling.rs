//! Turns that can be stopped: those under way in this process, by the job they answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
    /// Several of one job: who takes a turn over from another of this process, and those who try to claim one at once, of
    /// whom one does.
    tokens: HashMap<JobId, HashMap<u64, CancellationToken>>,
    registered: u64,
}

/// A turn's place among the running ones; dropping it gives the place back.
pub(super) struct Cancellable {
    running: Running,
    job_id: JobId,
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
        inner.tokens.entry(job_id).or_default().insert(number, token.clone());
        Cancellable { running: self.clone(), job_id, number, token }
    }

    fn cancel(&self, job_id: JobId) {
        self.lock()
            .tokens
            .get(&job_id)
            .into_iter()
            .flat_map(HashMap::values)
            .for_each(CancellationToken::cancel);
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
        if let Entry::Occupied(mut tokens) = inner.tokens.entry(self.job_id) {
            tokens.get_mut().remove(&self.number);
            if tokens.get().is_empty() {
                tokens.remove();
            }
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
    fn of_two_of_one_job_the_one_that_stays_is_cancelled_whichever_goes() {
        let running = Running::default();
        for the_earlier_goes in [true, false] {
            let job_id = JobId::new();
            let (earlier, later) = (running.register(job_id), running.register(job_id));
            let (goes, stays) = if the_earlier_goes { (earlier, later) } else { (later, earlier) };
            drop(goes);
            running.cancel(job_id);
            assert!(stays.token().is_cancelled());
        }
        assert!(running.lock().tokens.is_empty());
    }
}
