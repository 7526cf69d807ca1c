//! The built-in vendors: a real HTTP server that behaves as language model vendors do, and misbehaves when
//! told to.
//!
//! | path | what |
//! |---|---|
//! | `POST /vendor_a/v1/generate` | VendorA, see [`vendor_a`]; models `vendor-a…`; by default 10 % of its answers are HTTP 500 |
//! | `POST /vendor_b/chat` | VendorB, see [`vendor_b`]; models `vendor-b…`; by default 10 % are HTTP 429 with `Retry-After: 1` |
//! | `GET`, `PUT`, `DELETE /_control/{vendor}` | show, merge into, reset how a vendor behaves, see [`Control`] |
//! | `GET`, `DELETE /_log/{vendor}` | every request that was received, oldest first (`?after=<index>`, `?bodies=false`); clear |
//!
//! `{vendor}` is `vendor_a` or `vendor_b`. The log holds 64 MiB over all vendors; the header `X-Log-Dropped`
//! counts the entries that had to go. Nothing outlives a restart.
//!
//! **Replies** come from a small fixed brain (`conversation.rs`): the same conversation gets the same words;
//! ids are new every time. Failures are drawn from one generator per vendor: with a seed, the same requests
//! in the same order meet the same failures.
//!
//! **Tokens**, the same for both vendors: a text has ⌈characters / 4⌉ ([`count_tokens`]). Tokens in are the
//! sum over the system prompt and every turn's text, tool results included, and the arguments of every past
//! tool call as compact JSON. Tokens out are the reply's text and the arguments of its tool calls. Names, ids
//! and tool definitions are free.

mod control;
mod conversation;
mod invoices;
mod log;
mod misbehave;
mod serve;
mod small_talk;
mod tokens;
pub mod vendor_a;
pub mod vendor_b;

pub use control::{Control, Mode};
pub use tokens::count_tokens;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::WallClock;
use log::Log;

/// A larger request is answered with 413: far more than any conversation of ours.
const REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// How the built-in vendors start.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// `None`: other failures at every start.
    pub seed: Option<u64>,
    /// VendorA's behaviour, and what a `DELETE` of its control returns to.
    pub vendor_a: Control,
    /// VendorB's.
    pub vendor_b: Control,
    /// Most bytes that the log of requests holds, over all vendors.
    pub log_bytes: usize,
    /// Stamps the log.
    pub now: WallClock,
}

impl SimulatorConfig {
    pub fn new(now: WallClock) -> Self {
        Self {
            seed: None,
            vendor_a: Control::vendor_a(),
            vendor_b: Control::vendor_b(),
            log_bytes: 64 * 1024 * 1024,
            now,
        }
    }
}

/// Serves until `shutdown`, then answers what is under way and returns; stalled answers are broken off.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    listener: TcpListener,
    config: SimulatorConfig,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(error = %error, "TCP_NODELAY could not be set");
        }
    });
    let simulator = Arc::new(Simulator::new(config, shutdown.clone()));
    axum::serve(listener, router(simulator)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/vendor_a/v1/generate", post(serve::serve::<vendor_a::Format>))
        .route("/vendor_b/chat", post(serve::serve::<vendor_b::Format>))
        .route("/_control/{vendor}", get(control::show).put(control::merge).delete(control::reset))
        .route("/_log/{vendor}", get(log::show).delete(log::clear))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(simulator)
}

/// The vendors that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VendorName {
    A,
    B,
}

impl VendorName {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "vendor_a" => Some(Self::A),
            "vendor_b" => Some(Self::B),
            _ => None,
        }
    }
}

struct Simulator {
    config: SimulatorConfig,
    shutdown: CancellationToken,
    state: Mutex<State>,
}

/// Under one lock, so that indexes, failures and log entries have the same order. Held for well under a
/// microsecond, but for reading the log.
struct State {
    vendor_a: VendorState,
    vendor_b: VendorState,
    log: Log,
}

struct VendorState {
    control: Control,
    failures: Xoshiro256PlusPlus,
    requests: u64,
}

impl Simulator {
    fn new(config: SimulatorConfig, shutdown: CancellationToken) -> Self {
        let vendor = |control, salt: u64| VendorState {
            control,
            failures: config.seed.map_or_else(rand::make_rng, |seed| {
                Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(salt))
            }),
            requests: 0,
        };
        let state = State {
            vendor_a: vendor(config.vendor_a, 0xA),
            vendor_b: vendor(config.vendor_b, 0xB),
            log: Log::new(config.log_bytes),
        };
        Self { config, shutdown, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initial_control(&self, vendor: VendorName) -> Control {
        match vendor {
            VendorName::A => self.config.vendor_a,
            VendorName::B => self.config.vendor_b,
        }
    }
}

impl State {
    fn vendor(&mut self, vendor: VendorName) -> &mut VendorState {
        match vendor {
            VendorName::A => &mut self.vendor_a,
            VendorName::B => &mut self.vendor_b,
        }
    }
}
