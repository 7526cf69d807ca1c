//! Calls, end to end: a caller who speaks and hears in real time, and the brain of the chat behind it. The speech vendors
//! are simulated: what they hear is the next phrase of a conversation, whatever was said.

use std::time::Duration;

use cli::system::System;
use events::call::{CallEnded, CallStatus};
use events::session::{FailureCode, ReplyInterrupted};
use events::{Aggregate, CallId, Payload};
use reqwest::Method;
use serde_json::{Value, json};
use tests::caller::Caller;
use tests::{Client, World, eventually};

const LIMIT: Duration = Duration::from_secs(20);
const GREETING: &str = "Welcome to TechCorp. How can I help you?";
const LONG_GREETING: &str = "Welcome to TechCorp, where we look after your invoices day and night. \
    Our offices are open from Monday to Friday, and our assistants are here all the time. How can I help you today?";
const QUESTION: &str = "What is the status of invoice INV-TC-001?";

/// An installation in which callers say `phrases`, one after the other, to an agent with simulated ears and mouth.
struct Here {
    world: World,
    client: Client,
    system: System,
    agent: String,
}

impl Here {
    async fn start(greeting: Value, phrases: Value) -> Self {
        let (world, client) = World::start().await;
        world.control("simulated_speech", json!({ "phrases": phrases })).await;
        let agent = world.agent(0, 0);
        let simulated = json!({ "provider": "simulated" });
        let settings = json!({ "greeting": greeting, "stt": simulated, "tts": simulated });
        let request = client.request(Method::PATCH, &format!("/api/agents/{agent}")).json(&settings);
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let system = world.connect().await;
        Self { world, client, system, agent }
    }

    async fn history(&self, aggregate: Aggregate) -> Vec<Payload> {
        let history = self.system.nats.log.read(&aggregate, 0).await.unwrap();
        history.into_iter().map(|recorded| recorded.event.payload).collect()
    }

    async fn call(&self, caller: &Caller) -> Vec<Payload> {
        let call_id = CallId(caller.call_id.parse().unwrap());
        self.history(Aggregate::call(self.world.tenant(0).id, call_id)).await
    }

    /// How the call ended.
    async fn ended(&self, caller: &Caller) -> CallEnded {
        eventually("the end of the call", LIMIT, async || {
            self.call(caller).await.into_iter().find_map(|payload| match payload {
                Payload::CallEnded(ended) => Some(ended),
                _ => None,
            })
        })
        .await
    }

    async fn session(&self, caller: &Caller) -> Vec<Payload> {
        let started = self.call(caller).await.into_iter().find_map(|payload| match payload {
            Payload::CallStarted(started) => Some(started),
            _ => None,
        });
        self.history(Aggregate::session(self.world.tenant(0).id, started.unwrap().session_id)).await
    }

    async fn interruptions(&self, caller: &Caller) -> Vec<ReplyInterrupted> {
        let session = self.session(caller).await;
        let found = session.into_iter().filter_map(|payload| match payload {
            Payload::ReplyInterrupted(interrupted) => Some(interrupted),
            _ => None,
        });
        found.collect()
    }

