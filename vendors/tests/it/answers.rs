//! Answers that the simulators do not give, and what becomes of them in a chain of two vendors.

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use tokio_util::sync::CancellationToken;
use vendors::llm::{
    CallOptions, ChainFailed, ChatMessage, ChatRequest, Completed, DeltaSink, LlmConfig, LlmEndpoint,
    LlmVendorConfig, LlmVendors, LlmWire, Target, Usage,
};
use vendors::resilience::Backoff;

use crate::support::Reports;

/// Asks vendors that all answer as told: first an OpenAI, retried once, then an Anthropic.
async fn ask(
    openai: impl Fn() -> Response + Clone + Send + Sync + 'static,
    streaming: bool,
) -> (Result<Completed, ChainFailed>, Reports) {
    let fallback = r#"{"content":[{"type":"text","text":"Here I am."}],"stop_reason":"end_turn",
        "usage":{"input_tokens":5,"output_tokens":3}}"#;
    let fallback_stream = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Here I am.\"}}\n\n\
        data: {\"type\":\"message_stop\"}\n\n";
    let router = Router::new().fallback(async move |uri: Uri, _body: Bytes| match uri.path() {
        "/v1/chat/completions" => openai(),
        "/v1/messages" if streaming => fallback_stream.into_response(),
        "/v1/messages" => fallback.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });

    let vendor = |provider: &str, wire, path: &str| LlmVendorConfig {
        provider: provider.to_owned(),
        wire,
        endpoints: vec![LlmEndpoint {
            base_url: format!("http://{address}{path}"),
            api_key: "key".to_owned().into(),
        }],
    };
    let config = LlmConfig {
        vendors: vec![vendor("openai", LlmWire::OpenAi, "/v1"), vendor("anthropic", LlmWire::Anthropic, "")],
        max_retries: 1,
        backoff: Backoff {
            min_wait: std::time::Duration::from_millis(1),
            max_wait: std::time::Duration::from_millis(1),
        },
        ..LlmConfig::default()
    };
    let vendors = LlmVendors::new(config, || DateTime::UNIX_EPOCH).unwrap();
    let chain = ["openai", "anthropic"]
        .map(|provider| Target { provider: provider.to_owned(), model: "m".to_owned() });
    let request = ChatRequest {
        model: String::new(),
        system: String::new(),
        messages: vec![ChatMessage::User { content: "Hello".to_owned() }],
        tools: vec![],
        max_output_tokens: None,
    };
    let (sink, _deltas) = DeltaSink::channel(100);
    let (mut reports, cancel) = (Reports::default(), CancellationToken::new());
    let result = vendors
        .complete(&chain, &request, streaming.then_some(&sink), CallOptions::default(), &mut reports, &cancel)
        .await;
    (result, reports)
}

#[tokio::test]
async fn a_whole_answer_without_usage_is_estimated() {
    for usage in ["", ",\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}"] {
        let answer = format!("{{\"choices\":[{{\"message\":{{\"content\":\"Hi, you!\"}}}}]{usage}}}");
        let (result, reports) = ask(move || answer.clone().into_response(), false).await;
        let expected = Usage { tokens_in: 2, tokens_cached: 0, tokens_out: 2, estimated: true };
        assert_eq!((result.unwrap().reply.usage, reports.0[0].usage), (expected, expected));
    }
}

#[tokio::test]
async fn a_whole_stream_without_usage_is_estimated() {
    let stream =
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hi, you!\"},\"finish_reason\":\"stop\"}]}\n\n";
    let (result, reports) = ask(|| stream.into_response(), true).await;
    assert_eq!(reports.story(), [(1, "openai", "ok")]);
    assert_eq!(
        result.unwrap().reply.usage,
        Usage { tokens_in: 2, tokens_cached: 0, tokens_out: 2, estimated: true }
    );
}

#[tokio::test]
async fn an_empty_answer_is_retried_then_left_to_the_fallback_and_billed() {
    let empty = r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
    let (result, reports) = ask(|| empty.into_response(), false).await;
    assert_eq!(
        reports.story(),
        [(1, "openai", "empty_answer"), (2, "openai", "empty_answer"), (3, "anthropic", "ok")]
    );
    assert_eq!(reports.0[0].usage, Usage { tokens_in: 7, tokens_cached: 0, tokens_out: 1, estimated: false });
    assert_eq!(result.unwrap().reply.text, "Here I am.");
}

#[tokio::test]
async fn a_refused_answer_goes_to_the_fallback_at_once() {
    let refused = r#"{"choices":[{"message":{"content":null},"finish_reason":"content_filter"}]}"#;
    let (_, reports) = ask(|| refused.into_response(), false).await;
    assert_eq!(reports.story(), [(1, "openai", "refused"), (2, "anthropic", "ok")]);
}

#[tokio::test]
async fn what_a_person_must_mend_goes_to_the_fallback_at_once() {
    let quota = r#"{"error":{"message":"my card is 4111","code":"insufficient_quota"}}"#;
    for (status, body, code) in [
        (StatusCode::UNAUTHORIZED, "", "http_401"),
        (StatusCode::FORBIDDEN, "", "http_403"),
        (StatusCode::NOT_FOUND, "", "http_404"),
        (StatusCode::TOO_MANY_REQUESTS, quota, "quota_spent"),
    ] {
        let (result, reports) = ask(move || (status, body).into_response(), true).await;
        assert_eq!(reports.story(), [(1, "openai", code), (2, "anthropic", "ok")]);
        assert!(!reports.0[0].error.as_deref().unwrap_or_default().contains("4111"));
        assert!(result.is_ok());
    }
}

#[tokio::test]
async fn a_web_page_is_retried_and_then_left_to_the_fallback() {
    for streaming in [false, true] {
        let (_, reports) = ask(|| "<!DOCTYPE html>\n<html></html>\n".into_response(), streaming).await;
        assert_eq!(
            reports.story(),
            [(1, "openai", "garbage"), (2, "openai", "garbage"), (3, "anthropic", "ok")]
        );
    }
}

#[tokio::test]
async fn calls_without_ids_get_them_from_the_attempt() {
    let call = r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"lookup","arguments":"{"}}]}}]}"#;
    let (result, _) = ask(|| call.into_response(), false).await;
    let calls = result.unwrap().reply.tool_calls;
    assert_eq!((&*calls[0].id, &calls[0].arguments), ("unnamed_call_1_0", &serde_json::json!("{")));
}
