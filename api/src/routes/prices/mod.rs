//! `/api/prices`: what the work of vendors costs, for everybody and for one tenant.

pub(crate) mod body;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use domain::{PriceBook, PriceList};
use events::prices::{Price, PricesChanged, PricesOrigin};
use events::{Aggregate, Cause, Event, EventId, Payload, Recorded, TenantId};
use projections::Projection;
use projections::configuration::prices::PriceListRecord;
use projections::configuration::{self, prices};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::body::{PriceInForce, PriceListShown, SentPrice, checked};
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{Operator, OperatorOrViewer};
use crate::extract::{JsonBody, QueryOf, id_of};
use crate::openapi::problems;
use crate::page::{list, next_after, page_of};
use crate::problem::Problem;
use crate::routes::moments::moment;
use crate::validation::Mistakes;
use crate::{App, freshness};

const VERSIONS: &str = "/api/prices/versions";
/// Later is a slip of the pen.
const FARTHEST: TimeDelta = TimeDelta::days(3_653);

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_prices, set_prices))
        .routes(routes!(list_price_versions))
        .routes(routes!(get_price_overrides, set_price_overrides))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PricesQuery {
    /// What this tenant pays by. With the operator's key; a tenant's key may name its own tenant only.
    #[param(value_type = Option<Uuid>)]
    tenant_id: Option<String>,
    /// The prices in force at this time, in RFC 3339; left out: now.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VersionsQuery {
    /// The list that was agreed with this tenant; left out: everybody's.
    #[param(value_type = Option<Uuid>)]
    tenant_id: Option<String>,
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TenantQuery {
    /// Required with the operator's key; a tenant's key may name its own tenant only.
    #[param(value_type = Option<Uuid>)]
    tenant_id: Option<String>,
}

/// The whole list, in the place of the one before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPriceList {
    /// Not in the past, and at most ten years ahead; left out: now.
    effective_from: Option<DateTime<Utc>>,
    /// At most one for the same kind, provider and model.
    #[schema(max_items = 1000)]
    prices: Vec<SentPrice>,
}

/// What somebody pays by.
#[derive(Debug, Serialize, ToSchema)]
struct PricesInForce {
    at: DateTime<Utc>,
    /// `null`: everybody who has agreed on nothing else.
    tenant_id: Option<Uuid>,
    prices: Vec<PriceInForce>,
}

/// What was agreed with a tenant.
#[derive(Debug, Serialize, ToSchema)]
struct Overrides {
    tenant_id: Uuid,
    /// `null`: the tenant pays what everybody pays.
    in_force: Option<PriceListShown>,
    /// Lists whose time has not come.
    planned: Vec<PriceListShown>,
}

/// Get the prices in force
///
/// With the operator's key those for everybody, or with `tenant_id` what that tenant pays by; with a tenant's key what it
/// pays by itself: what was agreed with it, before what holds for everybody. What has no price costs nothing and is
/// recorded as `unpriced`. Role: viewer.
#[utoipa::path(
    get, path = "/api/prices", tag = "Prices", operation_id = "get_prices", params(PricesQuery),
    security(("operator_key" = []), ("api_key" = []), ("bearer" = [])),
    responses((status = 200, description = "The prices", body = PricesInForce), problems::Reading, problems::OfAnId)
)]
async fn get_prices(
    State(app): State<App>,
    reader: OperatorOrViewer,
    QueryOf(query): QueryOf<PricesQuery>,
) -> Result<Json<PricesInForce>, Problem> {
    let tenant_id = tenant_of(&app, &reader, query.tenant_id.as_deref()).await?;
    let at = query.at.as_deref().map_or_else(|| Ok(app.clock.now()), |sent| moment("at", sent))?;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::price_book(TenantId::SYSTEM)).await;
    let global = prices::since(&app.database, TenantId::SYSTEM, at).await?;
    let own = match tenant_id {
        Some(tenant_id) => {
            freshness::of_aggregate(&app, Projection::Configuration, Aggregate::price_book(tenant_id)).await;
            prices::since(&app.database, tenant_id, at).await?
        }
        None => vec![],
    };
    let book = PriceBook::new(global.into(), own.into());
    let prices = book.at(at).all().into_iter().map(PriceInForce::from).collect();
    Ok(Json(PricesInForce { at, tenant_id: tenant_id.map(|id| id.0), prices }))
}

