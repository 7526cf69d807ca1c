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
            ChatMessage::Assistant { content: "One moment".into(), tool_calls: vec![call] },
            ChatMessage::ToolResult {
                call_id: "c1".into(),
                name: "lookup".into(),
                content: "{}".into(),
                is_error: false,
            },
        ],
        tools: vec![ToolSpec {
            name: "lookup".into(),
            description: "Looks up".into(),
            parameters: json!({"type": "object"}),
        }],
        max_output_tokens: None,
    };
    let body: Value =
        serde_json::from_slice(&VendorB.encode(&request, "vendor-b-1", false).unwrap()).unwrap();
    assert_eq!(
        body,
        json!({
            "modelName": "vendor-b-1", "instructions": "Be kind.", "options": {"streaming": false},
            "conversation": [
                {"speaker": "human", "content": [{"kind": "text", "value": "Hi"}]},
                {"speaker": "bot", "content": [
                    {"kind": "text", "value": "One moment"},
                    {"kind": "functionCall", "callId": "c1", "functionName": "lookup", "argumentsJson": "{\"id\":7}"},
                ]},
                {"speaker": "function", "content": [
                    {"kind": "functionResult", "callId": "c1", "functionName": "lookup", "output": "{}", "isError": false},
                ]},
            ],
            "functions": [{"functionName": "lookup", "summary": "Looks up", "argumentSchema": {"type": "object"}}],
        })
    );
}

fn run(lines: &[&str]) -> (Answer, Result<Vec<Piece>, VendorError>) {
    let (mut decoder, mut reply) = (Lines::default(), Answer::default());
    let pieces = lines.iter().map(|line| decoder.line(line.as_bytes(), &mut reply)).collect();
    (reply, pieces)
}

const FINAL: &str =
    r#"{"final":{"finishReason":"COMPLETE","metering":{"promptTokens":3,"completionTokens":1}}}"#;

#[test]
fn lines_build_the_reply_and_calls_are_joined_by_position() {
    let (reply, pieces) = run(&[
        r#"{"chunk":{"textDelta":"a\n"}}"#,
        r#"{"chunk":{"functionCallDelta":{"position":0,"callId":"c1","functionName":"t","argumentsPart":""}}}"#,
        r#"{"chunk":{"functionCallDelta":{"position":1,"callId":"c2","functionName":"u","argumentsPart":"{}"}}}"#,
        r#"{"chunk":{"functionCallDelta":{"position":0,"argumentsPart":"{\"x\":"}}}"#,
        r#"{"chunk":{"functionCallDelta":{"position":0,"argumentsPart":"1}"}}}"#,
        FINAL,
    ]);
    let pieces = pieces.unwrap();
    assert_eq!(pieces.first(), Some(&Piece::Text("a\n".into())));
    assert_eq!(pieces.last(), Some(&Piece::End));
    assert_eq!(
        reply.tool_calls,
        [
            ToolCall { id: "c1".into(), name: "t".into(), arguments: json!({"x": 1}), signature: None },
            ToolCall { id: "c2".into(), name: "u".into(), arguments: json!({}), signature: None },
        ]
    );
    assert_eq!(reply.usage, Some(Usage { tokens_in: 3, tokens_cached: 0, tokens_out: 1, estimated: false }));
}

#[test]
fn what_does_not_fit_is_garbage_and_a_failure_line_is_the_vendors() {
    let code = |lines: &[&str]| run(lines).1.unwrap_err().code.as_str();
    assert_eq!(code(&["<html>"]), "garbage");
    assert_eq!(code(&[r#"{"chunk":{"functionCallDelta":{"position":5}}}"#]), "garbage");
    assert_eq!(code(&[r#"{"failure":{"reason":"overloaded"}}"#]), "stream_error");
}

#[test]
fn arguments_that_are_no_json_stay_text_and_are_shown_as_an_object() {
    let broken = r#"{"chunk":{"functionCallDelta":{"position":0,"callId":"c","functionName":"t","argumentsPart":"{"}}}"#;
    let (streamed, pieces) = run(&[broken, FINAL]);
    assert_eq!((pieces.unwrap().last(), &streamed.tool_calls[0].arguments), (Some(&Piece::End), &json!("{")));
    let whole = json!({
        "result": {"message": {"content": [
            {"kind": "functionCall", "callId": "c", "functionName": "t", "argumentsJson": "{"},
        ]}},
        "metering": {"promptTokens": 3, "completionTokens": 1},
    });
    let answer = VendorB.decode(whole.to_string().as_bytes()).unwrap();
    assert_eq!(answer.tool_calls, streamed.tool_calls);

    let said = ChatMessage::Assistant { content: String::new(), tool_calls: answer.tool_calls };
    let PartOut::FunctionCall { arguments_json, .. } = &entry(&said).content[0] else { panic!("no call") };
    assert_eq!(arguments_json, r#"{"malformed":"{"}"#);
}
