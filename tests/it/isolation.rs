//! A tenant sees its own and nothing else: another's id answers 404, as one that nobody has.

use events::call::CallAudio;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::calls::ToldCall;
use tests::client::Answer;
use tests::openapi::{IdParameter, Place, Route, routes};
use tests::{Client, World};

/// All ids and words of a tenant that has used everything.
struct Used {
    tenant: String,
    agent: String,
    prompt: String,
    function: String,
    tool_name: String,
    mcp_server: String,
    number: String,
    key: String,
    session: String,
    job: String,
    message: String,
    provider_call: String,
    entry: String,
    tool_run: String,
    call: String,
    webhook: String,
    delivery: String,
    correlation: String,
    /// What must not be found in anybody else's answers.
    marks: Vec<String>,
}

/// What a tenant calls its things, so that none of it is found in another's.
struct Names {
    tenant: usize,
    word: &'static str,
    number: &'static str,
    account: &'static str,
    invoice: &'static str,
}

const SECRET: Names = Names {
    tenant: 0,
    word: "secret",
    number: "+14155550177",
    account: "AC00000000000000000000000000000177",
    invoice: "INV-TC-001",
};
const OWN: Names = Names {
    tenant: 1,
    word: "own",
    number: "+14155550188",
    account: "AC00000000000000000000000000000188",
    invoice: "INV-HF-001",
};

async fn used(world: &World, client: &Client) -> Used {
    used_by(world, client, &SECRET).await
}

