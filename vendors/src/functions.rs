//! Tenants' own functions: a tool that is an HTTP request to an address of the tenant's.
//!
//! Whatever the other side does, a call ends within its time limit, reads a bounded answer, goes nowhere but where
//! [`guard`](crate::http::guard) lets it, and is not sent again when that could do something twice.

mod attempt;

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::WallClock;
use crate::http::ClientError;
use crate::http::guard::{self, Names, UrlPolicy};
use crate::resilience::{Backoff, Jitter};

use attempt::Failed;

/// A larger answer is not a result: it would fill a model's window.
pub const MAX_ANSWER_BYTES: usize = 64 * 1_024;
/// How long a call may take, retries and waits included.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(20);

/// Headers that a tenant cannot set: they are ours, or belong to one connection (RFC 9110, 7.6.1), or frame the message.
/// In lower case.
pub const RESERVED_HEADERS: [&str; 21] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-correlation-id",
];

/// How we introduce ourselves to tenants' servers.
pub(crate) const OUR_NAME: HeaderValue =
    HeaderValue::from_static(concat!("VocalBridge/", env!("CARGO_PKG_VERSION")));

/// Requests of one call at most.
const MAX_ATTEMPTS: u32 = 3;
const BACKOFF: Backoff = Backoff { min_wait: Duration::from_millis(250), max_wait: Duration::from_secs(20) };
/// Two tries to connect fit into a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALLS: &str = "vocalbridge_function_calls_total";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
}

impl Method {
    /// Whether doing it twice is doing it once (RFC 9110, 9.2.2).
    fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Put)
    }
}

/// One call of a function.
#[derive(Clone, Debug)]
pub struct FunctionCall<'a> {
    pub url: &'a str,
    pub method: Method,
    /// The tenant's own headers, names and values as [`is_header`] wants them.
    pub headers: &'a [(String, SecretString)],
    pub arguments: &'a Map<String, Value>,
    /// The same in every request that is made for this call, here and in another process.
    pub idempotency_key: &'a str,
    pub correlation_id: &'a str,
    /// W3C Trace Context.
    pub traceparent: &'a str,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionAnswer {
    /// Of the last answer; `None`: there was none.
    pub http_status: Option<u16>,
    /// What it answered, or what a model may be told of the failure.
    pub result: Result<Value, String>,
}

/// Calls functions. Shared by all tenants; holds nothing of theirs but idle connections.
pub struct Functions {
    client: Client,
    policy: UrlPolicy,
    time_limit: Duration,
    wall_clock: WallClock,
    jitter: Jitter,
}

/// Whether a tenant may set such a header.
pub fn is_header(name: &str, value: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
        && value.is_ascii()
        && HeaderValue::from_str(value).is_ok()
}

impl Functions {
    /// `names` says where names lead.
    ///
    /// # Errors
    /// When the TLS configuration is refused.
    pub fn new(
        policy: UrlPolicy,
        names: &Arc<dyn Names>,
        time_limit: Duration,
        wall_clock: WallClock,
    ) -> Result<Self, ClientError> {
        let client = guard::guarded_client(policy, names, CONNECT_TIMEOUT)?;
        Ok(Self { client, policy, time_limit, wall_clock, jitter: Jitter::new(None) })
    }

    pub async fn call(&self, call: &FunctionCall<'_>) -> FunctionAnswer {
        let deadline = Instant::now() + self.time_limit;
        let answer = match guard::checked(call.url, self.policy) {
            Ok(url) => self.until(deadline, call, &url).await,
            Err(refused) => {
                FunctionAnswer { http_status: None, result: Err(format!("the function's URL {refused}")) }
            }
        };
        let outcome = if answer.result.is_ok() { "ok" } else { "error" };
        counter!(CALLS, "outcome" => outcome).increment(1);
        answer
    }

    async fn until(&self, deadline: Instant, call: &FunctionCall<'_>, url: &Url) -> FunctionAnswer {
        let headers = headers(call);
        let mut last_status = None;
        for number in 1.. {
            let attempt = self.attempt(call, url, headers.clone());
            let Ok(attempted) = timeout_at(deadline, attempt).await else { break };
            let failed = match attempted {
                Ok((status, result)) => {
                    return FunctionAnswer { http_status: Some(status), result: Ok(result) };
                }
                Err(failed) => failed,
            };
            last_status = failed.status;
            let wait = BACKOFF.wait(number, failed.retry_after, self.jitter.next());
            // A wish that is longer than the longest wait is not fulfilled by coming too early.
            let comes_too_early = failed.retry_after.is_some_and(|wish| wish > BACKOFF.max_wait);
            let next = Instant::now() + wait;
            if number == MAX_ATTEMPTS
                || !failed.may_be_repeated(call.method)
                || comes_too_early
                || next >= deadline
            {
                let Failed { status, told, .. } = failed;
                return FunctionAnswer { http_status: status, result: Err(told) };
            }
            sleep_until(next).await;
        }
        FunctionAnswer {
            http_status: last_status,
            result: Err("the function did not answer in time".to_owned()),
        }
    }
}

/// The tenant's headers; ours are set over them.
fn headers(call: &FunctionCall<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in call.headers {
        if let (Ok(name), Ok(mut value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.expose_secret()))
        {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_headers_are_header_names_in_lower_case() {
        for name in RESERVED_HEADERS {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()).unwrap().as_str(), name);
        }
        assert!(is_header("X-Key", "a b\tc") && !is_header("X Key", "a") && !is_header("X-Key", "a\r\nb"));
        assert!(!is_header("X-Key", "\u{2022}") && !is_header("", "a"));
    }
}
