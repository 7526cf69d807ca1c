//! Circuit breakers, one per vendor, model and endpoint: stay away for a while from what keeps failing. Each also
//! knows how much is under way at its endpoint, so that load can be spread.
//!
//! Closed, a breaker counts the last outcomes; when too many of them failed it opens. Open, it admits nobody
//! until its time is up; then it is half-open and admits one probe, whose outcome closes it or opens it
//! again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Breakers kept per vendor. Tenants choose model names, so the number of these is not ours to trust.
const MODELS_PER_VENDOR: usize = 256;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerConfig {
    /// How many of the last attempts count.
    pub window: usize,
    /// It never opens on fewer outcomes than this.
    pub min_attempts: usize,
    /// It opens at this share of failures, `0.0..=1.0`.
    pub failure_ratio: f64,
    /// How long it stays open before a probe.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { window: 20, min_attempts: 10, failure_ratio: 0.5, open_for: Duration::from_secs(10) }
    }
}

/// What an attempt says about its vendor's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure,
    /// It answered, but the answer says nothing of its health: a rate limit, a refusal.
    Alive,
    /// We stopped before we knew.
    Unknown,
}

/// How good a choice an endpoint is; the lowest is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// It has lately turned somebody away.
    pub(crate) is_avoided: bool,
    pub(crate) under_way: usize,
}

/// The breakers of all vendors.
#[derive(Debug)]
pub(crate) struct Breakers {
    config: BreakerConfig,
    by_vendor: Mutex<HashMap<String, HashMap<String, Endpoints>>>,
}

/// A model's breakers at all endpoints of its vendor.
#[derive(Debug)]
struct Endpoints {
    breakers: Vec<SharedBreaker>,
    turn: usize,
}

impl Breakers {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, by_vendor: Mutex::default() }
    }

    /// A model's breakers at its vendor's `endpoints`, and the number whose turn it is among equals; another one at
    /// every call.
    pub(crate) fn get(&self, vendor: &str, model: &str, endpoints: usize) -> (Vec<SharedBreaker>, usize) {
        let mut by_vendor = lock(&self.by_vendor);
        if let Some(known) = by_vendor.get_mut(vendor).and_then(|models| models.get_mut(model)) {
            known.turn = (known.turn + 1) % known.breakers.len().max(1);
            return (known.breakers.clone(), known.turn);
        }
        let breaker = |endpoint| Breaker::new(self.config, vendor, model, endpoint);
        let breakers: Vec<_> =
            (1..=endpoints).map(|number| SharedBreaker(Arc::new(Mutex::new(breaker(number))))).collect();
        let models = by_vendor.entry(vendor.to_owned()).or_default();
        if models.len() >= MODELS_PER_VENDOR {
            models.retain(|_, known| known.breakers.iter().any(|breaker| !lock(&breaker.0).is_closed()));
        }
        if models.len() < MODELS_PER_VENDOR {
            models.insert(model.to_owned(), Endpoints { breakers: breakers.clone(), turn: 0 });
        }
        (breakers, 0)
    }
}

/// The breaker of one vendor's model at one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct SharedBreaker(Arc<Mutex<Breaker>>);

impl SharedBreaker {
    /// When [`SharedBreaker::admit`] may let somebody in again: the past when a probe is under way. `None`: now.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        lock(&self.0).opens_at(now)
    }

    pub(crate) fn load(&self, now: Instant) -> Load {
        let breaker = lock(&self.0);
        let is_avoided = breaker.avoided_until.is_some_and(|until| now < until);
        Load { is_avoided, under_way: breaker.under_way }
    }

    /// Until then others prefer another endpoint. This one is not closed: it may be all there is.
    pub(crate) fn avoid_until(&self, until: Instant) {
        lock(&self.0).avoided_until = Some(until);
    }

    pub(crate) fn admit(&self, now: Instant) -> Option<Permit> {
        let mut breaker = lock(&self.0);
        if breaker.opens_at(now).is_some() {
            return None;
        }
        let kind = match breaker.state {
            State::Closed => PermitKind::Regular,
            State::Open { until: since } | State::HalfOpen { since, .. } => {
                breaker.state = State::HalfOpen { since, probing: true };
                PermitKind::Probe
            }
        };
        Some(self.permit(&mut breaker, kind))
    }

    /// A permit whatever the state: for the last vendor that is left to try.
    pub(crate) fn force(&self) -> Permit {
        self.permit(&mut lock(&self.0), PermitKind::Forced)
    }

    fn permit(&self, breaker: &mut Breaker, kind: PermitKind) -> Permit {
        breaker.under_way += 1;
        Permit { breaker: self.clone(), kind, settled: false }
    }
}

