//! Tenants' MCP servers: made, asked what they offer, and used by models and by hand.

use std::time::Duration;

use events::{Aggregate, Event, EventId, Payload, ToolCallId};
use futures_util::future::join_all;
use nats::Expect;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row;
use tests::client::Answer;
use tests::endpoint::{Asked, Told};
use tests::{Client, Endpoint, World, truth};

const SERVERS: &str = "/api/mcp-servers";
const SECRET: &str = "Bearer very-secret-value-9876";
const PRIVATE: [(&str, &str); 1] = [("VOCALBRIDGE_ALLOW_PRIVATE_URLS", "true")];

async fn made(client: &Client, name: &str, url: &str) -> String {
    let server = json!({ "name": name, "url": url, "headers": { "Authorization": SECRET } });
    let answer = client.post(SERVERS, server).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.text("id").to_owned()
}

async fn patched(client: &Client, path: &str, patch: Value) -> Answer {
    client.send(client.request(Method::PATCH, path).json(&patch)).await.unwrap()
}

async fn session_with(client: &Client, tools: Value) -> String {
    let agent = client.post("/api/agents", json!({ "name": "Desk", "tools_enabled": tools })).await;
    assert_eq!(agent.status, StatusCode::CREATED, "{agent:?}");
    client.session(agent.text("id")).await
}

/// A server that begins sessions as it should, offers `tools`, and answers runs with `ran`.
async fn desk(tools: Value, ran: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static) -> Endpoint {
    Endpoint::start(move |_, asked| answer(asked, &tools, &ran)).await
}

fn answer(asked: &Asked, tools: &Value, ran: impl Fn(&Value) -> Option<Value>) -> Option<Told> {
    let result = match asked.body["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
            "serverInfo": { "name": "desk", "version": "1" }
        }),
        Some("tools/list") => json!({ "tools": tools }),
        Some("tools/call") => ran(&asked.body["params"])?,
        _ => return Some(Told { status: 202, headers: vec![], body: String::new() }),
    };
    let mut told = Told::json(&json!({ "jsonrpc": "2.0", "id": asked.body["id"], "result": result }));
    told.headers.push(("content-type", "application/json".to_owned()));
    Some(told)
}

fn asked_for(endpoint: &Endpoint, method: &str) -> Vec<Asked> {
    endpoint.asked().into_iter().filter(|asked| asked.body["method"] == method).collect()
}

fn search() -> Value {
    json!([{
        "name": "search", "description": "Searches",
        "inputSchema": {
            "type": "object", "properties": { "q": { "type": "string", "minLength": 2 } }, "required": ["q"]
        }
    }])
}

