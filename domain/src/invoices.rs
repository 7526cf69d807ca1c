//! Which month is invoiced next, and to how many digits.

use chrono::{DateTime, Utc};
use events::billing::InvoiceClosed;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::month::{Month, Zone};

/// The month after `closed`, the last that was; without one the month in which the tenant began. It begins where the one
/// before has ended, also when the tenant's clock is another one since.
pub fn next_month(closed: Option<&InvoiceClosed>, began_at: DateTime<Utc>, zone: Zone) -> Month {
    let Some(closed) = closed else { return Month::at(began_at, zone) };
    let before = Month::named(&closed.month, zone).unwrap_or_else(|| Month::at(closed.starts_at, zone));
    before.next(zone).begun_at(closed.ends_at)
}

/// The month that was closed, as it was then.
pub fn closed_month(closed: &InvoiceClosed) -> Month {
    let zone = Zone::named(&closed.time_zone).unwrap_or(Zone::UTC);
    let mut month = Month::named(&closed.month, zone).unwrap_or_else(|| Month::at(closed.starts_at, zone));
    (month.starts_at, month.ends_at) = (closed.starts_at, closed.ends_at);
    month
}

/// The months that are not closed and have begun by `now`, oldest first.
pub fn open_months(
    closed: Option<&InvoiceClosed>,
    began_at: DateTime<Utc>,
    zone: Zone,
    now: DateTime<Utc>,
) -> Vec<Month> {
    let following = |month: &Month| Some(month.next(zone).begun_at(month.ends_at));
    let months = std::iter::successors(Some(next_month(closed, began_at, zone)), following);
    months.take_while(|month| month.starts_at <= now).collect()
}

/// An exact sum as it is to be paid: in cents, halves away from zero. Nothing else on an invoice is rounded.
pub fn payable(sum_usd: Decimal) -> Decimal {
    let mut rounded = sum_usd.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(2);
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn months_follow_each_other_without_a_gap_whatever_the_clock() {
        let [utc, york] = ["UTC", "America/New_York"].map(|name| Zone::named(name).unwrap());
        let first = next_month(None, time("2026-11-21T20:42:01Z"), utc);
        assert_eq!(
            (first.to_string(), first.starts_at),
            ("2026-11".to_owned(), time("2026-11-01T00:00:00Z"))
        );
        let closed = InvoiceClosed {
            month: first.to_string(),
            time_zone: "UTC".to_owned(),
            starts_at: first.starts_at,
            ends_at: first.ends_at,
            through: vec![],
            entries: 0,
            total_usd: Decimal::ZERO,
        };
        let next = next_month(Some(&closed), time("2026-11-21T20:42:01Z"), york);
        assert_eq!(next.to_string(), "2026-12");
        assert_eq!((next.starts_at, next.ends_at), (closed.ends_at, time("2027-01-01T05:00:00Z")));
        assert_eq!(closed_month(&closed), first);

        let open = open_months(Some(&closed), first.starts_at, york, time("2027-02-01T05:00:00Z"));
        let names: Vec<String> = open.iter().map(Month::to_string).collect();
        assert_eq!(names, ["2026-12", "2027-01", "2027-02"]);
        assert!(open.windows(2).all(|months| months[0].ends_at == months[1].starts_at));
    }

    #[test]
    fn a_total_is_rounded_once_to_cents() {
        for (sum, paid) in
            [("0", "0.00"), ("12.3449999", "12.34"), ("12.345", "12.35"), ("-0.005", "-0.01"), ("7", "7.00")]
        {
            assert_eq!(payable(sum.parse().unwrap()).to_string(), paid);
        }
    }
}
