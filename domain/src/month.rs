//! Calendar months on the wall clock of a tenant: what budgets and invoices are for.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A place's clock, by its IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    pub const UTC: Self = Self(Tz::UTC);

    /// `None`: there is no such place.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }
}

/// One calendar month. Written `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    year: i32,
    /// 1 to 12.
    month: u32,
    pub starts_at: DateTime<Utc>,
    /// Its end is the next one's start, and not part of it.
    pub ends_at: DateTime<Utc>,
}

impl Month {
    /// The one that it is at `time` where `zone`'s clock shows the time.
    pub fn at(time: DateTime<Utc>, zone: Zone) -> Self {
        let local = time.with_timezone(&zone.0);
        let (year, month) = (local.year(), local.month());
        let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        Self {
            year,
            month,
            starts_at: first_instant(year, month, zone),
            ends_at: first_instant(next_year, next, zone),
        }
    }
}

/// Where the clock skips midnight, a month begins when the skipping is over.
fn first_instant(year: i32, month: u32, Zone(zone): Zone) -> DateTime<Utc> {
    let midnight = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default().and_time(Default::default());
    // No clock was ever put forward by more than a day at once.
    let mut quarters = (0..=96).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    let first = quarters.find_map(|time| zone.from_local_datetime(&time).earliest());
    first.map_or_else(|| midnight.and_utc(), |time| time.to_utc())
}

/// No clock shows a later time than UTC by more, and none an earlier one.
const MOST_AHEAD: TimeDelta = TimeDelta::hours(14);
const MOST_BEHIND: TimeDelta = TimeDelta::hours(12);
const QUARTER_SECONDS: i64 = 900;

/// The beginning of the bucket that what happens at `time` is counted in. Buckets are the same for all zones, and every
/// month of every zone is made of whole ones: quarters of an hour around the ends of the months in UTC, where zones begin
/// theirs, and one bucket for all that is between.
pub fn bucket(time: DateTime<Utc>) -> DateTime<Utc> {
    let month = Month::at(time, Zone::UTC);
    let between = month.starts_at + MOST_BEHIND;
    if (between..month.ends_at - MOST_AHEAD).contains(&time) {
        return between;
    }
    let quarter = time.timestamp().div_euclid(QUARTER_SECONDS) * QUARTER_SECONDS;
    DateTime::from_timestamp(quarter, 0).unwrap_or(time)
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn month(at: &str, zone: &str) -> (String, String, String) {
        let month = Month::at(time(at), Zone::named(zone).unwrap());
        (month.to_string(), month.starts_at.to_rfc3339(), month.ends_at.to_rfc3339())
    }

    #[test]
    fn a_month_begins_at_the_midnight_of_its_place() {
        let november =
            |start: &str, end: &str| ("2026-11".to_owned(), format!("{start}+00:00"), format!("{end}+00:00"));
        let expected = november("2026-11-01T00:00:00", "2026-12-01T00:00:00");
        assert_eq!(month("2026-11-21T20:42:01Z", "UTC"), expected);
        // Winter time began on 25 October.
        let expected = november("2026-10-31T23:00:00", "2026-11-30T23:00:00");
        assert_eq!(month("2026-10-31T23:00:00Z", "Europe/Berlin"), expected);
        let expected = november("2026-10-31T18:15:00", "2026-11-30T18:15:00");
        assert_eq!(month("2026-11-21T20:42:01Z", "Asia/Kathmandu"), expected);
    }

    #[test]
    fn a_month_may_change_its_offset() {
        let (_, start, end) = month("2026-10-10T00:00:00Z", "Europe/Berlin");
        assert_eq!((&start[..], &end[..]), ("2026-09-30T22:00:00+00:00", "2026-10-31T23:00:00+00:00"));
    }

    #[test]
    fn a_month_without_its_midnight_begins_after_the_gap() {
        // Asunción put its clock forward at midnight of 1 October 2017.
        let (_, start, _) = month("2017-10-15T00:00:00Z", "America/Asuncion");
        assert_eq!(start, "2017-10-01T04:00:00+00:00");
    }

    #[test]
    fn there_is_no_such_place() {
        assert_eq!(Zone::named("Europe/Atlantis"), None);
        assert_eq!(Zone::named(""), None);
        assert_eq!(Zone::named("UTC"), Some(Zone::UTC));
    }

    #[test]
    fn a_month_has_few_buckets() {
        let start = time("2026-11-01T00:00:00Z");
        let quarters = (0..30 * 96).map(|quarter| bucket(start + TimeDelta::minutes(15 * quarter)));
        assert_eq!(quarters.collect::<std::collections::BTreeSet<_>>().len(), 1 + 4 * 26);
    }

    proptest! {
        #[test]
        fn every_instant_is_in_exactly_one_month(seconds in 1_500_000_000i64..4_000_000_000, zone in prop::sample::select(
            vec!["UTC", "Europe/Berlin", "America/Asuncion", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"]
        )) {
            let zone = Zone::named(zone).unwrap();
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let month = Month::at(at, zone);
            prop_assert!(month.starts_at <= at && at < month.ends_at);
            prop_assert_eq!(Month::at(month.starts_at, zone), month);
            prop_assert_eq!(Month::at(month.ends_at, zone).starts_at, month.ends_at);
            // What is counted in a bucket is all of one month.
            let bucket = bucket(at);
            prop_assert!(bucket <= at && Month::at(bucket, zone) == month, "{bucket}");
            prop_assert_eq!(super::bucket(bucket), bucket);
        }
    }
}
