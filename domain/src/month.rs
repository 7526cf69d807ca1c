//! Calendar months on the wall clock of a tenant: what budgets and invoices are for.

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Utc};
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

    /// The day that its clock shows at `time`.
    pub fn day_at(self, time: DateTime<Utc>) -> NaiveDate {
        time.with_timezone(&self.0).date_naive()
    }

    /// The beginning of `day`. Where the clock skips midnight, it is when the skipping is over.
    pub fn start_of(self, day: NaiveDate) -> DateTime<Utc> {
        let midnight = day.and_time(Default::default());
        // No clock was ever put forward by more than a day at once.
        let mut quarters = (0..=96).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
        let first = quarters.find_map(|time| self.0.from_local_datetime(&time).earliest());
        first.map_or_else(|| midnight.and_utc(), |time| time.to_utc())
    }

    /// The first beginning of a day after `time`.
    pub fn next_day(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let today = self.day_at(time);
        let mut starts =
            (1..=3).filter_map(|days| Some(self.start_of(today.checked_add_days(Days::new(days))?)));
        starts.find(|start| *start > time).unwrap_or(DateTime::<Utc>::MAX_UTC)
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
        let day = zone.day_at(time);
        Self::of(day.year(), day.month(), zone)
    }

    /// The one that is written so; `None`: none is.
    pub fn named(name: &str, zone: Zone) -> Option<Self> {
        let (year, month) = name.split_once('-')?;
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        let is_month = (1970..9999).contains(&year) && (1..=12).contains(&month);
        let found = is_month.then(|| Self::of(year, month, zone))?;
        (found.to_string() == name).then_some(found)
    }

    /// The same with another beginning: where the one before has ended by another clock.
    pub fn begun_at(self, starts_at: DateTime<Utc>) -> Self {
        Self { starts_at, ..self }
    }

    /// The one after it.
    pub fn next(&self, zone: Zone) -> Self {
        let (year, month) = next(self.year, self.month);
        Self::of(year, month, zone)
    }

    fn of(year: i32, month: u32, zone: Zone) -> Self {
        let (next_year, next) = next(year, month);
        Self {
            year,
            month,
            starts_at: first_instant(year, month, zone),
            ends_at: first_instant(next_year, next, zone),
        }
    }
}

fn next(year: i32, month: u32) -> (i32, u32) {
    if month == 12 { (year + 1, 1) } else { (year, month + 1) }
}

fn first_instant(year: i32, month: u32, zone: Zone) -> DateTime<Utc> {
    zone.start_of(NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default())
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
    fn a_month_is_found_by_how_it_is_written() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let december = Month::named("2026-12", berlin).unwrap();
        assert_eq!(december, Month::at(time("2026-12-24T18:00:00Z"), berlin));
        assert_eq!(december.next(berlin).to_string(), "2027-01");
        assert_eq!(december.next(berlin).starts_at, december.ends_at);
        for wrong in [
            "2026",
            "2026-13",
            "2026-00",
            "26-12",
            "2026-1",
            "+026-12",
            "2026-+1",
            "1969-12",
            "2026-12-01",
            "",
        ] {
            assert_eq!(Month::named(wrong, berlin), None, "{wrong}");
        }
    }

    #[test]
    fn a_day_that_a_clock_skipped_is_none() {
        // Samoa went from 29 to 31 December 2011.
        let apia = Zone::named("Pacific/Apia").unwrap();
        let last_hour = time("2011-12-30T09:30:00Z");
        assert_eq!(apia.day_at(last_hour).to_string(), "2011-12-29");
        assert_eq!(apia.next_day(last_hour), time("2011-12-30T10:00:00Z"));
        assert_eq!(apia.day_at(apia.next_day(last_hour)).to_string(), "2011-12-31");
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
