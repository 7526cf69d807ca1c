//! Ears and mouth against the built-in speech vendor.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;
use vendors::http::Class;
use vendors::resilience::Backoff;
use vendors::speech::{self, OpenAiSpeechConfig, SpeechConfig};
use vendors::stt::{SttEngines, SttError, SttTarget, Transcript, Utterance};
use vendors::tts::{Speaking, SpeechFormat, TtsEngines, TtsError, TtsTarget};

use crate::support::*;

const VENDOR: &str = "simulated_speech";
const PCM_16K: SpeechFormat = SpeechFormat::Pcm16 { sample_rate_hz: 16_000 };

fn engines(simulator: &Simulator, change: impl FnOnce(&mut SpeechConfig)) -> (SttEngines, TtsEngines) {
    let mut config = SpeechConfig {
        simulated: Some(format!("http://{}/simulated/v1", simulator.address)),
        openai: Some(OpenAiSpeechConfig {
            base_url: format!("http://{}/openai/v1/", simulator.address),
            api_key: Some("a-key-for-tests".into()),
            stt_model: "an-ear".into(),
            tts_model: "a-mouth".into(),
            voice: "a-voice".into(),
        }),
        backoff: Backoff { min_wait: Duration::from_millis(1), max_wait: Duration::from_millis(5) },
        ..SpeechConfig::default()
    };
    change(&mut config);
    speech::engines(config, now).unwrap()
}

fn ear(model: &str) -> SttTarget {
    SttTarget { provider: "simulated".into(), model: Some(model.into()), language: "en".into() }
}

fn mouth() -> TtsTarget {
    TtsTarget { provider: "simulated".into(), model: None, voice: None, language: "en".into() }
}

/// An utterance of this many milliseconds.
fn said(stt: &SttEngines, model: &str, ms: usize) -> Utterance {
    let mut utterance = stt.open(&ear(model)).unwrap();
    utterance.push(&vec![0; ms * 16]);
    utterance
}

async fn heard(stt: &SttEngines, model: &str) -> Result<String, SttError> {
    said(stt, model, 2_000).finish().await.map(|transcript| transcript.text)
}

async fn speak(tts: &TtsEngines, text: &str, wanted: SpeechFormat) -> Result<(Speaking, Vec<u8>), TtsError> {
    say(tts, &mouth(), text, wanted).await
}

async fn say(
    tts: &TtsEngines,
    target: &TtsTarget,
    text: &str,
    wanted: SpeechFormat,
) -> Result<(Speaking, Vec<u8>), TtsError> {
    let mut speaking = tts.speak(target, text, wanted).await?;
    let mut audio = Vec::new();
    while let Some(piece) = speaking.next().await? {
        audio.extend_from_slice(&piece);
    }
    Ok((speaking, audio))
}

#[tokio::test]
async fn each_conversation_hears_the_phrases_in_their_order() {
    let simulator = Simulator::start().await;
    let (stt, _) = engines(&simulator, |_| {});
    assert_eq!(heard(&stt, "a").await.unwrap(), "What is the status of invoice INV-TC-001?");
    assert_eq!(heard(&stt, "a").await.unwrap(), "And what about invoice INV-TC-002?");
    assert_eq!(heard(&stt, "b").await.unwrap(), "What is the status of invoice INV-TC-001?");
    simulator.control(VENDOR, json!({ "phrases": ["Ja", "Nein"] })).await;
    assert_eq!(heard(&stt, "a").await.unwrap(), "Ja");
    let (status, shown) = simulator.request(Method::GET, "/_control/simulated_speech", None).await;
    assert_eq!((status, &shown["phrases"]), (StatusCode::OK, &json!(["Ja", "Nein"])));
    let (_, shown) = simulator.request(Method::DELETE, "/_control/simulated_speech", None).await;
    assert_eq!(shown["phrases"][0], "What is the status of invoice INV-TC-001?");
}

