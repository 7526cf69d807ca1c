//! The port to mouths: words in, audio out, whichever engine speaks them.
//!
//! [`TtsEngines::speak`] begins to speak one text, a sentence or a few; [`Speaking::next`] hands out its audio as it
//! comes. The text is what people would say: numbers, money and addresses are already in words.

use std::sync::Arc;

use bytes::Bytes;

use crate::local::{self, Local, LocalSpeech};
use crate::speech::openai::{self, OpenAi};
use crate::speech::simulated::{DEFAULT_MODEL, Simulated};
use crate::speech::{Engines, LOCAL, OPENAI, RemoteAudio, SIMULATED, absent};

pub use crate::speech::SpeechError as TtsError;

/// A longer text is refused: an answer is spoken in pieces.
pub const MAX_TEXT_CHARACTERS: usize = 4_096;

/// Who shall speak.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TtsTarget {
    pub provider: String,
    /// `None`, as for the voice: the engine's own choice.
    pub model: Option<String>,
    pub voice: Option<String>,
    /// BCP 47, such as `en` or `en-US`.
    pub language: String,
}

/// Audio in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechFormat {
    /// Little-endian samples of 16 bits.
    Pcm16 { sample_rate_hz: u32 },
    /// G.711 µ-law at 8 kHz.
    Mulaw8k,
}

impl SpeechFormat {
    pub fn bytes_per_sample(self) -> usize {
        match self {
            Self::Pcm16 { .. } => 2,
            Self::Mulaw8k => 1,
        }
    }
}

/// All mouths of a process. Make one and share it.
pub struct TtsEngines {
    local: Option<Arc<Local>>,
    simulated: Option<Arc<Simulated>>,
    openai: Option<Arc<OpenAi>>,
}

/// A text that is being spoken. Dropping it cancels.
pub struct Speaking {
    format: SpeechFormat,
    provider: &'static str,
    model: String,
    voice: Voice,
}

enum Voice {
    /// There is nothing to say.
    Silent,
    Local(LocalSpeech),
    Remote(Box<RemoteAudio>),
}

impl TtsEngines {
    pub(crate) fn new(engines: &Engines) -> Self {
        let Engines { local, simulated, openai } = engines.clone();
        Self { local, simulated, openai }
    }

    /// Somebody will want this voice soon: what takes time before its first words is done now, in the background.
    pub fn prepare(&self, target: &TtsTarget) {
        if let (LOCAL, Some(local)) = (target.provider.as_str(), &self.local) {
            local.prepare_to_speak();
        }
    }

    /// Begins to speak; returns when the audio begins to come, or is sure to. The engine may speak in another format
    /// than wanted.
    ///
    /// # Errors
    /// When the target cannot speak: it is not there, has no room for one more, or failed, after its retries.
    pub async fn speak(
        &self,
        target: &TtsTarget,
        text: &str,
        wanted: SpeechFormat,
    ) -> Result<Speaking, TtsError> {
        if text.chars().count() > MAX_TEXT_CHARACTERS {
            return Err(TtsError::TextTooLong { most: MAX_TEXT_CHARACTERS });
        }
        let spoken = text.chars().any(char::is_alphanumeric);
        match target.provider.as_str() {
            LOCAL => {
                let local = self.local.as_ref().ok_or_else(|| absent(LOCAL))?;
                let voice = Voice::Local(local::speak(local, target, text)?);
                Ok(Speaking {
                    format: local::FORMAT,
                    provider: LOCAL,
                    model: local::TTS_MODEL.to_owned(),
                    voice,
                })
            }
            SIMULATED => {
                let engine = self.simulated.as_ref().ok_or_else(|| absent(SIMULATED))?;
                let model = target.model.clone().unwrap_or_else(|| DEFAULT_MODEL.to_owned());
                let (format, voice) = if spoken {
                    let (format, audio) = engine.speak(&model, text, wanted).await?;
                    (format, Voice::Remote(Box::new(audio)))
                } else {
                    (wanted, Voice::Silent)
                };
                Ok(Speaking { format, provider: SIMULATED, model, voice })
            }
            OPENAI => {
                let engine = self.openai.as_ref().ok_or_else(|| absent(OPENAI))?;
                let model = engine.tts_model(target.model.as_deref()).to_owned();
                let voice = if spoken {
                    let audio = engine.speak(&model, target.voice.as_deref(), text).await?;
                    Voice::Remote(Box::new(audio))
                } else {
                    Voice::Silent
                };
                Ok(Speaking { format: openai::FORMAT, provider: OPENAI, model, voice })
            }
            provider => Err(absent(provider)),
        }
    }
}

impl Speaking {
    /// What [`Speaking::next`] hands out.
    pub fn format(&self) -> SpeechFormat {
        self.format
    }

    pub fn provider(&self) -> &str {
        self.provider
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    /// The next piece of audio, whole samples; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When the engine fails after it has begun; nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TtsError> {
        match &mut self.voice {
            Voice::Silent => Ok(None),
            Voice::Local(speech) => speech.next().await,
            Voice::Remote(audio) => audio.next().await,
        }
    }
}
