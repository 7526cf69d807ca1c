//! OpenAI's audio endpoints, as they are also spoken by servers of one's own (Whisper and others behind a compatible API):
//! `POST /audio/transcriptions` takes a WAV file as a form, `POST /audio/speech` answers raw samples at 24 kHz.

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use serde::{Deserialize, Serialize};

use super::{Kind, OpenAiSpeechConfig, Remote, RemoteAudio, SpeechError};
use crate::stt::SAMPLE_RATE_HZ;
use crate::tts::SpeechFormat;

const SPEECH_HZ: u32 = 24_000;
pub(crate) const FORMAT: SpeechFormat = SpeechFormat::Pcm16 { sample_rate_hz: SPEECH_HZ };
/// Ten seconds, and half a second a character: nobody speaks more slowly.
const BYTES_PER_SECOND: usize = 2 * SPEECH_HZ as usize;
const WAV_HEADER_BYTES: usize = 44;

pub(crate) struct OpenAi {
    remote: Remote,
    stt_model: String,
    tts_model: String,
    voice: String,
}

#[derive(Deserialize)]
struct Transcript {
    text: String,
}

#[derive(Serialize)]
struct Said<'a> {
    model: &'a str,
    input: &'a str,
    voice: &'a str,
    response_format: &'static str,
}

impl OpenAi {
    pub(crate) fn new(remote: Remote, config: &OpenAiSpeechConfig) -> Self {
        let OpenAiSpeechConfig { stt_model, tts_model, voice, .. } = config.clone();
        Self { remote, stt_model, tts_model, voice }
    }

    pub(crate) fn stt_model<'a>(&'a self, asked: Option<&'a str>) -> &'a str {
        asked.unwrap_or(&self.stt_model)
    }

    pub(crate) fn tts_model<'a>(&'a self, asked: Option<&'a str>) -> &'a str {
        asked.unwrap_or(&self.tts_model)
    }

    /// `language`: BCP 47, of which the vendor wants the first part.
    pub(crate) async fn transcribe(
        &self,
        model: &str,
        language: &str,
        samples: &[i16],
    ) -> Result<String, SpeechError> {
        let file = wav(samples);
        let language = language.split(['-', '_']).next().unwrap_or_default();
        let form = || {
            let part = Part::stream(file.clone()).file_name("speech.wav");
            let part = part.mime_str("audio/wav").unwrap_or_else(|_| Part::stream(file.clone()));
            let form = Form::new().part("file", part).text("model", model.to_owned());
            let form = form.text("response_format", "json");
            if language.is_empty() { form } else { form.text("language", language.to_owned()) }
        };
        let request = || self.remote.post("/audio/transcriptions").multipart(form());
        let Transcript { text } = self.remote.transcript(Kind::Transcription, request).await?;
        Ok(text.trim().to_owned())
    }

    pub(crate) async fn speak(
        &self,
        model: &str,
        voice: Option<&str>,
        text: &str,
    ) -> Result<RemoteAudio, SpeechError> {
        let voice = voice.unwrap_or(&self.voice);
        let said = Said { model, input: text, voice, response_format: "pcm" };
        let limit_bytes = (10 + text.chars().count() / 2) * BYTES_PER_SECOND;
        let request = || self.remote.post("/audio/speech").json(&said);
        self.remote.audio(limit_bytes, FORMAT.bytes_per_sample(), request).await
    }
}

/// A WAV file of one channel (RIFF, PCM, 16 bits).
fn wav(samples: &[i16]) -> Bytes {
    // An utterance is bounded far below the 4 GiB of a file.
    let length = u32::try_from(2 * samples.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(WAV_HEADER_BYTES + 2 * samples.len());
    file.extend(b"RIFF");
    file.extend(length.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1_u16, 1].into_iter().flat_map(u16::to_le_bytes));
    file.extend([SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ].into_iter().flat_map(u32::to_le_bytes));
    file.extend([2_u16, 16].into_iter().flat_map(u16::to_le_bytes));
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file.into()
}