#[tokio::test]
async fn a_partial_has_the_words_so_far_and_the_whole_reuses_the_last_one() {
    let simulator = Simulator::start().await;
    let (stt, _) = engines(&simulator, |_| {});
    let mut utterance = said(&stt, "m", 700);
    utterance.want_partial();
    utterance.want_partial();
    assert_eq!(utterance.partial().await, "What is");
    utterance.push(&[0; 16 * 10_000]);
    utterance.want_partial();
    assert_eq!(utterance.partial().await, "What is the status of invoice INV-TC-001?");
    utterance.want_partial();
    let Transcript { text, audio_ms, provider, model } = utterance.finish().await.unwrap();
    assert_eq!(text, "What is the status of invoice INV-TC-001?");
    assert_eq!((audio_ms, &*provider, &*model), (10_700, "simulated", "m"));
    let log = simulator.log(VENDOR).await;
    let asked: Vec<_> =
        log.iter().map(|entry| (&entry["body"]["audio_ms"], &entry["body"]["final"])).collect();
    assert_eq!(asked, [(&json!(700), &json!(false)), (&json!(10_700), &json!(false))]);
}

#[tokio::test]
async fn nothing_said_is_nothing_heard_and_nobody_is_asked() {
    let simulator = Simulator::start().await;
    let (stt, tts) = engines(&simulator, |_| {});
    assert_eq!(stt.open(&ear("m")).unwrap().finish().await.unwrap().text, "");
    assert!(speak(&tts, " … ", PCM_16K).await.unwrap().1.is_empty());
    assert!(simulator.log(VENDOR).await.is_empty());
}

#[tokio::test]
async fn an_utterance_is_bounded() {
    let simulator = Simulator::start().await;
    let (stt, _) = engines(&simulator, |_| {});
    let mut utterance = said(&stt, "m", 59_000);
    utterance.push(&vec![0; 16 * 5_000]);
    assert_eq!(utterance.finish().await.unwrap().audio_ms, 60_000);
}

#[tokio::test]
async fn a_failure_is_tried_again_and_hears_the_same() {
    let simulator = Simulator::start().await;
    let (stt, _) = engines(&simulator, |config| config.timeout = PATIENT);
    simulator.control(VENDOR, json!({ "failure_rate": 1, "status": 503, "retry_after": 0 })).await;
    let error = heard(&stt, "m").await.unwrap_err();
    assert_eq!((error.code(), error.class()), ("http_503", Class::Retry { after: Some(Duration::ZERO) }));
    assert_eq!(simulator.log(VENDOR).await.len(), 4);
    simulator.control(VENDOR, json!({ "status": 401 })).await;
    let error = heard(&stt, "m").await.unwrap_err();
    assert_eq!((error.code(), error.class()), ("http_401", Class::Fatal));
    assert_eq!(simulator.log(VENDOR).await.len(), 5);
    simulator.control(VENDOR, json!({ "failure_rate": 0, "mode": "drop" })).await;
    assert_eq!(heard(&stt, "m").await.unwrap_err().code(), "dropped");
    simulator.control(VENDOR, json!({ "mode": "normal" })).await;
    assert_eq!(heard(&stt, "m").await.unwrap(), "How long do I have?");
}

