//! What sockets send that they should not: it ends their own call, in words, and disturbs nobody else's.

use std::time::Duration;

use cli::system::{Roles, System};
use nats::media::{CloseReason, Down, Up};
use serde_json::json;
use tests::echo::{Calls, Worker};
use tests::{Client, Socket, World};
use tokio_tungstenite::tungstenite::Message;

async fn with_limits(change: impl FnOnce(&mut System)) -> (World, Client, Calls) {
    let world = World::services().await;
    let roles: Roles = "api,projections".parse().unwrap();
    let client = world.run_with(roles, change).await;
    let calls = Calls::take(&world.connect().await);
    (world, client, calls)
}

async fn call(world: &World, client: &Client, calls: &mut Calls) -> (Socket, Worker) {
    let path = format!("/ws/voice-browser?agent_id={}", world.agent(0, 0));
    let mut socket = Socket::open(&client.url(""), &path, &[("x-api-key", client.key())]).await;
    let (_, worker) = calls.answer().await;
    assert_eq!(socket.json().await["type"], "session_started");
    (socket, worker)
}

async fn closed(worker: &mut Worker) -> CloseReason {
    loop {
        if let Up::Closed { reason } = worker.event().await {
            return reason;
        }
    }
}

#[tokio::test]
async fn each_wrong_message_ends_its_own_call_and_no_other() {
    let (world, client, mut calls) = with_limits(|_| {}).await;
    let (mut quiet, mut witness) = call(&world, &client, &mut calls).await;
    let large = json!({ "type": "audio", "data": "A".repeat(70_000) }).to_string();
    let wrong: [(Message, &str, u16); 8] = [
        ("not json".into(), "invalid_message", 1007),
        ("{\"type\":".into(), "invalid_message", 1007),
        (json!({ "type": "start" }).to_string().into(), "invalid_message", 1007),
        (json!(["audio"]).to_string().into(), "invalid_message", 1007),
        (json!({ "type": "audio", "data": "§§§" }).to_string().into(), "invalid_audio", 1007),
        (json!({ "type": "audio", "data": "AAA" }).to_string().into(), "invalid_audio", 1007),
        (large.into(), "message_too_large", 1009),
        (Message::binary(vec![0; 70_000]), "message_too_large", 1009),
    ];
    for (message, code, close) in wrong {
        let (mut socket, mut worker) = call(&world, &client, &mut calls).await;
        let shown = format!("{message:?}").chars().take(60).collect::<String>();
        socket.send(message).await;
        assert_eq!(socket.refusal().await, (code.to_owned(), close), "{shown}");
        assert_eq!(closed(&mut worker).await, CloseReason::Refused);
    }
    quiet.send_audio(vec![1; 640]).await;
    assert_eq!(witness.frame().await.0, 0);
    witness.say(Down::Tell(json!({ "type": "turn" }))).await;
    assert_eq!(quiet.json().await["type"], "turn");
}

#[tokio::test]
async fn a_flood_of_audio_or_of_messages_is_stopped() {
    let (world, client, mut calls) = with_limits(|system| {
        system.settings.sockets.message_burst = 200;
        system.settings.sockets.messages_per_second = 10;
        system.settings.sockets.audio_burst = Duration::from_secs(5);
    })
    .await;
    let (mut socket, mut worker) = call(&world, &client, &mut calls).await;
    // 60 s of audio at once, in messages of a second each.
    for _ in 0..60 {
        socket.send_audio(vec![0; 32_000]).await;
    }
    assert_eq!(socket.refusal().await, ("too_much_audio".to_owned(), 1008));
    assert_eq!(closed(&mut worker).await, CloseReason::Refused);

    let (mut socket, mut worker) = call(&world, &client, &mut calls).await;
    for _ in 0..1_000 {
        socket.send_json(&json!({ "type": "end" })).await;
    }
    assert_eq!(socket.refusal().await, ("too_many_messages".to_owned(), 1008));
    assert_eq!(closed(&mut worker).await, CloseReason::Refused);
}

#[tokio::test]
async fn a_silent_call_and_an_endless_one_are_ended() {
    let (world, client, mut calls) = with_limits(|system| {
        system.settings.sockets.silence = Duration::from_millis(400);
        system.settings.sockets.call = Duration::from_millis(900);
    })
    .await;
    let (mut socket, mut worker) = call(&world, &client, &mut calls).await;
    assert_eq!(socket.refusal().await, ("no_audio".to_owned(), 1008));
    assert_eq!(closed(&mut worker).await, CloseReason::Silent);

    let (mut socket, mut worker) = call(&world, &client, &mut calls).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let talks = async {
        loop {
            ticks.tick().await;
            // Empty frames are no audio.
            worker.say(Down::Committed { through_frame: u32::MAX }).await;
        }
    };
    let mut frames = tokio::time::interval(Duration::from_millis(50));
    let refused = async {
        loop {
            frames.tick().await;
            if !socket.send_audio(vec![0; 1_600]).await {
                break;
            }
        }
    };
    tokio::select! {
        () = talks => {}
        () = refused => {}
    }
    assert_eq!(closed(&mut worker).await, CloseReason::TooLong);
}

#[tokio::test]
async fn empty_frames_are_no_audio() {
    let (world, client, mut calls) =
        with_limits(|system| system.settings.sockets.silence = Duration::from_millis(500)).await;
    let (mut socket, mut worker) = call(&world, &client, &mut calls).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while socket.send_audio(vec![]).await {
        ticks.tick().await;
    }
    assert_eq!(closed(&mut worker).await, CloseReason::Silent);
}
