use events::session::*;
use events::{Aggregate, Cause, Event, Position, SessionId, TenantId};
use uuid::Uuid;

use super::*;

pub(super) fn id<T: From<Uuid>>(number: u128) -> T {
    T::from(Uuid::from_u128(number))
}

pub(super) fn sealed() -> Sealed {
    Sealed { key_id: Uuid::nil(), ciphertext: String::new() }
}

pub(super) fn given(payloads: Vec<Payload>) -> Session {
    let origin = Origin {
        correlation_id: CorrelationId::default(),
        actor: String::new(),
        traceparent: String::new(),
        key_id: None,
    };
    let cause = Cause { origin, causation_id: None };
    let history: Vec<Recorded> = payloads
        .into_iter()
        .zip(1_u64..)
        .map(|(payload, sequence)| {
            let aggregate = Aggregate::session(TenantId(Uuid::nil()), SessionId(Uuid::nil()));
            let event =
                Event::new(id(u128::from(sequence)), DateTime::default(), "test", aggregate, &cause, payload);
            Recorded { position: Position { partition: 0, sequence }, event }
        })
        .collect();
    Session::of(&history)
}

pub(super) fn created() -> Payload {
    SessionCreated {
        agent_id: id(1),
        channel: Channel::Chat,
        customer_key_id: id(2),
        customer_id: sealed(),
        prompt_variables: Some(sealed()),
    }
    .into()
}

pub(super) fn message(number: u128) -> Payload {
    let content = sealed();
    MessageReceived {
        message_id: id(number),
        job_id: id(number),
        content,
        agent_version: 1,
        stream: false,
        spoken: None,
        callback: None,
        aloud: false,
    }
    .into()
}

pub(super) fn started(number: u128, attempt: u32, held: Held) -> Payload {
    TurnStarted {
        turn_id: id(number),
        job_id: id(number),
        message_id: id(number),
        worker_id: "a:1".to_owned(),
        agent_version: 1,
        attempt,
        held_sequence: held.sequence,
        held_generation: held.generation,
        prompt: Some(PromptVersion { id: id(5), version: 3 }),
    }
    .into()
}

pub(super) fn failed(number: u128) -> Payload {
    TurnFailed {
        turn_id: id(number),
        job_id: id(number),
        message_id: id(number),
        agent_id: id(1),
        channel: Channel::Chat,
        code: FailureCode::VendorFailed,
        detail: String::new(),
        latency_ms: 0,
        attempts: 1,
        billed: vec![],
        callback: None,
        shortage: None,
    }
    .into()
}

pub(super) fn held(sequence: u64, generation: u64) -> Held {
    Held { sequence, generation }
}

#[test]
fn an_accepted_message_may_be_started() {
    let session = given(vec![created(), message(7)]);
    assert!(matches!(session.claim(held(2, 1)), Claim::Start(pending) if pending.message_id == id(7)));
}

#[test]
fn the_oldest_pending_message_comes_first_whoever_claims() {
    let session = given(vec![created(), message(7), message(8)]);
    assert!(matches!(session.claim(held(3, 1)), Claim::Start(pending) if pending.message_id == id(7)));
}

#[test]
fn a_message_that_comes_during_a_turn_is_left_to_its_worker() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1)), message(8)]);
    assert_eq!(session.claim(held(4, 1)), Claim::LeaveToHolder);
}

#[test]
fn a_delivery_handed_out_again_takes_its_turn_over() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1))]);
    assert!(matches!(session.claim(held(2, 2)), Claim::TakeOver(_, turn) if turn.attempt == 1));
}

#[test]
fn an_old_copy_of_a_held_delivery_is_left_alone() {
    let session = given(vec![created(), message(7), started(7, 2, held(2, 2))]);
    assert_eq!(session.claim(held(2, 1)), Claim::Stale);
    assert_eq!(session.claim(held(2, 2)), Claim::Stale);
}

#[test]
fn a_worker_that_was_taken_over_is_shut_out() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1)), started(7, 2, held(2, 2))]);
    assert!(!session.is_under_way(id(7), 1));
    assert!(session.is_under_way(id(7), 2));
}

#[test]
fn a_terminal_event_makes_the_next_message_due_under_the_same_delivery() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1)), message(8), failed(7)]);
    assert!(matches!(session.claim(held(2, 1)), Claim::Start(pending) if pending.message_id == id(8)));
    assert_eq!(session.history.len(), 1);
}

