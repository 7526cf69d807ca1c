//! Media Streams as others understand them: Twilio's own package signs the webhook, and streamdouble, an independent
//! simulator, is the telephone.

use std::path::Path;

use events::Payload;
use serde_json::{Value, json};
use tests::SpokenWorld;
use tests::caller::voice;
use tests::python::Python;
use tests::recording::wav_at;
use tests::twilio::{ACCOUNT, INCOMING, NUMBER, PUBLIC, TOKEN, assign, incoming};
use voice::resample::Resampler;

const GREETING: &str = "Welcome to TechCorp. We look after your invoices day and night, and our assistants are here all \
    the time, so please tell us whatever it is that we can do for you today.";
const QUESTION: &str = "What is the status of invoice INV-TC-001?";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_simulator_of_media_streams_holds_a_whole_call() {
    let account = [("TWILIO_ACCOUNT_SID", ACCOUNT), ("TWILIO_AUTH_TOKEN", TOKEN), ("APP_URL", PUBLIC)];
    let here = SpokenWorld::start_with(&account, json!(GREETING), json!([QUESTION])).await;
    assert_eq!(assign(&here.client, NUMBER, &here.agent).await.status, 200);
    let said = here.world.folder.path().join("said.wav");
    let mut narrow = Vec::new();
    Resampler::new(16_000, 8_000).process(&voice().repeat(3), &mut narrow);
    std::fs::write(&said, wav_at(8_000, &narrow)).unwrap();
    let call = json!({
        "base_url": here.client.url(""), "public_url": PUBLIC, "path": INCOMING, "token": TOKEN,
        "form": incoming("CA0123456789abcdef0123456789abcdef"), "wav": said,
    });

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let python = Python::with(&folder.join("requirements.txt")).await;
    let seen = python.run(&folder.join("hold_a_call.py"), &[], &call.to_string()).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!((&seen["violations"], &seen["unknown_events"]), (&json!([]), &json!([])), "{seen}");
    assert_eq!((&seen["failed"], &seen["clears"]), (&json!([]), &json!(1)), "{seen}");
    assert_eq!((&seen["stopped"], &seen["closed_by"]), (&json!(1), &Value::Null), "it hung up: {seen}");
    let number = |name: &str| seen[name].as_f64().unwrap_or_else(|| panic!("{name}: {seen}"));
    assert!(number("marks_before_clear") >= 1.0 && number("marks_after_clear") >= 1.0, "{seen}");
    // The simulated voice takes 60 ms for each character that it is given.
    let greeting_ms = GREETING.len() as f64 * 60.0;
    assert!((1_000.0..greeting_ms).contains(&number("heard_before_clear_ms")), "{seen}");
    assert!(number("heard_after_clear_ms") > 3_000.0, "the answer was heard: {seen}");

    let calls = here.client.get("/api/calls").await;
    let call_id = calls.rows()[0]["id"].as_str().unwrap();
    assert_eq!(here.ended(call_id).await.end_reason, "caller_hung_up");
    let interrupted = here.interruptions(call_id).await;
    assert_eq!(interrupted.len(), 1, "{interrupted:?}");
    assert!(interrupted[0].heard_ms < interrupted[0].queued_ms, "{interrupted:?}");
    let spoken = here.call(call_id).await.into_iter();
    let spoken = spoken.filter(|payload| matches!(payload, Payload::ReplySpoken(_))).count();
    assert_eq!(spoken, 1, "the answer was heard to its end, by the marks");
    let transcript = here.client.get(&format!("/api/calls/{call_id}/transcript")).await;
    let lines = transcript.body.to_string();
    assert!(lines.contains(QUESTION) && lines.contains("15,000.00"), "{lines}");
}
