//! The built-in vendors: a real HTTP server that behaves as language model vendors do, and misbehaves when
//! told to.
//!
//! | path | what |
//! |---|---|
//! | `POST /vendor_a/v1/generate` | VendorA, see [`vendor_a`]; models `vendor-a…`; by default 10 % of its answers are HTTP 500 |
//! | `POST /vendor_b/chat` | VendorB, see [`vendor_b`]; models `vendor-b…`; by default 10 % are HTTP 429 with `Retry-After: 1` |
//! | `POST /openai/v1/chat/completions`, `/groq/openai/v1/…`, `/deepseek/…`, `/deepseek/v1/…` | chat completions, see [`openai`] |
//! | `POST /anthropic/v1/messages` | messages, see [`anthropic`] |
//! | `POST /google/{v1,v1beta}/models/{model}:generateContent`, `:streamGenerateContent` | Gemini, see [`google`] |
//! | `POST /simulated/v1/transcribe`, `/simulated/v1/speak` | ears and a mouth, see `speech.rs` |
//! | `POST`, `GET`, `DELETE /mcp` | an MCP server with two tools, see `mcp.rs`; it has no control and no log |
//! | `GET …/models` of each of these | the models that the vendor is glad to name |
//! | `GET`, `PUT`, `DELETE /_control/{vendor}` | show, merge into, reset how a vendor behaves, see [`Control`]; with `?key=…` to the requests with this API key alone |
//! | `GET`, `DELETE /_log/{vendor}` | every request that was received, oldest first (`?after=<index>`, `?bodies=false`); clear |
//!
//! `{vendor}` is `vendor_a`, `vendor_b`, `openai`, `groq`, `deepseek`, `anthropic`, `google` or `simulated_speech`; the last
//! six do not fail unless told to. The log holds 64 MiB over all vendors; the header `X-Log-Dropped`
//! counts the entries that had to go. Nothing outlives a restart.
//!
//! **Replies** come from a small fixed brain (`conversation.rs`): the same conversation gets the same words;
//! ids are new every time. Failures are drawn from one generator per vendor: with a seed, the same requests
//! in the same order meet the same failures.
//!
//! **Tokens**, the same for all vendors: a text has ⌈characters / 4⌉ ([`count_tokens`]). Tokens in are the
//! sum over the system prompt and every turn's text, tool results included, and the arguments of every past
//! tool call as compact JSON. Tokens out are the reply's text and the arguments of its tool calls. Names, ids
//! and tool definitions are free.

pub mod anthropic;
mod babble;
mod control;
mod conversation;
mod format;
pub mod google;
mod invoices;
mod log;
mod lots;
mod mcp;
mod misbehave;
pub mod openai;
mod parting;
mod phrases;
mod serve;
mod small_talk;
mod speech;
mod sse;
mod tokens;
pub mod vendor_a;
pub mod vendor_b;
mod vendor_name;

pub use control::{Control, Mode};
pub use tokens::count_tokens;

use std::collections::HashMap;
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
use phrases::Phrases;
use vendor_name::{PerVendor, VendorName};

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

    fn initial_control(&self, vendor: VendorName) -> Control {
        match vendor {
            VendorName::A => self.vendor_a,
            VendorName::B => self.vendor_b,
            _ => Control::steady(),
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
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(google::routes())
        .merge(speech::routes())
        .merge(mcp::routes(&simulator.shutdown))
        .route("/_control/{vendor}", get(control::show).put(control::merge).delete(control::reset))
        .route("/_log/{vendor}", get(log::show).delete(log::clear))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(simulator)
}

struct Simulator {
    config: SimulatorConfig,
    shutdown: CancellationToken,
    state: Mutex<State>,
}

/// Under one lock, so that indexes, failures and log entries have the same order. Held for well under a
/// microsecond, but for reading the log.
struct State {
    vendors: PerVendor<VendorState>,
    log: Log,
    phrases: Phrases,
    /// Answered in OpenAI's format.
    transcriptions: u64,
}

struct VendorState {
    control: Control,
    /// Of the keys that have one of their own.
    by_key: HashMap<String, Control>,
    failures: Xoshiro256PlusPlus,
    requests: u64,
}

impl VendorState {
    fn control_of(&mut self, key: Option<&str>) -> &mut Control {
        key.and_then(|key| self.by_key.get_mut(key)).unwrap_or(&mut self.control)
    }
}

impl Simulator {
    fn new(config: SimulatorConfig, shutdown: CancellationToken) -> Self {
        let vendors = PerVendor::new(|vendor| VendorState {
            control: config.initial_control(vendor),
            by_key: HashMap::new(),
            failures: config.seed.map_or_else(rand::make_rng, |seed| {
                // Every vendor draws lots of its own.
                Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(0xA + vendor as u64))
            }),
            requests: 0,
        });
        let log = Log::new(config.log_bytes);
        Self {
            config,
            shutdown,
            state: Mutex::new(State { vendors, log, phrases: Phrases::default(), transcriptions: 0 }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
