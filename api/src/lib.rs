//! The HTTP edge: what clients, operators and browsers can reach.
//!
//! A handler checks who calls, parses what was sent into types, appends an event or asks a projection, and answers. It
//! must never decide what may happen in a conversation, call a vendor (of `vendors` it uses what is pure: the rules for users' URLs and headers), keep truth of its own, or speak SQL or NATS
//! other than through `projections` and `nats`. What it keeps in memory are bounded caches that may be lost.
//!
//! Start with [`run`], then `routes` (one module per resource: routes, handlers, types and their documentation
//! together), with `routes/messages/post_message.rs` as the one that matters most. Around them: `edge` (what happens to
//! every request), `problem` (everything that goes wrong), `auth`, `idempotency`, `freshness` (reading one's own writes).

mod config;
mod routes;

mod app;
mod lingering;
mod server;
mod unreadable;

mod edge;
mod problem;
mod trace;

mod api_key;
mod auth;
mod key_uses;

mod export;
mod extract;
mod idempotency;
mod page;
mod prefer;
mod prompt_variables;
mod rates;
mod under_way;
mod validation;
mod waiting;

mod append;
mod calls;
mod follower;
mod freshness;
mod sessions;
mod sockets;
mod tokens;
mod tool_runs;
mod twilio;

mod money;
mod openapi;
mod opened;
mod recent;
mod reservations;

use events::Clock;
use metrics_exporter_prometheus::PrometheusHandle;
use nats::Nats;
use projections::{Database, Keyring, Progress};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use api_key::NewKey;
pub use config::{AbsentProvider, Config, LanguageModels, Provider, Telephony, TwilioAccount};

pub use sockets::SocketLimits;

use app::App;

/// All that the api needs of the rest of the process.
pub struct Api {
    pub nats: Nats,
    pub database: Database,
    pub keyring: Keyring,
    /// Whoever starts the process runs it, once for all roles.
    pub progress: Progress,
    pub clock: Clock,
    pub config: Config,
    /// What `/metrics` shows; whoever installed the recorder keeps it up.
    pub metrics: PrometheusHandle,
}

/// Serves until `shutdown`, then lets requests in flight finish and ends all streams.
pub async fn run(listener: TcpListener, api: Api, shutdown: CancellationToken) {
    let app = App::new(api, shutdown.clone());
    app.tasks.spawn(key_uses::keep(app.clone(), shutdown.clone()));
    app.tasks.spawn(rates::exchange(app.clone(), shutdown.clone()));
    server::serve(listener, routes::router(app.clone()), shutdown).await;
    app.tasks.close();
    app.tasks.wait().await;
}

/// Serves `/live`, `/ready`, `/health` and `/metrics` alone, until `shutdown`: for processes without the api.
pub async fn run_monitoring(listener: TcpListener, api: Api, shutdown: CancellationToken) {
    let app = App::new(api, shutdown.clone());
    server::serve(listener, routes::monitoring(app), shutdown).await;
}

/// The OpenAPI document of everything that [`run`] serves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::document()
}
