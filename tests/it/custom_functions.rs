//! Tenants' own functions: made, called by models and by hand, with secrets that stay secret.

use std::time::Duration;

use events::{Aggregate, Payload};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row;
use tests::client::Answer;
use tests::endpoint::Told;
use tests::{Client, Endpoint, World, truth};

const FUNCTIONS: &str = "/api/custom-functions";
const SECRET: &str = "Bearer very-secret-value-9876";
const PRIVATE: [(&str, &str); 1] = [("VOCALBRIDGE_ALLOW_PRIVATE_URLS", "true")];

fn order_status(url: &str) -> Value {
    json!({
        "name": "order_status",
        "description": "Tells how far an order is",
        "parameters": {
            "type": "object",
            "properties": { "order_id": { "type": "string", "minLength": 2 } },
            "required": ["order_id"],
            "additionalProperties": false
        },
        "webhook_url": url,
        "headers": { "Authorization": SECRET }
    })
}

async fn made(client: &Client, function: Value) -> String {
    let answer = client.post(FUNCTIONS, function).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.text("id").to_owned()
}

async fn patched(client: &Client, path: &str, patch: Value) -> Answer {
    client.send(client.request(Method::PATCH, path).json(&patch)).await.unwrap()
}

async fn deleted(client: &Client, path: &str) -> Answer {
    client.send(client.request(Method::DELETE, path)).await.unwrap()
}

/// A session with a new agent that has these tools.
async fn session_with(client: &Client, tools: Value) -> String {
    let agent = client.post("/api/agents", json!({ "name": "Shop", "tools_enabled": tools })).await;
    assert_eq!(agent.status, StatusCode::CREATED, "{agent:?}");
    client.session(agent.text("id")).await
}

#[tokio::test]
async fn tools_that_are_called_at_once_run_at_once() {
    let (_world, client) = World::start_with(&PRIVATE).await;
    // Answers nothing: the second call is seen only if it does not wait for the first.
    let endpoint = Endpoint::start(|_, _| None).await;
    for name in ["order_status", "order_price"] {
        let mut function = order_status(&endpoint.url);
        function["name"] = json!(name);
        made(&client, function).await;
    }
    let session = session_with(&client, json!(["order_status", "order_price"])).await;
    let message = json!({ "content": "order_status and order_price, please: {\"order_id\": \"A-17\"}" });
    let path = format!("/api/sessions/{session}/messages");
    let accepted = client.request(Method::POST, &path).header("Prefer", "respond-async").json(&message);
    assert_eq!(client.send(accepted).await.unwrap().status, StatusCode::ACCEPTED);
    endpoint.wait_for(2).await;
    let runs = client.get(&format!("/api/tool-executions?session_id={session}")).await;
    assert!(runs.rows().is_empty(), "one had ended before the other began: {runs:?}");
}

#[tokio::test]
async fn a_model_is_offered_tools_as_often_as_the_setting_says() {
    for (rounds, called) in [("0", json!([])), ("1", json!(["invoice_lookup"]))] {
        let (_world, client) = World::start_with(&[("MAX_TOOL_ROUNDS", rounds)]).await;
        let session = session_with(&client, json!(["invoice_lookup"])).await;
        let reply = client.say(&session, "What is the status of invoice INV-TC-001?").await;
        assert_eq!((reply.status, &reply.body["tools_called"]), (StatusCode::OK, &called), "{reply:?}");
    }
}

