//! The simulated vendors refuse what the real ones refuse.

use serde_json::{Value, json};

use crate::raw::*;
use crate::support::*;

/// Each is refused with 400, in the vendor's shape, for the reason that its words name.
async fn refused(path: &str, cases: Vec<(&str, Value)>) {
    let simulator = Simulator::start().await;
    for (reason, body) in cases {
        let (status, answer) = post_json(&simulator, path, &body).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{reason}: {answer}");
        assert!(message.contains(reason), "{reason}: {message}");
    }
}

async fn accepted(path: &str, bodies: Vec<Value>) {
    let simulator = Simulator::start().await;
    for body in bodies {
        let (status, answer) = post_json(&simulator, path, &body).await;
        assert_eq!(status, 200, "{body}: {answer}");
    }
}

fn gpt(messages: Value) -> Value {
    chat("gpt-test", messages)
}

fn said(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn called(ids: &[&str]) -> Value {
    let call =
        |id: &&str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    json!({"role": "assistant", "content": null, "tool_calls": ids.iter().map(call).collect::<Vec<_>>()})
}

fn tool(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "{}"})
}

#[tokio::test]
async fn chat_completions_keep_openais_rules() {
    let hello = gpt(json!([said("Hello")]));
    let cases = vec![
        ("unknown variant", gpt(json!([{"role": "robot", "content": "Hello"}]))),
        ("too short - 'messages'", gpt(json!([]))),
        ("content is missing", gpt(json!([{"role": "user"}]))),
        ("either content or tool_calls", gpt(json!([said("Hello"), {"role": "assistant"}]))),
        ("preceding message", gpt(json!([said("Hello"), tool("1")]))),
        ("preceding message", gpt(json!([said("Hello"), called(&["1"]), tool("2")]))),
        ("preceding message", gpt(json!([said("Hello"), called(&["1"]), tool("1"), tool("1")]))),
        ("response messages: 2", gpt(json!([said("Hello"), called(&["1", "2"]), tool("1"), said("And?")]))),
        ("response messages: 1", gpt(json!([said("Hello"), called(&["1"])]))),
        (
            "tool_call_id is missing",
            gpt(json!([said("Hello"), called(&["1"]), {"role": "tool", "content": ""}])),
        ),
        ("'tool_calls'", gpt(json!([said("Hello"), {"role": "assistant", "content": "", "tool_calls": []}]))),
        ("longer than 40", gpt(json!([said("Hello"), called(&[&"x".repeat(41)])]))),
        ("too short - 'tools'", with(&hello, json!({"tools": []}))),
        (
            "does not match",
            with(&hello, json!({"tools": [{"type": "function", "function": {"name": "a b"}}]})),
        ),
        ("stream_options", with(&hello, json!({"stream_options": {"include_usage": true}}))),
        ("max_completion_tokens", with(&chat("o-test", json!([said("Hello")])), json!({"max_tokens": 9}))),
        ("missing field `messages`", json!({"model": "gpt-test"})),
    ];
    refused(OPENAI, cases).await;
    let parts = json!({"role": "developer", "content": [{"type": "text", "text": "Be brief."}]});
    let answered =
        gpt(json!([parts, said("Hello"), called(&["1", "2"]), tool("2"), tool("1"), said("And?")]));
    accepted(OPENAI, vec![hello.clone(), answered, with(&hello, json!({"max_tokens": 9, "tools": null}))])
        .await;
}

#[tokio::test]
async fn only_deepseek_has_no_developers() {
    let asked = |model| chat(model, json!([{"role": "developer", "content": "Be brief."}, said("Hello")]));
    refused("/deepseek/v1/chat/completions", vec![("developer", asked("deepseek-test"))]).await;
    accepted("/groq/openai/v1/chat/completions", vec![asked("llama-test"), asked("of/somebody")]).await;
}

fn uses(ids: &[&str]) -> Value {
    let call = |id: &&str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    json!({"role": "assistant", "content": ids.iter().map(call).collect::<Vec<_>>()})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "{}"})
}

fn says(blocks: Value) -> Value {
    json!({"role": "user", "content": blocks})
}

