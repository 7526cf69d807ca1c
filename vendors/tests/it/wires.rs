//! What the real vendors' wire formats have of their own, where their SDKs would hide it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::raw::*;
use crate::support::*;

const ALL: [&str; 5] = ["openai", "groq", "deepseek", "anthropic", "google"];

#[tokio::test]
async fn a_streamed_call_comes_in_several_deltas_of_one_index() {
    let simulator = Simulator::start().await;
    let stream = say(&simulator, "openai", "INV-TC-001 and INV-TC-002?", true).await.text().await.unwrap();
    assert!(stream.ends_with("data: [DONE]\n\n"));
    let chunks = events(&stream);
    let parts: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
    for (index, invoice) in [(0, "INV-TC-001"), (1, "INV-TC-002")] {
        let parts: Vec<_> = parts.iter().filter(|part| part["index"] == index).collect();
        assert_eq!(
            (&parts[0]["function"]["name"], &parts[0]["function"]["arguments"]),
            (&json!("invoice_lookup"), &json!(""))
        );
        assert!(parts[0]["id"].is_string() && parts[1..].iter().all(|part| part.get("id").is_none()));
        let joined: String = parts.iter().filter_map(|part| part["function"]["arguments"].as_str()).collect();
        assert_eq!(joined, json!({"invoice_id": invoice}).to_string());
    }
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], json!("tool_calls"));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "nobody asked for it");
}

#[tokio::test]
async fn the_usage_that_was_asked_for_comes_last_and_without_a_choice() {
    let simulator = Simulator::start().await;
    let body = chat("gpt-test", json!([{"role": "user", "content": "Hello"}]));
    let body = with(&body, json!({"stream": true, "stream_options": {"include_usage": true}}));
    let chunks = events(&post(&simulator, OPENAI, &body).await.text().await.unwrap());
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["prompt_tokens"]), (&json!([]), &json!(2)));
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[tokio::test]
async fn groq_and_deepseek_have_ways_of_their_own() {
    let simulator = Simulator::start().await;
    let groq = events(&say(&simulator, "groq", "Hello", true).await.text().await.unwrap());
    assert_eq!(groq.last().unwrap()["x_groq"]["usage"]["prompt_tokens"], json!(2));
    let deepseek = say(&simulator, "deepseek", "Hello", true).await.text().await.unwrap();
    assert!(deepseek.starts_with(": keep-alive\n\n"), "{deepseek}");
    let reasoning = events(&deepseek);
    assert!(reasoning.iter().any(|chunk| chunk["choices"][0]["delta"]["reasoning_content"].is_string()));
    let chat =
        with(&chat("deepseek-chat", json!([{"role": "user", "content": "Hello"}])), json!({"stream": true}));
    let plain = post(&simulator, "/deepseek/v1/chat/completions", &chat).await.text().await.unwrap();
    assert!(!plain.contains("reasoning_content"));
}

#[tokio::test]
async fn anthropics_events_come_in_their_order() {
    let simulator = Simulator::start().await;
    let stream = say(&simulator, "anthropic", QUESTION, true).await.text().await.unwrap();
    let events = events(&stream);
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let delta = "content_block_delta";
    let ends = ["content_block_stop", "message_delta", "message_stop"];
    assert_eq!(names[..4], ["message_start", "ping", "content_block_start", delta]);
    assert_eq!(names[names.len() - 3..], ends);
    assert_eq!(events[3]["delta"], json!({"type": "input_json_delta", "partial_json": ""}));
    assert!(names.iter().filter(|name| **name == delta).count() >= 3);
    assert_eq!(events[names.len() - 2]["delta"]["stop_reason"], json!("tool_use"));
}

#[tokio::test]
async fn gemini_streams_an_array_unless_asked_for_events() {
    let simulator = Simulator::start().await;
    let body = contents(json!([{"role": "user", "parts": [{"text": "Hello"}]}]));
    let path = "/google/v1/models/gemini-test:streamGenerateContent";
    let array: Vec<Value> = post(&simulator, path, &body).await.json().await.unwrap();
    let events = events(&post(&simulator, &format!("{path}?alt=sse"), &body).await.text().await.unwrap());
    assert_eq!(array.len(), events.len());
    for chunks in [array, events] {
        let texts = chunks.iter().map(|chunk| &chunk["candidates"][0]["content"]["parts"][0]["text"]);
        let joined: String = texts.map(|text| text.as_str().unwrap()).collect();
        assert_eq!(joined, "Hello! How can I help you today?");
        let reasons = chunks.iter().filter(|chunk| chunk["candidates"][0].get("finishReason").is_some());
        assert_eq!(reasons.count(), 1);
    }
}

#[tokio::test]
async fn models_are_known_by_their_names() {
    let simulator = Simulator::start().await;
    let unknown = [
        (
            OPENAI,
            chat("claude-test", json!([{"role": "user", "content": "Hello"}])),
            "/error/code",
            "model_not_found",
        ),
        (
            ANTHROPIC,
            with(&messages(json!([{"role": "user", "content": "Hello"}])), json!({"model": "gpt-test"})),
            "/error/type",
            "not_found_error",
        ),
        (
            "/google/v1/models/gpt-test:generateContent",
            contents(json!([{"role": "user", "parts": [{"text": "Hello"}]}])),
            "/error/status",
            "NOT_FOUND",
        ),
    ];
    for (path, body, place, code) in unknown {
        let (status, answer) = post_json(&simulator, path, &body).await;
        assert_eq!((status, answer.pointer(place)), (404, Some(&json!(code))), "{answer}");
    }
}

#[tokio::test]
async fn every_vendor_lists_models_and_wants_a_key() {
    let simulator = Simulator::start().await;
    let paths = [
        ("/openai/v1/models", "data", 401),
        ("/groq/openai/v1/models", "data", 401),
        ("/deepseek/models", "data", 401),
        ("/deepseek/v1/models", "data", 401),
        ("/anthropic/v1/models", "data", 401),
        ("/google/v1beta/models", "models", 403),
    ];
    for (path, list, keyless) in paths {
        assert_eq!(simulator.request(Method::GET, path, None).await.0, keyless, "{path}");
        let request = simulator.http.get(format!("http://{}{path}?key=a-key", simulator.address));
        let body: Value = request.bearer_auth("a-key").send().await.unwrap().json().await.unwrap();
        assert!(!body[list].as_array().unwrap().is_empty(), "{path}: {body}");
    }
}

#[tokio::test]
async fn all_share_the_controls_and_the_log() {
    let simulator = Simulator::start().await;
    for vendor in ALL {
        let steady = json!({"failure_rate": 0.0, "status": 500, "latency_ms": 0, "mode": "normal", "retry_after": null, "answers_before": 0});
        let path = format!("/_control/{vendor}");
        assert_eq!(simulator.request(Method::GET, &path, None).await.1, steady);
        say(&simulator, vendor, "Hello", true).await;
        simulator.control(vendor, json!({"failure_rate": 1, "status": 503})).await;
        say(&simulator, vendor, "Hello", false).await;
        assert_eq!(simulator.request(Method::DELETE, &path, None).await.1, steady);
        let log = simulator.log(vendor).await;
        let told: Vec<_> = log.iter().map(|entry| (&entry["status"], &entry["stream"])).collect();
        assert_eq!(told, [(&json!(200), &json!(true)), (&json!(503), &json!(false))], "{vendor}");
        assert!(log[0]["model"].is_string() && log[0]["body"].is_object());
    }
}
