//! What all that is done over HTTP shares: clients, one error type with its class, guarded reading of answers, and
//! [`guard`] for addresses that users give us.

mod addresses;
mod body;
mod client;
mod error;
pub mod guard;
mod retry_after;

pub use client::{ClientError, plain_client};
pub use error::{Class, ErrorCode, VendorError};

pub(crate) use body::{Body, LineSplitter};
pub(crate) use client::shared_client;
pub(crate) use error::Refusal;
pub(crate) use retry_after::parse_retry_after;
