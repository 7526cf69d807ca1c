//! `/api/budgets`: what a tenant may spend in a month, altogether, with one agent, or by one key.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::{Month, Zone};
use events::budget::{BudgetRemoved, BudgetScope, BudgetSet};
use events::{AgentId, Aggregate, ApiKeyId, Event, EventId, Payload, Recorded, TenantId};
use projections::configuration;
use projections::reservations::{self, Standing};
use projections::{Page, Projection};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{Admin, Viewer};
use crate::extract::{JsonBody, PathId, QueryOf};
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::{Code, Problem};
use crate::routes::answers::Deleted;
use crate::validation::Mistakes;
use crate::{App, freshness};

const PATH: &str = "/api/budgets";
/// Budgets of one tenant.
const MOST: usize = 1_000;
const MOST_USD: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
const MAX_ALERTS: usize = 20;
/// 1000 %.
const HIGHEST_ALERT: Decimal = Decimal::TEN;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_budgets, set_budget)).routes(routes!(remove_budget))
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Tenant,
    Agent,
    Key,
}

impl From<Scope> for BudgetScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Tenant => Self::Tenant,
            Scope::Agent => Self::Agent,
            Scope::Key => Self::Key,
        }
    }
}

impl From<BudgetScope> for Scope {
    fn from(scope: BudgetScope) -> Self {
        match scope {
            BudgetScope::Tenant => Self::Tenant,
            BudgetScope::Agent => Self::Agent,
            BudgetScope::Key => Self::Key,
        }
    }
}

/// A number, written as one or as a string; exact either way.
#[derive(Clone, Copy, Debug)]
struct Number(Decimal);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = match &value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return Err(serde::de::Error::custom("must be a decimal number")),
        };
        let number = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
        number.map(Self).map_err(|_| serde::de::Error::custom("must be a decimal number"))
    }
}

/// A budget, in the place of the one that was there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "scope": "tenant", "monthly_limit_usd": "250", "alert_at": [0.5, 0.8, 1.0], "hard": true }))]
struct NewBudget {
    scope: Scope,
    /// Of the agent or the key; may be left out for the tenant.
    #[serde(default)]
    id: Option<Uuid>,
    /// USD in a calendar month of the tenant's `time_zone`.
    #[schema(value_type = String, example = "250")]
    monthly_limit_usd: Number,
    /// Parts of the limit whose reaching is told by the event `budget.alerted`, each once a month.
    #[serde(default = "usual_alerts")]
    #[schema(value_type = Vec<f64>, example = json!([0.5, 0.8, 1.0]))]
    alert_at: Vec<Number>,
    /// Whether what might go beyond the limit is refused with 402; `true` when left out.
    #[serde(default = "usually_hard")]
    hard: bool,
}

fn usual_alerts() -> Vec<Number> {
    [Decimal::new(5, 1), Decimal::new(8, 1), Decimal::ONE].map(Number).to_vec()
}

fn usually_hard() -> bool {
    true
}

/// A budget and how it stands.
#[derive(Debug, Serialize, ToSchema)]
struct Budget {
    scope: Scope,
    /// Of the tenant, the agent or the key.
    id: Uuid,
    monthly_limit_usd: Usd,
    /// Of the month so far.
    spent_usd: Usd,
    /// What the work under way may cost at most.
    reserved_usd: Usd,
    /// What is left of the limit; below zero when it was set lower than what was spent.
    remaining_usd: Usd,
    #[schema(example = json!([0.5, 0.8, 1.0]))]
    alert_at: Vec<f64>,
    hard: bool,
    period_start: DateTime<Utc>,
    /// Not part of the period.
    period_end: DateTime<Utc>,
}

impl Budget {
    fn new(standing: Standing, month: Month) -> Self {
        let Standing { budget, spent_usd, reserved_usd } = standing;
        Self {
            scope: budget.scope.into(),
            id: budget.id,
            monthly_limit_usd: Usd(budget.monthly_limit_usd),
            spent_usd: Usd(spent_usd),
            reserved_usd: Usd(reserved_usd),
            remaining_usd: Usd(budget.monthly_limit_usd - spent_usd - reserved_usd),
            alert_at: budget.alert_at.iter().filter_map(Decimal::to_f64).collect(),
            hard: budget.hard,
            period_start: month.starts_at,
            period_end: month.ends_at,
        }
    }
}

/// The month that it is for the tenant.
async fn month(app: &App, tenant_id: TenantId) -> Result<Month, Problem> {
    let tenant = configuration::tenant(&app.database, tenant_id).await?;
    let zone = tenant.and_then(|tenant| Zone::named(&tenant.time_zone)).unwrap_or(Zone::UTC);
    Ok(Month::at(app.clock.now(), zone))
}

