//! Server-sent events: how most vendors stream. Cuts lines into events and leaves their meaning to the vendor.

use serde::Deserialize;

use super::wire::{Answer, Piece, StreamDecoder, bad_json};
use crate::http::VendorError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a vendor says in its events.
pub(super) trait Events: Send {
    /// Takes one event; `name` is empty where the vendor gives none.
    ///
    /// # Errors
    /// When the data is not in the vendor's format, or reports the vendor's own failure.
    fn event(&mut self, name: &str, data: &[u8], answer: &mut Answer) -> Result<Piece, VendorError>;

    /// The body has ended and no event was the answer's end.
    ///
    /// # Errors
    /// When the answer is not whole without one.
    fn end(&mut self, _answer: &mut Answer) -> Result<(), VendorError> {
        Err(VendorError::dropped())
    }
}

/// Gathers the fields of one event until its blank line.
#[derive(Default)]
pub(super) struct ServerSentEvents<E> {
    events: E,
    started: bool,
    name: String,
    data: Vec<u8>,
}

impl<E: Events> StreamDecoder for ServerSentEvents<E> {
    fn line(&mut self, line: &[u8], answer: &mut Answer) -> Result<Piece, VendorError> {
        let first = !std::mem::replace(&mut self.started, true);
        let line = if first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch(answer);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = colon.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => {
                self.name.clear();
                self.name.push_str(&String::from_utf8_lossy(value));
            }
            b"data" => {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            // A comment keeps the connection alive; the others belong to the format but not to us.
            b"" | b"id" | b"retry" => {}
            // The standard would ignore it, but a web page or a bare JSON answer must not pass for a stream.
            _ => return Err(VendorError::garbage("no server-sent event")),
        }
        Ok(Piece::Nothing)
    }

    fn end(&mut self, answer: &mut Answer) -> Result<(), VendorError> {
        self.events.end(answer)
    }
}

impl<E: Events> ServerSentEvents<E> {
    /// An event without data is none, says the standard.
    fn dispatch(&mut self, answer: &mut Answer) -> Result<Piece, VendorError> {
        let piece = match self.data.is_empty() {
            true => Ok(Piece::Nothing),
            false => self.events.event(&self.name, &self.data, answer),
        };
        self.name.clear();
        self.data.clear();
        piece
    }
}

/// Reads an event's data.
///
/// # Errors
/// When it is not JSON of this shape.
pub(super) fn read<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, VendorError> {
    serde_json::from_slice(data).map_err(|error| bad_json(&error))
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
