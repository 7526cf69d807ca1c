//! `/api/repricings`: correcting what was charged.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SubsecRound, Utc};
use events::repricing::{RepricingDifference, RepricingRequested};
use events::{Aggregate, Event, EventId, JobId, Payload, Position, Recorded, RepricingId, TenantId};
use nats::live::Hear;
use projections::Projection;
use projections::ledger::repricings::{self, RepricingRecord};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::prices::body::{PriceShown, SentPrice, checked};
use super::prices::existing;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Operator;
use crate::extract::{PathId, Posted, QueryOf};
use crate::idempotency::{Makes, Once};
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::prefer::Prefer;
use crate::problem::Problem;
use crate::validation::Mistakes;
use crate::{App, freshness, waiting};

const PATH: &str = "/api/repricings";
const MAX_REASON_CHARS: usize = 500;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_repricing, list_repricings)).routes(routes!(get_repricing))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRepricing {
    /// Left out: all tenants.
    tenant_id: Option<Uuid>,
    /// The beginning of the period.
    from: DateTime<Utc>,
    /// Its end, which is not part of it; not in the future.
    to: DateTime<Utc>,
    /// What was right: of each model its own price, else its vendor's. What has none here stays as it was charged.
    #[schema(min_items = 1, max_items = 1000)]
    prices: Vec<SentPrice>,
    #[schema(min_length = 1, max_length = 500, example = "The vendor lowered its price on the 1st")]
    reason: String,
    /// `true`: nothing is corrected; the answer says what would be.
    dry_run: bool,
}

/// A re-pricing.
#[derive(Debug, Serialize, ToSchema)]
struct Repricing {
    #[schema(value_type = Uuid)]
    id: RepricingId,
    /// `running`, `succeeded` or `failed`.
    #[schema(example = "succeeded")]
    status: &'static str,
    dry_run: bool,
    /// `null`: all tenants.
    tenant_id: Option<Uuid>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    reason: String,
    prices: Vec<PriceShown>,
    /// As it stands beside the corrections in the ledger.
    #[schema(example = "repricing:2")]
    price_version: String,
    /// Entries whose cost changes, as far as it has come.
    entries: u64,
    /// What these were charged, with what was corrected before.
    before_usd: Usd,
    /// What is right.
    after_usd: Usd,
    difference_usd: Usd,
    /// Why it failed.
    error: Option<String>,
    created_at: DateTime<Utc>,
    /// `null` until it is over.
    finished_at: Option<DateTime<Utc>>,
}

/// A re-pricing and what it found.
#[derive(Debug, Serialize, ToSchema)]
struct RepricingWithDifferences {
    #[serde(flatten)]
    repricing: Repricing,
    /// The largest first, at most 1,000.
    differences: Vec<Difference>,
}

/// What one model's work of one tenant was charged, and what is right.
#[derive(Debug, Serialize, ToSchema)]
struct Difference {
    #[schema(value_type = Uuid)]
    tenant_id: TenantId,
    /// `model`, `transcription`, `synthesis` or `carrier`.
    #[schema(example = "model")]
    kind: &'static str,
    #[schema(example = "openai")]
    provider: String,
    /// Empty where the vendor has no models.
    #[schema(example = "gpt-4.1")]
    model: String,
    entries: u64,
    before_usd: Usd,
    after_usd: Usd,
    difference_usd: Usd,
}

impl From<RepricingRecord> for Repricing {
    fn from(record: RepricingRecord) -> Self {
        Self {
            id: record.id,
            status: record.status.as_str(),
            dry_run: record.dry_run,
            tenant_id: record.tenant_id.map(|id| id.0),
            from: record.from,
            to: record.to,
            reason: record.reason,
            prices: record.prices.iter().map(PriceShown::from).collect(),
            price_version: format!("repricing:{}", record.number),
            entries: record.entries,
            before_usd: Usd(record.before_usd),
            after_usd: Usd(record.after_usd),
            difference_usd: Usd(record.after_usd - record.before_usd),
            error: record.error,
            created_at: record.created_at,
            finished_at: record.finished_at,
        }
    }
}

impl From<(TenantId, RepricingDifference)> for Difference {
    fn from((tenant_id, found): (TenantId, RepricingDifference)) -> Self {
        Self {
            tenant_id,
            kind: found.kind.as_str(),
            provider: found.provider,
            model: found.model,
            entries: found.entries,
            before_usd: Usd(found.before_usd),
            after_usd: Usd(found.after_usd),
            difference_usd: Usd(found.after_usd - found.before_usd),
        }
    }
}

