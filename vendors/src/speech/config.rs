//! Which speech engines there are, and how patient we are with them.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::resilience::Backoff;

/// All speech engines.
#[derive(Debug, Clone)]
pub struct SpeechConfig {
    /// Where the models of this machine are, or will be; they are looked for when they are needed. `None`: nowhere.
    pub models_dir: Option<PathBuf>,
    /// Threads that run them, at least 1. Each loads models of its own: 200 MB to hear, 110 MB to speak.
    pub threads: usize,
    /// Where the built-in speech vendor is: `http://127.0.0.1:8090/simulated/v1`. `None`: not at all.
    pub simulated: Option<String>,
    /// A server that speaks as OpenAI does. `None`: none.
    pub openai: Option<OpenAiSpeechConfig>,
    /// Limit of one transcription, from dialling to the last byte.
    pub timeout: Duration,
    /// Limit of speaking from dialling to the first audio.
    pub first_audio_timeout: Duration,
    /// The longest pause between two pieces of audio.
    pub stall_timeout: Duration,
    /// Retries after the first attempt. Speech that has begun to come is not retried, and partial transcripts never.
    pub max_retries: u32,
    pub backoff: Backoff,
    /// Makes the jitter repeat; `None` outside tests.
    pub jitter_seed: Option<u64>,
}

impl Default for SpeechConfig {
    fn default() -> Self {
        Self {
            models_dir: None,
            threads: 1,
            simulated: None,
            openai: None,
            timeout: Duration::from_secs(10),
            first_audio_timeout: Duration::from_secs(8),
            stall_timeout: Duration::from_secs(5),
            max_retries: 3,
            backoff: Backoff::default(),
            jitter_seed: None,
        }
    }
}

/// A server that speaks as OpenAI does, and what is asked of it when a target does not say.
#[derive(Debug, Clone)]
pub struct OpenAiSpeechConfig {
    /// Without the paths that belong to the wire format: `https://api.openai.com/v1`.
    pub base_url: String,
    /// `None`: a server of one's own that wants none.
    pub api_key: Option<SecretString>,
    pub stt_model: String,
    pub tts_model: String,
    pub voice: String,
}
