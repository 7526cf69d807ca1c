//! The whole system against real parts. One file per promise.
#![expect(clippy::unwrap_used, reason = "tests")]

mod walk;