#[test]
fn a_worker_that_died_in_the_second_turn_of_its_delivery_is_taken_over_too() {
    let session = given(vec![
        created(),
        message(7),
        started(7, 1, held(2, 1)),
        message(8),
        failed(7),
        started(8, 1, held(2, 1)),
    ]);
    assert!(matches!(session.claim(held(2, 2)), Claim::TakeOver(pending, _) if pending.message_id == id(8)));
    assert_eq!(session.claim(held(4, 3)), Claim::LeaveToHolder);
}

#[test]
fn when_everything_is_answered_there_is_nothing_to_do() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1)), failed(7)]);
    assert_eq!(session.claim(held(2, 2)), Claim::Nothing);
}

#[test]
fn tool_results_survive_a_takeover_and_the_first_result_counts() {
    let requested = ToolRequested {
        turn_id: id(7),
        job_id: id(7),
        agent_id: id(1),
        tool_call_id: id(9),
        vendor_call_id: "c1".to_owned(),
        name: "invoice_lookup".to_owned(),
        arguments: sealed(),
        round: 1,
        said: None,
        signature: None,
    };
    let completed = |status| -> Payload {
        ToolCompleted {
            turn_id: id(7),
            job_id: id(7),
            agent_id: id(1),
            tool_call_id: id(9),
            name: "invoice_lookup".to_owned(),
            arguments: sealed(),
            status,
            result: sealed(),
            latency_ms: 1,
        }
        .into()
    };
    let session = given(vec![
        created(),
        message(7),
        started(7, 1, held(2, 1)),
        requested.into(),
        completed(ToolStatus::Ok),
        started(7, 2, held(2, 2)),
        completed(ToolStatus::Error),
    ]);
    let turn = session.turn.unwrap();
    assert_eq!(turn.tools[0].result.as_ref().unwrap().0, ToolStatus::Ok);
}

#[test]
fn taking_in_an_event_twice_changes_nothing() {
    let mut session = given(vec![created(), message(7)]);
    let before = session.clone();
    let origin = session.pending[0].origin("x");
    let aggregate = Aggregate::session(TenantId(Uuid::nil()), SessionId(Uuid::nil()));
    let cause = Cause { origin, causation_id: None };
    let event = Event::new(id(2), DateTime::default(), "test", aggregate, &cause, message(7));
    session.evolve(&Recorded { position: Position { partition: 0, sequence: 2 }, event });
    assert_eq!(session, before);
}

#[test]
fn a_snapshot_gives_the_same_session_back() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1)), message(8), failed(7)]);
    let snapshot = serde_json::to_value(&session).unwrap();
    assert_eq!(serde_json::from_value::<Session>(snapshot).unwrap(), session);
}

pub(super) fn replied(number: u128, then: Option<Then>) -> Payload {
    ReplyCompleted {
        turn_id: id(number),
        job_id: id(number),
        in_reply_to: id(number),
        message_id: id(number + 100),
        agent_id: id(1),
        channel: Channel::Chat,
        content: sealed(),
        provider: String::new(),
        model: String::new(),
        tokens_in: 0,
        tokens_out: 0,
        cost_usd: Default::default(),
        latency_ms: 0,
        tools_called: vec![],
        attempts: 1,
        billed: vec![],
        then,
        agent_version: Some(1),
        callback: None,
        aloud: false,
        prompt: None,
    }
    .into()
}

/// The event with this place in the history is the last that the summary covers.
pub(super) fn summarized(turn: u128, through: u128) -> Payload {
    SessionSummarized {
        turn_id: id(turn),
        job_id: id(turn),
        agent_id: id(1),
        summary: sealed(),
        through: id(through),
        lines: 2,
        provider: String::new(),
        model: String::new(),
    }
    .into()
}

