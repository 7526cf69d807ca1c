//! Speech: what the environment says of ears and mouths, and the engines that follow from it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use secrecy::SecretString;
use vendors::WallClock;
use vendors::resilience::Backoff;
use vendors::speech::{OpenAiSpeechConfig, SpeechConfig};
use vendors::stt::SttEngines;
use vendors::tts::TtsEngines;

use crate::settings::{Reader, VendorSettings, in_range, some_text};
use crate::vendor_endpoints::{BaseUrl, Endpoint, base_url};

const OPENAI_PATH: &str = "/openai/v1";
const SIMULATED_PATH: &str = "/simulated/v1";

/// Where models are looked for.
pub const DEFAULT_MODELS_DIR: &str = ".data/models";

/// The speech engines of this installation.
#[derive(Clone, Debug)]
pub struct SpeechSettings {
    models_dir: PathBuf,
    /// That run models of this machine.
    threads: usize,
    /// The built-in speech vendor.
    simulated: BaseUrl,
    /// A server that speaks as OpenAI does.
    openai: Option<OpenAiSettings>,
}

#[derive(Clone, Debug)]
struct OpenAiSettings {
    base_url: BaseUrl,
    api_key: Option<SecretString>,
    stt_model: String,
    tts_model: String,
    voice: String,
}

impl SpeechSettings {
    /// `openai`: where language models of OpenAI are asked, which serves for speech too unless it has an address of its
    /// own.
    pub(crate) fn read_with(reader: &mut Reader<'_>, openai: Option<&Endpoint>) -> Self {
        let at_home = BaseUrl::Simulated(SIMULATED_PATH);
        Self {
            models_dir: reader.or("VOCALBRIDGE_MODELS_DIR", DEFAULT_MODELS_DIR.into(), |dir| Ok(dir.into())),
            threads: reader.or("SPEECH_THREADS", 1, in_range(1, 64)),
            simulated: reader.or("SIMULATED_SPEECH_BASE_URL", at_home, base_url(SIMULATED_PATH)),
            openai: OpenAiSettings::read_with(reader, openai),
        }
    }

    /// Whether any of the engines is simulated.
    pub fn need_a_simulator(&self) -> bool {
        let addresses = self.openai.iter().map(|openai| &openai.base_url).chain([&self.simulated]);
        addresses.into_iter().any(|address| matches!(address, BaseUrl::Simulated(_)))
    }
}

impl OpenAiSettings {
    fn read_with(reader: &mut Reader<'_>, openai: Option<&Endpoint>) -> Option<Self> {
        let own = reader.optional("SPEECH_BASE_URL", base_url(OPENAI_PATH));
        let own_key = reader.optional("SPEECH_API_KEY", some_text).map(SecretString::from);
        let mut named = |variable, default: &str| reader.or(variable, default.to_owned(), some_text);
        let stt_model = named("SPEECH_STT_MODEL", "whisper-1");
        let tts_model = named("SPEECH_TTS_MODEL", "tts-1");
        let voice = named("SPEECH_VOICE", "alloy");
        // A key never goes to an address that it was not given for.
        let (base_url, api_key) = match (own, openai) {
            (Some(own), _) => (own, own_key),
            (None, Some(openai)) => (openai.base_url.clone(), own_key.or(Some(openai.api_key.clone()))),
            (None, None) => return None,
        };
        Some(Self { base_url, api_key, stt_model, tts_model, voice })
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
        models_dir: Some(settings.speech.models_dir.clone()),
        threads: settings.speech.threads,
        simulated: Some(settings.speech.simulated.with(simulator)),
        openai: settings.speech.openai.clone().map(|openai| OpenAiSpeechConfig {
            base_url: openai.base_url.with(simulator),
            // The simulated server takes any key, and wants one.
            api_key: openai
                .api_key
                .or_else(|| matches!(openai.base_url, BaseUrl::Simulated(_)).then(|| "simulated".into())),
            stt_model: openai.stt_model,
            tts_model: openai.tts_model,
            voice: openai.voice,
        }),
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

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use crate::settings::Settings;

    /// Where OpenAI's speech is with these variables, and with which key.
    fn openai(set: &[(&str, &str)]) -> Option<(String, Option<String>)> {
        let lookup = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://vocalbridge:secret@127.0.0.1:5432/vocalbridge".to_owned()),
            "NATS_URL" => Some("nats://127.0.0.1:4222".to_owned()),
            "VOCALBRIDGE_OPERATOR_KEY" => Some("operator-operator".to_owned()),
            "VOCALBRIDGE_SECRET_KEY" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
            _ => set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        };
        let openai = Settings::read(&lookup).unwrap().vendors.speech.openai?;
        let key = openai.api_key.map(|key| key.expose_secret().to_owned());
        Some((openai.base_url.with("http://sim"), key))
    }

    #[test]
    fn speech_is_where_openai_is_unless_it_has_an_address_of_its_own() {
        let key = Some("a".to_owned());
        assert_eq!(openai(&[]), None);
        let usual = "https://api.openai.com/v1".to_owned();
        assert_eq!(openai(&[("OPENAI_API_KEY", "a,b")]), Some((usual, key.clone())));
        let own = [("OPENAI_API_KEY", "a"), ("SPEECH_BASE_URL", "http://whisper:8000/v1")];
        assert_eq!(openai(&own), Some(("http://whisper:8000/v1".to_owned(), None)));
        let own = [("SPEECH_BASE_URL", "simulated"), ("SPEECH_API_KEY", "a")];
        assert_eq!(openai(&own), Some(("http://sim/openai/v1".to_owned(), key)));
    }
}
