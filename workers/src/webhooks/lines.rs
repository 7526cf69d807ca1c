//! A line before each recipient, so that one that is slow or away holds up nobody but itself.
//!
//! A few requests to one recipient run at once and some more wait here. Whatever comes beyond that is put off to a time of
//! its own, as far in the future as the recipient's speed makes it. A recipient that failed several times in a row, or
//! asked for it, rests; then one request finds out whether it is there again. What is put off was not attempted, so it
//! does not count for a delivery's schedule.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Requests to one recipient that run at once in one process.
const SHARE: u32 = 8;
/// Deliveries that wait here for one of these places.
const MOST_WAITING: usize = 256;
/// Failures in a row after which a recipient rests.
const FAILURES: u32 = 10;
/// How long it rests: twice as long each time until it is there again.
const SHORTEST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// A recipient that is away answers fast; what waits for it comes back no faster than this.
const RESTING_PACE: Duration = Duration::from_millis(50);
/// Nothing is put off for longer at once, nor for less.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// How much a new measurement counts in the average.
const NEWS: f64 = 0.2;
/// Idle lines are forgotten when there are more.
const MOST_LINES: usize = 10_000;

/// All recipients' lines in this process.
#[derive(Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

struct Line {
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    waiting: usize,
    /// In a row.
    failures: u32,
    /// Nothing is asked before that.
    rests_until: Option<Instant>,
    rest: Duration,
    /// Somebody finds out whether it is there again.
    is_probed: bool,
    /// How long a request takes, in seconds.
    average: f64,
    /// When the next one that is put off comes back.
    next_slot: Instant,
}

/// Whose turn it is.
pub(super) enum Turn {
    /// This one's. Tell how it went.
    Now(Place),
    /// Not this one's for so long.
    Later(Duration),
}

/// A place at the recipient; dropped without a word it is simply free again.
pub(super) struct Place {
    line: Arc<Line>,
    is_probe: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How a request went, as far as the line is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    Well,
    Badly,
    /// It is asked for too much; when it wishes to be asked again.
    TooMuch(Option<Duration>),
}

impl Lines {
    /// Waits for a place, if that is not too long.
    pub(super) async fn enter(&self, recipient: &str) -> Turn {
        let line = self.line(recipient);
        {
            let mut state = line.state();
            let now = Instant::now();
            if state.is_away() {
                if state.is_resting(now) || state.is_probed {
                    return Turn::Later(state.slot(now));
                }
                state.is_probed = true;
                drop(state);
                return Turn::Now(Place { line, is_probe: true, _permit: None });
            }
            if state.waiting >= MOST_WAITING {
                return Turn::Later(state.slot(now));
            }
            state.waiting += 1;
        }
        let waits = Waits(&line);
        // Never closed.
        let permit = line.places.clone().acquire_owned().await.ok();
        drop(waits);
        let mut state = line.state();
        if state.is_away() {
            return Turn::Later(state.slot(Instant::now()));
        }
        drop(state);
        Turn::Now(Place { line, is_probe: false, _permit: permit })
    }

    fn line(&self, recipient: &str) -> Arc<Line> {
        let mut lines = locked(&self.lines);
        if let Some(line) = lines.get(recipient) {
            return line.clone();
        }
        if lines.len() >= MOST_LINES {
            let now = Instant::now();
            lines.retain(|_, line| Arc::strong_count(line) > 1 || line.state().next_slot > now);
        }
        let line = Arc::new(Line::new());
        lines.insert(recipient.to_owned(), line.clone());
        line
    }
}

