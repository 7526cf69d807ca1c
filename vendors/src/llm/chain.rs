//! What to try next along a fallback chain: decided from times and outcomes that are passed in, without I/O.
//!
//! A target is retried until its tries are spent or its vendor refuses; then comes the next. An open circuit
//! breaker moves a request on at once, but never takes away the last target: when all that is left is open,
//! the one that opens soonest is tried all the same, at its own pace. A request has been promised an answer;
//! trying costs less than failing.

use tokio::time::Instant;

use crate::http::{Class, ErrorCode, VendorError};
use crate::resilience::{Admission, Backoff, Permit, SharedBreaker};

/// No target of the chain has answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no vendor answered after {attempts} attempts: {detail}")]
pub struct ChainFailed {
    pub kind: FailureKind,
    /// Requests that were made, each of them reported.
    pub attempts: u32,
    /// Every target's last failure; safe to store and show.
    pub detail: String,
}

/// Why a chain has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    Failed,
    /// The last attempt at every target that was tried ran out of time.
    TimedOut,
    Cancelled,
    /// None of the chain's vendors is configured; their names, in the chain's order.
    NoVendor {
        providers: Vec<String>,
    },
}

/// What to do now.
#[derive(Debug)]
pub(super) enum Step {
    /// Make attempt `number` at the target with this place in the plan; tell the plan if it fails.
    Attempt {
        leg: usize,
        number: u32,
        permit: Permit,
    },
    WaitUntil(Instant),
    GiveUp,
}

/// The state of one walk along the chain.
#[derive(Debug)]
pub(super) struct Plan {
    legs: Vec<Leg>,
    current: usize,
    first_attempt: u32,
    attempts: u32,
    backoff: Backoff,
}

#[derive(Debug)]
struct Leg {
    breaker: SharedBreaker,
    tries: u32,
    tries_left: u32,
    ready_at: Option<Instant>,
    last_failure: Option<(ErrorCode, String)>,
}

impl Plan {
    pub(super) fn new(
        breakers: impl Iterator<Item = SharedBreaker>,
        max_retries: u32,
        first_attempt: u32,
        backoff: Backoff,
    ) -> Self {
        let tries_left = max_retries.saturating_add(1);
        let leg = |breaker| Leg { breaker, tries: 0, tries_left, ready_at: None, last_failure: None };
        Self { legs: breakers.map(leg).collect(), current: 0, first_attempt, attempts: 0, backoff }
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn next(&mut self, now: Instant) -> Step {
        let mut last_resort: Option<(Instant, usize)> = None;
        for index in self.order() {
            let leg = &self.legs[index];
            if leg.tries_left == 0 {
                continue;
            }
            // A leg that still waits must not take the probe of a half-open breaker while it does.
            if let (Some(ready_at), true) = (leg.not_before(now), leg.breaker.would_admit(now)) {
                return Step::WaitUntil(ready_at);
            }
            match leg.breaker.admit(now) {
                Admission::Granted(permit) => return self.attempt(index, permit),
                Admission::Refused { opens_at } => {
                    if last_resort.is_none_or(|(soonest, _)| opens_at < soonest) {
                        last_resort = Some((opens_at, index));
                    }
                }
            }
        }
        let Some((_, index)) = last_resort else { return Step::GiveUp };
        if let Some(ready_at) = self.legs[index].not_before(now) {
            return Step::WaitUntil(ready_at);
        }
        let permit = self.legs[index].breaker.force();
        self.attempt(index, permit)
    }

    /// Takes in a failure; `jitter` is in `0.0..1.0`.
    pub(super) fn failed(&mut self, leg: usize, error: &VendorError, now: Instant, jitter: f64) {
        let leg = &mut self.legs[leg];
        leg.last_failure = Some((error.code, error.detail.clone()));
        match error.class {
            Class::Retry { after } => leg.ready_at = Some(now + self.backoff.wait(leg.tries, after, jitter)),
            Class::Reject | Class::Fatal => leg.tries_left = 0,
        }
    }

    /// The chain's end; `names` are those of the legs.
    pub(super) fn give_up<'a>(self, names: impl Iterator<Item = (&'a str, &'a str)>) -> ChainFailed {
        let tried = || self.legs.iter().filter_map(|leg| leg.last_failure.as_ref());
        let timed_out = tried().next().is_some() && tried().all(|(code, _)| *code == ErrorCode::Timeout);
        let details: Vec<_> = names
            .zip(&self.legs)
            .filter_map(|((provider, model), leg)| Some((provider, model, &leg.last_failure.as_ref()?.1)))
            .map(|(provider, model, detail)| format!("{provider} ({model}): {detail}"))
            .collect();
        ChainFailed {
            kind: if timed_out { FailureKind::TimedOut } else { FailureKind::Failed },
            attempts: self.attempts,
            detail: details.join("; "),
        }
    }

    pub(super) fn cancelled(self) -> ChainFailed {
        ChainFailed {
            kind: FailureKind::Cancelled,
            attempts: self.attempts,
            detail: "the call was cancelled".to_owned(),
        }
    }

    /// The target under way first, then the chain from its start: one that was skipped may be open to us
    /// again.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let current = self.current;
        std::iter::once(current)
            .chain((0..self.legs.len()).filter(move |index| *index != current))
            .take(self.legs.len())
    }

    fn attempt(&mut self, index: usize, permit: Permit) -> Step {
        let leg = &mut self.legs[index];
        leg.tries += 1;
        leg.tries_left -= 1;
        self.current = index;
        let number = self.first_attempt.saturating_add(self.attempts);
        self.attempts += 1;
        Step::Attempt { leg: index, number, permit }
    }
}

impl Leg {
    fn not_before(&self, now: Instant) -> Option<Instant> {
        self.ready_at.filter(|ready_at| *ready_at > now)
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