/// The right to make one attempt, which is under way as long as this lives. Dropped without a verdict, it counts as
/// [`Verdict::Unknown`], so that an aborted task cannot hold the only probe for ever.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: SharedBreaker,
    kind: PermitKind,
    settled: bool,
}

impl Permit {
    pub(crate) fn settle(mut self, verdict: Verdict, now: Instant) {
        self.settled = true;
        let mut breaker = lock(&self.breaker.0);
        breaker.under_way -= 1;
        breaker.settle(self.kind, verdict, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            let mut breaker = lock(&self.breaker.0);
            breaker.under_way -= 1;
            breaker.release(self.kind);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PermitKind {
    Regular,
    Probe,
    Forced,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { since: Instant, probing: bool },
}

#[derive(Debug)]
struct Breaker {
    config: BreakerConfig,
    vendor: String,
    model: String,
    /// Counts from 1.
    endpoint: usize,
    state: State,
    /// Permits that are out.
    under_way: usize,
    avoided_until: Option<Instant>,
    /// The last outcomes while closed, oldest first; true is a failure.
    outcomes: VecDeque<bool>,
    failures: usize,
}

impl Breaker {
    fn new(config: BreakerConfig, vendor: &str, model: &str, endpoint: usize) -> Self {
        Self {
            config,
            vendor: vendor.to_owned(),
            model: model.to_owned(),
            endpoint,
            state: State::Closed,
            under_way: 0,
            avoided_until: None,
            outcomes: VecDeque::with_capacity(config.window),
            failures: 0,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn opens_at(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Open { until } if now < until => Some(until),
            State::HalfOpen { since, probing: true } => Some(since),
            State::Closed | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    fn settle(&mut self, kind: PermitKind, verdict: Verdict, now: Instant) {
        match (self.state, verdict) {
            (_, Verdict::Unknown) => self.release(kind),
            (State::Closed, Verdict::Alive) => {}
            (State::Closed, Verdict::Success) => self.count(false),
            (State::Closed, Verdict::Failure) => {
                self.count(true);
                if self.is_failing() {
                    self.open(now);
                }
            }
            // An attempt from before it opened is old news.
            (State::Open { .. } | State::HalfOpen { .. }, _) if kind == PermitKind::Regular => {}
            (State::Open { .. } | State::HalfOpen { .. }, Verdict::Success | Verdict::Alive) => self.close(),
            // A forced failure must not put off the next probe.
            (State::HalfOpen { .. }, Verdict::Failure) if kind == PermitKind::Probe => self.open(now),
            (State::Open { .. } | State::HalfOpen { .. }, Verdict::Failure) => {}
        }
    }

    fn release(&mut self, kind: PermitKind) {
        if let (PermitKind::Probe, State::HalfOpen { since, .. }) = (kind, self.state) {
            self.state = State::HalfOpen { since, probing: false };
        }
    }

    fn count(&mut self, failed: bool) {
        if self.outcomes.len() >= self.config.window.max(1) && self.outcomes.pop_front() == Some(true) {
            self.failures -= 1;
        }
        self.outcomes.push_back(failed);
        self.failures += usize::from(failed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a window is far smaller than 2^52")]
    fn is_failing(&self) -> bool {
        self.outcomes.len() >= self.config.min_attempts.max(1)
            && self.failures as f64 >= self.config.failure_ratio * self.outcomes.len() as f64
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.config.open_for };
        self.forget();
        tracing::warn!(
            vendor = self.vendor,
            model = self.model,
            endpoint = self.endpoint,
            "a vendor keeps failing: its circuit is open"
        );
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.forget();
        tracing::info!(
            vendor = self.vendor,
            model = self.model,
            endpoint = self.endpoint,
            "a vendor answers again: its circuit is closed"
        );
    }

    fn forget(&mut self) {
        self.outcomes.clear();
        self.failures = 0;
    }
}

/// A breaker is changed in single assignments, so one that was poisoned is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
