//! The calls that this process holds: so many and no more, and one socket for each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::CallId;
use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;

/// Calls with a socket here.
pub(crate) const OPEN_CALLS: &str = "vocalbridge_open_calls";

/// How long a socket that is replaced may take to let its place go.
const HANDING_OVER: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<CallId, CancellationToken>>>,
}

/// One socket's place; free again when it is dropped.
pub(crate) struct Place {
    call_id: CallId,
    /// Cancelled when another socket comes for the same call.
    pub(super) replaced: CancellationToken,
    open: Arc<Mutex<HashMap<CallId, CancellationToken>>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), open: Arc::default() }
    }

    /// Whether one more call could be taken now.
    pub(crate) fn has_room(&self) -> bool {
        self.free.available_permits() > 0
    }

    /// A place for a socket of this call; one that the call has already makes way for it.
    ///
    /// # Errors
    /// `at_capacity`, at once.
    pub(crate) async fn take(&self, call_id: CallId) -> Result<Place, Refusal> {
        let replaced = CancellationToken::new();
        let before = self.lock().insert(call_id, replaced.clone());
        let free = self.free.clone();
        let permit = match &before {
            None => free.try_acquire_owned().ok(),
            Some(before) => {
                before.cancel();
                tokio::time::timeout(HANDING_OVER, free.acquire_owned()).await.ok().and_then(Result::ok)
            }
        };
        let Some(permit) = permit else {
            forget(&self.open, call_id, &replaced);
            return Err(Refusal::AtCapacity);
        };
        gauge!(OPEN_CALLS).increment(1.0);
        Ok(Place { call_id, replaced, open: self.open.clone(), _permit: permit })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(OPEN_CALLS).decrement(1.0);
        forget(&self.open, self.call_id, &self.replaced);
    }
}

/// Unless another socket has the call by now.
fn forget(open: &Mutex<HashMap<CallId, CancellationToken>>, call_id: CallId, own: &CancellationToken) {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if let Entry::Occupied(entry) = open.entry(call_id)
        && !own.is_cancelled()
    {
        entry.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_free_again_however_its_call_ends() {
        let places = Places::new(1);
        let first = places.take(CallId::new()).await.ok();
        assert!(first.is_some() && !places.has_room());
        assert!(matches!(places.take(CallId::new()).await, Err(Refusal::AtCapacity)));
        drop(first);
        assert!(places.has_room());
        assert!(places.take(CallId::new()).await.is_ok());
        assert!(places.lock().is_empty());
    }

    #[tokio::test]
    async fn a_new_socket_of_a_call_takes_its_place_over() {
        let (places, call_id) = (Places::new(1), CallId::new());
        let first = places.take(call_id).await.ok().unwrap();
        let replaced = first.replaced.clone();
        let (second, ()) = tokio::join!(places.take(call_id), async {
            replaced.cancelled().await;
            drop(first);
        });
        let second = second.ok().unwrap();
        assert!(!second.replaced.is_cancelled() && places.lock().contains_key(&call_id));
        drop(second);
        assert!(places.lock().is_empty() && places.has_room());
    }
}
