//! A chat completion, whole or in chunks.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::format::Reply;
use super::super::sse::{self, thirds};
use super::Dialect;

/// What a model thinks aloud before it answers.
const REASONING: &str = "Let me see what the user needs.";

pub(super) fn whole<D: Dialect>(reply: &Reply<'_>) -> Bytes {
    let answer = &reply.answer;
    let text = (answer.calls.is_empty() || !answer.text.is_empty()).then_some(&answer.text);
    let mut message = json!({"role": "assistant", "content": text});
    if !answer.calls.is_empty() {
        let calls = answer.calls.iter().enumerate().map(|(position, call)| {
            let function = json!({"name": call.tool, "arguments": call.arguments_text()});
            json!({"id": reply.call_id(position), "type": "function", "function": function})
        });
        message["tool_calls"] = calls.collect();
    }
    if D::shows_reasoning(reply.model) {
        message["reasoning_content"] = REASONING.into();
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish(reply)});
    let mut whole = base(reply, "chat.completion");
    whole["choices"] = json!([choice]);
    whole["usage"] = usage(reply);
    whole.to_string().into()
}

pub(super) fn pieces<D: Dialect>(reply: &Reply<'_>, include_usage: bool) -> Vec<Bytes> {
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    if D::shows_reasoning(reply.model) {
        let thoughts = REASONING.split_inclusive(' ');
        deltas.extend(thoughts.map(|thought| json!({"content": null, "reasoning_content": thought})));
    }
    deltas.extend(reply.answer.text_tokens().map(|text| json!({"content": text})));
    for (index, call) in reply.answer.calls.iter().enumerate() {
        let named = json!({"index": index, "id": reply.call_id(index), "type": "function",
            "function": {"name": call.tool, "arguments": ""}});
        deltas.push(json!({"tool_calls": [named]}));
        deltas.extend(
            thirds(&call.arguments_text())
                .map(|part| json!({"tool_calls": [{"index": index, "function": {"arguments": part}}]})),
        );
    }
    let chunk = |choices: Value| {
        let mut chunk = base(reply, "chat.completion.chunk");
        chunk["choices"] = choices;
        if include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    };
    let choice = |delta: Value, finish: Option<&str>| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]))
    };

    let comment = D::KEEPS_ALIVE.then(|| Bytes::from_static(b": keep-alive\n\n"));
    let mut pieces: Vec<_> = comment.into_iter().collect();
    pieces.extend(deltas.into_iter().map(|delta| sse::data(&choice(delta, None))));
    let mut last = choice(json!({}), Some(finish(reply)));
    if D::USAGE_IN_X_GROQ {
        last["x_groq"] = json!({"id": format!("req_{:016x}", reply.id), "usage": usage(reply)});
    }
    pieces.push(sse::data(&last));
    if include_usage {
        let mut total = chunk(json!([]));
        total["usage"] = usage(reply);
        pieces.push(sse::data(&total));
    }
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}

fn base(reply: &Reply<'_>, object: &str) -> Value {
    let id = format!("chatcmpl-{:016x}", reply.id);
    json!({"id": id, "object": object, "created": reply.created, "model": reply.model})
}

fn finish(reply: &Reply<'_>) -> &'static str {
    match (&reply.answer.calls[..], reply.answer.cut) {
        ([_, ..], _) => "tool_calls",
        ([], true) => "length",
        ([], false) => "stop",
    }
}

fn usage(reply: &Reply<'_>) -> Value {
    json!({"prompt_tokens": reply.tokens_in, "completion_tokens": reply.tokens_out,
        "total_tokens": reply.tokens_in + reply.tokens_out})
}