/// Replace the prices for everybody
///
/// With the operator's key. From `effective_from` on the list stands in the place of the one before; what was charged until
/// then stays as it was, and a re-pricing corrects it. Of the lists whose time has come the one with the latest
/// `effective_from` is in force, so a list that was planned for a later time still comes: to call it off, put another one
/// for the same time. A process whose price file or price variables have changed puts its list when it starts.
#[utoipa::path(
    put, path = "/api/prices", tag = "Prices", operation_id = "set_prices", request_body = NewPriceList,
    security(("operator_key" = [])),
    responses((status = 200, description = "The list", body = PriceListShown), problems::Writing)
)]
async fn set_prices(
    State(app): State<App>,
    operator: Operator,
    JsonBody(sent): JsonBody<NewPriceList>,
) -> Result<Json<PriceListShown>, Problem> {
    replace(&app, TenantId::SYSTEM, &operator.cause(), &sent).await
}

/// List the versions of a price list
///
/// With the operator's key. Newest first.
#[utoipa::path(
    get, path = "/api/prices/versions", tag = "Prices", operation_id = "list_price_versions", params(VersionsQuery),
    security(("operator_key" = [])),
    responses(
        (status = 200, description = "The versions", body = Vec<PriceListShown>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading, problems::OfAnId,
    )
)]
async fn list_price_versions(
    State(app): State<App>,
    _: Operator,
    QueryOf(query): QueryOf<VersionsQuery>,
) -> Result<Response, Problem> {
    let page = page_of(query.limit, query.after.as_deref())?;
    let scope = match query.tenant_id.as_deref() {
        Some(sent) => existing(&app, sent).await?,
        None => TenantId::SYSTEM,
    };
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::price_book(scope)).await;
    let versions = prices::versions(&app.database, scope, page).await?;
    let next = next_after(page, versions.iter().map(|version| version.id.0));
    let shown = versions.into_iter().map(|version| PriceListShown::new(scope, version)).collect();
    Ok(list(VERSIONS, &[("tenant_id", query.tenant_id)], page, next, shown))
}

/// Get what was agreed with a tenant
///
/// With the operator's key, or with the tenant's own. Role: viewer.
#[utoipa::path(
    get, path = "/api/prices/overrides", tag = "Prices", operation_id = "get_price_overrides", params(TenantQuery),
    security(("operator_key" = []), ("api_key" = []), ("bearer" = [])),
    responses((status = 200, description = "The prices", body = Overrides), problems::Reading, problems::OfAnId)
)]
async fn get_price_overrides(
    State(app): State<App>,
    reader: OperatorOrViewer,
    QueryOf(query): QueryOf<TenantQuery>,
) -> Result<Json<Overrides>, Problem> {
    let tenant_id =
        tenant_of(&app, &reader, query.tenant_id.as_deref()).await?.ok_or_else(tenant_required)?;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::price_book(tenant_id)).await;
    let now = app.clock.now();
    let (come, planned): (Vec<_>, Vec<_>) = prices::records_since(&app.database, tenant_id, now)
        .await?
        .into_iter()
        .partition(|record| record.list.effective_from <= now);
    let in_force = come.into_iter().max_by_key(|record| (record.list.effective_from, record.list.version));
    let shown = |record| PriceListShown::new(tenant_id, record);
    Ok(Json(Overrides {
        tenant_id: tenant_id.0,
        // An empty list is the end of an agreement.
        in_force: in_force.filter(|record| !record.list.prices.is_empty()).map(shown),
        planned: planned.into_iter().map(shown).collect(),
    }))
}

/// Replace what was agreed with a tenant
///
/// With the operator's key. Each price stands as a whole before those for everybody: also before one for a single model,
/// where it is for all models of the vendor. An empty list ends the agreement.
#[utoipa::path(
    put, path = "/api/prices/overrides", tag = "Prices", operation_id = "set_price_overrides", params(TenantQuery),
    request_body = NewPriceList, security(("operator_key" = [])),
    responses((status = 200, description = "The list", body = PriceListShown), problems::Writing)
)]
async fn set_price_overrides(
    State(app): State<App>,
    operator: Operator,
    QueryOf(query): QueryOf<TenantQuery>,
    JsonBody(sent): JsonBody<NewPriceList>,
) -> Result<Json<PriceListShown>, Problem> {
    let tenant_id = existing(&app, query.tenant_id.as_deref().ok_or_else(tenant_required)?).await?;
    replace(&app, tenant_id, &operator.cause(), &sent).await
}

fn tenant_required() -> Problem {
    Problem::invalid_field("tenant_id", "is required with the operator's key")
}