#[tokio::test]
async fn a_model_uses_the_simulated_server() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let id = made(&client, "book", &format!("{}/mcp", world.simulator)).await;
    let offered = client.get(&format!("{SERVERS}/{id}/tools")).await;
    assert_eq!(offered.status, StatusCode::OK, "{offered:?}");
    let tools = offered.body["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 2, "{offered:?}");
    assert_eq!(tools[0]["name"], "book__find_customer");
    assert_eq!(tools[0]["parameters"]["required"], json!(["name"]));
    assert_eq!(offered.body["left_out"], json!([]));

    let session = session_with(&client, json!(["book__*"])).await;
    let reply = client.say(&session, "Use book__find_customer with {\"name\": \"grace\"}").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.body["tools_called"], json!(["book__find_customer"]), "{reply:?}");
    assert!(reply.text("content").contains("New York"), "{reply:?}");
    for (said, told) in [
        ("Use book__find_customer with {\"name\": \"nobody\"}", "nobody is called nobody"),
        ("Use book__find_customer with {\"name\": \"x\"}", "the arguments do not fit"),
        ("Use book__list_customers", "Ada Lovelace"),
    ] {
        let reply = client.say(&session, said).await;
        assert!(reply.text("content").contains(told), "{reply:?}");
    }
    let runs = client.get(&format!("/api/tool-executions?session_id={session}")).await;
    let statuses: Vec<_> = runs.rows().iter().map(|run| run["status"].clone()).collect();
    assert_eq!(statuses, ["ok", "error", "error", "ok"]);
    // By hand, without the agent having it.
    let by_hand = json!({ "agent_id": world.agent(0, 0), "arguments": { "name": "turing" } });
    let by_hand = client.post("/api/tools/book__find_customer/run", by_hand).await;
    assert_eq!(by_hand.body["result"]["city"], "Wilmslow", "{by_hand:?}");

    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn the_secret_arrives_and_is_nowhere_to_be_read() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint = desk(search(), |_| Some(json!({ "content": [{ "type": "text", "text": "two" }] }))).await;
    let id = made(&client, "crm", &endpoint.url).await;
    let path = format!("{SERVERS}/{id}");
    let session = session_with(&client, json!(["crm__search"])).await;
    let reply = client.say(&session, "Use crm__search with {\"q\": \"orders\"}").await;
    assert!(reply.text("content").contains("two"), "{reply:?}");
    let asked = endpoint.asked();
    assert!(asked.iter().all(|asked| asked.headers["authorization"] == SECRET), "{asked:?}");
    let run = &asked_for(&endpoint, "tools/call")[0].body["params"];
    assert_eq!((&run["name"], &run["arguments"]), (&json!("search"), &json!({ "q": "orders" })));
    assert_eq!(run["_meta"]["vocalbridge/correlation-id"], reply.text("correlation_id"));
    let runs = client.get(&format!("/api/tool-executions?session_id={session}")).await;
    assert_eq!(run["_meta"]["vocalbridge/idempotency-key"], runs.rows()[0]["id"]);

    // A change keeps the secret, and begins a new session under the new settings.
    let answer = patched(&client, &path, json!({ "headers": { "X-Desk": "north" } })).await;
    assert_eq!(
        answer.body["headers"],
        json!({ "Authorization": "••••9876", "X-Desk": "••••" }),
        "{answer:?}"
    );
    client.say(&session, "Use crm__search with {\"q\": \"orders\"}").await;
    let last = asked_for(&endpoint, "tools/call").pop().unwrap();
    assert_eq!((&*last.headers["authorization"], &*last.headers["x-desk"]), (SECRET, "north"));

    for path in [path.as_str(), SERVERS, "/api/tool-executions"] {
        let answer = client.get(path).await;
        assert!(!answer.body.to_string().contains("very-secret"), "{answer:?}");
    }
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    let admin = sqlx::PgPool::connect(world.services.postgres.admin_url()).await.unwrap();
    for table in ["mcp_servers", "tool_executions", "archive"] {
        let query = format!(
            "select count(*), count(*) filter (where t::text like '%very-secret%'
            or t::text like '%' || encode('very-secret', 'hex') || '%') from vocalbridge.{table} t"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(&admin).await.unwrap();
        assert!(row.get::<i64, _>(0) > 0, "{table} is empty");
        assert_eq!(row.get::<i64, _>(1), 0, "{table} shows the secret");
    }
    let events = system.nats.log.read(&Aggregate::mcp_servers(world.tenant(0).id), 0).await.unwrap();
    assert_eq!(events.len(), 2);
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn many_turns_ask_once_what_a_server_offers() {
    let (_world, client) = World::start_with(&PRIVATE).await;
    let endpoint = desk(search(), |_| Some(json!({ "content": [] }))).await;
    made(&client, "crm", &endpoint.url).await;
    let session = session_with(&client, json!(["crm__*"])).await;
    let others = join_all((0..8).map(|_| session_with(&client, json!(["crm__*", "crm__search"])))).await;
    let replies = join_all(others.iter().map(|session| client.say(session, "Hello"))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK), "{replies:?}");
    client.say(&session, "Use crm__search with {\"q\": \"orders\"}").await;
    assert_eq!(asked_for(&endpoint, "tools/list").len(), 1);
    assert_eq!(asked_for(&endpoint, "initialize").len(), 1);
    assert_eq!(asked_for(&endpoint, "tools/call").len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_costs_a_turn_its_tools_and_nothing_else() {
    let (_world, client) = World::start_with(&PRIVATE).await;
    let broken = Endpoint::start(|_, _| Some(Told::status(500))).await;
    let id = made(&client, "broken", &broken.url).await;
    let session = session_with(&client, json!(["broken__*", "invoice_lookup"])).await;
    for _ in 0..2 {
        let reply = client.say(&session, "What is the status of invoice INV-TC-001?").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.body["tools_called"], json!(["invoice_lookup"]), "{reply:?}");
    }
    // It was left alone after the first time.
    assert_eq!(broken.asked().len(), 1);
    let told = client.get(&format!("{SERVERS}/{id}/tools")).await;
    told.assert_problem(502, "mcp_server_failed", "broken");
    assert!(told.text("detail").contains("HTTP 500"), "{told:?}");

    // One that never answers holds a turn for the time that lists have, and no turn after it.
    let silent = Endpoint::start(|_, _| None).await;
    made(&client, "silent", &silent.url).await;
    let session = session_with(&client, json!(["silent__*"])).await;
    let reply = client.say(&session, "Hello").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let started = std::time::Instant::now();
    assert_eq!(client.say(&session, "Hello again").await.status, StatusCode::OK);
    assert!(started.elapsed() < Duration::from_secs(4), "it was asked again");
    assert_eq!(silent.asked().len(), 1);
}

