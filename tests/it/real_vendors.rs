//! The vendors that people have keys for, spoken to in their own formats by way of the simulated servers. That those
//! speak as the real ones do is checked with the vendors' own SDKs (`vendors/tests/it/sdk.rs`).

use std::time::Duration;

use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::client::Answer;
use tests::sse::{Stream, Told};
use tests::{Client, World};

/// A vendor's name, and a model whose name picks it.
const VENDORS: [(&str, &str); 5] = [
    ("openai", "gpt-test"),
    ("anthropic", "claude-test"),
    ("deepseek", "deepseek-test"),
    ("google", "gemini-test"),
    ("groq", "llama-test"),
];

/// Keys for all of them, at the simulated servers.
const KEYED: [(&str, &str); 12] = [
    ("OPENAI_API_KEY", "simulated"),
    ("OPENAI_BASE_URL", "{simulator}/openai/v1"),
    ("OPENAI_DEFAULT_MODEL", "gpt-test"),
    ("ANTHROPIC_API_KEY", "simulated"),
    ("ANTHROPIC_BASE_URL", "{simulator}/anthropic"),
    ("DEEPSEEK_API_KEY", "simulated"),
    ("DEEPSEEK_BASE_URL", "{simulator}/deepseek"),
    ("GOOGLE_API_KEY", "simulated"),
    ("GOOGLE_BASE_URL", "{simulator}/google"),
    ("GROQ_API_KEY", "simulated"),
    ("GROQ_BASE_URL", "{simulator}/groq/openai/v1"),
    // A machine that is busy with other tests is slow.
    ("VENDOR_TIMEOUT_SECONDS", "15"),
];

const QUESTION: &str = "What is the status of invoice INV-TC-001?";

/// A session with a new agent that asks `model`.
async fn session_with(client: &Client, model: &str, more: Value) -> String {
    let mut agent = json!({ "name": model, "llm_model": model, "tools_enabled": ["invoice_lookup"] });
    agent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let agent = client.post("/api/agents", agent).await;
    assert_eq!(agent.status, 201, "{agent:?}");
    client.session(agent.text("id")).await
}

/// 0.15 USD per million tokens in and 0.60 out, for all models of all vendors that have a key.
fn prices() -> tempfile::NamedTempFile {
    let prices = tempfile::NamedTempFile::new().unwrap();
    let list = VENDORS.map(|(provider, _)| {
        format!(
            "[[models]]\nprovider = \"{provider}\"\nusd_per_million_in = \"0.15\"\nusd_per_million_out = \"0.60\"\n"
        )
    });
    std::fs::write(prices.path(), list.concat()).unwrap();
    prices
}

/// What so many tokens of a vendor cost, by [`prices`] and the settings' defaults, exactly.
fn price(provider: &str, tokens_in: &Value, tokens_out: &Value) -> Decimal {
    let (per_token_in, per_token_out) = match provider {
        "vendor_a" => (Decimal::new(2, 6), Decimal::new(2, 6)),
        "vendor_b" => (Decimal::new(3, 6), Decimal::new(3, 6)),
        _ => (Decimal::new(15, 8), Decimal::new(60, 8)),
    };
    let tokens = |value: &Value| Decimal::from(value.as_u64().unwrap());
    tokens(tokens_in) * per_token_in + tokens(tokens_out) * per_token_out
}

async fn stream(client: &Client, session: &str, content: &str) -> Vec<Told> {
    let request = client
        .request(reqwest::Method::POST, &format!("/api/sessions/{session}/messages"))
        .json(&json!({ "content": content }));
    Stream::open(request).await.rest().await
}

