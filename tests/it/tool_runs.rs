//! Tools run by hand: through the log like a model's call, once, and on record.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cli::system::Roles;
use events::{Aggregate, Event, EventId, Payload, ToolCallId};
use futures_util::future::{BoxFuture, join_all};
use nats::Expect;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::endpoint::Told;
use tests::{Endpoint, World, truth};
use tokio::net::TcpListener;
use vendors::http::guard::Names;

const FUNCTIONS: &str = "/api/custom-functions";
const PRIVATE: [(&str, &str); 1] = [("VOCALBRIDGE_ALLOW_PRIVATE_URLS", "true")];

#[tokio::test]
async fn a_built_in_tool_runs_for_the_tenant_and_the_agent() {
    let (world, client) = World::start().await;
    let agent = world.agent(0, 0);
    let path = "/api/tools/invoice_lookup/run";
    let invoice = json!({ "agent_id": agent, "arguments": { "invoice_id": "INV-TC-001" } });
    let run = client.post(path, invoice.clone()).await;
    assert_eq!((run.status, run.text("status")), (StatusCode::OK, "ok"), "{run:?}");
    assert_eq!((&run.body["result"]["status"], &run.body["error"]), (&json!("paid"), &Value::Null));
    assert!(run.body["latency_ms"].is_u64());
    assert!(run.body.get("http_status").is_none());
    let recorded = client.get("/api/tool-executions").await;
    assert_eq!(recorded.rows().len(), 1);
    let row = &recorded.rows()[0];
    assert_eq!((&row["id"], &row["agent_id"]), (&run.body["id"], &json!(agent)));
    assert_eq!((&row["session_id"], &row["job_id"]), (&Value::Null, &Value::Null));
    assert_eq!((&row["arguments"], &row["result"]), (&invoice["arguments"], &run.body["result"]));

    for (arguments, told) in
        [(json!({}), "invoice_id"), (json!({ "invoice_id": "INV-HF-001" }), "there is no invoice")]
    {
        let refused = client.post(path, json!({ "agent_id": agent, "arguments": arguments })).await;
        assert_eq!((refused.text("status"), &refused.body["result"]), ("error", &Value::Null));
        assert!(refused.text("error").contains(told), "{refused:?}");
    }
    // A booking by hand stands in the agent's calendar.
    let day = json!({ "agent_id": agent, "arguments": { "date": next_monday() } });
    let free = client.post("/api/tools/check_availability/run", day.clone()).await;
    let start = free.body["result"]["slots"][0].clone();
    let booking = json!({ "start": start, "name": "Ada", "phone": "+1 555 0100" });
    let booking = json!({ "agent_id": agent, "arguments": booking });
    let book = async || client.post("/api/tools/book_appointment/run", booking.clone()).await;
    assert_eq!(book().await.body["result"]["start"], start);
    assert_eq!(book().await.text("error"), "slot_taken");
    let left = client.post("/api/tools/check_availability/run", day).await;
    assert_ne!(left.body["result"]["slots"][0], start);

    for (path, body) in [
        ("/api/tools/nothing/run", invoice.clone()),
        (path, json!({ "agent_id": world.agent(1, 0), "arguments": {} })),
        ("/api/tools/nothing/run", json!({ "content": "Hello" })),
    ] {
        client.post(path, body).await.assert_problem(404, "not_found", path);
    }
    client.post(path, json!({ "arguments": {} })).await.assert_problem(422, "validation_failed", "no agent");
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
}

/// The default calendar is open on it.
fn next_monday() -> chrono::NaiveDate {
    use chrono::Datelike;
    let today = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).date_naive();
    today + chrono::Days::new(u64::from(7 - today.weekday().num_days_from_monday()))
}

#[tokio::test]
async fn a_run_that_is_asked_for_often_happens_once() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint = Endpoint::echo().await;
    let function = json!({ "name": "charge", "webhook_url": endpoint.url });
    assert_eq!(client.post(FUNCTIONS, function).await.status, StatusCode::CREATED);
    let run = json!({ "agent_id": world.agent(0, 0), "arguments": { "amount": 5 } });
    let path = "/api/tools/charge/run";
    let once = [("Idempotency-Key", "charge-1")];
    let answers = join_all((0..20).map(|_| client.post_with(path, &run, &once))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &answers[0].body), "{answer:?}");
    }
    assert_eq!(answers[0].body["result"], json!({ "number": 0, "got": { "amount": 5 } }));
    assert_eq!(answers.iter().filter(|answer| answer.is_replayed()).count(), 19);
    assert_eq!(endpoint.asked().len(), 1);
    let other = json!({ "agent_id": world.agent(0, 0), "arguments": { "amount": 6 } });
    let reused = client.post_with(path, &other, &once).await;
    reused.assert_problem(422, "idempotency_key_reused", "another amount");

    // Who does not wait is told so, and hears of the same run when it asks again.
    let impatient = [("Idempotency-Key", "charge-2"), ("Prefer", "wait=0")];
    client.post_with(path, &other, &impatient).await.assert_problem(504, "tool_timeout", "no wait");
    let late = client.post_with(path, &other, &[("Idempotency-Key", "charge-2")]).await;
    assert_eq!((late.text("status"), late.is_replayed()), ("ok", true), "{late:?}");
    assert_eq!(endpoint.asked().len(), 2);
    // Answered as it was, although the function is gone.
    let id = client.get(FUNCTIONS).await.rows()[0]["id"].as_str().unwrap().to_owned();
    let gone = client.request(reqwest::Method::DELETE, &format!("{FUNCTIONS}/{id}"));
    assert_eq!(client.send(gone).await.unwrap().status, StatusCode::OK);
    assert_eq!(client.post_with(path, &run, &once).await.body, answers[0].body);
}

