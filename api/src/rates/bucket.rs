//! One limit's bucket in this process: full at first, refilled evenly over a minute, and emptied also by what other
//! processes let through.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Bucket<C: Clock> {
    limiter: Limiter<C>,
    clock: C,
    pub(super) per_minute: NonZeroU32,
    /// Let through elsewhere, and not taken out of this bucket yet because it is empty. It is paid before anything else is
    /// let through: without it, processes that are all flooded would each refill at the whole rate.
    owed: u32,
}

/// What a bucket says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many more could follow at once.
    Through {
        remaining: u32,
    },
    Refused {
        wait: Duration,
    },
}

impl<C: Clock + Clone> Bucket<C> {
    pub(super) fn new(per_minute: NonZeroU32, clock: C) -> Self {
        let limiter = RateLimiter::direct_with_clock(Quota::per_minute(per_minute), clock.clone());
        Self { limiter: limiter.with_middleware(), clock, per_minute, owed: 0 }
    }

    pub(super) fn take(&mut self) -> Taken {
        self.pay();
        if self.owed > 0 {
            // One for each that is owed, and one for this.
            return Taken::Refused { wait: self.each() * (self.owed + 1) };
        }
        match self.limiter.check() {
            Ok(state) => Taken::Through { remaining: state.remaining_burst_capacity() },
            Err(until) => Taken::Refused { wait: until.wait_time_from(self.clock.now()) },
        }
    }

    /// Another process has let `count` through.
    pub(super) fn owe(&mut self, count: u32) {
        // More than a minute's worth is never owed: a mistake elsewhere must not shut anybody out for good.
        self.owed = self.owed.saturating_add(count).min(self.per_minute.get());
        self.pay();
    }

    /// How long an empty bucket takes to have room for one.
    fn each(&self) -> Duration {
        MINUTE / self.per_minute.get()
    }

    fn pay(&mut self) {
        if let Some(owed) = NonZeroU32::new(self.owed)
            && matches!(self.limiter.check_n(owed), Ok(Ok(_)))
        {
            self.owed = 0;
        }
        while self.owed > 0 && self.limiter.check().is_ok() {
            self.owed -= 1;
        }
    }
}
