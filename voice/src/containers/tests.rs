use proptest::prelude::*;

use super::*;
use crate::levels::{SILENCE_DBFS, rms_dbfs};
use crate::mp3;

const LIMITS: Limits = Limits { bytes: 1_000_000, seconds: 60 };

// Half a second of 440 Hz, half a second of silence, half a second of 1,000 Hz; made with ffmpeg from our own samples.
const M4A: &[u8] = include_bytes!("../../fixtures/tones.m4a");
const M4A_INDEX_LAST: &[u8] = include_bytes!("../../fixtures/tones-moov-last.m4a");
const MP3: &[u8] = include_bytes!("../../fixtures/tones.mp3");
const OGG_OPUS: &[u8] = include_bytes!("../../fixtures/tones.ogg");
const OGG_VORBIS: &[u8] = include_bytes!("../../fixtures/tones-vorbis.ogg");
const WEBM: &[u8] = include_bytes!("../../fixtures/tones.webm");
const WEBM_STEREO: &[u8] = include_bytes!("../../fixtures/tones-stereo.webm");
/// As browsers make it: without a length and without an end.
const WEBM_LIVE: &[u8] = include_bytes!("../../fixtures/tones-live.webm");

const ALL: [&[u8]; 8] = [M4A, M4A_INDEX_LAST, MP3, OGG_OPUS, OGG_VORBIS, WEBM, WEBM_STEREO, WEBM_LIVE];

fn heard(file: &[u8]) -> (Result<Duration, DecodeError>, Vec<i16>) {
    let mut samples = Vec::new();
    let result = decode(file, LIMITS, |more| {
        assert!(more.len() <= 5 * GIVEN_AT_ONCE, "in pieces");
        samples.extend_from_slice(more);
    });
    (result, samples)
}

/// The same sound at any rate.
fn tones(rate_hz: u32) -> Vec<i16> {
    let sample = |at: u32| {
        let time = f64::from(at) / f64::from(rate_hz);
        let frequency = [440.0, 0.0, 1_000.0][(time / 0.5) as usize];
        (12_000.0 * (std::f64::consts::TAU * frequency * time).sin()) as i16
    };
    (0..rate_hz * 3 / 2).map(sample).collect()
}

