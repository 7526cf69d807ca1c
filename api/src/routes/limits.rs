//! `/api/limits`: how much a tenant may have under way.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::State;
use domain::Limits;
use events::tenant::LimitsSet;
use events::{Aggregate, Event, EventId, Payload, Recorded};
use projections::Projection;
use projections::configuration::limits;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{Admin, Viewer};
use crate::extract::JsonBody;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::validation::Mistakes;
use crate::{App, freshness};

/// A tenant without any request could not set its limits again.
const REQUESTS_PER_MINUTE: RangeInclusive<u32> = 1..=1_000_000;
const CONCURRENT: RangeInclusive<u32> = 0..=100_000;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_limits, set_limits))
}

/// What is left out stays as it is; `null` goes back to the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "requests_per_minute": 600, "concurrent_turns": 50, "concurrent_calls": 10 }))]
struct NewLimits {
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    requests_per_minute: Sent<u32>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 100_000)]
    concurrent_turns: Sent<u32>,
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 100_000)]
    concurrent_calls: Sent<u32>,
}

/// How much the tenant may have under way, over all servers together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
struct LimitsView {
    #[schema(example = 600)]
    requests_per_minute: u32,
    /// Messages that are being answered at once.
    #[schema(example = 50)]
    concurrent_turns: u32,
    #[schema(example = 10)]
    concurrent_calls: u32,
}

impl From<Limits> for LimitsView {
    fn from(limits: Limits) -> Self {
        let Limits { requests_per_minute, concurrent_turns, concurrent_calls } = limits;
        Self { requests_per_minute, concurrent_turns, concurrent_calls }
    }
}

/// Show the limits
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/limits", tag = "Budgets", operation_id = "get_limits",
    responses((status = 200, description = "The limits", body = LimitsView), problems::Reading)
)]
async fn get_limits(State(app): State<App>, Viewer(caller): Viewer) -> Result<Json<LimitsView>, Problem> {
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::tenant(tenant_id)).await;
    Ok(Json(limits::limits(&app.database, tenant_id).await?.into()))
}

/// Set the limits
///
/// They are kept and shown; this version does not enforce them yet. Role: admin.
#[utoipa::path(
    put, path = "/api/limits", tag = "Budgets", operation_id = "set_limits", request_body = NewLimits,
    responses((status = 200, description = "The limits", body = LimitsView), problems::Writing)
)]
async fn set_limits(
    State(app): State<App>,
    Admin(caller): Admin,
    JsonBody(new): JsonBody<NewLimits>,
) -> Result<Json<LimitsView>, Problem> {
    new.check()?;
    let (aggregate, event_id) = (Aggregate::tenant(caller.tenant_id), EventId::new());
    let (position, limits) = append::update(&app, aggregate, |history| {
        let present = limits_of(history);
        let limits = new.over(present);
        if limits == present {
            return Ok(Decision::Nothing(limits));
        }
        let set = LimitsSet::from(limits);
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), set);
        Ok(Decision::Append(Box::new(event), limits))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(limits.into()))
}

impl NewLimits {
    fn check(&self) -> Result<(), Problem> {
        let mut mistakes = Mistakes::default();
        for (field, sent, range) in [
            ("requests_per_minute", self.requests_per_minute, REQUESTS_PER_MINUTE),
            ("concurrent_turns", self.concurrent_turns, CONCURRENT),
            ("concurrent_calls", self.concurrent_calls, CONCURRENT),
        ] {
            if sent.flatten().is_some_and(|value| !range.contains(&value)) {
                mistakes.add(field, format_args!("must be {} to {}", range.start(), range.end()));
            }
        }
        mistakes.into_result()
    }

    fn over(&self, present: Limits) -> Limits {
        let default = Limits::default();
        Limits {
            requests_per_minute: or(self.requests_per_minute, &present.requests_per_minute, || {
                default.requests_per_minute
            }),
            concurrent_turns: or(self.concurrent_turns, &present.concurrent_turns, || {
                default.concurrent_turns
            }),
            concurrent_calls: or(self.concurrent_calls, &present.concurrent_calls, || {
                default.concurrent_calls
            }),
        }
    }
}

/// Those that a tenant's history comes to.
fn limits_of(history: &[Recorded]) -> Limits {
    let set = history.iter().rev().find_map(|recorded| match recorded.event.payload {
        Payload::LimitsSet(set) => Some(Limits::from(set)),
        _ => None,
    });
    set.unwrap_or_default()
}
