//! Reading an answer without trusting its size.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;

use super::VendorError;

/// An error answer up to this size is read to its end, so that its connection can be used again.
const DRAINED_BYTES: usize = 64 * 1024;
/// And no longer than this: the status is known already, and a slow error must not become a timeout.
const DRAIN_TIME: Duration = Duration::from_millis(200);

/// An answer's body, with a limit on the sum of its bytes.
pub(crate) struct Body {
    response: Response,
    read: usize,
    limit_bytes: usize,
}

impl Body {
    pub(crate) fn new(response: Response, limit_bytes: usize) -> Self {
        Self { response, read: 0, limit_bytes }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or the body passes its limit.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, VendorError> {
        let chunk = self.response.chunk().await.map_err(|error| VendorError::from_transport(&error))?;
        if let Some(chunk) = &chunk {
            self.read = self.read.saturating_add(chunk.len());
            if self.read > self.limit_bytes {
                return Err(VendorError::too_large(self.limit_bytes));
            }
        }
        Ok(chunk)
    }

    /// The whole body; `begun` is called with its first piece. A body that came in one piece is not copied.
    ///
    /// # Errors
    /// As for [`Body::chunk`]; a body that announces its excess is not read at all.
    pub(crate) async fn whole(mut self, begun: impl FnOnce()) -> Result<Bytes, VendorError> {
        if self.response.content_length().is_some_and(|length| length > self.limit_bytes as u64) {
            return Err(VendorError::too_large(self.limit_bytes));
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        begun();
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = Vec::with_capacity(2 * (first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }

    /// The first `most` bytes, as far as they come within `time`, and whether there was, or may have been, more.
    pub(crate) async fn beginning(mut self, most: usize, time: Duration) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        let rest = async {
            while let Ok(Some(chunk)) = self.chunk().await {
                read.extend_from_slice(&chunk);
                if read.len() > most {
                    return true;
                }
            }
            false
        };
        let is_cut = tokio::time::timeout(time, rest).await.unwrap_or(true);
        read.truncate(most);
        (read, is_cut)
    }

    /// What there is of an error answer; gives up on a large or slow one. Reading it to its end also returns
    /// the connection to the pool.
    pub(crate) async fn drain(mut self) -> Vec<u8> {
        let mut read = Vec::new();
        if self.response.content_length().is_some_and(|length| length > DRAINED_BYTES as u64) {
            return read;
        }
        self.limit_bytes = DRAINED_BYTES;
        let rest = async {
            while let Ok(Some(chunk)) = self.chunk().await {
                read.extend_from_slice(&chunk);
            }
        };
        // Whether it came to the end makes no difference: a part is mostly no JSON, and says nothing then.
        let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
        read
    }
}

/// Cuts a stream of bytes into lines, whatever its pieces; `\n` and `\r\n` end a line.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    buffer: Vec<u8>,
    consumed: usize,
    searched: usize,
}

impl LineSplitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.searched -= self.consumed;
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its end.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        let Some(offset) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let start = self.consumed;
        let end = self.searched + offset;
        self.consumed = end + 1;
        self.searched = end + 1;
        let line = &self.buffer[start..end];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// What is left when the stream has ended without a last line end.
    pub(crate) fn rest(&mut self) -> Option<&[u8]> {
        let start = self.consumed;
        self.consumed = self.buffer.len();
        self.searched = self.consumed;
        let line = &self.buffer[start..];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, Stream, StreamExt};

    use super::*;

    fn body(pieces: impl Stream<Item = Vec<u8>> + Send + 'static) -> Body {
        let body = reqwest::Body::wrap_stream(pieces.map(Ok::<_, std::io::Error>));
        Body::new(http::Response::new(body).into(), usize::MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_answer_is_read_as_far_as_it_is_small_and_quick() {
        assert_eq!(body(stream::iter([b"a".to_vec(), b"b".to_vec()])).drain().await, b"ab");
        let endless = body(stream::repeat(vec![0; 1024]));
        assert_eq!(endless.drain().await.len(), DRAINED_BYTES);
        let started = tokio::time::Instant::now();
        assert_eq!(body(stream::iter([b"a".to_vec()]).chain(stream::pending())).drain().await, b"a");
        assert_eq!(started.elapsed(), DRAIN_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_long_or_slow_answer_the_beginning_is_kept() {
        let second = Duration::from_secs(1);
        let whole = body(stream::iter([b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(whole.beginning(2, second).await, (b"ab".to_vec(), false));
        let endless = body(stream::repeat(b"abc".to_vec()));
        assert_eq!(endless.beginning(4, second).await, (b"abca".to_vec(), true));
        let slow = body(stream::iter([b"a".to_vec()]).chain(stream::pending()));
        assert_eq!(slow.beginning(4, second).await, (b"a".to_vec(), true));
    }

    const STREAM: &[u8] = b"event: a\r\ndata: 1\n\n\nlast";

    fn lines(piece_bytes: usize) -> Vec<Vec<u8>> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in STREAM.chunks(piece_bytes) {
            splitter.push(piece);
            while let Some(line) = splitter.next_line() {
                lines.push(line.to_vec());
            }
        }
        lines.extend(splitter.rest().map(<[u8]>::to_vec));
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_stream_is_cut() {
        let expected: [&[u8]; 5] = [b"event: a", b"data: 1", b"", b"", b"last"];
        for piece_bytes in 1..=STREAM.len() {
            assert_eq!(lines(piece_bytes), expected, "pieces of {piece_bytes}");
        }
    }
}
