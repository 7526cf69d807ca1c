//! What hearing ([`stt`](crate::stt)) and speaking ([`tts`](crate::tts)) share: configuration, errors, measures, and the
//! engines behind both ports.

mod config;
mod error;
mod measure;
mod remote;
pub(crate) mod simulated;

use std::sync::Arc;

pub use config::{SpeechConfig, SpeechEndpoint};
pub use error::SpeechError;
pub use measure::{ATTEMPT_DURATION_SECONDS, ATTEMPTS_TOTAL};

pub(crate) use measure::{Kind, Measured};
pub(crate) use remote::{Remote, RemoteAudio};

use crate::WallClock;
use crate::http::{ClientError, VendorError, shared_client};
use crate::stt::SttEngines;
use crate::tts::TtsEngines;
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
    let simulated = config.simulated.as_deref().map(|base_url| {
        let remote = Remote::new(SIMULATED, http.clone(), base_url, None, &config, now);
        remote
            .map(|remote| Arc::new(Simulated::new(remote)))
            .map_err(|source| SpeechSetupError::Vendor { provider: SIMULATED, source })
    });
    let simulated = simulated.transpose()?;
    Ok((SttEngines::new(simulated.clone()), TtsEngines::new(simulated)))
}

/// Why a provider without an engine cannot be asked.
pub(crate) fn absent(provider: &str) -> SpeechError {
    let provider = provider.to_owned();
    match provider.as_str() {
        SIMULATED => SpeechError::NotConfigured { provider, variable: "SIMULATED_SPEECH_BASE_URL" },
        OPENAI => SpeechError::NotConfigured { provider, variable: "SPEECH_BASE_URL or OPENAI_API_KEY" },
        coming if COMING.contains(&coming) => SpeechError::NotAvailableYet { provider },
        _ => SpeechError::UnknownProvider { provider },
    }
}
