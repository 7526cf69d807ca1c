//! Times in query strings.

use chrono::{DateTime, Utc};

use crate::problem::Problem;

/// An RFC 3339 time, whose years have four digits.
pub(super) fn moment(field: &str, sent: &str) -> Result<DateTime<Utc>, Problem> {
    let invalid = || Problem::invalid_field(field, "must be an RFC 3339 time");
    if !sent.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return Err(invalid());
    }
    // A `+` of an offset that was not percent-encoded arrives as a blank.
    let time = DateTime::parse_from_rfc3339(&sent.replace(' ', "+")).map_err(|_| invalid())?;
    Ok(time.to_utc())
}
