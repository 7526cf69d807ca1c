use serde_json::json;

use super::*;
use crate::llm::Usage;
use crate::llm::wire::{Cut, Piece};

const COMPATIBLE: &str = "http://127.0.0.1:11434/v1";

fn call(id: &str, name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments, signature: None }
}

fn request() -> ChatRequest {
    let result = |id: &str, content: &str, is_error| ChatMessage::ToolResult {
        call_id: id.into(),
        name: "lookup".into(),
        content: content.into(),
        is_error,
    };
    let calls = vec![call("c1", "lookup", json!({"id": 7})), call("c2", "lookup", json!("{\"id\":"))];
    ChatRequest {
        model: String::new(),
        system: "Be kind.".into(),
        messages: vec![
            ChatMessage::User { content: "Hi".into() },
            ChatMessage::Assistant { content: String::new(), tool_calls: calls },
            result("c1", "{}", false),
            result("c2", "no JSON", true),
            ChatMessage::Assistant { content: "Found.".into(), tool_calls: vec![] },
        ],
        tools: vec![ToolSpec {
            name: "lookup".into(),
            description: "Looks up".into(),
            parameters: json!({"type": "object"}),
        }],
        max_output_tokens: Some(9),
    }
}

fn encode(base_url: &str, request: &ChatRequest, streaming: bool) -> Value {
    serde_json::from_slice(&OpenAi::at(base_url).encode(request, "a-model", streaming).unwrap()).unwrap()
}

#[test]
fn a_conversation_is_written_in_the_vendors_words() {
    assert_eq!(
        encode(COMPATIBLE, &request(), true),
        json!({
            "model": "a-model", "max_tokens": 9, "stream": true, "stream_options": {"include_usage": true},
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{\"id\":7}"}},
                    {"id": "c2", "type": "function",
                     "function": {"name": "lookup", "arguments": "{\"malformed\":\"{\\\"id\\\":\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": "{}"},
                {"role": "tool", "tool_call_id": "c2", "content": "no JSON"},
                {"role": "assistant", "content": "Found."},
            ],
            "tools": [{"type": "function", "function":
                {"name": "lookup", "description": "Looks up", "parameters": {"type": "object"}}}],
        })
    );
}

#[test]
fn openai_itself_knows_the_limit_by_another_name() {
    let body = encode("https://api.openai.com/v1", &request(), false);
    assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(9), None));
    assert_eq!((&body["stream"], body.get("stream_options")), (&json!(false), None));
}

#[test]
fn a_whole_answer_is_read() {
    let answer = OpenAi::at(COMPATIBLE)
        .decode(
            br#"{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",
            "content":"One moment","refusal":null,"reasoning_content":"hm","tool_calls":[{"id":"c1","type":"function",
            "function":{"name":"lookup","arguments":"{\"id\": 7}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],
            "usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":null},
            "completion_tokens":3,"total_tokens":8}}"#,
        )
        .unwrap();
    assert_eq!(answer.text, "One moment");
    assert_eq!(answer.tool_calls, [call("c1", "lookup", json!({"id": 7}))]);
    assert_eq!(answer.usage, Some(Usage { tokens_in: 5, tokens_cached: 4, tokens_out: 3, estimated: false }));
}

#[test]
fn deepseek_tells_in_its_own_way_what_it_had_kept() {
    for (details, cached) in [
        (r#""prompt_cache_hit_tokens":3,"prompt_cache_miss_tokens":2"#, 3),
        (r#""prompt_tokens_details":null,"prompt_cache_hit_tokens":9"#, 5),
        (r#""prompt_tokens_details":{}"#, 0),
    ] {
        let last =
            format!(r#"{{"choices":[],"usage":{{"prompt_tokens":5,"completion_tokens":2,{details}}}}}"#);
        let (answer, _) = run(&[STOP, &last, "[DONE]"]);
        assert_eq!(
            answer.usage.map(|usage| (usage.tokens_in, usage.tokens_cached)),
            Some((5, cached)),
            "{details}"
        );
    }
}

/// Reads chunks as events of a stream that then ends.
fn run(chunks: &[&str]) -> (Answer, Result<Vec<Piece>, VendorError>) {
    let (mut decoder, mut answer) = (OpenAi::at(COMPATIBLE).stream_decoder(), Answer::default());
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
    if pieces.last() == Some(&Piece::End) {
        return (answer, Ok(pieces));
    }
    let end = decoder.end(&mut answer);
    (answer, end.map(|()| pieces))
}

/// The calls of a stream that brings these deltas, one in each chunk.
fn calls(deltas: &[&str]) -> Vec<ToolCall> {
    let chunks: Vec<_> = deltas
        .iter()
        .map(|delta| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{delta}]}}}}]}}"#))
        .chain([r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned()])
        .collect();
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let (answer, pieces) = run(&chunks);
    assert!(pieces.unwrap().iter().all(|piece| *piece == Piece::Call));
    answer.tool_calls
}

const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;

