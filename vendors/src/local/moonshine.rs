//! Moonshine (tiny, English): 16 kHz audio to text. An encoder sees all of it, a decoder writes one token after another.

use std::borrow::Cow;
use std::path::Path;

use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor};

use super::runtime::session;
use super::{MOONSHINE, ModelError};

const SAMPLES_PER_SECOND: f32 = 16_000.0;
/// Shorter audio is filled up with silence.
const LEAST_SAMPLES: usize = 1_600;
/// Silence after the audio: a word that ends with it would be guessed at.
const PADDING_SAMPLES: usize = 1_600;
/// Nobody speaks faster; a model that has begun to repeat itself would go on for ever.
const TOKENS_PER_SECOND: f32 = 6.5;
const TOKENS_BESIDE: usize = 8;
const START: i64 = 1;
const END: i64 = 2;
/// What stands for a space in the vocabulary.
const SPACE: char = '\u{2581}';

pub(super) struct Moonshine {
    encoder: Session,
    decoder: Session,
    vocabulary: Vec<Vec<u8>>,
    /// The decoder's memory: name, heads, size of a head.
    past: Vec<(String, usize, usize)>,
    takes_mask: bool,
    encoder_takes_mask: bool,
    encoder_input: String,
    outputs: Vec<String>,
}

impl Moonshine {
    pub(super) fn load(models_dir: &Path) -> Result<Self, ModelError> {
        let [encoder, decoder, tokenizer] = MOONSHINE;
        let (encoder, decoder) = (session(models_dir, encoder)?, session(models_dir, decoder)?);
        let bytes = std::fs::read(models_dir.join(tokenizer));
        let bytes = bytes.map_err(|error| ModelError::File { file: tokenizer, detail: error.to_string() })?;
        let vocabulary = parse_vocabulary(&bytes)
            .ok_or(ModelError::File { file: tokenizer, detail: "it is cut off".to_owned() })?;
        let mut past = Vec::new();
        for input in decoder.inputs().iter().filter(|input| input.name().starts_with("past")) {
            let shape = input.dtype().tensor_shape().ok_or(ModelError::Shape)?;
            let size = |at: usize| shape.get(at).and_then(|size| usize::try_from(*size).ok());
            let (heads, head) = size(1).zip(size(3)).ok_or(ModelError::Shape)?;
            past.push((input.name().to_owned(), heads, head));
        }
        let takes_mask = decoder.inputs().iter().any(|input| input.name() == "encoder_attention_mask");
        let outputs = decoder.outputs().iter().map(|output| output.name().to_owned()).collect();
        let encoder_input = encoder.inputs().first().ok_or(ModelError::Shape)?.name().to_owned();
        let encoder_takes_mask = encoder.inputs().len() > 1;
        Ok(Self {
            encoder,
            decoder,
            vocabulary,
            past,
            takes_mask,
            encoder_takes_mask,
            encoder_input,
            outputs,
        })
    }

    /// `None`: nobody wanted it any more.
    pub(super) fn transcribe(
        &mut self,
        audio: &[i16],
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<String>, ModelError> {
        let mut samples: Vec<f32> = audio.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        samples.resize((samples.len() + PADDING_SAMPLES).max(LEAST_SAMPLES), 0.0);
        let Some(tokens) = self.tokens(samples, is_wanted)? else { return Ok(None) };
        let bytes: Vec<u8> =
            tokens.iter().filter_map(|token| self.vocabulary.get(*token)).flatten().copied().collect();
        Ok(Some(String::from_utf8_lossy(&bytes).replace(SPACE, " ").trim().to_owned()))
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a minute of samples, and a count"
    )]
    fn tokens(
        &mut self,
        samples: Vec<f32>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<Vec<usize>>, ModelError> {
        let length = samples.len();
        let most = (length as f32 / SAMPLES_PER_SECOND * TOKENS_PER_SECOND) as usize + TOKENS_BESIDE;
        let mask = Tensor::from_array(([1, length], vec![1_i64; length]))?;
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            vec![(self.encoder_input.as_str().into(), Tensor::from_array(([1, length], samples))?.into())];
        if self.encoder_takes_mask {
            inputs.push(("attention_mask".into(), (&mask).into()));
        }
        let mut encoded = self.encoder.run(inputs)?;
        let name = encoded.keys().next().ok_or(ModelError::Shape)?.to_owned();
        let hidden = encoded.remove(&name).ok_or(ModelError::Shape)?;
        drop(encoded);

        let allocator = Allocator::default();
        let empty = self
            .past
            .iter()
            .map(|(_, heads, head)| Ok(Tensor::<f32>::new(&allocator, [1, *heads, 0, *head])?.into_dyn()));
        let mut past = empty.collect::<Result<Vec<DynValue>, ModelError>>()?;
        let (mut token, mut tokens) = (START, Vec::new());
        for step in 0..most {
            if !is_wanted() {
                return Ok(None);
            }
            let is_first = step == 0;
            let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
                ("input_ids".into(), Tensor::from_array(([1_usize, 1], vec![token]))?.into()),
                ("encoder_hidden_states".into(), (&hidden).into()),
                ("use_cache_branch".into(), Tensor::from_array(([1_usize], vec![!is_first]))?.into()),
            ];
            if self.takes_mask {
                inputs.push(("encoder_attention_mask".into(), (&mask).into()));
            }
            let memory = self.past.iter().zip(&past);
            inputs.extend(memory.map(|((name, ..), value)| (name.as_str().into(), value.into())));
            let mut outputs = self.decoder.run(inputs)?;
            let (_, scores) = outputs[0].try_extract_tensor::<f32>()?;
            token = likeliest(scores);
            if token == END {
                break;
            }
            tokens.push(usize::try_from(token).map_err(|_| ModelError::Shape)?);
            for name in self.outputs.iter().skip(1) {
                let kept = name.replace("present", "past_key_values");
                // What the decoder knows of the audio does not change after the first step.
                if is_first || kept.contains("decoder") {
                    let at =
                        self.past.iter().position(|(past, ..)| *past == kept).ok_or(ModelError::Shape)?;
                    past[at] = outputs.remove(name).ok_or(ModelError::Shape)?;
                }
            }
        }
        Ok(Some(tokens))
    }
}

fn likeliest(scores: &[f32]) -> i64 {
    let best = scores.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.and_then(|(at, _)| i64::try_from(at).ok()).unwrap_or(END)
}

/// Entries of a length (one byte below 128, else two) and as many bytes; `None` when the last is cut off.
fn parse_vocabulary(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let (length, rest) = if *first < 128 {
            (usize::from(*first), rest)
        } else {
            let (second, rest) = rest.split_first()?;
            (usize::from(*second) * 128 + usize::from(*first) - 128, rest)
        };
        entries.push(rest.get(..length)?.to_vec());
        bytes = &rest[length..];
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabularies_are_lengths_and_bytes() {
        let long = [&[130, 1][..], &[7; 130]].concat();
        let bytes = [&[0, 2, b'a', b'b'][..], &long].concat();
        assert_eq!(parse_vocabulary(&bytes), Some(vec![vec![], b"ab".to_vec(), vec![7; 130]]));
        assert_eq!(parse_vocabulary(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse_vocabulary(&[200]), None);
    }
}