#[tokio::test]
async fn messages_keep_anthropics_rules() {
    let hello = messages(json!([said("Hello")]));
    let text = json!({"type": "text", "text": "And?"});
    let cases = vec![
        ("unknown variant", messages(json!([{"role": "system", "content": "Be brief."}]))),
        ("max_tokens", with(&hello, json!({"max_tokens": null}))),
        ("max_tokens", with(&hello, json!({"max_tokens": 0}))),
        ("at least one message", messages(json!([]))),
        ("first message", messages(json!([{"role": "assistant", "content": "Hello"}]))),
        ("non-empty content", messages(json!([said("")]))),
        ("text content blocks", messages(json!([says(json!([{"type": "text", "text": ""}]))]))),
        ("unexpected `tool_use_id`", messages(json!([says(json!([result("1")]))]))),
        ("without `tool_result`", messages(json!([said("Hello"), uses(&["1"])]))),
        ("without `tool_result`", messages(json!([said("Hello"), uses(&["1"]), said("And?")]))),
        (
            "immediately after: 2",
            messages(json!([said("Hello"), uses(&["1", "2"]), says(json!([result("1")]))])),
        ),
        (
            "without `tool_result`",
            messages(json!([said("Hello"), uses(&["1"]), says(json!([text, result("1")]))])),
        ),
        (
            "unexpected `tool_use_id`",
            messages(json!([
                said("Hello"),
                uses(&["1"]),
                says(json!([result("1")])),
                says(json!([result("1")]))
            ])),
        ),
        (
            "should match pattern",
            messages(json!([said("Hello"), uses(&["call.1"]), says(json!([result("call.1")]))])),
        ),
        ("input_schema.type", with(&hello, json!({"tools": [{"name": "f", "input_schema": {}}]}))),
    ];
    refused(ANTHROPIC, cases).await;
    let answered = json!([
        said("Hello"),
        said("You?"),
        uses(&["1", "2"]),
        says(json!([result("2"), result("1"), text]))
    ]);
    let system = json!({"system": [{"type": "text", "text": "Be brief."}]});
    accepted(ANTHROPIC, vec![with(&hello, system), messages(answered)]).await;
}

#[tokio::test]
async fn anthropic_wants_its_version() {
    let simulator = Simulator::start().await;
    let request =
        simulator.http.post(format!("http://{}{ANTHROPIC}", simulator.address)).bearer_auth("a-key");
    let response = request.json(&messages(json!([said("Hello")]))).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let error: Value = response.json().await.unwrap();
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("invalid_request_error")));
}

/// A call as another vendor's model would have made it.
fn call(name: &str, signature: &str) -> Value {
    json!({"functionCall": {"name": name, "args": {}}, "thoughtSignature": signature})
}

fn content(role: &str, parts: Value) -> Value {
    json!({"role": role, "parts": parts})
}

fn response(name: &str, response: Value) -> Value {
    json!({"functionResponse": {"name": name, "response": response}})
}

#[tokio::test]
async fn contents_keep_geminis_rules() {
    const FOREIGN: &str = "skip_thought_signature_validator";
    let hello = content("user", json!([{"text": "Hello"}]));
    let asked = contents(json!([hello]));
    let f = content("model", json!([call("f", FOREIGN)]));
    let both = content("model", json!([call("f", FOREIGN), {"functionCall": {"name": "g", "args": {}}}]));
    let declared = |fields: Value| with(&asked, json!({"tools": [{"functionDeclarations": [fields]}]}));
    let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/b"}}});
    let cases = vec![
        ("valid role", contents(json!([content("assistant", json!([{"text": "Hello"}]))]))),
        ("valid role", contents(json!([content("system", json!([{"text": "Hello"}]))]))),
        ("contents is not specified", contents(json!([]))),
        ("parts must not be empty", contents(json!([content("user", json!([]))]))),
        ("oneof field", contents(json!([content("user", json!([{}]))]))),
        ("immediately after a user turn", contents(json!([f]))),
        ("followed by its function responses", contents(json!([hello, f]))),
        ("number of function response parts", contents(json!([hello, f, hello]))),
        (
            "number of function response parts",
            contents(json!([hello, both, content("user", json!([response("f", json!({}))]))])),
        ),
        (
            "number of function response parts",
            contents(json!([content("user", json!([response("f", json!({}))]))])),
        ),
        (
            "the name and the id",
            contents(json!([hello, f, content("user", json!([response("g", json!({}))]))])),
        ),
        ("invalid type", contents(json!([hello, f, content("user", json!([response("f", json!("paid"))]))]))),
        ("signature is not valid", contents(json!([hello, content("model", json!([call("f", "abcd")]))]))),
        (
            "missing a thought_signature",
            contents(json!([hello, content("model", json!([{"functionCall": {"name": "f", "args": {}}}]))])),
        ),
        ("\"$ref\"", declared(json!({"name": "f", "parameters": schema}))),
        ("unknown field `strict`", declared(json!({"name": "f", "strict": true}))),
        ("only one of", declared(json!({"name": "f", "parameters": {}, "parametersJsonSchema": {}}))),
        ("unknown field `messages`", with(&asked, json!({"messages": []}))),
    ];
    refused(GOOGLE, cases).await;
    let answers = content("user", json!([response("g", json!({})), response("f", json!({}))]));
    let snake = with(
        &declared(json!({"name": "f", "parameters_json_schema": schema})),
        json!({"system_instruction": {"parts": [{"text": "Be brief."}]}, "generation_config": {"max_output_tokens": 9}}),
    );
    accepted(GOOGLE, vec![snake, contents(json!([hello, both, answers]))]).await;
}
