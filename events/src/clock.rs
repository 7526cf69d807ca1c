//! The one place that reads the wall clock, so that tests can stand in for it.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

/// Gives the present time. Cheap to clone; every component that stamps events is handed one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's clock, cut to microseconds: what Postgres keeps, so that a value survives the round trip.
    #[expect(clippy::disallowed_methods, reason = "the home of the ban: everything else takes a Clock")]
    pub fn system() -> Self {
        Self(Arc::new(|| Utc::now().trunc_subsecs(6)))
    }

    /// A clock that says whatever `now` says; for tests.
    pub fn from_fn(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
