//! Room for work, before it is accepted: within the tenant's limits and every hard budget that concerns it.

use std::time::Duration;

use domain::budget::{FRAME_TOKENS, UNKNOWN_CONTEXT_TOKENS, most_of_call, most_of_request, most_tokens};
use domain::prices::PricesAt;
use domain::{Month, Zone};
use events::budget::BudgetScope;
use events::session::BudgetShortage;
use events::{ApiKeyId, CallId, JobId, Position, TenantId};
use projections::Projection;
use projections::configuration::AgentRecord;
use projections::configuration::limits::BudgetRecord;
use projections::reservations::{self, Counted, Most, Refusal, Wanted};
use rust_decimal::Decimal;
use tokio::time::Instant;
use uuid::Uuid;

use crate::problem::{Code, Problem};
use crate::{App, freshness};

/// A tenant's budgets and its clock.
#[derive(Debug)]
pub(crate) struct Account {
    pub zone: Zone,
    pub budgets: Vec<BudgetRecord>,
}

/// Room for one piece of work, until it stands in the log.
#[must_use = "the work may only be accepted while its reservation lasts"]
#[derive(Debug)]
pub(crate) struct Reservation {
    tenant_id: TenantId,
    work_id: Uuid,
    /// Let in by the count: there is nothing in the database.
    is_counted: bool,
    accepted_until: Instant,
}

impl Reservation {
    /// To be asked right before the append: what is appended later might find its room taken.
    ///
    /// # Errors
    /// `at_capacity`, when accepting the work took too long.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if Instant::now() < self.accepted_until {
            return Ok(());
        }
        Err(Problem::new(Code::AtCapacity, "accepting this took too long; try again"))
    }

    /// The work stands in the log.
    pub(crate) async fn accepted(&self, app: &App, position: Position) {
        if self.is_counted {
            app.under_way.accepted(self.tenant_id, JobId(self.work_id), position).await;
        }
    }

    /// The work is not accepted after all.
    pub(crate) async fn release(&self, app: &App) {
        let Self { tenant_id, work_id, is_counted, .. } = *self;
        if is_counted {
            return app.under_way.forget(tenant_id, JobId(work_id)).await;
        }
        if let Err(error) = reservations::release(&app.database, tenant_id, work_id).await {
            tracing::warn!(%tenant_id, %work_id, error = &error as &dyn std::error::Error, "a reservation was not released");
        }
    }
}

/// Who asks whom for something.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub tenant_id: TenantId,
    pub key_id: Option<ApiKeyId>,
    pub agent: &'a AgentRecord,
}

