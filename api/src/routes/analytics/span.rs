//! Which time a report is about.

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::Zone;
use events::TenantId;
use projections::configuration;
use projections::ledger::usage::Span;

use crate::App;
use crate::problem::Problem;
use crate::routes::moments::moment;

/// The tenant's clock, which dates are days of.
pub(super) async fn zone_of(app: &App, tenant_id: TenantId) -> Result<Zone, Problem> {
    let tenant = configuration::tenant(&app.database, tenant_id).await?;
    Ok(tenant.and_then(|tenant| Zone::named(&tenant.time_zone)).unwrap_or(Zone::UTC))
}

/// From the beginning of `start_date` to the end of `end_date`; what was not sent is as `default`.
pub(super) fn span(
    start_date: Option<&str>,
    end_date: Option<&str>,
    zone: Zone,
    default_end: DateTime<Utc>,
    default_start: impl FnOnce(DateTime<Utc>) -> DateTime<Utc>,
) -> Result<Span, Problem> {
    let to = match end_date {
        None => default_end,
        Some(sent) => edge("end_date", sent, zone, Days::new(1))?,
    };
    let from = match start_date {
        None => default_start(to),
        Some(sent) => edge("start_date", sent, zone, Days::new(0))?,
    };
    if from > to {
        return Err(Problem::invalid_field("start_date", "must not be after end_date"));
    }
    Ok(from..to)
}

/// A time, or the beginning of the day that many `days` after a date. Years of four digits only, as RFC 3339 has them.
fn edge(field: &str, sent: &str, zone: Zone, days: Days) -> Result<DateTime<Utc>, Problem> {
    if let Ok(time) = moment(field, sent) {
        return Ok(time);
    }
    let invalid = || Problem::invalid_field(field, "must be a date or an RFC 3339 time");
    if !sent.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let date: NaiveDate = sent.parse().map_err(|_| invalid())?;
    Ok(zone.start_of(date.checked_add_days(days).ok_or_else(invalid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERLIN: &str = "Europe/Berlin";

    fn times(start: Option<&str>, end: Option<&str>, zone: &str) -> Result<(String, String), Problem> {
        let now = "2026-02-01T12:00:00Z".parse().unwrap();
        let a_month = |to: DateTime<Utc>| to - Days::new(30);
        let span = span(start, end, Zone::named(zone).unwrap(), now, a_month)?;
        Ok((span.start.to_rfc3339(), span.end.to_rfc3339()))
    }

    #[test]
    fn dates_are_whole_days_of_the_tenants_clock_and_times_are_taken_as_they_are() {
        let of = |start: &str, end: &str| (format!("{start}+00:00"), format!("{end}+00:00"));
        let january = (Some("2026-01-01"), Some("2026-01-31"));
        assert_eq!(
            times(january.0, january.1, "UTC").unwrap(),
            of("2026-01-01T00:00:00", "2026-02-01T00:00:00")
        );
        assert_eq!(
            times(january.0, january.1, BERLIN).unwrap(),
            of("2025-12-31T23:00:00", "2026-01-31T23:00:00")
        );
        let expected = of("2026-01-01T00:00:00", "2026-02-01T12:00:00");
        assert_eq!(times(Some("2026-01-01T01:00:00 01:00"), None, BERLIN).unwrap(), expected);
        assert_eq!(times(None, None, BERLIN).unwrap().0, "2026-01-02T12:00:00+00:00");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for wrong in ["yesterday", "2026-13-01", "+262142-12-31", "", "-0001-01-01"] {
            assert!(times(Some(wrong), None, "UTC").is_err(), "{wrong}");
        }
        assert!(times(Some("2026-02-02"), Some("2026-01-01"), "UTC").is_err());
    }
}
