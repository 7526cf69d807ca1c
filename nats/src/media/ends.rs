//! The two ends of a call's media subjects.
//!
//! Ends of one process hand each other everything as it is. Over the server goes all as long as the other end, the
//! newest worker that said `Hello` or the newest socket that said its `State`, is in another process; and those two
//! messages always, for whoever has to know elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, Subject, Subscriber};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use events::CallId;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Down, Message, Up};
use crate::subjects;

/// Messages that an end of this process may be behind: 40 s of audio. What comes when it is further behind is lost, as
/// it is on the server.
const BACKLOG: usize = 2_048;

/// No message can be sent or heard: the connection to the server is closed, or the message is too large.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the media subjects of call {call_id}")]
pub struct MediaError {
    call_id: CallId,
    source: async_nats::Error,
}

/// The media subjects of all calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Media {
    client: Client,
    /// Heads every message over the server: ours come back to us, and were handed over already.
    process: Uuid,
    sockets: Arc<Here<(u32, Down)>>,
    workers: Arc<Here<Up>>,
}

impl Media {
    pub(crate) fn new(client: Client) -> Self {
        let (sockets, workers) = (Arc::default(), Arc::default());
        Self { client, process: Uuid::now_v7(), sockets, workers }
    }

    /// The socket's end. It hears everything that workers say from now on.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn socket(&self, call_id: CallId) -> Result<SocketSide, MediaError> {
        let (up, down) = (subjects::media_up(call_id), subjects::media_down(call_id));
        let end = End::open(self, call_id, up, down, &self.workers, &self.sockets).await?;
        Ok(SocketSide { end, attempt: 0 })
    }

    /// The end of the worker that claimed the call with this `attempt`.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn worker(&self, call_id: CallId, attempt: u32) -> Result<WorkerSide, MediaError> {
        let (up, down) = (subjects::media_up(call_id), subjects::media_down(call_id));
        let end = End::open(self, call_id, down, up, &self.sockets, &self.workers).await?;
        Ok(WorkerSide { end, attempt })
    }
}

/// The end of a call that holds its socket.
pub struct SocketSide {
    end: End<Up, (u32, Down)>,
    /// The highest that said `Hello`.
    attempt: u32,
}

impl SocketSide {
    /// Lost when no worker listens.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn send(&self, message: &Up) -> Result<(), MediaError> {
        self.end.send(message).await
    }

    /// What a worker says next, and its attempt; `None` when the connection was closed for good. Messages that nobody can
    /// read are passed over. Cancel-safe.
    pub async fn next(&mut self) -> Option<(u32, Down)> {
        let Heard { message, is_here } = self.end.next().await?;
        if message.is_introduction() && message.0 >= self.attempt {
            (self.attempt, self.end.is_direct) = (message.0, is_here);
        }
        Some(message)
    }
}

/// The end of a call that hears and speaks.
pub struct WorkerSide {
    end: End<(u32, Down), Up>,
    attempt: u32,
}

impl WorkerSide {
    /// Lost when no socket listens.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn send(&self, message: &Down) -> Result<(), MediaError> {
        self.end.send(&(self.attempt, message.clone())).await
    }

    /// What the socket says next; `None` when the connection was closed for good. Messages that nobody can read are
    /// passed over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Up> {
        let Heard { message, is_here } = self.end.next().await?;
        if message.is_introduction() {
            self.end.is_direct = is_here;
        }
        Some(message)
    }
}

/// Speaks `S` and hears `H`.
struct End<S, H> {
    call_id: CallId,
    client: Client,
    process: Uuid,
    subject: Subject,
    hears: Subscriber,
    /// The other ends in this process.
    others: Arc<Here<S>>,
    here: Listening<H>,
    /// The other end is in this process.
    is_direct: bool,
}

struct Heard<H> {
    message: H,
    is_here: bool,
}

impl<S: Message, H: Message> End<S, H> {
    async fn open(
        media: &Media,
        call_id: CallId,
        speaks: String,
        hears: String,
        others: &Arc<Here<S>>,
        ours: &Arc<Here<H>>,
    ) -> Result<Self, MediaError> {
        let hears = media.client.subscribe(hears).await;
        Ok(Self {
            call_id,
            client: media.client.clone(),
            process: media.process,
            subject: speaks.into(),
            hears: hears.map_err(|error| MediaError { call_id, source: error.into() })?,
            others: others.clone(),
            here: Here::listen(ours, call_id),
            is_direct: false,
        })
    }

    async fn send(&self, message: &S) -> Result<(), MediaError> {
        self.others.tell(self.call_id, message);
        if self.is_direct && !message.is_introduction() {
            return Ok(());
        }
        let failed = |source| MediaError { call_id: self.call_id, source };
        let mut bytes = BytesMut::with_capacity(256);
        bytes.put_slice(self.process.as_bytes());
        message.encode(&mut bytes).map_err(|error| failed(error.into()))?;
        let sent = self.client.publish(self.subject.clone(), bytes.freeze()).await;
        sent.map_err(|error| failed(error.into()))
    }

    async fn next(&mut self) -> Option<Heard<H>> {
        loop {
            // Both are cancel-safe: they receive from channels.
            tokio::select! {
                biased;
                Some(message) = self.here.messages.recv() => return Some(Heard { message, is_here: true }),
                heard = self.hears.next() => {
                    if let Some(message) = self.elsewhere(heard?.payload) {
                        return Some(Heard { message, is_here: false });
                    }
                }
            }
        }
    }

    /// A message of another process.
    fn elsewhere(&self, mut bytes: Bytes) -> Option<H> {
        let head = self.process.as_bytes();
        if bytes.len() < head.len() || bytes.starts_with(head) {
            return None;
        }
        bytes.advance(head.len());
        H::decode(bytes)
    }
}

/// The ends of one kind in this process, which hear `M`.
#[derive(Debug)]
struct Here<M>(Mutex<HashMap<CallId, Vec<mpsc::Sender<M>>>>);

/// One of them, as long as it is not dropped.
struct Listening<M> {
    here: Arc<Here<M>>,
    call_id: CallId,
    messages: mpsc::Receiver<M>,
}

impl<M> Default for Here<M> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<M> Here<M> {
    fn listen(here: &Arc<Self>, call_id: CallId) -> Listening<M> {
        let (sender, messages) = mpsc::channel(BACKLOG);
        here.ends().entry(call_id).or_default().push(sender);
        Listening { here: here.clone(), call_id, messages }
    }

    fn tell(&self, call_id: CallId, message: &M)
    where
        M: Clone,
    {
        for end in self.ends().get(&call_id).into_iter().flatten() {
            if let Err(mpsc::error::TrySendError::Full(_)) = end.try_send(message.clone()) {
                tracing::warn!(%call_id, "an end of the call is too far behind; a message is lost");
            }
        }
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<CallId, Vec<mpsc::Sender<M>>>> {
        // Nothing in here panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Drop for Listening<M> {
    fn drop(&mut self) {
        self.messages.close();
        let mut ends = self.here.ends();
        if let Some(of_call) = ends.get_mut(&self.call_id) {
            of_call.retain(|end| !end.is_closed());
            if of_call.is_empty() {
                ends.remove(&self.call_id);
            }
        }
    }
}
