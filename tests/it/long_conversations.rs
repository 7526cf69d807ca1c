//! Conversations that are longer than the model's window: every request fits, nothing of weight is forgotten, and the
//! summary is paid for once.

use std::io::Write;
use std::time::Duration;

use events::Payload;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::sse::Stream;
use tests::{Client, World, eventually, truth, world};
use vendors::simulator::count_tokens;

const LIMIT: Duration = Duration::from_secs(60);
/// Of the one model that the agents here ask.
const WINDOW: u64 = 2_000;

/// A price list by which VendorA's models have a small window.
fn small_window() -> tempfile::NamedTempFile {
    let mut list = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[[models]]\nprovider = \"vendor_a\"\nmodel = \"vendor-a-1\"\nusd_per_million_in = \"0.15\"\n\
         usd_per_million_out = \"0.60\"\ncontext_tokens = {WINDOW}\n"
    );
    list.write_all(text.as_bytes()).unwrap();
    list
}

/// The text of `number`th message; it and its answer come to about 90 tokens.
fn point(number: usize) -> String {
    format!("Point {number} of what I have to say: {}", "it is a long story. ".repeat(6))
}

/// Every request that VendorA received.
async fn requests(world: &World) -> Vec<Value> {
    let log = Client::new(&world.simulator, "").get("/_log/vendor_a").await;
    log.rows().iter().map(|request| request["body"].clone()).collect()
}

fn is_summary(request: &Value) -> bool {
    request["system"].as_str().unwrap().starts_with("Summarise")
}

/// A request's size as the simulated vendors count, and with what they do not count: the tools' descriptions.
fn size(request: &Value) -> u64 {
    let text = |value: &Value| value.as_str().map_or(0, count_tokens);
    let turns = request["turns"].as_array().unwrap().iter().map(|turn| text(&turn["text"]));
    let tools = request["tools"].as_array().map_or(0, |tools| count_tokens(&json!(tools).to_string()));
    text(&request["system"]) + turns.sum::<u64>() + tools
}

/// What the vendor was told before the first line that it was told whole.
fn told_summary(request: &Value) -> &str {
    request["turns"][0]["text"]
        .as_str()
        .unwrap()
        .strip_prefix("Earlier in this conversation:\n")
        .unwrap_or_default()
}

fn cost(answer: &Value) -> Decimal {
    answer["cost_usd"].as_str().unwrap().parse().unwrap()
}