#[test]
fn chunks_build_the_answer_and_the_last_tells_its_usage() {
    let (answer, pieces) = run(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"The caller"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":""}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#,
        STOP,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        "[DONE]",
    ]);
    assert_eq!(pieces.unwrap(), [Piece::Text("Hel".into()), Piece::Text("lo".into()), Piece::End]);
    assert_eq!(answer.text, "Hello");
    assert_eq!(answer.usage, Some(Usage { tokens_in: 5, tokens_cached: 0, tokens_out: 2, estimated: false }));
}

#[test]
fn groq_tells_the_usage_in_a_place_of_its_own() {
    let chunk = r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":5,"completion_tokens":2,"queue_time":0.1}}}"#;
    assert_eq!(run(&[chunk, "[DONE]"]).0.usage.unwrap().tokens_in, 5);
}

#[test]
fn a_call_split_over_deltas_is_joined_by_its_index() {
    let joined = calls(&[
        r#"{"index":1,"id":"c1","type":"function","function":{"name":"lookup","arguments":""}}"#,
        r#"{"index":1,"function":{"arguments":"{\"id\""}}"#,
        r#"{"index":2,"id":"c2","type":"function","function":{"name":"close","arguments":""}}"#,
        r#"{"index":1,"id":"","function":{"name":"","arguments":": 7}"}}"#,
        r#"{"index":1,"id":"c1","function":{"name":"lookup","arguments":""}}"#,
    ]);
    assert_eq!(joined, [call("c1", "lookup", json!({"id": 7})), call("c2", "close", json!({}))]);
}

#[test]
fn calls_without_an_index_are_told_apart_by_their_ids() {
    let joined = calls(&[
        r#"{"id":"c1","function":{"name":"lookup","arguments":"{\"id\""}}"#,
        r#"{"function":{"arguments":": 7}"}}"#,
        r#"{"id":"c2","function":{"name":"lookup","arguments":"{}"}}"#,
    ]);
    assert_eq!(joined, [call("c1", "lookup", json!({"id": 7})), call("c2", "lookup", json!({}))]);
}

#[test]
fn whole_calls_without_ids_are_told_apart_by_their_names() {
    for index in ["\"index\":0,", ""] {
        let deltas = [7, 8].map(|id| {
            format!(
                r#"{{{index}"type":"function","function":{{"name":"lookup","arguments":"{{\"id\":{id}}}"}}}}"#
            )
        });
        let expected = [7, 8].map(|id| call("", "lookup", json!({"id": id})));
        assert_eq!(calls(&deltas.each_ref().map(String::as_str)), expected, "{index}");
    }
}

#[test]
fn arguments_that_are_no_json_stay_what_the_model_wrote() {
    let broken = r#"{"index":0,"id":"c1","function":{"name":"lookup","arguments":"{\"id\": "}}"#;
    assert_eq!(calls(&[broken]), [call("c1", "lookup", json!("{\"id\": "))]);
}

#[test]
fn a_reason_to_stop_makes_a_stream_whole_without_done() {
    let text = r#"{"choices":[{"delta":{"content":"Hi"}}]}"#;
    assert_eq!(run(&[text, STOP]).1.unwrap(), [Piece::Text("Hi".into())]);
    assert_eq!(run(&[text]).1.unwrap_err().code.as_str(), "dropped");
}

#[test]
fn an_error_within_the_stream_is_the_vendors() {
    let text = r#"{"choices":[{"delta":{"content":"Hi"}}],"error":null}"#;
    let error = r#"{"error":{"message":"my card is 4111","type":"server_error"}}"#;
    let (answer, pieces) = run(&[text, error, "[DONE]"]);
    let error = pieces.unwrap_err();
    assert_eq!((answer.text.as_str(), error.code.as_str()), ("Hi", "stream_error"));
    assert!(!error.detail.contains("4111"));
}

#[test]
fn reasons_to_stop_early_are_told() {
    let cut = |choice: &str| run(&[&format!(r#"{{"choices":[{choice}]}}"#), STOP]).0.cut;
    assert_eq!(cut(r#"{"delta":{},"finish_reason":"length"}"#), Some(Cut::Length));
    assert_eq!(cut(r#"{"delta":{},"finish_reason":"content_filter"}"#), Some(Cut::Content));
    assert_eq!(cut(r#"{"delta":{"refusal":"I cannot"},"finish_reason":null}"#), Some(Cut::Content));
    assert_eq!(cut(r#"{"delta":{"content":"a"},"finish_reason":"stop"}"#), None);
}

#[test]
fn a_spent_quota_is_permanent_and_a_rate_limit_is_not() {
    let permanent = |body: &str| OpenAi::at(COMPATIBLE).refusal(body.as_bytes()).permanent;
    assert!(permanent(r#"{"error":{"message":"","type":"insufficient_quota","code":"insufficient_quota"}}"#));
    assert!(permanent(r#"{"error":{"code":"billing_not_active"}}"#));
    assert!(!permanent(r#"{"error":{"type":"requests","code":"rate_limit_exceeded"}}"#));
    assert!(!permanent(r#"{"error":{"type":null,"code":429}}"#));
    assert!(!permanent("<html>"));
}