/// A WAV file of 16 bits, whose header says that it has so many bytes of samples.
fn wav(samples: &[i16], channels: u16, rate_hz: u32, said_bytes: u32) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend(said_bytes.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz.wrapping_mul(u32::from(channels) * 2)).to_le_bytes());
    file.extend((channels * 2).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(said_bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

fn whole_wav(samples: &[i16], channels: u16, rate_hz: u32) -> Vec<u8> {
    wav(samples, channels, rate_hz, samples.len() as u32 * 2)
}

/// How much of a sound's energy is one tone, from 0 to 1.
fn purity(samples: &[i16], frequency_hz: f64) -> f64 {
    let along = |wave: fn(f64) -> f64| {
        let angle = |at: usize| std::f64::consts::TAU * frequency_hz * at as f64 / f64::from(SAMPLE_RATE_HZ);
        samples.iter().enumerate().map(|(at, &sample)| f64::from(sample) * wave(angle(at))).sum::<f64>()
    };
    let energy: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    (along(f64::sin).powi(2) + along(f64::cos).powi(2)) * 2.0 / samples.len() as f64 / energy.max(1.0)
}

#[track_caller]
fn assert_tones(what: &str, file: &[u8]) {
    let (result, samples) = heard(file);
    let length = result.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(length.as_millis(), samples.len() as u128 / 16, "{what}");
    assert!((1_450..1_560).contains(&length.as_millis()), "{what}: {length:?}");
    let (low, pause, high) = (&samples[1_600..7_200], &samples[9_600..14_400], &samples[17_600..23_200]);
    assert!(purity(low, 440.0) > 0.98, "{what}: {}", purity(low, 440.0));
    assert!(purity(high, 1_000.0) > 0.98, "{what}: {}", purity(high, 1_000.0));
    assert!((rms_dbfs(low) + 11.7).abs() < 1.0, "{what}: {} dB", rms_dbfs(low));
    assert!(rms_dbfs(pause) < -55.0, "{what}: {} dB", rms_dbfs(pause));
}

#[test]
fn every_container_is_heard() {
    assert_tones("m4a", M4A);
    assert_tones("m4a with its index last", M4A_INDEX_LAST);
    assert_tones("mp3", MP3);
    assert_tones("our own mp3", &mp3::encode(&tones(24_000), 24_000).unwrap());
    assert_tones("ogg with opus", OGG_OPUS);
    assert_tones("webm", WEBM);
    assert_tones("webm in stereo", WEBM_STEREO);
    assert_tones("webm of a browser", WEBM_LIVE);
}

#[test]
fn wav_is_heard_at_any_rate_and_with_any_channels() {
    for rate_hz in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000] {
        assert_tones(&format!("wav at {rate_hz} Hz"), &whole_wav(&tones(rate_hz), 1, rate_hz));
    }
    let six: Vec<i16> = tones(16_000).into_iter().flat_map(|sample| [sample; 6]).collect();
    assert_tones("wav with six channels", &whole_wav(&six, 6, 16_000));
}

#[test]
fn wav_at_16_khz_is_what_it_was() {
    let samples = tones(16_000);
    assert_eq!(heard(&whole_wav(&samples, 1, 16_000)).1, samples);
}

#[test]
fn a_wav_that_was_piped_does_not_know_its_length() {
    assert_tones("piped wav", &wav(&tones(16_000), 1, 16_000, u32::MAX));
}

#[test]
fn nothing_is_empty_and_garbage_is_unrecognised() {
    assert_eq!(heard(b"").0, Err(DecodeError::Empty));
    assert_eq!(heard(b"RIF").0, Err(DecodeError::Unrecognised));
    assert_eq!(heard(b"%PDF-1.7 and so on").0, Err(DecodeError::Unrecognised));
    assert_eq!(heard(&[0x55; 100_000]).0, Err(DecodeError::Unrecognised));
}

#[test]
fn a_file_without_a_sample_has_no_sound() {
    assert_eq!(heard(&whole_wav(&[], 1, 16_000)).0, Err(DecodeError::NoSound));
}

#[test]
fn bytes_are_counted_first() {
    let limits = Limits { bytes: 100, seconds: 60 };
    let error = decode(&[0x55; 101], limits, |_| panic!("it must not be decoded"));
    assert_eq!(error, Err(DecodeError::TooLarge { bytes: 101, limit: 100 }));
}

#[test]
fn what_says_that_it_is_too_long_is_not_decoded() {
    for file in [M4A, MP3, OGG_OPUS, WEBM, &whole_wav(&tones(48_000), 1, 48_000)] {
        let limits = Limits { seconds: 1, ..LIMITS };
        let error = decode(file, limits, |_| panic!("it must not be decoded"));
        assert_eq!(error, Err(DecodeError::TooLong { limit: 1 }));
    }
    // Hours, in a few bytes.
    let bomb = wav(&[0; 100], 1, 8_000, u32::MAX - 100);
    assert_eq!(heard(&bomb).0, Err(DecodeError::TooLong { limit: 60 }));
}

#[test]
fn what_does_not_say_how_long_it_is_is_stopped() {
    for file in [WEBM_LIVE, &wav(&tones(48_000), 1, 48_000, u32::MAX)] {
        let mut samples = 0;
        let limits = Limits { seconds: 1, ..LIMITS };
        assert_eq!(
            decode(file, limits, |more| samples += more.len()),
            Err(DecodeError::TooLong { limit: 1 })
        );
        assert!(samples <= 16_000, "{samples}");
    }
}

#[test]
fn what_ends_too_early_is_cut() {
    let wav = whole_wav(&tones(16_000), 1, 16_000);
    for (what, file) in [("wav", &wav[..]), ("mp3", MP3), ("ogg", OGG_OPUS), ("webm", WEBM)] {
        let (result, samples) = heard(&file[..file.len() * 6 / 10]);
        assert_eq!(result, Err(DecodeError::Cut), "{what}");
        assert!(samples.len() < 21_000, "{what}");
    }
    for file in [M4A, M4A_INDEX_LAST] {
        let error = heard(&file[..file.len() * 6 / 10]).0.unwrap_err();
        assert!(matches!(error, DecodeError::Cut | DecodeError::Damaged), "{error}");
    }
    // Where nothing was announced, what is there is the whole.
    assert!(heard(&WEBM_LIVE[..WEBM_LIVE.len() * 6 / 10]).0.is_ok());
}

#[test]
fn a_sample_rate_that_no_one_speaks_at_is_refused() {
    for rate_hz in [1, 1_000, 768_000, u32::MAX] {
        let error = heard(&wav(&tones(16_000), 1, rate_hz, 40_000)).0.unwrap_err();
        assert!(!matches!(error, DecodeError::Empty | DecodeError::Unrecognised), "{rate_hz}: {error}");
    }
}

/// Its decoder would make gigabytes of a few kilobytes of codebooks.
#[test]
fn vorbis_is_not_decoded() {
    let error = heard(OGG_VORBIS).0.unwrap_err();
    assert!(matches!(error, DecodeError::Unsupported(_)), "{error}");
}

#[test]
fn silence_is_sound_too() {
    let (result, samples) = heard(&whole_wav(&[0; 16_000], 1, 16_000));
    assert_eq!((result, rms_dbfs(&samples)), (Ok(Duration::from_secs(1)), SILENCE_DBFS));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes behind a right beginning, and any damage to a right file: an answer, in bounded time and length.
    #[test]
    fn no_file_does_harm(
        which in 0usize..ALL.len(),
        kept in 0usize..14_000,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        tail in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut file = ALL[which][..kept.min(ALL[which].len())].to_vec();
        file.extend(tail);
        for (at, byte) in damage {
            if !file.is_empty() {
                let at = at.index(file.len());
                file[at] = byte;
            }
        }
        let (_, samples) = heard(&file);
        prop_assert!(samples.len() <= 60 * 16_000);
    }

    /// Damage to the first bytes, where lengths and counts are.
    #[test]
    fn no_header_does_harm(which in 0usize..ALL.len() + 1, at in 4usize..700, bytes in prop::collection::vec(any::<u8>(), 1..8)) {
        let mut file = match ALL.get(which) {
            Some(file) => file.to_vec(),
            None => whole_wav(&tones(8_000), 1, 8_000),
        };
        let end = (at + bytes.len()).min(file.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        let (_, samples) = heard(&file);
        prop_assert!(samples.len() <= 60 * 16_000);
    }

    #[test]
    fn no_opus_packet_does_harm(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8)) {
        let mut stream = OpusStream::new(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0").unwrap();
        for packet in packets {
            if let Some(samples) = stream.decode(&packet) {
                prop_assert!(samples.len() <= 1_920);
            }
        }
    }

    #[test]
    fn no_opus_head_does_harm(head in prop::collection::vec(any::<u8>(), 0..30)) {
        OpusStream::new(&head);
        OpusStream::new(&[b"OpusHead", head.as_slice()].concat());
    }
}
