//! A tenant sees its own and nothing else: another's id answers 404, as one that nobody has.

use events::call::CallAudio;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::calls::ToldCall;
use tests::client::Answer;
use tests::openapi::{Route, routes};
use tests::{Client, World};

/// All ids and words of a tenant that has used everything.
struct Used {
    agent: String,
    prompt: String,
    function: String,
    mcp_server: String,
    key: String,
    session: String,
    job: String,
    call: String,
    webhook: String,
    delivery: String,
    correlation: String,
    /// What must not be found in anybody else's answers.
    marks: Vec<String>,
}

const NUMBER: &str = "+14155550177";
const ACCOUNT: &str = "AC00000000000000000000000000000177";
const TOOL: &str = "secret_lookup";
const QUESTION: &str = "What is the status of invoice INV-TC-001?";

async fn used(world: &World, client: &Client) -> Used {
    let prompt = json!({
        "name": "Secret prompt", "content": "The secret of {{desk}} and {{customer}}", "is_default": true,
        "variables": { "desk": "secret", "customer": "secret" }
    });
    let prompt = client.post("/api/system-prompts", prompt).await.text("id").to_owned();
    let function = json!({
        "name": TOOL, "description": "Secret", "webhook_url": "https://secret.example.com/",
        "headers": { "X-Secret": "a secret that is long enough" }
    });
    let function = client.post("/api/custom-functions", function).await;
    let mcp_server = json!({
        "name": "secret", "description": "Secret", "url": "https://secret.example.com/mcp",
        "headers": { "X-Secret": "a secret that is long enough" }
    });
    let mcp_server = client.post("/api/mcp-servers", mcp_server).await;
    assert_eq!(mcp_server.status, StatusCode::CREATED, "{mcp_server:?}");
    let agent = json!({
        "name": "Secret desk", "tools_enabled": ["invoice_lookup", TOOL], "system_prompt_id": prompt,
        "prompt_variables": { "desk": "secret-desk" }
    });
    let agent = client.post("/api/agents", agent).await;
    let agent = agent.text("id").to_owned();
    for (path, body) in [
        (format!("/api/phone-numbers/{NUMBER}"), json!({ "agent_id": agent })),
        (
            "/api/telephony/twilio".to_owned(),
            json!({ "account_sid": ACCOUNT, "auth_token": "a secret token" }),
        ),
    ] {
        let answer = client.send(client.request(Method::PUT, &path).json(&body)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let tool = json!({ "agent_id": agent, "arguments": { "invoice_id": "INV-TC-001" } });
    let tool = client.post("/api/tools/invoice_lookup/run", tool).await;
    assert_eq!(tool.text("status"), "ok", "{tool:?}");
    let key = client.post("/api/keys", json!({ "name": "Secret key", "role": "viewer" })).await;
    let opened = json!({ "agent_id": agent, "customer_id": "secret-customer", "prompt_variables": { "customer": "secret-value" } });
    let session = client.post("/api/sessions", opened).await.text("id").to_owned();
    let reply = client.say(&session, QUESTION).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let (job, correlation) = (reply.text("job_id").to_owned(), reply.text("correlation_id").to_owned());
    let call = called(world).await;
    let webhook = json!({
        "url": "https://secret.example.com/hook", "events": ["webhook.disabled"], "description": "Secret"
    });
    let webhook = client.post("/api/webhooks", webhook).await.text("id").to_owned();
    // Nobody is there.
    let delivery = client.post(&format!("/api/webhooks/{webhook}/test"), json!({})).await;
    assert_eq!(delivery.text("status"), "failed", "{delivery:?}");
    let delivery = delivery.text("id").to_owned();
    let mut marks = vec!["Secret".to_owned(), "secret".to_owned(), "INV-TC".to_owned(), "15,000".to_owned()];
    marks.extend((0..3).map(|agent| world.agent(0, agent)));
    marks.extend([
        world.tenant(0).id.to_string(),
        reply.text("message_id").to_owned(),
        key.text("id").to_owned(),
        function.text("id").to_owned(),
        mcp_server.text("id").to_owned(),
        tool.text("id").to_owned(),
    ]);
    marks.extend([NUMBER.to_owned(), ACCOUNT.to_owned()]);
    marks.extend([
        agent.clone(),
        prompt.clone(),
        session.clone(),
        job.clone(),
        call.clone(),
        webhook.clone(),
        delivery.clone(),
        correlation.clone(),
    ]);
    Used {
        agent,
        prompt,
        function: function.text("id").to_owned(),
        mcp_server: mcp_server.text("id").to_owned(),
        key: key.text("id").to_owned(),
        session,
        job,
        call,
        webhook,
        delivery,
        correlation,
        marks,
    }
}

/// A call that is over, with something said.
async fn called(world: &World) -> String {
    let system = world.connect().await;
    let tenant = world.tenant(0);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    call.greet("A secret greeting").await;
    call.record(CallAudio::Mulaw8k, 0, b"A secret sound").await;
    call.hang_up(1_000, None).await;
    call.call_id.to_string()
}

impl Used {
    /// An id that `route` has something for, of the kind it takes.
    fn id_for(&self, route: &Route) -> &str {
        let kinds = [
            ("/api/agents/", self.agent.as_str()),
            ("/api/system-prompts/", &self.prompt),
            ("/api/custom-functions/", &self.function),
            ("/api/mcp-servers/", &self.mcp_server),
            ("/api/tools/", TOOL),
            ("/api/keys/", &self.key),
            ("/api/sessions/", &self.session),
            ("/api/jobs/", &self.job),
            ("/api/phone-numbers/", NUMBER),
            ("/api/calls/", &self.call),
            ("/api/webhooks/deliveries/", &self.delivery),
            ("/api/webhooks/", &self.webhook),
        ];
        let found = kinds.iter().find(|(prefix, _)| route.path.starts_with(prefix));
        found.unwrap_or_else(|| panic!("a new kind of id: give this test one: {route}")).1
    }

    #[track_caller]
    fn assert_hidden(&self, answer: &Answer, sent: &str) {
        let (body, headers) = (answer.body.to_string(), format!("{:?}", answer.headers));
        for mark in &self.marks {
            assert!(!body.contains(mark) && !headers.contains(mark), "{sent} shows {mark}: {answer:?}");
        }
    }
}

/// Everything that the tenant can read of its own.
async fn all_that_is_read(client: &Client, used: &Used) -> Vec<(String, Value)> {
    let mut read = Vec::new();
    for route in routes(client).await {
        if route.method == Method::GET
            && route.is_api()
            && !route.is_operators()
            && !route.path.ends_with("/events")
            // Of a message that was spoken; see `voice_messages`.
            && !route.path.ends_with("{message_id}")
            // It asks somebody else, and is on record.
            && !route.path.ends_with("{id}/tools")
        {
            let path = if route.has_id() { route.with_id(used.id_for(&route)) } else { route.path };
            let answer = client.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
            let mut body = answer.body;
            // Prices without a time are those of now.
            if let Some(prices) = body.as_object_mut() {
                prices.remove("at");
            }
            // The span of a report without dates ends now.
            if let Some(report) = body.as_object_mut().filter(|report| report.contains_key("start_date")) {
                report.retain(|field, _| !field.ends_with("_date"));
            }
            read.push((path, body));
        }
    }
    read
}

#[tokio::test]
async fn every_route_with_an_id_answers_404_to_another_tenant() {
    let (world, client) = World::start().await;
    let used = used(&world, &client).await;
    let before = all_that_is_read(&client, &used).await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    let viewer = stranger.with_role("viewer").await;
    for route in routes(&client).await.iter().filter(|route| route.has_id() && !route.is_operators()) {
        let answer = stranger.try_route(route, used.id_for(route)).await;
        answer.assert_problem(404, "not_found", &route.to_string());
        used.assert_hidden(&answer, &route.to_string());
        // Just what an id that nobody has is answered, and what a key is that may only read.
        let is_number = route.path.starts_with("/api/phone-numbers/");
        let nobodys = if is_number { "+14155550199" } else { "0193e2f4-5f1c-7c52-9d3f-0242ac120002" };
        let nobody = stranger.try_route(route, nobodys).await;
        assert_eq!(answer.text("detail"), nobody.text("detail"), "{route}");
        if route.method == Method::GET {
            viewer.try_route(route, used.id_for(route)).await.assert_problem(404, "not_found", "a viewer");
        }
    }
    assert_eq!(all_that_is_read(&client, &used).await, before);
    assert_eq!(client.say(&used.session, "Thanks").await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_list_and_no_report_shows_anything_of_another_tenant() {
    let (world, client) = World::start().await;
    let used = used(&world, &client).await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    let mut paths: Vec<String> = routes(&client)
        .await
        .iter()
        .filter(|route| {
            route.method == Method::GET && route.is_api() && !route.has_id() && !route.is_operators()
        })
        .map(|route| route.path.clone())
        .collect();
    assert!(paths.len() >= 9, "{paths:?}");
    for facts in ["/api/provider-calls", "/api/tool-executions"] {
        // The control: the owner finds it by these.
        for (filter, value) in
            [("session_id", &used.session), ("job_id", &used.job), ("correlation_id", &used.correlation)]
        {
            let path = format!("{facts}?{filter}={value}");
            assert!(!client.get(&path).await.rows().is_empty(), "{path}");
            assert_eq!(stranger.get(&path).await.body, json!([]), "{path}");
        }
    }
    // Another's id as a cursor tells nothing either.
    for (list, id) in [
        ("agents", &used.agent),
        ("system-prompts", &used.prompt),
        ("custom-functions", &used.function),
        ("mcp-servers", &used.mcp_server),
        ("sessions", &used.session),
        ("jobs", &used.job),
        ("calls", &used.call),
        ("keys", &used.key),
        ("webhooks", &used.webhook),
        ("webhooks/deliveries", &used.delivery),
    ] {
        paths.push(format!("/api/{list}?after={id}"));
    }
    for path in paths {
        let answer = stranger.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        used.assert_hidden(&answer, &path);
    }
    let usage = stranger.usage().await;
    assert_eq!(
        (&usage.body["total_sessions"], &usage.body["total_messages"]),
        (&json!(0), &json!(0)),
        "{usage:?}"
    );
    assert_eq!(usage.body["total_cost_usd"], "0", "{usage:?}");
}

#[tokio::test]
async fn another_tenants_agent_cannot_be_talked_to() {
    let (world, client) = World::start().await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    let body = json!({ "agent_id": world.agent(0, 0), "customer_id": "customer-1" });
    stranger.post("/api/sessions", body).await.assert_problem(404, "not_found", "a session with it");
    assert_eq!(stranger.get("/api/sessions").await.body, json!([]));
    let correlated = [("X-Correlation-ID", "shared-by-both")];
    let (ours, theirs) =
        (client.session(&world.agent(0, 0)).await, stranger.session(&world.agent(1, 0)).await);
    for (client, session) in [(&client, &ours), (&stranger, &theirs)] {
        let path = format!("/api/sessions/{session}/messages");
        let answer = client.post_with(&path, &json!({ "content": "Hello" }), &correlated).await;
        assert_eq!((answer.status, answer.text("correlation_id")), (StatusCode::OK, "shared-by-both"));
    }
    // A correlation id that both use brings each its own.
    for (client, session) in [(&client, &ours), (&stranger, &theirs)] {
        let calls = client.get("/api/provider-calls?correlation_id=shared-by-both").await;
        let sessions: Vec<&str> =
            calls.rows().iter().filter_map(|call| call["session_id"].as_str()).collect();
        assert_eq!(sessions, [session.as_str()]);
    }
}
