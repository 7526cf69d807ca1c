//! Content, whole or in chunks.

use serde_json::{Value, json};

use super::super::format::Reply;
use super::signature;

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let text = &reply.answer.text;
    let text = (!text.is_empty()).then(|| json!({"text": text}));
    let mut content = json!({"role": "model"});
    let parts: Vec<_> = text.into_iter().chain(calls(reply)).collect();
    // An empty answer has no parts at all, as with the real one.
    if !parts.is_empty() {
        content["parts"] = parts.into();
    }
    ended(reply, content)
}

/// A word each, then each call, then the end.
pub(super) fn chunks(reply: &Reply<'_>) -> Vec<Value> {
    let texts = reply.answer.text_tokens().map(|text| json!({"text": text}));
    let parts = texts.chain(calls(reply));
    let chunks = parts.map(|part| {
        let usage = json!({"promptTokenCount": reply.tokens_in, "totalTokenCount": reply.tokens_in});
        chunk(reply, json!({"content": {"parts": [part], "role": "model"}, "index": 0}), usage)
    });
    chunks.chain([ended(reply, json!({"parts": [{"text": ""}], "role": "model"}))]).collect()
}

fn calls(reply: &Reply<'_>) -> impl Iterator<Item = Value> {
    reply.answer.calls.iter().enumerate().map(|(position, call)| {
        let id = reply.call_id(position);
        let mut part = json!({"functionCall": {"id": id, "name": call.tool, "args": call.arguments}});
        // Of calls side by side only the first is signed.
        if let (0, Some(arguments)) = (position, call.arguments.as_object()) {
            part["thoughtSignature"] = signature::of(&call.tool, arguments).into();
        }
        part
    })
}

fn ended(reply: &Reply<'_>, content: Value) -> Value {
    let reason = if reply.answer.cut { "MAX_TOKENS" } else { "STOP" };
    let usage = json!({"promptTokenCount": reply.tokens_in, "candidatesTokenCount": reply.tokens_out,
        "totalTokenCount": reply.tokens_in + reply.tokens_out});
    chunk(reply, json!({"content": content, "finishReason": reason, "index": 0}), usage)
}

fn chunk(reply: &Reply<'_>, candidate: Value, usage: Value) -> Value {
    json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": reply.model,
        "responseId": format!("{:016x}", reply.id)})
}
