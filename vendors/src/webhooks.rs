//! Telling tenants' addresses what happened: one signed request each time (Standard Webhooks 1.0). Whether and when there
//! is another is not decided here.
//!
//! Whatever the other side does, a request ends within its time limit, keeps the first bytes of the answer, follows no
//! redirect, and goes nowhere but where [`guard`](crate::http::guard) lets it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::counter;
use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::Webhook;
use tokio::time::{Instant, timeout};

use crate::WallClock;
use crate::functions::OUR_NAME;
use crate::http::guard::{self, Names, UrlPolicy};
use crate::http::{Body, ClientError, ErrorCode, VendorError, parse_retry_after};

/// Of an answer; the rest is not read.
pub const MAX_ANSWER_BYTES: usize = 20 * 1_024;
/// From connecting to the answer's head.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(15);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The answer's body says nothing that matters, so nobody waits for it long.
const BODY_TIME: Duration = Duration::from_secs(1);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ID: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_ID);
const TIMESTAMP: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP);
const SIGNATURE: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_SIGNATURE);
const REQUESTS: &str = "vocalbridge_webhook_requests_total";

/// One request.
#[derive(Clone, Debug)]
pub struct Telling<'a> {
    pub url: &'a str,
    /// The same in every request that tells the same.
    pub id: &'a str,
    /// When it is sent.
    pub at: DateTime<Utc>,
    pub body: &'a str,
    /// Each signs: `whsec_` and base64.
    pub secrets: &'a [SecretString],
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// `None`: there was no answer.
    pub status: Option<u16>,
    /// Stable and short; `None`: it arrived.
    pub error_code: Option<String>,
    /// The other side's wish.
    pub retry_after: Option<Duration>,
    /// The answer's beginning.
    pub answer: String,
    /// There was more of it.
    pub answer_cut: bool,
    pub took: Duration,
}

/// A secret that is no secret of ours: the request was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the webhook {id}")]
pub struct Unsigned {
    id: String,
    source: standardwebhooks::WebhookError,
}

/// Tells. Shared by all tenants; holds nothing of theirs but idle connections.
pub struct Webhooks {
    client: Client,
    policy: UrlPolicy,
    time_limit: Duration,
    wall_clock: WallClock,
}

impl Webhooks {
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
        Ok(Self { client, policy, time_limit, wall_clock })
    }

    /// # Errors
    /// When a secret cannot sign.
    pub async fn tell(&self, telling: &Telling<'_>) -> Result<Told, Unsigned> {
        let signature = signature(telling)?;
        let started = Instant::now();
        let mut told = self.sent(telling, &signature).await;
        told.took = started.elapsed();
        let outcome = told.error_code.as_deref().map_or("delivered", class);
        counter!(REQUESTS, "outcome" => outcome).increment(1);
        Ok(told)
    }

    async fn sent(&self, telling: &Telling<'_>, signature: &str) -> Told {
        let Ok(url) = guard::checked(telling.url, self.policy) else { return Told::nothing(URL_REFUSED) };
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, JSON)
            .header(USER_AGENT, OUR_NAME)
            .header(ID, telling.id)
            .header(TIMESTAMP, telling.at.timestamp())
            .header(SIGNATURE, signature)
            .body(telling.body.to_owned());
        let response = match timeout(self.time_limit, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Told::nothing(not_sent(&error)),
            Err(_) => return Told::nothing(TIMED_OUT),
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, (self.wall_clock)()));
        let (answer, answer_cut) =
            Body::new(response, usize::MAX).beginning(MAX_ANSWER_BYTES, BODY_TIME).await;
        Told {
            status: Some(status.as_u16()),
            error_code: (!status.is_success()).then(|| format!("http_{}", status.as_u16())),
            retry_after,
            answer: text(&answer),
            answer_cut,
            took: Duration::ZERO,
        }
    }
}

const URL_REFUSED: &str = "url_refused";
const TIMED_OUT: &str = "timeout";

/// Few enough for a metric's label.
fn class(error_code: &str) -> &'static str {
    match error_code {
        URL_REFUSED => URL_REFUSED,
        TIMED_OUT => TIMED_OUT,
        code if code.starts_with("http_") => "status",
        _ => "network",
    }
}

impl Told {
    fn nothing(error_code: &str) -> Self {
        Self {
            status: None,
            error_code: Some(error_code.to_owned()),
            retry_after: None,
            answer: String::new(),
            answer_cut: false,
            took: Duration::ZERO,
        }
    }
}

/// One part for each secret.
fn signature(telling: &Telling<'_>) -> Result<String, Unsigned> {
    let Telling { id, at, body, secrets, .. } = telling;
    let sign = |secret: &SecretString| {
        Webhook::new(secret.expose_secret())?.sign(id, at.timestamp(), body.as_bytes())
    };
    let parts: Result<Vec<String>, _> = secrets.iter().map(sign).collect();
    Ok(parts.map_err(|source| Unsigned { id: (*id).to_owned(), source })?.join(" "))
}

/// The same size at most, also where bytes that are no text take more room.
fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(MAX_ANSWER_BYTES));
    text
}

fn not_sent(error: &reqwest::Error) -> &'static str {
    if guard::is_refused(error) {
        return URL_REFUSED;
    }
    match VendorError::from_transport(error).code {
        ErrorCode::Connect => "connect",
        ErrorCode::Timeout => TIMED_OUT,
        _ => "broken_off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_one_part_for_each_secret() {
        // The example of the specification's own libraries.
        let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"]
            .map(SecretString::from);
        let telling = Telling {
            url: "https://example.com/",
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at: DateTime::from_timestamp(1_614_265_330, 0).unwrap(),
            body: r#"{"test": 2432232314}"#,
            secrets: &secrets,
        };
        let signature = signature(&telling).unwrap();
        let parts: Vec<&str> = signature.split(' ').collect();
        assert_eq!(parts[0], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(parts.len() == 2 && parts[1].starts_with("v1,") && parts[1] != parts[0]);
    }

    #[test]
    fn an_answer_that_is_no_text_stays_within_its_size() {
        assert_eq!(text(b"ok"), "ok");
        let kept = text(&[0xff; MAX_ANSWER_BYTES]);
        assert!(kept.len() <= MAX_ANSWER_BYTES && kept.len() > MAX_ANSWER_BYTES - 3);
    }
}
