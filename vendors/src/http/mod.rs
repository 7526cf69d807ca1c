//! What all vendors over HTTP share: one client, one error type with its class, guarded reading of answers.

mod body;
mod client;
mod error;
mod retry_after;

pub use client::ClientError;
pub use error::{Class, ErrorCode, VendorError};

pub(crate) use body::{Body, LineSplitter};
pub(crate) use client::shared_client;
pub(crate) use error::Refusal;
pub(crate) use retry_after::parse_retry_after;