impl Line {
    fn new() -> Self {
        let state = State {
            waiting: 0,
            failures: 0,
            rests_until: None,
            rest: Duration::ZERO,
            is_probed: false,
            average: 0.1,
            next_slot: Instant::now(),
        };
        Self { places: Arc::new(Semaphore::new(SHARE as usize)), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

impl State {
    fn is_away(&self) -> bool {
        self.failures >= FAILURES
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// How long the next one that is put off stays away: each has a time of its own.
    fn slot(&mut self, now: Instant) -> Duration {
        let pace = if self.is_away() {
            Duration::from_secs_f64(self.average).max(RESTING_PACE)
        } else {
            Duration::from_secs_f64(self.average) / SHARE
        };
        let earliest = self.rests_until.unwrap_or(now).max(now);
        self.next_slot = (self.next_slot.max(earliest) + pace).min(now + LONGEST_WAIT);
        (self.next_slot - now).max(SHORTEST_WAIT)
    }

    fn rest_for(&mut self, time: Duration) {
        self.rests_until = Some(Instant::now() + time);
    }
}

/// Counts one that waits, also when it is given up.
struct Waits<'a>(&'a Line);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Place {
    /// Tells how the request went and how long it took.
    pub(super) fn tell(self, went: Went, took: Duration) {
        let mut state = self.line.state();
        state.average += NEWS * (took.as_secs_f64() - state.average);
        match went {
            Went::Well => {
                state.failures = 0;
                state.rests_until = None;
                state.rest = Duration::ZERO;
                state.next_slot = Instant::now();
            }
            Went::Badly => {
                state.failures = state.failures.saturating_add(1);
                if state.is_away() && !state.is_resting(Instant::now()) {
                    state.rest = (2 * state.rest).clamp(SHORTEST_REST, LONGEST_REST);
                    let rest = state.rest;
                    state.rest_for(rest);
                }
            }
            Went::TooMuch(wish) => {
                state.failures = state.failures.max(FAILURES);
                state.rest_for(wish.unwrap_or(SHORTEST_REST).clamp(SHORTEST_WAIT, LONGEST_WAIT));
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_probe {
            self.line.state().is_probed = false;
        }
    }
}

/// Nothing that holds one of these locks can panic half-way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    const TOOK: Duration = Duration::from_millis(100);

    async fn place(lines: &Lines, recipient: &str) -> Place {
        match lines.enter(recipient).await {
            Turn::Now(place) => place,
            Turn::Later(wait) => panic!("put off for {wait:?}"),
        }
    }

    async fn put_off(lines: &Lines, recipient: &str) -> Duration {
        match lines.enter(recipient).await {
            Turn::Now(_) => panic!("it has a place"),
            Turn::Later(wait) => wait,
        }
    }

    async fn fail(lines: &Lines, times: u32) {
        for _ in 0..times {
            place(lines, "a").await.tell(Went::Badly, TOOK);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_recipient_has_its_share_and_no_other_waits_for_it() {
        let lines = Lines::default();
        let mut held = Vec::new();
        for _ in 0..SHARE {
            held.push(place(&lines, "slow").await);
        }
        let next = lines.enter("slow");
        assert!(tokio::time::timeout(LONGEST_WAIT, next).await.is_err(), "one too many");
        place(&lines, "quick").await.tell(Went::Well, TOOK);
        held.pop();
        place(&lines, "slow").await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_no_room_for_comes_back_one_after_the_other() {
        let lines = Lines::default();
        let mut held = Vec::new();
        for _ in 0..SHARE {
            held.push(place(&lines, "a").await);
        }
        let mut waiting = Vec::new();
        for _ in 0..MOST_WAITING {
            let mut next = Box::pin(lines.enter("a"));
            let is_pending = poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending()));
            assert!(is_pending.await);
            waiting.push(next);
        }
        let mut waits = Vec::new();
        for _ in 0..100_000 {
            waits.push(put_off(&lines, "a").await);
        }
        assert!(waits.is_sorted() && waits[50_000] > waits[0]);
        assert_eq!((waits[0], waits[99_999]), (SHORTEST_WAIT, LONGEST_WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_recipient_that_keeps_failing_rests_and_is_then_tried_by_one() {
        let lines = Lines::default();
        fail(&lines, FAILURES).await;
        assert!(put_off(&lines, "a").await >= SHORTEST_REST);
        tokio::time::advance(SHORTEST_REST).await;
        let probe = place(&lines, "a").await;
        put_off(&lines, "a").await;
        probe.tell(Went::Badly, TOOK);
        // Twice as long.
        tokio::time::advance(SHORTEST_REST).await;
        put_off(&lines, "a").await;
        tokio::time::advance(SHORTEST_REST).await;
        place(&lines, "a").await.tell(Went::Well, TOOK);
        let places = [place(&lines, "a").await, place(&lines, "a").await];
        drop(places);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_says_nothing_leaves_its_place_to_the_next() {
        let lines = Lines::default();
        fail(&lines, FAILURES).await;
        tokio::time::advance(SHORTEST_REST).await;
        drop(place(&lines, "a").await);
        drop(place(&lines, "a").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_recipient_that_is_asked_too_much_is_left_alone_as_long_as_it_wishes() {
        let lines = Lines::default();
        let wish = Duration::from_secs(30);
        place(&lines, "a").await.tell(Went::TooMuch(Some(wish)), TOOK);
        assert!(put_off(&lines, "a").await >= wish);
        tokio::time::advance(wish).await;
        place(&lines, "a").await.tell(Went::Well, TOOK);
        place(&lines, "a").await;
    }
}
