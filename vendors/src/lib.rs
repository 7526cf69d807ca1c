//! Every third party that VocalBridge talks to, and the only place that calls one.
//!
//! A port per kind of vendor ([`llm`], [`stt`] and [`tts`], and tenants' own [`functions`], [`mcp`] servers and [`webhooks`]) is small and says nothing of any vendor's
//! wire format; one file per vendor translates. Below the ports lie the shared HTTP client with its error classes ([`http`]) and
//! the resilience layer ([`resilience`]): time limits, backoff, `Retry-After`, circuit breakers and fallback
//! chains. [`telephony`] holds what carriers' webhooks are checked and answered with. [`simulator`] holds the built-in vendors: real HTTP servers with their own wire formats, which can
//! be told to fail.
//!
//! This crate must never import a crate of ours, read the environment, log what people said or a key, follow
//! a redirect, or make a request that nobody is told about.
//!
//! Start reading in [`llm`] (the port), then `llm/chain.rs` (what is tried next, without I/O),
//! `llm/vendors.rs` (the loop that does it) and `llm/vendor_a.rs` (one vendor's wire format).

pub mod functions;
pub mod llm;
pub mod mcp;
pub mod speech;
pub mod stt;
pub mod telephony;
pub mod tts;
pub mod webhooks;

pub mod http;
mod local;
pub mod resilience;
pub mod simulator;

use chrono::{DateTime, Utc};

/// Everything that cli has to fill in for this crate.
#[derive(Debug, Clone)]
pub struct Config {
    pub llm: llm::LlmConfig,
    pub speech: speech::SpeechConfig,
}

/// The wall clock, passed in so that tests own the time that is recorded.
pub type WallClock = fn() -> DateTime<Utc>;
