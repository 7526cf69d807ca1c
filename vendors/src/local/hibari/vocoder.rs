//! From a spectrum, frame by frame, to sound: pulses at the voice's pitch shaped by the spectrum of its harmonics, shaped
//! noise, and what is neither.

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Samples of a window, and between two windows: 50 and 12.5 ms.
const WINDOW: usize = 1_200;
const HOP: usize = 300;
const BINS: usize = WINDOW / 2 + 1;
const SAMPLE_RATE: f32 = super::SAMPLE_RATE_HZ as f32;
/// Below this there is no voice.
const LEAST_PITCH_HZ: f32 = 40.0;
const HIGHEST_HARMONIC_HZ: f32 = 11_000.0;
/// Of logarithms of magnitudes: e⁷ is louder than anything right.
const LOUDEST_LOG: f32 = 7.0;

/// Of every part but the pitch there are [`BINS`] rows with a value for each frame.
pub(super) struct Spectrum<'a> {
    pub(super) harmonics: &'a [f32],
    pub(super) phase_shift: &'a [f32],
    pub(super) noise: &'a [f32],
    pub(super) rest: &'a [f32],
    pub(super) rest_phase: &'a [f32],
    pub(super) pitch_hz: &'a [f32],
}

pub(super) struct Vocoder {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
}

impl Vocoder {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let window = (0..WINDOW).map(|at| 0.5 - 0.5 * (TAU * at as f32 / WINDOW as f32).cos()).collect();
        Self { forward: planner.plan_fft_forward(WINDOW), inverse: planner.plan_fft_inverse(WINDOW), window }
    }

    /// [`HOP`] samples for each frame, mostly within ±1. `None`: the parts do not fit together.
    pub(super) fn audio(&self, spectrum: &Spectrum<'_>, seed: u64) -> Option<Vec<f32>> {
        let frames = spectrum.pitch_hz.len();
        let parts =
            [spectrum.harmonics, spectrum.phase_shift, spectrum.noise, spectrum.rest, spectrum.rest_phase];
        if frames == 0 || parts.iter().any(|part| part.len() != BINS * frames) {
            return None;
        }
        let source = pulses(spectrum.pitch_hz);
        let mut noise = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut audio = vec![0.0; frames * HOP + WINDOW - HOP];
        let mut weights = audio.clone();
        let (mut samples, mut bins) = (self.forward.make_input_vec(), self.forward.make_output_vec());
        for frame in 0..frames {
            for (at, sample) in samples.iter_mut().enumerate() {
                *sample = mirrored(&source, frame * HOP + at) * self.window[at] / (WINDOW / 4) as f32;
            }
            self.forward.process(&mut samples, &mut bins).ok()?;
            for (row, bin) in bins.iter_mut().enumerate() {
                let at = row * frames + frame;
                let magnitude = |log: f32| log.min(LOUDEST_LOG).exp();
                let shaped = Complex32::from_polar(
                    magnitude(spectrum.harmonics[at]),
                    spectrum.phase_shift[at].tanh() * PI,
                );
                let rest = Complex32::from_polar(magnitude(spectrum.rest[at]), spectrum.rest_phase[at]);
                *bin = *bin * shaped + gaussian(&mut noise) * magnitude(spectrum.noise[at]) + rest;
            }
            // Of a real signal these are real.
            bins[0].im = 0.0;
            bins[BINS - 1].im = 0.0;
            self.inverse.process(&mut bins, &mut samples).ok()?;
            for (at, sample) in samples.iter().enumerate() {
                audio[frame * HOP + at] += sample / WINDOW as f32 * self.window[at];
                weights[frame * HOP + at] += self.window[at] * self.window[at];
            }
        }
        let middle = WINDOW / 2..WINDOW / 2 + frames * HOP;
        // The last half window lies outside of all frames.
        let weighed = audio.iter().zip(&weights).map(|(sample, weight)| sample / weight.max(1e-11));
        let mut spoken: Vec<f32> = weighed.skip(middle.start).take(middle.len()).collect();
        spoken.resize(middle.len(), 0.0);
        Some(spoken)
    }
}

