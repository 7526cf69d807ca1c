//! The ports against the built-in vendors and other servers, over real HTTP on the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod mcp;
#[path = "../../../tests/support/python.rs"]
mod python;
mod raw;
mod scripted;
mod support;

mod adapters;
mod admission;
mod answers;
mod cancel;
mod control;
mod determinism;
mod endpoints;
mod failures;
mod faults;
mod functions;
mod hedging;
mod hostile;
mod resilience;
mod sdk;
mod signatures;
mod speech;
mod streaming;
mod strictness;
mod webhooks;
mod wires;
