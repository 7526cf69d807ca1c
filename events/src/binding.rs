//! CloudEvents 1.0 on the wire: the NATS protocol binding in binary mode for the log (attributes as `ce-*` headers, the
//! payload as the body), and structured JSON for people. The SDK's own NATS feature pins an old client, hence the
//! small binding here. <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md>

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use cloudevents::{EventBuilder, EventBuilderV10};
use uuid::Uuid;

use crate::{
    Aggregate, CorrelationId, Envelope, Event, EventId, Family, Origin, Payload, PayloadError, TenantId,
};

const SPEC_VERSION: &str = "1.0";
const CONTENT_TYPE: &str = "application/json";
/// `dataschema` is this and `<type>:<version>`.
const SCHEMA_PREFIX: &str = "urn:vocalbridge:schema:";

/// A message of the log is not an event of ours.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    #[error("header {0} is missing")]
    Missing(&'static str),
    #[error("header {name} cannot be read: {value:?}")]
    Unreadable { name: &'static str, value: String },
    #[error("the payload cannot be read")]
    Payload(#[from] PayloadError),
}

/// The name of a payload's schema, as in `dataschema`.
pub fn schema_name(event_type: &str, version: u16) -> String {
    format!("{SCHEMA_PREFIX}{event_type}:{version}")
}

/// The headers of an event, in the order they are written.
pub fn headers_of(event: &Event) -> Vec<(&'static str, String)> {
    let Envelope { id, source, time, aggregate, origin, causation_id } = &event.envelope;
    let mut headers = Vec::with_capacity(15);
    headers.push(("ce-specversion", SPEC_VERSION.to_owned()));
    headers.push(("ce-id", id.to_string()));
    headers.push(("ce-type", event.payload.event_type().to_owned()));
    headers.push(("ce-source", source.clone()));
    headers.push(("ce-time", time.to_rfc3339_opts(SecondsFormat::Micros, true)));
    headers.push(("ce-subject", aggregate.to_string()));
    headers.push(("ce-dataschema", schema_name(event.payload.event_type(), event.payload.version())));
    headers.push(("ce-tenantid", aggregate.tenant_id.token()));
    headers.push(("ce-correlationid", origin.correlation_id.to_string()));
    if let Some(cause) = causation_id {
        headers.push(("ce-causationid", cause.to_string()));
    }
    headers.push(("ce-actor", origin.actor.clone()));
    headers.push(("ce-traceparent", origin.traceparent.clone()));
    if let Some(key_id) = origin.key_id {
        headers.push(("ce-keyid", key_id.to_string()));
    }
    headers.push(("content-type", CONTENT_TYPE.to_owned()));
    headers
}

/// Reads an event back from its headers (by name) and its payload.
///
/// # Errors
/// When an attribute is missing or unreadable, or the payload is not what its type promises.
pub fn decode<'a>(
    header: impl Fn(&'static str) -> Option<&'a str>,
    payload: &[u8],
) -> Result<Event, BindingError> {
    let required = |name| header(name).ok_or(BindingError::Missing(name));
    fn parsed<T: FromStr>(name: &'static str, value: &str) -> Result<T, BindingError> {
        value.parse().map_err(|_| unreadable(name, value))
    }
    let event_type = required("ce-type")?;
    let schema = required("ce-dataschema")?;
    let version = schema.rsplit(':').next().unwrap_or(schema);
    let payload = Payload::decode(event_type, parsed("ce-dataschema", version)?, payload)?;

    let tenant = required("ce-tenantid")?;
    let tenant_id = TenantId::from_token(tenant).map_err(|_| unreadable("ce-tenantid", tenant))?;
    let subject = required("ce-subject")?;
    let (family, id) = subject.split_once('/').ok_or_else(|| unreadable("ce-subject", subject))?;
    let family: Family = parsed("ce-subject", family)?;
    let aggregate = Aggregate { tenant_id, family, id: parsed::<Uuid>("ce-subject", id)? };

    let correlation = required("ce-correlationid")?;
    let origin = Origin {
        correlation_id: CorrelationId::parse(correlation)
            .ok_or_else(|| unreadable("ce-correlationid", correlation))?,
        actor: required("ce-actor")?.to_owned(),
        traceparent: required("ce-traceparent")?.to_owned(),
        key_id: header("ce-keyid").map(|key| parsed("ce-keyid", key)).transpose()?,
    };
    let envelope = Envelope {
        id: parsed::<EventId>("ce-id", required("ce-id")?)?,
        source: required("ce-source")?.to_owned(),
        time: parsed::<DateTime<Utc>>("ce-time", required("ce-time")?)?,
        aggregate,
        origin,
        causation_id: header("ce-causationid").map(|cause| parsed("ce-causationid", cause)).transpose()?,
    };
    Ok(Event { envelope, payload })
}

fn unreadable(name: &'static str, value: &str) -> BindingError {
    BindingError::Unreadable { name, value: value.to_owned() }
}

/// The event as CloudEvents structured JSON around `data` (the payload, as stored or with its sealed values opened).
///
/// # Errors
/// When the SDK refuses an attribute; ours are all valid, so this points at a defect.
pub fn structured(
    event: &Event,
    data: serde_json::Value,
) -> Result<cloudevents::Event, cloudevents::event::EventBuilderError> {
    let Envelope { id, source, time, aggregate, origin, causation_id } = &event.envelope;
    let mut builder = EventBuilderV10::new()
        .id(id.to_string())
        .ty(event.payload.event_type())
        .source(source.as_str())
        .time(*time)
        .subject(aggregate.to_string())
        .data_with_schema(
            CONTENT_TYPE,
            schema_name(event.payload.event_type(), event.payload.version()),
            data,
        )
        .extension("tenantid", aggregate.tenant_id.token())
        .extension("correlationid", origin.correlation_id.to_string())
        .extension("actor", origin.actor.clone())
        .extension("traceparent", origin.traceparent.clone());
    if let Some(cause) = causation_id {
        builder = builder.extension("causationid", cause.to_string());
    }
    if let Some(key_id) = origin.key_id {
        builder = builder.extension("keyid", key_id.to_string());
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn lookup<'a>(headers: &'a [(&'static str, String)]) -> impl Fn(&'static str) -> Option<&'a str> {
        move |name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_sample_survives_the_wire() {
        for event in samples::events() {
            let headers = headers_of(&event);
            let back = decode(lookup(&headers), &event.payload.encode()).unwrap();
            assert_eq!(back, event);
        }
    }

    #[test]
    fn every_sample_is_a_valid_cloudevent_in_json() {
        for event in samples::events() {
            let data = serde_json::from_slice(&event.payload.encode()).unwrap();
            let json = serde_json::to_string(&structured(&event, data).unwrap()).unwrap();
            let back: cloudevents::Event = serde_json::from_str(&json).unwrap();
            assert_eq!(cloudevents::AttributesReader::id(&back), event.envelope.id.to_string());
        }
    }

    #[test]
    fn a_missing_or_broken_attribute_is_named() {
        let event = samples::events().remove(0);
        for (name, _) in headers_of(&event) {
            if ["ce-specversion", "content-type", "ce-causationid", "ce-keyid"].contains(&name) {
                continue;
            }
            let without: Vec<_> = headers_of(&event).into_iter().filter(|(key, _)| *key != name).collect();
            let error = decode(lookup(&without), &event.payload.encode()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused_and_not_guessed_at() {
        let event = samples::events().remove(0);
        let mut headers = headers_of(&event);
        headers.iter_mut().find(|(name, _)| *name == "ce-dataschema").unwrap().1 =
            schema_name(event.payload.event_type(), 99);
        assert!(matches!(
            decode(lookup(&headers), &event.payload.encode()),
            Err(BindingError::Payload(PayloadError::Unknown { version: 99, .. }))
        ));
    }
}