/// All harmonics below [`HIGHEST_HARMONIC_HZ`] at one loudness: Σ cos(h·t) over h ≤ H is sin((H+½)t) / 2sin(t/2) − ½.
fn pulses(pitch_hz: &[f32]) -> Vec<f32> {
    let last = pitch_hz.len() - 1;
    let mut turns = 0.0_f64;
    let mut pulses = Vec::with_capacity(pitch_hz.len() * HOP);
    for frame in 0..=last {
        for at in 0..HOP {
            // A frame's pitch is that of its middle; between two middles it is interpolated.
            let from_middle = (at as f32 + 0.5) / HOP as f32 - 0.5;
            let (one, other, share) = if from_middle < 0.0 {
                (pitch_hz[frame.saturating_sub(1)], pitch_hz[frame], from_middle + 1.0)
            } else {
                (pitch_hz[frame], pitch_hz[(frame + 1).min(last)], from_middle)
            };
            let pitch = one * (1.0 - share) + other * share;
            let is_voiced = pitch > LEAST_PITCH_HZ;
            let pitch = pitch.max(LEAST_PITCH_HZ);
            turns = (turns + f64::from(pitch) / f64::from(SAMPLE_RATE)).fract();
            let phase = (turns * std::f64::consts::TAU) as f32;
            let harmonics = (HIGHEST_HARMONIC_HZ / pitch).floor() + 0.5;
            let divisor = 2.0 * (phase * 0.5).sin();
            let sum = if divisor.abs() <= 2e-3 { harmonics } else { (harmonics * phase).sin() / divisor };
            pulses.push(if is_voiced { sum - 0.5 } else { 0.0 });
        }
    }
    pulses
}

/// The sample `at` of the source with half a window before it and after it, where it is its own mirror image.
fn mirrored(source: &[f32], at: usize) -> f32 {
    let half = WINDOW / 2;
    let inside = at.abs_diff(half);
    let last = source.len() - 1;
    let inside = if inside > last { (2 * last).saturating_sub(inside) } else { inside };
    source[inside]
}

/// Both parts normally distributed (Box and Muller).
fn gaussian(noise: &mut Xoshiro256PlusPlus) -> Complex32 {
    // Above 0, for the logarithm.
    let radius = (-2.0 * (1.0 - noise.random::<f32>()).ln()).sqrt();
    Complex32::from_polar(radius, TAU * noise.random::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: usize = 40;

    #[test]
    fn pulses_come_at_the_pitch_and_only_where_there_is_a_voice() {
        let mut pitch = [120.0; FRAMES];
        pitch[20..].fill(0.0);
        let pulses = pulses(&pitch);
        let peaks = pulses
            .windows(3)
            .filter(|near| near[1] > 40.0 && near[1] > near[0] && near[1] >= near[2])
            .count();
        let expected = 120.0 * 20.0 * HOP as f32 / SAMPLE_RATE;
        assert!((peaks as f32 - expected).abs() <= 2.0, "{peaks} peaks, not {expected}");
        assert!(pulses[21 * HOP..].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn the_same_seed_gives_the_same_sound_and_parts_that_do_not_fit_none() {
        let (part, pitch) = (vec![-2.0; BINS * FRAMES], [150.0; FRAMES]);
        let spectrum = Spectrum {
            harmonics: &part,
            phase_shift: &part,
            noise: &part,
            rest: &part,
            rest_phase: &part,
            pitch_hz: &pitch,
        };
        let vocoder = Vocoder::new();
        let audio = vocoder.audio(&spectrum, 7).unwrap();
        assert_eq!(audio.len(), FRAMES * HOP);
        assert!(
            audio.iter().all(|sample| sample.is_finite()) && audio.iter().any(|sample| sample.abs() > 0.01)
        );
        assert_eq!(audio, vocoder.audio(&spectrum, 7).unwrap());
        assert_ne!(audio, vocoder.audio(&spectrum, 8).unwrap());
        assert!(vocoder.audio(&Spectrum { noise: &part[1..], ..spectrum }, 7).is_none());
    }
}
