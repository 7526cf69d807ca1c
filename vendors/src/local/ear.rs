//! One utterance as the model on this machine hears it.
//!
//! The model was made for short clips and loops on long ones, so a long utterance is heard in segments that are cut
//! where it is quietest. Where, depends on nothing that comes later: a segment that is whole is decoded once.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::pool::Wanted;
use super::{Local, MOONSHINE, Models, Priority, STT_MODEL, Seat, Ticket, broken, is_english, unanswered};
use crate::speech::{Kind, LOCAL, Measured, SpeechError};
use crate::stt::{Ear, SttTarget};

const SAMPLES_PER_SECOND: usize = 16_000;
const LONGEST_SEGMENT: usize = 12 * SAMPLES_PER_SECOND;
const SHORTEST_SEGMENT: usize = 6 * SAMPLES_PER_SECOND;
/// The pause between two words that a cut needs.
const PAUSE: usize = SAMPLES_PER_SECOND / 5;
const STEP: usize = SAMPLES_PER_SECOND / 50;

/// # Errors
/// When the target asks for what is not here, or there is no room.
pub(crate) fn listen(local: &Arc<Local>, target: &SttTarget) -> Result<Box<dyn Ear>, SpeechError> {
    if let Some(model) = target.model.as_ref().filter(|model| *model != STT_MODEL) {
        return Err(SpeechError::UnknownModel { provider: LOCAL, model: model.clone() });
    }
    if !is_english(&target.language) {
        return Err(SpeechError::UnknownLanguage { provider: LOCAL, language: target.language.clone() });
    }
    local.installed(&MOONSHINE)?;
    let seat = local.seat()?;
    // So that the model is there when the first words are.
    let _loading = local.pool.submit(Priority::Partial, |models, _| models.moonshine().map(drop));
    Ok(Box::new(Listening {
        local: local.clone(),
        audio: Vec::new(),
        settled: Arc::default(),
        glimpse: None,
        _seat: seat,
    }))
}

struct Listening {
    local: Arc<Local>,
    audio: Vec<i16>,
    /// The texts of the segments that are whole, as far as they are decoded.
    settled: Arc<Mutex<Vec<String>>>,
    /// The partial transcript that was begun last.
    glimpse: Option<Ticket>,
    _seat: Seat,
}

impl Ear for Listening {
    fn model(&self) -> &str {
        STT_MODEL
    }

    fn push(&mut self, samples: &[i16]) {
        self.audio.extend_from_slice(samples);
    }

    fn decode(&mut self, kind: Kind) -> BoxFuture<'static, Result<String, SpeechError>> {
        let measured = Measured::begin(kind, LOCAL);
        let priority = if kind == Kind::Partial { Priority::Partial } else { Priority::Whole };
        let (audio, settled) = (self.audio.clone(), self.settled.clone());
        let submitted = self
            .local
            .pool
            .submit(priority, move |models, wanted| transcribe(models, &audio, &settled, &wanted));
        match submitted {
            Ok((ticket, answer)) => {
                self.glimpse = Some(ticket);
                async move {
                    let heard = answer.await.map_err(unanswered).flatten();
                    measured.ended(&heard);
                    heard
                }
                .boxed()
            }
            Err(refused) => {
                let refused = Err(refused);
                measured.ended(&refused);
                ready(refused).boxed()
            }
        }
    }

    fn hurry(&mut self) {
        if let Some(ticket) = self.glimpse {
            self.local.pool.hurry(ticket);
        }
    }
}

fn transcribe(
    models: &mut Models,
    audio: &[i16],
    settled: &Mutex<Vec<String>>,
    wanted: &Wanted<'_, String>,
) -> Result<String, SpeechError> {
    let model = models.moonshine()?;
    // Texts are only ever added.
    let settled = || settled.lock().unwrap_or_else(PoisonError::into_inner);
    let mut texts = settled().clone();
    let segments = segments(audio);
    let last = segments.len().saturating_sub(1);
    for (number, segment) in segments.into_iter().enumerate().skip(texts.len()) {
        let heard = model.transcribe(&audio[segment], || wanted.is_wanted()).map_err(broken)?;
        let Some(text) = heard else { return Ok(String::new()) };
        if number < last && settled().len() == number {
            settled().push(text.clone());
        }
        texts.push(text);
    }
    texts.retain(|text| !text.is_empty());
    Ok(texts.join(" "))
}

/// All of the audio, in segments of at most [`LONGEST_SEGMENT`].
fn segments(audio: &[i16]) -> Vec<Range<usize>> {
    let (mut segments, mut start) = (Vec::new(), 0);
    while audio.len() - start > LONGEST_SEGMENT {
        let end =
            start + SHORTEST_SEGMENT + quietest(&audio[start + SHORTEST_SEGMENT..start + LONGEST_SEGMENT]);
        segments.push(start..end);
        start = end;
    }
    segments.push(start..audio.len());
    segments
}

/// The middle of the quietest pause; the latest among equals.
fn quietest(audio: &[i16]) -> usize {
    let loudness = |start: usize| -> u64 {
        audio[start..start + PAUSE].iter().map(|sample| u64::from(sample.unsigned_abs())).sum()
    };
    let starts = (0..audio.len().saturating_sub(PAUSE)).step_by(STEP).rev();
    starts.min_by_key(|start| loudness(*start)).unwrap_or_default() + PAUSE / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise with pauses of a quarter of a second that begin at these seconds.
    fn speech(seconds: usize, pauses: &[f32]) -> Vec<i16> {
        let is_pause = |at: usize| {
            let second = at as f32 / SAMPLES_PER_SECOND as f32;
            pauses.iter().any(|pause| (*pause..pause + 0.25).contains(&second))
        };
        (0..seconds * SAMPLES_PER_SECOND)
            .map(|at| if is_pause(at) { 0 } else { ((at * 7_919) % 4_001) as i16 - 2_000 })
            .collect()
    }

    #[test]
    fn short_speech_is_one_segment() {
        for seconds in [0, 1, 12] {
            let segments = segments(&speech(seconds, &[]));
            assert_eq!((segments.len(), &segments[0]), (1, &(0..seconds * SAMPLES_PER_SECOND)));
        }
    }

    #[test]
    fn long_speech_is_cut_in_its_pauses_and_none_of_it_is_lost() {
        let audio = speech(40, &[3.0, 9.5, 16.0, 20.0, 27.0]);
        let cuts = segments(&audio);
        assert!(cuts.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!((cuts[0].start, cuts.last().unwrap().end), (0, audio.len()));
        let seconds: Vec<f32> = cuts.iter().map(|cut| cut.end as f32 / SAMPLES_PER_SECOND as f32).collect();
        for (cut, pause) in seconds.iter().zip([9.5, 20.0, 27.0]) {
            assert!((pause..pause + 0.25).contains(cut), "{seconds:?}");
        }
    }

    #[test]
    fn what_is_settled_does_not_change_as_more_is_said() {
        let audio = speech(60, &[5.0, 11.0, 19.0, 23.0, 31.0, 40.5, 52.0]);
        let whole = segments(&audio);
        for seconds in 1..60 {
            let some = segments(&audio[..seconds * SAMPLES_PER_SECOND]);
            assert_eq!(some[..some.len() - 1], whole[..some.len() - 1]);
        }
    }
}
