//! Media workers are killed in the middle of calls, and replaced: the caller notices a pause at most.

use std::time::Duration;

use cli::system::System;
use domain::Call;
use events::{Aggregate, CallId, Payload, Recorded};
use reqwest::Method;
use serde_json::{Value, json};
use tests::caller::Caller;
use tests::endpoint::Told;
use tests::{Client, Endpoint, Process, World, eventually, truth};

const LIMIT: Duration = Duration::from_secs(30);
const QUESTION: &str = "What is the status of invoice INV-TC-001?";

/// The api and the projections here, workers in processes of their own.
struct Installation {
    world: World,
    client: Client,
    system: System,
    workers: Vec<Process>,
    agent: String,
}

impl Installation {
    async fn start(workers: usize, phrases: Value) -> Self {
        let mut world = World::with_environment(&[("VOCALBRIDGE_ALLOW_PRIVATE_URLS", "true")]).await;
        world.control("simulated_speech", json!({ "phrases": phrases })).await;
        let client = world.run("api,projections".parse().unwrap()).await;
        let workers = (0..workers).map(|_| world.spawn("workers", 0)).collect();
        let (system, agent) = (world.connect().await, world.agent(0, 0));
        let installation = Self { world, client, system, workers, agent };
        let simulated = json!({ "provider": "simulated" });
        installation.set(json!({ "stt": simulated, "tts": simulated })).await;
        installation
    }

