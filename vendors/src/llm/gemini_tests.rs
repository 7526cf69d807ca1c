use serde_json::json;

use super::*;
use crate::llm::Usage;
use crate::llm::wire::{Cut, Piece};

fn call(id: &str, signature: Option<&str>) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: "lookup".into(),
        arguments: json!({"id": 7}),
        signature: signature.map(str::to_owned),
    }
}

fn request(tool_calls: Vec<ToolCall>) -> ChatRequest {
    let result = |id: &str, content: &str, is_error| ChatMessage::ToolResult {
        call_id: id.into(),
        name: "lookup".into(),
        content: content.into(),
        is_error,
    };
    ChatRequest {
        model: String::new(),
        system: "Be kind.".into(),
        messages: vec![
            ChatMessage::User { content: "Hi".into() },
            ChatMessage::Assistant { content: "One moment".into(), tool_calls },
            result("c1", "{\"status\":\"paid\"}", false),
            result("unnamed_call_1", "not found", true),
            result("c3", "42", false),
        ],
        tools: vec![ToolSpec {
            name: "lookup".into(),
            description: "Looks up".into(),
            parameters: json!({"type": "object"}),
        }],
        max_output_tokens: Some(9),
    }
}

fn encode(model: &str, tool_calls: Vec<ToolCall>) -> Value {
    serde_json::from_slice(&Gemini.encode(&request(tool_calls), model, true).unwrap()).unwrap()
}

#[test]
fn a_conversation_is_written_in_the_vendors_words() {
    let calls = vec![call("c1", Some("gemini:c2ln")), call("unnamed_call_1", None), call("c3", None)];
    assert_eq!(
        encode("gemini-3-flash", calls),
        json!({
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "generationConfig": {"maxOutputTokens": 9},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [
                    {"text": "One moment"},
                    {"functionCall": {"id": "c1", "name": "lookup", "args": {"id": 7}}, "thoughtSignature": "c2ln"},
                    {"functionCall": {"name": "lookup", "args": {"id": 7}}},
                    {"functionCall": {"id": "c3", "name": "lookup", "args": {"id": 7}}},
                ]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "c1", "name": "lookup", "response": {"status": "paid"}}},
                    {"functionResponse": {"name": "lookup", "response": {"error": "not found"}}},
                    {"functionResponse": {"id": "c3", "name": "lookup", "response": {"output": 42}}},
                ]},
            ],
            "tools": [{"functionDeclarations": [
                {"name": "lookup", "description": "Looks up", "parametersJsonSchema": {"type": "object"}},
            ]}],
        })
    );
}

#[test]
fn a_call_of_another_vendors_model_gets_the_stand_in_where_signatures_are_required() {
    let signature = |model, signature| {
        encode(model, vec![call("c1", signature)])["contents"][1]["parts"][1]["thoughtSignature"].clone()
    };
    assert_eq!(signature("gemini-3-flash", None), json!(NO_SIGNATURE));
    assert_eq!(signature("gemini-3-flash", Some("other:c2ln")), json!(NO_SIGNATURE));
    assert_eq!(signature("gemini-2.5-flash", None), Value::Null);
    assert_eq!(signature("gemini-2.5-flash", Some("gemini:c2ln")), json!("c2ln"));
}

#[test]
fn a_whole_answer_is_read() {
    let answer = Gemini
        .decode(
            br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"The caller wants","thought":true},
            {"text":"One moment"},{"functionCall":{"name":"lookup","args":{"id":7}},"thoughtSignature":"c2ln"},
            {"functionCall":{"id":null,"name":"close"}}]},"finishReason":"STOP","index":0}],
            "usageMetadata":{"promptTokenCount":5,"cachedContentTokenCount":4,"candidatesTokenCount":3,"thoughtsTokenCount":40,
            "totalTokenCount":48},"modelVersion":"m"}"#,
        )
        .unwrap();
    assert_eq!(answer.text, "One moment");
    let close = ToolCall { id: String::new(), name: "close".into(), arguments: json!({}), signature: None };
    assert_eq!(answer.tool_calls, [call("", Some("gemini:c2ln")), close]);
    assert_eq!(
        answer.usage,
        Some(Usage { tokens_in: 5, tokens_cached: 4, tokens_out: 43, estimated: false })
    );
}

