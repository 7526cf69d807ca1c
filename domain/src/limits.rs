//! How much a tenant may have under way.

use events::tenant::LimitsSet;

/// Of one tenant, over all processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub requests_per_minute: u32,
    /// Messages that are being answered at once.
    pub concurrent_turns: u32,
    pub concurrent_calls: u32,
}

impl Default for Limits {
    /// Those of a new tenant.
    fn default() -> Self {
        Self { requests_per_minute: 600, concurrent_turns: 50, concurrent_calls: 10 }
    }
}

impl From<LimitsSet> for Limits {
    fn from(set: LimitsSet) -> Self {
        let LimitsSet { requests_per_minute, concurrent_turns, concurrent_calls } = set;
        Self { requests_per_minute, concurrent_turns, concurrent_calls }
    }
}

impl From<Limits> for LimitsSet {
    fn from(limits: Limits) -> Self {
        let Limits { requests_per_minute, concurrent_turns, concurrent_calls } = limits;
        Self { requests_per_minute, concurrent_turns, concurrent_calls }
    }
}