#[tokio::test]
async fn what_a_server_says_of_its_tools_is_judged() {
    let (_world, client) = World::start_with(&PRIVATE).await;
    let tools = json!([
        { "name": "good", "inputSchema": { "type": "object" } },
        { "name": "files.read", "inputSchema": { "type": "object" } },
        { "name": "good", "inputSchema": { "type": "object" } },
        { "name": "odd", "inputSchema": { "type": "string" } },
        { "name": "garbage", "inputSchema": { "type": "object", "properties": { "a": { "type": "strnig" } } } },
        { "name": "outside", "inputSchema": { "type": "object", "$ref": "http://127.0.0.1/x" } }
    ]);
    let endpoint = desk(tools, |_| Some(json!({ "content": [] }))).await;
    let id = made(&client, "odd", &endpoint.url).await;
    let offered = client.get(&format!("{SERVERS}/{id}/tools")).await;
    let names = |field: &str| -> Vec<String> {
        let tools = offered.body[field].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("tools"), ["odd__good"], "{offered:?}");
    assert_eq!(names("left_out"), ["files.read", "good", "odd", "garbage", "outside"], "{offered:?}");

    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({ "name": format!("t{n}"), "inputSchema": { "type": "object" } }))
        .collect();
    let endpoint = desk(Value::Array(many), |_| Some(json!({ "content": [] }))).await;
    let id = made(&client, "many", &endpoint.url).await;
    let offered = client.get(&format!("{SERVERS}/{id}/tools")).await;
    assert_eq!(offered.body["tools"].as_array().unwrap().len(), 128, "{:?}", offered.status);
    assert_eq!(offered.body["left_out"][0]["name"], "*");
}

