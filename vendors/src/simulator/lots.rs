//! What befalls a request: its vendor's lot, its line in the log, and the wait before its answer.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::RngExt;

use super::log::Entry;
use super::vendor_name::VendorName;
use super::{Control, Mode, Simulator};

/// A request as far as its lot and its line in the log depend on it.
pub(super) struct Request<'a> {
    pub(super) vendor: VendorName,
    pub(super) key: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    /// `None`, as `stream`, when the request could not be read.
    pub(super) model: Option<&'a str>,
    pub(super) stream: Option<bool>,
    /// What the log shows.
    pub(super) body: &'a [u8],
    /// It breaks the vendor's rules, and is answered so whatever its lot.
    pub(super) refused: Option<StatusCode>,
}

/// What a request drew.
pub(super) struct Lot {
    pub(super) at: DateTime<Utc>,
    pub(super) control: Control,
    /// Counts the vendor's requests from 1.
    pub(super) index: u64,
    /// It fails with this.
    pub(super) failed: Option<StatusCode>,
}

/// Draws the request's lot, writes it into the log, and returns after the vendor's latency.
pub(super) async fn draw(simulator: &Simulator, request: &Request<'_>) -> Lot {
    let lot = decide(simulator, request);
    if lot.control.latency_ms > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(lot.control.latency_ms)) => {}
            () = simulator.shutdown.cancelled() => {}
        }
    }
    lot
}

/// The lot and the line in the log, in one order.
fn decide(simulator: &Simulator, request: &Request<'_>) -> Lot {
    let at = (simulator.config.now)();
    let request_id = request.headers.get("x-request-id");
    let request_id = request_id.map(|id| String::from_utf8_lossy(id.as_bytes()).into());
    let body = Bytes::copy_from_slice(request.body);
    let mut state = simulator.state();
    let vendor = &mut state.vendors[request.vendor];
    vendor.requests += 1;
    let (control, index) = (vendor.control_of(request.key).next(), vendor.requests);
    // Drawn for every request, so that a change of the control does not shift the lots of later ones.
    let lot: f64 = vendor.failures.random();
    let fails = request.refused.is_none() && control.mode == Mode::Normal && lot < control.failure_rate;
    let failed =
        fails.then(|| StatusCode::from_u16(control.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    let answered = (control.mode != Mode::Stall).then_some(StatusCode::OK);
    let status = request.refused.or(failed).or(answered).map(|status| status.as_u16());
    state.log.push(Entry {
        vendor: request.vendor,
        index,
        request_id,
        at,
        model: request.model.map(Into::into),
        stream: request.stream,
        status,
        mode: control.mode,
        body,
    });
    Lot { at, control, index, failed }
}
