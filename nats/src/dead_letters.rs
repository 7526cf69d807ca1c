//! Deliveries that no worker could take: copied to their own stream with the reason, told in an event, and only then
//! acknowledged.

use async_nats::HeaderMap;
use bytes::Bytes;
use events::system::DeliveryParked;
use events::{Aggregate, Cause, Clock, CorrelationId, Event, EventId, Origin};

use crate::{AppendError, Expect, Log, subjects};

/// A delivery that is given up.
pub(crate) struct DeadLetter<'a> {
    pub consumer: &'static str,
    pub partition: u16,
    pub sequence: u64,
    pub subject: &'a str,
    pub headers: &'a HeaderMap,
    pub payload: &'a Bytes,
    pub reason: &'a str,
    pub deliveries: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ParkError {
    #[error("cannot tell the log of a parked delivery")]
    Append(#[from] AppendError),
    #[error("cannot copy a delivery to the dead letters")]
    Copy(#[source] async_nats::Error),
}

pub(crate) async fn park(log: &Log, clock: &Clock, letter: DeadLetter<'_>) -> Result<(), ParkError> {
    let DeadLetter { consumer, partition, sequence, subject, headers, payload, reason, deliveries } = letter;
    let mut copied = headers.clone();
    copied.insert("Vocalbridge-Subject", subject);
    copied.insert("Vocalbridge-Position", format!("{partition}:{sequence}"));
    copied.insert("Vocalbridge-Reason", single_line(reason));
    copied.insert(async_nats::header::NATS_MESSAGE_ID, format!("{consumer}:{partition}:{sequence}"));
    log.context()
        .publish_with_headers(
            subjects::dead_letter(consumer, subjects::tenant_of(subject)),
            copied,
            payload.clone(),
        )
        .await
        .map_err(|error| ParkError::Copy(error.into()))?
        .await
        .map_err(|error| ParkError::Copy(error.into()))?;
    let origin = Origin {
        correlation_id: headers
            .get("ce-correlationid")
            .and_then(|value| CorrelationId::parse(value.as_str()))
            .unwrap_or_default(),
        actor: "system".to_owned(),
        traceparent: headers.get("ce-traceparent").map(|value| value.to_string()).unwrap_or_default(),
        key_id: None,
    };
    let cause =
        Cause { origin, causation_id: headers.get("ce-id").and_then(|value| value.as_str().parse().ok()) };
    let reason = reason.to_owned();
    let payload = DeliveryParked { consumer: consumer.to_owned(), partition, sequence, reason, deliveries };
    // The same delivery parked twice is one event.
    let id = uuid::Uuid::new_v5(
        &uuid::Uuid::nil(),
        format!("parked:{consumer}:{partition}:{sequence}").as_bytes(),
    );
    let event =
        Event::new(EventId(id), clock.now(), "vocalbridge/worker", Aggregate::system(), &cause, payload);
    log.append(&event, Expect::Anything).await?;
    Ok(())
}

fn single_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