/// Every way to misbehave, and what ears and mouth make of it.
type Story = (&'static str, Result<(), &'static str>, Result<(), &'static str>);

const STORIES: [Story; 9] = [
    ("garbage", Err("garbage"), Err("garbage")),
    ("html", Err("garbage"), Err("garbage")),
    ("stall", Err("timeout"), Err("timeout")),
    ("stall_midway", Err("timeout"), Err("timeout")),
    ("drop", Err("dropped"), Err("dropped")),
    ("slow_drip", Err("timeout"), Err("timeout")),
    ("stream_error", Err("garbage"), Err("dropped")),
    ("empty", Ok(()), Err("empty_answer")),
    ("oversized", Err("garbage"), Err("garbage")),
];

async fn strange_answers_are_told_apart(provider: &str, vendor: &str) {
    let simulator = Simulator::start().await;
    let text = "A sentence with a few words, so that there is something to break.";
    for (mode, ears, mouths) in STORIES {
        let patience = if [ears, mouths].contains(&Err("timeout")) { IMPATIENT } else { PATIENT };
        let (stt, tts) = engines(&simulator, |config| {
            config.max_retries = 0;
            config.timeout = patience;
            config.first_audio_timeout = patience;
            config.stall_timeout = patience;
        });
        simulator.control(vendor, json!({ "mode": mode })).await;
        let mut utterance = stt.open(&SttTarget { provider: provider.into(), ..ear("m") }).unwrap();
        utterance.push(&[0; 16_000]);
        let outcome = utterance.finish().await.map(drop).map_err(|error| error.code());
        assert_eq!(outcome, ears, "{mode}");
        let target = TtsTarget { provider: provider.into(), ..mouth() };
        let outcome = say(&tts, &target, text, PCM_16K).await.map(drop).map_err(|error| error.code());
        assert_eq!(outcome, mouths, "{mode}");
    }
}

#[tokio::test]
async fn strange_answers_of_the_built_in_vendor_are_told_apart() {
    strange_answers_are_told_apart("simulated", VENDOR).await;
}

#[tokio::test]
async fn strange_answers_of_openai_are_told_apart() {
    strange_answers_are_told_apart("openai", "openai").await;
}

#[tokio::test]
async fn openai_gets_a_wav_file_and_gives_24_khz() {
    let simulator = Simulator::start().await;
    let (stt, tts) = engines(&simulator, |_| {});
    let target = SttTarget { provider: "openai".into(), model: None, language: "en-US".into() };
    let mut utterance = stt.open(&target).unwrap();
    utterance.push(&[7; 16_000]);
    // Each would be billed: there are none.
    utterance.want_partial();
    let heard = utterance.finish().await.unwrap();
    assert_eq!(heard.text, "What is the status of invoice INV-TC-001?");
    assert_eq!((heard.audio_ms, &*heard.provider, &*heard.model), (1_000, "openai", "an-ear"));
    let target = TtsTarget { provider: "openai".into(), ..mouth() };
    let (speaking, audio) = say(&tts, &target, "Hello there", PCM_16K).await.unwrap();
    assert_eq!(speaking.format(), SpeechFormat::Pcm16 { sample_rate_hz: 24_000 });
    assert_eq!((audio.len(), speaking.model()), (11 * 60 * 48, "a-mouth"));
    let bodies: Vec<_> =
        simulator.log("openai").await.into_iter().map(|entry| entry["body"].clone()).collect();
    let file = json!({"file_bytes": 32_044, "model": "an-ear", "response_format": "json", "language": "en"});
    let speech =
        json!({"model": "a-mouth", "input": "Hello there", "voice": "a-voice", "response_format": "pcm"});
    assert_eq!(bodies, [file, speech]);
}

#[tokio::test]
async fn openai_is_asked_again_when_it_fails_and_not_when_it_refuses() {
    let simulator = Simulator::start().await;
    let (stt, _) = engines(&simulator, |_| {});
    let target = SttTarget { provider: "openai".into(), ..ear("m") };
    for (status, code, requests) in [(429, "rate_limited", 4), (503, "http_503", 8), (400, "http_400", 9)] {
        simulator.control("openai", json!({ "failure_rate": 1, "status": status, "retry_after": 0 })).await;
        let mut utterance = stt.open(&target).unwrap();
        utterance.push(&[0; 16_000]);
        assert_eq!(utterance.finish().await.unwrap_err().code(), code);
        assert_eq!(simulator.log("openai").await.len(), requests);
    }
}

#[tokio::test]
async fn latency_is_waited_out_and_a_dropped_utterance_waits_for_nobody() {
    let simulator = Simulator::start().await;
    let (stt, tts) = engines(&simulator, |_| {});
    simulator.control(VENDOR, json!({ "latency_ms": 120 })).await;
    let started = Instant::now();
    heard(&stt, "m").await.unwrap();
    speak(&tts, "Yes.", PCM_16K).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(240));
    simulator.control(VENDOR, json!({ "mode": "stall" })).await;
    let mut utterance = said(&stt, "m", 700);
    utterance.want_partial();
    tokio::select! {
        _ = utterance.partial() => panic!("a stalled vendor has answered"),
        () = simulator.received(VENDOR, 3) => {}
    }
    simulator.control(VENDOR, json!({ "mode": "normal", "latency_ms": 0 })).await;
    // The partial that is under way heard the same, but never ends: another one is not begun.
    utterance.push(&[0; 16]);
    assert!(utterance.finish().await.is_ok());
}

