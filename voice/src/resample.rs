//! Between the sample rates of telephone lines (8 kHz), of recognition (16 kHz), of synthesis (24 kHz) and of files.
//!
//! One polyphase FIR filter for each pair of rates, designed when it is made: a Kaiser-windowed sinc at the lowest
//! common multiple of both rates, of which each output needs one phase only. Outputs of the same phase are computed
//! together, 40 at a time, so that the inner loop runs over neighbouring numbers and the compiler makes vectors of it.
//! What comes out does not depend on how the input was cut. Decision 23 compares it with what libraries offer.

use std::f64::consts::PI;
use std::ops::RangeInclusive;

/// Outputs of one phase that are computed together. The 160 cycles of a frame at 8 kHz are a multiple of it, and its sums
/// just fit into the registers of any processor.
const LANES: usize = 40;

/// Samples that are kept, more or less, before those that are over are moved out.
const KEPT: usize = 960;

/// More phases are not kept: an odd pair of rates is approximated, by a few parts in a million at most.
const MOST_PHASES: usize = 640;

/// Rates beyond these do not occur in audio.
const RATES_HZ: RangeInclusive<u32> = 1_000..=384_000;

/// The lower rates are those of calls.
const HIGHEST_OF_CALLS_HZ: u32 = 24_000;

/// The shape of a filter, in units of the lower of the two rates.
struct Design {
    /// Samples on each side, which is the delay.
    half_width: usize,
    /// Where half of the amplitude is left, as a part of the lower rate's Nyquist frequency.
    cutoff: f64,
    /// Kaiser's parameter.
    beta: f64,
}

/// For calls: at 8 kHz flat to 3.4 kHz (0.09 dB), 88 dB down from 4 kHz on, and 4 ms late; half of that time at 16.
const CALL: Design = Design { half_width: 32, cutoff: 0.913, beta: 8.6 };

/// For files, where nobody waits: at 16 kHz flat to 7.4 kHz (0.02 dB) and 99 dB down from 8 kHz on.
const FILE: Design = Design { half_width: 80, cutoff: 0.958, beta: 10.0 };

/// A stream's way from one sample rate to another.
///
/// Time is counted in cycles, the shortest time in which both rates have whole samples: `down` in, `up` out.
pub struct Resampler {
    up: usize,
    down: usize,
    /// Cycles before the present one that the filter reaches back to.
    history: usize,
    /// Cycles that the rows have room for.
    block: usize,
    /// Cycles that are computed together at least: for files [`LANES`], so that none is computed for nothing.
    step: usize,
    /// The input in `down` rows, one number for each cycle: row `n` has the `n`th sample of every cycle. The first
    /// `history` numbers are older.
    rows: Vec<f32>,
    /// What each output of a cycle takes from each row: from `history` cycles back to the present one.
    taps: Vec<f32>,
    /// Samples put into the rows since they were moved, and cycles computed of them.
    filled: usize,
    computed: usize,
    /// Samples that came in and went out since the beginning.
    taken: u64,
    given: u64,
    delay: usize,
}

