//! Everything that goes wrong, as the client sees it: RFC 9457 `application/problem+json`.
//!
//! A handler answers a [`Problem`]; it travels to the edge inside the response's extensions, because only the edge
//! knows the correlation id, and is written there by [`written`]. What axum refuses by itself (no such route, wrong
//! method) becomes a problem there as well.

use std::fmt::Display;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::session::BudgetShortage;
use events::{CorrelationId, JobId};
use nats::{AppendError, ReadError};
use projections::keyring::KeyringError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::Usd;

/// Stable names of everything that can go wrong, with the status and title each comes with.
macro_rules! codes {
    ($($code:ident = $name:literal, $status:ident, $title:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($code,)* }

        impl Code {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$code,)*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status,)* }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$code => $title,)* }
            }
        }
    };
}

codes! {
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not JSON";
    InvalidIdempotencyKey = "invalid_idempotency_key", BAD_REQUEST, "The Idempotency-Key cannot be used";
    BadRequest = "bad_request", BAD_REQUEST, "The request cannot be read";
    MissingApiKey = "missing_api_key", UNAUTHORIZED, "An API key is needed";
    InvalidApiKey = "invalid_api_key", UNAUTHORIZED, "The API key is not valid";
    InvalidTicket = "invalid_ticket", UNAUTHORIZED, "The ticket is not valid";
    BudgetExceeded = "budget_exceeded", PAYMENT_REQUIRED, "A monthly budget has no room for this";
    InvalidSignature = "invalid_signature", FORBIDDEN, "The request is not signed by the carrier's account";
    ForeignOrigin = "foreign_origin", FORBIDDEN, "Pages of this origin may not open sockets here";
    Forbidden = "forbidden", FORBIDDEN, "The API key may not do this";
    NotSpoken = "not_spoken", NOT_FOUND, "There is nothing to hear of the message";
    NotFound = "not_found", NOT_FOUND, "There is no such thing";
    RecordingNotFound = "recording_not_found", NOT_FOUND, "The call has no recording";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not offered here";
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED, "This is a WebSocket";
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The body did not arrive in time";
    Conflict = "conflict", CONFLICT, "It was changed by somebody else at the same time";
    SessionEnded = "session_ended", CONFLICT, "The session is over";
    CallEnded = "call_ended", CONFLICT, "The call is over";
    CallActive = "call_active", CONFLICT, "The call is under way";
    NameTaken = "name_taken", CONFLICT, "The name is another's already";
    NumberTaken = "number_taken", CONFLICT, "The number is another tenant's";
    WebhookDisabled = "webhook_disabled", CONFLICT, "The webhook is switched off";
    LimitReached = "limit_reached", CONFLICT, "There cannot be any more";
    AgentUnavailable = "agent_unavailable", CONFLICT, "The agent is deleted or switched off";
    PromptInUse = "prompt_in_use", CONFLICT, "Agents still use the prompt";
    CustomerErased = "customer_erased", CONFLICT, "The customer's data was erased";
    JobFinished = "job_finished", CONFLICT, "The job is over";
    KeyExpired = "key_expired", CONFLICT, "The API key has expired";
    Cancelled = "cancelled", CONFLICT, "The job was cancelled";
    RecordingErased = "recording_erased", GONE, "The customer's data was erased, and the recording with it";
    ContextExceeded = "context_exceeded", PAYLOAD_TOO_LARGE, "The message does not fit into the model's window";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UriTooLong = "uri_too_long", URI_TOO_LONG, "The path is too long";
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is of the wrong media type";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests in a minute";
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "The range begins behind the end";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "Some values are not allowed";
    UnknownField = "unknown_field", UNPROCESSABLE_ENTITY, "There is no such field";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used with another body";
    InvalidAudio = "invalid_audio", UNPROCESSABLE_ENTITY, "The recording cannot be heard";
    NoSpeech = "no_speech", UNPROCESSABLE_ENTITY, "Nothing is said in the recording";
    ConcurrencyLimit = "concurrency_limit", TOO_MANY_REQUESTS, "There is as much under way as the limits allow";
    InternalError = "internal_error", INTERNAL_SERVER_ERROR, "Something failed on our side";
    SpeechFailed = "speech_failed", BAD_GATEWAY, "The recording could not be heard by whom it was given to";
    VendorFailed = "vendor_failed", BAD_GATEWAY, "Every vendor was tried and failed";
    McpServerFailed = "mcp_server_failed", BAD_GATEWAY, "The MCP server does not answer as it should";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "A part of the system is away at the moment";
    SpeechUnavailable = "speech_unavailable", SERVICE_UNAVAILABLE, "Nobody is there to hear the recording";
    AtCapacity = "at_capacity", SERVICE_UNAVAILABLE, "Too much work is under way at the moment";
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, "This server is stopping";
    VendorTimeout = "vendor_timeout", GATEWAY_TIMEOUT, "The vendors did not answer in time";
    ToolTimeout = "tool_timeout", GATEWAY_TIMEOUT, "The tool has not answered yet";
}

