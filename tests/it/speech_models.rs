//! The models that hear and speak on this machine, brought as users bring them. One test, for the CPU's sake.

use std::path::Path;
use std::time::Duration;

use cli::models::{self, Check};
use tests::caller::Caller;
use tests::{World, world};
use tokio::time::Instant;
use vendors::speech::{self, SpeechConfig};
use vendors::stt::{SttEngines, SttTarget, Transcript};
use vendors::tts::{SpeechFormat, TtsEngines, TtsTarget};
use voice::resample::Resampler;

/// However busy the machine, loading included.
const PATIENCE: Duration = Duration::from_secs(120);
const SPEECH_HZ: u32 = 24_000;

fn ear() -> SttTarget {
    SttTarget { provider: "local".into(), model: None, language: "en-US".into() }
}

fn mouth() -> TtsTarget {
    TtsTarget { provider: "local".into(), model: None, voice: None, language: "en".into() }
}

async fn say(tts: &TtsEngines, text: &str) -> Vec<i16> {
    let mut speaking = tts.speak(&mouth(), text, SpeechFormat::Mulaw8k).await.unwrap();
    assert_eq!(speaking.format(), SpeechFormat::Pcm16 { sample_rate_hz: SPEECH_HZ });
    let mut samples = Vec::new();
    while let Some(piece) = speaking.next().await.unwrap() {
        samples.extend(piece.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])));
    }
    samples
}

fn at_16_khz(samples: &[i16]) -> Vec<i16> {
    let (mut resampler, mut heard) = (Resampler::new(SPEECH_HZ, vendors::stt::SAMPLE_RATE_HZ), Vec::new());
    resampler.process(samples, &mut heard);
    resampler.flush(&mut heard);
    heard
}

async fn hear(stt: &SttEngines, samples: &[i16]) -> Transcript {
    let mut utterance = stt.open(&ear()).unwrap();
    utterance.push(samples);
    utterance.finish().await.unwrap()
}

fn words(text: &str) -> String {
    let kept: String = text.to_lowercase().chars().filter(|it| it.is_alphanumeric() || *it == ' ').collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_asks_for_an_invoice_by_voice_and_hears_the_amount() {
    let models_dir = world::binaries().with_file_name("models");
    models::bring(&models_dir, Check::Presence).await.unwrap();
    let config = SpeechConfig { models_dir: Some(models_dir.clone()), ..SpeechConfig::default() };
    let (stt, tts) = speech::engines(config, || chrono::DateTime::UNIX_EPOCH).unwrap();
    let question = voice::speakable::speakable("What is the status of invoice INV-TC-001?", "en-US");
    let question = at_16_khz(&say(&tts, &question).await);

    let models_dir = models_dir.display().to_string();
    let (world, client) = World::start_with(&[("VOCALBRIDGE_MODELS_DIR", &models_dir)]).await;
    let mut caller = Caller::by_browser(&client, &world.agent(0, 0)).await;
    caller.say(&question).await;
    caller.until("the answer", |caller| caller.lines().iter().any(|line| line.contains("15,000.00"))).await;
    caller.hang_up().await;
    let heard = words(&hear(&stt, &caller.phone.heard).await.text);
    assert!(heard.contains("paid"), "{heard}");
    assert!(["fifteen thousand", "15000"].iter().any(|amount| heard.contains(amount)), "{heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spoken_here_is_understood_here() {
    let models_dir = world::binaries().with_file_name("models");
    models::bring(&models_dir, Check::Presence).await.unwrap();
    tokio::time::timeout(PATIENCE, understood(&models_dir)).await.unwrap();
}

async fn understood(models_dir: &Path) {
    let config = SpeechConfig { models_dir: Some(models_dir.to_owned()), ..SpeechConfig::default() };
    let (stt, tts) = speech::engines(config, || chrono::DateTime::UNIX_EPOCH).unwrap();

    // Words, names, contractions and numbers come back; so does a text of several sentences, in one stream.
    let text = "Hello! I couldn't find an order with that number. Mr. Smith's appointment is on Tuesday. \
                Is there anything else I can do for you?";
    let spoken = say(&tts, text).await;
    let heard = hear(&stt, &at_16_khz(&spoken)).await;
    assert_eq!(words(&heard.text), words(text));
    assert_eq!((&*heard.provider, &*heard.model), ("local", "moonshine-tiny-en"));

    // The same text sounds the same.
    let short = "Your payment has arrived, thank you.";
    let spoken = say(&tts, short).await;
    assert_eq!(spoken, say(&tts, short).await);

    // A partial transcript of all that was said is the whole one, and costs nothing more.
    let samples = at_16_khz(&spoken);
    let mut utterance = stt.open(&ear()).unwrap();
    let (half, rest) = samples.split_at(samples.len() / 2);
    utterance.push(half);
    utterance.want_partial();
    let partial = utterance.partial().await;
    assert!(words(short).starts_with(words(&partial).split(' ').next().unwrap()), "{partial}");
    utterance.push(rest);
    utterance.want_partial();
    assert_eq!(words(&utterance.partial().await), words(short));
    let before = Instant::now();
    assert_eq!(words(&utterance.finish().await.unwrap().text), words(short));
    assert!(before.elapsed() < Duration::from_millis(20), "it was decoded again");

    // Silence and noise are no words, or few: nothing loops.
    let hiss: Vec<i16> = (0..5 * 16_000).map(|at: i32| ((at * 7_919) % 401 - 200) as i16).collect();
    let heard = hear(&stt, &hiss).await;
    assert!(heard.text.split(' ').count() < 20, "{}", heard.text);

    // Beyond a certain number nobody more is listened to, and those who go make room.
    let mut open: Vec<_> = (0..32).map(|_| stt.open(&ear()).unwrap()).collect();
    assert_eq!(stt.open(&ear()).err().unwrap().code(), "at_capacity");
    open.pop();
    assert!(stt.open(&ear()).is_ok());
}
