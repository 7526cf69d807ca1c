//! Passing new entries of the log on to whoever watches a session: one reader per process and partition, started by
//! the first watcher and ended after the last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use events::{Aggregate, Entry, Family};
use futures_util::StreamExt;
use nats::ReadError;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::App;

/// Entries of a session that a slow watcher may be behind; then it is told that it lags and reads the log itself.
const BACKLOG: usize = 256;
const RESTART_PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Followers(Vec<Arc<Partition>>);

#[derive(Default)]
struct Partition {
    /// Held while the reader's first position is found, so that no watcher goes on before it is known.
    starting: tokio::sync::Mutex<()>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    sessions: HashMap<Uuid, broadcast::Sender<Arc<Entry>>>,
    is_read: bool,
}

/// A session's new entries, from some moment before [`watch`] returned.
pub(crate) struct Watch {
    /// `None` only while it is dropped.
    receiver: Option<broadcast::Receiver<Arc<Entry>>>,
    partition: Arc<Partition>,
    session: Uuid,
}

/// What a watcher is told.
pub(crate) enum Seen {
    Entry(Arc<Entry>),
    /// Entries were missed; read the log.
    Lagged,
}

impl Followers {
    pub(crate) fn new(partitions: u16) -> Self {
        Self((0..partitions).map(|_| Arc::default()).collect())
    }
}

impl Partition {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches a session and the facts beside it. All that is appended after this returned will be seen.
///
/// # Errors
/// When the log is not to be had.
pub(crate) async fn watch(app: &App, session: &Aggregate) -> Result<Watch, ReadError> {
    let number = app.nats.log.partition_of(session);
    let partition = app.followers.0[usize::from(number)].clone();
    let starting = partition.starting.lock().await;
    let (receiver, is_read) = {
        let mut watched = partition.watched();
        let sender = watched.sessions.entry(session.id).or_insert_with(|| broadcast::channel(BACKLOG).0);
        (sender.subscribe(), watched.is_read)
    };
    let watch = Watch { receiver: Some(receiver), partition: partition.clone(), session: session.id };
    if !is_read {
        let after = app.nats.log.last_of_partition(number).await?;
        partition.watched().is_read = true;
        app.tasks.spawn(read(app.clone(), number, after));
    }
    drop(starting);
    Ok(watch)
}

impl Watch {
    /// Cancel-safe. Pends for ever once the process ends; listen to the shutdown beside it.
    pub(crate) async fn next(&mut self) -> Seen {
        let Some(receiver) = &mut self.receiver else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(entry) => Seen::Entry(entry),
            Err(broadcast::error::RecvError::Lagged(_)) => Seen::Lagged,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.receiver = None;
        let mut watched = self.partition.watched();
        let unwatched =
            watched.sessions.get(&self.session).is_some_and(|sender| sender.receiver_count() == 0);
        if unwatched {
            watched.sessions.remove(&self.session);
        }
    }
}

/// Reads the partition while anybody watches it.
async fn read(app: App, number: u16, mut after: u64) {
    let partition = app.followers.0[usize::from(number)].clone();
    while !app.shutdown.is_cancelled() {
        match app.nats.log.follow(number, after).await {
            Ok(mut entries) => loop {
                // Cancel-safe: after the token nothing is read any more.
                let next = tokio::select! {
                    () = app.shutdown.cancelled() => return,
                    next = entries.next() => next,
                };
                match next {
                    Some(Ok(entry)) => {
                        after = entry.position.sequence;
                        if !pass_on(&partition, entry) {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        tracing::warn!(partition = number, %error, "following the log broke off; starting again");
                        break;
                    }
                    None => break,
                }
            },
            Err(error) => tracing::warn!(partition = number, %error, "the log cannot be followed yet"),
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// `false`: nobody watches any more, and the next watcher starts a new reader.
fn pass_on(partition: &Partition, entry: Entry) -> bool {
    let mut watched = partition.watched();
    if watched.sessions.is_empty() {
        watched.is_read = false;
        return false;
    }
    if let Some(sender) = session_of(&entry.subject).and_then(|session| watched.sessions.get(&session)) {
        // Refused only when the last watcher has just left.
        let _ = sender.send(Arc::new(entry));
    }
    true
}

/// The session in `evt.<pp>.<tenant>.<family>.<id>.<lane>`.
fn session_of(subject: &str) -> Option<Uuid> {
    let mut tokens = subject.split('.').skip(3);
    let family: Family = tokens.next()?.parse().ok()?;
    let id = tokens.next()?;
    matches!(family, Family::Session | Family::SessionFacts).then(|| Uuid::try_parse(id).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use events::Position;

    use super::*;

    fn entry(session: Uuid, family: &str, sequence: u64) -> Entry {
        Entry {
            position: Position { partition: 0, sequence },
            recorded_at: chrono::DateTime::UNIX_EPOCH,
            subject: format!("evt.00.{}.{family}.{session}.note", Uuid::from_u128(1)),
            raw_headers: String::new(),
            raw_payload: bytes::Bytes::new(),
            event: Err("not read here".to_owned()),
        }
    }

    fn watch_of(partition: &Arc<Partition>, session: Uuid) -> Watch {
        let mut watched = partition.watched();
        let sender = watched.sessions.entry(session).or_insert_with(|| broadcast::channel(BACKLOG).0);
        Watch { receiver: Some(sender.subscribe()), partition: partition.clone(), session }
    }

    #[tokio::test]
    async fn a_watcher_sees_its_session_and_the_facts_beside_it_only() {
        let partition = Arc::<Partition>::default();
        let (own, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let mut watch = watch_of(&partition, own);
        for (session, family, sequence) in
            [(other, "session", 1), (own, "session", 2), (own, "agent", 3), (own, "session_facts", 4)]
        {
            assert!(pass_on(&partition, entry(session, family, sequence)));
        }
        for sequence in [2, 4] {
            let Seen::Entry(seen) = watch.next().await else { unreachable!("it does not lag") };
            assert_eq!(seen.position.sequence, sequence);
        }
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_that_it_lags() {
        let partition = Arc::<Partition>::default();
        let own = Uuid::from_u128(7);
        let mut watch = watch_of(&partition, own);
        for sequence in 0..=BACKLOG as u64 {
            pass_on(&partition, entry(own, "session", sequence));
        }
        assert!(matches!(watch.next().await, Seen::Lagged));
    }

    #[test]
    fn the_reader_ends_after_the_last_watcher() {
        let partition = Arc::<Partition>::default();
        let own = Uuid::from_u128(7);
        let (first, second) = (watch_of(&partition, own), watch_of(&partition, own));
        drop(first);
        assert!(pass_on(&partition, entry(own, "session", 1)));
        drop(second);
        assert!(!pass_on(&partition, entry(own, "session", 2)));
        assert!(partition.watched.lock().unwrap().sessions.is_empty());
    }
}
