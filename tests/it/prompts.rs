//! What an agent tells its model: prompts with variables, their versions, and which one a reply came from.

use std::time::Duration;

use events::prompt::PromptVersion;
use events::{Aggregate, Payload};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::Answer;
use tests::{Client, World, eventually, truth, world};

const PROMPTS: &str = "/api/system-prompts";
const NOBODY: &str = "0193e2f4-5f1c-7c52-9d3f-0242ac120002";
const LIMIT: Duration = Duration::from_secs(60);

async fn created(client: &Client, path: &str, body: Value) -> Answer {
    let answer = client.post(path, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer
}

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Answer {
    client.send(client.request(method, path).json(&body)).await.unwrap()
}

async fn changed(client: &Client, path: &str, patch: Value) -> Answer {
    let answer = send(client, Method::PATCH, path, patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer
}

fn at(answer: &Answer) -> String {
    format!("{PROMPTS}/{}", answer.text("id"))
}

fn billing() -> Value {
    json!({
        "name": "Billing", "category": "desks", "content": "Speak for {{company}}, {{ tone }}, to {{customer}}.",
        "variables": { "company": "us", "tone": "friendly", "customer": "our customer" }
    })
}

/// What VendorA was told it is, in each of its requests.
async fn told(world: &World) -> Vec<String> {
    let requests = world.vendor_requests("vendor_a").await;
    requests.iter().map(|request| request["body"]["system"].as_str().unwrap().to_owned()).collect()
}

/// Agent version, prompt and prompt version of each reply.
async fn sources(client: &Client, session: &str) -> Vec<(Value, Value, Value)> {
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    let messages = transcript.body["messages"].as_array().unwrap().clone();
    let (replies, questions): (Vec<Value>, Vec<Value>) =
        messages.into_iter().partition(|message| message["role"] == "assistant");
    assert!(
        questions
            .iter()
            .all(|question| question["prompt_id"].is_null() && question["agent_version"].is_null())
    );
    let source = |reply: &Value| {
        (reply["agent_version"].clone(), reply["prompt_id"].clone(), reply["prompt_version"].clone())
    };
    replies.iter().map(source).collect()
}

#[tokio::test]
async fn a_prompt_is_made_changed_and_deleted_and_its_versions_stay() {
    let (_world, client) = World::start().await;
    let made = created(&client, PROMPTS, billing()).await;
    let path = at(&made);
    assert_eq!((&made.body["version"], &made.body["is_default"]), (&json!(1), &json!(false)));
    assert_eq!((made.text("description"), made.text("category")), ("", "desks"));
    assert_eq!(client.get(&path).await.body, made.body);

    let patched = changed(&client, &path, json!({ "content": "Hello {{company}}", "category": null })).await;
    assert_eq!((&patched.body["version"], &patched.body["category"]), (&json!(2), &json!(null)));
    assert_eq!(patched.body["variables"], made.body["variables"]);
    assert_eq!(
        changed(&client, &path, json!({ "name": "Billing" })).await.body,
        patched.body,
        "nothing is new"
    );
    let replaced = send(&client, Method::PUT, &path, json!({ "name": "Desk", "content": "Hi" })).await;
    assert_eq!((&replaced.body["version"], &replaced.body["variables"]), (&json!(3), &json!({})));
    assert_eq!(client.get(PROMPTS).await.rows(), [client.get(&path).await.body]);

    let versions = client.get(&format!("{path}/versions")).await;
    let seen: Vec<(&Value, &Value)> =
        versions.rows().iter().map(|row| (&row["version"], &row["content"])).collect();
    let (one, two, three) = (&made.body["content"], &patched.body["content"], &replaced.body["content"]);
    assert_eq!(seen, [(&json!(3), three), (&json!(2), two), (&json!(1), one)]);
    assert_eq!(versions.body[2]["created_at"], made.body["created_at"]);
    // Page by page.
    let page = client.get(&format!("{path}/versions?limit=2")).await;
    assert_eq!(page.rows(), &versions.rows()[..2]);
    assert_eq!(page.header("link"), format!("<{path}/versions?limit=2&after=2>; rel=\"next\""));
    let rest = client.get(&format!("{path}/versions?limit=2&after=2")).await;
    assert_eq!((rest.rows(), rest.header("link")), (&versions.rows()[2..], ""));
    for (query, field) in [("limit=0", "limit"), ("after=x", "after"), ("after=-1", "after")] {
        let refused = client.get(&format!("{path}/versions?{query}")).await;
        refused.assert_problem(422, "validation_failed", query);
        assert_eq!(refused.fields(), [field]);
    }

    let deleted = client.send(client.request(Method::DELETE, &path)).await.unwrap();
    assert_eq!(deleted.body, json!({ "deleted": true }), "{deleted:?}");
    client.get(&path).await.assert_problem(404, "not_found", "a deleted one");
    assert_eq!(client.get(PROMPTS).await.body, json!([]));
    assert_eq!(client.get(&format!("{path}/versions")).await.body, versions.body);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        send(&client, method, &path, billing()).await.assert_problem(404, "not_found", "a deleted one");
    }
}

#[tokio::test]
async fn the_model_is_told_the_prompt_with_the_values_of_session_agent_and_prompt() {
    let (world, client) = World::start().await;
    let prompt = created(&client, PROMPTS, billing()).await;
    let id = &prompt.body["id"];
    let values = json!({ "company": "TechCorp", "tone": "{{customer}}" });
    let agent = json!({ "name": "Desk", "system_prompt_id": id, "prompt_variables": values });
    let agent = created(&client, "/api/agents", agent).await;
    assert_eq!((&agent.body["system_prompt"], &agent.body["prompt_variables"]), (&json!(null), &values));
    let open = async |variables: Value| {
        let body = json!({
            "agent_id": agent.body["id"], "customer_id": "customer-1", "prompt_variables": variables
        });
        let session = created(&client, "/api/sessions", body).await;
        assert_eq!(session.body["prompt_variables"], variables);
        session.text("id").to_owned()
    };

    let plain = open(json!({})).await;
    let given = open(json!({ "customer": "Ada", "tone": "" })).await;
    for session in [&plain, &given] {
        assert_eq!(client.say(session, "Hello").await.status, StatusCode::OK);
    }
    // A value is put in as it is.
    let first = ["Speak for TechCorp, {{customer}}, to our customer.", "Speak for TechCorp, , to Ada."];
    assert_eq!(told(&world).await, first);

    // A new version is used by the next turn; values that it does not declare any more are passed over.
    let patch =
        json!({ "content": "Hello {{customer}}, this is {{company}}.", "variables": { "tone": null } });
    changed(&client, &at(&prompt), patch).await;
    assert_eq!(client.say(&given, "Hello again").await.status, StatusCode::OK);
    assert_eq!(told(&world).await[2], "Hello Ada, this is TechCorp.");
    let versions = [(json!(1), id.clone(), json!(1)), (json!(1), id.clone(), json!(2))];
    assert_eq!(sources(&client, &given).await, versions);
    assert_eq!(sources(&client, &plain).await, versions[..1]);

    // A text of its own again: it is no template, and there is no prompt to name.
    let path = format!("/api/agents/{}", agent.text("id"));
    let text = changed(&client, &path, json!({ "system_prompt": "I am {{company}}" })).await;
    assert_eq!(
        (&text.body["system_prompt_id"], &text.body["prompt_variables"]),
        (&json!(null), &json!({})),
        "{text:?}"
    );
    assert_eq!(client.say(&given, "And now?").await.status, StatusCode::OK);
    assert_eq!(told(&world).await[3], "I am {{company}}");
    assert_eq!(sources(&client, &given).await[2], (json!(2), json!(null), json!(null)));
    // The session still shows what it was given.
    let shown = client.get(&format!("/api/sessions/{given}")).await;
    assert_eq!(shown.body["prompt_variables"], json!({ "customer": "Ada", "tone": "" }));

    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn a_prompt_that_agents_use_cannot_be_deleted_and_one_of_another_tenant_is_unknown() {
    let (world, client) = World::start().await;
    let prompt = created(&client, PROMPTS, billing()).await;
    let by = |id: &str| json!({ "name": "Desk", "system_prompt_id": id, "is_active": false });
    let agents = [
        created(&client, "/api/agents", by(prompt.text("id"))).await,
        created(&client, "/api/agents", by(prompt.text("id"))).await,
    ];
    let delete = async |path: &str| client.send(client.request(Method::DELETE, path)).await.unwrap();
    let refused = delete(&at(&prompt)).await;
    refused.assert_problem(409, "prompt_in_use", "two agents");
    assert!(refused.text("detail").contains("2 agents"), "{refused:?}");
    assert_eq!(delete(&format!("/api/agents/{}", agents[0].text("id"))).await.status, StatusCode::OK);
    delete(&at(&prompt)).await.assert_problem(409, "prompt_in_use", "one agent");
    changed(&client, &format!("/api/agents/{}", agents[1].text("id")), json!({ "system_prompt": "Me" }))
        .await;
    assert_eq!(delete(&at(&prompt)).await.status, StatusCode::OK);

    let stranger = client.with_key(&world.tenant(1).api_key);
    let foreign = created(&stranger, PROMPTS, billing()).await;
    let mut answers = Vec::new();
    for id in [foreign.text("id"), prompt.text("id"), NOBODY] {
        let refused = client.post("/api/agents", by(id)).await;
        refused.assert_problem(422, "validation_failed", id);
        assert_eq!(refused.fields(), ["system_prompt_id"], "{refused:?}");
        answers.push(refused.body["errors"].clone());
    }
    assert!(answers.iter().all(|errors| *errors == answers[0]), "{answers:?}");
    // Nor does somebody else's agent keep it from being deleted.
    let deleted = stranger.send(stranger.request(Method::DELETE, &at(&foreign))).await.unwrap();
    assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
}

#[tokio::test]
async fn values_for_variables_that_there_are_not_are_refused_by_name() {
    let (world, client) = World::start().await;
    let prompt = created(&client, PROMPTS, billing()).await;
    let agent = json!({ "name": "Desk", "system_prompt_id": prompt.body["id"] });
    let agent = created(&client, "/api/agents", agent).await;
    let path = format!("/api/agents/{}", agent.text("id"));
    let refused =
        send(&client, Method::PATCH, &path, json!({ "prompt_variables": { "tone": "dry", "mood": "x" } }))
            .await;
    refused.assert_problem(422, "validation_failed", "an agent's");
    assert_eq!(refused.fields(), ["prompt_variables.mood"], "{refused:?}");

    let with = |agent: &str, variables: Value| json!({ "agent_id": agent, "customer_id": "c", "prompt_variables": variables });
    let long = "x".repeat(2_001);
    let many = json!({ "company": "é".repeat(2_000), "tone": "\u{10000}".repeat(2_000), "customer": "\u{10000}".repeat(2_000) });
    let cases = [
        (agent.text("id"), json!({ "mood": "x" }), "prompt_variables.mood"),
        (agent.text("id"), json!({ "tone": long }), "prompt_variables.tone"),
        (agent.text("id"), json!({ "tone": "a\0b" }), "prompt_variables.tone"),
        (agent.text("id"), many, "prompt_variables"),
        (agent.text("id"), json!({ "tone": 7 }), "prompt_variables.tone"),
        (agent.text("id"), json!(["tone"]), "prompt_variables"),
        (&world.agent(0, 0), json!({ "tone": "dry" }), "prompt_variables"),
    ];
    for (agent, variables, field) in cases {
        let body = with(agent, variables);
        let headers = [("Idempotency-Key", "the-same")];
        let refused = client.post_with("/api/sessions", &body, &headers).await;
        refused.assert_problem(422, "validation_failed", &format!("{body:.100}"));
        assert_eq!(refused.fields(), [field], "{refused:?}");
    }
    // None of them has used the key.
    let body = with(agent.text("id"), json!({ "tone": "dry" }));
    let opened = client.post_with("/api/sessions", &body, &[("Idempotency-Key", "the-same")]).await;
    assert_eq!((opened.status, opened.is_replayed()), (StatusCode::CREATED, false), "{opened:?}");
    // A repetition is answered as the first was, though it would be refused now.
    changed(&client, &path, json!({ "system_prompt": "Me" })).await;
    let again = client.post_with("/api/sessions", &body, &[("Idempotency-Key", "the-same")]).await;
    assert_eq!((again.is_replayed(), &again.body), (true, &opened.body), "{again:?}");
    assert_eq!(client.get("/api/sessions").await.rows().len(), 1);
}

#[tokio::test]
async fn of_all_who_would_be_the_default_one_is_and_a_rebuild_agrees() {
    let (world, client) = World::start_with(&[("NATS_PARTITIONS", "4")]).await;
    let ours = |number: usize| {
        let body = json!({ "name": format!("Prompt {number}"), "content": "Hi", "is_default": true });
        let client = client.clone();
        async move { created(&client, PROMPTS, body).await }
    };
    join_all((0..8).map(ours)).await;
    let default = async || {
        let all = client.get(PROMPTS).await;
        let found: Vec<String> = all
            .rows()
            .iter()
            .filter(|row| row["is_default"] == true)
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect();
        assert!(found.len() <= 1, "{all:?}");
        found.first().cloned()
    };
    assert!(default().await.is_some());

    // The last one that is set wins, by whatever means, and is what an agent gets that names none.
    let last =
        created(&client, PROMPTS, json!({ "name": "Last", "content": "Hi", "is_default": true })).await;
    assert_eq!(default().await.as_deref(), Some(last.text("id")));
    let other = client.get(PROMPTS).await.rows()[1].clone();
    let other = format!("{PROMPTS}/{}", other["id"].as_str().unwrap());
    let chosen = changed(&client, &other, json!({ "is_default": true })).await;
    assert_eq!((&chosen.body["is_default"], &chosen.body["version"]), (&json!(true), &json!(1)));
    assert_eq!(client.get(&at(&last)).await.body["is_default"], false);
    let agent = created(&client, "/api/agents", json!({ "name": "Desk" })).await;
    assert_eq!(agent.body["system_prompt_id"], chosen.body["id"]);
    // A change of something else takes nothing, and giving up what one has not, neither.
    changed(&client, &at(&last), json!({ "content": "Hello", "is_default": false })).await;
    assert_eq!(default().await.as_deref(), Some(chosen.text("id")));

    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;

    changed(&client, &other, json!({ "is_default": false })).await;
    assert_eq!(default().await, None);
    let agent = created(&client, "/api/agents", json!({ "name": "Desk" })).await;
    assert!(agent.text("system_prompt").starts_with("You are a helpful assistant"), "{agent:?}");
}

#[tokio::test]
async fn a_repeated_creation_does_not_take_the_default_back() {
    let (_world, client) = World::start().await;
    let body = json!({ "name": "First", "content": "Hi", "is_default": true });
    let once = [("Idempotency-Key", "once")];
    let first = client.post_with(PROMPTS, &body, &once).await;
    assert_eq!((first.status, &first.body["is_default"]), (StatusCode::CREATED, &json!(true)), "{first:?}");
    let second =
        created(&client, PROMPTS, json!({ "name": "Second", "content": "Hi", "is_default": true })).await;
    let again = client.post_with(PROMPTS, &body, &once).await;
    assert_eq!((again.is_replayed(), &again.body), (true, &first.body), "{again:?}");
    assert_eq!(client.get(&at(&second)).await.body["is_default"], true);
    assert_eq!(client.get(&at(&first)).await.body["is_default"], false);
    // A deleted default is none.
    let deleted = client.send(client.request(Method::DELETE, &at(&second))).await.unwrap();
    assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
    let agent = created(&client, "/api/agents", json!({ "name": "Desk" })).await;
    assert_eq!(agent.body["system_prompt_id"], json!(null), "{agent:?}");
}

/// The worker of the first attempt dies while the vendor thinks; the prompt is changed before another takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_is_taken_over_keeps_the_version_of_its_prompt() {
    let mut world = World::services().await;
    let port = world::free_port();
    let _api = world.spawn("api,projections", port);
    let client = world.client(&format!("http://127.0.0.1:{port}"), 0);
    world::ready(&client).await;
    let worker = world.spawn("turns", 0);
    let prompt = created(&client, PROMPTS, json!({ "name": "Desk", "content": "Version 1" })).await;
    let agent = json!({ "name": "Desk", "system_prompt_id": prompt.body["id"] });
    let session = client.session(created(&client, "/api/agents", agent).await.text("id")).await;

    world.control("vendor_a", json!({ "latency_ms": 60_000 })).await;
    let path = format!("/api/sessions/{session}/messages");
    let hello = json!({ "content": "Hello" });
    let accepted = client.post_with(&path, &hello, &[("Prefer", "respond-async")]).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    eventually("the first request", LIMIT, async || (told(&world).await.len() == 1).then_some(())).await;
    worker.kill();
    world.control("vendor_a", json!({ "latency_ms": 0 })).await;
    changed(&client, &at(&prompt), json!({ "content": "Version 2" })).await;
    let _worker = world.spawn("turns", 0);
    eventually("the end of the job", LIMIT, async || {
        let job = client.get(accepted.header("location")).await;
        (job.text("status") == "succeeded").then_some(())
    })
    .await;
    assert_eq!(client.say(&session, "Hello again").await.status, StatusCode::OK);

    let told = told(&world).await;
    let (last, before) = told.split_last().unwrap();
    assert!(before.len() > 1 && before.iter().all(|told| told == "Version 1"), "{told:?}");
    assert_eq!(last, "Version 2");
    let versions: Vec<Value> =
        sources(&client, &session).await.into_iter().map(|(.., version)| version).collect();
    assert_eq!(versions, [json!(1), json!(2)]);

    let system = world.connect().await;
    let truth = truth::Truth::read(&system).await;
    let started: Vec<(u32, Option<PromptVersion>)> = truth
        .events
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::TurnStarted(started) => Some((started.attempt, started.prompt)),
            _ => None,
        })
        .collect();
    let version = |version| Some(PromptVersion { id: prompt.text("id").parse().unwrap(), version });
    assert_eq!(started, [(1, version(1)), (2, version(1)), (1, version(2))]);
}

