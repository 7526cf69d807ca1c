//! How long to wait before the next attempt.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Waits grow from `min_wait` towards `max_wait` and never leave these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub min_wait: Duration,
    pub max_wait: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min_wait: Duration::from_secs(1), max_wait: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The wait before retry number `retry` (1 is the first), with `jitter` in `0.0..1.0`.
    ///
    /// Without a wish of the vendor: anywhere between `min_wait` and `min_wait · 2^retry`, so that callers
    /// who failed together do not come back together. With one (`retry_after`): that long, and up to a tenth
    /// longer.
    pub fn wait(&self, retry: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let min_wait = self.min_wait.min(self.max_wait);
        let wait = match retry_after {
            Some(after) => after.clamp(min_wait, self.max_wait).mul_f64(1.0 + jitter / 10.0),
            None => {
                let ceiling = min_wait.saturating_mul(2_u32.saturating_pow(retry)).min(self.max_wait);
                min_wait + (ceiling.saturating_sub(min_wait)).mul_f64(jitter)
            }
        };
        wait.min(self.max_wait)
    }
}

/// A source of numbers in `0.0..1.0`, used only when something has failed.
#[derive(Debug)]
pub(crate) struct Jitter(Mutex<SmallRng>);

impl Jitter {
    /// Seeded, the numbers repeat; `None` takes the seed from the system.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64)))
    }

    pub(crate) fn next(&self) -> f64 {
        // A generator cannot be left half changed, so a poisoned one is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min_wait: Duration::from_secs(1), max_wait: Duration::from_secs(10) };
    const ALMOST_ONE: f64 = 0.999_999;

    #[test]
    fn waits_grow_between_their_bounds() {
        for (retry, longest) in [(1, 2), (2, 4), (3, 8), (4, 10), (40, 10), (u32::MAX, 10)] {
            assert_eq!(BACKOFF.wait(retry, None, 0.0), Duration::from_secs(1), "retry {retry}");
            let high = BACKOFF.wait(retry, None, ALMOST_ONE);
            assert!(high <= Duration::from_secs(longest), "retry {retry}: {high:?}");
            assert!(high > Duration::from_millis(longest * 1000 - 50), "retry {retry}: {high:?}");
        }
    }

    #[test]
    fn the_vendors_wish_is_honoured_up_to_the_cap() {
        assert_eq!(BACKOFF.wait(1, Some(Duration::from_secs(4)), 0.0), Duration::from_secs(4));
        assert!(BACKOFF.wait(1, Some(Duration::from_secs(4)), ALMOST_ONE) <= Duration::from_millis(4400));
        assert_eq!(BACKOFF.wait(1, Some(Duration::from_secs(3600)), ALMOST_ONE), Duration::from_secs(10));
        assert_eq!(BACKOFF.wait(3, Some(Duration::ZERO), 0.0), Duration::from_secs(1));
    }

    #[test]
    fn a_seed_repeats_its_jitter() {
        let (first, second) = (Jitter::new(Some(7)), Jitter::new(Some(7)));
        for _ in 0..100 {
            let jitter = first.next();
            assert!((0.0..1.0).contains(&jitter));
            assert!((jitter - second.next()).abs() < f64::EPSILON);
        }
    }
}
