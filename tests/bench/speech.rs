//! What the engines on this machine understand, and whether what they say is understood.
//!
//! **Rule.** Words are counted wrong by the fewest insertions, deletions and replacements that make one text the other.
//! Both sides are first put into words as a caller would hear them ([`speakable`]: "$15,000" and "fifteen thousand
//! dollars" are the same), then into lower case, without punctuation, hyphens as spaces.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cli::models::{self, Check};
use tests::world;
use tokio::time::Instant;
use vendors::speech::{self, LOCAL, SpeechConfig};
use vendors::stt::{SAMPLE_RATE_HZ, SttEngines, SttTarget, Transcript};
use vendors::tts::{SpeechFormat, TtsEngines, TtsTarget};
use voice::g711::{mulaw_to_pcm, pcm_to_mulaw};
use voice::resample::Resampler;
use voice::speakable::speakable;
use voice::vad::{Change, FRAME_SAMPLES, GateConfig, SpeechGate, Vad, level_dbfs};

/// Shares of words; promised.
const MOST_WRONG_WIDE: f64 = 0.06;
const MOST_WRONG_TELEPHONE: f64 = 0.09;
const MOST_WRONG_SPOKEN: f64 = 0.05;

const TELEPHONE_HZ: u32 = 8_000;
const SPEECH_HZ: u32 = 24_000;
/// Kept before the first voiced frame and after the last, as on a call.
const BEFORE_FRAMES: usize = 20;
const AFTER_FRAMES: usize = 10;
/// The pause that ends an utterance.
const PAUSE_MS: u32 = 600;
/// A WAV file's samples begin here.
const WAV_HEADER_BYTES: usize = 44;

const REPLIES: [&str; 12] = [
    "Hello! I am the assistant of TechCorp. How can I help you today?",
    "Invoice INV-TC-001 for consulting is $15,000.00 and its status is pending.",
    "Your appointment is on Tuesday, March 3rd at 2:30 PM.",
    "Please write to support@example.com and we'll answer within 24 hours.",
    "The total comes to $49.99, and it was charged on January 21st.",
    "You can call us at 555-0142 from Monday to Friday.",
    "I couldn't find an order with that number. Could you check it, please?",
    "We've refunded 20% of the price to your account.",
    "Your parcel weighs 3.5 kg and arrives tomorrow morning.",
    "The next free times are 9:00 AM, 11:15 AM and 4:45 PM. Which one suits you?",
    "Order 4711 has left our warehouse, and the technician's visit is confirmed.",
    "Thank you for calling. Is there anything else I can do for you?",
];

/// Words that were wrong, of how many, and what hearing them took.
#[derive(Default)]
struct Score {
    wrong: usize,
    words: usize,
    audio: Duration,
    computing: Duration,
}

/// # Errors
/// When the models cannot be brought, or understand less than is promised.
pub async fn run() -> Result<()> {
    let models_dir = world::binaries().with_file_name("models");
    models::bring(&models_dir, Check::Presence).await?;
    let recordings = models::bring_recordings(&models_dir.with_file_name("recordings")).await?;
    let config = SpeechConfig { models_dir: Some(models_dir), ..SpeechConfig::default() };
    let (stt, tts) = speech::engines(config, || chrono::DateTime::UNIX_EPOCH)?;
    println!("speech on one thread of this machine");
    let wide = heard(&stt, &recordings, |samples| samples.to_vec()).await?;
    wide.report("  LibriVox at 16 kHz", MOST_WRONG_WIDE)?;
    let telephone = heard(&stt, &recordings, through_the_telephone).await?;
    telephone.report("  LibriVox through u-law at 8 kHz", MOST_WRONG_TELEPHONE)?;
    let spoken = spoken(&stt, &tts).await?;
    spoken.report("  our replies, heard by ourselves", MOST_WRONG_SPOKEN)?;
    println!();
    Ok(())
}

async fn heard(stt: &SttEngines, recordings: &Path, line: impl Fn(&[i16]) -> Vec<i16>) -> Result<Score> {
    let transcripts = std::fs::read_to_string(recordings.join("transcription"))?;
    let mut score = Score::default();
    for transcript in transcripts.lines() {
        let (said, name) = transcript.rsplit_once(" (").context("a transcript without its recording")?;
        let said = said.trim_start_matches("<s>").trim_end_matches("</s>");
        let name = name.trim_end_matches(')');
        let file = std::fs::read(recordings.join(format!("{name}.wav"))).with_context(|| name.to_owned())?;
        let samples: Vec<i16> = file[WAV_HEADER_BYTES..]
            .chunks_exact(2)
            .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
            .collect();
        let samples = line(&samples);
        let (mut texts, started) = (Vec::new(), Instant::now());
        for utterance in utterances(&samples) {
            texts.push(hear(stt, utterance).await?.text);
        }
        score.add(said, &texts.join(" "), &samples, started.elapsed());
    }
    Ok(score)
}

