//! Calls that Twilio brings: its webhooks, and the streams they ask for.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cli::system::{Roles, System};
use events::Payload;
use events::call::CallStarted;
use nats::media::{AudioFormat, CloseReason, Down, Up};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;
use tests::twilio::{
    INCOMING, NUMBER, PUBLIC, STATUS, TOKEN, Twilio, assign, incoming, media, started, token_in,
};
use tests::{Socket, World, eventually};
use tokio_tungstenite::tungstenite::Message;
use vendors::telephony::twilio::signature;

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_caller_is_heard_and_hears_and_hangs_up() {
    let mut twilio = Twilio::with_number().await;
    let token = twilio.stream_token("CA1").await;
    let mut socket = twilio.stream("CA1", &token).await;
    let (call_id, mut worker) = twilio.calls.answer().await;
    let Payload::CallStarted(CallStarted { agent_id, provider_call_sid, caller_number, .. }) =
        twilio.history(0, call_id).await.remove(0)
    else {
        panic!("the call begins with its start");
    };
    assert_eq!(agent_id.to_string(), twilio.world.agent(0, 1));
    assert_eq!((provider_call_sid.as_deref(), caller_number.is_some()), (Some("CA1"), true));

    // The third chunk is lost on the way.
    for number in [0, 1, 3] {
        socket.send_json(&media(number, number as u8)).await;
    }
    // It is given up when three more have come.
    for number in [4, 5] {
        socket.send_json(&media(number, number as u8)).await;
    }
    for (number, byte) in [(0, 0), (1, 1), (2, 0xff), (3, 3), (4, 4), (5, 5)] {
        let (frame, data) = worker.frame().await;
        assert_eq!((frame, data), (number, Bytes::from(vec![byte; 160])));
    }
    socket.send_json(&json!({ "event": "dtmf", "dtmf": { "track": "inbound_track", "digit": "5" } })).await;
    assert_eq!(worker.event().await, Up::Dtmf { digit: '5' });

    let generation = worker.speak("Good day.", Bytes::from(vec![9; 1_600])).await;
    worker.say(Down::Finish { generation }).await;
    let (mut heard, mut marks) = (Vec::new(), Vec::new());
    while marks.is_empty() {
        let frame = socket.json().await;
        assert_eq!(frame["streamSid"], "MZ1");
        match frame["event"].as_str().unwrap() {
            "media" => heard.extend(STANDARD.decode(frame["media"]["payload"].as_str().unwrap()).unwrap()),
            "mark" => marks.push(frame["mark"]["name"].clone()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(heard, [9; 1_600]);
    socket.send_json(&json!({ "event": "mark", "streamSid": "MZ1", "mark": { "name": marks[0] } })).await;
    while worker.event().await != (Up::Played { generation, ms: 200 }) {}

    socket.send_json(&json!({ "event": "stop", "streamSid": "MZ1", "stop": { "callSid": "CA1" } })).await;
    assert_eq!(worker.event().await, Up::Closed { reason: CloseReason::HungUp });
}

#[tokio::test]
async fn marks_that_come_back_because_of_a_clear_do_not_count() {
    let mut twilio = Twilio::with_number().await;
    let token = twilio.stream_token("CA1").await;
    let mut socket = twilio.stream("CA1", &token).await;
    let (_, mut worker) = twilio.calls.answer().await;
    let generation = worker.speak("A long story.", Bytes::from(vec![9; 80_000])).await;
    assert_eq!(socket.json().await["event"], "media");
    worker.say(Down::Clear { generation }).await;
    while socket.json().await["event"] != "clear" {}
    let name = format!("{generation}:80000");
    socket.send_json(&json!({ "event": "mark", "streamSid": "MZ1", "mark": { "name": name } })).await;
    loop {
        if let Up::Cleared { ms, .. } = worker.event().await {
            break assert!(ms < 2_000, "{ms}");
        }
    }
    worker.say(Down::Clear { generation }).await;
    let again = worker.event().await;
    assert!(matches!(again, Up::Cleared { ms: 0..2_000, .. }), "{again:?}");
}

#[tokio::test]
async fn a_call_that_loses_its_stream_comes_back_and_one_that_is_over_does_not() {
    let mut twilio = Twilio::with_number().await;
    let token = twilio.stream_token("CA1").await;
    let socket = twilio.stream("CA1", &token).await;
    let (call_id, mut worker) = twilio.calls.answer().await;
    drop(socket);
    assert!(matches!(worker.event().await, Up::Closed { .. }));

    // What stands behind the stream in the answer.
    let again = format!("{INCOMING}?returns=1");
    let (_, twiml) = twilio.signed(&again, &incoming("CA1")).await;
    assert!(twiml.contains(&format!("{PUBLIC}{INCOMING}?returns=2</Redirect>")), "{twiml}");
    let mut socket = twilio.stream("CA1", &token_in(&twiml)).await;
    let state = worker.state().await;
    assert_eq!((state.format, state.next_frame), (AudioFormat::Mulaw8k, 0));
    assert_eq!(twilio.history(0, call_id).await.len(), 1, "it is the same call");

    // A second stream of the same call takes it over.
    let (_, twiml) = twilio.signed(&again, &incoming("CA1")).await;
    let _second = twilio.stream("CA1", &token_in(&twiml)).await;
    assert_eq!(socket.refusal().await, ("replaced".to_owned(), 1000));

    let mut over = incoming("CA1");
    over.insert("CallStatus", "completed".to_owned());
    assert_eq!(twilio.signed(STATUS, &over).await.0, StatusCode::NO_CONTENT);
    let (_, twiml) = twilio.signed(&again, &incoming("CA1")).await;
    assert!(twiml.ends_with("<Response><Hangup/></Response>"), "{twiml}");
}

#[tokio::test]
async fn a_call_that_keeps_losing_its_stream_is_given_up() {
    let twilio = Twilio::with_number().await;
    twilio.stream_token("CA1").await;
    let (_, twiml) = twilio.signed(&format!("{INCOMING}?returns=21"), &incoming("CA1")).await;
    assert!(twiml.contains("<Say") && twiml.contains("<Hangup/>"), "{twiml}");
    let (_, twiml) = twilio.signed(INCOMING, &incoming("CA1")).await;
    assert!(twiml.contains("<Response><Hangup/>"), "{twiml}");
}

#[tokio::test]
async fn a_repeated_webhook_is_the_same_call() {
    let mut twilio = Twilio::with_number().await;
    let (first, second) = tokio::join!(twilio.stream_token("CA1"), twilio.stream_token("CA1"));
    assert_ne!(first, second, "each stream has its own token");
    let call_id = twilio.calls.begun().await;
    twilio.stream_token("CA2").await;
    assert_ne!(twilio.calls.begun().await, call_id, "one call began before it");
    assert_eq!(twilio.history(0, call_id).await.len(), 1);
}

#[tokio::test]
async fn a_streams_token_is_for_its_own_call_and_for_once() {
    let mut twilio = Twilio::with_number().await;
    let token = twilio.stream_token("CA1").await;
    let refused = ("invalid_token".to_owned(), 1008);
    assert_eq!(twilio.stream("CA2", &token).await.refusal().await, refused, "another call's");
    assert_eq!(twilio.stream("CA1", &token).await.refusal().await, refused, "used up");
    let token = twilio.stream_token("CA1").await;
    let _open = twilio.stream("CA1", &token).await;
    twilio.calls.answer().await;
    assert_eq!(twilio.stream("CA1", &token).await.refusal().await, refused, "used");
    let ticket = twilio.client.post("/api/ws-tickets", json!({})).await;
    for wrong in ["", "a.b", ticket.text("ticket")] {
        assert_eq!(twilio.stream("CA1", wrong).await.refusal().await, refused, "{wrong}");
    }
}

#[tokio::test]
async fn a_signature_on_the_upgrade_must_be_right_when_it_is_there() {
    let mut twilio = Twilio::with_number().await;
    let right = signature(&SecretString::from(TOKEN), "wss://voice.example.com/ws/voice-twilio", &[]);
    for (sent, is_right) in [("AAAA", false), (right.as_str(), true)] {
        let token = twilio.stream_token("CA1").await;
        let url = twilio.client.url("");
        let mut socket = Socket::open(&url, "/ws/voice-twilio", &[("x-twilio-signature", sent)]).await;
        socket.send_json(&started("CA1", &token)).await;
        if is_right {
            twilio.calls.answer().await;
        } else {
            assert_eq!(socket.refusal().await, ("invalid_signature".to_owned(), 1008));
        }
    }
}

#[tokio::test]
async fn streams_that_break_the_rules_end_alone() {
    let mut twilio = Twilio::with_number().await;
    let quiet_token = twilio.stream_token("CA0").await;
    let mut quiet = twilio.stream("CA0", &quiet_token).await;
    let (_, mut witness) = twilio.calls.answer().await;
    let bad_base64 = json!({ "event": "media", "media": { "payload": "no base64" } });
    let bad_number = json!({ "event": "media", "media": { "payload": "", "timestamp": "soon" } });
    let wrong: [(Message, &str, u16); 5] = [
        ("not json".into(), "invalid_message", 1007),
        (bad_base64.to_string().into(), "invalid_audio", 1007),
        (bad_number.to_string().into(), "invalid_message", 1007),
        (Message::binary(vec![0; 160]), "unexpected_binary", 1003),
        (
            format!("{{\"event\":\"media\",\"x\":\"{}\"}}", "x".repeat(70_000)).into(),
            "message_too_large",
            1009,
        ),
    ];
    for (number, (message, code, close)) in wrong.into_iter().enumerate() {
        let call_sid = format!("CAx{number}");
        let token = twilio.stream_token(&call_sid).await;
        let mut socket = twilio.stream(&call_sid, &token).await;
        let (_, mut worker) = twilio.calls.answer().await;
        socket.send(message).await;
        assert_eq!(socket.refusal().await, (code.to_owned(), close));
        assert_eq!(worker.event().await, Up::Closed { reason: CloseReason::Refused });
    }
    for first in
        [json!({ "event": "media", "media": { "payload": "" } }), json!({ "event": "start" }), json!(7)]
    {
        let mut socket = Socket::open(&twilio.client.url(""), "/ws/voice-twilio", &[]).await;
        socket.send_json(&first).await;
        assert_eq!(socket.refusal().await, ("invalid_message".to_owned(), 1007), "{first}");
    }
    quiet.send_json(&media(0, 7)).await;
    assert_eq!(witness.frame().await.0, 0);
}

#[tokio::test]
async fn a_stream_that_never_starts_is_closed() {
    let world = World::services().await;
    let roles: Roles = "api,projections".parse().unwrap();
    let change = |system: &mut System| {
        system.settings.sockets.start = Duration::from_millis(200);
    };
    let client = world.run_with(roles, change).await;
    let mut socket = Socket::open(&client.url(""), "/ws/voice-twilio", &[]).await;
    socket.send_json(&json!({ "event": "connected", "protocol": "Call" })).await;
    assert_eq!(socket.refusal().await, ("not_started".to_owned(), 1008));
}

#[tokio::test]
async fn a_call_that_is_over_at_the_carrier_is_ended_once() {
    let mut twilio = Twilio::with_number().await;
    twilio.stream_token("CA1").await;
    let call_id = twilio.calls.begun().await;
    let status = |status: &str| {
        let mut form = incoming("CA1");
        form.insert("CallStatus", status.to_owned());
        form
    };
    for told in ["ringing", "in-progress", "no-answer", "completed", "no-answer"] {
        assert_eq!(twilio.signed(STATUS, &status(told)).await.0, StatusCode::NO_CONTENT, "{told}");
    }
    assert_eq!(twilio.ends_of(call_id).await, [("no-answer", "no_answer".to_owned())]);
    // Of a call that nobody knows.
    let mut unknown = status("completed");
    unknown.insert("CallSid", "CA9".to_owned());
    assert_eq!(twilio.signed(STATUS, &unknown).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn when_all_places_are_taken_a_caller_hears_that_it_is_busy() {
    let mut twilio = Twilio::start(&[("MAX_CONCURRENT_CALLS", "1")]).await;
    assign(&twilio.client, NUMBER, &twilio.world.agent(0, 0)).await;
    let (first, second) = (twilio.stream_token("CA1").await, twilio.stream_token("CA2").await);
    let _taken = twilio.stream("CA1", &first).await;
    let begun = [twilio.calls.begun().await, twilio.calls.begun().await];
    let mut tries = 0;
    eventually("the place to be taken", LIMIT, async || {
        tries += 1;
        let (_, twiml) = twilio.signed(INCOMING, &incoming(&format!("CAx{tries}"))).await;
        twiml.ends_with("<Response><Reject reason=\"busy\"/></Response>").then_some(())
    })
    .await;
    assert_eq!(twilio.stream("CA2", &second).await.refusal().await, ("at_capacity".to_owned(), 1013));
    assert_ne!(begun[0], begun[1]);
}
