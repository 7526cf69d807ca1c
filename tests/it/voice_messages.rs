//! Messages that are spoken into a file: heard, answered, and answered aloud.

use std::time::Duration;

use events::Payload;
use futures_util::future::join_all;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::client::Answer;
use tests::recording::{self, SPEECH, TONES, heard_and_spoken, send, speak, speak_with, tone, wav};
use tests::{Client, World, eventually, truth, world};
use voice::containers::{self, Container, Limits};

const LIMIT: Duration = Duration::from_secs(60);

async fn listening() -> (World, Client, String) {
    let (world, client) = World::start_with(&[SPEECH]).await;
    let session = recording::session(&client).await;
    (world, client, session)
}

/// A file as it is served.
struct File {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    bytes: Vec<u8>,
}

async fn fetch(client: &Client, url: &str, headers: &[(&str, &str)]) -> File {
    let request = client.request(Method::GET, url);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    File { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
}

fn seconds(file: &[u8]) -> f64 {
    let limits = Limits { bytes: file.len(), seconds: 600 };
    containers::decode(file, limits, |_| {}).unwrap().as_secs_f64()
}

#[tokio::test]
async fn a_recording_of_any_format_is_answered_in_words_and_aloud() {
    let (world, client, session) = listening().await;
    let own = wav(&tone(1.5));
    let files = TONES.into_iter().chain([("tones.wav", &own[..])]);
    let said = ["INV-TC-001", "INV-TC-002", "two parts", "How long", "say that again"];
    for ((name, file), said) in files.zip(said) {
        let answer = speak(&client, &session, file).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {answer:?}");
        assert!(answer.text("transcript").contains(said), "{name}: {answer:?}");
        assert_eq!(answer.body["role"], "assistant");
        assert_eq!(answer.body["audio_error"], Value::Null);
        let latency = &answer.body["latency"];
        let sum =
            ["stt_ms", "llm_ms", "tts_ms"].map(|part| latency[part].as_u64().unwrap()).iter().sum::<u64>();
        assert_eq!(latency["total_ms"], sum, "{answer:?}");

        let spoken = fetch(&client, answer.text("audio_url"), &[]).await;
        assert_eq!(spoken.status, StatusCode::OK);
        assert_eq!(spoken.headers["content-type"], "audio/mpeg");
        assert_eq!(Container::of(&spoken.bytes), Some(Container::Mp3));
        // The simulated voice takes 60 ms for each character of what is said, which is about what is written.
        let expected = answer.text("content").chars().count() as f64 * 0.06;
        let took = seconds(&spoken.bytes);
        assert!(took > expected * 0.6 && took < expected * 3.0 + 1.0, "{name}: {took} s for {expected} s");

        let job = client.get(&format!("/api/jobs/{}", answer.text("job_id"))).await;
        assert_eq!((&job.body["kind"], &job.body["status"]), (&json!("voice_message"), &json!("succeeded")));
        assert_eq!(job.body["result"], answer.body, "a job's result is what the POST answered");
    }
    let transcript = client.get(&format!("/api/sessions/{session}")).await;
    let messages = transcript.body["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 10);
    assert_eq!(messages[0]["content"], "What is the status of invoice INV-TC-001?");
    let system = world.connect().await;
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
}

#[tokio::test]
async fn what_speech_vendors_did_is_on_the_bill_once() {
    let (world, client, session) = listening().await;
    let answer = speak(&client, &session, &wav(&tone(2.0))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let (heard, spoken) = heard_and_spoken(&world).await;
    let events = truth::Truth::read(&world.connect().await).await.events;
    let done: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::SpeechDone(done) => Some(done),
            _ => None,
        })
        .collect();
    assert_eq!((heard, done.len()), (1, 1 + spoken), "{done:?}");
    assert_eq!((done[0].audio_ms, done[0].provider.as_str()), (2_000, "simulated"));
    let job = answer.text("job_id");
    assert!(done.iter().all(|done| done.job_id.to_string() == job));
    let characters: u64 = done[1..].iter().map(|done| done.characters).sum();
    let audio_ms: u64 = done[1..].iter().map(|done| done.audio_ms).sum();
    assert_eq!(audio_ms, characters * 60, "all that was made");
}

#[tokio::test]
async fn a_recording_longer_than_an_engine_hears_is_heard_in_parts() {
    let (world, client, session) = listening().await;
    let answer = speak(&client, &session, &wav(&tone(100.0))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(heard_and_spoken(&world).await.0, 2);
    let transcript = answer.text("transcript");
    assert!(transcript.contains("INV-TC-001") && transcript.contains("INV-TC-002"), "{transcript}");
}

#[tokio::test]
async fn the_same_request_is_heard_once_and_answered_alike() {
    let (world, client, session) = listening().await;
    let file = wav(&tone(1.0));
    let key = [("Idempotency-Key", "recording-1")];
    let answers = join_all((0..10).map(|_| speak_with(&client, &session, &file, &key))).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_replayed()).count(), 9);
    assert_eq!(heard_and_spoken(&world).await.0, 1);
    assert_eq!(client.get("/api/jobs").await.rows().len(), 1);
    let other = speak_with(&client, &session, &wav(&tone(1.1)), &key).await;
    other.assert_problem(422, "idempotency_key_reused", "another file");
    // Of eleven uploads one is needed, beside the reply.
    let system = world.connect().await;
    let files = system.nats.artefacts.count().await.unwrap();
    assert_eq!(files, 2, "files that nobody needs are taken away");
}

