//! What the tests and the measurement stand on: a private Postgres, a log in memory, and events to put in it.

pub mod call_story;
pub mod memory_log;
pub mod postgres;
pub mod story;
pub mod webhook_story;
