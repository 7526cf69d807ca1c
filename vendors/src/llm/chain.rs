//! What to try next along a fallback chain: decided from times and outcomes that are passed in, without I/O.
//!
//! A target is retried until its tries are spent or its vendor refuses; then comes the next. An open circuit
//! breaker moves a request on at once, but never takes away the last target: when all that is left is open,
//! the one that opens soonest is tried all the same, at its own pace. A request has been promised an answer;
//! trying costs less than failing.
//!
//! A target's vendor may have several endpoints. Each has a breaker and waits of its own, and one that is free
//! is asked before one that waits. An endpoint that only turns a request away (too many requests, a key that is
//! refused) does not end the try: it goes on at the next free one, until each has been asked once.

use std::time::Duration;

use tokio::time::Instant;

use crate::http::{Class, ErrorCode, VendorError};
use crate::resilience::{Backoff, Permit, SharedBreaker};

/// How long later calls prefer another endpoint to one whose key or address was refused.
const REFUSED_FOR: Duration = Duration::from_secs(60);

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
    /// Whoever observes the attempts did not want another one.
    NotAdmitted,
    /// None of the chain's vendors is configured; their names, in the chain's order.
    NoVendor {
        providers: Vec<String>,
    },
}

/// What to do now.
#[derive(Debug)]
pub(super) enum Step {
    /// Make this attempt; tell the plan if it fails.
    Attempt(Ask),
    WaitUntil(Instant),
    GiveUp,
}

/// An attempt to be made.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) place: Place,
    pub(super) number: u32,
    pub(super) permit: Permit,
}

/// A target of the plan, and an endpoint of its vendor; both count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) leg: usize,
    pub(super) endpoint: usize,
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
    endpoints: Vec<Endpoint>,
    /// Where a search for an endpoint begins, so that equals take turns.
    turn: usize,
    tries_left: u32,
    /// The last attempt was only turned away: its try goes on at endpoints that it has not asked yet.
    turned_away: bool,
    last_failure: Option<(ErrorCode, String)>,
}

#[derive(Debug)]
struct Endpoint {
    breaker: SharedBreaker,
    tries: u32,
    /// In the present try.
    asked: bool,
    refused: bool,
    ready_at: Option<Instant>,
}

/// What a leg has to offer.
enum Offer {
    Ask { endpoint: usize, permit: Permit },
    WaitUntil(Instant),
    Open { endpoint: usize, opens_at: Instant },
    Nothing,
}

