//! What every caller says, as frames of Twilio's on their way to us.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use voice::g711::{MULAW_SILENCE, pcm_to_mulaw};
use voice::resample::Resampler;
use voice::vad::{FRAME_SAMPLES, GateConfig, SpeechGate, Vad};

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
    silence: String,
}

impl Clip {
    pub fn recorded() -> Self {
        let samples: Vec<i16> =
            RECORDED.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        let (mut vad, mut gate) = (Vad::new(), SpeechGate::new(GateConfig::default()));
        for (frame, chunk) in (0..).zip(samples.chunks_exact(FRAME_SAMPLES)) {
            let probability = vad.push(chunk);
            gate.push(frame, chunk, probability);
        }
        let (mut resampler, mut narrow, mut coded) =
            (Resampler::new(RECORDED_HZ, TELEPHONE_HZ), Vec::new(), Vec::new());
        resampler.process(&samples, &mut narrow);
        resampler.flush(&mut narrow);
        pcm_to_mulaw(&narrow, &mut coded);
        Self {
            frames: coded.chunks_exact(FRAME_BYTES).map(|frame| STANDARD.encode(frame)).collect(),
            last_voiced: gate.last_voiced().unwrap_or_default() as usize,
            silence: STANDARD.encode([MULAW_SILENCE; FRAME_BYTES]),
        }
    }

    /// The message that carries frame `at` of the clip, `None` silence, as the stream's message `number`.
    pub fn message(&self, at: Option<usize>, number: u64) -> String {
        let payload = at.and_then(|at| self.frames.get(at)).unwrap_or(&self.silence);
        format!(
            r#"{{"event":"media","sequenceNumber":"{}","streamSid":"MZ1","media":{{"track":"inbound","chunk":"{}","timestamp":"{}","payload":"{payload}"}}}}"#,
            number + 2,
            number + 1,
            number * 20,
        )
    }
}
