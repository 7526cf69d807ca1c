//! A span of time cut into hours or days, for reports.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};

use crate::month::Zone;

/// How fine a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Hours of UTC, everywhere: an hour has 60 minutes, also where a clock is put back.
    Hour,
    /// Days on the clock of a place, of 23 to 25 hours.
    Day,
}

impl Interval {
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// When the one that `time` is in begins.
    pub fn start(self, time: DateTime<Utc>, zone: Zone) -> DateTime<Utc> {
        match self {
            Self::Hour => whole(time, TimeDelta::hours(1)),
            Self::Day => zone.start_of(zone.day_at(time)),
        }
    }

    /// When the next one after `time` begins.
    pub fn next(self, time: DateTime<Utc>, zone: Zone) -> DateTime<Utc> {
        match self {
            Self::Hour => whole(time, TimeDelta::hours(1)) + TimeDelta::hours(1),
            Self::Day => zone.next_day(time),
        }
    }

    /// Cuts `span` at each beginning; the first and the last part may be shorter. `None`: there are more than `most`.
    pub fn cut(
        self,
        span: Range<DateTime<Utc>>,
        zone: Zone,
        most: usize,
    ) -> Option<Vec<Range<DateTime<Utc>>>> {
        let (mut parts, mut at) = (Vec::new(), span.start);
        while at < span.end {
            if parts.len() == most {
                return None;
            }
            let end = self.next(at, zone).min(span.end);
            parts.push(at..end);
            at = end;
        }
        Some(parts)
    }
}

/// The last whole multiple of `unit`, since 1970 in UTC, that is not after `time`.
pub fn whole(time: DateTime<Utc>, unit: TimeDelta) -> DateTime<Utc> {
    let unit = unit.num_seconds().max(1);
    DateTime::from_timestamp(time.timestamp().div_euclid(unit) * unit, 0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn hours(span: Range<&str>, zone: &str) -> Vec<i64> {
        let zone = Zone::named(zone).unwrap();
        let days = Interval::Day.cut(time(span.start)..time(span.end), zone, 10).unwrap();
        days.iter().map(|day| (day.end - day.start).num_hours()).collect()
    }

    #[test]
    fn a_day_has_23_to_25_hours() {
        assert_eq!(hours("2026-03-07T05:00:00Z".."2026-03-10T04:00:00Z", "America/New_York"), [24, 23, 24]);
        assert_eq!(hours("2026-10-31T04:00:00Z".."2026-11-03T05:00:00Z", "America/New_York"), [24, 25, 24]);
        assert_eq!(hours("2026-11-01T00:00:00Z".."2026-11-02T00:00:00Z", "Asia/Kolkata"), [18, 5]);
    }

    #[test]
    fn too_many_parts_are_none() {
        let span = time("2026-01-01T00:00:00Z")..time("2026-01-01T03:00:01Z");
        assert_eq!(Interval::Hour.cut(span.clone(), Zone::UTC, 4).unwrap().len(), 4);
        assert_eq!(Interval::Hour.cut(span, Zone::UTC, 3), None);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            start in 1_000_000_000i64..2_000_000_000, seconds in 0i64..4_000_000, daily: bool,
            zone in prop::sample::select(vec!["UTC", "America/New_York", "Asia/Kolkata", "America/Asuncion", "Pacific/Apia"])
        ) {
            let zone = Zone::named(zone).unwrap();
            let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
            let span = at(start)..at(start + seconds);
            let interval = if daily { Interval::Day } else { Interval::Hour };
            let parts = interval.cut(span.clone(), zone, 10_000).unwrap();
            let mut end = span.start;
            for part in &parts {
                prop_assert!(part.start == end && part.end > part.start);
                prop_assert_eq!(interval.start(part.end - TimeDelta::seconds(1), zone), interval.start(part.start, zone));
                end = part.end;
            }
            prop_assert_eq!(end, span.end);
        }
    }
}