async fn used_by(world: &World, client: &Client, names: &Names) -> Used {
    let Names { word, number, account, invoice, .. } = names;
    let described = format!("Very {word}");
    let headers = json!({ "X-Header": format!("a {word} that is long enough") });
    let prompt = json!({
        "name": described, "content": format!("The {word} of {{{{desk}}}} and {{{{customer}}}}"),
        "is_default": true, "variables": { "desk": word, "customer": word }
    });
    let prompt = client.post("/api/system-prompts", prompt).await.text("id").to_owned();
    let tool_name = format!("{word}_lookup");
    let function = json!({
        "name": tool_name, "description": described, "webhook_url": format!("https://{word}.example.com/"),
        "headers": headers
    });
    let function = client.post("/api/custom-functions", function).await;
    let mcp_server = json!({
        "name": word, "description": described, "url": format!("https://{word}.example.com/mcp"),
        "headers": headers
    });
    let mcp_server = client.post("/api/mcp-servers", mcp_server).await;
    assert_eq!(mcp_server.status, StatusCode::CREATED, "{mcp_server:?}");
    let agent = json!({
        "name": described, "tools_enabled": ["invoice_lookup", tool_name], "system_prompt_id": prompt,
        "prompt_variables": { "desk": format!("{word}-desk") }
    });
    let agent = client.post("/api/agents", agent).await;
    let agent = agent.text("id").to_owned();
    for (path, body) in [
        (format!("/api/phone-numbers/{number}"), json!({ "agent_id": agent })),
        (
            "/api/telephony/twilio".to_owned(),
            json!({ "account_sid": account, "auth_token": format!("a {word} token") }),
        ),
        (
            "/api/budgets".to_owned(),
            json!({ "scope": "agent", "id": agent, "monthly_limit_usd": "1000", "hard": true }),
        ),
    ] {
        let answer = client.send(client.request(Method::PUT, &path).json(&body)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let tool = json!({ "agent_id": agent, "arguments": { "invoice_id": invoice } });
    let tool = client.post("/api/tools/invoice_lookup/run", tool).await;
    assert_eq!(tool.text("status"), "ok", "{tool:?}");
    let key = client.post("/api/keys", json!({ "name": described, "role": "viewer" })).await;
    let opened = json!({
        "agent_id": agent, "customer_id": format!("{word}-customer"),
        "prompt_variables": { "customer": format!("{word}-value") }
    });
    let session = client.post("/api/sessions", opened).await.text("id").to_owned();
    let reply = client.say(&session, &format!("What is the status of invoice {invoice}?")).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let (job, correlation) = (reply.text("job_id").to_owned(), reply.text("correlation_id").to_owned());
    let call = called(world, names).await;
    let webhook = json!({
        "url": format!("https://{word}.example.com/hook"), "events": ["webhook.disabled"], "description": described
    });
    let webhook = client.post("/api/webhooks", webhook).await.text("id").to_owned();
    // Nobody is there.
    let delivery = client.post(&format!("/api/webhooks/{webhook}/test"), json!({})).await;
    assert_eq!(delivery.text("status"), "failed", "{delivery:?}");
    let delivery = delivery.text("id").to_owned();
    let calls = client.get(&format!("/api/provider-calls?job_id={job}")).await;
    let provider_call = calls.rows()[0]["id"].as_str().unwrap().to_owned();
    let entries = client.get("/api/analytics/entries").await;
    let entry = entries.rows()[0]["id"].as_str().unwrap().to_owned();
    let message = reply.text("message_id").to_owned();
    let [key, function, mcp_server, tool_run] =
        [&key, &function, &mcp_server, &tool].map(|made| made.text("id").to_owned());
    let mut marks: Vec<String> =
        [described.as_str(), word, number, account, &invoice[..6], "15,000"].map(str::to_owned).into();
    marks.extend((0..3).map(|agent| world.agent(names.tenant, agent)));
    marks.push(world.tenant(names.tenant).id.to_string());
    marks.extend(
        [
            &agent,
            &prompt,
            &session,
            &job,
            &call,
            &correlation,
            &message,
            &key,
            &function,
            &mcp_server,
            &tool_run,
            &webhook,
            &delivery,
        ]
        .map(String::clone),
    );
    let number = (*number).to_owned();
    Used {
        tenant: world.tenant(names.tenant).id.to_string(),
        agent,
        prompt,
        function,
        tool_name,
        mcp_server,
        number,
        key,
        session,
        job,
        message,
        provider_call,
        entry,
        tool_run,
        call,
        webhook,
        delivery,
        correlation,
        marks,
    }
}

/// A call that is over, with something said.
async fn called(world: &World, names: &Names) -> String {
    let system = world.connect().await;
    let tenant = world.tenant(names.tenant);
    let call = ToldCall::start(&system, tenant.id, tenant.agents[0].id).await;
    call.greet(&format!("A {} greeting", names.word)).await;
    call.record(CallAudio::Mulaw8k, 0, b"A sound").await;
    call.hang_up(1_000, None).await;
    call.call_id.to_string()
}

impl Used {
    /// Something of the tenant's own that the parameter can name.
    fn id_for(&self, route: &Route, parameter: &IdParameter) -> &str {
        let of_paths = [
            ("/api/agents/", self.agent.as_str()),
            ("/api/system-prompts/", &self.prompt),
            ("/api/custom-functions/", &self.function),
            ("/api/mcp-servers/", &self.mcp_server),
            ("/api/tools/", &self.tool_name),
            ("/api/keys/", &self.key),
            ("/api/sessions/", &self.session),
            ("/api/jobs/", &self.job),
            ("/api/phone-numbers/", &self.number),
            ("/api/calls/", &self.call),
            ("/api/webhooks/deliveries/", &self.delivery),
            ("/api/webhooks/", &self.webhook),
            ("/api/budgets/", &self.agent),
        ];
        let of_names = [
            ("agent_id", self.agent.as_str()),
            ("agent_ids", &self.agent),
            ("system_prompt_id", &self.prompt),
            ("session_id", &self.session),
            ("job_id", &self.job),
            ("message_id", &self.message),
            ("tenant_id", &self.tenant),
            // Of a budget.
            ("id", &self.agent),
        ];
        let of_lists = [
            ("/api/agents", self.agent.as_str()),
            ("/api/system-prompts", &self.prompt),
            ("/api/system-prompts/{id}/versions", &self.prompt),
            ("/api/custom-functions", &self.function),
            ("/api/mcp-servers", &self.mcp_server),
            ("/api/sessions", &self.session),
            ("/api/jobs", &self.job),
            ("/api/calls", &self.call),
            ("/api/calls/active", &self.call),
            ("/api/keys", &self.key),
            ("/api/phone-numbers", &self.agent),
            ("/api/provider-calls", &self.provider_call),
            ("/api/analytics/entries", &self.entry),
            ("/api/invoices", &self.entry),
            ("/api/tool-executions", &self.tool_run),
            ("/api/budgets", &self.agent),
            ("/api/webhooks", &self.webhook),
            ("/api/webhooks/deliveries", &self.delivery),
            ("/api/webhooks/{id}/deliveries", &self.delivery),
        ];
        let IdParameter { place, name, .. } = parameter;
        let of_name = || of_names.iter().find(|(known, _)| known == name);
        let found = match (place, name.as_str()) {
            (Place::Path, "message_id") | (Place::Body, _) => of_name(),
            (Place::Path, _) => of_paths.iter().find(|(prefix, _)| route.path.starts_with(prefix)),
            (Place::Query, "after") => of_lists.iter().find(|(path, _)| *path == route.path),
            (Place::Query, _) => of_name(),
        };
        found.unwrap_or_else(|| panic!("a new id: give this test one for {place:?} {name} of {route}")).1
    }

    fn path(&self, route: &Route) -> String {
        let in_path = route.ids.iter().filter(|id| id.place == Place::Path);
        let month = events::Clock::system().now().format("%Y-%m").to_string();
        in_path.fold(route.path.replace("{month}", &month), |path, id| {
            path.replace(&format!("{{{}}}", id.name), self.id_for(route, id))
        })
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
            let path = if route.has_id() { used.path(&route) } else { route.path };
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
            // When a key was last used is written down now and then.
            for row in body.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                row.remove("last_used_at");
            }
            read.push((path, body));
        }
    }
    read
}