#[tokio::test]
async fn servers_are_named_once_switched_off_and_forgotten() {
    let (_world, client) = World::start_with(&PRIVATE).await;
    let endpoint = desk(search(), |_| Some(json!({ "content": [] }))).await;
    let server = json!({ "name": "crm", "url": endpoint.url });
    let racing = join_all((0..5).map(|_| client.post(SERVERS, server.clone()))).await;
    let created = |answer: &&Answer| answer.status == StatusCode::CREATED;
    assert_eq!(racing.iter().filter(created).count(), 1, "{racing:?}");
    for answer in racing.iter().filter(|answer| !created(answer)) {
        answer.assert_problem(409, "name_taken", "the same name");
    }
    let id = racing.iter().find(created).unwrap().text("id").to_owned();
    let path = format!("{SERVERS}/{id}");

    for tools in [json!(["none__*"]), json!(["crm__a.b"]), json!(["crm__"])] {
        let refused = client.post("/api/agents", json!({ "name": "a", "tools_enabled": tools })).await;
        refused.assert_problem(422, "validation_failed", "unknown");
    }
    let session = session_with(&client, json!(["crm__search"])).await;
    let say = async || client.say(&session, "Use crm__search with {\"q\": \"orders\"}").await;
    assert_eq!(say().await.body["tools_called"], json!(["crm__search"]));
    let off = patched(&client, &path, json!({ "is_active": false })).await;
    assert_eq!((off.status, &off.body["version"]), (StatusCode::OK, &json!(2)), "{off:?}");
    assert_eq!(say().await.body["tools_called"], json!([]));
    // What it offers can still be looked at.
    assert_eq!(client.get(&format!("{path}/tools")).await.status, StatusCode::OK);
    let gone = client.send(client.request(Method::DELETE, &path)).await.unwrap();
    assert_eq!(gone.body, json!({ "deleted": true }));
    assert_eq!(say().await.status, StatusCode::OK);
    client.get(&path).await.assert_problem(404, "not_found", "deleted");
    client.get(&format!("{path}/tools")).await.assert_problem(404, "not_found", "deleted");
    assert_eq!(client.post(SERVERS, server).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn another_tenants_server_is_nobodys() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint = desk(search(), |_| Some(json!({ "content": [] }))).await;
    let id = made(&client, "crm", &endpoint.url).await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    let agent = json!({ "name": "a", "tools_enabled": ["crm__search"] });
    stranger.post("/api/agents", agent).await.assert_problem(422, "validation_failed", "another's server");
    let run = json!({ "agent_id": world.agent(1, 0), "arguments": { "q": "orders" } });
    stranger.post("/api/tools/crm__search/run", run).await.assert_problem(404, "not_found", "another's");
    stranger.get(&format!("{SERVERS}/{id}/tools")).await.assert_problem(404, "not_found", "another's");
    // The name is free for it.
    let own = desk(search(), |_| Some(json!({ "content": [] }))).await;
    made(&stranger, "crm", &own.url).await;
    assert!(endpoint.asked().is_empty());
}

#[tokio::test]
async fn a_private_url_is_refused() {
    let (_world, client) = World::start().await;
    for url in ["https://127.0.0.1/mcp", "https://localhost/", "http://example.com/", "https://[::1]/"] {
        let answer = client.post(SERVERS, json!({ "name": "inside", "url": url })).await;
        answer.assert_problem(422, "validation_failed", url);
        assert_eq!(answer.fields(), ["url"], "{url}");
    }
}

#[tokio::test]
async fn a_run_that_is_delivered_twice_has_one_result_and_one_key() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint = desk(search(), |_| Some(json!({ "content": [] }))).await;
    made(&client, "crm", &endpoint.url).await;
    let run = json!({ "agent_id": world.agent(0, 0), "arguments": { "q": "orders" } });
    let run = client.post("/api/tools/crm__search/run", run).await;
    assert_eq!(run.text("status"), "ok", "{run:?}");

    let system = world.connect().await;
    let (tenant_id, tool_call_id) = (world.tenant(0).id, run.text("id").parse::<ToolCallId>().unwrap());
    let aggregate = Aggregate::tool_run(tenant_id, tool_call_id);
    let history = system.nats.log.read(&aggregate, 0).await.unwrap();
    // The same request as another entry: it is sealed for its own event.
    let mut again: Event = history[0].event.clone();
    again.envelope.id = EventId::new();
    let Payload::ToolRunRequested(copied) = &mut again.payload else { panic!("{again:?}") };
    let arguments = r#"{"q":"orders"}"#;
    copied.arguments =
        system.keyring.seal(tenant_id, tenant_id.0, again.envelope.id, arguments).await.unwrap();
    system.nats.log.append(&again, Expect::Anything).await.unwrap();
    tests::eventually("the second run", Duration::from_secs(30), async || {
        (asked_for(&endpoint, "tools/call").len() == 2).then_some(())
    })
    .await;
    let keys: Vec<Value> = asked_for(&endpoint, "tools/call")
        .iter()
        .map(|asked| asked.body["params"]["_meta"]["vocalbridge/idempotency-key"].clone())
        .collect();
    assert_eq!(keys, [run.body["id"].clone(), run.body["id"].clone()]);
    // The roles finish what they hold.
    world.stop().await;
    let history = system.nats.log.read(&aggregate, 0).await.unwrap();
    let completed =
        |recorded: &&events::Recorded| matches!(recorded.event.payload, Payload::ToolRunCompleted(_));
    assert_eq!(history.iter().filter(completed).count(), 1, "{history:?}");
}
