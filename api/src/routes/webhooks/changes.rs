//! Changing a tenant's webhooks: one history, decided by compare-and-set.

use chrono::{DateTime, Utc};
use domain::Webhooks;
use domain::webhooks::Endpoint;
use events::{Aggregate, Event, EventId, Payload, Position, Recorded, WebhookId};
use projections::Projection;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Caller;
use crate::problem::Problem;
use crate::{App, freshness};

/// Appends what `decide` makes of the present webhooks (`None`: nothing), and answers them as they are right after it. The
/// same request, repeated, finds what it did and answers that again.
pub(super) async fn change(
    app: &App,
    caller: &Caller,
    event_id: EventId,
    at: DateTime<Utc>,
    decide: impl Fn(&Webhooks) -> Result<Option<Payload>, Problem>,
) -> Result<Webhooks, Problem> {
    let aggregate = Aggregate::webhooks(caller.tenant_id);
    let (position, webhooks) = append::update(app, aggregate, |history| {
        if let Some(done) = history.iter().position(|recorded| recorded.event.envelope.id == event_id) {
            return Ok(Decision::Nothing(Webhooks::of(&history[..=done])));
        }
        let mut webhooks = Webhooks::of(history);
        let Some(payload) = decide(&webhooks)? else { return Ok(Decision::Nothing(webhooks)) };
        let event = Event::new(event_id, at, SOURCE, aggregate, &caller.cause(), payload);
        // Where it will stand is not known yet; after all others is enough here.
        let position = Position { partition: 0, sequence: webhooks.last_sequence + 1 };
        webhooks.evolve(&Recorded { position, event: event.clone() });
        Ok(Decision::Append(Box::new(event), webhooks))
    })
    .await?;
    freshness::of_position(app, Projection::Webhooks, position).await;
    Ok(webhooks)
}

/// # Errors
/// `not_found`.
pub(super) fn known(webhooks: &Webhooks, webhook_id: WebhookId) -> Result<&Endpoint, Problem> {
    webhooks.endpoints.get(&webhook_id).ok_or_else(|| Problem::not_found("webhook"))
}

/// # Errors
/// `not_found`.
pub(super) fn found(mut webhooks: Webhooks, webhook_id: WebhookId) -> Result<Endpoint, Problem> {
    webhooks.endpoints.remove(&webhook_id).ok_or_else(|| Problem::not_found("webhook"))
}
