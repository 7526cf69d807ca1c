//! Calls from a browser: who may open one, what passes through, and how they end.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use cli::system::Roles;
use events::call::CallStatus;
use events::{Aggregate, CallId, Payload, TenantId};
use nats::media::{AudioFormat, CloseReason, Down, Up};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::echo::Calls;
use tests::socket::Heard;
use tests::{Client, Socket, World, eventually};

const LIMIT: Duration = Duration::from_secs(30);
const FRAME: usize = 640;

/// The api alone: no worker but the test's own answers a call.
async fn api() -> (World, Client, Calls) {
    let world = World::services().await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let calls = Calls::take(&world.connect().await);
    (world, client, calls)
}

fn path(agent: &str) -> String {
    format!("/ws/voice-browser?agent_id={agent}")
}

async fn with_key(client: &Client, agent: &str) -> Socket {
    Socket::open(&client.url(""), &path(agent), &[("x-api-key", client.key())]).await
}

async fn ticket(client: &Client, body: Value) -> String {
    let answer = client.post("/api/ws-tickets", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.text("ticket").to_owned()
}

async fn refused(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    let (status, body) = Socket::try_open(&client.url(""), path, headers).await.err().unwrap();
    (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
}

fn tone(frames: usize) -> Vec<u8> {
    (0..frames * FRAME).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn a_browser_is_heard_and_hears_and_hangs_up() {
    let (world, client, mut calls) = api().await;
    let agent = world.agent(0, 0);
    let mut socket = with_key(&client, &agent).await;
    let (call_id, mut worker) = calls.answer().await;
    let started = socket.json().await;
    assert_eq!((&started["type"], &started["agent"]["id"]), (&json!("session_started"), &json!(agent)));
    assert_eq!(started["call_id"], json!(call_id));

    let said = tone(3);
    socket.send_audio(said[..1_000].to_vec()).await;
    socket.send_audio(said[1_000..].to_vec()).await;
    for number in 0..3 {
        let (frame, data) = worker.frame().await;
        assert_eq!((frame as usize, &data[..]), (number, &said[number * FRAME..][..FRAME]));
    }
    socket.send_json(&json!({ "type": "audio", "data": "AAAA" })).await;
    socket.send_json(&json!({ "type": "end" })).await;
    assert_eq!(worker.event().await, Up::EndOfUtterance);

    let answer = tone(20);
    let generation = worker.speak("Good day.", Bytes::from(answer.clone())).await;
    worker.say(Down::Finish { generation }).await;
    let mut heard = Vec::new();
    while heard.len() < answer.len() {
        match socket.next().await {
            Heard::Audio(audio) => heard.extend(audio),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, answer);
    eventually("all of it was played", LIMIT, async || {
        (worker.event().await == Up::Played { generation, ms: 400 }).then_some(())
    })
    .await;
    let told = json!({ "type": "transcript", "role": "user", "content": "Hello", "is_final": true });
    worker.say(Down::Tell(told.clone())).await;
    assert_eq!(socket.json().await, told);

    socket.close().await;
    assert_eq!(worker.event().await, Up::Closed { reason: CloseReason::HungUp });
}

#[tokio::test]
async fn an_interrupted_browser_is_told_and_hears_nothing_more_of_it() {
    let (world, client, mut calls) = api().await;
    let mut socket = with_key(&client, &world.agent(0, 0)).await;
    let (_, mut worker) = calls.answer().await;
    let generation = worker.speak("A long story.", Bytes::from(tone(100))).await;
    loop {
        if let Up::Played { ms, .. } = worker.event().await {
            assert!((160..=400).contains(&ms), "{ms}");
            break;
        }
    }
    worker.say(Down::Clear { generation }).await;
    let cleared = worker.event().await;
    assert!(matches!(cleared, Up::Cleared { ms: 160..1_000, .. }), "{cleared:?}");
    worker.say(Down::HangUp { reason: "ended_by_agent".to_owned() }).await;
    let mut told = Vec::new();
    loop {
        match socket.next().await {
            Heard::Audio(_) => assert!(told.is_empty() || told == ["session_started"], "after {told:?}"),
            Heard::Json(frame) => told.push(frame["type"].as_str().unwrap().to_owned()),
            Heard::Close(code) => break assert_eq!(code, 1000),
            Heard::Lost => panic!("after {told:?}"),
        }
    }
    assert_eq!(told, ["session_started", "interrupted", "session_ended"]);
}

#[tokio::test]
async fn a_new_worker_goes_on_where_the_dead_one_was() {
    let (world, client, mut calls) = api().await;
    let mut socket = with_key(&client, &world.agent(0, 0)).await;
    let (call_id, mut first) = calls.answer().await;
    socket.send_audio(tone(4)).await;
    while first.frame().await.0 < 3 {}
    first.say(Down::Committed { through_frame: 2 }).await;
    let generation = first.speak("Good day.", Bytes::from(tone(10))).await;
    while !matches!(first.event().await, Up::Played { ms: 200, .. }) {}

    let (mut second, state) = calls.attend(call_id).await;
    assert_eq!((state.format, state.first_kept_frame, state.next_frame), (AudioFormat::Pcm16k, 2, 4));
    let playback = state.playback.unwrap();
    assert_eq!((playback.generation, playback.queued_ms, playback.played_ms), (generation, 200, 200));
    assert_eq!(playback.pieces[0].text, "Good day.");
    assert_eq!((second.frame().await.0, second.frame().await.0), (2, 3));
    first.say(Down::HangUp { reason: "stale".to_owned() }).await;
    second.say(Down::Tell(json!({ "type": "turn" }))).await;
    while socket.json().await["type"] != "turn" {}
}

#[tokio::test]
async fn a_ticket_opens_one_socket_for_its_agent_and_no_other() {
    let (world, client, _calls) = api().await;
    let (agent, other) = (world.agent(0, 0), world.agent(0, 1));
    let bound = ticket(&client, json!({ "agent_id": agent })).await;
    let with = |ticket: &str, agent: &str| format!("{}&ticket={ticket}", path(agent));
    // It is used up by trying.
    assert_eq!(refused(&client, &with(&bound, &other), &[]).await, (403, "forbidden".to_owned()));
    assert_eq!(refused(&client, &with(&bound, &agent), &[]).await, (401, "invalid_ticket".to_owned()));

    let bound = ticket(&client, json!({ "agent_id": agent })).await;
    let _open = Socket::open(&client.url(""), &format!("/ws/voice-browser?ticket={bound}"), &[]).await;
    assert_eq!(refused(&client, &with(&bound, &agent), &[]).await, (401, "invalid_ticket".to_owned()));

    let free = ticket(&client, json!({})).await;
    let mut changed = free.clone().into_bytes();
    changed[10] ^= 1;
    let changed = String::from_utf8(changed).unwrap();
    for wrong in [changed.as_str(), "", "a.b", "vb_dev_x_y"] {
        assert_eq!(refused(&client, &with(wrong, &agent), &[]).await, (401, "invalid_ticket".to_owned()));
    }
    let _open = Socket::open(&client.url(""), &with(&free, &other), &[]).await;
    // A ticket of one tenant does not lead to another's agent, nor does it begin with one.
    let foreign = ticket(&client, json!({})).await;
    let answer = refused(&client, &with(&foreign, &world.agent(1, 0)), &[]).await;
    assert_eq!(answer, (404, "not_found".to_owned()));
    let answer = client.post("/api/ws-tickets", json!({ "agent_id": world.agent(1, 0) })).await;
    answer.assert_problem(404, "not_found", "another tenant's agent");
}

#[tokio::test]
async fn a_ticket_has_the_role_of_its_key_and_lasts_a_minute() {
    let world = World::services().await;
    let agent = world.agent(0, 0);
    let (late, offset) = tokio::sync::watch::channel(TimeDelta::zero());
    let roles: Roles = "api,projections".parse().unwrap();
    let client = world
        .run_with(roles, |system| {
            let clock = system.clock.clone();
            system.clock = events::Clock::from_fn(move || clock.now() + *offset.borrow());
        })
        .await;
    let viewers = ticket(&client.with_role("viewer").await, json!({})).await;
    let with = |ticket: &str| format!("{}&ticket={ticket}", path(&agent));
    assert_eq!(refused(&client, &with(&viewers), &[]).await, (403, "forbidden".to_owned()));

    let old = ticket(&client, json!({})).await;
    late.send(TimeDelta::seconds(61)).unwrap();
    assert_eq!(refused(&client, &with(&old), &[]).await, (401, "invalid_ticket".to_owned()));
}

#[tokio::test]
async fn without_a_right_to_it_nobody_gets_a_socket() {
    let (world, client, _calls) = api().await;
    let agent = world.agent(0, 0);
    let key = client.key();
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused(&client, &path(&agent), &[]).await, is(401, "missing_api_key"));
    let wrong = [("x-api-key", "vb_dev_000000000000_wrong")];
    assert_eq!(refused(&client, &path(&agent), &wrong).await, is(401, "invalid_api_key"));
    let viewer = client.with_role("viewer").await;
    let viewer = [("x-api-key", viewer.key())];
    assert_eq!(refused(&client, &path(&agent), &viewer).await, is(403, "forbidden"));
    assert_eq!(
        refused(&client, "/ws/voice-browser", &[("x-api-key", key)]).await,
        is(422, "validation_failed")
    );
    let foreign = path(&world.agent(1, 0));
    assert_eq!(refused(&client, &foreign, &[("x-api-key", key)]).await, is(404, "not_found"));
    let unknown = format!("{}&volume=11", path(&agent));
    assert_eq!(refused(&client, &unknown, &[("x-api-key", key)]).await, is(422, "unknown_field"));
    let plain = client.get(&path(&agent)).await;
    plain.assert_problem(426, "upgrade_required", "no WebSocket");
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away_before_the_upgrade() {
    let extra = [("APP_URL", "https://voice.example.com/base"), ("CORS_ORIGINS", "https://shop.example.com")];
    let world = World::with_environment(&extra).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let (agent, own) = (world.agent(0, 0), client.url(""));
    for origin in ["https://evil.example", "null", "https://voice.example.com.evil.example"] {
        let headers = [("x-api-key", client.key()), ("origin", origin)];
        assert_eq!(refused(&client, &path(&agent), &headers).await, (403, "foreign_origin".to_owned()));
        // The ticket of a page that is turned away is still good for its owner.
        let ticket = ticket(&client, json!({ "agent_id": agent })).await;
        let with_ticket = format!("/ws/voice-browser?ticket={ticket}");
        assert_eq!(refused(&client, &with_ticket, &[("origin", origin)]).await.0, 403);
        Socket::open(&own, &with_ticket, &[]).await;
    }
    for origin in [own.as_str(), "https://voice.example.com", "https://shop.example.com"] {
        Socket::open(&own, &path(&agent), &[("x-api-key", client.key()), ("origin", origin)]).await;
    }
}

#[tokio::test]
async fn when_all_places_are_taken_the_next_call_is_refused_until_one_ends() {
    let world = World::with_environment(&[("MAX_CONCURRENT_CALLS", "1")]).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let mut calls = Calls::take(&world.connect().await);
    let agent = world.agent(0, 0);
    for ending in ["closes", "vanishes", "is hung up"] {
        let mut first = with_key(&client, &agent).await;
        let (_, worker) = calls.answer().await;
        first.json().await;
        let mut second = with_key(&client, &agent).await;
        assert_eq!(second.refusal().await, ("at_capacity".to_owned(), 1013));
        match ending {
            "closes" => first.close().await,
            "vanishes" => drop(first),
            _ => {
                worker.say(Down::HangUp { reason: "ended_by_agent".to_owned() }).await;
                while !matches!(first.next().await, Heard::Close(_)) {}
                drop(first);
            }
        }
        eventually(&format!("a free place after one {ending}"), LIMIT, async || {
            let metrics = client.get("/metrics").await.body;
            metrics.as_str().unwrap().lines().find(|line| *line == "vocalbridge_open_calls 0").map(|_| ())
        })
        .await;
    }
}

async fn ending_of(world: &World, call_id: CallId) -> Option<(CallStatus, String)> {
    let system = world.connect().await;
    let call = Aggregate::call(TenantId(world.tenant(0).id.0), call_id);
    let history = system.nats.log.read(&call, 0).await.unwrap();
    history.into_iter().find_map(|recorded| match recorded.event.payload {
        Payload::CallEnded(ended) => Some((ended.status, ended.end_reason)),
        _ => None,
    })
}

#[tokio::test]
async fn a_call_that_no_worker_takes_is_refused_and_ended() {
    let world = World::services().await;
    let roles: Roles = "api,projections".parse().unwrap();
    let change = |system: &mut cli::system::System| {
        system.settings.sockets.worker = Duration::from_millis(300);
    };
    let client = world.run_with(roles, change).await;
    let mut calls = Calls::take(&world.connect().await);
    let mut socket = with_key(&client, &world.agent(0, 0)).await;
    let call_id = calls.begun().await;
    assert_eq!(socket.refusal().await, ("at_capacity".to_owned(), 1013));
    let ended = eventually("the end in the log", LIMIT, async || ending_of(&world, call_id).await).await;
    assert_eq!(ended, (CallStatus::Failed, "at_capacity".to_owned()));
}

#[tokio::test]
async fn a_socket_says_goodbye_when_its_process_ends() {
    let (world, client, mut calls) = api().await;
    let mut socket = with_key(&client, &world.agent(0, 0)).await;
    let (_, mut worker) = calls.answer().await;
    let ((), refusal, told) = tokio::join!(world.stop(), socket.refusal(), worker.event());
    assert_eq!(refusal, ("shutting_down".to_owned(), 1001));
    assert_eq!(told, Up::Closed { reason: CloseReason::GoingAway });
}
