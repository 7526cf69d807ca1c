//! A message, whole or in events.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::format::Reply;
use super::super::sse::{self, thirds};

pub(super) fn whole(reply: &Reply<'_>) -> Bytes {
    let text = &reply.answer.text;
    let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    let calls = reply.answer.calls.iter().enumerate();
    let calls = calls.map(|(position, call)| tool_use(reply, position, &call.tool, &call.arguments));
    let content: Vec<_> = text.into_iter().chain(calls).collect();
    let mut message = message(reply, content, reply.tokens_out);
    message["stop_reason"] = stop_reason(reply).into();
    message.to_string().into()
}

pub(super) fn pieces(reply: &Reply<'_>) -> Vec<Bytes> {
    let mut pieces = vec![
        event("message_start", json!({"message": message(reply, Vec::new(), 1)})),
        event("ping", json!({})),
    ];
    let mut index = 0;
    let mut block = |block: Value, deltas: Vec<Value>| {
        pieces.push(event("content_block_start", json!({"index": index, "content_block": block})));
        pieces.extend(
            deltas
                .into_iter()
                .map(|delta| event("content_block_delta", json!({"index": index, "delta": delta}))),
        );
        pieces.push(event("content_block_stop", json!({"index": index})));
        index += 1;
    };
    if !reply.answer.text.is_empty() {
        let texts = reply.answer.text_tokens().map(|text| json!({"type": "text_delta", "text": text}));
        block(json!({"type": "text", "text": ""}), texts.collect());
    }
    for (position, call) in reply.answer.calls.iter().enumerate() {
        let arguments = call.arguments_text();
        let parts = [""].into_iter().chain(thirds(&arguments));
        let parts = parts.map(|part| json!({"type": "input_json_delta", "partial_json": part}));
        block(tool_use(reply, position, &call.tool, &json!({})), parts.collect());
    }
    let delta = json!({"stop_reason": stop_reason(reply), "stop_sequence": null});
    pieces.push(event("message_delta", json!({"delta": delta, "usage": usage(reply, reply.tokens_out)})));
    pieces.push(event("message_stop", json!({})));
    pieces
}

fn event(name: &str, mut data: Value) -> Bytes {
    data["type"] = name.into();
    sse::event(name, &data)
}

/// A message without its end.
fn message(reply: &Reply<'_>, content: Vec<Value>, tokens_out: u64) -> Value {
    json!({"id": format!("msg_{:016x}", reply.id), "type": "message", "role": "assistant", "model": reply.model,
        "content": content, "stop_reason": null, "stop_sequence": null, "usage": usage(reply, tokens_out)})
}

fn tool_use(reply: &Reply<'_>, position: usize, tool: &str, input: &Value) -> Value {
    let id = format!("toolu_{:016x}_{position}", reply.id);
    json!({"type": "tool_use", "id": id, "name": tool, "input": input})
}

fn stop_reason(reply: &Reply<'_>) -> &'static str {
    match (&reply.answer.calls[..], reply.answer.cut) {
        ([_, ..], _) => "tool_use",
        ([], true) => "max_tokens",
        ([], false) => "end_turn",
    }
}

fn usage(reply: &Reply<'_>, tokens_out: u64) -> Value {
    json!({"input_tokens": reply.tokens_in, "output_tokens": tokens_out,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0})
}
