//! Sockets of calls: from a carrier's or a browser's wire format to frames on the media subjects and back, and nothing
//! more. Who hears and speaks is a worker, which may die and be replaced while the socket stays.
//!
//! [`utterance`] is of another kind: no call, but one recording after the other.
//!
//! Start with [`line`], which knows everything and does nothing; [`hold`] is the loop that does it, [`browser`] and
//! [`twilio`] are the two languages.

mod browser;
mod hold;
mod limits;
mod line;
mod origin;
mod places;
mod refusal;
mod ticket;
mod twilio;
mod utterance;
mod wire;

use axum::extract::{FromRequestParts, WebSocketUpgrade};
use axum::http::request::Parts;
use utoipa_axum::router::OpenApiRouter;

use crate::App;
use crate::problem::{Code, Problem};

pub use limits::SocketLimits;
pub(crate) use places::Places;
pub(crate) use ticket::Ticket;
pub(crate) use twilio::{StreamToken, TWILIO_PATH};
pub(crate) use utterance::MAX_SOCKETS as MAX_UTTERANCE_SOCKETS;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(browser::router()).merge(twilio::router()).merge(utterance::router())
}

/// Takes bytes off a connection in pieces of this size: a 20 ms message of a carrier and some more. The library's own
/// default is 128 KiB for each socket.
const READ_BUFFER_BYTES: usize = 2 * 1_024;
/// Nothing is gathered before it is written.
const WRITE_BUFFER_BYTES: usize = 0;

/// # Errors
/// `upgrade_required` when the request is no WebSocket's.
async fn upgrade(parts: &mut Parts, limits: &SocketLimits) -> Result<WebSocketUpgrade, Problem> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let upgrade = upgrade.map_err(|refused| Problem::new(Code::UpgradeRequired, refused.body_text()))?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(limits.message_bytes)
        .max_message_size(limits.message_bytes)
        .max_frame_size(limits.message_bytes))
}
