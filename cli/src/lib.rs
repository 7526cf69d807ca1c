//! The one binary, `vocalbridge`: it reads the environment, puts the crates together and runs them.
//!
//! Business stays out of here: this crate composes, starts and stops. It is the only one that reads the environment.
//!
//! Start with [`system`] (which roles there are and what each needs), then [`dev`] (the whole system in one process)
//! and [`serve`] (any roles against a Postgres and NATS that run elsewhere).

pub mod command;
pub mod dev;
pub mod logging;
pub mod replay;
pub mod seed;
pub mod serve;
pub mod services;
pub mod settings;
pub mod source;
pub mod system;
