//! Where a reply goes while the model still writes it.

use tokio::sync::mpsc;

/// A piece of a reply's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The attempt that wrote it. A new number means that all text of lower ones is void.
    pub attempt: u32,
    pub text: String,
}

/// The sending end of a bounded channel of deltas.
///
/// When the channel is full the attempt waits for room, within its own time limit: a reader that stops
/// reading makes the attempt time out. When the reader is gone, deltas are dropped and the attempt goes on.
#[derive(Debug, Clone)]
pub struct DeltaSink(mpsc::Sender<Delta>);

impl DeltaSink {
    pub fn new(sender: mpsc::Sender<Delta>) -> Self {
        Self(sender)
    }

    /// A sink and its reader, with room for `capacity` deltas (at least one).
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Delta>) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self(sender), receiver)
    }

    pub(super) async fn send(&self, attempt: u32, text: String) {
        // An error means that nobody reads any more; the reply itself is still wanted.
        let _ = self.0.send(Delta { attempt, text }).await;
    }
}
