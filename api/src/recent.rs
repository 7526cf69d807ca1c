//! A bounded cache of what tenants set up, for the hot paths: never older than a second, and never older than the last
//! change of configuration that this process has seen.

use std::hash::Hash;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::time::timeout;

const CAPACITY: usize = 10_000;
/// How old an entry may become, should the signal of a change be lost.
const MAX_AGE: Duration = Duration::from_secs(1);
/// How long a caller waits for another's lookup before it makes its own.
const SHARE_PATIENCE: Duration = Duration::from_millis(100);

/// Age and generation are part of the key: an entry that was looked up before a change is not found after it, even
/// when its lookup ends later than the change.
pub(crate) struct Recent<K, V> {
    entries: Cache<(K, u64, u64), V>,
    started: Instant,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    pub(crate) fn new() -> Self {
        Self { entries: Cache::new(CAPACITY), started: Instant::now() }
    }

    /// The value of `key` as of `generation`. What is not found is not kept.
    ///
    /// # Errors
    /// As `lookup`.
    pub(crate) async fn get<E>(
        &self,
        key: K,
        generation: u64,
        lookup: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<V>, E> {
        let age = self.started.elapsed().as_secs() / MAX_AGE.as_secs();
        let key = (key, age, generation);
        if let Some(value) = self.entries.get(&key) {
            return Ok(Some(value));
        }
        // Concurrent callers share one lookup, but do not queue for it when it takes long: while the database is away
        // each would else wait for the time limits of all before it.
        match timeout(SHARE_PATIENCE, self.entries.get_value_or_guard_async(&key)).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(place)) => {
                let found = lookup.await?;
                if let Some(value) = &found {
                    let _ = place.insert(value.clone());
                }
                Ok(found)
            }
            Err(_) => lookup.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(
        cache: &Recent<u8, &'static str>,
        generation: u64,
        stored: &'static str,
    ) -> Option<&'static str> {
        cache.get(1, generation, async { Ok::<_, ()>(Some(stored)) }).await.unwrap_or_default()
    }

    #[tokio::test]
    async fn a_change_of_configuration_forgets_everything() {
        let cache = Recent::new();
        assert_eq!(get(&cache, 1, "old").await, Some("old"));
        assert_eq!(get(&cache, 2, "new").await, Some("new"));
        assert_eq!(get(&cache, 2, "newer").await, Some("new"));
    }

    #[tokio::test]
    async fn what_is_not_found_is_asked_again() {
        let cache: Recent<u8, &str> = Recent::new();
        assert_eq!(cache.get(1, 1, async { Ok::<_, ()>(None) }).await, Ok(None));
        assert_eq!(get(&cache, 1, "found").await, Some("found"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_does_not_hold_the_others_up() {
        let cache: Recent<u8, &str> = Recent::new();
        let hangs = cache.get(1, 1, std::future::pending::<Result<Option<&str>, ()>>());
        let answers = timeout(Duration::from_secs(1), get(&cache, 1, "found"));
        tokio::select! {
            biased;
            _ = hangs => unreachable!("it hangs"),
            found = answers => assert_eq!(found, Ok(Some("found"))),
        }
    }
}
