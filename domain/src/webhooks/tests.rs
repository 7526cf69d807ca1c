use events::webhook::*;
use events::{Aggregate, Cause, Event, Origin, Position, TenantId, samples};
use uuid::Uuid;

use super::catalogue::{CONCERNED, announcements};
use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_763_700_000 + seconds, 0).unwrap()
}

fn sealed(name: &str) -> Sealed {
    Sealed { key_id: Uuid::nil(), ciphertext: name.to_owned() }
}

fn id() -> WebhookId {
    WebhookId(Uuid::from_u128(1))
}

fn settings(events: &[&str]) -> WebhookSettings {
    WebhookSettings {
        url: "https://example.com/".to_owned(),
        description: String::new(),
        events: events.iter().map(|name| (*name).to_owned()).collect(),
        is_active: true,
    }
}

fn created(events: &[&str]) -> Payload {
    WebhookCreated { webhook_id: id(), settings: settings(events), secret: sealed("first") }.into()
}

fn rotated(until: i64) -> Payload {
    WebhookSecretRotated { webhook_id: id(), secret: sealed("second"), previous_until: at(until) }.into()
}

/// One event a second.
fn history(payloads: Vec<Payload>) -> Vec<Recorded> {
    let origin = Origin {
        correlation_id: Default::default(),
        actor: "operator".to_owned(),
        traceparent: String::new(),
        key_id: None,
    };
    let (tenant_id, cause) = (TenantId::new(), Cause { origin, causation_id: None });
    let numbered = payloads.into_iter().zip(1..);
    let recorded = numbered.map(|(payload, sequence)| {
        let aggregate = Aggregate::webhooks(tenant_id);
        let event = Event::new(EventId::new(), at(sequence), "test", aggregate, &cause, payload);
        Recorded { position: Position { partition: 0, sequence: sequence as u64 }, event }
    });
    recorded.collect()
}

fn given(payloads: Vec<Payload>) -> Webhooks {
    Webhooks::of(&history(payloads))
}

fn told(webhooks: &Webhooks, event: PublicEvent, seconds: i64) -> usize {
    webhooks.that_want(event, at(seconds)).count()
}

#[test]
fn an_endpoint_is_told_of_what_it_asked_for_once_it_is_there() {
    let webhooks = given(vec![created(&["call.ended", "job.failed"])]);
    assert_eq!(told(&webhooks, PublicEvent::CallEnded, 1), 1);
    assert_eq!(told(&webhooks, PublicEvent::CallEnded, 0), 0);
    assert_eq!(told(&webhooks, PublicEvent::JobCompleted, 1), 0);
    let everything = given(vec![created(&["*"])]);
    assert!(PublicEvent::ALL.iter().all(|event| told(&everything, *event, 1) == 1));
}

#[test]
fn a_disabled_endpoint_is_told_nothing_until_it_is_switched_on_again() {
    let delivery_id = events::DeliveryId::new();
    let disabled = WebhookDisabled { webhook_id: id(), reason: DisabledReason::Gone, delivery_id };
    let mut payloads = vec![created(&["*"]), disabled.into()];
    let webhooks = given(payloads.clone());
    assert_eq!(told(&webhooks, PublicEvent::CallEnded, 9), 0);
    assert_eq!(webhooks.endpoints[&id()].disabled, Some((DisabledReason::Gone, at(2))));
    payloads.push(WebhookChanged { webhook_id: id(), version: 2, settings: settings(&["*"]) }.into());
    let webhooks = given(payloads.clone());
    assert_eq!(told(&webhooks, PublicEvent::CallEnded, 9), 1);
    assert_eq!((webhooks.endpoints[&id()].disabled, webhooks.endpoints[&id()].version), (None, 2));
    payloads.push(WebhookDeleted { webhook_id: id() }.into());
    assert!(given(payloads).endpoints.is_empty());
}

#[test]
fn both_secrets_sign_during_the_grace_period_and_the_newest_comes_first() {
    let webhooks = given(vec![created(&["*"]), rotated(10)]);
    let names = |seconds: i64| -> Vec<&str> {
        let secrets = webhooks.endpoints[&id()].secrets.at(at(seconds));
        secrets.map(|secret| secret.value.ciphertext.as_str()).collect()
    };
    assert_eq!((names(9), names(10)), (vec!["second", "first"], vec!["second"]));
}

#[test]
fn an_event_that_was_taken_in_is_passed_over() {
    let history = history(vec![created(&["*"]), rotated(10)]);
    let mut webhooks = Webhooks::of(&history);
    let before = webhooks.clone();
    history.iter().for_each(|recorded| webhooks.evolve(recorded));
    assert_eq!(webhooks, before);
}

#[test]
fn every_kind_has_an_example_of_its_own_that_fits_its_schema() {
    for event in PublicEvent::ALL {
        let example = event.example();
        assert_eq!(example["type"], event.name());
        let validator = jsonschema::validator_for(&event.body_schema()).unwrap();
        assert!(validator.is_valid(&example), "{example} does not fit {}", event.body_schema());
        assert_eq!(PublicEvent::from_name(event.name()), Some(*event));
    }
}

#[test]
fn the_list_of_concerned_types_is_complete_and_nothing_told_holds_anybodys_words() {
    for event in samples::events() {
        let told = announcements(&event);
        let event_type = event.payload.event_type();
        assert_eq!(!told.is_empty(), CONCERNED.contains(&event_type), "{event_type}");
        for told in told {
            let body = told.event.body(event.envelope.time, &told.data);
            assert!(!body.contains("ciphertext") && body.len() < 2_000, "{body}");
        }
    }
}

#[test]
fn a_last_reply_ends_the_session_and_one_to_be_spoken_is_no_end_of_its_job() {
    let reply =
        samples::events().into_iter().find(|event| matches!(event.payload, Payload::ReplyCompleted(_)));
    let told = |change: fn(&mut events::session::ReplyCompleted)| -> Vec<PublicEvent> {
        let mut event = reply.clone().unwrap();
        if let Payload::ReplyCompleted(reply) = &mut event.payload {
            change(reply);
        }
        announcements(&event).into_iter().map(|told| told.event).collect()
    };
    assert_eq!(told(|_| {}), [PublicEvent::JobCompleted]);
    assert_eq!(
        told(|reply| reply.then = Some(events::session::Then::End)),
        [PublicEvent::JobCompleted, PublicEvent::SessionEnded]
    );
    assert_eq!(told(|reply| reply.aloud = true), []);
}