#[tokio::test]
async fn a_model_calls_the_function_and_its_secret_is_nowhere_to_be_read() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint =
        Endpoint::start(|_, _| Some(Told::json(&json!({ "order": "A-17", "state": "shipped" })))).await;
    let created = client.post(FUNCTIONS, order_status(&endpoint.url)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.body["headers"], json!({ "Authorization": "••••9876" }), "{created:?}");
    let session = session_with(&client, json!(["order_status", "invoice_lookup"])).await;

    let reply = client.say(&session, "Use order_status with {\"order_id\": \"A-17\"}").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.text("content").contains("shipped"), "{reply:?}");
    assert_eq!(reply.body["tools_called"], json!(["order_status"]));

    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/hook"));
    assert_eq!(asked[0].body, json!({ "order_id": "A-17" }));
    assert_eq!(asked[0].headers["authorization"], SECRET);
    assert_eq!(asked[0].headers["x-correlation-id"], reply.text("correlation_id"));
    assert_eq!(asked[0].headers["traceparent"], reply.header("traceparent"));
    let runs = client.get(&format!("/api/tool-executions?session_id={session}")).await;
    let run = &runs.rows()[0];
    assert_eq!((&run["name"], &run["status"]), (&json!("order_status"), &json!("ok")));
    assert_eq!((&run["arguments"], &run["result"]["state"]), (&asked[0].body, &json!("shipped")));
    assert_eq!(run["id"], asked[0].headers["idempotency-key"].as_str());

    // Arguments that do not fit are the model's to correct; nobody is asked.
    let refused = client.say(&session, "Use order_status with {\"order_id\": \"A\", \"rush\": true}").await;
    assert!(refused.text("content").contains("the arguments do not fit"), "{refused:?}");
    assert_eq!(endpoint.asked().len(), 1);

    let path = format!("{FUNCTIONS}/{}", created.text("id"));
    for path in [path.as_str(), FUNCTIONS, "/api/tools"] {
        let answer = client.get(path).await;
        assert!(!answer.body.to_string().contains("very-secret"), "{answer:?}");
    }
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    let admin = sqlx::PgPool::connect(world.services.postgres.admin_url()).await.unwrap();
    for table in ["custom_functions", "tool_executions", "archive"] {
        let query = format!(
            "select count(*), count(*) filter (where t::text like '%very-secret%'
            or t::text like '%' || encode('very-secret', 'hex') || '%') from vocalbridge.{table} t"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(&admin).await.unwrap();
        assert!(row.get::<i64, _>(0) > 0, "{table} is empty");
        assert_eq!(row.get::<i64, _>(1), 0, "{table} shows the secret");
    }
    let functions = Aggregate::functions(world.tenant(0).id);
    let events = system.nats.log.read(&functions, 0).await.unwrap();
    assert_eq!(events.len(), 1);
    for recorded in events {
        let payload = String::from_utf8(recorded.event.payload.encode().to_vec()).unwrap();
        assert!(payload.contains("Authorization") && !payload.contains("very-secret"), "{payload}");
    }
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn a_function_is_changed_field_by_field_and_keeps_its_secrets() {
    let (_world, client) = World::start_with(&PRIVATE).await;
    let endpoint = Endpoint::echo().await;
    let id = made(&client, order_status(&endpoint.url)).await;
    let path = format!("{FUNCTIONS}/{id}");
    let arguments = json!({ "arguments": { "order_id": "A-1" } });
    let run = async || client.post(&format!("{path}/test"), arguments.clone()).await;

    let patch = json!({ "method": "PUT", "headers": { "X-Shop": "north", "X-Other": "y" } });
    let answer = patched(&client, &path, patch).await;
    let headers = json!({ "Authorization": "••••9876", "X-Other": "••••", "X-Shop": "••••" });
    assert_eq!((&answer.body["headers"], &answer.body["version"]), (&headers, &json!(2)), "{answer:?}");
    let tested = run().await;
    assert_eq!((tested.text("status"), &tested.body["http_status"]), ("ok", &json!(200)), "{tested:?}");
    assert_eq!(tested.body["result"]["got"], arguments["arguments"], "{tested:?}");
    let asked = endpoint.asked();
    assert_eq!(asked[0].method, "PUT");
    assert_eq!((&*asked[0].headers["authorization"], &*asked[0].headers["x-shop"]), (SECRET, "north"));

    // Removed by null, replaced in any case; a GET has its arguments in the query.
    let patch = json!({ "method": "GET", "headers": { "x-other": null, "authorization": "Basic c2VjcmV0LXNlY3JldA==" } });
    let answer = patched(&client, &path, patch).await;
    assert_eq!(
        answer.body["headers"],
        json!({ "X-Shop": "••••", "authorization": "••••dA==" }),
        "{answer:?}"
    );
    assert_eq!(run().await.text("status"), "ok");
    let asked = endpoint.asked();
    assert_eq!((asked[1].method.as_str(), asked[1].path.as_str()), ("GET", "/hook?order_id=A-1"));
    assert_eq!(asked[1].headers["authorization"], "Basic c2VjcmV0LXNlY3JldA==");
    assert!(!asked[1].headers.contains_key("x-other"), "{asked:?}");

    // What is shown cannot be sent back as the value, and what changes nothing is no new version.
    let masked = patched(&client, &path, json!({ "headers": { "X-Shop": "••••" } })).await;
    masked.assert_problem(422, "validation_failed", "a mask");
    assert_eq!(patched(&client, &path, json!({ "method": "GET" })).await.body["version"], 3);
    let replaced = json!({ "name": "order_status", "webhook_url": endpoint.url });
    let replaced = client.send(client.request(Method::PUT, &path).json(&replaced)).await.unwrap();
    assert_eq!(
        (&replaced.body["headers"], &replaced.body["method"]),
        (&json!({}), &json!("POST")),
        "{replaced:?}"
    );
    assert_eq!(client.get(&path).await.body, replaced.body);

    let viewer = client.with_role("viewer").await;
    assert_eq!(viewer.get(&path).await.status, StatusCode::OK);
    for (method, path, body) in [
        (Method::POST, FUNCTIONS.to_owned(), order_status(&endpoint.url)),
        (Method::PATCH, path.clone(), json!({ "is_active": false })),
        (Method::DELETE, path.clone(), json!({})),
        (Method::POST, format!("{path}/test"), arguments.clone()),
        (Method::POST, "/api/tools/order_status/run".to_owned(), json!({})),
    ] {
        let answer = viewer.send(viewer.request(method, &path).json(&body)).await.unwrap();
        answer.assert_problem(403, "forbidden", &path);
    }
}

