//! Requests that are refused before they are requests. hyper answers what it cannot read (a `>` or a blank in the path,
//! a head that is too large) by itself and with a bare status; here that answer becomes a problem like all others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::{HeaderMap, StatusCode};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::problem::{Code, MEDIA_TYPE, Problem};
use crate::trace::{CORRELATION_HEADER, TRACEPARENT_HEADER, Trace};

/// A connection on whose way out hyper's own refusals are put into words.
pub(crate) struct Explained<S> {
    inner: S,
    telling: Option<Telling>,
}

/// A problem on its way out.
struct Telling {
    answer: Vec<u8>,
    sent: usize,
    /// Bytes of hyper's answer that it stands for.
    in_place_of: usize,
}

impl<S> Explained<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, telling: None }
    }
}

impl<S: Read + Unpin> Read for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.telling.is_none() {
            this.telling = explained(bytes);
        }
        let Some(telling) = &mut this.telling else { return Pin::new(&mut this.inner).poll_write(cx, bytes) };
        while telling.sent < telling.answer.len() {
            let rest = &telling.answer[telling.sent..];
            match ready!(Pin::new(&mut this.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => telling.sent += sent,
            }
        }
        let written = telling.in_place_of;
        this.telling = None;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match buffers.iter().find(|buffer| !buffer.is_empty()) {
            // A bare answer has no body, so its head is all there is.
            Some(head) if self.telling.is_some() || is_bare(head) => self.poll_write(cx, head),
            _ => Pin::new(&mut self.inner).poll_write_vectored(cx, buffers),
        }
    }
}

/// Whether this is a refusal of hyper's own: every answer of ours has a correlation id.
fn is_bare(bytes: &[u8]) -> bool {
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    bytes.starts_with(b"HTTP/1.")
        && bytes.get(8..10) == Some(b" 4")
        && bytes.ends_with(b"\r\n\r\n")
        && has(b"content-length: 0\r\n")
        && !has(b"x-correlation-id: ")
}

fn explained(bytes: &[u8]) -> Option<Telling> {
    if !is_bare(bytes) {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?;
    let problem = match StatusCode::from_bytes(bytes.get(9..12)?).ok()? {
        StatusCode::URI_TOO_LONG => Problem::new(Code::UriTooLong, "no path of ours is that long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Problem::new(Code::HeadersTooLarge, "send fewer and shorter headers")
        }
        StatusCode::BAD_REQUEST => Problem::new(
            Code::BadRequest,
            "the request line or a header is not HTTP; percent-encode the path",
        ),
        _ => return None,
    };
    let trace = Trace::of(&HeaderMap::new());
    let correlation_id = trace.correlation_id.as_str();
    tracing::info!(correlation_id, code = problem.code().name(), "request refused");
    let body = serde_json::to_string(&problem.body(&trace.correlation_id)).ok()?;
    let kept: String = head
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("content-length: ") && *line != "\r\n")
        .collect();
    let answer = format!(
        "{kept}content-type: {MEDIA_TYPE}\r\ncache-control: no-store\r\n{CORRELATION_HEADER}: {correlation_id}\r\n\
         {TRACEPARENT_HEADER}: {}\r\ncontent-length: {}\r\n\r\n{body}",
        trace.traceparent,
        body.len(),
    );
    Some(Telling { answer: answer.into_bytes(), sent: 0, in_place_of: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    #[test]
    fn a_bare_refusal_is_put_into_words() {
        let telling = explained(BARE).unwrap();
        let answer = String::from_utf8(telling.answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"),
            "{head}"
        );
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&431.into(), &"headers_too_large".into()));
        assert_eq!(telling.in_place_of, BARE.len());
    }

    #[test]
    fn answers_of_our_own_are_left_alone() {
        for ours in [
            &b"HTTP/1.1 404 Not Found\r\nx-correlation-id: a\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"data: HTTP/1.1 400\r\n\r\n",
            b"",
        ] {
            assert!(!is_bare(ours), "{}", String::from_utf8_lossy(ours));
        }
    }
}
