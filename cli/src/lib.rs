//! The one binary, `vocalbridge`: it reads the environment, puts the crates together and runs them.
//!
//! It composes, starts and stops, and must never hold business of its own. It is the only crate that reads the
//! environment.
//!
//! Start with [`system`] (which roles there are and what each needs), then [`dev`] (the whole system in one process)
//! and [`serve`] (any roles against a Postgres and NATS that run elsewhere).

pub mod command;
pub mod dev;
pub mod language_models;
pub mod logging;
pub mod models;
pub mod price_list;
pub mod prices;
mod realtime;
pub mod replay;
pub mod seed;
pub mod serve;
pub mod services;
pub mod settings;
pub mod softphone;
pub mod source;
pub mod speech;
pub mod system;
pub mod vendor_endpoints;
mod voice_prices;

/// A fifth of the time of a busy process went into the system's allocator; this one takes a third of that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
