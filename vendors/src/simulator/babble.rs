//! A voice without words, made once and cut to length.

use std::sync::LazyLock;

use bytes::Bytes;

/// About what a quick speaker needs for a character.
const MS_PER_CHARACTER: u64 = 60;
/// Of one voice; longer speech repeats it.
const LOOP_MS: usize = 4_000;
const PIECE_MS: usize = 500;

/// How long a text is spoken.
pub(super) fn ms_for(text: &str) -> u64 {
    text.chars().count() as u64 * MS_PER_CHARACTER
}

/// The voice in one format.
pub(super) struct Babble {
    name: &'static str,
    pub(super) content_type: &'static str,
    bytes_per_ms: usize,
    audio: &'static LazyLock<Bytes>,
}

static MULAW_8000: LazyLock<Bytes> = LazyLock::new(|| samples(8).map(mulaw).collect());
static PCM16_8000: LazyLock<Bytes> = LazyLock::new(|| samples(8).flat_map(i16::to_le_bytes).collect());
static PCM16_16000: LazyLock<Bytes> = LazyLock::new(|| samples(16).flat_map(i16::to_le_bytes).collect());
static PCM16_24000: LazyLock<Bytes> = LazyLock::new(|| samples(24).flat_map(i16::to_le_bytes).collect());

impl Babble {
    pub(super) const MULAW_8000: Self =
        Self { name: "mulaw_8000", content_type: "audio/basic", bytes_per_ms: 8, audio: &MULAW_8000 };
    pub(super) const PCM16_24000: Self =
        Self { name: "pcm16_24000", content_type: "audio/pcm", bytes_per_ms: 48, audio: &PCM16_24000 };
    const ALL: [Self; 4] = [
        Self::MULAW_8000,
        Self { name: "pcm16_8000", content_type: "audio/pcm", bytes_per_ms: 16, audio: &PCM16_8000 },
        Self { name: "pcm16_16000", content_type: "audio/pcm", bytes_per_ms: 32, audio: &PCM16_16000 },
        Self::PCM16_24000,
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|babble| babble.name == name)
    }

    /// Pieces of this many milliseconds in all.
    pub(super) fn ms(&self, ms: u64) -> Vec<Bytes> {
        self.bytes(usize::try_from(ms).unwrap_or(usize::MAX).saturating_mul(self.bytes_per_ms))
    }

    /// Pieces of this many bytes in all. Nothing is copied.
    pub(super) fn bytes(&self, mut left: usize) -> Vec<Bytes> {
        let (audio, piece) = (&**self.audio, PIECE_MS * self.bytes_per_ms);
        let mut pieces = Vec::new();
        let mut at = 0;
        while left > 0 {
            let length = piece.min(left);
            pieces.push(audio.slice(at..at + length));
            left -= length;
            at = (at + length) % audio.len();
        }
        pieces
    }
}

/// Four syllables a second, each a vowel's worth of overtones that swells and fades.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "small whole numbers, and back"
)]
fn samples(per_ms: usize) -> impl Iterator<Item = i16> {
    (0..LOOP_MS * per_ms).map(move |at| {
        let seconds = at as f64 / (per_ms as f64 * 1_000.0);
        let pitch = 120.0 + 20.0 * (std::f64::consts::TAU * 0.5 * seconds).sin();
        let tone = |overtone: f64| (std::f64::consts::TAU * pitch * overtone * seconds).sin() / overtone;
        let voice: f64 = [1.0, 2.0, 3.0, 4.0, 5.0].into_iter().map(tone).sum();
        let swell = (std::f64::consts::PI * 4.0 * seconds).sin().abs();
        (voice * swell * 8_000.0) as i16
    })
}

/// G.711 µ-law of one sample (ITU-T G.711, table 2a).
fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (sample.unsigned_abs() >> 2).min(8_158) + 33;
    let segment = (magnitude >> 5).ilog2().min(7);
    let step = (magnitude >> (segment + 1)) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voice_is_as_long_as_its_text_in_every_format() {
        for babble in Babble::ALL {
            for text in ["", "a", "Your invoice is paid.", &"long ".repeat(100)] {
                let bytes: usize = babble.ms(ms_for(text)).iter().map(Bytes::len).sum();
                assert_eq!(bytes, text.len() * 60 * babble.bytes_per_ms, "{} {text}", babble.name);
            }
        }
    }

    #[test]
    fn samples_are_coded_as_the_standard_has_them() {
        let coded = [0, -1, 100, -100, 1_000, -1_000, 32_767, i16::MIN].map(mulaw);
        assert_eq!(coded, [0xff, 0x7f, 0xf2, 0x72, 0xce, 0x4e, 0x80, 0x00]);
    }

    #[test]
    fn the_voice_is_loud_enough_to_be_heard_and_not_clipped() {
        let loudest = samples(16).map(i16::unsigned_abs).max();
        assert!(loudest.is_some_and(|loudest| (4_000..32_000).contains(&loudest)), "{loudest:?}");
    }
}
