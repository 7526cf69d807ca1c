//! Our resampler and those of libraries, behind one face.

use std::collections::VecDeque;

use anyhow::{Result, anyhow};
use dasp_interpolate::Interpolator;
use dasp_interpolate::sinc::Sinc;
use dasp_ring_buffer::Fixed;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler, SincInterpolationParameters, SincInterpolationType, WindowFunction,
};

/// Samples on each side of the libraries' filters: at 8 kHz 4 ms, as ours.
const HALF_WIDTH: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Library {
    Own,
    /// Has no filter of its own against aliases.
    Dasp,
    Rubato,
}

/// A stream through one of them.
pub enum Through {
    Own { resampler: voice::resample::Resampler, output: Vec<i16> },
    Dasp(Box<Dasp>),
    Rubato { resampler: Async<f32>, output: Vec<f32> },
}

pub struct Dasp {
    sinc: Sinc<[f64; 2 * HALF_WIDTH]>,
    waiting: VecDeque<f64>,
    /// Inputs from one output to the next, and how far the next output is past the middle of the buffer.
    step: f64,
    past: f64,
    output: Vec<f64>,
}

impl Library {
    pub const ALL: [Self; 3] = [Self::Own, Self::Dasp, Self::Rubato];

    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "ours",
            Self::Dasp => "dasp's sinc",
            Self::Rubato => "rubato's sinc",
        }
    }

    pub fn through(self, from_hz: u32, to_hz: u32) -> Result<Through> {
        Ok(match self {
            Self::Own => Through::Own {
                resampler: voice::resample::Resampler::new(from_hz, to_hz),
                output: Vec::new(),
            },
            Self::Dasp => Through::Dasp(Box::new(Dasp {
                sinc: Sinc::new(Fixed::from([0.0; 2 * HALF_WIDTH])),
                waiting: VecDeque::new(),
                step: f64::from(from_hz) / f64::from(to_hz),
                past: 0.0,
                output: Vec::new(),
            })),
            Self::Rubato => {
                // As long as ours, of the window that falls fastest to 90 dB, and cut off where that leaves no alias.
                let length = 2 * HALF_WIDTH * from_hz.div_ceil(to_hz) as usize;
                let parameters = SincInterpolationParameters::new(length, WindowFunction::BlackmanHarris)
                    .f_cutoff(0.875)
                    .oversampling_factor(2)
                    .interpolation(SincInterpolationType::Nearest);
                let (ratio, chunk) = (f64::from(to_hz) / f64::from(from_hz), from_hz as usize / 50);
                let resampler = Async::new_sinc(ratio, 1.0, &parameters, chunk, 1, FixedAsync::Input)?;
                let output = vec![0.0; resampler.output_frames_max()];
                Through::Rubato { resampler, output }
            }
        })
    }
}

impl Through {
    /// 20 ms of input, in both forms. Answers how many samples came out.
    pub fn take_frame(&mut self, samples: &[i16], frame: &[f32]) -> Result<usize> {
        Ok(match self {
            Self::Own { resampler, output } => {
                output.clear();
                resampler.process(samples, output);
                output.len()
            }
            Self::Dasp(dasp) => {
                dasp.waiting.extend(frame.iter().map(|&sample| f64::from(sample)));
                dasp.run();
                dasp.output.len()
            }
            Self::Rubato { resampler, output } => {
                let (room, input) = (output.len(), InterleavedSlice::new(frame, 1, frame.len())?);
                let mut adapter = InterleavedSlice::new_mut(output, 1, room)?;
                resampler
                    .process_into_buffer(&input, &mut adapter, None)
                    .map_err(|error| anyhow!("{error}"))?
                    .1
            }
        })
    }

    /// All of a sound, whole frames of it.
    pub fn take_all(mut self, input: &[f64]) -> Result<Vec<f64>> {
        let per_frame = match &self {
            Self::Rubato { resampler, .. } => resampler.input_frames_next(),
            _ => 160,
        };
        let mut all = Vec::new();
        for chunk in input.chunks_exact(per_frame) {
            let samples: Vec<i16> = chunk.iter().map(|&sample| sample as i16).collect();
            let frame: Vec<f32> = chunk.iter().map(|&sample| sample as f32).collect();
            let count = self.take_frame(&samples, &frame)?;
            match &self {
                Self::Own { output, .. } => {
                    all.extend(output[..count].iter().map(|&sample| f64::from(sample)))
                }
                Self::Dasp(dasp) => all.extend(&dasp.output[..count]),
                Self::Rubato { output, .. } => all.extend(output[..count].iter().map(|&s| f64::from(s))),
            }
        }
        // Samples are whole numbers in the end.
        Ok(all.into_iter().map(f64::round).collect())
    }
}

impl Dasp {
    fn run(&mut self) {
        self.output.clear();
        loop {
            while self.past >= 1.0 {
                let Some(sample) = self.waiting.pop_front() else { return };
                self.sinc.next_source_frame(sample);
                self.past -= 1.0;
            }
            self.output.push(self.sinc.interpolate(self.past));
            self.past += self.step;
        }
    }
}
