//! Requests per minute: of a key, of a tenant, of an agent.
//!
//! Each process has a bucket for each of them ([`bucket`]) and decides alone and at once. Processes tell each other what
//! they let through ([`exchange`]) and take it out of their own buckets, so that together they let through the limit, and
//! at most what is on its way between them beside it.

mod bucket;
mod counting;
mod exchange;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use nats::rates::{Subject, Used};
use quick_cache::unsync::Cache;
use tokio::sync::Notify;

use crate::problem::{Code, Problem};

use bucket::{Bucket, MINUTE, Taken};
pub(crate) use counting::{count_agent, count_caller};
pub(crate) use exchange::exchange;

/// Keys, agents and tenants whose buckets are kept; the least used of more begin with a full one again.
const CAPACITY: usize = 20_000;
/// Once a process has let through this part of a limit, it tells the others at once.
const UNTOLD_PART: u32 = 100;

const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT_HEADER: HeaderName = HeaderName::from_static("ratelimit");

/// All buckets of a process.
pub(crate) struct Rates<C: Clock = DefaultClock> {
    inner: Mutex<Inner<C>>,
    clock: C,
    /// There is something to tell that should not wait.
    hurry: Notify,
}

struct Inner<C: Clock> {
    buckets: Cache<Subject, Bucket<C>>,
    /// Let through here, and not told yet.
    untold: HashMap<Subject, Used>,
}

/// What a client is told of the limit that it is nearest to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whose limit it is: `key`, `agent` or `tenant`.
    policy: &'static str,
    per_minute: u32,
    remaining: u32,
    /// Until all of the limit can be used again, or, when nothing remains, until one request can.
    reset: Duration,
}

impl Standing {
    /// Of two limits the one that will be reached first.
    pub(crate) fn nearer(self, other: Option<Self>) -> Self {
        other.filter(|other| other.remaining < self.remaining).unwrap_or(self)
    }

    /// Draft 9 of the IETF's RateLimit fields, and on `/v1` those that OpenAI's clients know.
    pub(crate) fn write(&self, path: &str, headers: &mut HeaderMap) {
        let Self { policy, per_minute, remaining, reset } = *self;
        let reset_seconds = whole_seconds(reset);
        let mut write = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        write(POLICY_HEADER, format!("\"{policy}\";q={per_minute};w={}", MINUTE.as_secs()));
        write(LIMIT_HEADER, format!("\"{policy}\";r={remaining};t={reset_seconds}"));
        if path.starts_with("/v1/") {
            let name = HeaderName::from_static;
            write(name("x-ratelimit-limit-requests"), per_minute.to_string());
            write(name("x-ratelimit-remaining-requests"), remaining.to_string());
            write(name("x-ratelimit-reset-requests"), format!("{reset_seconds}s"));
        }
    }
}

/// A limit was reached.
pub(crate) struct Refused(Standing);

impl Refused {
    pub(crate) fn standing(&self) -> Standing {
        self.0
    }

    pub(crate) fn problem(&self) -> Problem {
        let Standing { policy, per_minute, reset, .. } = self.0;
        let detail = format_args!("the {policy} may send {per_minute} requests a minute").to_string();
        Problem::new(Code::RateLimited, detail).retry_after(whole_seconds(reset).max(1))
    }
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self::with_clock(DefaultClock::default())
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(clock: C) -> Self {
        let inner = Inner { buckets: Cache::new(CAPACITY), untold: HashMap::new() };
        Self { inner: Mutex::new(inner), clock, hurry: Notify::new() }
    }

    /// Takes one request out of the bucket of `subject`, which may send `per_minute`. Zero: none at all.
    ///
    /// # Errors
    /// When the bucket is empty.
    pub(crate) fn take(&self, subject: Subject, per_minute: u32) -> Result<Standing, Refused> {
        let policy = subject.kind();
        let standing = |remaining, reset| Standing { policy, per_minute, remaining, reset };
        let Some(most) = NonZeroU32::new(per_minute) else { return Err(Refused(standing(0, MINUTE))) };
        let mut inner = self.lock();
        match inner.with(subject, most, &self.clock, Bucket::take) {
            Taken::Through { remaining } => {
                let untold = inner.untold.entry(subject).or_insert(Used { subject, per_minute, count: 0 });
                (untold.per_minute, untold.count) = (per_minute, untold.count + 1);
                if untold.count >= (per_minute / UNTOLD_PART).max(1) {
                    self.hurry.notify_one();
                }
                Ok(standing(remaining, MINUTE * per_minute.saturating_sub(remaining) / per_minute))
            }
            Taken::Refused { wait } => Err(Refused(standing(0, wait))),
        }
    }

    /// Other processes let these through.
    fn owe(&self, used: &[Used]) {
        let mut inner = self.lock();
        for Used { subject, per_minute, count } in used {
            if let Some(most) = NonZeroU32::new(*per_minute) {
                inner.with(*subject, most, &self.clock, |bucket| bucket.owe(*count));
            }
        }
    }

    /// What was let through since the last time this was asked.
    fn tell(&self) -> Vec<Used> {
        std::mem::take(&mut self.lock().untold).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        // Nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock + Clone> Inner<C> {
    /// A limit that was changed begins with a full bucket.
    fn with<T>(
        &mut self,
        subject: Subject,
        most: NonZeroU32,
        clock: &C,
        act: impl FnOnce(&mut Bucket<C>) -> T,
    ) -> T {
        if let Some(mut bucket) = self.buckets.get_mut(&subject)
            && bucket.per_minute == most
        {
            return act(&mut bucket);
        }
        let mut bucket = Bucket::new(most, clock.clone());
        let answer = act(&mut bucket);
        self.buckets.insert(subject, bucket);
        answer
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