#[tokio::test]
async fn a_function_that_is_switched_off_or_deleted_is_not_offered() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint = Endpoint::echo().await;
    let id = made(&client, order_status(&endpoint.url)).await;
    let path = format!("{FUNCTIONS}/{id}");
    let session = session_with(&client, json!(["order_status"])).await;
    let ask = async || client.say(&session, "Use order_status with {\"order_id\": \"A-1\"}").await;
    assert_eq!(ask().await.body["tools_called"], json!(["order_status"]));

    patched(&client, &path, json!({ "is_active": false })).await;
    assert_eq!(ask().await.body["tools_called"], json!([]));
    let by_hand = json!({ "agent_id": world.agent(0, 0), "arguments": { "order_id": "A-1" } });
    let refused = client.post("/api/tools/order_status/run", by_hand.clone()).await;
    assert_eq!(refused.text("status"), "error", "{refused:?}");
    assert!(refused.text("error").contains("switched off"), "{refused:?}");
    assert_eq!(endpoint.asked().len(), 1);
    let test = client.post(&format!("{path}/test"), json!({ "arguments": { "order_id": "A-1" } })).await;
    assert_eq!(test.text("status"), "ok", "{test:?}");

    patched(&client, &path, json!({ "is_active": true })).await;
    assert_eq!(ask().await.body["tools_called"], json!(["order_status"]));
    assert_eq!(deleted(&client, &path).await.body, json!({ "deleted": true }));
    assert_eq!(ask().await.body["tools_called"], json!([]));
    client.post("/api/tools/order_status/run", by_hand).await.assert_problem(404, "not_found", "deleted");
    deleted(&client, &path).await.assert_problem(404, "not_found", "deleted twice");
    // Agents that name it can be changed all the same, and its name is free.
    let agent = client.get(&format!("/api/sessions/{session}")).await.text("agent_id").to_owned();
    let renamed = patched(&client, &format!("/api/agents/{agent}"), json!({ "name": "Counter" })).await;
    assert_eq!(renamed.body["tools_enabled"], json!(["order_status"]), "{renamed:?}");
    made(&client, order_status(&endpoint.url)).await;
    assert_eq!(ask().await.body["tools_called"], json!(["order_status"]));
}

#[tokio::test]
async fn of_many_who_want_one_name_one_gets_it() {
    let (world, client) = World::start().await;
    let function = |name: String| json!({ "name": name, "webhook_url": "https://example.com/hook" });
    let (same, different) = tokio::join!(
        join_all((0..12).map(|_| client.post(FUNCTIONS, function("wanted".to_owned())))),
        join_all((0..12).map(|number| client.post(FUNCTIONS, function(format!("other_{number}"))))),
    );
    let (won, lost): (Vec<_>, Vec<_>) = same.iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(won.len(), 1, "{same:?}");
    lost.iter().for_each(|answer| answer.assert_problem(409, "name_taken", "the same name"));
    different.iter().for_each(|answer| assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}"));
    assert_eq!(client.get(FUNCTIONS).await.rows().len(), 13);

    let other = format!("{FUNCTIONS}/{}", different[0].text("id"));
    patched(&client, &other, json!({ "name": "wanted" })).await.assert_problem(409, "name_taken", "renamed");
    // Names differ in case, and another tenant's are another's.
    made(&client, function("Wanted".to_owned())).await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    made(&stranger, function("wanted".to_owned())).await;
    let agent = json!({ "name": "Spy", "tools_enabled": ["other_1"] });
    stranger.post("/api/agents", agent).await.assert_problem(422, "validation_failed", "another's function");

    // A repeated request makes nothing, and is answered as the first was, even when the function is gone.
    let once = [("Idempotency-Key", "k")];
    let first = client.post_with(FUNCTIONS, &function("once".to_owned()), &once).await;
    let path = format!("{FUNCTIONS}/{}", first.text("id"));
    patched(&client, &path, json!({ "name": "renamed" })).await;
    assert_eq!(deleted(&client, &path).await.status, StatusCode::OK);
    let again = client.post_with(FUNCTIONS, &function("once".to_owned()), &once).await;
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
    assert!(again.is_replayed());
    assert_eq!(client.get(FUNCTIONS).await.rows().len(), 14);
}