impl Plan {
    /// `legs` are the targets' endpoints, and which of them is the first in turn.
    pub(super) fn new(
        legs: impl Iterator<Item = (Vec<SharedBreaker>, usize)>,
        max_retries: u32,
        first_attempt: u32,
        backoff: Backoff,
    ) -> Self {
        let tries_left = max_retries.saturating_add(1);
        let endpoint = |breaker| Endpoint { breaker, tries: 0, asked: false, refused: false, ready_at: None };
        let leg = |(breakers, turn): (Vec<_>, _)| Leg {
            endpoints: breakers.into_iter().map(endpoint).collect(),
            turn,
            tries_left,
            turned_away: false,
            last_failure: None,
        };
        Self { legs: legs.map(leg).collect(), current: 0, first_attempt, attempts: 0, backoff }
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn next(&mut self, now: Instant) -> Step {
        let mut last_resort: Option<(Instant, Place)> = None;
        for leg in self.order() {
            match self.legs[leg].offer(now) {
                Offer::Ask { endpoint, permit } => {
                    self.current = leg;
                    return Step::Attempt(self.ask(Place { leg, endpoint }, permit));
                }
                Offer::WaitUntil(ready_at) => return Step::WaitUntil(ready_at),
                Offer::Open { endpoint, opens_at } => {
                    if last_resort.is_none_or(|(soonest, _)| opens_at < soonest) {
                        last_resort = Some((opens_at, Place { leg, endpoint }));
                    }
                }
                Offer::Nothing => {}
            }
        }
        let Some((_, place)) = last_resort else { return Step::GiveUp };
        let leg = &mut self.legs[place.leg];
        if let Some(ready_at) = leg.endpoints[place.endpoint].not_before(now) {
            return Step::WaitUntil(ready_at);
        }
        leg.begin_try();
        let permit = leg.endpoints[place.endpoint].breaker.force();
        self.current = place.leg;
        Step::Attempt(self.ask(place, permit))
    }

    /// A second attempt beside the one at `beside`, which is slow to answer: at another endpoint of its vendor,
    /// else at a later target, else at the same endpoint. It counts as a try of its target. `None`: all of these
    /// wait, are open or have no tries left.
    pub(super) fn hedge(&mut self, beside: Place, now: Instant) -> Option<Ask> {
        let (place, permit) =
            self.hedge_at(beside.leg, now, |endpoint| endpoint != beside.endpoint).or_else(|| {
                let mut later = beside.leg + 1..self.legs.len();
                later
                    .find_map(|leg| self.hedge_at(leg, now, |_| true))
                    .or_else(|| self.hedge_at(beside.leg, now, |endpoint| endpoint == beside.endpoint))
            })?;
        self.legs[place.leg].tries_left -= 1;
        Some(self.ask(place, permit))
    }

    fn hedge_at(&self, leg: usize, now: Instant, wanted: impl Fn(usize) -> bool) -> Option<(Place, Permit)> {
        let found = &self.legs[leg];
        if found.tries_left == 0 {
            return None;
        }
        let wanted =
            |endpoint: usize| wanted(endpoint) && !found.endpoints[endpoint].breaker.load(now).is_avoided;
        let (endpoint, permit) = found.admit(now, wanted)?;
        Some((Place { leg, endpoint }, permit))
    }

    /// Takes in a failure; `jitter` is in `0.0..1.0`.
    pub(super) fn failed(&mut self, place: Place, error: &VendorError, now: Instant, jitter: f64) {
        let leg = &mut self.legs[place.leg];
        let endpoint = &mut leg.endpoints[place.endpoint];
        leg.last_failure = Some((error.code, error.detail.clone()));
        leg.turned_away = error.code == ErrorCode::RateLimited || error.class == Class::Fatal;
        match error.class {
            Class::Retry { after } => {
                let ready_at = now + self.backoff.wait(endpoint.tries, after, jitter);
                endpoint.ready_at = Some(ready_at);
                if leg.turned_away {
                    endpoint.breaker.avoid_until(ready_at);
                }
            }
            Class::Fatal => {
                endpoint.refused = true;
                endpoint.breaker.avoid_until(now + REFUSED_FOR);
            }
            Class::Reject => leg.tries_left = 0,
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

    /// The attempt is not made after all.
    pub(super) fn withdraw(&mut self, ask: Ask) {
        self.attempts -= 1;
        drop(ask);
    }

    pub(super) fn not_admitted(self) -> ChainFailed {
        ChainFailed {
            kind: FailureKind::NotAdmitted,
            attempts: self.attempts,
            detail: "no further attempt was admitted".to_owned(),
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

    fn ask(&mut self, place: Place, permit: Permit) -> Ask {
        let endpoint = &mut self.legs[place.leg].endpoints[place.endpoint];
        endpoint.tries += 1;
        endpoint.asked = true;
        let number = self.first_attempt.saturating_add(self.attempts);
        self.attempts += 1;
        Ask { place, number, permit }
    }
}

impl Leg {
    /// The next attempt here; one that is offered has begun its try.
    fn offer(&mut self, now: Instant) -> Offer {
        if std::mem::take(&mut self.turned_away)
            && let Some((endpoint, permit)) = self.admit(now, |endpoint| !self.endpoints[endpoint].asked)
        {
            return Offer::Ask { endpoint, permit };
        }
        if self.tries_left == 0 {
            return Offer::Nothing;
        }
        if let Some((endpoint, permit)) = self.admit(now, |_| true) {
            self.begin_try();
            return Offer::Ask { endpoint, permit };
        }
        let usable = || self.endpoints.iter().enumerate().filter(|(_, endpoint)| !endpoint.refused);
        // An endpoint that still waits must not take the probe of a half-open breaker while it does.
        let waiting = usable().filter(|(_, endpoint)| endpoint.breaker.opens_at(now).is_none());
        if let Some(ready_at) = waiting.filter_map(|(_, endpoint)| endpoint.not_before(now)).min() {
            return Offer::WaitUntil(ready_at);
        }
        let open = usable().map(|(index, endpoint)| (endpoint.breaker.opens_at(now).unwrap_or(now), index));
        match open.min() {
            Some((opens_at, endpoint)) => Offer::Open { endpoint, opens_at },
            None => Offer::Nothing,
        }
    }

    fn begin_try(&mut self) {
        self.tries_left -= 1;
        self.turned_away = false;
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.asked = false);
    }

    /// The best of the endpoints that are `wanted`, usable now and let us in: one that has lately turned nobody
    /// away, with the least under way.
    fn admit(&self, now: Instant, wanted: impl Fn(usize) -> bool) -> Option<(usize, Permit)> {
        let count = self.endpoints.len();
        let mut free: Vec<usize> = (0..count)
            .map(|place| (self.turn + place) % count)
            .filter(|index| wanted(*index) && self.endpoints[*index].is_usable(now))
            .collect();
        // Stable: equals stay in turn.
        free.sort_by_cached_key(|index| self.endpoints[*index].breaker.load(now));
        free.into_iter().find_map(|index| Some((index, self.endpoints[index].breaker.admit(now)?)))
    }
}

impl Endpoint {
    fn is_usable(&self, now: Instant) -> bool {
        !self.refused && self.not_before(now).is_none()
    }

    fn not_before(&self, now: Instant) -> Option<Instant> {
        self.ready_at.filter(|ready_at| *ready_at > now)
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "chain_endpoint_tests.rs"]
mod endpoint_tests;
