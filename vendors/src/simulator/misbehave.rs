//! The ways in which an answer that is ready goes out, or does not.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::Mode;

/// Neither JSON, nor server-sent events, nor text in UTF-8.
const GARBAGE: &[u8] = b"<html>\xff\xfe upstream says {\"text\": nonsense\n\n\x00\x01]}\n";
const HTML: &[u8] = b"<!doctype html>\n<html><body><h1>Please stand by</h1></body></html>\n";
const DRIP_INTERVAL: Duration = Duration::from_secs(1);

/// A well-formed answer.
pub(super) struct Ready {
    pub(super) content_type: &'static str,
    /// One piece per token when it streams; else the whole answer.
    pub(super) pieces: Vec<Bytes>,
    pub(super) streaming: bool,
}

impl Ready {
    /// Sends it as the mode wants. `failure` is how the vendor says that it fails: within a stream, and instead of a
    /// whole answer. A stalled answer is not for here: it never begins.
    pub(super) fn sent(self, mode: Mode, failure: (Bytes, Bytes), shutdown: CancellationToken) -> Response {
        match mode {
            Mode::Garbage => self.garbage(),
            Mode::Html => html(),
            Mode::StallMidway => self.stalled_midway(shutdown),
            Mode::Drop => self.dropped(),
            Mode::SlowDrip => self.slow_drip(shutdown),
            Mode::StreamError => self.failed_midway(failure.0, failure.1),
            Mode::Normal | Mode::Stall | Mode::Empty | Mode::Oversized | Mode::BadArguments => self.normal(),
        }
    }

    fn normal(self) -> Response {
        let body = if self.streaming {
            Body::from_stream(stream::iter(self.pieces.into_iter().map(Ok::<_, Infallible>)))
        } else {
            self.pieces.into_iter().next().unwrap_or_default().into()
        };
        respond(self.content_type, body)
    }

    fn garbage(self) -> Response {
        respond(self.content_type, GARBAGE.into())
    }

    /// Sends half of the answer, then breaks the connection.
    fn dropped(self) -> Response {
        self.half_and_then(async {
            // The last piece must have left before the connection breaks.
            tokio::task::yield_now().await;
            std::io::Error::other("told to drop the connection")
        })
    }

    /// Sends half of the answer, then nothing until the simulator ends.
    fn stalled_midway(self, shutdown: CancellationToken) -> Response {
        self.half_and_then(async move {
            shutdown.cancelled().await;
            std::io::Error::other("the vendor is closing")
        })
    }

    /// Ends half of a stream with the vendor's `event` of failure; an answer that does not stream is `body`.
    fn failed_midway(mut self, event: Bytes, body: Bytes) -> Response {
        if self.streaming {
            self.pieces.truncate(self.pieces.len() / 2);
            self.pieces.push(event);
        } else {
            self.pieces = vec![body];
        }
        self.normal()
    }

    fn slow_drip(self, shutdown: CancellationToken) -> Response {
        let content_type = self.content_type;
        respond(content_type, Body::from_stream(drip(self.bytes_or_tokens(), shutdown)))
    }

    /// A whole answer announces its full length before the half of it.
    fn half_and_then(self, end: impl Future<Output = std::io::Error> + Send + 'static) -> Response {
        let whole_bytes: usize = self.pieces.iter().map(Bytes::len).sum();
        let streaming = self.streaming;
        let content_type = self.content_type;
        let mut half = self.bytes_or_tokens();
        half.truncate(half.len() / 2);
        let half = stream::iter(half).then(async |piece| {
            // Pausing lets the server flush what it has; it would discard it together with the connection.
            tokio::task::yield_now().await;
            Ok(piece)
        });
        let mut response = respond(content_type, Body::from_stream(half.chain(stream::once(end.map(Err)))));
        if !streaming {
            response.headers_mut().insert(header::CONTENT_LENGTH, whole_bytes.into());
        }
        response
    }

    fn bytes_or_tokens(self) -> Vec<Bytes> {
        if self.streaming {
            return self.pieces;
        }
        self.pieces.iter().flat_map(|whole| (0..whole.len()).map(|at| whole.slice(at..=at))).collect()
    }
}

fn html() -> Response {
    respond("text/html; charset=utf-8", HTML.into())
}

fn drip(pieces: Vec<Bytes>, shutdown: CancellationToken) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let pieces = pieces.into_iter();
    stream::unfold((pieces, shutdown, Duration::ZERO), |(mut pieces, shutdown, wait)| async move {
        let piece = pieces.next()?;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return None,
        }
        Some((Ok(piece), (pieces, shutdown, DRIP_INTERVAL)))
    })
}

fn respond(content_type: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}