/// One thing that went wrong. Boxed, because it is the rare half of every `Result`.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    job_id: Option<JobId>,
    retry_after_seconds: Option<u64>,
    shortage: Option<BudgetShortage>,
    /// What really happened, for our log only.
    cause: Option<String>,
}

/// A field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Path of the field, such as `metadata.plan` or `fallbacks[0]`.
    #[schema(example = "name")]
    pub field: String,
    #[schema(example = "must have 1 to 200 characters")]
    pub message: String,
}

/// RFC 9457 problem details; the media type is `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:vocalbridge:problem:not_found", "title": "There is no such thing", "status": 404,
    "detail": "no such agent", "code": "not_found", "correlation_id": "0193e2f4-5f1c-7c52-9d3f-0242ac120002"
}))]
pub(crate) struct ProblemBody<'a> {
    /// `urn:vocalbridge:problem:<code>`.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    /// Stable; branch on this.
    code: &'static str,
    correlation_id: &'a str,
    /// What is wrong with which field; with a 422.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    /// The job of the message that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    job_id: Option<JobId>,
    /// The most that it could have cost; with `budget_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    required_usd: Option<Usd>,
    /// What is neither spent nor held back for work under way; with `budget_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_usd: Option<Usd>,
}

/// Seconds in `Retry-After` when nothing better is known.
const RETRY_AFTER_SECONDS: u64 = 2;
/// When something that is under way only has to end.
const RETRY_SOON_SECONDS: u64 = 1;
/// Tells clients that repeat by themselves not to.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Display) -> Self {
        let retry_after_seconds = match code.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
            StatusCode::TOO_MANY_REQUESTS => Some(RETRY_SOON_SECONDS),
            _ => None,
        };
        Self(Box::new(Inner {
            code,
            detail: detail.to_string(),
            errors: Vec::new(),
            job_id: None,
            retry_after_seconds,
            shortage: None,
            cause: None,
        }))
    }

    /// `what` is named in the singular, such as `agent`. Also for what belongs to another tenant.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format_args!("no such {what}"))
    }

    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        let mut problem =
            Self::new(Code::ValidationFailed, format_args!("not allowed: {}", fields.join(", ")));
        problem.0.errors = errors;
        problem
    }

    pub(crate) fn invalid_field(field: &str, message: impl Display) -> Self {
        Self::invalid(vec![FieldError { field: field.to_owned(), message: message.to_string() }])
    }

    pub(crate) fn unknown_field(field: String) -> Self {
        let mut problem = Self::new(Code::UnknownField, format_args!("unknown field {field}"));
        problem.0.errors = vec![FieldError { field, message: "there is no such field".to_owned() }];
        problem
    }

    /// A defect or a state nobody planned for: the client learns nothing, our log everything.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(Code::InternalError, "the request could not be completed").caused_by(error)
    }

    /// NATS or Postgres is away; the same request may succeed in a moment.
    pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(Code::Unavailable, "try again in a moment").caused_by(error)
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// A hard budget has no room.
    pub(crate) fn over_budget(shortage: &BudgetShortage) -> Self {
        let mut problem = Self::new(Code::BudgetExceeded, shortage.detail());
        problem.0.shortage = Some(shortage.clone());
        problem
    }

    pub(crate) fn with_job(mut self, job_id: JobId) -> Self {
        self.0.job_id = Some(job_id);
        self
    }

    pub(crate) fn caused_by(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.0.cause = Some(chain(error));
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub(crate) fn body<'a>(&'a self, correlation_id: &'a CorrelationId) -> ProblemBody<'a> {
        let Inner { code, detail, errors, job_id, shortage, .. } = &*self.0;
        ProblemBody {
            kind: format!("urn:vocalbridge:problem:{}", code.name()),
            title: code.title(),
            status: code.status().as_u16(),
            detail,
            code: code.name(),
            correlation_id: correlation_id.as_str(),
            errors,
            job_id: *job_id,
            required_usd: shortage.as_ref().map(|shortage| Usd(shortage.required_usd)),
            remaining_usd: shortage.as_ref().map(|shortage| Usd(shortage.remaining_usd)),
        }
    }
}

