//! Threads that compute, and who comes first: somebody who has stopped speaking, then somebody who waits for our first
//! words, then the rest of what we say, then glimpses of what is still being said.
//!
//! Nothing waits here for long: what would is refused at once. A thread that has nothing to do gets ready for what it may
//! be asked.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{AT_CAPACITY, Answer, Models};
use crate::speech::SpeechError;

/// Work that may wait, for each thread; about a second of it.
const WAITING_PER_THREAD: usize = 16;
/// Glimpses that may wait, for each thread. They are dropped rather than queued: the next one knows more.
const PARTIALS_PER_THREAD: usize = 2;
/// Added to the niceness of a computing thread: whatever carries audio goes first.
const NICENESS: i32 = 5;

const WAITING: &str = "vocalbridge_local_speech_waiting_count";

/// Whose turn it is; the first is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    Whole,
    FirstWords,
    MoreWords,
    Partial,
}

const PRIORITIES: usize = Priority::Partial as usize + 1;

/// Names one piece of work in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: usize,
    models_dir: PathBuf,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Something that every thread does once, when it has nothing else to do.
type Preparation = Arc<dyn Fn(&mut Models) + Send + Sync>;

#[derive(Default)]
struct State {
    waiting: [VecDeque<(Ticket, Box<dyn Work>)>; PRIORITIES],
    /// By name; in the order in which they are done.
    preparations: Vec<(&'static str, Preparation)>,
    next_ticket: u64,
    started: bool,
    closed: bool,
}

trait Work: Send {
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>, models: &mut Models);
}

struct Task<T, F> {
    answer: oneshot::Sender<Result<T, SpeechError>>,
    compute: F,
}

enum Next {
    Work(Box<dyn Work>),
    Prepare(Preparation),
}

/// Whether anybody still waits for a computation.
pub(super) struct Wanted<'a, T>(&'a oneshot::Sender<Result<T, SpeechError>>);

impl<T> Wanted<'_, T> {
    pub(super) fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Models, Wanted<'_, T>) -> Result<T, SpeechError> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(self: Box<Self>, models: &mut Models) {
        let Self { answer, compute } = *self;
        if !answer.is_closed() {
            let computed = compute(models, Wanted(&answer));
            // Nobody waits any more: then nobody misses it.
            let _ = answer.send(computed);
        }
    }
}

impl Pool {
    /// Its threads start with the first work.
    pub(super) fn new(threads: usize, models_dir: PathBuf) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), threads, models_dir }
    }

    /// Dropping the answer cancels.
    ///
    /// # Errors
    /// When too much is waiting already.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        priority: Priority,
        compute: impl FnOnce(&mut Models, Wanted<'_, T>) -> Result<T, SpeechError> + Send + 'static,
    ) -> Result<(Ticket, Answer<T>), SpeechError> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.shared.state();
        let most = match priority {
            Priority::Partial => self.threads * PARTIALS_PER_THREAD,
            Priority::Whole | Priority::FirstWords | Priority::MoreWords => self.threads * WAITING_PER_THREAD,
        };
        let waiting = &mut state.waiting[priority as usize];
        waiting.retain(|(_, work)| work.is_wanted());
        if waiting.len() >= most {
            return Err(AT_CAPACITY);
        }
        state.next_ticket += 1;
        let ticket = Ticket(state.next_ticket);
        state.waiting[priority as usize].push_back((ticket, Box::new(Task { answer, compute })));
        state.measure();
        self.start(&mut state)?;
        drop(state);
        self.shared.changed.notify_one();
        Ok((ticket, receiver))
    }

    /// Has every thread do this once, as soon as nothing waits. What has this name already is known.
    ///
    /// # Errors
    /// When no thread could be started.
    pub(super) fn prepare(
        &self,
        name: &'static str,
        prepare: impl Fn(&mut Models) + Send + Sync + 'static,
    ) -> Result<(), SpeechError> {
        let mut state = self.shared.state();
        if state.preparations.iter().all(|(known, _)| *known != name) {
            state.preparations.push((name, Arc::new(prepare)));
            self.start(&mut state)?;
            drop(state);
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Puts what waits as a glimpse among what is whole. What has begun is not waiting.
    pub(super) fn hurry(&self, ticket: Ticket) {
        let mut state = self.shared.state();
        let partials = &mut state.waiting[Priority::Partial as usize];
        if let Some(at) = partials.iter().position(|(waiting, _)| *waiting == ticket)
            && let Some(work) = partials.remove(at)
        {
            state.waiting[Priority::Whole as usize].push_back(work);
        }
    }

    fn start(&self, state: &mut State) -> Result<(), SpeechError> {
        if state.started {
            return Ok(());
        }
        for number in 1..=self.threads {
            let (shared, models_dir) = (self.shared.clone(), self.models_dir.clone());
            let thread = std::thread::Builder::new().name(format!("speech-{number}"));
            let started = thread.spawn(move || shared.work(models_dir));
            started.map_err(|error| SpeechError::Engine {
                provider: crate::speech::LOCAL,
                detail: format!("no thread could be started: {error}"),
            })?;
        }
        state.started = true;
        Ok(())
    }
}

/// Ends the threads after what they are at; what waits is dropped.
impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.waiting.iter_mut().for_each(VecDeque::clear);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// The queues are changed in single steps, so that a poisoned lock guards whole ones.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, models_dir: PathBuf) {
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "speech runs at the same priority as everything else");
        }
        let (mut models, mut prepared) = (Models::in_dir(&models_dir), 0);
        while let Some(next) = self.next(prepared) {
            let done = catch_unwind(AssertUnwindSafe(|| match next {
                Next::Work(work) => work.run(&mut models),
                Next::Prepare(prepare) => {
                    prepared += 1;
                    prepare(&mut models);
                }
            }));
            if done.is_err() {
                tracing::error!("a speech model panicked; it is loaded again when it is needed");
                models = Models::in_dir(&models_dir);
            }
        }
    }

    /// The most urgent work, else the preparation behind those that were done; `None` when the pool is closed.
    fn next(&self, prepared: usize) -> Option<Next> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some((_, work)) = state.waiting.iter_mut().find_map(VecDeque::pop_front) {
                state.measure();
                return Some(Next::Work(work));
            }
            if let Some((_, preparation)) = state.preparations.get(prepared) {
                return Some(Next::Prepare(preparation.clone()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    fn measure(&self) {
        metrics::gauge!(WAITING).set(self.waiting.iter().map(VecDeque::len).sum::<usize>() as f64);
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