#[track_caller]
fn assert_unchanged(before: &[(String, Value)], after: &[(String, Value)]) {
    assert_eq!(before.len(), after.len());
    for ((path, before), (_, after)) in before.iter().zip(after) {
        assert_eq!(after, before, "{path}");
    }
}

/// Answers to one operation: with one parameter another's and all others one's own.
async fn tried(client: &Client, own: &Used, route: &Route, parameter: &IdParameter, id: &str) -> Answer {
    let (mut path, mut query, mut body) = (route.path.clone(), Vec::new(), route.body());
    for each in &route.ids {
        let is_tried = each == parameter;
        let id = if is_tried { id } else { own.id_for(route, each) };
        match each.place {
            Place::Path => path = path.replace(&format!("{{{}}}", each.name), id),
            Place::Query if is_tried => query.push(format!("{}={id}", each.name)),
            Place::Body if is_tried || body.get(&each.name).is_some() => {
                body[&each.name] = if each.several { json!([id]) } else { json!(id) };
            }
            Place::Query | Place::Body => {}
        }
    }
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let request = client.request(route.method.clone(), &path);
    let request = if body.is_null() { request } else { request.json(&body) };
    client.send(request).await.unwrap()
}

/// Whether the path makes what it names, when its tenant has none such.
fn is_named_by_its_user(route: &Route) -> bool {
    route.method == Method::PUT && route.path == "/api/phone-numbers/{number}"
}

/// An id of the kind that `parameter` takes, and that nobody has.
fn nobodys(route: &Route, parameter: &IdParameter) -> &'static str {
    match (parameter.place, parameter.name.as_str()) {
        (Place::Path, _) if route.path.starts_with("/api/phone-numbers/") => "+14155550199",
        (Place::Path, "name") if route.path.starts_with("/api/tools/") => "nobodys_tool",
        _ => "0193e2f4-5f1c-7c52-9d3f-0242ac120002",
    }
}

/// Every operation that a tenant's key may be used for, with every place where it takes an id.
async fn matrix(client: &Client) -> Vec<(Route, IdParameter)> {
    let routes = routes(client).await.into_iter().filter(|route| route.is_api() && !route.is_operators());
    let cells: Vec<_> =
        routes.flat_map(|route| route.ids.clone().into_iter().map(move |id| (route.clone(), id))).collect();
    for place in [Place::Path, Place::Query, Place::Body] {
        assert!(cells.iter().any(|(_, id)| id.place == place), "{place:?}: the document has such ids");
    }
    cells
}

