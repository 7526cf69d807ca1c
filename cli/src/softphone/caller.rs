//! The caller's voice: from a file, or from the local engine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vendors::speech::SpeechConfig;
use vendors::tts::{SpeechFormat, TtsEngines, TtsTarget};
use voice::containers::{self, Limits};
use voice::resample::Resampler;

use crate::settings::environment;
use crate::speech::DEFAULT_MODELS_DIR;
use crate::system::wall_clock;

const SAMPLE_RATE_HZ: u32 = 16_000;
/// Of a file that is played.
const LIMITS: Limits = Limits { bytes: 100_000_000, seconds: 3_600 };

/// Speaks texts.
pub struct Caller {
    engines: TtsEngines,
}

impl Caller {
    /// # Errors
    /// When the models are not installed.
    pub fn new() -> Result<Self> {
        let models_dir =
            environment("VOCALBRIDGE_MODELS_DIR").map_or(DEFAULT_MODELS_DIR.into(), PathBuf::from);
        let config = SpeechConfig { models_dir: Some(models_dir), ..SpeechConfig::default() };
        let (_, engines) = vendors::speech::engines(config, wall_clock)?;
        Ok(Self { engines })
    }

    /// 16 kHz samples of `text`.
    ///
    /// # Errors
    /// When the engine cannot speak.
    pub async fn speak(&self, text: &str) -> Result<Vec<i16>> {
        let target = TtsTarget {
            provider: "local".to_owned(),
            model: None,
            voice: None,
            language: "en-US".to_owned(),
        };
        let words = voice::speakable::speakable(text, &target.language);
        let wanted = SpeechFormat::Pcm16 { sample_rate_hz: SAMPLE_RATE_HZ };
        let mut speaking = self.engines.speak(&target, &words, wanted).await?;
        let SpeechFormat::Pcm16 { sample_rate_hz } = speaking.format() else {
            anyhow::bail!("the local voice speaks PCM");
        };
        let mut resampler = Resampler::new(sample_rate_hz, SAMPLE_RATE_HZ);
        let mut samples = Vec::new();
        while let Some(audio) = speaking.next().await? {
            let narrow: Vec<i16> =
                audio.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            resampler.process(&narrow, &mut samples);
        }
        resampler.flush(&mut samples);
        Ok(samples)
    }
}

/// 16 kHz samples of a file.
///
/// # Errors
/// When it cannot be read or decoded.
pub fn read(path: &Path) -> Result<Vec<i16>> {
    let file = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut samples = Vec::new();
    containers::decode(&file, LIMITS, |decoded| samples.extend_from_slice(decoded))
        .with_context(|| format!("cannot decode {}", path.display()))?;
    Ok(samples)
}

/// Writes a stereo WAV.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, left: &[i16], right: &[i16]) -> Result<()> {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: SAMPLE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let failed = || format!("cannot write {}", path.display());
    let mut file = hound::WavWriter::create(path, spec).with_context(failed)?;
    for (left, right) in left.iter().zip(right) {
        file.write_sample(*left).with_context(failed)?;
        file.write_sample(*right).with_context(failed)?;
    }
    file.finalize().with_context(failed)
}
