//! What hearing ([`stt`](crate::stt)) and speaking ([`tts`](crate::tts)) share: configuration, errors, measures, and the
//! engines behind both ports.

mod config;
mod error;
mod measure;
pub(crate) mod openai;
mod remote;
pub(crate) mod simulated;

use std::sync::Arc;

pub use config::{OpenAiSpeechConfig, SpeechConfig};
pub use error::SpeechError;
pub use measure::{ATTEMPT_DURATION_SECONDS, ATTEMPTS_TOTAL};

pub(crate) use measure::{Kind, Measured};
pub(crate) use remote::{Remote, RemoteAudio};

use secrecy::SecretString;

use crate::WallClock;
use crate::http::{ClientError, VendorError, shared_client};
use crate::local::Local;
use crate::stt::SttEngines;
use crate::tts::TtsEngines;
use openai::OpenAi;
use simulated::Simulated;

/// Runs on this machine.
pub const LOCAL: &str = "local";
/// The built-in speech vendor, see [`simulator`](crate::simulator).
pub const SIMULATED: &str = "simulated";
/// Any server that takes audio and text as OpenAI does.
pub const OPENAI: &str = "openai";
/// Vendors that agents may name already and that cannot be asked yet.
pub const COMING: [&str; 3] = ["deepgram", "elevenlabs", "azure"];

/// The engines could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SpeechSetupError {
    #[error("speech needs an HTTP client")]
    Client(#[from] ClientError),
    #[error("speech vendor {provider} is set up wrongly")]
    Vendor { provider: &'static str, source: VendorError },
}

/// Ears and mouth, which share what is behind them. Make one pair per process.
///
/// # Errors
/// When a vendor's address or key cannot be used, or TLS cannot be set up.
pub fn engines(config: SpeechConfig, now: WallClock) -> Result<(SttEngines, TtsEngines), SpeechSetupError> {
    let http = shared_client()?;
    let remote = |provider, base_url: &str, api_key: Option<&SecretString>| {
        let remote = Remote::new(provider, http.clone(), base_url, api_key, &config, now);
        remote.map_err(|source| SpeechSetupError::Vendor { provider, source })
    };
    let simulated =
        config.simulated.as_deref().map(|base_url| remote(SIMULATED, base_url, None)).transpose()?;
    let openai = match &config.openai {
        Some(openai) => {
            let remote = remote(OPENAI, &openai.base_url, openai.api_key.as_ref())?;
            Some(Arc::new(OpenAi::new(remote, openai)))
        }
        None => None,
    };
    let engines = Engines {
        local: config.models_dir.clone().map(|dir| Arc::new(Local::new(dir, config.threads))),
        simulated: simulated.map(|remote| Arc::new(Simulated::new(remote))),
        openai,
    };
    Ok((SttEngines::new(&engines), TtsEngines::new(&engines)))
}

/// What is behind both ports.
#[derive(Clone)]
pub(crate) struct Engines {
    pub(crate) local: Option<Arc<Local>>,
    pub(crate) simulated: Option<Arc<Simulated>>,
    pub(crate) openai: Option<Arc<OpenAi>>,
}

/// Why a provider without an engine cannot be asked.
pub(crate) fn absent(provider: &str) -> SpeechError {
    let provider = provider.to_owned();
    match provider.as_str() {
        LOCAL => SpeechError::NotConfigured { provider, variable: "VOCALBRIDGE_MODELS_DIR" },
        SIMULATED => SpeechError::NotConfigured { provider, variable: "SIMULATED_SPEECH_BASE_URL" },
        OPENAI => SpeechError::NotConfigured { provider, variable: "SPEECH_BASE_URL or OPENAI_API_KEY" },
        coming if COMING.contains(&coming) => SpeechError::NotAvailableYet { provider },
        _ => SpeechError::UnknownProvider { provider },
    }
}
