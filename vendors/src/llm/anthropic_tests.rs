use serde_json::json;

use super::*;
use crate::llm::wire::{Cut, Piece};
use crate::llm::{ToolCall, ToolSpec, Usage};

fn call(id: &str, name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments, signature: Some("gemini:other".into()) }
}

fn encode(messages: Vec<ChatMessage>) -> Value {
    let request = ChatRequest {
        model: String::new(),
        system: "Be kind.".into(),
        messages,
        tools: vec![ToolSpec {
            name: "lookup".into(),
            description: "Looks up".into(),
            parameters: json!({"type": "object"}),
        }],
        max_output_tokens: None,
    };
    serde_json::from_slice(&Anthropic.encode(&request, "a-model", true).unwrap()).unwrap()
}

fn user(content: &str) -> ChatMessage {
    ChatMessage::User { content: content.into() }
}

fn result(id: &str, content: &str, is_error: bool) -> ChatMessage {
    ChatMessage::ToolResult { call_id: id.into(), name: "lookup".into(), content: content.into(), is_error }
}

#[test]
fn a_conversation_is_written_in_the_vendors_words() {
    let calls = vec![call("c1", "lookup", json!({"id": 7})), call("f.lookup:1", "lookup", json!("{\"id\":"))];
    let body = encode(vec![
        user("Hi"),
        user("there"),
        ChatMessage::Assistant { content: " ".into(), tool_calls: calls },
        result("c1", "{}", false),
        result("f.lookup:1", "no JSON", true),
        user("And?"),
    ]);
    assert_eq!(
        body,
        json!({
            "model": "a-model", "max_tokens": 4096, "system": "Be kind.", "stream": true,
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "c1", "name": "lookup", "input": {"id": 7}},
                    {"type": "tool_use", "id": "f_lookup_1", "name": "lookup", "input": {"malformed": "{\"id\":"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "{}", "is_error": false},
                    {"type": "tool_result", "tool_use_id": "f_lookup_1", "content": "no JSON", "is_error": true},
                    {"type": "text", "text": "And?"},
                ]},
            ],
            "tools": [{"name": "lookup", "description": "Looks up", "input_schema": {"type": "object"}}],
        })
    );
}

#[test]
fn messages_without_words_are_left_out() {
    let silent = ChatMessage::Assistant { content: String::new(), tool_calls: vec![] };
    let body = encode(vec![user("Hi"), silent, user("Hello?")]);
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn the_version_and_the_key_are_in_the_headers() {
    let headers = Anthropic.headers(&"k".to_owned().into()).unwrap();
    assert_eq!(headers["anthropic-version"], VERSION);
    assert_eq!(headers["x-api-key"], "k");
    assert!(headers["x-api-key"].is_sensitive());
}

#[test]
fn a_whole_answer_is_read() {
    let answer = Anthropic
        .decode(
            br#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[
            {"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"One moment"},
            {"type":"tool_use","id":"toolu_1","name":"lookup","input":{"id":7}}],"stop_reason":"tool_use",
            "stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":20,
            "cache_read_input_tokens":100,"output_tokens":3}}"#,
        )
        .unwrap();
    assert_eq!(answer.text, "One moment");
    assert_eq!((&*answer.tool_calls[0].id, &answer.tool_calls[0].arguments), ("toolu_1", &json!({"id": 7})));
    assert_eq!(
        answer.usage,
        Some(Usage { tokens_in: 125, tokens_cached: 100, tokens_out: 3, estimated: false })
    );
}

fn run(events: &[Value]) -> (Answer, Result<Vec<Piece>, VendorError>) {
    let (mut decoder, mut answer) = (Anthropic.stream_decoder(), Answer::default());
    let mut pieces = Vec::new();
    for event in events {
        for line in [format!("event: {}", event["type"]), format!("data: {event}"), String::new()] {
            match decoder.line(line.as_bytes(), &mut answer) {
                Ok(Piece::Nothing) => {}
                Ok(piece) => pieces.push(piece),
                Err(error) => return (answer, Err(error)),
            }
        }
    }
    (answer, Ok(pieces))
}

fn start(index: u32, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u32, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn part(index: u32, json: &str) -> Value {
    delta(index, json!({"type": "input_json_delta", "partial_json": json}))
}

fn stop(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn tool(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "lookup", "input": {}})
}

fn message_delta(reason: &str, usage: Value) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage})
}

#[test]
fn events_build_the_answer() {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 1});
    let (answer, pieces) = run(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": usage}}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        json!({"type": "ping"}),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "s"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "One "})),
        json!({"type": "ping"}),
        delta(1, json!({"type": "text_delta", "text": "moment"})),
        stop(1),
        start(2, tool("toolu_1")),
        part(2, ""),
        part(2, "{\"id\""),
        part(2, ": 7}"),
        stop(2),
        start(3, tool("toolu_2")),
        stop(3),
        start(4, tool("toolu_3")),
        part(4, "{\"id\": "),
        stop(4),
        message_delta("tool_use", json!({"output_tokens": 30})),
        json!({"type": "message_stop"}),
    ]);
    let pieces = pieces.unwrap();
    assert_eq!(pieces[..2], [Piece::Text("One ".into()), Piece::Text("moment".into())]);
    assert_eq!(pieces.last(), Some(&Piece::End));
    assert_eq!(answer.text, "One moment");
    let calls: Vec<_> = answer.tool_calls.iter().map(|call| (&*call.id, &call.arguments)).collect();
    let expected = [json!({"id": 7}), json!({}), json!("{\"id\": ")];
    assert_eq!(calls, [("toolu_1", &expected[0]), ("toolu_2", &expected[1]), ("toolu_3", &expected[2])]);
    assert_eq!(
        answer.usage,
        Some(Usage { tokens_in: 105, tokens_cached: 100, tokens_out: 30, estimated: false })
    );
}

#[test]
fn a_gateway_may_tell_the_input_only_at_the_end() {
    let (answer, _) = run(&[
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}),
        message_delta("end_turn", json!({"input_tokens": 9, "output_tokens": 4})),
        json!({"type": "message_stop"}),
    ]);
    assert_eq!(answer.usage, Some(Usage { tokens_in: 9, tokens_cached: 0, tokens_out: 4, estimated: false }));
}

#[test]
fn an_error_event_is_the_vendors() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let text = delta(0, json!({"type": "text_delta", "text": "Hi"}));
    let (answer, pieces) = run(&[text, overloaded]);
    assert_eq!((answer.text.as_str(), pieces.unwrap_err().code.as_str()), ("Hi", "stream_error"));
}

#[test]
fn reasons_to_stop_early_are_told() {
    let cut = |reason: &str| run(&[message_delta(reason, json!({"output_tokens": 1}))]).0.cut;
    assert_eq!(cut("max_tokens"), Some(Cut::Length));
    assert_eq!(cut("refusal"), Some(Cut::Content));
    assert_eq!(cut("end_turn"), None);
}

#[test]
fn a_missing_payment_is_permanent_and_an_overload_is_not() {
    let body = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": ""}}).to_string();
    assert!(Anthropic.refusal(body("billing_error").as_bytes()).permanent);
    assert_eq!(Anthropic.refusal(body("overloaded_error").as_bytes()), Refusal::default());
}
