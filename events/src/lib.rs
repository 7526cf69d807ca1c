//! What happened: the vocabulary of the log.
//!
//! Every action in VocalBridge becomes one [`Event`]: an [`Envelope`] (CloudEvents 1.0 attributes) around one typed,
//! versioned [`Payload`]. This crate knows names and shapes only. It must never do I/O, decide anything, or read the
//! clock behind the caller's back: times and ids are passed in.
//!
//! Start with [`envelope`], then [`payload`] (the list of all event types), then the families: [`tenant`], [`agent`],
//! [`prompt`], [`session`], [`voice_message`], [`call`], [`invoice`], [`appointment`], [`function`], [`mcp_server`],
//! [`tool_run`], [`budget`], [`prices`], [`repricing`], [`billing`], [`webhook`], [`system`].

pub mod agent;
pub mod appointment;
pub mod billing;
pub mod binding;
pub mod budget;
pub mod call;
pub mod clock;
pub mod envelope;
pub mod function;
pub mod ids;
pub mod invoice;
pub mod mcp_server;
pub mod payload;
pub mod prices;
pub mod prompt;
pub mod recorded;
pub mod repricing;
pub mod samples;
pub mod schema;
pub mod sealed;
pub mod session;
pub mod system;
pub mod telephony;
pub mod tenant;
pub mod tool_run;
pub mod voice_message;
pub mod webhook;

pub use binding::{BindingError, headers_of};
pub use clock::Clock;
pub use envelope::{Aggregate, Cause, Envelope, Event, Family, Lane, Origin};
pub use ids::*;
pub use payload::{EventPayload, Payload, PayloadError};
pub use recorded::{Entry, Position, Recorded};
pub use sealed::Sealed;
