//! `/api/invoices`: what a tenant owes for a month. (The invoices that `invoice_lookup` finds are its customers'.)

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Month, Zone, invoices as months};
use events::billing::InvoiceClosed;
use events::{Aggregate, TenantId};
use projections::configuration::{self, TenantRecord};
use projections::ledger::invoices::{self, Bounds, ClosedInvoice, Earlier};
use projections::{Page, Projection};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Viewer;
use crate::export::{self, Format, Row};
use crate::extract::QueryOf;
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::{Code, Problem};
use crate::{App, freshness};

const PATH: &str = "/api/invoices";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_invoices)).routes(routes!(get_invoice))
}

/// A month's invoice.
#[derive(Debug, Serialize, ToSchema)]
struct Invoice {
    id: Uuid,
    #[schema(example = "2026-11")]
    month: String,
    /// `open`: what there is so far. `closed`: it never changes again.
    #[schema(example = "closed")]
    status: &'static str,
    /// Of the tenant; of a closed month as it was then.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    starts_at: DateTime<Utc>,
    /// Not included.
    ends_at: DateTime<Utc>,
    /// `null`: it is open.
    closed_at: Option<DateTime<Utc>>,
    /// Of the ledger.
    entries: u64,
    /// The exact sum.
    sum_usd: Usd,
    /// To be paid: the sum in cents, halves rounded away from zero. Nothing else is rounded.
    #[schema(example = "12.35")]
    total_usd: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct InvoiceWithLines {
    #[serde(flatten)]
    invoice: Invoice,
    /// The month's own first, then what came too late for the invoice of its own month.
    lines: Vec<InvoiceLine>,
}

/// What one model's work in one month amounts to.
#[derive(Debug, Serialize, ToSchema)]
struct InvoiceLine {
    /// In which the work was done.
    #[schema(example = "2026-11")]
    month: String,
    /// It came when that month was closed.
    late: bool,
    /// `model`, `transcription`, `synthesis`, `carrier`, or `adjustment`: of what was charged before.
    #[schema(example = "model")]
    kind: String,
    provider: String,
    /// Empty where the vendor has no models.
    model: String,
    entries: u64,
    requests: u64,
    tokens_in: u64,
    /// A part of `tokens_in`.
    tokens_cached: u64,
    tokens_out: u64,
    audio_ms: u64,
    characters: u64,
    /// The exact sum.
    cost_usd: Usd,
}

impl Row for InvoiceLine {
    const COLUMNS: &'static [&'static str] = &[
        "month",
        "late",
        "kind",
        "provider",
        "model",
        "entries",
        "requests",
        "tokens_in",
        "tokens_cached",
        "tokens_out",
        "audio_ms",
        "characters",
        "cost_usd",
    ];

    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.provider, &mut self.model]
    }
}

impl Invoice {
    fn closed(found: &ClosedInvoice) -> Self {
        let closed = &found.closed;
        Self {
            id: found.id,
            month: closed.month.clone(),
            status: "closed",
            time_zone: closed.time_zone.clone(),
            starts_at: closed.starts_at,
            ends_at: closed.ends_at,
            closed_at: Some(found.closed_at),
            entries: closed.entries,
            sum_usd: Usd(closed.total_usd),
            total_usd: months::payable(closed.total_usd).to_string(),
        }
    }

    fn open(tenant: &TenantRecord, month: &Month, lines: &[invoices::InvoiceLine]) -> Self {
        let sum: Decimal = lines.iter().map(|line| line.cost_usd).sum();
        Self {
            id: id_of(tenant.id, month),
            month: month.to_string(),
            status: "open",
            time_zone: tenant.time_zone.clone(),
            starts_at: month.starts_at,
            ends_at: month.ends_at,
            closed_at: None,
            entries: lines.iter().map(|line| line.entries).sum(),
            sum_usd: Usd(sum),
            total_usd: months::payable(sum).to_string(),
        }
    }