#[tokio::test]
async fn who_does_not_wait_finds_the_reply_by_its_job() {
    let (world, client, session) = listening().await;
    world.control("vendor_a", json!({ "latency_ms": 500 })).await;
    let answer = speak_with(&client, &session, &wav(&tone(1.0)), &[("Prefer", "respond-async")]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.body["kind"], "voice_message");
    let path = answer.header("location").to_owned();
    let job = eventually("the end of the job", LIMIT, async || {
        let job = client.get(&path).await;
        (job.body["status"] == "succeeded").then_some(job)
    })
    .await;
    let result = &job.body["result"];
    assert_eq!(result["transcript"], "What is the status of invoice INV-TC-001?");
    let spoken = fetch(&client, result["audio_url"].as_str().unwrap(), &[]).await;
    assert_eq!(spoken.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_recording_is_refused_and_nothing_is_kept_of_it() {
    let (world, client, session) = listening().await;
    let form =
        |name: &'static str, bytes: Vec<u8>| Form::new().part(name, Part::bytes(bytes).file_name("a.wav"));
    let text = b"This is no sound at all. ".repeat(1_000);
    let sent = |form| send(&client, &session, form, &[]);
    sent(form("audio_file", vec![])).await.assert_problem(422, "validation_failed", "an empty file");
    sent(form("audio_file", text.clone())).await.assert_problem(422, "invalid_audio", "a text");
    sent(form("audio_file", b"RIFF".to_vec())).await.assert_problem(422, "invalid_audio", "four bytes");
    sent(form("audio", wav(&tone(0.5)))).await.assert_problem(422, "unknown_field", "another name");
    sent(Form::new()).await.assert_problem(400, "bad_request", "a form of nothing");
    let twice = form("audio_file", wav(&tone(0.5))).part("audio_file", Part::bytes(text.clone()));
    sent(twice).await.assert_problem(422, "validation_failed", "two files");
    let more = form("audio_file", wav(&tone(0.5))).text("language", "en");
    let refused = sent(more).await;
    refused.assert_problem(422, "unknown_field", "another field");
    assert_eq!(refused.fields(), ["language"]);
    let json = client.post(&recording::path(&session), json!({ "audio_file": "" })).await;
    json.assert_problem(415, "unsupported_media_type", "JSON");
    let cut = client
        .request(Method::POST, &recording::path(&session))
        .header("Content-Type", "multipart/form-data; boundary=x")
        .body("--x\r\nContent-Disposition: form-data; name=\"audio_file\"\r\n\r\nRIFF");
    client.send(cut).await.unwrap().assert_problem(400, "bad_request", "a form without an end");

    assert!(client.get("/api/jobs").await.rows().is_empty(), "nothing was promised");
    assert_eq!(heard_and_spoken(&world).await, (0, 0));
    assert_eq!(world.connect().await.nats.artefacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_heard() {
    let (world, client, session) = listening().await;
    let mut file = wav(&tone(1.0));
    file.resize(26 * 1024 * 1024, 0);
    // Refused while it is still being sent: a client may find its connection closed instead of the answer.
    let part = Part::bytes(file).file_name("a.wav");
    let request = client.request(Method::POST, &recording::path(&session));
    if let Ok(answer) = client.send(request.multipart(Form::new().part("audio_file", part))).await {
        answer.assert_problem(413, "payload_too_large", "26 MB");
    }
    assert!(client.get("/api/jobs").await.rows().is_empty());
    assert_eq!(world.connect().await.nats.artefacts.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_recording_that_cannot_be_heard_fails_with_its_reason() {
    let (world, client, session) = listening().await;
    let (_, whole) = TONES[1];
    for (file, code, sent) in [
        (whole[..whole.len() / 2].to_vec(), "invalid_audio", "half a file"),
        (wav(&[]), "invalid_audio", "a file without sound"),
        (wav(&tone(601.0)), "invalid_audio", "ten minutes and a second"),
        (wav(&[0; 32_000]), "no_speech", "silence"),
    ] {
        let answer = speak(&client, &session, &file).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, code), "{sent}: {answer:?}");
        let job = client.get(&format!("/api/jobs/{}", answer.text("job_id"))).await;
        assert_eq!(
            (&job.body["status"], &job.body["error"]["code"]),
            (&json!("failed"), &json!(code)),
            "{job:?}"
        );
    }
    assert_eq!(heard_and_spoken(&world).await, (0, 0), "nobody was asked to hear it");
    let answer = client.say(&session, "Are you still there?").await;
    assert_eq!(answer.status, StatusCode::OK, "the session goes on: {answer:?}");
    assert_eq!(
        client.get(&format!("/api/sessions/{session}")).await.body["messages"].as_array().unwrap().len(),
        2
    );
}

#[tokio::test]
async fn a_failing_ear_fails_the_message_and_a_failing_mouth_keeps_the_reply() {
    let (world, client, session) = listening().await;
    world.control("simulated_speech", json!({ "failure_rate": 1.0 })).await;
    let answer = speak(&client, &session, &wav(&tone(1.0))).await;
    answer.assert_problem(502, "speech_failed", "no ear");
    world.control("simulated_speech", json!({ "failure_rate": 0.0, "mode": "empty" })).await;
    speak(&client, &session, &wav(&tone(1.0))).await.assert_problem_code(422, "no_speech");

    let deaf = json!({ "name": "Deaf", "stt": { "provider": "deepgram" } });
    let deaf = client.post("/api/agents", deaf).await;
    let deaf = client.session(deaf.text("id")).await;
    speak(&client, &deaf, &wav(&tone(1.0))).await.assert_problem_code(503, "speech_unavailable");

    world.control("simulated_speech", json!({ "mode": "normal" })).await;
    let mute = json!({
        "name": "Mute", "primary_provider": "vendor_a", "stt": { "provider": "simulated" }, "tts": { "provider": "azure" }
    });
    let mute = client.post("/api/agents", mute).await;
    let mute = client.session(mute.text("id")).await;
    let answer = speak(&client, &mute, &wav(&tone(1.0))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        (&answer.body["audio_url"], &answer.body["audio_error"]["code"]),
        (&Value::Null, &json!("not_available_yet"))
    );
    assert!(!answer.text("content").is_empty());
    let path = format!("/api/sessions/{mute}/voice/audio/{}", answer.text("message_id"));
    client.get(&path).await.assert_problem(404, "not_spoken", "a reply that could not be spoken");
}

#[tokio::test]
async fn a_spoken_reply_is_served_in_parts_and_to_its_tenant_alone() {
    let (world, client, session) = listening().await;
    // Long enough for more than one chunk.
    let long = "Tell me everything about it. ".repeat(30);
    world.control("simulated_speech", json!({ "phrases": [long] })).await;
    let answer = speak(&client, &session, &wav(&tone(1.0))).await;
    let url = answer.text("audio_url").to_owned();
    let whole = fetch(&client, &url, &[]).await;
    let length = whole.bytes.len();
    assert_eq!(whole.headers["content-length"], length.to_string().as_str());
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    let etag = whole.headers["etag"].to_str().unwrap().to_owned();

    for (from, to) in [(0, 0), (10, 999), (length - 100, length - 1), (length / 2, length - 1)] {
        let part = fetch(&client, &url, &[("Range", &format!("bytes={from}-{to}"))]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers["content-range"], format!("bytes {from}-{to}/{length}").as_str());
        assert!(part.bytes == whole.bytes[from..=to], "bytes {from} to {to}");
    }
    let beyond = fetch(&client, &url, &[("Range", &format!("bytes={length}-"))]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers["content-range"], format!("bytes */{length}").as_str());
    let known = fetch(&client, &url, &[("If-None-Match", &etag)]).await;
    assert_eq!((known.status, known.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let stale = fetch(&client, &url, &[("Range", "bytes=0-1"), ("If-Range", "\"another\"")]).await;
    assert_eq!((stale.status, stale.bytes.len()), (StatusCode::OK, length));

    let wav = fetch(&client, &url, &[("Accept", "audio/wav")]).await;
    assert_eq!(wav.headers["content-type"], "audio/wav");
    assert!((seconds(&wav.bytes) - seconds(&whole.bytes)).abs() < 0.1);
    let part = fetch(&client, &url, &[("Accept", "audio/wav"), ("Range", "bytes=0-3")]).await;
    assert_eq!((part.status, &part.bytes[..]), (StatusCode::PARTIAL_CONTENT, &b"RIFF"[..]));

    let viewer = client.with_role("viewer").await;
    assert_eq!(fetch(&viewer, &url, &[]).await.status, StatusCode::OK);
    let refused = speak(&viewer, &session, &wav_of_a_second()).await;
    refused.assert_problem(403, "forbidden", "a viewer's message");
    let stranger = client.with_key(&world.tenant(1).api_key);
    let hidden: Answer = stranger.get(&url).await;
    hidden.assert_problem(404, "not_found", "another tenant");
    speak(&stranger, &session, &wav_of_a_second()).await.assert_problem(
        404,
        "not_found",
        "another's session",
    );
    let own = recording::session(&stranger).await;
    let mixed = format!("/api/sessions/{own}/voice/audio/{}", answer.text("message_id"));
    stranger.get(&mixed).await.assert_problem(404, "not_found", "another's message in one's own session");
    let written = client.say(&session, "Hello").await;
    let path = format!("/api/sessions/{session}/voice/audio/{}", written.text("message_id"));
    client.get(&path).await.assert_problem(404, "not_spoken", "a written reply");
}

fn wav_of_a_second() -> Vec<u8> {
    wav(&tone(1.0))
}

#[tokio::test]
async fn an_erased_customers_files_cannot_be_read() {
    let (world, client, session) = listening().await;
    let answer = speak(&client, &session, &wav_of_a_second()).await;
    let system = world.connect().await;
    assert!(system.keyring.erase_customer(world.tenant(0).id, "customer-1").await.unwrap());
    // Another process than the one whose memory still has the key.
    let port = world::free_port();
    let mut world = world;
    let _api = world.spawn("api", port);
    let other = world.client(&format!("http://127.0.0.1:{port}"), 0);
    world::ready(&other).await;
    other.get(answer.text("audio_url")).await.assert_problem(409, "customer_erased", "an erased reply");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_between_any_two_steps_loses_and_doubles_nothing() {
    let mut world = World::with_environment(&[SPEECH]).await;
    let client = world.run("api,projections".parse().unwrap()).await;
    let session = recording::session(&client).await;
    // Each step takes long enough to be killed in, at another moment each time.
    world.control("simulated_speech", json!({ "latency_ms": 400 })).await;
    world.control("vendor_a", json!({ "latency_ms": 400 })).await;
    let mut sent = Vec::new();
    for wait_ms in [0u64, 300, 600, 900, 1_200, 1_500] {
        let worker = world.spawn("workers", 0);
        let answer = speak_with(&client, &session, &wav_of_a_second(), &[("Prefer", "respond-async")]).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let accepted = std::time::Instant::now();
        eventually("the moment to kill", LIMIT, async || {
            (accepted.elapsed() >= Duration::from_millis(wait_ms)).then_some(())
        })
        .await;
        worker.kill();
        sent.push(answer.text("id").to_owned());
    }
    let _worker = world.spawn("workers", 0);
    for job in &sent {
        eventually("the end of every job", LIMIT, async || {
            let job = client.get(&format!("/api/jobs/{job}")).await;
            assert_ne!(job.body["status"], "failed", "{job:?}");
            (job.body["status"] == "succeeded" && job.body["result"]["audio_url"].is_string()).then_some(())
        })
        .await;
    }
    let system = world.connect().await;
    let truth = truth::Truth::read(&system).await;
    truth.every_message_ended_once();
    truth.turns_never_overlap();
    assert_eq!(truth.stories().len(), sent.len());
    let count = |is: fn(&Payload) -> bool| truth.events.iter().filter(|event| is(&event.payload)).count();
    assert_eq!(count(|payload| matches!(payload, Payload::ReplyVoiced(_))), sent.len());
    assert_eq!(count(|payload| matches!(payload, Payload::RecordingReceived(_))), sent.len());
    truth::projections_are_level(&system).await;
    truth::projections_are_what_the_log_says(&system).await;
}