/// The tenant that a request is about; `None`: the operator asks about everybody.
async fn tenant_of(
    app: &App,
    reader: &OperatorOrViewer,
    sent: Option<&str>,
) -> Result<Option<TenantId>, Problem> {
    match (reader, sent) {
        (OperatorOrViewer::Operator, None) => Ok(None),
        (OperatorOrViewer::Operator, Some(sent)) => existing(app, sent).await.map(Some),
        (OperatorOrViewer::Viewer(caller), None) => Ok(Some(caller.tenant_id)),
        (OperatorOrViewer::Viewer(caller), Some(sent)) => id_of(sent)
            .filter(|id| *id == caller.tenant_id.0)
            .map(|_| Some(caller.tenant_id))
            .ok_or_else(|| Problem::not_found("tenant")),
    }
}

/// A tenant that is there.
pub(crate) async fn existing(app: &App, sent: &str) -> Result<TenantId, Problem> {
    let tenant_id = TenantId(id_of(sent).ok_or_else(|| Problem::not_found("tenant"))?);
    let tenant = configuration::tenant(&app.database, tenant_id).await?;
    tenant.map(|tenant| tenant.id).ok_or_else(|| Problem::not_found("tenant"))
}

async fn replace(
    app: &App,
    scope: TenantId,
    cause: &Cause,
    sent: &NewPriceList,
) -> Result<Json<PriceListShown>, Problem> {
    let mut mistakes = Mistakes::default();
    let wanted = checked(&sent.prices, &mut mistakes);
    mistakes.into_result()?;
    // What the tables keep.
    let wanted_from = sent.effective_from.map(|time| time.trunc_subsecs(6));
    let (aggregate, id) = (Aggregate::price_book(scope), EventId::new());
    let (position, record) = append::update(app, aggregate, |history| {
        let now = app.clock.now();
        let versions: Vec<PriceListRecord> = history.iter().filter_map(record_of).collect();
        if let Some(same) = repeated(&versions, &wanted, wanted_from, now) {
            return Ok(Decision::Nothing(same.clone()));
        }
        let effective_from = effective_from(wanted_from, now)?;
        let version = versions.last().map_or(1, |newest| newest.list.version + 1);
        let origin = PricesOrigin::Api;
        let changed = PricesChanged { version, effective_from, prices: wanted.clone(), origin };
        let list = PriceList { version, effective_from, prices: wanted.clone() };
        let event = Event::new(id, now, SOURCE, aggregate, cause, changed);
        Ok(Decision::Append(Box::new(event), PriceListRecord { id, list, origin, created_at: now }))
    })
    .await?;
    freshness::of_change(app, position).await;
    Ok(Json(PriceListShown::new(scope, record)))
}

fn effective_from(sent: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Problem> {
    let time = sent.unwrap_or(now);
    let refused = |message| Problem::invalid_field("effective_from", message);
    if time < now {
        return Err(refused("must not be in the past: what was charged stays, and a re-pricing corrects it"));
    }
    if time > now + FARTHEST {
        return Err(refused("must be at most ten years ahead"));
    }
    Ok(time)
}

/// The version that says already what is wanted: the newest, when it is for the same time, or in force by now.
fn repeated<'a>(
    versions: &'a [PriceListRecord],
    wanted: &[Price],
    effective_from: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<&'a PriceListRecord> {
    let newest = versions.last().filter(|newest| newest.list.prices == wanted)?;
    let is_in_force = || {
        let come = versions.iter().filter(|version| version.list.effective_from <= now);
        come.max_by_key(|version| (version.list.effective_from, version.list.version))
            .is_some_and(|version| version.id == newest.id)
    };
    let same = match effective_from {
        Some(time) => time == newest.list.effective_from,
        None => is_in_force(),
    };
    same.then_some(newest)
}

fn record_of(recorded: &Recorded) -> Option<PriceListRecord> {
    let Payload::PricesChanged(changed) = &recorded.event.payload else { return None };
    let PricesChanged { version, effective_from, prices, origin } = changed.clone();
    let list = PriceList { version, effective_from, prices };
    let envelope = &recorded.event.envelope;
    Some(PriceListRecord { id: envelope.id, list, origin, created_at: envelope.time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_763_700_000, 0).unwrap()
    }

    #[test]
    fn a_list_is_never_in_force_before_it_was_put() {
        let moment = TimeDelta::microseconds(1);
        assert_eq!(effective_from(None, noon()).unwrap(), noon());
        for allowed in [noon(), noon() + moment, noon() + FARTHEST] {
            assert_eq!(effective_from(Some(allowed), noon()).unwrap(), allowed);
        }
        for refused in [noon() - moment, noon() + FARTHEST + moment] {
            assert!(effective_from(Some(refused), noon()).is_err(), "{refused}");
        }
    }
}