    fn with(self, lines: Vec<invoices::InvoiceLine>) -> InvoiceWithLines {
        let line = |line: invoices::InvoiceLine| InvoiceLine {
            late: line.month != self.month,
            month: line.month,
            kind: line.kind,
            provider: line.provider,
            model: line.model,
            entries: line.entries,
            requests: line.requests,
            tokens_in: line.tokens.input,
            tokens_cached: line.tokens.cached,
            tokens_out: line.tokens.output,
            audio_ms: line.audio_ms,
            characters: line.characters,
            cost_usd: Usd(line.cost_usd),
        };
        let lines = lines.into_iter().map(line).collect();
        InvoiceWithLines { invoice: self, lines }
    }
}

/// The tables may be made again at the moment.
fn incomplete() -> Problem {
    Problem::new(Code::Unavailable, "the ledger is not complete at the moment")
}

fn id_of(tenant_id: TenantId, month: &Month) -> Uuid {
    InvoiceClosed::id(tenant_id, &month.to_string()).0
}

/// The tenant and its months that are not closed.
struct Open {
    tenant: TenantRecord,
    /// Newest first.
    months: Vec<Bounds>,
}

impl Open {
    async fn of(app: &App, tenant_id: TenantId) -> Result<Self, Problem> {
        freshness::of_everything(app, Projection::Ledger).await;
        // A month that is closed must never be shown as an open one.
        if !freshness::knows_all_of(app, Projection::Ledger, Aggregate::billing(tenant_id)).await {
            return Err(incomplete());
        }
        let tenant = configuration::tenant(&app.database, tenant_id).await?;
        let tenant = tenant.ok_or_else(|| Problem::not_found("tenant"))?;
        let last = invoices::closed(&app.database, tenant_id, Page::first(1)).await?.pop();
        let last = last.map(|last| last.closed);
        let zone = Zone::named(&tenant.time_zone).unwrap_or(Zone::UTC);
        let open = months::open_months(last.as_ref(), tenant.created_at, zone, app.clock.now());
        let mut earlier = last.map_or(Earlier::None, |last| Earlier::Closed(last.through));
        let bounds =
            |month| Bounds { month, through: None, earlier: std::mem::replace(&mut earlier, Earlier::Open) };
        let mut months: Vec<Bounds> = open.into_iter().map(bounds).collect();
        months.reverse();
        Ok(Self { tenant, months })
    }
}