impl Asked<'_> {
    /// Reserves a turn. `content` is what the model will be told; of a recording nobody knows it yet.
    ///
    /// # Errors
    /// `budget_exceeded`, `concurrency_limit`, `unavailable`.
    pub(crate) async fn turn(self, app: &App, job_id: JobId, content: &str) -> Result<Reservation, Problem> {
        let (tenant_id, most) = (self.tenant_id, app.limits(self.tenant_id).await?.concurrent_turns);
        let is_limited = self.is_limited(&*app.account(tenant_id).await?);
        let accepted_until = Instant::now() + accepted_within(app.config.reservation_lease);
        if !is_limited && app.under_way.let_in(app, tenant_id, job_id, most).await? {
            return Ok(Reservation { tenant_id, work_id: job_id.0, is_counted: true, accepted_until });
        }
        let most = most.saturating_sub(app.under_way.unseen(tenant_id).await);
        let most = Most { turns: Some(most), ..Most::default() };
        self.reserve(app, job_id.0, Counted::Turn, most, |prices| self.most_of_turn(app, prices, content))
            .await
    }

    /// Whether a hard budget concerns the work. Whoever has none does not pay for the reckoning.
    fn is_limited(self, account: &Account) -> bool {
        account.budgets.iter().any(|budget| {
            budget.hard
                && match budget.scope {
                    BudgetScope::Tenant => true,
                    BudgetScope::Agent => budget.id == self.agent.id.0,
                    BudgetScope::Key => self.key_id.is_some_and(|key_id| budget.id == key_id.0),
                }
        })
    }

    /// Reserves a call: there must be room for its first minute and its first answer.
    ///
    /// # Errors
    /// As of a turn.
    pub(crate) async fn call(
        self,
        app: &App,
        call_id: CallId,
        carrier: Option<&str>,
    ) -> Result<Reservation, Problem> {
        let limits = app.limits(self.tenant_id).await?;
        let most = Most {
            turns: None,
            calls: Some(limits.concurrent_calls),
            agent_calls: self.agent.settings.limits.and_then(|own| own.max_concurrent_calls),
        };
        let most_usd = |prices: PricesAt<'_>| {
            most_of_call(prices, &self.agent.settings, carrier, 1, 0) + self.most_of_turn(app, prices, "")
        };
        self.reserve(app, call_id.0, Counted::Call, most, most_usd).await
    }

    async fn reserve(
        self,
        app: &App,
        work_id: Uuid,
        counted: Counted,
        most: Most,
        most_usd: impl FnOnce(PricesAt<'_>) -> Decimal,
    ) -> Result<Reservation, Problem> {
        let Self { tenant_id, key_id, agent } = self;
        let account = app.account(tenant_id).await?;
        let now = app.clock.now();
        let usd = match self.is_limited(&account) {
            true => most_usd(app.prices.book(tenant_id).await?.at(now)),
            false => Decimal::ZERO,
        };
        let month = Month::at(now, account.zone);
        let (agent_id, lease) = (agent.id, app.config.reservation_lease);
        let wanted = Wanted { tenant_id, work_id, counted, agent_id, key_id, usd, month, most, lease };
        let accepted_until = Instant::now() + accepted_within(lease);
        let mut refusal = reservations::reserve(&app.database, &wanted).await?;
        if refusal.is_some() {
            // What has just ended may not be settled yet: nobody is refused because of that.
            freshness::of_everything(app, Projection::Budgets).await;
            refusal = reservations::reserve(&app.database, &wanted).await?;
        }
        refusal.map_or(Ok(Reservation { tenant_id, work_id, is_counted: false, accepted_until }), |refusal| {
            Err(refused(refusal))
        })
    }

    /// The most that the first request of a turn can cost, as far as is known here; whoever asks the model knows better.
    fn most_of_turn(self, app: &App, prices: PricesAt<'_>, content: &str) -> Decimal {
        let settings = &self.agent.settings;
        let default_model = |provider: &str| {
            let found = app.config.language_models.providers.iter().find(|known| known.name == provider);
            found.and_then(|found| found.default_model.as_deref()).unwrap_or_default()
        };
        let primary = settings.primary_provider.as_str();
        let first = (primary, settings.llm_model.as_deref().unwrap_or_else(|| default_model(primary)));
        let rest = settings.fallbacks.iter().map(|provider| (provider.as_str(), default_model(provider)));
        let models: Vec<(&str, &str)> = std::iter::once(first).chain(rest).collect();
        let answers = models.iter().map(|(provider, model)| app.config.windows.of(provider, model).answer());
        let tokens_in = most_tokens(&settings.system_prompt)
            + most_tokens(content)
            + 2 * FRAME_TOKENS
            + UNKNOWN_CONTEXT_TOKENS;
        most_of_request(prices, models.iter().copied(), tokens_in, answers.min().unwrap_or_default())
    }
}

/// An append may take as long again: it is given up before the lease is over.
fn accepted_within(lease: Duration) -> Duration {
    lease / 2
}

fn refused(refusal: Refusal) -> Problem {
    let too_many =
        |what: &str| Problem::new(Code::ConcurrencyLimit, format_args!("there are as many {what}"));
    match refusal {
        Refusal::TooManyTurns => too_many("messages being answered as the tenant's limits allow"),
        Refusal::TooManyCalls => too_many("calls as the tenant's limits allow"),
        Refusal::TooManyCallsOfAgent => too_many("calls as the agent's limits allow"),
        Refusal::OverBudget { scope, id, required_usd, remaining_usd } => {
            Problem::over_budget(&BudgetShortage { scope, id, required_usd, remaining_usd })
        }
    }
}
