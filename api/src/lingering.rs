//! Closing a connection so that its last answer arrives. A client that is still sending a body when it is refused would
//! else be told by the kernel that the connection is reset, and lose the answer that says why.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// How long, and how much, a client may go on sending after our last word.
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_DISCARDED_BYTES: usize = 64 * 1_024 * 1_024;
const CHUNK_BYTES: usize = 16 * 1_024;

/// A connection that, once shut down, reads and discards until its client has heard it.
pub(crate) struct Lingering<S> {
    inner: S,
    /// When the server stops, silent clients are not waited for.
    shutdown: CancellationToken,
    /// Set when our side is closed.
    until: Option<Pin<Box<Sleep>>>,
    discarded_bytes: usize,
}

impl<S> Lingering<S> {
    pub(crate) fn new(inner: S, shutdown: CancellationToken) -> Self {
        Self { inner, shutdown, until: None, discarded_bytes: 0 }
    }
}

impl<S: Read + Write + Unpin> Lingering<S> {
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.until.as_mut().is_none_or(|until| until.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(());
        }
        let mut chunk = [0; CHUNK_BYTES];
        while self.discarded_bytes < MAX_DISCARDED_BYTES {
            let mut buffer = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.inner).poll_read(cx, buffer.unfilled()) {
                Poll::Pending if self.shutdown.is_cancelled() => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.discarded_bytes += buffer.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

impl<S: Read + Unpin> Read for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: Read + Write + Unpin> Write for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.until.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.until = Some(Box::pin(sleep(PATIENCE)));
        }
        self.poll_discard(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_still_sent_is_taken_and_forgotten() {
        let (mut client, server) = duplex(1_024);
        let mut server = Lingering::new(TokioIo::new(server), CancellationToken::new());
        let sends = async {
            client.write_all(&[b'x'; 100_000]).await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
        };
        let closes = poll_fn(|cx| Pin::new(&mut server).poll_shutdown(cx));
        let ((), closed) = tokio::join!(sends, closes);
        assert!(closed.is_ok());
        assert_eq!(server.discarded_bytes, 100_000);
    }

    #[tokio::test]
    async fn a_silent_client_is_not_waited_for_when_the_server_stops() {
        let (_client, server) = duplex(1_024);
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let mut server = Lingering::new(TokioIo::new(server), shutdown);
        let closes = poll_fn(|cx| Pin::new(&mut server).poll_shutdown(cx));
        assert!(tokio::time::timeout(PATIENCE / 4, closes).await.is_ok());
    }
}
