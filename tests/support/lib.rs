//! What the tests of the whole system stand on: a private Postgres, nats-server and simulated vendors each, roles as
//! real processes that can be killed, and a client.
//!
//! Nothing here waits by sleeping: it polls a condition on a ticking interval, or waits for an event.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test support: a broken set-up ends the test")]

pub mod caller;
pub mod calls;
pub mod chromium;
pub mod client;
pub mod echo;
pub mod endpoint;
pub mod openapi;
pub mod process;
pub mod python;
pub mod raw;
pub mod recording;
pub mod socket;
pub mod speech_work;
pub mod spoken;
pub mod sse;
pub mod truth;
pub mod twilio;
pub mod world;

pub use client::Client;
pub use endpoint::Endpoint;
pub use process::Process;
pub use socket::Socket;
pub use spoken::SpokenWorld;
pub use world::World;

use std::time::Duration;

/// Asks `condition` until it gives a value, at most `limit` long.
///
/// # Panics
/// When the time runs out: `what` did not happen.
pub async fn eventually<T>(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let tried = async {
        loop {
            ticks.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    tokio::time::timeout(limit, tried)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {limit:?}"))
}
