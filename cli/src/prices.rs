//! The settings' prices on their way into the log: a change of the file, or of a variable, is an event.

use anyhow::Result;
use domain::PriceList;
use events::prices::{Price, PricesChanged, PricesOrigin};
use events::{Aggregate, Cause, Clock, CorrelationId, Event, EventId, Origin, Payload, TenantId};
use nats::{AppendError, Expect, Log};

/// Makes the settings' prices everybody's from now on, unless they are the ones that the settings said last: what was
/// changed through the api since then stays. Several processes that start at once change it once. Answers the newest list.
pub async fn publish(log: &Log, clock: &Clock, prices: Vec<Price>) -> Result<PriceList> {
    let aggregate = Aggregate::price_book(TenantId::SYSTEM);
    loop {
        let history = log.read(&aggregate, 0).await?;
        let last_sequence = history.last().map_or(0, |recorded| recorded.position.sequence);
        let mut versions = history.iter().rev().filter_map(|recorded| match &recorded.event.payload {
            Payload::PricesChanged(changed) => Some(changed),
            _ => None,
        });
        let newest = versions.next();
        let told = newest.into_iter().chain(versions).find(|changed| changed.origin == PricesOrigin::File);
        if let (Some(newest), Some(told)) = (newest, told)
            && told.prices == prices
        {
            return Ok(list_of(newest.clone()));
        }
        let effective_from = clock.now();
        let version = newest.map_or(1, |newest| newest.version + 1);
        let origin = PricesOrigin::File;
        let changed = PricesChanged { version, effective_from, prices: prices.clone(), origin };
        let id = EventId::new();
        let event = Event::new(id, effective_from, SOURCE, aggregate, &cause(id), changed.clone());
        match log.append(&event, Expect::Last(last_sequence)).await {
            Ok(_) => {
                tracing::info!(version, "the settings' prices are in force");
                return Ok(list_of(changed));
            }
            // Another process was faster, with the same prices or others.
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

const SOURCE: &str = "vocalbridge/start";

fn list_of(changed: PricesChanged) -> PriceList {
    let PricesChanged { version, effective_from, prices, .. } = changed;
    PriceList { version, effective_from, prices }
}

/// Nobody's request: a trace of its own, named after the event.
fn cause(id: EventId) -> Cause {
    let trace = id.0.simple().to_string();
    let origin = Origin {
        correlation_id: CorrelationId::new(),
        actor: "system".to_owned(),
        traceparent: format!("00-{trace}-{}-01", &trace[16..]),
        key_id: None,
    };
    Cause { origin, causation_id: None }
}