/// Says [`point`]s until one needs a summary; answers which one did.
async fn say_until_summarised(world: &World, client: &Client, session: &str) -> usize {
    for number in 0..60 {
        let answer = client.say(session, &point(number)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if requests(world).await.iter().any(is_summary) {
            return number;
        }
    }
    panic!("the window is never full");
}

/// A session whose next message, the answered [`point`], will need a summary. The vendor's log is empty then.
async fn session_on_the_brink(world: &World, client: &Client) -> (String, usize) {
    let rehearsal = client.session(&world.agent(0, 0)).await;
    let needed = say_until_summarised(world, client, &rehearsal).await;
    let session = client.session(&world.agent(0, 0)).await;
    for number in 0..needed {
        let answer = client.say(&session, &point(number)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let log = Client::new(&world.simulator, "");
    log.send(log.request(Method::DELETE, "/_log/vendor_a")).await.unwrap();
    (session, needed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_of_sixty_messages_fits_a_small_window_and_remembers_how_it_began() {
    let prices = small_window();
    let setting = [("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap())];
    let (world, client) = World::start_with(&setting).await;
    let listed = client.get("/api/models").await;
    let model = listed.rows().iter().find(|model| model["id"] == "vendor-a-1").unwrap();
    assert_eq!(model["context_tokens"], WINDOW);

    let session = client.session(&world.agent(0, 0)).await;
    let mut spent = Decimal::ZERO;
    let mut say = async |text: &str| {
        let answer = client.say(&session, text).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let calls = client.get(&format!("/api/provider-calls?job_id={}", answer.text("job_id"))).await;
        let billed: Decimal = calls.rows().iter().map(cost).sum();
        assert_eq!(cost(&answer.body), billed, "a message costs what its requests do, summaries too");
        assert_eq!(answer.body["attempts"], calls.rows().len());
        spent += billed;
        answer.text("content").to_owned()
    };
    say("My name is Maria Lopez and my contract is K-4711.").await;
    for number in 1..59 {
        say(&point(number)).await;
    }
    assert_eq!(say("What is my name?").await, "Your name is Maria Lopez.");

    let requests = requests(&world).await;
    let summaries = requests.iter().filter(|request| is_summary(request)).count();
    assert!((3..20).contains(&summaries), "{summaries} summaries");
    assert_eq!(requests.len(), 60 + summaries, "one request a message, and the summaries'");
    for request in &requests {
        assert!(size(request) + WINDOW / 8 <= WINDOW, "{} tokens: {request}", size(request));
    }
    let last = requests.last().unwrap();
    assert!(told_summary(last).contains("K-4711"), "{last}");
    assert!(last["turns"].as_array().unwrap().len() > 4, "the newest lines are told whole: {last}");

    // The session's events show what the model is told.
    let request = client.request(Method::GET, &format!("/api/sessions/{session}/events"));
    let mut stream = Stream::open(request).await;
    let summarized = loop {
        let told = stream.next().await.unwrap();
        if told.event == "vocalbridge.session.summarized"
            || told.data["type"] == "vocalbridge.session.summarized"
        {
            break told.data["data"].clone();
        }
    };
    let text = summarized["summary"].as_str().unwrap();
    assert!(text.contains("My name is Maria Lopez and my contract is K-4711."), "{summarized}");
    assert_eq!((&summarized["provider"], &summarized["model"]), (&json!("vendor_a"), &json!("vendor-a-1")));

    let usage = client.usage().await;
    assert_eq!(usage.text("total_cost_usd").parse::<Decimal>().unwrap(), spent);
    let system = world.connect().await;
    let log = truth::Truth::read(&system).await;
    log.every_message_ended_once();
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_after_the_summary_has_paid_for_it_once() {
    let prices = small_window();
    let setting =
        [("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap()), ("VENDOR_TIMEOUT_SECONDS", "120")];
    let mut world = World::with_environment(&setting).await;
    let port = world::free_port();
    let base_url = format!("http://127.0.0.1:{port}");
    let _others = world.spawn("api,projections", port);
    let worker = world.spawn("workers", 0);
    let client = world.client(&base_url, 0);
    world::ready(&client).await;
    let (session, needed) = session_on_the_brink(&world, &client).await;

    // The summary is answered, the reply is not.
    world.control("vendor_a", json!({ "mode": "stall", "answers_before": 1 })).await;
    let path = format!("/api/sessions/{session}/messages");
    let content = json!({ "content": point(needed) });
    let accepted = client.post_with(&path, &content, &[("Prefer", "respond-async")]).await;
    eventually("the request for the reply", LIMIT, async || {
        let requests = requests(&world).await;
        (requests.len() == 2).then_some(())
    })
    .await;
    worker.kill();
    world.control("vendor_a", json!({ "mode": "normal" })).await;
    let _next = world.spawn("workers", 0);
    let location = accepted.header("location").to_owned();
    let job = eventually("the reply", LIMIT, async || {
        let job = client.get(&location).await;
        (job.text("status") == "succeeded").then_some(job)
    })
    .await;

    let requests = requests(&world).await;
    assert_eq!(requests.iter().filter(|request| is_summary(request)).count(), 1, "{requests:?}");
    assert_eq!(requests.len(), 3, "a summary, a reply that was lost, and a reply");
    assert_eq!(told_summary(&requests[1]), told_summary(&requests[2]));
    let calls = client.get(&format!("/api/provider-calls?job_id={}", job.text("id"))).await;
    assert_eq!(calls.rows().len(), 2, "{calls:?}");
    assert_eq!(cost(&job.body["result"]), calls.rows().iter().map(cost).sum::<Decimal>());

    let system = world.connect().await;
    let log = truth::Truth::read(&system).await;
    log.every_message_ended_once();
    truth::projections_are_level(&system).await;
    truth::the_ledger_is_what_was_billed(&world, &base_url, &log).await;
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_that_cannot_be_made_costs_no_reply_and_is_tried_again() {
    let prices = small_window();
    let setting = [
        ("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap()),
        ("VENDOR_TIMEOUT_SECONDS", "4"),
        ("VENDOR_MAX_RETRIES", "0"),
    ];
    let mut world = World::with_environment(&setting).await;
    let (process, client) = tests::process::serve(&mut world).await;
    let (session, needed) = session_on_the_brink(&world, &client).await;

    // The request for the summary hangs until its time is up; what comes after it is answered.
    world.control("vendor_a", json!({ "mode": "stall" })).await;
    let text = point(needed);
    let calmed = async {
        eventually("the request for a summary", LIMIT, async || {
            requests(&world).await.last().filter(|request| is_summary(request)).map(|_| ())
        })
        .await;
        world.control("vendor_a", json!({ "mode": "normal" })).await;
    };
    let (answer, ()) = tokio::join!(client.say(&session, &text), calmed);
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = requests(&world).await;
    let reply = asked.last().unwrap();
    assert!(size(reply) + WINDOW / 8 <= WINDOW, "{reply}");
    assert!(reply["turns"].as_array().unwrap().len() < 2 * needed, "the oldest lines are left out: {reply}");
    let calls = client.get(&format!("/api/provider-calls?job_id={}", answer.text("job_id"))).await;
    let outcomes: Vec<&Value> = calls.rows().iter().map(|call| &call["status"]).collect();
    assert_eq!(outcomes, ["succeeded", "timed_out"], "newest first");
    assert_eq!(cost(&answer.body), calls.rows().iter().map(cost).sum::<Decimal>());
    let metrics = client.get("/metrics").await;
    let metrics = metrics.body.as_str().unwrap();
    assert!(metrics.contains("vocalbridge_summaries_total{outcome=\"failed\"} 1"), "{metrics}");
    assert!(process.output().contains("a conversation could not be summarised"));

    // Nothing is lost by it: the next turn summarises from the very first line on.
    assert_eq!(client.say(&session, "And now?").await.status, 200);
    let asked = requests(&world).await;
    let [.., summary, reply] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(
        is_summary(summary) && summary["turns"][0]["text"].as_str().unwrap().contains("Point 0 of"),
        "{summary}"
    );
    assert!(told_summary(reply).contains("Point 0 of"), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_fit_fails_clearly_before_any_vendor_is_asked() {
    let prices = small_window();
    let setting = [("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap())];
    let (world, client) = World::start_with(&setting).await;
    let session = client.session(&world.agent(0, 0)).await;
    let answer = client.say(&session, &"word ".repeat(2_000)).await;
    answer.assert_problem(413, "context_exceeded", "a message of 2,500 tokens");
    assert!(answer.text("detail").contains("2000"), "{answer:?}");
    let job = client.get(&format!("/api/jobs/{}", answer.text("job_id"))).await;
    assert_eq!((job.text("status"), &job.body["error"]["code"]), ("failed", &json!("context_exceeded")));
    assert!(requests(&world).await.is_empty());

    // It stands in the transcript, and is left out of what the model is told from then on.
    let answer = client.say(&session, "Hello").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for request in requests(&world).await {
        assert!(size(&request) + WINDOW / 8 <= WINDOW, "{request}");
    }
    // An agent with another model behind it has the smaller window of the two.
    let session = client.session(&world.agent(0, 2)).await;
    let answer = client.say(&session, &"word ".repeat(2_000)).await;
    answer.assert_problem(413, "context_exceeded", "VendorB has room, its fallback has not");
    assert!(world.vendor_log("vendor_b").await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_customers_summary_is_unreadable_too() {
    let prices = small_window();
    let setting = [("VOCALBRIDGE_PRICE_LIST", prices.path().to_str().unwrap())];
    let (world, client) = World::start_with(&setting).await;
    let session = client.session(&world.agent(0, 0)).await;
    say_until_summarised(&world, &client, &session).await;

    let system = world.connect().await;
    let tenant_id = world.tenant(0).id;
    let log = truth::Truth::read(&system).await;
    let (event_id, summary) = log
        .events
        .iter()
        .find_map(|event| match &event.payload {
            Payload::SessionSummarized(summarized) => Some((event.envelope.id, summarized.summary.clone())),
            _ => None,
        })
        .unwrap();
    let read = system.keyring.open(tenant_id, event_id, &summary).await.unwrap();
    assert!(read.is_some_and(|read| read.contains("Point 0 of")));
    let stored = log.events.iter().map(|event| event.payload.encode());
    assert!(stored.into_iter().all(|bytes| !String::from_utf8_lossy(&bytes).contains("Point 0 of")));

    assert!(system.keyring.erase_customer(tenant_id, "customer-1").await.unwrap());
    assert_eq!(system.keyring.open(tenant_id, event_id, &summary).await.unwrap(), None);
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
    world.stop().await;
}
