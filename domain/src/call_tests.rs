use chrono::TimeDelta;
use events::call::*;
use events::{Aggregate, CallId, Cause, CorrelationId, Event, Origin, Position, TenantId};
use uuid::Uuid;

use super::*;

fn id<T: From<Uuid>>(number: u128) -> T {
    T::from(Uuid::from_u128(number))
}

/// Each event a second after the one before; the first at second 1.
fn given(payloads: Vec<Payload>) -> Call {
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
            let aggregate = Aggregate::call(TenantId(Uuid::nil()), CallId(Uuid::nil()));
            let event =
                Event::new(id(u128::from(sequence)), second(sequence), "test", aggregate, &cause, payload);
            Recorded { position: Position { partition: 0, sequence }, event }
        })
        .collect();
    Call::of(&history)
}

fn second(number: u64) -> DateTime<Utc> {
    DateTime::default() + TimeDelta::seconds(number as i64)
}

fn started() -> Payload {
    CallStarted {
        session_id: id(1),
        agent_id: id(2),
        agent_version: 1,
        direction: Direction::Inbound,
        transport: Transport::Twilio,
        caller_number: None,
        called_number: None,
        provider_call_sid: Some("CA1".to_owned()),
        customer_key_id: id(3),
        metadata: serde_json::Map::new(),
    }
    .into()
}

fn claimed(attempt: u32, held: Held) -> Payload {
    CallClaimed {
        worker_id: format!("host:{attempt}"),
        attempt,
        held_sequence: held.sequence,
        held_generation: held.generation,
    }
    .into()
}

fn connected() -> Payload {
    CallConnected { format: CallAudio::Mulaw8k }.into()
}

fn ended() -> Payload {
    CallEnded {
        status: CallStatus::Completed,
        end_reason: "caller_hung_up".to_owned(),
        session_id: id(1),
        agent_id: id(2),
        duration_ms: 0,
        requests: 0,
        metered: None,
    }
    .into()
}

fn held(sequence: u64, generation: u64) -> Held {
    Held { sequence, generation }
}

#[test]
fn a_call_that_nobody_has_is_taken() {
    assert_eq!(given(vec![started()]).claim(held(1, 1)), CallClaim::Start { attempt: 1 });
}

#[test]
fn a_delivery_handed_out_again_takes_the_call_over() {
    let call = given(vec![started(), claimed(1, held(1, 1))]);
    assert_eq!(call.claim(held(1, 2)), CallClaim::TakeOver { attempt: 2 });
    let call = given(vec![started(), claimed(1, held(1, 1)), claimed(2, held(1, 2))]);
    assert_eq!(call.claim(held(1, 3)), CallClaim::TakeOver { attempt: 3 });
}

#[test]
fn an_old_copy_of_a_held_delivery_is_left_alone() {
    let call = given(vec![started(), claimed(1, held(1, 1)), claimed(2, held(1, 2))]);
    assert_eq!((call.claim(held(1, 1)), call.claim(held(1, 2))), (CallClaim::Stale, CallClaim::Stale));
}

#[test]
fn a_worker_that_was_taken_over_is_shut_out_and_after_the_end_everybody() {
    let call = given(vec![started(), claimed(1, held(1, 1)), claimed(2, held(1, 2))]);
    assert_eq!((call.is_held_by(1), call.is_held_by(2)), (false, true));
    let over = given(vec![started(), claimed(1, held(1, 1)), ended()]);
    assert!(!over.is_held_by(1));
    assert_eq!((over.claim(held(1, 1)), over.claim(held(1, 2))), (CallClaim::Ended, CallClaim::Ended));
}

#[test]
fn a_call_that_ended_before_anybody_had_it_is_not_begun() {
    assert_eq!(given(vec![started(), ended()]).claim(held(1, 1)), CallClaim::Ended);
}

#[test]
fn the_time_of_a_call_counts_from_the_first_connection_over_all_workers() {
    assert_eq!(given(vec![started(), claimed(1, held(1, 1))]).duration_ms(second(60)), 0);
    let call =
        given(vec![started(), claimed(1, held(1, 1)), connected(), claimed(2, held(1, 2)), connected()]);
    assert_eq!(call.connected_at, Some(second(3)));
    assert_eq!(call.duration_ms(second(63)), 60_000);
    assert_eq!(call.duration_ms(second(1)), 0, "of two clocks one may be behind");
}

#[test]
fn a_new_worker_knows_what_was_spoken_and_wanted() {
    let measured = TurnMeasured {
        job_id: id(7),
        turn: 1,
        interrupted: false,
        speech_ms: None,
        endpointing_ms: None,
        stt_ms: None,
        first_token_ms: None,
        first_sentence_ms: None,
        first_audio_ms: None,
        caller_gap_ms: None,
        stt_provider: None,
        llm_provider: None,
        tts_provider: None,
    };
    let call = given(vec![
        started(),
        ReplySpoken { job_id: id(6) }.into(),
        measured.into(),
        ReplySpoken { job_id: id(7) }.into(),
        HangupRequested { by: "operator".to_owned() }.into(),
    ]);
    assert_eq!((call.turns, call.spoken, call.hangup_requested), (1, Some(id(7)), true));
    let begun = call.started.unwrap();
    assert_eq!((begun.event_id, begun.at, begun.call.session_id), (id(1), second(1), id(1)));
}

#[test]
fn an_event_that_was_taken_in_is_passed_over() {
    let mut call = given(vec![started(), ReplySpoken { job_id: id(6) }.into()]);
    let before = call.clone();
    let origin = Origin {
        correlation_id: CorrelationId::default(),
        actor: String::new(),
        traceparent: String::new(),
        key_id: None,
    };
    let aggregate = Aggregate::call(TenantId(Uuid::nil()), CallId(Uuid::nil()));
    let cause = Cause { origin, causation_id: None };
    let event = Event::new(id(2), second(2), "test", aggregate, &cause, ended());
    call.evolve(&Recorded { position: Position { partition: 0, sequence: 2 }, event });
    assert_eq!(call, before);
}