#[tokio::test]
async fn a_conversation_with_a_tool_and_streaming_runs_through_every_vendor() {
    let prices = prices();
    let mut settings = KEYED.to_vec();
    settings.push(("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap()));
    let (_world, client) = World::start_with(&settings).await;
    for (provider, model) in VENDORS {
        let session = session_with(&client, model, json!({})).await;
        let told = stream(&client, &session, QUESTION).await;
        let (done, before) = told.split_last().unwrap();
        assert_eq!(done.event, "done", "{provider}: {told:?}");
        assert_eq!(done.data["provider"], provider);
        assert_eq!(done.data["model"], model);
        assert_eq!(done.data["tools_called"], json!(["invoice_lookup"]), "{provider}");
        let content = done.data["content"].as_str().unwrap();
        assert!(content.contains("15,000.00") && content.contains("paid"), "{provider}: {content}");
        let words: String = before
            .iter()
            .filter(|told| told.event == "delta")
            .map(|told| told.data["text"].as_str().unwrap())
            .collect();
        assert_eq!(words, content, "{provider}");

        // Both requests are priced from the list, exactly, and the vendor told what it used.
        let exact = price(provider, &done.data["tokens_in"], &done.data["tokens_out"]);
        assert_eq!(done.data["cost_usd"].as_str().unwrap().parse::<Decimal>().unwrap(), exact, "{provider}");
        let job = done.data["job_id"].as_str().unwrap();
        let calls = client.get(&format!("/api/provider-calls?job_id={job}")).await;
        assert_eq!(calls.rows().len(), 2, "{calls:?}");

        // The past is told in the vendor's format, the tool's round included; and not only when it streams.
        let answer = client.say(&session, "Thank you, that is all.").await;
        assert_eq!((answer.status.as_u16(), answer.text("provider")), (200, provider), "{answer:?}");
    }
}

#[tokio::test]
async fn the_models_are_listed_with_their_prices() {
    let (_world, client) = World::start_with(&KEYED).await;
    let listed = client.get("/api/models").await;
    let openai = listed.rows().iter().find(|model| model["provider"] == "openai").unwrap();
    assert_eq!(
        (&openai["id"], &openai["is_default"], &openai["price"]),
        (&json!("gpt-test"), &json!(true), &Value::Null)
    );
    let own = listed.rows().iter().find(|model| model["provider"] == "vendor_a").unwrap();
    assert_eq!(own["price"], json!({ "usd_per_million_in": "2", "usd_per_million_out": "2" }));
    assert_eq!(own["capabilities"], json!(["chat", "streaming", "tools"]));
}

#[tokio::test]
async fn a_missing_key_is_named_when_an_agent_is_made_and_when_it_talks() {
    let mut world = World::with_environment(&KEYED[..3]).await;
    let port = tests::world::free_port();
    let process = world.spawn("api,workers,projections", port);
    let client = world.client(&format!("http://127.0.0.1:{port}"), 0);
    tests::world::ready(&client).await;
    let refused = client.post("/api/agents", json!({ "name": "x", "llm_model": "claude-test" })).await;
    refused.assert_problem(422, "validation_failed", "an agent of a vendor without a key");
    assert!(refused.body.to_string().contains("ANTHROPIC_API_KEY is not set"), "{refused:?}");

    let session = session_with(&client, "gpt-test", json!({})).await;
    drop(process);
    world.forget("OPENAI_API_KEY");
    let _process = world.spawn("api,workers,projections", port);
    tests::world::ready(&client).await;
    let answer = client.say(&session, "Hello").await;
    answer.assert_problem(502, "vendor_failed", "a message to a vendor without a key");
    assert!(answer.text("detail").contains("OPENAI_API_KEY is not set"), "{answer:?}");
}

#[tokio::test]
async fn another_vendor_takes_over_in_the_middle_of_a_tool_round() {
    let (world, client) = World::start_with(&KEYED).await;
    // Anthropic asks for the tool, and is gone when its result is there.
    world.control("anthropic", json!({ "failure_rate": 1, "status": 503, "answers_before": 1 })).await;
    let session = session_with(&client, "claude-test", json!({ "fallbacks": ["openai"] })).await;
    let answer = client.say(&session, QUESTION).await;
    assert_eq!((answer.status.as_u16(), &answer.body["provider"]), (200, &json!("openai")), "{answer:?}");
    let content = answer.text("content");
    assert!(content.contains("15,000.00") && content.contains("paid"), "{content}");
    assert_eq!(answer.body["tools_called"], json!(["invoice_lookup"]), "the tool ran once");

    // What OpenAI was told: the question, the call that Anthropic made, its result.
    let log = Client::new(&world.simulator, "").get("/_log/openai").await;
    let body = &log.rows().last().unwrap()["body"];
    let roles: Vec<&str> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"], "{body}");
    let call = &body["messages"][2]["tool_calls"][0];
    assert_eq!(
        (&call["id"], &call["function"]["name"]),
        (&body["messages"][3]["tool_call_id"], &json!("invoice_lookup"))
    );
    assert_eq!(client.get("/api/tool-executions").await.rows().len(), 1);
}

/// One way to fail, and what is to be seen of it.
struct Fault {
    name: &'static str,
    control: Value,
    /// Whether the client wants the reply streamed.
    streams: bool,
    /// Of each attempt.
    error_code: &'static str,
    /// One; or one and a retry, where trying again may help.
    attempts: usize,
    bill: Bill,
}

/// What an attempt that failed costs all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bill {
    Nothing,
    /// What the vendor said it had used.
    Told,
    /// Words had come, and then no number.
    Estimated,
}

fn faults() -> Vec<Fault> {
    let fault = |name, control, streams, error_code, attempts, bill| Fault {
        name,
        control,
        streams,
        error_code,
        attempts,
        bill,
    };
    let refusing = |status: u16| json!({ "failure_rate": 1, "status": status });
    let mode = |mode: &str| json!({ "mode": mode });
    let later = json!({ "failure_rate": 1, "status": 429, "retry_after": 0 });
    use Bill::{Estimated, Nothing, Told};
    vec![
        fault("401", refusing(401), false, "http_401", 1, Nothing),
        fault("404", refusing(404), false, "http_404", 1, Nothing),
        fault("408", refusing(408), false, "http_408", 2, Nothing),
        fault("429", refusing(429), false, "rate_limited", 2, Nothing),
        fault("429-later", later, false, "rate_limited", 2, Nothing),
        fault("500", refusing(500), false, "http_500", 2, Nothing),
        fault("503", refusing(503), false, "http_503", 2, Nothing),
        fault("stall", mode("stall"), false, "timeout", 2, Nothing),
        fault("stall-streaming", mode("stall"), true, "timeout", 2, Nothing),
        fault("stall-midway", mode("stall_midway"), true, "timeout", 2, Estimated),
        fault("drop", mode("drop"), false, "dropped", 2, Nothing),
        fault("drop-midway", mode("drop"), true, "dropped", 2, Estimated),
        fault("garbage", mode("garbage"), false, "garbage", 2, Nothing),
        fault("garbage-streaming", mode("garbage"), true, "garbage", 2, Nothing),
        fault("html", mode("html"), false, "garbage", 2, Nothing),
        fault("html-streaming", mode("html"), true, "garbage", 2, Nothing),
        fault("stream-error", mode("stream_error"), true, "stream_error", 2, Estimated),
        fault("empty", mode("empty"), false, "empty_answer", 2, Told),
        fault("empty-streaming", mode("empty"), true, "empty_answer", 2, Told),
        fault("oversized", mode("oversized"), false, "garbage", 2, Nothing),
        fault("oversized-streaming", mode("oversized"), true, "garbage", 2, Estimated),
    ]
}

#[tokio::test]
async fn every_vendor_fails_as_expected_in_every_way() {
    table("15", |fault| fault.error_code != "timeout").await;
}

#[tokio::test]
async fn every_vendor_that_is_silent_is_given_up_in_time() {
    table("0.4", |fault| fault.error_code == "timeout").await;
}

/// Puts every vendor through the faults that are `wanted`, and compares the bill.
async fn table(timeout_seconds: &str, wanted: impl Fn(&Fault) -> bool) {
    let prices = prices();
    let mut settings = KEYED.to_vec();
    settings.extend([
        ("VENDOR_MAX_RETRIES", "1"),
        ("VENDOR_TIMEOUT_SECONDS", timeout_seconds),
        ("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap()),
    ]);
    let (world, client) = World::start_with(&settings).await;
    let own = [("vendor_a", "vendor-a"), ("vendor_b", "vendor-b")];
    let (world, client, wanted) = (&world, &client, &wanted);
    // Each vendor goes through its faults alone; the vendors go side by side.
    let columns = VENDORS.into_iter().chain(own).map(async |(provider, model)| {
        let mut spent = Decimal::ZERO;
        for fault in faults().into_iter().filter(wanted) {
            world.control(provider, fault.control.clone()).await;
            // A model of its own for each, so that each meets a closed circuit.
            let session = session_with(client, &format!("{model}-{}", fault.name), json!({})).await;
            spent += cell(client, provider, &session, &fault).await;
            world
                .control(provider, json!({ "mode": "normal", "failure_rate": 0, "retry_after": null }))
                .await;
        }
        spent
    });
    let spent: Decimal = join_all(columns).await.into_iter().sum();
    assert_eq!(client.usage().await.text("total_cost_usd").parse::<Decimal>().unwrap(), spent);
}

/// Asks once and looks at everything that came of it; answers what it cost.
async fn cell(client: &Client, provider: &str, session: &str, fault: &Fault) -> Decimal {
    let what = format!("{provider}, {}", fault.name);
    let timed_out = fault.error_code == "timeout";
    let code = if timed_out { "vendor_timeout" } else { "vendor_failed" };
    let limit = Duration::from_secs(40);
    let ended = async {
        if fault.streams {
            let told = stream(client, session, "Can you hear me?").await;
            let last = told.last().unwrap();
            assert_eq!((&*last.event, &last.data["code"]), ("error", &json!(code)), "{what}: {told:?}");
            last.data.clone()
        } else {
            let answer: Answer = client.say(session, "Can you hear me?").await;
            answer.assert_problem(if timed_out { 504 } else { 502 }, code, &what);
            answer.body
        }
    };
    let ended = tokio::time::timeout(limit, ended)
        .await
        .unwrap_or_else(|_| panic!("{what}: no end within {limit:?}"));
    let calls =
        client.get(&format!("/api/provider-calls?job_id={}", ended["job_id"].as_str().unwrap())).await;
    assert_eq!(calls.rows().len(), fault.attempts, "{what}: {calls:?}");
    let mut spent = Decimal::ZERO;
    for call in calls.rows() {
        let outcome = if timed_out { "timed_out" } else { "failed" };
        assert_eq!(
            (&call["status"], &call["error_code"]),
            (&json!(outcome), &json!(fault.error_code)),
            "{what}: {call}"
        );
        assert_eq!(call["provider"], provider);
        let cost: Decimal = call["cost_usd"].as_str().unwrap().parse().unwrap();
        assert_eq!(cost, price(provider, &call["tokens_in"], &call["tokens_out"]), "{what}: {call}");
        let bill = match (cost.is_zero(), call["estimated"].as_bool().unwrap()) {
            (true, _) => Bill::Nothing,
            (false, false) => Bill::Told,
            (false, true) => Bill::Estimated,
        };
        assert_eq!(bill, fault.bill, "{what}: {call}");
        spent += cost;
    }
    spent
}

#[tokio::test]
async fn arguments_that_are_not_json_are_told_to_the_model() {
    let (world, client) = World::start_with(&KEYED).await;
    let own = [("vendor_a", "vendor-a-1"), ("vendor_b", "vendor-b-1")];
    for (provider, model) in VENDORS.into_iter().chain(own) {
        world.control(provider, json!({ "mode": "bad_arguments" })).await;
        let session = session_with(&client, model, json!({})).await;
        let answer = client.say(&session, QUESTION).await;
        assert_eq!(answer.status, 200, "{provider}: {answer:?}");
        assert_eq!(answer.text("provider"), provider);
        let runs = client.get(&format!("/api/tool-executions?session_id={session}")).await;
        assert!(!runs.rows().is_empty(), "{provider}");
        for run in runs.rows() {
            assert_eq!(run["status"], "error", "{provider}: {run}");
            assert!(run.to_string().contains("do not fit"), "{provider}: {run}");
        }
    }
}