#[tokio::test]
async fn what_a_session_gives_is_the_customers_and_is_erased_with_them() {
    let (world, client) = World::start().await;
    let prompt = created(&client, PROMPTS, billing()).await;
    let agent = json!({ "name": "Desk", "system_prompt_id": prompt.body["id"] });
    let agent = created(&client, "/api/agents", agent).await;
    let given = json!({ "customer": "Ada Lovelace" });
    let body =
        json!({ "agent_id": agent.body["id"], "customer_id": "customer-1", "prompt_variables": given });
    let session = created(&client, "/api/sessions", body).await;
    let path = format!("/api/sessions/{}", session.text("id"));
    assert_eq!(client.get(&path).await.body["prompt_variables"], given);

    let system = world.connect().await;
    let (tenant_id, session_id) = (world.tenant(0).id, session.text("id").parse().unwrap());
    let stored = system.nats.log.first(&Aggregate::session(tenant_id, session_id)).await.unwrap().unwrap();
    let stored = String::from_utf8(stored.event.payload.encode().to_vec()).unwrap();
    assert!(stored.contains("prompt_variables") && !stored.contains("Lovelace"), "{stored}");
    truth::projections_are_what_the_log_says(&system).await;

    assert!(system.keyring.erase_customer(tenant_id, "customer-1").await.unwrap());
    // A process that had not read the key before.
    let elsewhere = world.run("api".parse().unwrap()).await;
    let erased = elsewhere.get(&path).await;
    assert_eq!((&erased.body["customer_id"], &erased.body["prompt_variables"]), (&json!(null), &json!(null)));
    let listed = elsewhere.get("/api/sessions").await;
    assert_eq!(listed.rows()[0]["prompt_variables"], json!(null));
    truth::projections_are_what_the_log_says(&system).await;
}
