//! Calls, end to end: a caller who speaks and hears in real time, and the brain of the chat behind it. The speech vendors
//! are simulated: what they hear is the next phrase of a conversation, whatever was said.

use events::Payload;
use events::call::CallStatus;
use events::session::FailureCode;
use reqwest::Method;
use serde_json::json;
use tests::SpokenWorld;
use tests::caller::Caller;
use tests::twilio::{self, ACCOUNT, INCOMING, NUMBER, PUBLIC, TOKEN, assign, incoming, sign, token_in};

const GREETING: &str = "Welcome to TechCorp. How can I help you?";
const LONG_GREETING: &str = "Welcome to TechCorp, where we look after your invoices day and night. \
    Our offices are open from Monday to Friday, and our assistants are here all the time. How can I help you today?";
const QUESTION: &str = "What is the status of invoice INV-TC-001?";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_greeted_asks_and_is_answered() {
    let here = SpokenWorld::start(json!(GREETING), json!([QUESTION])).await;
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
    let ended = here.ended(&caller.call_id).await;
    assert_eq!(
        (ended.status, ended.end_reason.as_str(), ended.requests),
        (CallStatus::Completed, "caller_hung_up", 1)
    );
    let metered = here
        .call(&caller.call_id)
        .await
        .into_iter()
        .filter(|payload| matches!(payload, Payload::SpeechMetered(_)));
    assert!(metered.count() >= 3, "greeting, question and answer are on the bill");
    assert!(
        here.session(&caller.call_id).await.iter().any(|payload| matches!(payload, Payload::SessionEnded(_)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_stop_the_agent_and_only_what_was_heard_was_said() {
    let here = SpokenWorld::start(json!(LONG_GREETING), json!([QUESTION])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.until_it_speaks().await;
    caller.keep_silent(100).await;
    caller.speak_until_cleared().await;
    caller.speak_for(140).await;
    caller.until_it_speaks().await;
    caller.until_it_is_silent().await;

    let interrupted = here.interruptions(&caller.call_id).await;
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
    let here = SpokenWorld::start(json!(LONG_GREETING), json!(["Uh-huh."])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.until_it_speaks().await;
    caller.keep_silent(100).await;
    caller.speak_for(22).await;
    caller.until("the whole greeting", |caller| !caller.lines().is_empty()).await;
    assert_eq!(caller.lines(), [format!("assistant: {LONG_GREETING}")]);
    assert_eq!(here.interruptions(&caller.call_id).await, []);
    caller.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_interrupted_while_it_was_written_is_cancelled() {
    let here =
        SpokenWorld::start(json!(null), json!([QUESTION, "No, wait, the other invoice.", "Thank you."]))
            .await;
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
        .session(&caller.call_id)
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
    let here = SpokenWorld::start(json!(null), json!(["Goodbye, end the call."])).await;
    let request = here.client.request(Method::PATCH, &format!("/api/agents/{}", here.agent));
    let request = request.json(&json!({ "tools_enabled": ["end_call"] }));
    assert_eq!(here.client.send(request).await.unwrap().status, 200);
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until_it_speaks().await;
    caller.until_it_is_over().await;
    let ended = here.ended(&caller.call_id).await;
    assert_eq!(ended.end_reason, "ended_by_agent");
    let told = caller.told.iter().find(|told| told["type"] == "session_ended").unwrap();
    assert_eq!(told["reason"], "ended_by_agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_hung_up_from_outside() {
    let here = SpokenWorld::start(json!(LONG_GREETING), json!([QUESTION])).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.until_it_speaks().await;
    let asked = here.client.post(&format!("/api/calls/{}/hangup", caller.call_id), json!({})).await;
    assert!(asked.status.is_success(), "{asked:?}");
    caller.until_it_is_over().await;
    assert_eq!(here.ended(&caller.call_id).await.end_reason, "hung_up");
    assert!(caller.lines().is_empty(), "the greeting was not heard to its end: {:?}", caller.lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_call_that_loses_its_stream_goes_on_with_the_next() {
    let phrases = json!(["Thank you.", "What is your name?"]);
    let account = [("TWILIO_ACCOUNT_SID", ACCOUNT), ("TWILIO_AUTH_TOKEN", TOKEN), ("APP_URL", PUBLIC)];
    let here = SpokenWorld::start_with(&account, json!(null), phrases).await;
    assert_eq!(assign(&here.client, NUMBER, &here.agent).await.status, 200);
    let rings = async |path: &str| {
        let form = incoming("CA1");
        let (status, twiml) = twilio::post(&here.client, path, &form, &sign(TOKEN, path, &form)).await;
        assert_eq!(status, 200, "{twiml}");
        Caller::by_stream(&here.client, "CA1", &token_in(&twiml)).await
    };
    let mut first = rings(INCOMING).await;
    first.speak_for(60).await;
    first.until_it_speaks().await;
    first.until_it_is_silent().await;
    drop(first);
    let mut second = rings(&format!("{INCOMING}?returns=1")).await;
    second.speak_for(60).await;
    second.until_it_speaks().await;
    second.until_it_is_silent().await;
    second.hang_up().await;
    let ended = here.ended(&second.call_id).await;
    assert_eq!((ended.end_reason.as_str(), ended.requests), ("caller_hung_up", 2));
    let spoken: Vec<_> = here
        .session(&second.call_id)
        .await
        .into_iter()
        .filter_map(|payload| match payload {
            Payload::MessageReceived(message) => message.spoken,
            _ => None,
        })
        .collect();
    assert_eq!(spoken.len(), 2);
    assert!(spoken[1].from_frame > spoken[0].through_frame, "frames count on over streams: {spoken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_told_when_there_is_no_answer() {
    let here = SpokenWorld::start(json!(null), json!([QUESTION])).await;
    here.world.control("vendor_a", json!({ "failure_rate": 1.0 })).await;
    let mut caller = Caller::by_browser(&here.client, &here.agent).await;
    caller.speak().await;
    caller.until("an apology", |caller| caller.lines().iter().any(|line| line.contains("I am sorry"))).await;
    caller.speak().await;
    caller.until_it_is_over().await;
    assert!(caller.lines().last().unwrap().contains("Goodbye"), "{:?}", caller.lines());
}