fn run(chunks: &[&str]) -> (Answer, Result<Vec<Piece>, VendorError>) {
    let (mut decoder, mut answer) = (Gemini.stream_decoder(), Answer::default());
    let mut pieces = Vec::new();
    for chunk in chunks {
        for line in [format!("data: {chunk}"), String::new()] {
            match decoder.line(line.as_bytes(), &mut answer) {
                Ok(Piece::Nothing) => {}
                Ok(piece) => pieces.push(piece),
                Err(error) => return (answer, Err(error)),
            }
        }
    }
    let end = decoder.end(&mut answer);
    (answer, end.map(|()| pieces))
}

const TEXT: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]}}],"usageMetadata":{"promptTokenCount":5}}"#;

#[test]
fn chunks_build_the_answer_and_the_last_usage_counts() {
    let (answer, pieces) = run(&[
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true}]}}],"usageMetadata":{"promptTokenCount":5,"thoughtsTokenCount":1}}"#,
        TEXT,
        r#"{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"c1","name":"lookup","args":{"id":7}},"thoughtSignature":"c2ln"}]}}]}"#,
        r#"{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":9,"thoughtsTokenCount":1}}"#,
    ]);
    assert_eq!(pieces.unwrap(), [Piece::Text("Hi".into()), Piece::Call]);
    assert_eq!(answer.text, "Hi");
    assert_eq!(answer.tool_calls, [call("c1", Some("gemini:c2ln"))]);
    assert_eq!(
        answer.usage,
        Some(Usage { tokens_in: 5, tokens_cached: 0, tokens_out: 10, estimated: false })
    );
}

#[test]
fn a_stream_without_a_reason_to_stop_is_dropped() {
    assert_eq!(run(&[TEXT]).1.unwrap_err().code.as_str(), "dropped");
}

#[test]
fn an_error_within_the_stream_is_the_vendors() {
    let error = r#"{"error":{"code":503,"message":"my card is 4111","status":"UNAVAILABLE"}}"#;
    assert_eq!(run(&[TEXT, error]).1.unwrap_err(), VendorError::stream_error());
}

#[test]
fn a_prompt_that_is_blocked_is_refused_for_good() {
    let blocked =
        r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":5}}"#;
    assert_eq!(run(&[blocked]).1.unwrap_err(), VendorError::refused());
    assert_eq!(Gemini.decode(blocked.as_bytes()).unwrap_err(), VendorError::refused());
}

#[test]
fn reasons_to_stop_early_are_told() {
    let cut = |reason: &str| run(&[&format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#)]).0.cut;
    assert_eq!(cut("MAX_TOKENS"), Some(Cut::Length));
    assert_eq!(cut("SAFETY"), Some(Cut::Content));
    assert_eq!(cut("STOP"), None);
    assert_eq!(cut("MALFORMED_FUNCTION_CALL"), None);
}

#[test]
fn error_bodies_tell_when_to_come_back_and_whether_the_key_is_wrong() {
    let body = |detail: Value| {
        let help = json!({"@type": "type.googleapis.com/google.rpc.Help", "links": []});
        let error = json!({"error": {"code": 429, "message": "", "details": [help, detail]}});
        Gemini.refusal(error.to_string().as_bytes())
    };
    let retry =
        |delay: &str| body(json!({"@type": "…/google.rpc.RetryInfo", "retryDelay": delay})).retry_after;
    assert_eq!(retry("17s"), Some(Duration::from_secs(17)));
    assert_eq!(retry("0.5s"), Some(Duration::from_millis(500)));
    for nonsense in ["", "s", "17", "-1s", "NaNs", "1e300s"] {
        assert_eq!(retry(nonsense), None, "{nonsense}");
    }
    assert!(body(json!({"@type": "…/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"})).permanent);
    assert_eq!(Gemini.refusal(b"[]"), Refusal::default());
}