#[test]
fn a_summary_takes_the_place_of_the_lines_that_it_covers_and_of_the_summary_before() {
    let two_turns = vec![
        created(),
        message(7),
        started(7, 1, held(2, 1)),
        replied(7, None),
        message(8),
        started(8, 1, held(5, 1)),
        replied(8, None),
        message(9),
        started(9, 1, held(8, 1)),
    ];
    let before = given(two_turns.clone());
    assert_eq!((before.history.len(), &before.summary), (4, &None));

    // Through the first answer; the open turn goes on.
    let once = given([two_turns.clone(), vec![summarized(9, 4)]].concat());
    let left: Vec<EventId> = once.history.iter().map(|line| line.words().event_id).collect();
    assert_eq!(left, [id(5), id(7)]);
    assert_eq!(once.summary.as_ref().unwrap().event_id, id(10));
    assert!(once.is_under_way(id(9), 1) && once.pending.len() == 1);

    let twice = given([two_turns, vec![summarized(9, 4), summarized(9, 7), replied(9, None)]].concat());
    assert_eq!(twice.summary.unwrap().event_id, id(11));
    assert_eq!(twice.history.len(), 2, "what was said since");
}

#[test]
fn a_summary_of_lines_that_are_forgotten_drops_none_of_those_that_are_not() {
    let session =
        given(vec![created(), message(7), started(7, 1, held(2, 1)), replied(7, None), summarized(7, 99)]);
    assert_eq!(session.history.len(), 2);
}

#[test]
fn a_snapshot_of_a_version_that_knew_no_summaries_is_read() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1)), failed(7)]);
    let mut snapshot = serde_json::to_value(&session).unwrap();
    snapshot.as_object_mut().unwrap().remove("summary");
    assert_eq!(serde_json::from_value::<Session>(snapshot).unwrap(), session);
}

#[test]
fn a_reply_that_says_what_comes_then_ends_the_session() {
    for (then, ended) in [
        (None, false),
        (Some(Then::End), true),
        (Some(Then::Transfer { to_number: "+493012345678".to_owned() }), true),
    ] {
        let session =
            given(vec![created(), message(7), started(7, 1, held(2, 1)), message(8), replied(7, then)]);
        assert_eq!(session.ended, ended);
        assert!(matches!(session.claim(held(2, 1)), Claim::Start(pending) if pending.message_id == id(8)));
    }
}

#[test]
fn a_granted_transfer_goes_before_a_granted_end_and_refused_ones_count_for_nothing() {
    let parting = |calls: &[(&str, ToolStatus)]| {
        let call = |(name, status): &(&str, ToolStatus)| ToolCall {
            tool_call_id: id(1),
            vendor_call_id: String::new(),
            name: (*name).to_owned(),
            arguments: Words { event_id: id(1), sealed: sealed() },
            round: 1,
            said: None,
            signature: None,
            result: Some((*status, Words { event_id: id(1), sealed: sealed() })),
        };
        let turn = Turn {
            turn_id: id(7),
            message_id: id(7),
            attempt: 1,
            held: held(2, 1),
            prompt: None,
            tools: calls.iter().map(call).collect(),
        };
        turn.parting().map(|call| call.name.clone())
    };
    use ToolStatus::{Error, Ok};
    assert_eq!(parting(&[("invoice_lookup", Ok), ("end_call", Error)]), None);
    assert_eq!(parting(&[("end_call", Ok)]).as_deref(), Some("end_call"));
    assert_eq!(parting(&[("end_call", Ok), ("transfer_call", Error)]).as_deref(), Some("end_call"));
    assert_eq!(parting(&[("transfer_call", Ok), ("end_call", Ok)]).as_deref(), Some("transfer_call"));
}

#[test]
fn the_values_of_the_session_and_the_prompt_of_the_turn_are_known_and_survive_a_snapshot() {
    let session = given(vec![created(), message(7), started(7, 1, held(2, 1))]);
    let variables = session.opened.as_ref().and_then(|opened| opened.prompt_variables.as_ref()).unwrap();
    assert_eq!(variables.event_id, id(1));
    assert_eq!(session.turn.as_ref().unwrap().prompt, Some(PromptVersion { id: id(5), version: 3 }));
    let snapshot = serde_json::to_value(&session).unwrap();
    assert_eq!(serde_json::from_value::<Session>(snapshot.clone()).unwrap(), session);
    // One that was kept before there were prompts.
    let mut older = snapshot;
    older["opened"].as_object_mut().unwrap().remove("prompt_variables");
    older["turn"].as_object_mut().unwrap().remove("prompt");
    let read: Session = serde_json::from_value(older).unwrap();
    assert_eq!((read.opened.unwrap().prompt_variables, read.turn.unwrap().prompt), (None, None));
}