#[tokio::test]
async fn a_request_that_is_delivered_twice_has_one_result() {
    let (world, client) = World::start_with(&PRIVATE).await;
    let endpoint = Endpoint::start(|number, _| Some(Told::json(&json!(number)))).await;
    let function = json!({ "name": "count", "webhook_url": endpoint.url });
    let function = client.post(FUNCTIONS, function).await;
    let test = client.post(&format!("{FUNCTIONS}/{}/test", function.text("id")), json!({})).await;
    assert_eq!(test.body["result"], json!(0), "{test:?}");

    let system = world.connect().await;
    let tool_call_id: ToolCallId = test.text("id").parse().unwrap();
    let run = Aggregate::tool_run(world.tenant(0).id, tool_call_id);
    let history = system.nats.log.read(&run, 0).await.unwrap();
    let Payload::ToolRunRequested(requested) = &history[0].event.payload else { panic!("{history:?}") };
    // The same request as another entry: it is sealed for its own event.
    let id = EventId::new();
    let mut again =
        Event { payload: Payload::ToolRunRequested(requested.clone()), ..history[0].event.clone() };
    again.envelope.id = id;
    let Payload::ToolRunRequested(copied) = &mut again.payload else { panic!("{again:?}") };
    let tenant_id = world.tenant(0).id;
    copied.arguments = system.keyring.seal(tenant_id, tenant_id.0, id, "{}").await.unwrap();
    system.nats.log.append(&again, Expect::Anything).await.unwrap();
    let asked = endpoint.wait_for(2).await;
    assert_eq!(asked[0].headers["idempotency-key"], asked[1].headers["idempotency-key"]);
    // The roles finish what they hold.
    world.stop().await;
    let history = system.nats.log.read(&run, 0).await.unwrap();
    let completed =
        |recorded: &&events::Recorded| matches!(recorded.event.payload, Payload::ToolRunCompleted(_));
    assert_eq!(history.iter().filter(completed).count(), 1, "{history:?}");
}

#[tokio::test]
async fn a_private_url_is_refused_when_it_is_saved() {
    let (_world, client) = World::start().await;
    for url in [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://2130706433/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "http://example.com/",
        "https://user:password@example.com/",
    ] {
        let answer = client.post(FUNCTIONS, json!({ "name": "inside", "webhook_url": url })).await;
        answer.assert_problem(422, "validation_failed", url);
        assert_eq!(answer.fields(), ["webhook_url"], "{url}");
    }
    assert_eq!(client.get(FUNCTIONS).await.rows().len(), 0);
}

/// Leads to a public address of nobody's first, then inside.
struct Rebound(AtomicUsize);

impl Names for Rebound {
    fn addresses(&self, _name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let address = if self.0.fetch_add(1, Ordering::SeqCst) == 0 { "2d00::1" } else { "127.0.0.1" };
        Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_later_is_refused_when_it_is_called() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::services().await;
    let names = Arc::new(Rebound(AtomicUsize::new(0)));
    let client = world.run_with(Roles::all(), |system| system.names = names.clone()).await;
    let url = format!("https://rebound.example:{}/", inside.local_addr().unwrap().port());
    let function = client.post(FUNCTIONS, json!({ "name": "rebound", "webhook_url": url })).await;
    assert_eq!(function.status, StatusCode::CREATED, "{function:?}");
    let test = format!("{FUNCTIONS}/{}/test", function.text("id"));
    let answer = client.post(&test, json!({})).await;
    assert_eq!((answer.text("status"), &answer.body["http_status"]), ("error", &Value::Null), "{answer:?}");
    assert!(answer.text("error").contains("private"), "{answer:?}");
    // It was not reached at the first address, looked up again, and refused.
    assert_eq!(names.0.load(Ordering::SeqCst), 2);
    let heard = tokio::time::timeout(std::time::Duration::from_millis(50), inside.accept()).await;
    assert!(heard.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_url_that_was_allowed_when_it_was_saved_is_judged_anew_when_it_is_called() {
    let mut world = World::with_environment(&PRIVATE).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let endpoint = Endpoint::echo().await;
    let function = client.post(FUNCTIONS, json!({ "name": "inside", "webhook_url": endpoint.url })).await;
    assert_eq!(function.status, StatusCode::CREATED, "{function:?}");
    world.forget("VOCALBRIDGE_ALLOW_PRIVATE_URLS");
    let _careful = world.spawn("tools", 0);
    let test = format!("{FUNCTIONS}/{}/test", function.text("id"));
    let answer = client.post(&test, json!({})).await;
    assert!(answer.text("error").contains("must begin with https://"), "{answer:?}");
    assert_eq!(endpoint.asked().len(), 0);
}
