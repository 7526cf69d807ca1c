//! How the recordings begin: quiet, and then somebody speaks.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use voice::vad::FRAME_SAMPLES;

/// So far above the quiet of its recording is a frame with voice, in dB: above what was noise there (within 7 dB), and
/// 15 dB and more below speech.
const ABOVE_QUIET_DB: f64 = 10.0;
/// Of all frames of a recording so many are quiet.
const QUIET_SHARE: usize = 10;
/// What of a recording is said: enough to be an interruption.
const SAID_FRAMES: usize = 100;
/// Said before the first voiced frame: the speaker draws breath.
const BEFORE_FRAMES: usize = 10;
/// A WAV file's samples begin here.
const WAV_HEADER_BYTES: usize = 44;

/// The beginning of a recording, 16 kHz.
pub struct Opening {
    samples: Vec<i16>,
    /// The level of a frame with voice in it: its mean square.
    voiced: f64,
}

/// Those of LibriVox in the sources of pocketsphinx.
///
/// # Errors
/// When they cannot be read, or are none.
pub fn all(recordings: &Path) -> Result<Vec<Opening>> {
    let mut openings = Vec::new();
    for entry in std::fs::read_dir(recordings)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wav") {
            openings.push(Opening::of(&path).with_context(|| path.display().to_string())?);
        }
    }
    ensure!(!openings.is_empty(), "there are no recordings in {}", recordings.display());
    Ok(openings)
}

impl Opening {
    fn of(path: &Path) -> Result<Self> {
        let file = std::fs::read(path)?;
        let samples = file.get(WAV_HEADER_BYTES..).context("it is too short")?;
        let samples: Vec<i16> =
            samples.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect();
        let mut levels: Vec<f64> = samples.chunks_exact(FRAME_SAMPLES).map(mean_square).collect();
        levels.sort_by(f64::total_cmp);
        let quiet = &levels[..levels.len() / QUIET_SHARE];
        let quiet = quiet.iter().sum::<f64>() / quiet.len() as f64;
        let opening = Self { samples, voiced: quiet * 10_f64.powf(ABOVE_QUIET_DB / 10.0) };
        ensure!(opening.first_voiced(0) >= BEFORE_FRAMES, "it begins in the middle of a word");
        Ok(opening)
    }

    /// What is said, with the borders of frames `shift` samples later, and which of the frames is the first with voice.
    pub fn said(&self, shift: usize) -> (Vec<[i16; FRAME_SAMPLES]>, usize) {
        let first_voiced = self.first_voiced(shift);
        let before = first_voiced.min(BEFORE_FRAMES);
        let frames = self.frames(shift).skip(first_voiced - before).take(SAID_FRAMES);
        (frames.filter_map(|frame| frame.try_into().ok()).collect(), before)
    }

    fn first_voiced(&self, shift: usize) -> usize {
        self.frames(shift).position(|frame| mean_square(frame) >= self.voiced).unwrap_or_default()
    }

    fn frames(&self, shift: usize) -> impl Iterator<Item = &[i16]> {
        self.samples[shift..].chunks_exact(FRAME_SAMPLES)
    }
}

fn mean_square(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
}