#[tokio::test]
async fn no_operation_takes_another_tenants_id_wherever_it_takes_one() {
    let (world, client) = World::start().await;
    let used = used(&world, &client).await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    let own = used_by(&world, &stranger, &OWN).await;
    let viewer = stranger.with_role("viewer").await;
    let before = all_that_is_read(&client, &used).await;
    let cells = matrix(&client).await;
    assert!(cells.len() > 60, "{}", cells.len());
    for (route, id) in &cells {
        let sent = format!("{route} with another's {} in its {:?}", id.name, id.place);
        let theirs = used.id_for(route, id);
        let answer = tried(&stranger, &own, route, id, theirs).await;
        // Just what an id that nobody has is answered.
        let nobody = tried(&stranger, &own, route, id, nobodys(route, id)).await;
        assert_eq!(answer.status, nobody.status, "{sent}: {answer:?}, {nobody:?}");
        if is_named_by_its_user(route) && id.place == Place::Path {
            // A number of each: carriers' accounts keep them apart, and it says nothing of the other's.
            assert_eq!(answer.text("number"), theirs, "{sent}");
            assert_eq!(answer.body["agent_id"], own.agent, "{sent}");
            let path = format!("/api/phone-numbers/{theirs}");
            stranger.send(stranger.request(Method::DELETE, &path)).await.unwrap();
            continue;
        }
        used.assert_hidden(&answer, &sent);
        match id.place {
            Place::Query if id.name == "after" => assert_eq!(answer.status, StatusCode::OK, "{sent}"),
            // A filter that fits nothing.
            Place::Query if answer.status == StatusCode::OK => assert_eq!(answer.body, nobody.body, "{sent}"),
            Place::Query => answer.assert_problem(404, "not_found", &sent),
            // A field like any other: the sender is told which.
            Place::Body if answer.status == 422 => assert_eq!(answer.fields(), nobody.fields(), "{sent}"),
            Place::Path | Place::Body => {
                answer.assert_problem(404, "not_found", &sent);
                assert_eq!(answer.text("detail"), nobody.text("detail"), "{sent}");
            }
        }
        if id.place == Place::Path && route.method == Method::GET {
            let answer = tried(&viewer, &own, route, id, used.id_for(route, id)).await;
            answer.assert_problem(404, "not_found", &format!("{sent}, a viewer"));
        }
    }
    assert_unchanged(&before, &all_that_is_read(&client, &used).await);
    assert_eq!(client.say(&used.session, "Thanks").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_for_one_agent_gets_nothing_of_the_others_wherever_an_id_is_taken() {
    let (world, client) = World::start().await;
    let used = used(&world, &client).await;
    let key = json!({ "name": "a", "role": "developer", "agent_ids": [world.agent(0, 1)] });
    let scoped = client.with_key(client.post("/api/keys", key).await.text("api_key"));
    let before = all_that_is_read(&client, &used).await;
    for (route, id) in &matrix(&client).await {
        let sent = format!("{route} with another agent's {} in its {:?}", id.name, id.place);
        let answer = tried(&scoped, &used, route, id, used.id_for(route, id)).await;
        match (answer.status.as_u16(), id.place) {
            (403 | 404, _) => {}
            (200, Place::Query) if id.name == "after" => {}
            // A tenant pays the same whatever its agent.
            (200, Place::Query) if id.name == "tenant_id" => {}
            // Its own lists, filtered down to nothing.
            (200, Place::Query) => assert_eq!(answer.body, json!([]), "{sent}"),
            _ => panic!("{sent}: {answer:?}"),
        }
    }
    assert_unchanged(&before, &all_that_is_read(&client, &used).await);
}

#[tokio::test]
async fn no_list_and_no_report_shows_anything_of_another_tenant() {
    let (world, client) = World::start().await;
    let used = used(&world, &client).await;
    let stranger = client.with_key(&world.tenant(1).api_key);
    let paths: Vec<String> = routes(&client)
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
