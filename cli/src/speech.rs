//! Speech: what the environment says of ears and mouths, and the engines that follow from it.

use std::sync::Arc;

use anyhow::{Context, Result};
use vendors::WallClock;
use vendors::resilience::Backoff;
use vendors::speech::SpeechConfig;
use vendors::stt::SttEngines;
use vendors::tts::TtsEngines;

use crate::settings::{Reader, VendorSettings};
use crate::vendor_endpoints::{BaseUrl, base_url};

const SIMULATED_PATH: &str = "/simulated/v1";

/// The speech engines of this installation.
#[derive(Clone, Debug)]
pub struct SpeechSettings {
    /// The built-in speech vendor.
    simulated: BaseUrl,
}

impl SpeechSettings {
    pub(crate) fn read_with(reader: &mut Reader<'_>) -> Self {
        let at_home = BaseUrl::Simulated(SIMULATED_PATH);
        Self { simulated: reader.or("SIMULATED_SPEECH_BASE_URL", at_home, base_url(SIMULATED_PATH)) }
    }

    /// Whether any of the engines is simulated.
    pub fn need_a_simulator(&self) -> bool {
        matches!(self.simulated, BaseUrl::Simulated(_))
    }
}

/// Ears and mouths as `settings` have them, with the simulated servers at `simulator`.
///
/// # Errors
/// When a vendor's address or key cannot be used.
pub fn engines(
    settings: &VendorSettings,
    simulator: &str,
    now: WallClock,
) -> Result<(Arc<SttEngines>, Arc<TtsEngines>)> {
    let config = SpeechConfig {
        simulated: Some(settings.speech.simulated.with(simulator)),
        timeout: settings.timeout,
        first_audio_timeout: settings.first_token_timeout,
        stall_timeout: settings.stall_timeout,
        max_retries: settings.max_retries,
        backoff: Backoff { min_wait: settings.retry_min_wait, max_wait: settings.retry_max_wait },
        jitter_seed: None,
    };
    let (stt, tts) = vendors::speech::engines(config, now).context("speech")?;
    Ok((Arc::new(stt), Arc::new(tts)))
}
