//! Hibari (voice "heart", American English): a sentence to phonemes ([`phonemes`]), phonemes to a spectrum (the model),
//! a spectrum to 24 kHz audio ([`vocoder`]).

mod data;
mod lexicon;
mod numbers;
mod phonemes;
mod sentences;
mod stress;
mod suffixes;
mod tagger;
mod tokens;
mod vocoder;

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::value::Tensor;

use super::runtime::session;
use super::{HIBARI, ModelError};
use data::read_json;
use phonemes::Reader;
use vocoder::{Spectrum, Vocoder};

pub(crate) use sentences::sentences;

pub(crate) const SAMPLE_RATE_HZ: u32 = 24_000;

/// What surrounds a sentence.
const SILENCE: i64 = 0;
const LOUDEST: f32 = 32_767.0;

pub(crate) struct Hibari {
    reader: Reader,
    /// The model's number of each phoneme.
    numbers: HashMap<char, i64>,
    model: Session,
    vocoder: Vocoder,
}

impl Hibari {
    pub(crate) fn load(models_dir: &Path) -> Result<Self, ModelError> {
        let [model, vocabulary, ..] = HIBARI;
        Ok(Self {
            reader: Reader::load(models_dir)?,
            numbers: read_json(models_dir, vocabulary)?,
            model: session(models_dir, model)?,
            vocoder: Vocoder::new(),
        })
    }

    /// The same sentence sounds the same every time. Empty when there is nothing to say.
    pub(crate) fn speak(&mut self, sentence: &str) -> Result<Vec<i16>, ModelError> {
        let phonemes = self.reader.read(sentence)?;
        let spoken = phonemes.chars().filter_map(|phoneme| self.numbers.get(&phoneme).copied());
        let numbers: Vec<i64> = [SILENCE].into_iter().chain(spoken).chain([SILENCE]).collect();
        if numbers.len() == 2 {
            return Ok(Vec::new());
        }
        let inputs = ort::inputs! {
            "ids" => Tensor::from_array(([1, numbers.len()], numbers))?,
            "speed" => Tensor::from_array(([1_usize], vec![1.0_f32]))?
        };
        let outputs = self.model.run(inputs)?;
        if outputs.len() < 6 {
            return Err(ModelError::Shape);
        }
        let part =
            |at: usize| -> Result<&[f32], ModelError> { Ok(outputs[at].try_extract_tensor::<f32>()?.1) };
        let spectrum = Spectrum {
            harmonics: part(0)?,
            phase_shift: part(1)?,
            noise: part(2)?,
            rest: part(3)?,
            rest_phase: part(4)?,
            pitch_hz: part(5)?,
        };
        let audio = self.vocoder.audio(&spectrum, seed(sentence)).ok_or(ModelError::Shape)?;
        Ok(audio.into_iter().map(to_i16).collect())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to what fits")]
fn to_i16(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * LOUDEST) as i16
}

/// FNV-1a: the standard library's hash may be another one in its next release.
fn seed(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[path = "hibari_tests.rs"]
mod tests;
