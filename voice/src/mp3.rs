//! Speech as MP3, one channel, for those who play it as a file.

use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};

/// The sample rates that MP3 has, and the bit rate in kbit/s at which speech in them sounds as before.
const RATES: [(u32, u32); 9] = [
    (8_000, 24),
    (11_025, 32),
    (12_000, 32),
    (16_000, 48),
    (22_050, 56),
    (24_000, 64),
    (32_000, 64),
    (44_100, 96),
    (48_000, 96),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("MP3 has no sample rate of {0} Hz")]
pub struct UnsupportedRate(pub u32);

/// Makes MP3 while the speech is still coming. What it makes can be cut off and joined at any time; a player adds some
/// 50 ms of silence, for the length is not known at its beginning. [`encode`] has not that blemish.
pub struct Encoder {
    encoder: Mp3Encoder,
    sample_rate_hz: u32,
    /// The first packet is a table of contents, which could be filled in at the end only.
    contents_passed: bool,
}

impl Encoder {
    /// # Errors
    ///
    /// MP3 has nine sample rates, 16 and 24 kHz among them.
    pub fn new(sample_rate_hz: u32) -> Result<Self, UnsupportedRate> {
        Ok(Self { encoder: encoder(sample_rate_hz)?, sample_rate_hz, contents_passed: false })
    }

    /// Appends the frames that are complete with these samples.
    pub fn encode(&mut self, samples: &[i16], mp3: &mut Vec<u8>) {
        push(&mut self.encoder, samples, self.sample_rate_hz);
        self.drain(mp3);
    }

    /// Appends the rest.
    pub fn finish(mut self, mp3: &mut Vec<u8>) {
        self.encoder.finish();
        self.drain(mp3);
    }

    fn drain(&mut self, mp3: &mut Vec<u8>) {
        while let Ok(packet) = self.encoder.next_packet() {
            if self.contents_passed {
                mp3.extend_from_slice(&packet);
            }
            self.contents_passed = true;
        }
    }
}

/// A whole file, which tells its length: as much comes out of a player as is in `samples`.
///
/// # Errors
///
/// MP3 has nine sample rates, 16 and 24 kHz among them.
pub fn encode(samples: &[i16], sample_rate_hz: u32) -> Result<Vec<u8>, UnsupportedRate> {
    let (mut encoder, mut mp3) = (encoder(sample_rate_hz)?, Vec::new());
    push(&mut encoder, samples, sample_rate_hz);
    encoder.finish();
    while let Ok(packet) = encoder.next_packet() {
        mp3.extend_from_slice(&packet);
    }
    Ok(mp3)
}

fn encoder(sample_rate_hz: u32) -> Result<Mp3Encoder, UnsupportedRate> {
    let found = RATES.iter().find(|(rate_hz, _)| *rate_hz == sample_rate_hz);
    let (_, bitrate_kbps) = *found.ok_or(UnsupportedRate(sample_rate_hz))?;
    Ok(Mp3Encoder::new(Mp3EncoderConfig { bitrate_kbps, vbr_quality: None }))
}

fn push(encoder: &mut Mp3Encoder, samples: &[i16], sample_rate_hz: u32) {
    let pushed = encoder.push_pcm_s16(samples, 1, sample_rate_hz);
    debug_assert!(pushed.is_ok(), "only an unknown rate is refused, and that was looked up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::{Limits, decode};
    use crate::resample::Resampler;

    /// Speech-like: a gliding tone with overtones, swelling and fading.
    fn sound(sample_rate_hz: u32) -> Vec<i16> {
        let sample = |at: u32| {
            let time = f64::from(at) / f64::from(sample_rate_hz);
            let phase = std::f64::consts::TAU * (150.0 * time + 40.0 * time * time);
            let tone: f64 = (1..=8).map(|n| (f64::from(n) * phase).sin() / f64::from(n)).sum();
            (8_000.0 * tone * (4.0 * time).sin()) as i16
        };
        (0..sample_rate_hz * 3).map(sample).collect()
    }

    fn decoded(mp3: &[u8]) -> Vec<i16> {
        let mut samples = Vec::new();
        decode(mp3, Limits { bytes: mp3.len(), seconds: 60 }, |more| samples.extend_from_slice(more))
            .unwrap();
        samples
    }

    /// Ratio of sound to difference, in decibels.
    fn snr_db(sound: &[i16], heard: &[i16]) -> f64 {
        let energy: f64 = sound.iter().map(|&sample| f64::from(sample).powi(2)).sum();
        let noise: f64 = sound.iter().zip(heard).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        10.0 * (energy / noise.max(1.0)).log10()
    }

    #[test]
    fn a_file_is_heard_as_it_was_and_as_long() {
        for sample_rate_hz in [16_000, 24_000] {
            let sound = sound(sample_rate_hz);
            let heard = decoded(&encode(&sound, sample_rate_hz).unwrap());
            let (mut expected, mut resampler) = (Vec::new(), Resampler::new(sample_rate_hz, 16_000));
            resampler.process(&sound, &mut expected);
            resampler.flush(&mut expected);
            expected.drain(..resampler.delay());
            assert_eq!(heard.len(), 48_000);
            let snr_db = snr_db(&expected, &heard);
            assert!(snr_db > 20.0, "{sample_rate_hz} Hz: {snr_db:.1} dB");
        }
    }

    #[test]
    fn a_stream_has_the_same_frames_however_it_was_cut() {
        let sound = sound(24_000);
        let whole = encode(&sound, 24_000).unwrap();
        for cut in [1, 333, 480, 100_000] {
            let (mut encoder, mut mp3) = (Encoder::new(24_000).unwrap(), Vec::new());
            sound.chunks(cut).for_each(|samples| encoder.encode(samples, &mut mp3));
            assert!(cut > 1_000 || !mp3.is_empty(), "frames come before the end");
            encoder.finish(&mut mp3);
            assert!(
                whole.ends_with(&mp3) && whole.len() - mp3.len() < 1_000,
                "all but the table of contents"
            );
        }
    }

    #[test]
    fn the_bit_rate_is_that_of_speech() {
        let bytes = encode(&sound(24_000), 24_000).unwrap().len();
        assert!((8_000 * 3..8_000 * 3 + 1_500).contains(&bytes), "{bytes}");
    }

    #[test]
    fn an_unknown_rate_is_refused() {
        assert_eq!(encode(&[], 15_999), Err(UnsupportedRate(15_999)));
        assert!(Encoder::new(0).is_err());
    }

    #[test]
    fn nothing_makes_nothing() {
        let mut mp3 = Vec::new();
        Encoder::new(16_000).unwrap().finish(&mut mp3);
        assert_eq!(mp3, []);
    }
}
