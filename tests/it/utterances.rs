//! `/ws/voice`: one utterance at a time.

use serde_json::{Value, json};
use tests::recording::{self, SPEECH, TONES, heard_and_spoken, tone, wav};
use tests::socket::{Heard, Socket};
use tests::{Client, World};
use voice::containers::Container;

async fn open(client: &Client, agent: &str) -> Socket {
    Socket::open(&client.url(""), &format!("/ws/voice?agent_id={agent}"), &[("X-API-Key", client.key())])
        .await
}

async fn say(socket: &mut Socket, audio: &[u8]) {
    for chunk in audio.chunks(3_000) {
        assert!(socket.send_audio(chunk.to_vec()).await);
    }
    assert!(socket.send_audio(vec![]).await);
}

/// What comes until an utterance is over: the audio, and the last frame.
async fn answer(socket: &mut Socket) -> (Vec<u8>, Value) {
    let mut audio = Vec::new();
    loop {
        match socket.next().await {
            Heard::Audio(more) => audio.extend(more),
            Heard::Json(frame) if frame["status"] == "processing" => assert!(audio.is_empty()),
            Heard::Json(frame) => return (audio, frame),
            ended => panic!("{ended:?}"),
        }
    }
}

async fn refused(socket: &mut Socket) -> String {
    let (_, frame) = answer(socket).await;
    assert_eq!(frame["status"], "error", "{frame}");
    assert!(frame["message"].is_string(), "{frame}");
    frame["code"].as_str().unwrap().to_owned()
}

fn raw(seconds: f64) -> Vec<u8> {
    tone(seconds).into_iter().flat_map(i16::to_le_bytes).collect()
}

#[tokio::test]
async fn utterances_of_any_format_are_one_conversation_until_it_is_reset() {
    let (_world, client) = World::start_with(&[SPEECH]).await;
    let agent = recording::agent(&client).await;
    let mut socket = open(&client, &agent).await;
    let mut sessions = Vec::new();
    for audio in [raw(1.5), TONES[2].1.to_vec(), wav(&tone(1.0))] {
        say(&mut socket, &audio).await;
        let (spoken, done) = answer(&mut socket).await;
        assert_eq!(done["status"], "done", "{done}");
        assert_eq!(Container::of(&spoken), Some(Container::Mp3));
        assert!(done["transcript"].is_string() && done["reply"].is_string(), "{done}");
        assert!(done["latency"]["total_ms"].is_u64(), "{done}");
        sessions.push(done["session_id"].as_str().unwrap().to_owned());
    }
    assert!(sessions.iter().all(|session| *session == sessions[0]));
    let transcript = client.get(&format!("/api/sessions/{}", sessions[0])).await;
    assert_eq!(transcript.body["messages"].as_array().unwrap().len(), 6);

    assert!(socket.send_json(&json!({ "cmd": "reset" })).await);
    say(&mut socket, &raw(1.0)).await;
    let (_, done) = answer(&mut socket).await;
    assert_ne!(done["session_id"], sessions[0].as_str(), "{done}");
    let transcript = client.get(&format!("/api/sessions/{}", done["session_id"].as_str().unwrap())).await;
    assert_eq!(transcript.body["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_no_utterance_is_refused_and_the_next_one_is_heard() {
    let (world, client) = World::start_with(&[SPEECH]).await;
    let agent = recording::agent(&client).await;
    let mut socket = open(&client, &agent).await;
    say(&mut socket, &[]).await;
    assert_eq!(refused(&mut socket).await, "no_speech");
    say(&mut socket, &[1, 2, 3]).await;
    assert_eq!(refused(&mut socket).await, "invalid_audio");
    say(&mut socket, &raw(61.0)).await;
    assert_eq!(refused(&mut socket).await, "invalid_audio");
    say(&mut socket, &wav(&tone(61.0))).await;
    assert_eq!(refused(&mut socket).await, "invalid_audio");
    say(&mut socket, &[0; 32_000]).await;
    assert_eq!(refused(&mut socket).await, "no_speech");
    for nonsense in ["", "{}", "[]", "{\"cmd\":\"stop\"}", "{\"cmd\":\"reset\",\"more\":1}"] {
        assert!(socket.send(nonsense).await);
        assert_eq!(refused(&mut socket).await, "invalid_message", "{nonsense}");
    }
    for _ in 0..11 {
        assert!(socket.send_audio(vec![0; 1024 * 1024]).await);
    }
    assert!(socket.send_audio(vec![]).await);
    assert_eq!(refused(&mut socket).await, "payload_too_large");
    assert_eq!(heard_and_spoken(&world).await, (0, 0));
    say(&mut socket, &raw(1.0)).await;
    assert_eq!(answer(&mut socket).await.1["status"], "done");
}

#[tokio::test]
async fn an_utterance_without_a_slot_is_refused_and_open_sockets_take_none() {
    let (world, client) = World::start_with(&[SPEECH, ("MAX_CONCURRENT_PIPELINES", "1")]).await;
    let agent = recording::agent(&client).await;
    let (mut first, mut second) = (open(&client, &agent).await, open(&client, &agent).await);
    world.control("simulated_speech", json!({ "latency_ms": 1_500 })).await;
    say(&mut first, &raw(1.0)).await;
    assert_eq!(first.json().await["status"], "processing");
    say(&mut second, &raw(1.0)).await;
    assert_eq!(refused(&mut second).await, "at_capacity");
    assert_eq!(answer(&mut first).await.1["status"], "done");
    world.control("simulated_speech", json!({ "latency_ms": 0 })).await;
    say(&mut second, &raw(1.0)).await;
    assert_eq!(answer(&mut second).await.1["status"], "done", "its slot is free again");
}

#[tokio::test]
async fn who_may_not_come_in_is_turned_away_before_the_upgrade() {
    let (world, client) = World::start_with(&[SPEECH]).await;
    let agent = recording::agent(&client).await;
    let path = format!("/ws/voice?agent_id={agent}");
    let refused = async |path: &str, headers: &[(&'static str, &str)]| {
        let (status, body) = Socket::try_open(&client.url(""), path, headers).await.err().unwrap();
        (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused(&path, &[]).await, is(401, "missing_api_key"));
    let stranger = world.tenant(1).api_key.clone();
    assert_eq!(refused(&path, &[("X-API-Key", &stranger)]).await, is(404, "not_found"));
    let viewer = client.with_role("viewer").await;
    assert_eq!(refused(&path, &[("X-API-Key", viewer.key())]).await, is(403, "forbidden"));
    let foreign = [("X-API-Key", client.key()), ("Origin", "https://evil.example")];
    assert_eq!(refused(&path, &foreign).await, is(403, "foreign_origin"));
    let ticket = client.post("/api/ws-tickets", json!({ "agent_id": agent })).await;
    let with_ticket = format!("/ws/voice?ticket={}", ticket.text("ticket"));
    let mut socket = Socket::open(&client.url(""), &with_ticket, &[]).await;
    say(&mut socket, &raw(1.0)).await;
    assert_eq!(answer(&mut socket).await.1["status"], "done");
    assert_eq!(refused(&with_ticket, &[]).await, is(401, "invalid_ticket"), "a ticket opens one socket");
}