/// List invoices
///
/// Newest first: open months, with what there is so far, then closed ones. Role: viewer.
#[utoipa::path(
    get, path = "/api/invoices", tag = "Invoices", operation_id = "list_invoices", params(PageQuery),
    responses(
        (status = 200, description = "The invoices; a `Link` header leads to the next page", body = Vec<Invoice>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading
    )
)]
async fn list_invoices(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    let Open { tenant, months } = Open::of(&app, caller.tenant_id).await?;
    let place = |after| months.iter().position(|open| id_of(tenant.id, &open.month) == after);
    let place = page.after.map(place);
    // A cursor that is no open month is a closed one, and what is open comes before it.
    let open = match place {
        None => &months[..],
        Some(Some(place)) => months.get(place + 1..).unwrap_or_default(),
        Some(None) => &[],
    };
    let most = usize::try_from(page.limit).unwrap_or_default();
    let mut shown = Vec::new();
    for bounds in open.iter().take(most) {
        let lines = invoices::lines(&app.database, tenant.id, bounds).await?.ok_or_else(incomplete)?;
        shown.push(Invoice::open(&tenant, &bounds.month, &lines));
    }
    let after = page.after.filter(|_| place == Some(None));
    let rest = Page { limit: page.limit - i64::try_from(shown.len()).unwrap_or(page.limit), after };
    if rest.limit > 0 {
        let closed = invoices::closed(&app.database, tenant.id, rest).await?;
        shown.extend(closed.iter().map(Invoice::closed));
    }
    let next = next_after(page, shown.iter().map(|invoice| invoice.id));
    Ok(list(PATH, &[], page, next, shown))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InvoiceQuery {
    /// `json`, or `csv` or `ndjson` for the lines alone; `Accept` does, too.
    format: Option<String>,
}

/// Get the invoice of a month
///
/// A calendar month of the tenant's time zone. It is closed some time after its end; then it is the same, byte for byte,
/// whenever it is asked for. What comes later, and what is corrected later, is on the next invoice. Role: viewer.
#[utoipa::path(
    get, path = "/api/invoices/{month}", tag = "Invoices", operation_id = "get_invoice",
    params(("month" = String, Path, description = "Such as `2026-11`"), InvoiceQuery),
    responses(
        (status = 200, description = "The invoice", content(
            (InvoiceWithLines = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        problems::Reading, problems::OfAnId,
    )
)]
async fn get_invoice(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathMonth(name): PathMonth,
    QueryOf(query): QueryOf<InvoiceQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::of(query.format.as_deref(), &headers)?;
    let Open { tenant, months } = Open::of(&app, caller.tenant_id).await?;
    let shown = match months.iter().find(|open| open.month.to_string() == name) {
        Some(bounds) => {
            let lines = invoices::lines(&app.database, tenant.id, bounds).await?.ok_or_else(incomplete)?;
            Invoice::open(&tenant, &bounds.month, &lines).with(lines)
        }
        None => closed(&app, tenant.id, &name).await?,
    };
    if format != Format::Json {
        return export::file(format, &format!("invoice-{}", shown.invoice.month), shown.lines);
    }
    Ok(Json(shown).into_response())
}

/// The lines of a closed invoice are not what was recorded of it.
#[derive(Debug, thiserror::Error)]
#[error("invoice {id} does not add up: {entries} entries of {sum_usd} USD, {closed:?}")]
struct DoesNotAddUp {
    id: Uuid,
    entries: u64,
    sum_usd: Decimal,
    closed: InvoiceClosed,
}

async fn closed(app: &App, tenant_id: TenantId, name: &str) -> Result<InvoiceWithLines, Problem> {
    let found = invoices::closed_month(&app.database, tenant_id, name).await?;
    let (found, before) = found.ok_or_else(|| Problem::not_found("invoice"))?;
    let closed = &found.closed;
    let earlier = before.map_or(Earlier::None, |before| Earlier::Closed(before.closed.through));
    let bounds =
        Bounds { month: months::closed_month(closed), through: Some(closed.through.clone()), earlier };
    let lines = invoices::lines(&app.database, tenant_id, &bounds).await?.ok_or_else(incomplete)?;
    let entries = lines.iter().map(|line| line.entries).sum();
    let sum_usd = lines.iter().map(|line| line.cost_usd).sum();
    if (entries, sum_usd) != (closed.entries, closed.total_usd) {
        let differs = DoesNotAddUp { id: found.id, entries, sum_usd, closed: closed.clone() };
        return Err(Problem::internal(&differs));
    }
    Ok(Invoice::closed(&found).with(lines))
}

/// The `{month}` of the path; what is no month names nothing.
struct PathMonth(String);

impl<S: Send + Sync> FromRequestParts<S> for PathMonth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let sent = params.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "month"));
        let is_month = |name: &str| Month::named(name, Zone::UTC).is_some();
        sent.filter(|(_, name)| is_month(name))
            .map(|(_, name)| Self(name.to_owned()))
            .ok_or_else(|| Problem::not_found("invoice"))
    }
}

#[cfg(test)]
mod tests {
    use domain::Tokens;

    use super::*;

    #[test]
    fn the_columns_are_the_fields() {
        let tenant = TenantId::new();
        let month = Month::named("2026-11", Zone::UTC).unwrap();
        let line = invoices::InvoiceLine {
            month: "2026-10".to_owned(),
            kind: "model".to_owned(),
            provider: "openai".to_owned(),
            model: "gpt-4.1".to_owned(),
            entries: 1,
            requests: 1,
            tokens: Tokens::default(),
            audio_ms: 0,
            characters: 0,
            cost_usd: Decimal::new(12_345, 3),
        };
        let closed = InvoiceClosed {
            month: month.to_string(),
            time_zone: "UTC".to_owned(),
            starts_at: month.starts_at,
            ends_at: month.ends_at,
            through: vec![],
            entries: 1,
            total_usd: line.cost_usd,
        };
        let found =
            ClosedInvoice { id: id_of(tenant, &month), closed, closed_at: month.ends_at, sequence: 1 };
        let shown = Invoice::closed(&found).with(vec![line]);
        assert!(shown.lines[0].late);
        assert_eq!(shown.invoice.total_usd, "12.35");
        export::assert_columns(&shown.lines[0]);
    }
}
