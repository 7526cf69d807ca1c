//! Every vendor request of a turn: recorded as a fact at once, and kept for the message's bill.

use domain::{PriceBook, Tokens};
use events::session::{AttemptOutcome, BilledAttempt, VendorAttempted};
use events::{AgentId, Aggregate, Event, EventId, Payload};
use nats::{Expect, Failure, PendingAppend};
use vendors::llm::{AttemptObserver, AttemptReport};

use super::SOURCE;
use crate::{Workers, away};

/// Most requests that a turn has under way: one, and a second beside it where the agent hedges.
const REQUESTS_AT_ONCE: u32 = 2;

/// What vendors are asked for, and where that is recorded.
pub(crate) struct Work {
    /// Beside the session.
    pub facts: Aggregate,
    pub turn_id: events::TurnId,
    pub job_id: events::JobId,
    pub agent_id: AgentId,
    pub cause: events::Cause,
    /// Workers that had it before this one.
    pub earlier: u32,
    /// Their facts stand after this sequence.
    pub after: u64,
}

/// The attempts of one turn, those of workers before this one included.
pub(crate) struct Attempts<'a> {
    workers: &'a Workers,
    work: Work,
    prices: PriceBook,
    pub billed: Vec<BilledAttempt>,
    /// Requests that dead workers may have had under way, in no fact.
    unrecorded: u32,
    pending: Vec<PendingAppend>,
}

impl<'a> Attempts<'a> {
    /// None yet; or, when the work was taken over, those that a dead worker recorded.
    pub(crate) async fn resume(workers: &'a Workers, work: Work) -> Result<Self, Failure> {
        let prices = workers.prices.book(work.facts.tenant_id).await.map_err(away)?;
        let mut billed = Vec::new();
        if work.earlier > 0 {
            let recorded = workers.nats.log.read(&work.facts, work.after).await.map_err(away)?;
            billed.extend(recorded.into_iter().filter_map(|fact| match fact.event.payload {
                Payload::VendorAttempted(attempt) if attempt.turn_id == work.turn_id => {
                    Some(line(fact.event.envelope.id, &attempt))
                }
                _ => None,
            }));
        }
        let unrecorded = REQUESTS_AT_ONCE * work.earlier;
        Ok(Self { workers, work, prices, billed, unrecorded, pending: Vec::new() })
    }

    pub(super) fn count(&self) -> u32 {
        self.billed.len() as u32
    }

    /// The number of the next request: above that of any whose words a listener may have heard.
    pub(crate) fn next_number(&self) -> u32 {
        self.count() + self.unrecorded + 1
    }

    /// Waits until every fact stands in the log.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        for pending in self.pending.drain(..) {
            pending.acknowledged().await.map_err(away)?;
        }
        Ok(())
    }

    /// Another worker has taken the turn: our facts are still true, our result is not wanted.
    pub(super) async fn shut_out(mut self) -> Failure {
        match self.settle().await {
            Ok(()) => Failure::Stale,
            Err(failure) => failure,
        }
    }
}

impl AttemptObserver for Attempts<'_> {
    /// Sends the fact without waiting for its acknowledgement: [`Attempts::settle`] does, before the turn ends.
    async fn attempted(&mut self, report: AttemptReport) {
        let usage = report.usage;
        let now = self.workers.clock.now();
        let tokens = Tokens { input: usage.tokens_in, cached: usage.tokens_cached, output: usage.tokens_out };
        let prices = self.prices.at(now);
        let metered = prices.meter(&report.provider, &report.model, tokens, usage.estimated);
        let attempt = VendorAttempted {
            turn_id: self.work.turn_id,
            job_id: self.work.job_id,
            agent_id: self.work.agent_id,
            provider: report.provider,
            model: report.model,
            endpoint: report.endpoint,
            number: report.number,
            outcome: outcome(report.outcome),
            error_code: report.error_code.map(|code| code.as_str().to_string()),
            error: report.error,
            status: report.status,
            started_at: report.started_at,
            latency_ms: millis(report.latency),
            first_token_ms: report.first_token.map(millis),
            metered,
        };
        let id = EventId(report.attempt_id);
        self.billed.push(line(id, &attempt));
        let event = Event::new(id, now, SOURCE, self.work.facts, &self.work.cause, attempt);
        self.pending.push(self.workers.nats.log.send(&event, Expect::Anything).await);
    }
}

fn line(attempt_id: EventId, attempt: &VendorAttempted) -> BilledAttempt {
    BilledAttempt {
        attempt_id,
        provider: attempt.provider.clone(),
        model: attempt.model.clone(),
        outcome: attempt.outcome,
        metered: attempt.metered.clone(),
    }
}

fn outcome(outcome: vendors::llm::AttemptOutcome) -> AttemptOutcome {
    match outcome {
        vendors::llm::AttemptOutcome::Succeeded => AttemptOutcome::Succeeded,
        vendors::llm::AttemptOutcome::Failed => AttemptOutcome::Failed,
        vendors::llm::AttemptOutcome::TimedOut => AttemptOutcome::TimedOut,
        vendors::llm::AttemptOutcome::Cancelled => AttemptOutcome::Cancelled,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
