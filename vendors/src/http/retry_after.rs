//! The `Retry-After` header: seconds, or one of the three date forms of RFC 9110 (5.6.7).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// The wait that the header asks for, seen from `now`; a date in the past asks for none. `None` when it says
/// neither.
pub(crate) fn parse_retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_http_date(value)?;
    Some((date - now).to_std().unwrap_or(Duration::ZERO))
}

fn parse_http_date(value: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(value) {
        return Some(date.to_utc());
    }
    let rfc_850 = "%A, %d-%b-%y %H:%M:%S GMT";
    let asctime = "%a %b %e %H:%M:%S %Y";
    [rfc_850, asctime]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(value, format).ok())
        .map(|date| date.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2025-11-06T08:49:00Z").unwrap().to_utc()
    }

    #[test]
    fn seconds_are_read() {
        assert_eq!(parse_retry_after(" 7 ", now()), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("0", now()), Some(Duration::ZERO));
    }

    #[test]
    fn all_three_date_forms_are_read() {
        for date in
            ["Thu, 06 Nov 2025 08:49:37 GMT", "Thursday, 06-Nov-25 08:49:37 GMT", "Thu Nov  6 08:49:37 2025"]
        {
            assert_eq!(parse_retry_after(date, now()), Some(Duration::from_secs(37)), "{date}");
        }
    }

    #[test]
    fn a_past_date_asks_for_no_wait_and_nonsense_for_nothing() {
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now()), Some(Duration::ZERO));
        for value in ["", "soon", "-1", "1.5"] {
            assert_eq!(parse_retry_after(value, now()), None, "{value}");
        }
    }
}