#[tokio::test]
async fn speech_lasts_as_long_as_its_text_in_the_wanted_format() {
    let simulator = Simulator::start().await;
    let (_, tts) = engines(&simulator, |_| {});
    let text = "Your invoice is paid.";
    let ms = text.len() * 60;
    for (wanted, bytes_per_ms) in [
        (SpeechFormat::Mulaw8k, 8),
        (SpeechFormat::Pcm16 { sample_rate_hz: 8_000 }, 16),
        (PCM_16K, 32),
        (SpeechFormat::Pcm16 { sample_rate_hz: 24_000 }, 48),
    ] {
        let (speaking, audio) = speak(&tts, text, wanted).await.unwrap();
        assert_eq!((speaking.format(), audio.len()), (wanted, ms * bytes_per_ms));
        assert_eq!((speaking.provider(), speaking.model()), ("simulated", "simulated"));
        assert_eq!(Bytes::from(audio), speak(&tts, text, wanted).await.unwrap().1);
    }
    let odd = SpeechFormat::Pcm16 { sample_rate_hz: 44_100 };
    assert_eq!(speak(&tts, text, odd).await.unwrap().0.format(), PCM_16K);
    let log = simulator.log(VENDOR).await;
    assert_eq!((&log[0]["body"]["text"], &log[0]["stream"]), (&json!(text), &json!(true)));
}

#[tokio::test]
async fn who_cannot_be_asked_says_why() {
    let (stt, tts) = speech::engines(SpeechConfig::default(), now).unwrap();
    let expected = [
        ("simulated", "not_configured", Class::Fatal),
        ("openai", "not_configured", Class::Fatal),
        ("local", "not_configured", Class::Fatal),
        ("deepgram", "not_available_yet", Class::Reject),
        ("elevenlabs", "not_available_yet", Class::Reject),
        ("azure", "not_available_yet", Class::Reject),
        ("nobody", "unknown_provider", Class::Reject),
    ];
    for (provider, code, class) in expected {
        let refused = stt.open(&SttTarget { provider: provider.into(), ..ear("m") }).err().unwrap();
        assert_eq!((refused.code(), refused.class()), (code, class), "{provider}");
        let target = TtsTarget { provider: provider.into(), ..mouth() };
        let refused = tts.speak(&target, "Hello", PCM_16K).await.err().unwrap();
        assert_eq!((refused.code(), refused.class()), (code, class), "{provider}");
    }
    let long = "a".repeat(vendors::tts::MAX_TEXT_CHARACTERS + 1);
    assert_eq!(tts.speak(&mouth(), &long, PCM_16K).await.err().unwrap().code(), "text_too_long");
}

#[tokio::test]
async fn models_that_are_not_there_are_said_to_be_missing() {
    let config = SpeechConfig { models_dir: Some("nowhere".into()), ..SpeechConfig::default() };
    let (stt, tts) = speech::engines(config, now).unwrap();
    let target = SttTarget { provider: "local".into(), model: None, language: "en".into() };
    let refused = stt.open(&target).err().unwrap();
    assert_eq!((refused.code(), refused.class()), ("not_installed", Class::Fatal));
    assert!(refused.to_string().contains("make models"), "{refused}");
    let mouth = TtsTarget { provider: "local".into(), ..mouth() };
    assert_eq!(tts.speak(&mouth, "Hello", PCM_16K).await.err().unwrap().code(), "not_installed");
    let german = SttTarget { language: "de".into(), ..target.clone() };
    assert_eq!(stt.open(&german).err().unwrap().code(), "unknown_language");
    let other = SttTarget { model: Some("other".into()), ..target };
    assert_eq!(stt.open(&other).err().unwrap().code(), "unknown_model");
    let other = TtsTarget { voice: Some("other".into()), ..mouth };
    assert_eq!(tts.speak(&other, "Hello", PCM_16K).await.err().unwrap().code(), "unknown_voice");
}