    async fn set(&self, settings: Value) {
        let request = self.client.request(Method::PATCH, &format!("/api/agents/{}", self.agent));
        let answer = self.client.send(request.json(&settings)).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn history(&self, aggregate: Aggregate) -> Vec<Recorded> {
        self.system.nats.log.read(&aggregate, 0).await.unwrap()
    }

    fn call_of(&self, caller: &Caller) -> Aggregate {
        Aggregate::call(self.world.tenant(0).id, CallId(caller.call_id.parse().unwrap()))
    }

    async fn call(&self, caller: &Caller) -> Call {
        Call::of(&self.history(self.call_of(caller)).await)
    }

    async fn session(&self, caller: &Caller) -> Vec<Recorded> {
        let session_id = self.call(caller).await.started.unwrap().call.session_id;
        self.history(Aggregate::session(self.world.tenant(0).id, session_id)).await
    }

    /// Kills the process that holds the call.
    async fn kill_the_worker_of(&mut self, caller: &Caller) {
        let worker_id = self.call(caller).await.claimed.unwrap().worker_id;
        let pid: u32 = worker_id.rsplit(':').next().unwrap().parse().unwrap();
        let index = self.workers.iter().position(|worker| worker.pid() == pid).unwrap();
        self.workers.remove(index).kill();
    }

    /// What must be true of a call of one question that went over to another worker.
    async fn check(&self, caller: &Caller, answer: &str) {
        let session = self.session(caller).await;
        let asked: Vec<&Payload> = session
            .iter()
            .map(|recorded| &recorded.event.payload)
            .filter(|payload| matches!(payload, Payload::MessageReceived(_)))
            .collect();
        assert_eq!(asked.len(), 1, "the question was heard once");
        let interrupted =
            session.iter().any(|recorded| matches!(recorded.event.payload, Payload::ReplyInterrupted(_)));
        assert!(!interrupted, "nobody interrupted");
        assert!(caller.lines().iter().any(|line| line.contains(answer)), "{:?}", caller.lines());
        let mut pieces = caller.pieces();
        let said = pieces.len();
        pieces.sort();
        pieces.dedup();
        assert_eq!(pieces.len(), said, "a sentence was begun twice: {pieces:?}");

        let call = self.call(caller).await;
        assert_eq!(call.claimed.unwrap().attempt, 2);
        let truth = truth::Truth::read(&self.system).await;
        truth.every_message_ended_once();
        truth.turns_never_overlap();
        truth.billed();
        let mut metered = std::collections::BTreeSet::new();
        for event in &truth.events {
            if let Payload::SpeechMetered(_) = &event.payload {
                assert!(metered.insert(event.envelope.id), "speech was metered twice");
            }
        }
        truth::projections_are_level(&self.system).await;
        truth::projections_are_what_the_log_says(&self.system).await;
        self.say_how_long(caller).await;
    }

    /// For people: how long the call was without a worker, and until the caller heard the agent again.
    async fn say_how_long(&self, caller: &Caller) {
        let history = self.history(self.call_of(caller)).await;
        let claims: Vec<_> = history
            .iter()
            .filter(|recorded| matches!(recorded.event.payload, Payload::CallClaimed(_)))
            .map(|recorded| recorded.event.envelope.time)
            .collect();
        let spoken = history.iter().rev().find_map(|recorded| match &recorded.event.payload {
            Payload::TurnMeasured(measured) => measured.caller_gap_ms,
            _ => None,
        });
        println!("claims {claims:?}, caller's gap {spoken:?} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_heard_though_the_worker_dies_while_listening() {
    let mut here = Installation::start(2, json!([QUESTION])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.keep_silent(50).await;
    caller.speak_for(60).await;
    here.kill_the_worker_of(&caller).await;
    caller.speak_for(100).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    here.check(&caller, "15,000.00").await;
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_answered_though_the_worker_dies_while_thinking() {
    let mut here = Installation::start(2, json!([QUESTION])).await;
    here.world.control("vendor_a", json!({ "latency_ms": 700 })).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until("the question", |caller| caller.lines().iter().any(|line| line.starts_with("user"))).await;
    here.kill_the_worker_of(&caller).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    here.check(&caller, "15,000.00").await;
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_goes_on_where_it_was_though_the_worker_dies_while_speaking() {
    let mut here = Installation::start(2, json!([QUESTION])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until_it_speaks().await;
    caller.keep_silent(10).await;
    here.kill_the_worker_of(&caller).await;
    caller.until("the whole reply", |caller| caller.lines().len() == 2).await;
    here.check(&caller, "15,000.00").await;
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_answered_though_the_worker_dies_during_a_tool() {
    let question = "Use order_status with {\"order_id\": \"A-17\"}";
    let mut here = Installation::start(2, json!([question])).await;
    // Its first run never ends.
    let endpoint =
        Endpoint::start(|number, _| (number > 0).then(|| Told::json(&json!({ "state": "shipped" })))).await;
    let function = json!({
        "name": "order_status", "description": "The state of an order.", "webhook_url": endpoint.url,
        "method": "POST",
        "parameters": { "type": "object", "properties": { "order_id": { "type": "string" } } },
    });
    let made = here.client.post("/api/custom-functions", function).await;
    assert_eq!(made.status, 201, "{made:?}");
    here.set(json!({ "tools_enabled": ["order_status"] })).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    tokio::select! {
        _ = endpoint.wait_for(1) => {}
        () = caller.until("nothing", |_| false) => {}
    }
    // The tool may run in either process: both are replaced, the one that holds the call by force.
    here.kill_the_worker_of(&caller).await;
    here.workers.pop().unwrap().kill();
    let fresh = here.world.spawn("workers", 0);
    here.workers.push(fresh);
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    here.check(&caller, "shipped").await;
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_dropped_when_every_worker_is_replaced() {
    const CALLS: usize = 10;
    let mut here = Installation::start(2, json!([QUESTION])).await;
    let mut callers = Vec::new();
    for _ in 0..CALLS {
        callers.push(Caller::by_browser(&here.client, &here.agent).await);
    }
    let talks = tokio_util::task::TaskTracker::new();
    let (replaced, done) = tokio::sync::watch::channel(false);
    let talking: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            let mut done = done.clone();
            talks.spawn(async move {
                caller.speak().await;
                caller.until_it_speaks().await;
                caller.until_it_is_silent().await;
                while !*done.borrow_and_update() {
                    caller.keep_silent(10).await;
                }
                caller.speak().await;
                caller.until("the second answer", |caller| caller.lines().len() == 4).await;
                caller
            })
        })
        .collect();
    for _ in 0..2 {
        let fresh = here.world.spawn("workers", 0);
        here.workers.push(fresh);
        let mut old = here.workers.remove(0);
        old.interrupt();
        assert_eq!(old.ended(LIMIT).await, Some(0), "{}", old.output());
    }
    replaced.send(true).unwrap();
    for talk in talking {
        let mut caller = talk.await.unwrap();
        let call = here.call(&caller).await;
        assert!(!call.ended);
        assert!(call.claimed.unwrap().attempt > 1, "the call stayed where it was");
        caller.hang_up().await;
        eventually("the end of the call", LIMIT, async || here.call(&caller).await.ended.then_some(())).await;
    }
    let truth = truth::Truth::read(&here.system).await;
    truth.every_message_ended_once();
    truth.turns_never_overlap();
    assert_eq!(truth.stories().len(), 2 * CALLS, "every question was heard once");
}
