//! What may happen: pure decisions over what has happened.
//!
//! Each aggregate is a fold ([`Session::evolve`]) and questions to it ([`Session::claim`]). Time and ids are passed in.
//! This crate must never do I/O, read a clock or make an id.
//!
//! Start with [`session`] (whose turn it is, and to do what) and [`call`] (which worker talks), then [`prompt`] and
//! [`context`] (what a model is told, and what of a long conversation), [`prices`] (what it cost), [`budget`],
//! [`limits`], [`month`] and [`invoices`] (how much it may be, for how long, and what is owed), [`calendar`] (which times
//! can be had), [`transfer`] (whom a caller may be handed over to), [`webhooks`] (who is told of what) and [`timeline`]
//! (how reports are cut).

pub mod budget;
pub mod calendar;
pub mod call;
pub mod context;
pub mod invoices;
pub mod limits;
pub mod month;
pub mod prices;
pub mod prompt;
pub mod session;
pub mod timeline;
pub mod tools;
pub mod transfer;
pub mod voice_turn;
pub mod webhooks;

pub use calendar::{Calendar, Slot};
pub use call::{Call, CallClaim};
pub use context::{Fit, Said, Window, Windows};
pub use limits::Limits;
pub use month::{Month, Zone};
pub use prices::{PriceBook, PriceList, PricesAt, SpeechWork, Tokens, Work};
pub use prompt::Prompt;
pub use session::{Cancelling, Claim, Held, Line, Pending, Session, ToolCall, Turn};
pub use timeline::Interval;
pub use webhooks::Webhooks;

/// What is wrong with something that a tenant has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Within the settings, such as `opening_hours.mon[0]`.
    pub field: String,
    pub message: String,
}
