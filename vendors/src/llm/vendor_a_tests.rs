use serde_json::json;

use super::*;
use crate::llm::ToolSpec;

#[test]
fn a_conversation_is_written_in_the_vendors_words() {
    let call =
        ToolCall { id: "c1".into(), name: "lookup".into(), arguments: json!({"id": 7}), signature: None };
    let request = ChatRequest {
        model: String::new(),
        system: "Be kind.".into(),
        messages: vec![
            ChatMessage::User { content: "Hi".into() },
            ChatMessage::Assistant { content: String::new(), tool_calls: vec![call] },
            ChatMessage::ToolResult {
                call_id: "c1".into(),
                name: "lookup".into(),
                content: "{}".into(),
                is_error: true,
            },
        ],
        tools: vec![ToolSpec {
            name: "lookup".into(),
            description: "Looks up".into(),
            parameters: json!({"type": "object"}),
        }],
        max_output_tokens: Some(9),
    };
    let body: Value = serde_json::from_slice(&VendorA.encode(&request, "vendor-a-1", true).unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "model": "vendor-a-1", "system": "Be kind.", "max_tokens": 9, "stream": true,
            "turns": [
                {"role": "user", "text": "Hi"},
                {"role": "assistant", "text": "", "calls": [{"id": "c1", "tool": "lookup", "input": {"id": 7}}]},
                {"role": "tool", "call_id": "c1", "tool": "lookup", "text": "{}", "failed": true},
            ],
            "tools": [{"name": "lookup", "description": "Looks up", "input_schema": {"type": "object"}}],
        })
    );
}

fn run(lines: &[&str]) -> (Answer, Result<Vec<Piece>, VendorError>) {
    let (mut events, mut reply) = (ServerSentEvents::<Streamed>::default(), Answer::default());
    let pieces = lines.iter().map(|line| events.line(line.as_bytes(), &mut reply)).collect();
    (reply, pieces)
}

#[test]
fn events_build_the_reply() {
    let (reply, pieces) = run(&[
        ": ping",
        "event: start",
        "data: {}",
        "",
        "event:text",
        "data:{\"text\":\"a\\n\"}",
        "",
        "event: call",
        "data: {\"id\":\"c1\",\"tool\":\"t\",",
        "data: \"input\":{}}",
        "",
        "event: end",
        "data: {\"stop\":\"end\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}",
        "",
    ]);
    let pieces: Vec<_> = pieces.unwrap().into_iter().filter(|piece| *piece != Piece::Nothing).collect();
    assert_eq!(pieces, [Piece::Text("a\n".into()), Piece::Call, Piece::End]);
    assert_eq!(reply.text, "a\n");
    assert_eq!(reply.tool_calls[0].name, "t");
    assert_eq!(reply.usage, Some(Usage { tokens_in: 3, tokens_cached: 0, tokens_out: 1, estimated: false }));
}

#[test]
fn what_is_no_event_is_garbage_and_an_error_event_is_the_vendors() {
    assert_eq!(run(&["<html>"]).1.unwrap_err().code.as_str(), "garbage");
    assert_eq!(run(&["event: text", "data: {\"tex", ""]).1.unwrap_err().code.as_str(), "garbage");
    assert_eq!(run(&["event: error", "data: {}", ""]).1.unwrap_err().code.as_str(), "stream_error");
}
