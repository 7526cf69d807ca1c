//! `GET /api/analytics/timeseries`: what was used, hour by hour or day by day.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Days, TimeDelta, Utc};
use domain::Interval;
use projections::Projection;
use projections::ledger::usage::{self, Span};
use projections::ledger::{Amounts, Group, Used};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::rows::{self, UsageRow};
use super::span::{span, zone_of};
use crate::auth::Viewer;
use crate::export::{self, Format};
use crate::extract::QueryOf;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::{App, freshness};

/// Of one answer.
const MOST_INTERVALS: usize = 1_000;
/// The span of a report when no start is named.
const DEFAULT_DAYS: Days = Days::new(30);
const DEFAULT_HOURS: TimeDelta = TimeDelta::hours(24);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TimeseriesQuery {
    /// `hour`: hours of UTC. `day`: days of the tenant's `time_zone`, of 23 to 25 hours where its clock is changed.
    #[param(example = "day", default = "day")]
    interval: Option<String>,
    /// A date (its beginning in the tenant's time zone) or an RFC 3339 time; 30 days or 24 hours before the end when left
    /// out. At most 1,000 intervals.
    #[param(example = "2026-01-01")]
    start_date: Option<String>,
    /// A date (its end) or an RFC 3339 time, not included; the end of the current interval when left out.
    #[param(example = "2026-01-31")]
    end_date: Option<String>,
    /// What is told apart: any of `provider`, `model`, `agent`, `channel`, separated by commas.
    #[param(example = "provider,model")]
    group_by: Option<String>,
    /// `json`, `csv` or `ndjson`; `Accept` does, too.
    format: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Timeseries {
    /// `hour` or `day`.
    #[schema(example = "day")]
    interval: &'static str,
    start_date: DateTime<Utc>,
    end_date: DateTime<Utc>,
    /// In the order of time. Without `group_by` one of each interval, also where nothing was used; with it one of each
    /// group that used something.
    points: Vec<UsageRow>,
}

/// Report usage over time
///
/// The sums of all intervals are what the usage of the whole span is, to the last digit; the first and the last interval
/// are cut where the span begins and ends. A correction of what was charged counts when it was made. Role: viewer.
#[utoipa::path(
    get, path = "/api/analytics/timeseries", tag = "Analytics", operation_id = "get_timeseries",
    params(TimeseriesQuery),
    responses(
        (status = 200, description = "The usage",
            content((Timeseries = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        problems::Reading
    )
)]
pub(super) async fn get_timeseries(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<TimeseriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = Format::of(query.format.as_deref(), &headers)?;
    let interval = interval(query.interval.as_deref())?;
    let grouping = rows::grouping(query.group_by.as_deref())?;
    let zone = zone_of(&app, caller.tenant_id).await?;
    let default_start = |to: DateTime<Utc>| match interval {
        Interval::Hour => to - DEFAULT_HOURS,
        Interval::Day => {
            let first = zone.day_at(to).checked_sub_days(DEFAULT_DAYS);
            first.map_or(to, |first| zone.start_of(first))
        }
    };
    let (start, end) = (query.start_date.as_deref(), query.end_date.as_deref());
    let whole = span(start, end, zone, interval.next(app.clock.now(), zone), default_start)?;
    let spans = interval.cut(whole.clone(), zone, MOST_INTERVALS).ok_or_else(|| {
        let most = format_args!("must be at most {MOST_INTERVALS} intervals before end_date").to_string();
        Problem::invalid_field("start_date", most)
    })?;
    tokio::join!(
        freshness::of_everything(&app, Projection::Ledger),
        freshness::of_everything(&app, Projection::Transcripts)
    );
    let used = usage::used(&app.database, caller.tenant_id, &spans, grouping.unwrap_or_default()).await?;
    let used = if grouping.is_some() { used } else { with_zeros(&spans, used) };
    let points = rows::named(&app, caller.tenant_id, &spans, used).await?;
    if format != Format::Json {
        return export::file(format, "timeseries", points);
    }
    let (start_date, end_date) = (whole.start, whole.end);
    Ok(Json(Timeseries { interval: interval.as_str(), start_date, end_date, points }).into_response())
}

fn interval(sent: Option<&str>) -> Result<Interval, Problem> {
    let Some(sent) = sent else { return Ok(Interval::Day) };
    let known = Interval::ALL.into_iter().find(|interval| interval.as_str() == sent);
    known.ok_or_else(|| Problem::invalid_field("interval", "must be hour or day"))
}

/// One of each span.
fn with_zeros(spans: &[Span], used: Vec<Used>) -> Vec<Used> {
    let mut used = used.into_iter().peekable();
    let of_span = |span| {
        let nothing = Used { span, group: Group::default(), amounts: Amounts::default() };
        used.next_if(|used| used.span == span).unwrap_or(nothing)
    };
    (0..spans.len()).map(of_span).collect()
}
