//! Answers that no honest vendor gives.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use vendors::llm::{AttemptOutcome, AttemptReport, DeltaSink, LlmConfig};

use crate::support::*;

/// What our client reports of a VendorA that answers so.
async fn report(answer: fn() -> axum::response::Response, streaming: bool) -> AttemptReport {
    report_within(answer, streaming, |config| config.timeout = PATIENT).await
}

/// The same with other limits; the whole attempt has 600 ms.
async fn report_within(
    answer: fn() -> axum::response::Response,
    streaming: bool,
    limits: impl FnOnce(&mut LlmConfig),
) -> AttemptReport {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/vendor_a/v1/generate", post(move || async move { answer() }));
    let tracker = TaskTracker::new();
    tracker.spawn(async move { axum::serve(listener, router).await });
    let vendors = vendors_at(address, |config| {
        config.max_retries = 0;
        config.timeout = IMPATIENT;
        limits(config);
    });
    let (sink, _deltas) = DeltaSink::channel(100_000);
    let (_, mut reports) = complete(&vendors, &chain()[..1], &hello(), streaming.then_some(&sink)).await;
    reports.0.remove(0)
}

fn endless() -> axum::response::Response {
    let chunk = format!("event: text\ndata: {{\"text\": \"{}\"}}\n\n", "x".repeat(10_000));
    Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()))).into_response()
}

#[tokio::test]
async fn an_endless_answer_is_cut_off_as_garbage() {
    for streaming in [false, true] {
        let report = report(endless, streaming).await;
        assert_eq!(report.error_code.unwrap().as_str(), "garbage");
        assert_eq!(report.error.unwrap(), "the answer is larger than 1048576 bytes");
        assert_eq!(report.usage.estimated, streaming, "its tokens had come");
    }
}

/// A body that never ends: a piece every few milliseconds.
fn trickle(first: &'static str, piece: &'static str) -> axum::response::Response {
    let pace = tokio::time::interval(Duration::from_millis(5));
    let pieces = stream::unfold(pace, move |mut pace| async move {
        pace.tick().await;
        Some((piece, pace))
    });
    Body::from_stream(stream::iter([first]).chain(pieces).map(Ok::<_, std::io::Error>)).into_response()
}

const WORD: &str = "event: text\ndata: {\"text\": \"a \"}\n\n";
const COMMENT: &str = ": keep-alive\n\n";

#[tokio::test]
async fn words_that_never_end_are_ended_by_the_limit_of_the_whole_attempt() {
    let report = report_within(|| trickle(WORD, WORD), true, |_| {}).await;
    assert_eq!(report.error.unwrap(), "no whole answer within 600 ms");
    assert_eq!(report.outcome, AttemptOutcome::TimedOut);
    assert!(report.usage.estimated && report.usage.tokens_out > 1, "{:?}", report.usage);
}

#[tokio::test]
async fn a_body_of_endless_comments_is_ended() {
    let limit = Duration::from_millis(200);
    let report =
        report_within(|| trickle("", COMMENT), true, |config| config.first_token_timeout = limit).await;
    assert_eq!(report.error.unwrap(), "no first token within 200 ms");
    let report = report_within(|| trickle(WORD, COMMENT), true, |config| config.stall_timeout = limit).await;
    assert_eq!(report.error.unwrap(), "the stream stood still for 200 ms");
    assert!(report.usage.estimated);
    let report = report_within(|| trickle("", "\n"), false, |_| {}).await;
    assert_eq!(report.error.unwrap(), "no whole answer within 600 ms");
}

#[tokio::test]
async fn an_answer_that_announces_too_much_is_not_read() {
    let huge = || {
        let never = Body::from_stream(stream::pending::<Result<String, std::io::Error>>());
        ([(header::CONTENT_LENGTH, "99999999999")], never).into_response()
    };
    assert_eq!(report(huge, false).await.error_code.unwrap().as_str(), "garbage");
}

#[tokio::test]
async fn a_stream_without_its_end_counts_as_dropped() {
    let report = report(|| "event: text\ndata: {\"text\": \"Hel\"}\n\n".into_response(), true).await;
    assert_eq!(report.error_code.unwrap().as_str(), "dropped");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let away = || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response();
    let report = report(away, false).await;
    assert_eq!((report.error_code.unwrap().as_str(), report.status), ("http_3xx", Some(307)));
}

#[tokio::test]
async fn a_vendors_error_text_never_reaches_the_report() {
    let chatty = || (StatusCode::BAD_REQUEST, "you said: my card is 4111").into_response();
    let report = report(chatty, false).await;
    assert_eq!(report.error.as_deref(), Some("the vendor answered HTTP 400"));
    let wrong = || "{\"text\": 4111, \"usage\": \"my card\"}".into_response();
    let text = report_of(wrong).await;
    assert!(!text.contains("4111") && !text.contains("card"), "{text}");
}

async fn report_of(answer: fn() -> axum::response::Response) -> String {
    report(answer, false).await.error.unwrap()
}