/// Correct what was charged in a period
///
/// With the operator's key. Every entry of the ledger in the period that `prices` have a price for is compared with what it
/// costs by them; where that is something else, the difference becomes an entry of its own, of kind `adjustment` and of
/// today. Nothing that stands is changed. Done again with the same prices it finds nothing. Re-pricings come one after the
/// other. The answer is waited for: 30 s, or as `Prefer: wait=N` says; then, and with `Prefer: respond-async`, it is 202.
#[utoipa::path(
    post, path = "/api/repricings", tag = "Prices", operation_id = "create_repricing", request_body = NewRepricing,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`, `respond-async` (RFC 7240)")),
    security(("operator_key" = [])),
    responses(
        (status = 200, description = "It is over", body = RepricingWithDifferences),
        (status = 202, description = "It is under way", body = RepricingWithDifferences,
            headers(("Location" = String, description = "Where to ask for it"))),
        problems::Writing, problems::Streaming,
    )
)]
async fn create_repricing(
    State(app): State<App>,
    operator: Operator,
    posted: Posted<NewRepricing>,
) -> Result<Response, Problem> {
    let sent = &posted.body;
    let mut mistakes = Mistakes::default();
    mistakes.check_required("reason", &sent.reason, MAX_REASON_CHARS);
    let prices = checked(&sent.prices, &mut mistakes);
    if sent.prices.is_empty() {
        mistakes.add("prices", "must not be empty");
    }
    let (from, to) = (sent.from.trunc_subsecs(6), sent.to.trunc_subsecs(6));
    if from >= to {
        mistakes.add("from", "must be before to");
    }
    if to > app.clock.now() {
        mistakes.add("to", "must not be in the future");
    }
    mistakes.into_result()?;
    let tenant_id = match sent.tenant_id {
        Some(id) => Some(existing(&app, &id.to_string()).await?),
        None => None,
    };
    let once = posted.claim(&app, TenantId::SYSTEM, Makes::NoSecret).await?;
    let repricing_id: RepricingId = once.id();
    let prefer = Prefer::of(&posted.headers);
    let _place = app.place_to_wait()?;
    // Before the append, so that not even the fastest end is missed.
    let live = app.nats.live.subscribe(JobId(repricing_id.0), Hear::Events).await;
    let live = live.map_err(|error| Problem::unavailable(&error))?;
    let requested = RepricingRequested {
        repricing_id,
        number: 0,
        tenant_id,
        from,
        to,
        prices,
        reason: sent.reason.clone(),
        dry_run: sent.dry_run,
    };
    let begun = append_request(&app, &operator, &once, &requested).await?;
    let end = |recorded: &Recorded| is_end(recorded, repricing_id).then_some(recorded.position);
    let deadline = Instant::now() + prefer.wait.unwrap_or(app.config.default_wait);
    let ended = tokio::select! {
        biased;
        () = std::future::ready(()), if prefer.respond_async => None,
        ended = waiting::for_end(&app, Aggregate::repricings(), live, once.replayed, deadline, end) => ended?,
        () = app.nearly_drained() => None,
    };
    freshness::of_position(&app, Projection::Ledger, ended.unwrap_or(begun)).await;
    // What it found stands in a history of its own, in whatever partition.
    freshness::of_aggregate(&app, Projection::Ledger, Aggregate::repricing(repricing_id)).await;
    let answer = shown(&app, repricing_id).await?;
    let place = format!("{PATH}/{repricing_id}");
    let answer = match ended {
        Some(_) => Json(answer).into_response(),
        None => (StatusCode::ACCEPTED, [(header::LOCATION, place)], Json(answer)).into_response(),
    };
    Ok(once.mark(prefer.applied_to(answer)))
}

/// Appends the request with the number that is next, unless this very request did so before.
async fn append_request(
    app: &App,
    operator: &Operator,
    once: &Once,
    requested: &RepricingRequested,
) -> Result<Position, Problem> {
    let (aggregate, event_id) = (Aggregate::repricings(), once.derived::<EventId>("repricing.requested"));
    let (position, ()) = append::update(app, aggregate, |history| {
        if history.iter().any(|recorded| recorded.event.envelope.id == event_id) {
            return Ok(Decision::Nothing(()));
        }
        let asked = history
            .iter()
            .filter(|recorded| matches!(recorded.event.payload, Payload::RepricingRequested(_)));
        let number = asked.count() as u32 + 1;
        let payload = RepricingRequested { number, ..requested.clone() };
        let event = Event::new(event_id, once.at, SOURCE, aggregate, &operator.cause(), payload);
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    Ok(position)
}

fn is_end(recorded: &Recorded, repricing_id: RepricingId) -> bool {
    match &recorded.event.payload {
        Payload::RepricingCompleted(completed) => completed.repricing_id == repricing_id,
        Payload::RepricingFailed(failed) => failed.repricing_id == repricing_id,
        _ => false,
    }
}

/// List the re-pricings
///
/// With the operator's key. Newest first.
#[utoipa::path(
    get, path = "/api/repricings", tag = "Prices", operation_id = "list_repricings", params(PageQuery),
    security(("operator_key" = [])),
    responses(
        (status = 200, description = "The re-pricings", body = Vec<Repricing>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_repricings(
    State(app): State<App>,
    _: Operator,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_aggregate(&app, Projection::Ledger, Aggregate::repricings()).await;
    let found = repricings::list(&app.database, page).await?;
    let next = next_after(page, found.iter().map(|repricing| repricing.id.0));
    Ok(list(PATH, &[], page, next, found.into_iter().map(Repricing::from).collect()))
}

/// Get a re-pricing
///
/// With the operator's key.
#[utoipa::path(
    get, path = "/api/repricings/{id}", tag = "Prices", operation_id = "get_repricing",
    params(("id" = Uuid, Path, description = "The re-pricing")), security(("operator_key" = [])),
    responses(
        (status = 200, description = "The re-pricing", body = RepricingWithDifferences),
        problems::Reading, problems::OfAnId,
    )
)]
async fn get_repricing(
    State(app): State<App>,
    _: Operator,
    PathId(id): PathId<RepricingId>,
) -> Result<Json<RepricingWithDifferences>, Problem> {
    freshness::of_aggregate(&app, Projection::Ledger, Aggregate::repricings()).await;
    freshness::of_aggregate(&app, Projection::Ledger, Aggregate::repricing(id)).await;
    shown(&app, id).await.map(Json)
}

async fn shown(app: &App, id: RepricingId) -> Result<RepricingWithDifferences, Problem> {
    let record = repricings::repricing(&app.database, id).await?;
    let record = record.ok_or_else(|| Problem::not_found("re-pricing"))?;
    let differences = repricings::differences(&app.database, id).await?;
    Ok(RepricingWithDifferences {
        repricing: record.into(),
        differences: differences.into_iter().map(Difference::from).collect(),
    })
}
