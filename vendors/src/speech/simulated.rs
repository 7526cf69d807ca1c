//! The built-in speech vendor, asked over HTTP; see `simulator/speech.rs` for what it answers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Kind, Remote, RemoteAudio, SpeechError};
use crate::tts::SpeechFormat;

/// Labels whose utterances are counted apart; agents choose them, so their number is not ours to trust.
const MAX_LABELS: usize = 1_024;
pub(crate) const DEFAULT_MODEL: &str = "simulated";
/// Never the limit of a real answer: 60 ms of audio a character.
const MAX_BYTES_PER_CHARACTER: usize = 60 * 48;

pub(crate) struct Simulated {
    remote: Remote,
    utterances: Mutex<HashMap<String, u64>>,
}

#[derive(Serialize)]
struct Heard<'a> {
    model: &'a str,
    utterance: u64,
    audio_ms: u64,
    r#final: bool,
}

#[derive(Deserialize)]
struct Transcript {
    text: String,
}

#[derive(Serialize)]
struct Said<'a> {
    model: &'a str,
    text: &'a str,
    format: &'static str,
}

impl Simulated {
    pub(crate) fn new(remote: Remote) -> Self {
        Self { remote, utterances: Mutex::default() }
    }

    /// The number of the next utterance of a model, from 0. Models tell conversations apart: each hears the phrases in
    /// their order.
    pub(crate) fn next_utterance(&self, model: &str) -> u64 {
        // A counter cannot be left half changed.
        let mut utterances = self.utterances.lock().unwrap_or_else(PoisonError::into_inner);
        if utterances.len() >= MAX_LABELS && !utterances.contains_key(model) {
            utterances.clear();
        }
        let next = utterances.entry(model.to_owned()).or_default();
        *next += 1;
        *next - 1
    }

    pub(crate) async fn transcribe(
        &self,
        kind: Kind,
        model: &str,
        utterance: u64,
        audio_ms: u64,
    ) -> Result<String, SpeechError> {
        let heard = Heard { model, utterance, audio_ms, r#final: kind == Kind::Transcription };
        let Transcript { text } =
            self.remote.transcript(kind, || self.remote.post("/transcribe").json(&heard)).await?;
        Ok(text)
    }

    pub(crate) async fn speak(
        &self,
        model: &str,
        text: &str,
        wanted: SpeechFormat,
    ) -> Result<(SpeechFormat, RemoteAudio), SpeechError> {
        let (name, format) = match wanted {
            SpeechFormat::Mulaw8k => ("mulaw_8000", wanted),
            SpeechFormat::Pcm16 { sample_rate_hz: 8_000 } => ("pcm16_8000", wanted),
            SpeechFormat::Pcm16 { sample_rate_hz: 24_000 } => ("pcm16_24000", wanted),
            SpeechFormat::Pcm16 { .. } => ("pcm16_16000", SpeechFormat::Pcm16 { sample_rate_hz: 16_000 }),
        };
        let said = Said { model, text, format: name };
        let limit_bytes = text.chars().count() * MAX_BYTES_PER_CHARACTER;
        let request = || self.remote.post("/speak").json(&said);
        let audio = self.remote.audio(limit_bytes, format.bytes_per_sample(), request).await?;
        Ok((format, audio))
    }
}