/// List budgets
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/budgets", tag = "Budgets", operation_id = "list_budgets", params(PageQuery),
    responses(
        (status = 200, description = "The budgets and how they stand", body = Vec<Budget>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_budgets(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let (page, tenant_id) = (query.page()?, caller.tenant_id);
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::budgets(tenant_id)).await;
    freshness::of_everything(&app, Projection::Budgets).await;
    let month = month(&app, tenant_id).await?;
    let standings = reservations::standings(&app.database, tenant_id, month, page).await?;
    let next = next_after(page, standings.iter().map(|standing| standing.budget.id));
    let budgets = standings.into_iter().map(|standing| Budget::new(standing, month)).collect();
    Ok(list(PATH, &[], page, next, budgets))
}

/// Set a budget
///
/// Of the tenant, of one of its agents, or of one of its keys. A hard one refuses with 402 `budget_exceeded` whatever
/// could go beyond it: the most that a message or a call can cost is held back before it is accepted, and given back
/// when its costs are known. Role: admin.
#[utoipa::path(
    put, path = "/api/budgets", tag = "Budgets", operation_id = "set_budget", request_body = NewBudget,
    responses((status = 200, description = "The budget", body = Budget), problems::Writing, problems::OfALimit)
)]
async fn set_budget(
    State(app): State<App>,
    Admin(caller): Admin,
    JsonBody(new): JsonBody<NewBudget>,
) -> Result<Json<Budget>, Problem> {
    let tenant_id = caller.tenant_id;
    let set = new.checked(tenant_id)?;
    check_owner(&app, tenant_id, &set).await?;
    let (aggregate, event_id, id) = (Aggregate::budgets(tenant_id), EventId::new(), set.id);
    let (position, ()) = append::update(&app, aggregate, |history| {
        let budgets = in_force(history);
        if budgets.contains(&&set) {
            return Ok(Decision::Nothing(()));
        }
        if budgets.len() >= MOST && !budgets.iter().any(|budget| budget.id == set.id) {
            return Err(Problem::new(
                Code::LimitReached,
                format_args!("a tenant has at most {MOST} budgets"),
            ));
        }
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), set.clone());
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    freshness::of_everything(&app, Projection::Budgets).await;
    let month = month(&app, tenant_id).await?;
    // The list goes down from the newest id: the first after the one above this one is this one.
    let page = Page { limit: 1, after: Some(Uuid::from_u128(id.as_u128().saturating_add(1))) };
    let mut standings = reservations::standings(&app.database, tenant_id, month, page).await?;
    let standing = standings.pop().filter(|standing| standing.budget.id == id);
    standing.map(|standing| Json(Budget::new(standing, month))).ok_or_else(|| Problem::not_found("budget"))
}

/// Remove a budget
///
/// `id` is that of the tenant, the agent or the key. Role: admin.
#[utoipa::path(
    delete, path = "/api/budgets/{id}", tag = "Budgets", operation_id = "remove_budget",
    params(("id" = Uuid, Path, description = "Of the tenant, the agent or the key")),
    responses((status = 200, description = "It is removed", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn remove_budget(
    State(app): State<App>,
    Admin(caller): Admin,
    PathId(id): PathId<Uuid>,
) -> Result<Json<Deleted>, Problem> {
    let (aggregate, event_id) = (Aggregate::budgets(caller.tenant_id), EventId::new());
    let (position, ()) = append::update(&app, aggregate, |history| {
        let budgets = in_force(history);
        let budget = budgets.iter().find(|budget| budget.id == id);
        let scope = budget.ok_or_else(|| Problem::not_found("budget"))?.scope;
        let removed = BudgetRemoved { scope, id };
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), removed);
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}

impl NewBudget {
    fn checked(self, tenant_id: TenantId) -> Result<BudgetSet, Problem> {
        let mut mistakes = Mistakes::default();
        let limit = self.monthly_limit_usd.0.normalize();
        if limit.is_sign_negative() && !limit.is_zero() || limit > MOST_USD || limit.scale() > 12 {
            mistakes
                .add("monthly_limit_usd", format_args!("must be 0 to {MOST_USD}, with at most 12 decimals"));
        }
        if self.alert_at.len() > MAX_ALERTS {
            mistakes.add("alert_at", format_args!("must have at most {MAX_ALERTS} entries"));
        }
        let mut alert_at: Vec<Decimal> = self.alert_at.iter().map(|part| part.0.normalize()).collect();
        for (index, part) in alert_at.iter().enumerate() {
            if *part <= Decimal::ZERO || *part > HIGHEST_ALERT || part.scale() > 6 {
                let field = format!("alert_at[{index}]");
                mistakes.add(
                    &field,
                    format_args!("must be above 0 and at most {HIGHEST_ALERT}, with at most 6 decimals"),
                );
            }
        }
        if self.scope != Scope::Tenant && self.id.is_none() {
            mistakes.add("id", "is required");
        }
        mistakes.into_result()?;
        alert_at.sort();
        alert_at.dedup();
        let id = self.id.unwrap_or(tenant_id.0);
        Ok(BudgetSet { scope: self.scope.into(), id, monthly_limit_usd: limit, alert_at, hard: self.hard })
    }
}

/// Whose spending it is about must be the tenant's own.
async fn check_owner(app: &App, tenant_id: TenantId, set: &BudgetSet) -> Result<(), Problem> {
    let (is_own, what) = match set.scope {
        BudgetScope::Tenant => (set.id == tenant_id.0, "tenant"),
        BudgetScope::Agent => (app.agent(tenant_id, AgentId(set.id)).await?.is_some(), "agent"),
        BudgetScope::Key => {
            let history = app.nats.log.read(&Aggregate::key(tenant_id, ApiKeyId(set.id)), 0).await?;
            let revoked =
                history.iter().any(|recorded| matches!(recorded.event.payload, Payload::KeyRevoked(_)));
            (!history.is_empty() && !revoked, "key")
        }
    };
    if is_own { Ok(()) } else { Err(Problem::not_found(what)) }
}

/// The budgets that a history comes to.
fn in_force(history: &[Recorded]) -> Vec<&BudgetSet> {
    history.iter().fold(Vec::new(), |mut budgets: Vec<&BudgetSet>, recorded| {
        match &recorded.event.payload {
            Payload::BudgetSet(set) => {
                budgets.retain(|budget| budget.id != set.id);
                budgets.push(set);
            }
            Payload::BudgetRemoved(removed) => budgets.retain(|budget| budget.id != removed.id),
            _ => {}
        }
        budgets
    })
}
