//! Sessions as folds of the log: from memory, else from its beginning or a snapshot, and brought up to date by the tail.

use events::{Aggregate, Recorded};
use nats::{Delivery, Log, ReadError};
use projections::{Database, snapshots};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use domain::session::Words;
use domain::{Line, Session};

/// Bounds the memory of all cached sessions of a process, by an estimate of their size.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
const TYPICAL_SESSIONS: usize = 4_096;
/// Reading more than this at once is worth a new snapshot: a page would not have been enough.
const SNAPSHOT_AFTER: usize = nats::log::READ_PAGE;

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
        let opened = session.opened.as_ref();
        let variables = opened.and_then(|opened| opened.prompt_variables.as_ref());
        let words: usize = session
            .history
            .iter()
            .map(Line::words)
            .chain(&session.summary)
            .chain(variables)
            .map(length)
            .sum();
        (FIXED + LINE * (session.history.len() + session.pending.len()) + words) as u64
    }
}

fn length(words: &Words) -> usize {
    words.sealed.ciphertext.len()
}

impl Sessions {
    pub(crate) fn new(log: Log, database: Database) -> Self {
        let cache = Cache::with_weighter(TYPICAL_SESSIONS, CACHE_BYTES, BySize);
        Self { log, database, cache: std::sync::Arc::new(cache) }
    }

    /// The session with everything up to and with the delivered event.
    pub(crate) async fn at(&self, delivery: &Delivery) -> Result<Session, ReadError> {
        let Recorded { position, event } = &delivery.recorded;
        let aggregate = event.envelope.aggregate;
        let mut session = self.cache.get(&aggregate).unwrap_or_default();
        if session.last_sequence >= position.sequence {
            return Ok(session);
        }
        if session.last_sequence > 0 && delivery.follows == Some(session.last_sequence) {
            session.evolve(&delivery.recorded);
        } else {
            self.catch_up(&aggregate, &mut session).await?;
        }
        Ok(session)
    }

    /// `session` with what this process knows of it besides. Asks nobody, so it may be behind the log.
    pub(crate) fn refresh(&self, aggregate: &Aggregate, session: &mut Session) {
        if let Some(known) = self.cache.get(aggregate)
            && known.last_sequence > session.last_sequence
        {
            *session = known;
        }
    }

    /// `session` with everything that happened since. When that is long, a snapshot saves most of the reading.
    pub(crate) async fn catch_up(
        &self,
        aggregate: &Aggregate,
        session: &mut Session,
    ) -> Result<(), ReadError> {
        self.refresh(aggregate, session);
        let mut read = 0;
        loop {
            let (page, more) = self.log.read_page(aggregate, session.last_sequence).await?;
            page.iter().for_each(|recorded| session.evolve(recorded));
            read += page.len();
            if !more {
                break;
            }
            self.skip_to_snapshot(aggregate, session).await;
        }
        if read > SNAPSHOT_AFTER {
            self.keep_snapshot(aggregate, session).await;
        }
        Ok(())
    }

    /// Keeps `session` for the next time.
    pub(crate) fn keep(&self, aggregate: Aggregate, session: Session) {
        self.cache.insert(aggregate, session);
    }

    async fn skip_to_snapshot(&self, aggregate: &Aggregate, session: &mut Session) {
        if let Ok(Some((sequence, state))) = snapshots::load(&self.database, aggregate).await
            && sequence > session.last_sequence
            && let Ok(known) = serde_json::from_value(state)
        {
            *session = known;
        }
    }

    async fn keep_snapshot(&self, aggregate: &Aggregate, session: &Session) {
        if let Ok(state) = serde_json::to_value(session)
            && let Err(error) =
                snapshots::save(&self.database, aggregate, session.last_sequence, &state).await
        {
            tracing::debug!(%error, "a snapshot was not kept");
        }
    }
}
