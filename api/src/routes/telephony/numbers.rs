//! `/api/phone-numbers`: which agent answers which number.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::telephony::{NumberAssigned, NumberReleased};
use events::{AgentId, Aggregate, Event, EventId};
use projections::Projection;
use projections::configuration::telephony::{self, NumberRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::history::{Assigned, Telephony};
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{Developer, Viewer};
use crate::extract::{JsonBody, QueryOf};
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::{Code, Problem};
use crate::routes::answers::Deleted;
use crate::{App, freshness, twilio};

const PATH: &str = "/api/phone-numbers";
const MOST: usize = 1_000;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_numbers)).routes(routes!(assign_number, release_number))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    agent_id: Uuid,
}

/// A number and who answers it.
#[derive(Debug, Serialize, ToSchema)]
struct PhoneNumber {
    /// E.164.
    #[schema(example = "+14155550100")]
    number: String,
    #[schema(value_type = Uuid)]
    agent_id: AgentId,
    /// Since when it is the tenant's.
    assigned_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<NumberRecord> for PhoneNumber {
    fn from(record: NumberRecord) -> Self {
        let NumberRecord { number, agent_id, assigned_at, updated_at, .. } = record;
        Self { number, agent_id, assigned_at, updated_at }
    }
}

/// The number in the path, in E.164: `+` and 7 to 15 digits that do not begin with 0.
struct PathNumber(String);

impl<S: Send + Sync> FromRequestParts<S> for PathNumber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let number = params.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "number"));
        let number = number.map(|(_, number)| number).unwrap_or_default();
        if is_e164(number) { Ok(Self(number.to_owned())) } else { Err(Problem::not_found("phone number")) }
    }
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// List phone numbers
///
/// The last assigned first. Role: viewer.
#[utoipa::path(
    get, path = "/api/phone-numbers", tag = "Calls", operation_id = "list_phone_numbers", params(PageQuery),
    responses(
        (status = 200, description = "The numbers", body = Vec<PhoneNumber>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_numbers(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::telephony(caller.tenant_id)).await;
    let numbers = telephony::numbers(&app.database, caller.tenant_id, page).await?;
    let next = next_after(page, numbers.iter().map(|number| number.assignment_id));
    Ok(list(PATH, &[], page, next, numbers.into_iter().map(PhoneNumber::from).collect()))
}

/// Assign a phone number
///
/// Calls to it are answered by this agent. A number on the installation's own account can be one tenant's only. At most
/// 1,000 per tenant. Role: developer.
#[utoipa::path(
    put, path = "/api/phone-numbers/{number}", tag = "Calls", operation_id = "assign_phone_number",
    params(("number" = String, Path, description = "E.164, such as `+14155550100`")), request_body = Assignment,
    responses(
        (status = 200, description = "The number", body = PhoneNumber),
        problems::Writing, problems::OfANumber, problems::OfAnId,
    )
)]
async fn assign_number(
    State(app): State<App>,
    Developer(caller): Developer,
    PathNumber(number): PathNumber,
    JsonBody(Assignment { agent_id }): JsonBody<Assignment>,
) -> Result<Json<PhoneNumber>, Problem> {
    let (tenant_id, agent_id) = (caller.tenant_id, AgentId(agent_id));
    let agent = app.agent(tenant_id, agent_id).await?;
    agent.ok_or_else(|| Problem::not_found("agent"))?;
    if twilio::is_another_tenants(&app, tenant_id, &number).await? {
        return Err(Problem::new(Code::NumberTaken, "another tenant has assigned it"));
    }
    let (aggregate, event_id) = (Aggregate::telephony(tenant_id), EventId::new());
    let (position, assigned) = append::update(&app, aggregate, |history| {
        let telephony = Telephony::of(history);
        let before = telephony.numbers.get(number.as_str()).copied();
        if before.is_none() && telephony.numbers.len() >= MOST {
            return Err(Problem::new(
                Code::LimitReached,
                format_args!("a tenant has at most {MOST} phone numbers"),
            ));
        }
        if let Some(before) = before.filter(|before| before.agent_id == agent_id) {
            return Ok(Decision::Nothing(before));
        }
        let now = app.clock.now();
        let assigned_at = before.map_or(now, |before| before.assigned_at);
        let payload = NumberAssigned { number: number.clone(), agent_id };
        let event = Event::new(event_id, now, SOURCE, aggregate, &caller.cause(), payload);
        Ok(Decision::Append(Box::new(event), Assigned { agent_id, assigned_at, updated_at: now }))
    })
    .await?;
    freshness::of_change(&app, position).await;
    let Assigned { agent_id, assigned_at, updated_at } = assigned;
    Ok(Json(PhoneNumber { number, agent_id, assigned_at, updated_at }))
}

/// Release a phone number
///
/// Role: developer.
#[utoipa::path(
    delete, path = "/api/phone-numbers/{number}", tag = "Calls", operation_id = "release_phone_number",
    params(("number" = String, Path, description = "E.164")),
    responses((status = 200, description = "It is released", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn release_number(
    State(app): State<App>,
    Developer(caller): Developer,
    PathNumber(number): PathNumber,
) -> Result<Json<Deleted>, Problem> {
    let (aggregate, event_id) = (Aggregate::telephony(caller.tenant_id), EventId::new());
    let (position, ()) = append::update(&app, aggregate, |history| {
        if !Telephony::of(history).numbers.contains_key(number.as_str()) {
            return Err(Problem::not_found("phone number"));
        }
        let payload = NumberReleased { number: number.clone() };
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), payload);
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_e164_or_is_none() {
        assert!(is_e164("+14155550100") && is_e164("+4930123456") && is_e164("+1234567"));
        for wrong in [
            "",
            "+",
            "14155550100",
            "+0123456789",
            "+123456",
            "+1234567890123456",
            "+1 415 555 0100",
            "+1415555010x",
        ] {
            assert!(!is_e164(wrong), "{wrong}");
        }
    }
}