impl Resampler {
    /// Rates outside 1 to 384 kHz are taken as the nearest within.
    #[must_use]
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        let clamped = |rate_hz: u32| rate_hz.clamp(*RATES_HZ.start(), *RATES_HZ.end());
        let (up, down) = ratio(clamped(to_hz), clamped(from_hz));
        let (design, step) =
            if from_hz.max(to_hz) <= HIGHEST_OF_CALLS_HZ { (&CALL, 1) } else { (&FILE, LANES) };
        let filter = filter(design, up, down);
        let history = (filter.len().div_ceil(up) - 1).div_ceil(down);
        let block = (KEPT / down).next_multiple_of(LANES);
        Self {
            up,
            down,
            history,
            block,
            step,
            rows: vec![0.0; down * (history + block + LANES)],
            taps: (0..up).flat_map(|place| taps(&filter, up, down, history, place)).collect(),
            filled: 0,
            computed: 0,
            taken: 0,
            given: 0,
            delay: filter.len() / 2 / down,
        }
    }

    /// How many samples later the sound comes out, at the rate that comes out.
    #[must_use]
    pub fn delay(&self) -> usize {
        self.delay
    }

    /// Appends what can be computed with `input`.
    pub fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        let before = output.len();
        let mut rest = input;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.block * self.down - self.filled));
            self.fill(now);
            self.compute(output);
            rest = later;
        }
        self.taken += input.len() as u64;
        self.given += (output.len() - before) as u64;
    }

    /// Appends what is still inside at the end of a stream, so that as much came out as went in, and the delay with
    /// it. The next sample begins another stream.
    pub fn flush(&mut self, output: &mut Vec<i16>) {
        let due = (self.taken * self.up as u64).div_ceil(self.down as u64) + self.delay as u64;
        let end = output.len() + due.saturating_sub(self.given) as usize;
        while output.len() < end {
            self.process(&[0; 64], output);
        }
        output.truncate(end);
        self.rows.fill(0.0);
        (self.filled, self.computed, self.taken, self.given) = (0, 0, 0, 0);
    }

    fn row_length(&self) -> usize {
        self.history + self.block + LANES
    }

    /// Puts samples in their rows; there is room for them.
    fn fill(&mut self, samples: &[i16]) {
        let (row_length, history) = (self.row_length(), self.history);
        for (skipped, at) in (self.filled..).take(self.down).enumerate() {
            let (cycle, row) = (at / self.down, at % self.down);
            let slots = &mut self.rows[row * row_length..][history + cycle..row_length];
            for (slot, &sample) in slots.iter_mut().zip(samples.iter().skip(skipped).step_by(self.down)) {
                *slot = f32::from(sample);
            }
        }
        self.filled += samples.len();
    }

    /// Computes the cycles that are complete, and enough.
    fn compute(&mut self, output: &mut Vec<i16>) {
        let complete = self.filled / self.down;
        let ready = complete - (complete - self.computed) % self.step;
        for first in (self.computed..ready).step_by(LANES) {
            let cycles = (ready - first).min(LANES);
            let start = output.len();
            output.resize(start + cycles * self.up, 0);
            for place in 0..self.up {
                let samples = output[start + place..].iter_mut().step_by(self.up);
                samples.zip(self.sums(place, first)).for_each(|(sample, sum)| *sample = rounded(sum));
            }
        }
        self.computed = ready;
        if self.filled == self.block * self.down {
            let (row_length, block, history) = (self.row_length(), self.block, self.history);
            for row in self.rows.chunks_exact_mut(row_length) {
                row.copy_within(block..block + history, 0);
            }
            (self.filled, self.computed) = (0, 0);
        }
    }

    /// The output at `place` of each of the cycles from `first` on. Some may be beyond what is filled, and mean nothing.
    fn sums(&self, place: usize, first: usize) -> [f32; LANES] {
        let columns = self.history + 1;
        let taps = self.taps[place * self.down * columns..].chunks_exact(columns);
        let mut sums = [0.0; LANES];
        for (row, taps) in self.rows.chunks_exact(self.row_length()).zip(taps) {
            for (samples, tap) in row[first..].windows(LANES).zip(taps) {
                for (sum, sample) in sums.iter_mut().zip(samples) {
                    *sum += tap * sample;
                }
            }
        }
        sums
    }
}

/// `to / from` in its lowest terms, or the nearest fraction below with few enough phases.
fn ratio(to: u32, from: u32) -> (usize, usize) {
    let (mut before, mut last) = ((0, 1), (1, 0));
    let (mut above, mut below) = (to as usize, from as usize);
    // The convergents of the continued fraction.
    while below != 0 {
        let whole = above / below;
        let next = (whole * last.0 + before.0, whole * last.1 + before.1);
        if next.0 > MOST_PHASES || next.1 > 2 * MOST_PHASES {
            break;
        }
        (before, last) = (last, next);
        (above, below) = (below, above % below);
    }
    (last.0.max(1), last.1.max(1))
}

/// The filter at the common rate, `up` times the one that comes in. Each of its phases has the sum 1, so that a constant
/// stays what it is.
fn filter(design: &Design, up: usize, down: usize) -> Vec<f64> {
    let widest = up.max(down);
    if widest == 1 {
        return vec![1.0];
    }
    let half = design.half_width * widest;
    let shape = |tap: usize| {
        let side = tap as f64 / half as f64 - 1.0;
        let angle = PI * design.cutoff * design.half_width as f64 * side;
        let sinc = if angle == 0.0 { 1.0 } else { angle.sin() / angle };
        sinc * bessel(design.beta * (1.0 - side * side).sqrt())
    };
    let mut filter: Vec<f64> = (0..2 * half).map(shape).collect();
    for phase in 0..up {
        let sum: f64 = filter.iter().skip(phase).step_by(up).sum();
        filter.iter_mut().skip(phase).step_by(up).for_each(|tap| *tap /= sum);
    }
    filter
}

/// The filter's taps as the output at `place` of a cycle takes them from the rows.
fn taps(filter: &[f64], up: usize, down: usize, history: usize, place: usize) -> Vec<f32> {
    let columns = history + 1;
    let (newest, phase) = (history * down + place * down / up, place * down % up);
    let mut taps = vec![0.0; down * columns];
    for (back, &tap) in filter.iter().skip(phase).step_by(up).enumerate() {
        let at = newest - back;
        taps[at % down * columns + at / down] = tap as f32;
    }
    taps
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * f64::EPSILON {
        term *= x * x / (4.0 * k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// The nearest sample. Adding 1.5 · 2²³ leaves the whole number in the low bits, as two's complement; unlike `round`,
/// that is the same on every processor and makes vectors.
fn rounded(sum: f32) -> i16 {
    const WHOLE: f32 = 12_582_912.0;
    (sum.clamp(f32::from(i16::MIN), f32::from(i16::MAX)) + WHOLE).to_bits() as i16
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