    /// What the model was told last, as one text.
    async fn last_prompt(&self) -> String {
        self.world.vendor_requests("vendor_a").await.last().unwrap()["body"].to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_greeted_asks_and_is_answered() {
    let here = Here::start(json!(GREETING), json!([QUESTION])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    caller.speak().await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    let lines = caller.lines();
    assert_eq!(lines[0], format!("assistant: {GREETING}"));
    assert_eq!(lines[1], format!("user: {QUESTION}"));
    assert!(lines[2].contains("15,000.00") && lines[2].contains("paid"), "{lines:?}");
    assert!(caller.told.iter().any(|told| told["type"] == "tool_call" && !told["result"].is_null()));
    let turn = caller.told.iter().find(|told| told["type"] == "turn").unwrap();
    assert!(turn["latency"]["caller_gap_ms"].as_u64().is_some(), "{turn}");
    caller.hang_up().await;
    let ended = here.ended(&caller).await;
    assert_eq!(
        (ended.status, ended.end_reason.as_str(), ended.requests),
        (CallStatus::Completed, "caller_hung_up", 1)
    );
    let metered =
        here.call(&caller).await.into_iter().filter(|payload| matches!(payload, Payload::SpeechMetered(_)));
    assert!(metered.count() >= 3, "greeting, question and answer are on the bill");
    assert!(here.session(&caller).await.iter().any(|payload| matches!(payload, Payload::SessionEnded(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_stop_the_agent_and_only_what_was_heard_was_said() {
    let here = Here::start(json!(LONG_GREETING), json!([QUESTION])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.until_it_speaks().await;
    caller.keep_silent(100).await;
    caller.speak_until_cleared().await;
    caller.speak_for(140).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;

    let interrupted = here.interruptions(&caller).await;
    assert_eq!(interrupted.len(), 1, "{interrupted:?}");
    let line = caller.lines()[0].clone();
    let heard = line.strip_prefix("assistant: ").unwrap();
    assert!(LONG_GREETING.starts_with(heard) && heard.len() < LONG_GREETING.len(), "{heard}");
    // The simulated voice takes 60 ms for each character that it is given.
    let truth = (caller.heard_before_clear_ms / 60) as usize;
    let words = |end: usize| LONG_GREETING[..end.min(LONG_GREETING.len())].split_whitespace().count();
    assert!(words(heard.len()).abs_diff(words(truth)) <= 1, "{truth} characters were heard, not {heard:?}");
    let prompt = here.last_prompt().await;
    assert!(prompt.contains(heard) && !prompt.contains(LONG_GREETING), "{prompt}");
    assert!(caller.lines()[2].contains("15,000.00"), "{:?}", caller.lines());
    println!("from speech to silence: {} ms", caller.clear_ms);
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uh_huh_does_not_stop_the_agent() {
    let here = Here::start(json!(LONG_GREETING), json!(["Uh-huh."])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.until_it_speaks().await;
    caller.keep_silent(100).await;
    caller.speak_for(22).await;
    caller.until("the whole greeting", |caller| !caller.lines().is_empty()).await;
    assert_eq!(caller.lines(), [format!("assistant: {LONG_GREETING}")]);
    assert_eq!(here.interruptions(&caller).await, []);
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_interrupted_while_it_was_written_is_cancelled() {
    let here =
        Here::start(json!(null), json!([QUESTION, "No, wait, the other invoice.", "Thank you."])).await;
    here.world.control("vendor_a", json!({ "mode": "slow_drip" })).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until("the question", |caller| caller.lines().len() == 1).await;
    here.world.control("vendor_a", json!({ "mode": "normal" })).await;
    caller.speak().await;
    caller.until("the other question", |caller| caller.lines().len() >= 2).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;
    let failed: Vec<_> = here
        .session(&caller)
        .await
        .into_iter()
        .filter_map(|payload| match payload {
            Payload::TurnFailed(failed) => Some(failed.code),
            _ => None,
        })
        .collect();
    assert_eq!(failed, [FailureCode::Cancelled]);
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_says_goodbye_and_hangs_up() {
    let here = Here::start(json!(null), json!(["Goodbye, end the call."])).await;
    let request = here.client.request(Method::PATCH, &format!("/api/agents/{}", here.agent));
    let request = request.json(&json!({ "tools_enabled": ["end_call"] }));
    assert_eq!(here.client.send(request).await.unwrap().status, 200);
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until_it_speaks().await;
    caller.until_it_is_over().await;
    let ended = here.ended(&caller).await;
    assert_eq!(ended.end_reason, "ended_by_agent");
    let told = caller.told.iter().find(|told| told["type"] == "session_ended").unwrap();
    assert_eq!(told["reason"], "ended_by_agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_told_when_there_is_no_answer() {
    let here = Here::start(json!(null), json!([QUESTION])).await;
    here.world.control("vendor_a", json!({ "failure_rate": 1.0 })).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until("an apology", |caller| caller.lines().iter().any(|line| line.contains("I am sorry"))).await;
    caller.speak().await;
    caller.until_it_is_over().await;
    assert!(caller.lines().last().unwrap().contains("Goodbye"), "{:?}", caller.lines());
}
