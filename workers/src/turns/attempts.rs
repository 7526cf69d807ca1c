//! Every vendor request of a turn: recorded as a fact at once, and kept for the message's bill.

use domain::budget::{FRAME_TOKENS, most_of_request, most_tokens};
use domain::{PriceBook, Tokens};
use events::session::{AttemptOutcome, BilledAttempt, VendorAttempted};
use events::{AgentId, Aggregate, Event, EventId, Payload};
use nats::{Expect, Failure, PendingAppend};
use vendors::llm::{AttemptObserver, AttemptReport, ChatMessage, ChatRequest, PlannedAttempt};

use super::SOURCE;
use crate::budgets::{Empty, Payer, Purse};
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
    pub payer: Payer,
}

/// The attempts of one turn, those of workers before this one included.
pub(crate) struct Attempts<'a> {
    workers: &'a Workers,
    work: Work,
    prices: PriceBook,
    pub billed: Vec<BilledAttempt>,
    purse: Purse,
    /// Requests that dead workers may have had under way, in no fact.
    unrecorded: u32,
    pending: Vec<PendingAppend>,
}

impl<'a> Attempts<'a> {
    /// None yet; or, when the work was taken over, those that a dead worker recorded.
    pub(crate) async fn resume(workers: &'a Workers, work: Work) -> Result<Self, Failure> {
        let prices = workers.prices.book(work.facts.tenant_id).await.map_err(away)?;
        let purse = workers.budgets.purse(work.payer).await?;
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
        Ok(Self { workers, work, prices, billed, purse, unrecorded, pending: Vec::new() })
    }

    /// Whether a budget may refuse requests of this work.
    pub(crate) fn is_limited(&self) -> bool {
        self.purse.is_limited()
    }

    /// Why a request was not admitted.
    pub(crate) fn not_admitted(&mut self) -> Option<Empty> {
        self.purse.empty()
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
    async fn admits(&mut self, planned: &PlannedAttempt<'_>) -> bool {
        if !self.purse.is_limited() {
            return true;
        }
        let PlannedAttempt { provider, model, number, request } = *planned;
        let tokens_out = request
            .max_output_tokens
            .map_or(self.workers.config.windows.of(provider, model).answer(), u64::from);
        let model = std::iter::once((provider, model));
        let most = most_of_request(
            self.prices.at(self.workers.clock.now()),
            model,
            most_tokens_of(request),
            tokens_out,
        );
        self.purse.admits(&self.billed, number, most).await
    }

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
        self.purse.billed(attempt.number);
        let event = Event::new(id, now, SOURCE, self.work.facts, &self.work.cause, attempt);
        self.pending.push(self.workers.nats.log.send(&event, Expect::Anything).await);
    }
}

/// The most tokens that a request can be.
fn most_tokens_of(request: &ChatRequest) -> u64 {
    let messages = request.messages.iter().map(|message| match message {
        ChatMessage::User { content } | ChatMessage::ToolResult { content, .. } => most_tokens(content),
        ChatMessage::Assistant { content, tool_calls } => {
            let calls = tool_calls.iter().map(|call| most_tokens(&call.arguments.to_string()) + FRAME_TOKENS);
            most_tokens(content) + calls.sum::<u64>()
        }
    });
    let tools = request.tools.iter().map(|tool| {
        most_tokens(&tool.name) + most_tokens(&tool.description) + most_tokens(&tool.parameters.to_string())
    });
    let parts = messages.chain(tools).map(|tokens| tokens + FRAME_TOKENS);
    most_tokens(&request.system) + FRAME_TOKENS + parts.sum::<u64>()
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
