//! When to try again and when to stay away: pure arithmetic on times that are passed in. The loop that obeys
//! is in `llm/vendors.rs`.

mod backoff;
mod breaker;

pub use backoff::Backoff;
pub use breaker::BreakerConfig;

pub(crate) use backoff::Jitter;
pub(crate) use breaker::{Breakers, Permit, SharedBreaker, Verdict};