/// The error and its sources in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::unavailable(&error),
            ReadError::Undecodable { .. } => Self::internal(&error),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { .. } => {
                Self::new(Code::Conflict, "load it again and try once more").caused_by(&error)
            }
            AppendError::TooLarge { .. } => {
                Self::new(Code::PayloadTooLarge, "the event would be too large").caused_by(&error)
            }
            AppendError::Unavailable { .. } | AppendError::Unverified { .. } => Self::unavailable(&error),
        }
    }
}

impl From<nats::once::OnceError> for Problem {
    fn from(error: nats::once::OnceError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<projections::database::Error> for Problem {
    fn from(error: projections::database::Error) -> Self {
        match error {
            projections::database::Error::Unavailable(_) => Self::unavailable(&error),
            _ => Self::internal(&error),
        }
    }
}

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Unavailable(_) => Self::unavailable(&error),
            KeyringError::Erased { .. } => {
                Self::new(Code::CustomerErased, "open a new session").caused_by(&error)
            }
            KeyringError::Corrupt { .. } | KeyringError::NoRandomness => Self::internal(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        if let Some(seconds) = self.0.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.code.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.0.code.status() == StatusCode::PAYMENT_REQUIRED {
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem of a response, if it has one, and turns a bare error of axum's into one. Keeps the headers.
pub(crate) fn written(mut response: Response, correlation_id: &CorrelationId) -> (Response, Option<Problem>) {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(&response) => of_status(response.status()),
        None => return (response, None),
    };
    let body = serde_json::to_vec(&problem.body(correlation_id)).unwrap_or_default();
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (response, Some(problem))
}

fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    (status.is_client_error() || status.is_server_error())
        && content_type.is_none_or(|content_type| content_type.as_bytes().starts_with(b"text/plain"))
}

fn of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("route"),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(Code::MethodNotAllowed, "see the Allow header"),
        status if status.is_client_error() => Problem::new(Code::BadRequest, "the request cannot be read"),
        _ => Problem::new(Code::InternalError, "the request could not be completed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(problem: &Problem) -> serde_json::Value {
        serde_json::to_value(problem.body(&CorrelationId::parse("abc").unwrap())).unwrap()
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_ours() {
        let body = json(&Problem::not_found("agent"));
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:vocalbridge:problem:not_found", "title": "There is no such thing", "status": 404,
                "detail": "no such agent", "code": "not_found", "correlation_id": "abc",
            })
        );
    }

    #[test]
    fn a_422_names_the_fields() {
        let body = json(&Problem::invalid_field("name", "must have 1 to 200 characters"));
        assert_eq!(body["errors"][0]["field"], "name");
        assert_eq!(body["code"], "validation_failed");
    }

    #[test]
    fn the_cause_never_reaches_the_client() {
        let error = std::io::Error::other("password=hunter2");
        assert!(!json(&Problem::internal(&error)).to_string().contains("hunter2"));
    }

    #[test]
    fn codes_are_unique_snake_case() {
        let names: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[tokio::test]
    async fn a_bare_error_becomes_a_problem_and_keeps_its_headers() {
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        let (response, problem) = written(response, &CorrelationId::new());
        assert_eq!(problem.unwrap().code(), Code::MethodNotAllowed);
        assert_eq!(response.headers()[header::ALLOW], "GET");
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    }

    #[test]
    fn at_capacity_says_when_to_come_back() {
        let response = Problem::new(Code::AtCapacity, "busy").into_response();
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
