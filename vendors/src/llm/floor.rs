//! Who may speak, when two attempts are under way for one reply.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The first attempt to take it keeps it, and all others have lost: with its first token when it streams, with its
/// whole answer when it does not.
#[derive(Debug, Default)]
pub(super) struct Floor {
    holder: OnceLock<u32>,
    taken: CancellationToken,
    begun: AtomicBool,
}

impl Floor {
    /// Whether the floor is this attempt's, from now on or already.
    pub(super) fn take(&self, attempt: u32) -> bool {
        let is_ours = *self.holder.get_or_init(|| attempt) == attempt;
        self.begin();
        self.taken.cancel();
        is_ours
    }

    /// Some attempt's answer has begun to come.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Ends when another attempt has taken the floor. Cancel-safe.
    pub(super) async fn lost(&self, attempt: u32) {
        self.taken.cancelled().await;
        if self.holder.get() == Some(&attempt) {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_first_to_take_it_keeps_it_and_all_others_have_lost() {
        let floor = Floor::default();
        assert!(floor.lost(1).now_or_never().is_none() && !floor.has_begun());
        assert!(floor.take(2));
        assert!(!floor.take(1) && floor.take(2) && floor.has_begun());
        assert!(floor.lost(1).now_or_never().is_some());
        assert!(floor.lost(2).now_or_never().is_none());
    }
}
