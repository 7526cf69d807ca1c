//! The media path: what a call's audio costs, how good it stays, and what the libraries at hand would have made of it.

use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use voice::frames::{FRAME_MS, FrameFormat, Frames};
use voice::g711;

use crate::report;
use crate::resamplers::{Library, Through};

/// The ways that calls go: telephone to recognition, synthesis to telephone, and synthesis to browsers and recordings.
const WAYS: [(u32, u32); 4] = [(8_000, 16_000), (16_000, 8_000), (24_000, 8_000), (24_000, 16_000)];

/// Short rounds of which the best counts, so that others on the machine do not.
const ROUNDS: usize = 40;

/// How one way sounds, and how fast it is.
pub struct Way {
    /// Over the pass band, up to 3.4 kHz: the farthest from 0 dB.
    pub ripple_db: f64,
    /// There, the lowest ratio of tone to everything else.
    pub snr_db: f64,
    /// The loudest tone that should not be there, against the one that made it: an alias of one above the lower Nyquist
    /// frequency, or the image of one below.
    pub unwanted_db: f64,
    pub delay_ms: f64,
    pub times_real_time: f64,
}

pub fn run() -> Result<()> {
    report::media_heading();
    let mut own = Vec::new();
    for (from_hz, to_hz) in WAYS {
        for library in Library::ALL {
            let way = measure(library, from_hz, to_hz)?;
            report::media_way(&format!("{from_hz} to {to_hz} Hz, {}", library.name()), &way);
            if library == Library::Own {
                own.push(way);
            }
        }
    }
    report::media_verdict(&own, mulaw(), framing());
    Ok(())
}

fn measure(library: Library, from_hz: u32, to_hz: u32) -> Result<Way> {
    let through = |input: &[f64]| -> Result<Vec<f64>> { library.through(from_hz, to_hz)?.take_all(input) };
    let (mut ripple_db, mut snr_db, mut unwanted_db) = (0.0f64, f64::INFINITY, f64::NEG_INFINITY);
    for frequency_hz in (100..=3_400).step_by(150) {
        let heard = analysed(&through(&tone(frequency_hz, from_hz))?, frequency_hz, to_hz);
        ripple_db = ripple_db.max(db(heard.level / AMPLITUDE).abs());
        snr_db = snr_db.min(db(heard.level / 2f64.sqrt() / heard.rest));
    }
    // Above the lower Nyquist frequency nothing may be left, and nothing may come from below.
    let (low_nyquist_hz, from_nyquist_hz) = (from_hz.min(to_hz) / 2, from_hz / 2);
    for frequency_hz in (low_nyquist_hz + 10..from_nyquist_hz).step_by(190) {
        let heard = analysed(&through(&tone(frequency_hz, from_hz))?, 10, to_hz);
        unwanted_db = unwanted_db.max(db(heard.rest * 2f64.sqrt() / AMPLITUDE));
    }
    if to_hz > from_hz {
        for frequency_hz in (100..low_nyquist_hz).step_by(190) {
            let heard = analysed(&through(&tone(frequency_hz, from_hz))?, from_hz - frequency_hz, to_hz);
            unwanted_db = unwanted_db.max(db(heard.level / AMPLITUDE));
        }
    }
    Ok(Way {
        ripple_db,
        snr_db,
        unwanted_db,
        delay_ms: delay_ms(&through, from_hz, to_hz)?,
        times_real_time: times_real_time(library.through(from_hz, to_hz)?, from_hz)?,
    })
}

/// By how much the phase falls from one tone to the next.
fn delay_ms(through: &impl Fn(&[f64]) -> Result<Vec<f64>>, from_hz: u32, to_hz: u32) -> Result<f64> {
    let phase = |frequency_hz| -> Result<f64> {
        Ok(analysed(&through(&tone(frequency_hz, from_hz))?, frequency_hz, to_hz).phase)
    };
    Ok((phase(1_000)? - phase(1_010)?).rem_euclid(TAU) / (TAU * 10.0) * 1_000.0)
}

/// A second of sound in frames of 20 ms, as a call brings it.
fn times_real_time(mut through: Through, from_hz: u32) -> Result<f64> {
    let second = tone(1_000, from_hz);
    let frames: Vec<Vec<f32>> = second
        .chunks_exact(from_hz as usize / 50)
        .map(|frame| frame.iter().map(|&sample| sample as f32).collect())
        .collect();
    let samples: Vec<Vec<i16>> =
        frames.iter().map(|frame| frame.iter().map(|&sample| sample as i16).collect()).collect();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for (frame, samples) in frames.iter().zip(&samples) {
            black_box(through.take_frame(samples, frame)?);
        }
        best = best.min(started.elapsed());
    }
    Ok(1.0 / best.as_secs_f64())
}

/// µ-law, there and back.
fn mulaw() -> f64 {
    let second: Vec<i16> = tone(1_000, 8_000).into_iter().map(|sample| sample as i16).collect();
    let (mut coded, mut decoded) = (Vec::with_capacity(160), Vec::with_capacity(160));
    best_of(|| {
        for frame in second.chunks_exact(160) {
            coded.clear();
            decoded.clear();
            g711::pcm_to_mulaw(frame, &mut coded);
            g711::mulaw_to_pcm(black_box(&coded), &mut decoded);
            black_box(&decoded);
        }
    })
}

/// A carrier's chunks of 20 ms, with their time stamps.
fn framing() -> f64 {
    let chunk = [0x55; 160];
    let mut frames = Frames::new(FrameFormat::Mulaw8k);
    let mut stamp_ms = 0;
    best_of(|| {
        for _ in 0..50 {
            frames.push(Some(stamp_ms), &chunk, |number, frame| {
                black_box((number, frame));
            });
            stamp_ms += u64::from(FRAME_MS);
        }
    })
}

/// How many times faster than real time a second of audio was done at best.
fn best_of(mut second: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS * 10 {
        let started = Instant::now();
        second();
        best = best.min(started.elapsed());
    }
    1.0 / best.as_secs_f64()
}

const AMPLITUDE: f64 = 32_000.0;

/// A second of a tone, in the whole numbers that samples are.
fn tone(frequency_hz: u32, rate_hz: u32) -> Vec<f64> {
    let angle = TAU * f64::from(frequency_hz) / f64::from(rate_hz);
    (0..rate_hz).map(|at| (AMPLITUDE * (angle * f64::from(at)).sin()).round()).collect()
}

/// A tone in a sound.
struct Heard {
    level: f64,
    /// How far it is ahead, in radians.
    phase: f64,
    /// The root mean square of everything else.
    rest: f64,
}

/// Over half a second past the first tenth: whole periods of every multiple of 10 Hz.
fn analysed(samples: &[f64], frequency_hz: u32, rate_hz: u32) -> Heard {
    let length = rate_hz as usize / 2;
    let samples = &samples[rate_hz as usize / 10..][..length];
    let step = TAU * f64::from(frequency_hz) / f64::from(rate_hz);
    let along = |wave: fn(f64) -> f64| {
        let products = samples.iter().enumerate().map(|(at, sample)| sample * wave(step * at as f64));
        2.0 / length as f64 * products.sum::<f64>()
    };
    let (sine, cosine) = (along(f64::sin), along(f64::cos));
    let tone = |at: usize| sine * (step * at as f64).sin() + cosine * (step * at as f64).cos();
    let rest: f64 = samples.iter().enumerate().map(|(at, sample)| (sample - tone(at)).powi(2)).sum();
    Heard { level: sine.hypot(cosine), phase: cosine.atan2(sine), rest: (rest / length as f64).sqrt() }
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-9).log10()
}
