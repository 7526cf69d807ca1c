use events::session::*;

use super::tests::{created, failed, given, held, id, message, replied, sealed, started, summarized};
use super::*;

/// Which event's words each line has.
fn lines(session: &Session) -> Vec<(&'static str, EventId)> {
    let line = |line: &Line| match line {
        Line::Customer(words) => ("customer", words.event_id),
        Line::Assistant(words) => ("assistant", words.event_id),
    };
    session.history.iter().map(line).collect()
}

/// Told twice, the two differ by `heard_ms`.
fn interrupted(job: u128, heard: Option<Sealed>, heard_ms: u64) -> Payload {
    ReplyInterrupted {
        job_id: id(job),
        message_id: id(job + 100),
        agent_id: id(1),
        channel: Channel::Voice,
        heard,
        heard_ms,
        queued_ms: 4_000,
    }
    .into()
}

fn cut_short(job: u128) -> Payload {
    interrupted(job, Some(sealed()), 1_200)
}

fn not_heard(job: u128) -> Payload {
    interrupted(job, None, 0)
}

fn greeted(job: u128) -> Payload {
    Greeted {
        message_id: id(job + 100),
        job_id: id(job),
        agent_id: id(1),
        channel: Channel::Voice,
        content: sealed(),
    }
    .into()
}

/// Created, asked and claimed: events 1 to 3.
fn asked(and: Vec<Payload>) -> Session {
    given([vec![created(), message(7), started(7, 1, held(2, 1))], and].concat())
}

#[test]
fn a_greeting_is_the_assistants_first_line() {
    assert_eq!(lines(&given(vec![created(), greeted(6)])), [("assistant", id(2))]);
}

#[test]
fn of_a_reply_that_is_interrupted_afterwards_only_what_was_heard_was_said() {
    let session = asked(vec![replied(7, None), cut_short(7)]);
    assert_eq!(lines(&session), [("customer", id(2)), ("assistant", id(5))]);
}

#[test]
fn of_a_reply_that_is_interrupted_before_it_is_complete_only_what_was_heard_was_said() {
    let session = asked(vec![cut_short(7)]);
    assert_eq!(lines(&session), [], "nothing is history before the turn ends");
    assert!(session.is_under_way(id(7), 1) && session.pending[0].interrupted.is_some());
    for terminal in [replied(7, None), failed(7)] {
        let session = asked(vec![cut_short(7), terminal]);
        assert_eq!(lines(&session), [("customer", id(2)), ("assistant", id(4))]);
        assert!(session.pending.is_empty() && session.turn.is_none());
    }
}

#[test]
fn an_interruption_before_the_first_word_leaves_no_line() {
    for events in [
        vec![not_heard(7), failed(7)],
        vec![not_heard(7), replied(7, None)],
        vec![replied(7, None), not_heard(7)],
    ] {
        assert_eq!(lines(&asked(events)), [("customer", id(2))]);
    }
}

#[test]
fn a_greeting_can_be_interrupted() {
    let session = given(vec![created(), greeted(6), cut_short(6), message(7)]);
    assert_eq!(lines(&session), [("assistant", id(3))]);
}

#[test]
fn the_first_interruption_counts() {
    let second = || interrupted(7, Some(sealed()), 9_000);
    assert_eq!(
        lines(&asked(vec![replied(7, None), cut_short(7), second()])),
        [("customer", id(2)), ("assistant", id(5))]
    );
    let early = asked(vec![cut_short(7), second(), failed(7), second()]);
    assert_eq!(lines(&early), [("customer", id(2)), ("assistant", id(4))]);
}

#[test]
fn a_reply_that_is_not_the_last_stays_as_it_is() {
    let second = [message(8), started(8, 1, held(5, 1)), replied(8, None)];
    let session = asked([vec![replied(7, None)], second.to_vec(), vec![cut_short(7)]].concat());
    let expected = [("customer", id(2)), ("assistant", id(4)), ("customer", id(5)), ("assistant", id(7))];
    assert_eq!(lines(&session), expected);

    // Nor is it the last once a later answer was cut off before it was complete.
    let second = [message(8), started(8, 1, held(5, 1)), not_heard(8), failed(8)];
    let session = asked([vec![replied(7, None)], second.to_vec(), vec![cut_short(7)]].concat());
    assert_eq!(lines(&session), [("customer", id(2)), ("assistant", id(4)), ("customer", id(5))]);
}

#[test]
fn an_interruption_is_known_to_whoever_takes_the_turn_over_and_to_whoever_starts_it() {
    let session = asked(vec![cut_short(7), started(7, 2, held(2, 2))]);
    assert!(
        matches!(session.claim(held(2, 3)), Claim::TakeOver(pending, _) if pending.interrupted.is_some())
    );
    let waiting = asked(vec![message(8), not_heard(8), failed(7)]);
    assert!(
        matches!(waiting.claim(held(2, 1)), Claim::Start(pending) if pending.interrupted == Some(Heard(None)))
    );
}

#[test]
fn what_is_in_a_summary_is_not_interrupted_any_more() {
    let session = asked(vec![replied(7, None), summarized(7, 4), cut_short(7)]);
    assert_eq!((lines(&session), session.summary.is_some()), (vec![], true));
}

#[test]
fn where_the_last_message_was_heard_is_known() {
    let heard = |number: u128, spoken: Option<SpokenMessage>| -> Payload {
        let Payload::MessageReceived(received) = message(number) else { unreachable!() };
        MessageReceived { spoken, ..received }.into()
    };
    let frames = |through_frame| SpokenMessage { call_id: id(1), from_frame: 3, through_frame };
    let session =
        given(vec![created(), heard(7, Some(frames(50))), heard(8, Some(frames(90))), heard(9, None)]);
    assert_eq!(session.spoken, Some(frames(90)));
}

#[test]
fn a_snapshot_of_a_version_that_knew_no_calls_is_read() {
    let session = asked(vec![]);
    let mut snapshot = serde_json::to_value(&session).unwrap();
    let fields = snapshot.as_object_mut().unwrap();
    fields.remove("last_reply");
    fields.remove("spoken");
    fields["pending"][0].as_object_mut().unwrap().remove("interrupted");
    assert_eq!(serde_json::from_value::<Session>(snapshot).unwrap(), session);

    let interrupted = asked(vec![cut_short(7)]);
    let snapshot = serde_json::to_value(&interrupted).unwrap();
    assert_eq!(serde_json::from_value::<Session>(snapshot).unwrap(), interrupted);
}

fn not_wanted(job: u128) -> Payload {
    CancelRequested { job_id: id(job), by: "key:1".to_owned() }.into()
}

#[test]
fn a_job_that_waits_can_end_at_once_and_one_under_way_must_be_told() {
    let session = asked(vec![message(8)]);
    assert_eq!(session.cancel(id(7)), Cancelling::Ask);
    assert!(matches!(session.cancel(id(8)), Cancelling::End(pending) if pending.job_id == id(8)));
    assert_eq!(session.cancel(id(9)), Cancelling::NotPending);
    let told = asked(vec![not_wanted(7), not_wanted(9)]);
    assert_eq!(told.cancel(id(7)), Cancelling::Asked);
    assert!(told.pending[0].cancelled);
    assert_eq!(asked(vec![replied(7, None)]).cancel(id(7)), Cancelling::NotPending);
}

#[test]
fn of_a_cancelled_answer_the_words_that_were_written_stay() {
    let session = asked(vec![not_wanted(7), cut_short(7), failed(7)]);
    assert_eq!(lines(&session), [("customer", id(2)), ("assistant", id(5))]);
    assert_eq!(session.turn, None);
}
