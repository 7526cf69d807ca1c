//! What every caller says, as frames of Twilio's on their way to us.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use voice::g711::pcm_to_mulaw;
use voice::resample::Resampler;
use voice::vad::{FRAME_SAMPLES, GateConfig, SpeechGate, Vad, level_dbfs};

/// 1.8 s of speech, 16 kHz; see `voice/fixtures/README.md`.
const RECORDED: &[u8] = include_bytes!("../../../voice/fixtures/not_an_ill_disposed.s16le");
const RECORDED_HZ: u32 = 16_000;
const TELEPHONE_HZ: u32 = 8_000;
/// µ-law bytes of 20 ms.
const FRAME_BYTES: usize = 160;

/// Frames of µ-law in base64.
pub struct Clip {
    pub frames: Vec<String>,
    /// The last frame that holds voice.
    pub last_voiced: usize,
    /// A line on which nobody speaks is not dead: the quietest noise that µ-law knows, 72 dB below full scale.
    quiet: Vec<String>,
}

/// The smallest steps of µ-law, up and down.
const SMALLEST_STEPS: [u8; 4] = [0xff, 0x7f, 0xfe, 0x7e];
const QUIET_FRAMES: usize = 50;

impl Clip {
    pub fn recorded() -> Self {
        let samples: Vec<i16> =
            RECORDED.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        let (mut vad, mut gate) = (Vad::new(), SpeechGate::new(GateConfig::default()));
        for (frame, chunk) in (0..).zip(samples.chunks_exact(FRAME_SAMPLES)) {
            let probability = vad.push(chunk);
            gate.push(frame, level_dbfs(chunk), probability);
        }
        let (mut resampler, mut narrow, mut coded) =
            (Resampler::new(RECORDED_HZ, TELEPHONE_HZ), Vec::new(), Vec::new());
        resampler.process(&samples, &mut narrow);
        resampler.flush(&mut narrow);
        pcm_to_mulaw(&narrow, &mut coded);
        Self {
            frames: coded.chunks_exact(FRAME_BYTES).map(|frame| STANDARD.encode(frame)).collect(),
            last_voiced: gate.last_voiced().unwrap_or_default() as usize,
            quiet: quiet(),
        }
    }

    /// The message that carries frame `at` of the clip, `None` an empty line, as the stream's message `number`.
    pub fn message(&self, at: Option<usize>, number: u64) -> String {
        let quiet = &self.quiet[number as usize % QUIET_FRAMES];
        let payload = at.and_then(|at| self.frames.get(at)).unwrap_or(quiet);
        format!(
            r#"{{"event":"media","sequenceNumber":"{}","streamSid":"MZ1","media":{{"track":"inbound","chunk":"{}","timestamp":"{}","payload":"{payload}"}}}}"#,
            number + 2,
            number + 1,
            number * 20,
        )
    }
}

fn quiet() -> Vec<String> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut frame = || [0; FRAME_BYTES].map(|_| SMALLEST_STEPS[random.random_range(..SMALLEST_STEPS.len())]);
    (0..QUIET_FRAMES).map(|_| STANDARD.encode(frame())).collect()
}
