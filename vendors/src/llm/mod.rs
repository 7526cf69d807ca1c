//! The port to language models: a chat request in, a reply out, whichever vendor serves it.
//!
//! [`LlmVendors::complete`] is the one way in. It walks a fallback chain of [`Target`]s and tells an
//! [`AttemptObserver`] of every request that it sent, so that every attempt can be recorded and billed.

mod anthropic;
mod anthropic_answer;
mod attempt;
mod calls;
mod chain;
mod config;
pub mod estimate;
mod floor;
mod gemini;
mod gemini_answer;
mod message;
mod observer;
mod openai;
mod openai_answer;
mod sink;
mod sse;
mod vendor_a;
mod vendor_b;
mod vendors;
mod verdict;
mod wire;

pub use chain::{ChainFailed, FailureKind};
pub use config::{LlmConfig, LlmEndpoint, LlmVendorConfig, LlmWire, VENDOR_A, VENDOR_B};
pub use message::{ChatMessage, ChatReply, ChatRequest, ToolCall, ToolSpec, Usage};
pub use observer::{AttemptObserver, AttemptOutcome, AttemptReport, PlannedAttempt};
pub use sink::{Delta, DeltaSink};
pub use vendors::{CallOptions, Completed, LlmSetupError, LlmVendors, Target};
pub use verdict::{ATTEMPT_DURATION_SECONDS, ATTEMPTS_TOTAL};
