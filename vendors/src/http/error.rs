//! How a call to a vendor fails, and what follows from it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

/// What to do about a vendor's failure; nothing else decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may work later; `after` is the vendor's own wish, not yet capped.
    Retry { after: Option<Duration> },
    /// The vendor will never take this request; another vendor may.
    Reject,
    /// Our side is set up wrongly (a bad key, a wrong address): a person must act. Another vendor may still
    /// serve.
    Fatal,
}

/// A stable, short name of a failure: a value of metrics and read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The vendor answered with this status, other than 429.
    Http(u16),
    RateLimited,
    /// The attempt's time limit ran out.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The answer was not in the vendor's format, or larger than we accept.
    Garbage,
    /// The connection broke before the answer was whole.
    Dropped,
    /// The vendor began to stream and then reported an error of its own.
    StreamError,
    /// The answer was whole and said nothing.
    EmptyAnswer,
    /// The model had no room to say anything: the limit on its output was spent before.
    OutputLimit,
    /// The vendor's rules about content, or the model's own, allowed no answer.
    Refused,
    /// The account has nothing left to spend, or a limit that only a person can lift.
    QuotaSpent,
    /// We stopped the call.
    Cancelled,
    /// The request could not be made from what is configured; nothing was sent.
    Misconfigured,
}

impl ErrorCode {
    /// The name; statuses that vendors rarely use share one per hundred.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http(400) => "http_400",
            Self::Http(401) => "http_401",
            Self::Http(402) => "http_402",
            Self::Http(403) => "http_403",
            Self::Http(404) => "http_404",
            Self::Http(408) => "http_408",
            Self::Http(409) => "http_409",
            Self::Http(413) => "http_413",
            Self::Http(422) => "http_422",
            Self::Http(500) => "http_500",
            Self::Http(501) => "http_501",
            Self::Http(502) => "http_502",
            Self::Http(503) => "http_503",
            Self::Http(504) => "http_504",
            Self::Http(529) => "http_529",
            Self::Http(300..=399) => "http_3xx",
            Self::Http(400..=499) => "http_4xx",
            Self::Http(500..=599) => "http_5xx",
            Self::Http(_) => "http_other",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Garbage => "garbage",
            Self::Dropped => "dropped",
            Self::StreamError => "stream_error",
            Self::EmptyAnswer => "empty_answer",
            Self::OutputLimit => "output_limit",
            Self::Refused => "refused",
            Self::QuotaSpent => "quota_spent",
            Self::Cancelled => "cancelled",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed call. `detail` is safe to store and show: it never holds a key, an address or anybody's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct VendorError {
    pub class: Class,
    pub code: ErrorCode,
    pub detail: String,
}

/// What an error answer says beyond its status, where the vendor has words for it that a machine can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Refusal {
    pub(crate) retry_after: Option<Duration>,
    /// Waiting does not help, whatever the status promises: a person must act.
    pub(crate) permanent: bool,
}

impl VendorError {
    /// The vendor answered with a status other than success.
    pub(crate) fn from_status(status: StatusCode, refusal: Refusal) -> Self {
        let Refusal { retry_after, permanent } = refusal;
        let number = status.as_u16();
        let class = match number {
            _ if permanent => Class::Fatal,
            408 | 425 | 429 => Class::Retry { after: retry_after },
            401..=403 => Class::Fatal,
            // A redirect is never followed, so the address is wrong.
            300..=399 => Class::Fatal,
            400..=499 => Class::Reject,
            _ => Class::Retry { after: retry_after },
        };
        let code = match number {
            429 if permanent => ErrorCode::QuotaSpent,
            429 => ErrorCode::RateLimited,
            _ => ErrorCode::Http(number),
        };
        Self { class, code, detail: format!("the vendor answered HTTP {number}") }
    }

