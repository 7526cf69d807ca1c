//! What happens around every request: correlation, panics, problems, the log line and the metrics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use metrics::{counter, histogram};

use crate::problem::{self, Code, Problem};
use crate::trace::{CORRELATION_HEADER, TRACEPARENT_HEADER, Trace};

pub(crate) const REQUESTS: &str = "vocalbridge_http_requests_total";
pub(crate) const DURATION: &str = "vocalbridge_http_request_duration_seconds";
const UNMATCHED: &str = "unmatched";
/// Bodies up to this size are taken off the connection even when nobody wants them.
const UNREAD_BYTES: u64 = 8 * 1_024;

pub(crate) async fn surround(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = name_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let trace = Arc::new(Trace::of(request.headers()));
    let has_large_body = has_large_body(request.headers());
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(trace.clone());

    // A handler that panics takes only its own request with it.
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        Problem::new(Code::InternalError, "the request could not be completed").into_response()
    });
    let (mut response, problem) = problem::written(response, &trace.correlation_id);
    for (name, value) in [
        (CORRELATION_HEADER, trace.correlation_id.as_str()),
        (TRACEPARENT_HEADER, trace.traceparent.as_str()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    if let Some(standing) = trace.rate() {
        standing.write(&path, response.headers_mut());
    }
    // Perhaps it was refused with its body unread: then the connection is of no more use, and the client must know.
    if has_large_body && !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }

    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    record(method, route, response.status(), started.elapsed());
    log(method, route, response.status(), started.elapsed(), &trace, problem.as_ref());
    response
}

/// Larger than what is read in passing, or of a length that nobody knows.
fn has_large_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length > UNREAD_BYTES)
}

fn record(method: &'static str, route: &str, status: StatusCode, duration: Duration) {
    let (route, status) = (route.to_owned(), status.as_str().to_owned());
    histogram!(DURATION, "method" => method, "route" => route.clone()).record(duration.as_secs_f64());
    counter!(REQUESTS, "method" => method, "route" => route, "status" => status).increment(1);
}

fn log(
    method: &'static str,
    route: &str,
    status: StatusCode,
    duration: Duration,
    trace: &Trace,
    problem: Option<&Problem>,
) {
    let tenant_id = trace.tenant_id.get().map(tracing::field::display);
    let correlation_id = trace.correlation_id.as_str();
    let (status, duration_ms) = (status.as_u16(), duration.as_secs_f64() * 1_000.0);
    match problem.map(|problem| (problem.code(), problem.cause())) {
        Some((code, cause)) if status >= 500 => tracing::error!(
            tenant_id,
            correlation_id,
            method,
            route,
            status,
            duration_ms,
            code = code.name(),
            cause,
            "request failed"
        ),
        Some((code, cause)) => tracing::info!(
            tenant_id,
            correlation_id,
            method,
            route,
            status,
            duration_ms,
            code = code.name(),
            cause,
            "request refused"
        ),
        // Asked every few seconds by machines.
        None if matches!(route, "/live" | "/ready" | "/health" | "/metrics") => {
            tracing::debug!(correlation_id, method, route, status, duration_ms, "request answered");
        }
        None => {
            tracing::info!(tenant_id, correlation_id, method, route, status, duration_ms, "request answered")
        }
    }
}

/// Methods are a label of the metrics, so what clients invent must not become one.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(path: &str, method: Method) -> (Response, serde_json::Value) {
        let panics = get(|| async {
            if true {
                panic!("a defect")
            }
        });
        let router = Router::new().route("/panics", panics).layer(axum::middleware::from_fn(surround));
        let request = Request::builder().method(method).uri(path).header("x-correlation-id", "order-17");
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let json = serde_json::from_slice(&to_bytes(body, 10_000).await.unwrap()).unwrap_or_default();
        (Response::from_parts(parts, Body::empty()), json)
    }

    #[tokio::test]
    async fn a_panic_is_a_500_problem() {
        let (response, json) = answer("/panics", Method::GET).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(json["code"], "internal_error");
        assert_eq!(json["correlation_id"], "order-17");
        assert_eq!(response.headers()["x-correlation-id"], "order-17");
        assert!(response.headers().contains_key("traceparent"));
    }

    #[tokio::test]
    async fn an_unknown_route_and_a_wrong_method_are_problems() {
        let (response, json) = answer("/nowhere", Method::GET).await;
        assert_eq!((response.status(), &json["code"]), (StatusCode::NOT_FOUND, &"not_found".into()));
        let (response, json) = answer("/panics", Method::DELETE).await;
        assert_eq!(
            (response.status(), &json["code"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"method_not_allowed".into())
        );
        assert_eq!(response.headers()["allow"], "GET,HEAD");
        assert_eq!(response.headers()["x-correlation-id"], "order-17");
    }
}
