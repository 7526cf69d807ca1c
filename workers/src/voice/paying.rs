//! What a call may cost: its next minute is paid for before it begins. When the money ends, the agent says goodbye.

use domain::budget::{MINUTE_MS, most_of_call};
use events::session::Then;
use nats::Failure;
use projections::reservations::Counted;

use super::claimed::Claimed;
use super::conversation::Conversation;
use super::ending::End;
use crate::budgets::{Empty, Payer};

/// The next minute is asked for so long before it begins: time for a goodbye.
const AHEAD_MS: u64 = 15_000;
/// Why a call is over.
pub(super) const BUDGET_EXCEEDED: &str = "budget_exceeded";
const GOODBYE: &str = "I am sorry, I have to end our call now. Please call again another time. Goodbye.";

/// What was paid for a call by this worker.
#[derive(Clone, Copy, Default)]
pub(super) struct Money {
    paid_minutes: u64,
    /// There is no room for the next minute.
    is_spent: bool,
    /// Why the call will be over when the agent has said its last words; `None`: as they have it.
    pub(super) end_reason: Option<&'static str>,
}

impl Conversation {
    /// Holds back what the next minute may cost, in time; without money for it the call comes to its end.
    pub(super) async fn pay(&mut self) -> Result<(), Failure> {
        let now = self.workers.clock.now();
        let lasted = self.claimed.call.duration_ms(now);
        // The first was paid when the call was let in.
        if self.money.is_spent && lasted >= self.money.paid_minutes.max(1) * MINUTE_MS {
            return self.end(End::completed(BUDGET_EXCEEDED)).await;
        }
        if self.money.is_spent {
            return if self.is_at_rest() { self.say_goodbye().await } else { Ok(()) };
        }
        let minutes = (lasted + AHEAD_MS) / MINUTE_MS + 1;
        if minutes <= self.money.paid_minutes {
            return Ok(());
        }
        // Looked up anew: a budget may have been set since the last minute.
        let Ok(mut purse) = self.workers.budgets.purse(payer(&self.claimed)).await else { return Ok(()) };
        let Ok(prices) = self.workers.prices.book(self.claimed.tenant_id()).await else { return Ok(()) };
        let Some(agent) = &self.claimed.agent else { return Ok(()) };
        let carrier = self.claimed.started.transport.carrier();
        let answered = self.claimed.call.turns;
        let most = most_of_call(prices.at(now), &agent.settings, carrier, minutes, answered);
        if purse.holds(most).await {
            if self.money.paid_minutes == 0 {
                // The call was let in with room for a first answer, which its turn holds from here on.
                purse.holds_no_more_than(most).await;
            }
            self.money.paid_minutes = minutes;
        } else if let Some(Empty::OverBudget(_)) = purse.empty() {
            self.money.is_spent = true;
        }
        // Where nobody knows, the next tick asks again.
        Ok(())
    }

    /// Says the last words; the call is over when they were said.
    pub(super) async fn say_goodbye(&mut self) -> Result<(), Failure> {
        if self.money.end_reason.is_some() {
            return Ok(());
        }
        tracing::info!(tenant_id = %self.claimed.tenant_id(), call_id = %self.claimed.call_id, "a call's budget is spent");
        self.money = Money { is_spent: true, end_reason: Some(BUDGET_EXCEEDED), ..self.money };
        let job_id = self.claimed.derived("goodbye");
        self.say_unasked(job_id, GOODBYE, Some(Then::End)).await
    }

    /// Whether the agent says nothing and is about to say nothing.
    fn is_at_rest(&self) -> bool {
        self.reply.is_none() && self.saying.is_none() && self.interrupted.is_none()
    }
}

fn payer(claimed: &Claimed) -> Payer {
    Payer {
        tenant_id: claimed.tenant_id(),
        agent_id: claimed.agent_id(),
        key_id: claimed.key_id(),
        work_id: claimed.call_id.0,
        counted: Counted::Call,
    }
}
