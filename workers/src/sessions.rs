//! Sessions as folds of the log: from memory, else from a snapshot, and always brought up to date by the tail.

use events::{Aggregate, Recorded};
use nats::{Log, ReadError};
use projections::{Database, snapshots};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use domain::Session;

/// Bounds the memory of all cached sessions of a process, by an estimate of their size.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const TYPICAL_SESSIONS: usize = 4_096;
/// A tail longer than this when a session is loaded is worth a new snapshot.
const SNAPSHOT_AFTER: usize = 200;

/// Loads sessions. What it keeps is a cache and nothing else: whoever appends compares and sets.
#[derive(Clone)]
pub struct Sessions {
    log: Log,
    database: Database,
    cache: std::sync::Arc<Cache<Aggregate, Session, BySize>>,
}

#[derive(Clone)]
struct BySize;

impl Weighter<Aggregate, Session> for BySize {
    fn weight(&self, _: &Aggregate, session: &Session) -> u64 {
        const FIXED: usize = 512;
        const LINE: usize = 160;
        let words: usize = session.history.iter().map(line_len).sum();
        (FIXED + LINE * (session.history.len() + session.pending.len()) + words) as u64
    }
}

fn line_len(line: &domain::Line) -> usize {
    let (domain::Line::Customer(words) | domain::Line::Assistant(words)) = line;
    words.sealed.ciphertext.len()
}

impl Sessions {
    pub(crate) fn new(log: Log, database: Database) -> Self {
        let cache = Cache::with_weighter(TYPICAL_SESSIONS, CACHE_BYTES, BySize);
        Self { log, database, cache: std::sync::Arc::new(cache) }
    }

    /// The session with everything up to and with `sequence`, an event of it that is known to stand.
    pub(crate) async fn load_to(&self, aggregate: &Aggregate, sequence: u64) -> Result<Session, ReadError> {
        let mut session = self.remembered(aggregate).await;
        if session.last_sequence >= sequence {
            return Ok(session);
        }
        let tail = self.log.read_to(aggregate, session.last_sequence, sequence).await?;
        self.fold(aggregate, &mut session, &tail).await;
        Ok(session)
    }

    /// `session` with everything that happened since.
    pub(crate) async fn catch_up(&self, aggregate: &Aggregate, session: &mut Session) -> Result<(), ReadError> {
        let tail = self.log.read(aggregate, session.last_sequence).await?;
        self.fold(aggregate, session, &tail).await;
        Ok(())
    }

    /// Keeps `session` for the next time.
    pub(crate) fn keep(&self, aggregate: Aggregate, session: Session) {
        self.cache.insert(aggregate, session);
    }

    async fn remembered(&self, aggregate: &Aggregate) -> Session {
        if let Some(session) = self.cache.get(aggregate) {
            return session;
        }
        // A snapshot only saves reading: without one the whole history is folded.
        match snapshots::load(&self.database, aggregate).await {
            Ok(Some((_, state))) => serde_json::from_value(state).unwrap_or_default(),
            _ => Session::default(),
        }
    }

    async fn fold(&self, aggregate: &Aggregate, session: &mut Session, tail: &[Recorded]) {
        for recorded in tail {
            session.evolve(recorded);
        }
        if tail.len() > SNAPSHOT_AFTER
            && let Ok(state) = serde_json::to_value(&*session)
            && let Err(error) = snapshots::save(&self.database, aggregate, session.last_sequence, &state).await
        {
            tracing::debug!(%error, "a snapshot was not kept");
        }
    }
}
