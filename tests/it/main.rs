//! The whole system against real parts. One file per promise.
#![expect(clippy::unwrap_used, reason = "tests")]

mod appointments;
mod bad_input;
mod browser_calls;
mod calls;
mod calls_outlive_workers;
mod cancelling;
mod compose;
mod custom_functions;
mod dev;
mod endpoints;
mod fairness;
mod hostile_sockets;
mod house;
mod idempotency;
mod isolation;
mod log;
mod long_conversations;
mod mcp_servers;
mod media;
mod nothing_lost;
mod pages;
mod parting;
mod phone_numbers;
mod prompts;
mod real_vendors;
mod recordings;
mod roles;
mod service;
mod speech_models;
mod spoken_calls;
mod streaming;
mod tool_runs;
mod twilio_calls;
mod vendor_faults;
mod walk;
