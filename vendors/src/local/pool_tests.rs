use std::sync::mpsc;

use super::*;
use crate::http::Class;

/// A pool of one thread that is held until the sender is dropped.
fn held() -> (Pool, mpsc::Sender<()>, Answer<()>) {
    let pool = Pool::new(1, PathBuf::new());
    let (hold, held) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let (_, answer) = pool
        .submit(Priority::Whole, move |_, _| {
            begun.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        })
        .unwrap();
    has_begun.recv().unwrap();
    (pool, hold, answer)
}

fn note(
    pool: &Pool,
    priority: Priority,
    notes: &mpsc::Sender<&'static str>,
    text: &'static str,
) -> Result<(Ticket, Answer<()>), SpeechError> {
    let notes = notes.clone();
    pool.submit(priority, move |_, _| {
        notes.send(text).unwrap();
        Ok(())
    })
}

#[test]
fn the_most_urgent_comes_first_and_a_hurried_glimpse_is_urgent() {
    let (pool, hold, _held) = held();
    let (notes, noted) = mpsc::channel();
    let mut answers = Vec::new();
    for (priority, text) in [
        (Priority::Partial, "hurried"),
        (Priority::Partial, "glimpse"),
        (Priority::MoreWords, "more"),
        (Priority::FirstWords, "first"),
        (Priority::Whole, "whole"),
    ] {
        answers.push(note(&pool, priority, &notes, text).unwrap());
    }
    pool.hurry(answers[0].0);
    drop(hold);
    let order: Vec<_> = noted.iter().take(5).collect();
    assert_eq!(order, ["whole", "hurried", "first", "more", "glimpse"]);
}

#[test]
fn what_would_wait_too_long_is_refused_and_what_nobody_wants_makes_room() {
    let (pool, hold, _held) = held();
    let (notes, noted) = mpsc::channel();
    let mut answers: Vec<_> =
        (0..WAITING_PER_THREAD).map(|_| note(&pool, Priority::Whole, &notes, "waits").unwrap()).collect();
    let refused = note(&pool, Priority::Whole, &notes, "refused").unwrap_err();
    assert_eq!((refused.code(), refused.class()), ("at_capacity", Class::Retry { after: None }));
    // Others have places of their own.
    answers.push(note(&pool, Priority::FirstWords, &notes, "speaks").unwrap());
    answers.remove(0);
    answers.push(note(&pool, Priority::Whole, &notes, "fits").unwrap());
    drop((hold, notes));
    let run: Vec<_> = noted.iter().collect();
    assert_eq!(run.len(), WAITING_PER_THREAD + 1);
    assert_eq!(run[run.len() - 2..], ["fits", "speaks"]);
}

#[test]
fn a_thread_that_has_nothing_to_do_prepares_once_and_work_comes_first() {
    let (pool, hold, _held) = held();
    let (notes, noted) = mpsc::channel();
    let _answer = note(&pool, Priority::Partial, &notes, "work").unwrap();
    for name in ["first", "second", "first"] {
        let notes = notes.clone();
        pool.prepare(name, move |_| notes.send(name).unwrap()).unwrap();
    }
    drop(hold);
    let order: Vec<_> = noted.iter().take(3).collect();
    assert_eq!(order, ["work", "first", "second"]);
    let (_, last) = note(&pool, Priority::Whole, &notes, "more work").unwrap();
    assert_eq!(last.blocking_recv().unwrap(), Ok(()));
    drop((pool, notes));
    assert_eq!(noted.iter().collect::<Vec<_>>(), ["more work"]);
}

#[test]
fn every_thread_prepares_for_itself_and_needs_no_work_to_begin() {
    let pool = Pool::new(3, PathBuf::new());
    let (notes, noted) = mpsc::channel();
    pool.prepare("all", move |_| notes.send(std::thread::current().id()).unwrap()).unwrap();
    let threads: std::collections::HashSet<_> = noted.iter().take(3).collect();
    assert_eq!(threads.len(), 3);
}

#[test]
fn a_panic_is_an_error_and_the_pool_goes_on() {
    let pool = Pool::new(1, PathBuf::new());
    let (_, answer) = pool.submit::<()>(Priority::Whole, |_, _| panic!("as it was told to")).unwrap();
    assert!(answer.blocking_recv().is_err());
    let (_, answer) = pool.submit(Priority::Whole, |_, _| Ok(7)).unwrap();
    assert_eq!(answer.blocking_recv().unwrap(), Ok(7));
}

#[test]
fn a_dropped_pool_drops_what_waits() {
    let (pool, hold, held) = held();
    let (notes, noted) = mpsc::channel();
    let (_, waiting) = note(&pool, Priority::Whole, &notes, "never").unwrap();
    drop(pool);
    assert!(waiting.blocking_recv().is_err());
    drop((hold, notes));
    assert_eq!(held.blocking_recv().unwrap(), Ok(()));
    assert_eq!(noted.iter().count(), 0);
}