#[tokio::test]
async fn a_tenant_has_a_hundred_functions() {
    let (_world, client) = World::start().await;
    let function = |number: usize| json!({ "name": format!("function_{number}"), "webhook_url": "https://example.com/" });
    for chunk in (0..100).collect::<Vec<_>>().chunks(10) {
        for answer in join_all(chunk.iter().map(|number| client.post(FUNCTIONS, function(*number)))).await {
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        }
    }
    client.post(FUNCTIONS, function(100)).await.assert_problem(409, "limit_reached", "one more");
    let first = client.get(&format!("{FUNCTIONS}?limit=60")).await;
    assert!(first.header("link").contains("rel=\"next\""), "{first:?}");
    let last = first.rows()[59]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("{FUNCTIONS}?limit=60&after={last}")).await.rows().len(), 40);
    let tools = client.get("/api/tools?limit=1000").await;
    assert_eq!(tools.rows().len(), 105);
    assert_eq!(tools.rows().iter().filter(|tool| tool["built_in"] == json!(true)).count(), 5);
}

#[tokio::test]
async fn a_failing_function_is_told_of_in_few_words_and_asked_again_only_where_that_is_safe() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let broken = Endpoint::start(|_, _| {
        Some(Told { body: format!("no such order {}", "x".repeat(5_000)), ..Told::status(500) })
    })
    .await;
    let path = format!("{FUNCTIONS}/{}", made(&client, order_status(&broken.url)).await);
    let mut seen = 0;
    for (method, requests) in [("POST", 1), ("PATCH", 1), ("PUT", 3), ("GET", 3)] {
        patched(&client, &path, json!({ "method": method })).await;
        let answer =
            client.post(&format!("{path}/test"), json!({ "arguments": { "order_id": "A-1" } })).await;
        assert_eq!(
            (answer.text("status"), &answer.body["http_status"]),
            ("error", &json!(500)),
            "{answer:?}"
        );
        assert_eq!(answer.body["result"], Value::Null);
        let error = answer.text("error");
        assert!(error.starts_with("the function answered HTTP 500: no such order"), "{error}");
        assert!(error.len() < 300, "{error}");
        let asked = broken.asked().split_off(seen);
        assert_eq!(asked.len(), requests, "{method}");
        assert!(asked.iter().all(|asked| asked.headers["idempotency-key"] == answer.text("id")), "{asked:?}");
        seen += requests;
    }
    let wrong = client.post(&format!("{path}/test"), json!({ "arguments": { "order": 1 } })).await;
    assert!(wrong.text("error").contains("the arguments do not fit"), "{wrong:?}");
    assert_eq!((&wrong.body["http_status"], broken.asked().len()), (&Value::Null, seen));
    // Every run is on record.
    let runs = client.get("/api/tool-executions").await;
    assert_eq!(runs.rows().len(), 5);
    for run in runs.rows() {
        assert_eq!((&run["name"], &run["status"]), (&json!("order_status"), &json!("error")));
        assert_eq!((&run["session_id"], &run["agent_id"]), (&Value::Null, &Value::Null));
    }
    let log = truth::Truth::read(&world.connect().await).await;
    let completed = log.events.iter().filter(|event| matches!(event.payload, Payload::ToolRunCompleted(_)));
    assert_eq!(completed.count(), 5);
}

/// Long enough for a worker that was killed to be replaced.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_worker_dies_in_the_call_the_next_one_asks_with_the_same_key() {
    let mut world = World::with_environment(&PRIVATE).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let endpoint = Endpoint::start(|number, _| (number > 0).then(|| Told::json(&json!("done")))).await;
    let path = format!("{FUNCTIONS}/{}", made(&client, order_status(&endpoint.url)).await);
    let first = world.spawn("tools", 0);
    let test = format!("{path}/test");
    let (arguments, patience) = (json!({ "arguments": { "order_id": "A-1" } }), [("Prefer", "wait=60")]);
    let running = client.post_with(&test, &arguments, &patience);
    let taking_over = async {
        endpoint.wait_for(1).await;
        first.kill();
        world.spawn("tools", 0)
    };
    let (answer, _second) =
        tokio::time::timeout(LIMIT, async { tokio::join!(running, taking_over) }).await.unwrap();
    assert_eq!((answer.text("status"), &answer.body["result"]), ("ok", &json!("done")), "{answer:?}");
    assert_eq!(answer.header("preference-applied"), "wait=60");
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0].headers["idempotency-key"], asked[1].headers["idempotency-key"]);
    assert_eq!(client.get("/api/tool-executions").await.rows().len(), 1);
}