async fn spoken(stt: &SttEngines, tts: &TtsEngines) -> Result<Score> {
    let target = TtsTarget { provider: LOCAL.into(), model: None, voice: None, language: "en".into() };
    let wanted = SpeechFormat::Pcm16 { sample_rate_hz: SPEECH_HZ };
    let (mut score, mut first) = (Score::default(), Vec::new());
    for reply in REPLIES {
        let text = speakable(reply, "en");
        let (started, mut samples) = (Instant::now(), Vec::new());
        let mut speaking = tts.speak(&target, &text, wanted).await?;
        while let Some(piece) = speaking.next().await? {
            if samples.is_empty() {
                first.push(started.elapsed());
            }
            samples.extend(piece.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]])));
        }
        let samples = resampled(&samples, SPEECH_HZ, SAMPLE_RATE_HZ);
        let started = Instant::now();
        let heard = hear(stt, &samples).await?.text;
        score.add(&text, &heard, &samples, started.elapsed());
    }
    first.sort_unstable();
    println!(
        "  first audio of a reply: median {:.0?}, longest {:.0?}",
        first[first.len() / 2],
        first[first.len() - 1]
    );
    Ok(score)
}

async fn hear(stt: &SttEngines, samples: &[i16]) -> Result<Transcript> {
    let target = SttTarget { provider: LOCAL.into(), model: None, language: "en".into() };
    let mut utterance = stt.open(&target)?;
    utterance.push(samples);
    Ok(utterance.finish().await?)
}

/// The stretches of speech, with a little around each: what a call hands to its ears.
fn utterances(samples: &[i16]) -> Vec<&[i16]> {
    let (mut vad, mut gate) =
        (Vad::new(), SpeechGate::new(GateConfig { end_ms: PAUSE_MS, ..GateConfig::default() }));
    let (mut found, mut began) = (Vec::new(), None);
    let mut cut = |began: usize, ended: usize| {
        let from = began.saturating_sub(BEFORE_FRAMES) * FRAME_SAMPLES;
        found.push(&samples[from..((ended + 1 + AFTER_FRAMES) * FRAME_SAMPLES).min(samples.len())]);
    };
    for (frame, chunk) in (0_u32..).zip(samples.chunks_exact(FRAME_SAMPLES)) {
        let probability = vad.push(chunk);
        match gate.push(frame, level_dbfs(chunk), probability).change {
            Some(Change::SpeechStarted { frame }) => began = Some(frame as usize),
            Some(Change::SpeechEnded { frame }) => {
                if let Some(began) = began.take() {
                    cut(began, frame as usize);
                }
            }
            None => {}
        }
    }
    if let (Some(began), Some(last)) = (began, gate.last_voiced()) {
        cut(began, last as usize);
    }
    found
}

fn through_the_telephone(samples: &[i16]) -> Vec<i16> {
    let (mut coded, mut decoded) = (Vec::new(), Vec::new());
    pcm_to_mulaw(&resampled(samples, SAMPLE_RATE_HZ, TELEPHONE_HZ), &mut coded);
    mulaw_to_pcm(&coded, &mut decoded);
    resampled(&decoded, TELEPHONE_HZ, SAMPLE_RATE_HZ)
}

fn resampled(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    let (mut resampler, mut output) = (Resampler::new(from_hz, to_hz), Vec::new());
    resampler.process(samples, &mut output);
    resampler.flush(&mut output);
    output
}

impl Score {
    fn add(&mut self, said: &str, heard: &str, samples: &[i16], computing: Duration) {
        let (said, heard) = (words(said), words(heard));
        let wrong = distance(&said, &heard);
        if wrong > 0 {
            println!("    {wrong} wrong: {}\n      heard: {}", said.join(" "), heard.join(" "));
        }
        self.wrong += wrong;
        self.words += said.len();
        self.audio += Duration::from_secs_f64(samples.len() as f64 / f64::from(SAMPLE_RATE_HZ));
        self.computing += computing;
    }

    fn report(&self, name: &str, most: f64) -> Result<()> {
        let share = self.wrong as f64 / self.words as f64;
        println!(
            "{name}: {:.1} % of {} words wrong (at most {:.0} %), {:.3} of real time",
            share * 100.0,
            self.words,
            most * 100.0,
            self.computing.as_secs_f64() / self.audio.as_secs_f64()
        );
        ensure!(share <= most, "{}: more words are wrong than promised", name.trim());
        Ok(())
    }
}

fn words(text: &str) -> Vec<String> {
    let text = speakable(text, "en").to_lowercase().replace('-', " ");
    let bare = |word: &str| word.chars().filter(|it| it.is_alphanumeric()).collect::<String>();
    text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

/// Levenshtein's, of words.
fn distance(one: &[String], other: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, word) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, candidate) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(word != candidate);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