    /// The request or the reading of the answer broke off.
    pub(crate) fn from_transport(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            return Self {
                class: Class::Fatal,
                code: ErrorCode::Misconfigured,
                detail: "the request to the vendor could not be built".to_owned(),
            };
        }
        let (code, what) = match () {
            () if error.is_connect() => (ErrorCode::Connect, "the vendor could not be reached"),
            () if error.is_timeout() => (ErrorCode::Timeout, "the vendor took too long"),
            () => (ErrorCode::Dropped, "the connection broke before the answer was whole"),
        };
        Self::retryable(code, format!("{what} ({})", root_cause(error)))
    }

    pub(crate) fn garbage(what: &str) -> Self {
        Self::retryable(ErrorCode::Garbage, format!("the answer is not in the vendor's format: {what}"))
    }

    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        Self::retryable(ErrorCode::Garbage, format!("the answer is larger than {limit_bytes} bytes"))
    }

    pub(crate) fn dropped() -> Self {
        Self::retryable(ErrorCode::Dropped, "the stream ended before the answer was whole".to_owned())
    }

    pub(crate) fn stream_error() -> Self {
        Self::retryable(ErrorCode::StreamError, "the vendor reported an error within its stream".to_owned())
    }

    pub(crate) fn timeout(limit: Duration) -> Self {
        Self::retryable(ErrorCode::Timeout, format!("no whole answer within {} ms", limit.as_millis()))
    }

    pub(crate) fn no_first_token(limit: Duration) -> Self {
        Self::retryable(ErrorCode::Timeout, format!("no first token within {} ms", limit.as_millis()))
    }

    pub(crate) fn stalled(limit: Duration) -> Self {
        Self::retryable(ErrorCode::Timeout, format!("the stream stood still for {} ms", limit.as_millis()))
    }

    pub(crate) fn empty_answer() -> Self {
        Self::retryable(ErrorCode::EmptyAnswer, "the answer says nothing".to_owned())
    }

    /// The same request would spend its limit again.
    pub(crate) fn output_limit() -> Self {
        let detail = "the limit on the output was spent before the answer began".to_owned();
        Self { class: Class::Reject, code: ErrorCode::OutputLimit, detail }
    }

    pub(crate) fn refused() -> Self {
        let detail = "the vendor refused to answer because of the content".to_owned();
        Self { class: Class::Reject, code: ErrorCode::Refused, detail }
    }

    pub(crate) fn cancelled() -> Self {
        Self { class: Class::Reject, code: ErrorCode::Cancelled, detail: "the call was cancelled".to_owned() }
    }

    pub(crate) fn misconfigured(detail: &str) -> Self {
        Self { class: Class::Fatal, code: ErrorCode::Misconfigured, detail: detail.to_owned() }
    }

    fn retryable(code: ErrorCode, detail: String) -> Self {
        Self { class: Class::Retry { after: None }, code, detail }
    }
}

/// The innermost error: from the operating system, TLS or HTTP, and so without addresses or bodies.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() { "no cause given".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(status: u16) -> Class {
        VendorError::from_status(StatusCode::from_u16(status).unwrap_or_default(), Refusal::default()).class
    }

    #[test]
    fn statuses_fall_into_their_classes() {
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 529, 599] {
            assert_eq!(class_of(status), Class::Retry { after: None }, "{status}");
        }
        for status in [400, 404, 405, 409, 410, 413, 415, 422, 451] {
            assert_eq!(class_of(status), Class::Reject, "{status}");
        }
        for status in [301, 307, 401, 402, 403] {
            assert_eq!(class_of(status), Class::Fatal, "{status}");
        }
    }

    #[test]
    fn codes_have_stable_names() {
        assert_eq!(ErrorCode::Http(500).as_str(), "http_500");
        assert_eq!(ErrorCode::Http(599).as_str(), "http_5xx");
        assert_eq!(ErrorCode::Http(418).as_str(), "http_4xx");
        let limited = VendorError::from_status(StatusCode::TOO_MANY_REQUESTS, Refusal::default());
        assert_eq!(limited.code.as_str(), "rate_limited");
    }

    #[test]
    fn what_is_permanent_is_never_retried() {
        let refusal = Refusal { retry_after: Some(Duration::from_secs(1)), permanent: true };
        let spent = VendorError::from_status(StatusCode::TOO_MANY_REQUESTS, refusal);
        assert_eq!((spent.class, spent.code.as_str()), (Class::Fatal, "quota_spent"));
        let key = VendorError::from_status(StatusCode::BAD_REQUEST, refusal);
        assert_eq!((key.class, key.code.as_str()), (Class::Fatal, "http_400"));
    }
}
