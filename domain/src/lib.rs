//! What may happen: pure decisions over what has happened.
//!
//! Each aggregate is a fold ([`Session::evolve`]) and questions to it ([`Session::claim`]). Time and ids are passed in.
//! This crate must never do I/O, read a clock or make an id.
//!
//! Start with [`session`] (whose turn it is, and to do what), then [`prices`] (what it cost) and
//! [`calendar`] (which times can be had).

pub mod calendar;
pub mod prices;
pub mod session;
pub mod tools;

pub use calendar::{Calendar, Slot};
pub use prices::{Price, PriceBook};
pub use session::{Claim, Held, Line, Pending, Session, ToolCall, Turn};
