//! Which prompt is a tenant's default: one history for the whole tenant, whose last event is the answer for everybody.

use chrono::{DateTime, Utc};
use events::prompt::DefaultPromptChosen;
use events::{Aggregate, Event, EventId, Payload, PromptId, Recorded};
use nats::Expect;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Caller;
use crate::problem::Problem;
use crate::{App, freshness};

/// A choice about one prompt, and the event that it would become.
pub(super) struct Choice {
    pub prompt_id: PromptId,
    pub event_id: EventId,
    pub at: DateTime<Utc>,
}

impl Choice {
    /// Makes the prompt the default (`true`), or no longer (`false`), and answers whether it is. A choice that was made
    /// already, of a request that is repeated, is not made again over a later one.
    pub(super) async fn put(
        &self,
        app: &App,
        caller: &Caller,
        wanted: Option<bool>,
    ) -> Result<bool, Problem> {
        let aggregate = Aggregate::default_prompt(caller.tenant_id);
        let chosen = |prompt_id| {
            let chosen = DefaultPromptChosen { prompt_id };
            Event::new(self.event_id, self.at, SOURCE, aggregate, &caller.cause(), chosen)
        };
        let (position, is_default) = append::update(app, aggregate, |history| {
            let is_default = last(history) == Some(self.prompt_id);
            match wanted {
                // Only who has it can give it up.
                Some(false) if is_default => Ok(Decision::Append(Box::new(chosen(None)), false)),
                Some(true) => Ok(Decision::Nothing(is_default || self.was_made(history))),
                Some(false) | None => Ok(Decision::Nothing(is_default)),
            }
        })
        .await?;
        if wanted != Some(true) || is_default {
            freshness::of_change(app, position).await;
            return Ok(is_default);
        }
        // The last one wins, whoever chose before: that needs no condition.
        let position = app.nats.log.append(&chosen(Some(self.prompt_id)), Expect::Anything).await?;
        freshness::of_change(app, position).await;
        Ok(true)
    }

    fn was_made(&self, history: &[Recorded]) -> bool {
        history.iter().any(|recorded| recorded.event.envelope.id == self.event_id)
    }
}

fn last(history: &[Recorded]) -> Option<PromptId> {
    history.iter().rev().find_map(|recorded| match &recorded.event.payload {
        Payload::DefaultPromptChosen(chosen) => Some(chosen.prompt_id),
        _ => None,
    })?
}
