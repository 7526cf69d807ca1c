//! From a recording to its words.

use domain::prices::{PricesAt, SpeechWork};
use events::call::{SpeechKind, SpeechOutcome};
use events::session::FailureCode;
use nats::Failure;
use rust_decimal::Decimal;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use vendors::http::Class;
use vendors::stt::{MAX_UTTERANCE_SECONDS, SAMPLE_RATE_HZ, SttError, SttTarget};
use voice::containers::{self, DecodeError, Limits};
use voice::levels;

use super::MOST_RETRIES;
use super::message::{Message, Work};
use crate::budgets::Empty;
use crate::voice::who_hears;
use crate::{Workers, away};

/// The recording became no message.
pub(super) struct Unheard {
    pub code: FailureCode,
    pub detail: String,
}

impl Unheard {
    fn new(code: FailureCode, detail: impl ToString) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

/// What is sent as samples, without a container: little-endian, 16 bits, 16 kHz, one channel.
pub(super) const RAW_SAMPLES: &str = "audio/l16";

/// Decoded stretches that nobody has heard yet; when full, decoding waits.
const DECODED_AHEAD: usize = 8;
const SECOND: usize = SAMPLE_RATE_HZ as usize;
/// What an engine hears at once at most: a little less than it may.
const LONGEST_PART: usize = (MAX_UTTERANCE_SECONDS as usize - 2) * SECOND;
/// A longer recording is cut in the last so many samples of a part, where it is softest.
const CUT_WITHIN: usize = 15 * SECOND;
/// A pause between words.
const PAUSE: usize = SECOND / 5;
/// Nobody speaks faster.
const MS_PER_CHARACTER: u64 = 30;
/// Nobody speaks below this peak, of 32,768.
const SILENT_PEAK: u16 = 64;

/// The words of the message's recording.
///
/// # Errors
/// When something is away that will come back.
pub(super) async fn hear(
    workers: &Workers,
    tasks: &TaskTracker,
    message: &Message,
    retries: u32,
) -> Result<Result<String, Unheard>, Failure> {
    let Some(agent) = &message.agent else {
        return Ok(Err(Unheard::new(FailureCode::AgentUnavailable, "the agent was deleted or switched off")));
    };
    let target = who_hears(agent);
    let Some(file) = fetch(workers, message).await? else {
        return Ok(Err(Unheard::new(FailureCode::InvalidAudio, "the recording is no longer there")));
    };
    let (give, mut decoded) = mpsc::channel::<Vec<i16>>(DECODED_AHEAD);
    let is_raw = message.received.audio.media_type == RAW_SAMPLES;
    let seconds = message.received.longest_seconds;
    let mut decoding = tasks.spawn_blocking(move || decode(&file, is_raw, seconds, &give));
    let (mut parts, mut words, mut number) = (Parts::default(), Vec::new(), 0);
    let (mut purse, mut samples_heard) = (message.purse(workers).await?, 0);
    let prices = workers.prices.book(message.session.tenant_id).await.map_err(away)?;
    loop {
        let samples = decoded.recv().await;
        let is_end = samples.is_none();
        // Known before the last part is heard: a damaged file is not paid for, unless it is a long one.
        if is_end && let Err(error) = (&mut decoding).await.map_err(away)? {
            return Ok(Err(Unheard::new(FailureCode::InvalidAudio, error)));
        }
        parts.waiting.extend(samples.unwrap_or_default());
        while let Some(part) = parts.next(is_end) {
            samples_heard += part.len();
            if !purse.holds(most_of_hearing(prices.at(workers.clock.now()), &target, samples_heard)).await {
                return Ok(Err(too_dear(purse.empty())?));
            }
            match transcribe(workers, message, &target, &part, number, retries).await? {
                Ok(text) => words.extend(text),
                Err(unheard) => return Ok(Err(unheard)),
            }
            number += 1;
        }
        if is_end {
            break;
        }
    }
    let text = words.join(" ");
    match text.trim() {
        "" => Ok(Err(Unheard::new(FailureCode::NoSpeech, "no words could be made out in the recording"))),
        text => Ok(Ok(text.to_owned())),
    }
}

/// The most that it can cost to hear so much.
fn most_of_hearing(prices: PricesAt<'_>, target: &SttTarget, samples: usize) -> Decimal {
    let audio_ms = (samples * 1_000 / SECOND) as u64;
    let kind = SpeechKind::Transcription;
    let work = SpeechWork { kind, audio_ms, characters: audio_ms / MS_PER_CHARACTER, estimated: true };
    let model = target.model.as_deref().unwrap_or_default();
    prices.meter_speech(&target.provider, model, work).cost_usd
}

/// # Errors
/// When nobody knows what is left of the budget.
fn too_dear(empty: Option<Empty>) -> Result<Unheard, Failure> {
    match empty {
        Some(Empty::OverBudget(shortage)) => Ok(Unheard::new(FailureCode::BudgetExceeded, shortage.detail())),
        Some(Empty::Unknown { reason }) => Err(Failure::Retry { after: None, reason }),
        None => Err(Failure::Fatal { reason: "hearing was refused for no reason".to_owned() }),
    }
}

/// The whole recording: decoding needs it so. `None`: it or its customer is gone.
async fn fetch(workers: &Workers, message: &Message) -> Result<Option<Vec<u8>>, Failure> {
    let sealed = message.recording(workers);
    let found = workers.nats.artefacts.get(message.session.tenant_id, sealed.artefact_id()).await;
    let Some(mut reader) = found.map_err(away)? else { return Ok(None) };
    let mut file = Vec::with_capacity(usize::try_from(message.received.audio.bytes).unwrap_or_default());
    let mut number = 0;
    while let Some(chunk) = reader.next().await.map_err(away)? {
        match sealed.open(number, &chunk).await.map_err(away)? {
            Some(chunk) => file.extend_from_slice(&chunk),
            None => return Ok(None),
        }
        number += 1;
    }
    Ok(Some(file))
}

/// Gives the recording's sound piece by piece; to nobody, once nobody listens.
fn decode(file: &[u8], is_raw: bool, seconds: u32, give: &mpsc::Sender<Vec<i16>>) -> Result<(), DecodeError> {
    if !is_raw {
        let limits = Limits { bytes: file.len(), seconds };
        let decoded = containers::decode(file, limits, |samples| _ = give.blocking_send(samples.to_vec()));
        return decoded.map(|_| ());
    }
    if file.len() / 2 > seconds as usize * SECOND {
        return Err(DecodeError::TooLong { limit: seconds });
    }
    for second in file.chunks(2 * SECOND) {
        let samples = second.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        let _ = give.blocking_send(samples.collect());
    }
    Ok(())
}

/// The words of one part; `None`: there are none.
async fn transcribe(
    workers: &Workers,
    message: &Message,
    target: &SttTarget,
    part: &[i16],
    number: u32,
    retries: u32,
) -> Result<Result<Option<String>, Unheard>, Failure> {
    if levels::peak(part) < SILENT_PEAK {
        return Ok(Ok(None));
    }
    let heard = match workers.stt.open(target) {
        Ok(mut utterance) => {
            utterance.push(part);
            utterance.finish().await
        }
        Err(error) => Err(error),
    };
    let transcript = match heard {
        Ok(transcript) => transcript,
        Err(error) => return unheard(&error, retries).map(Err),
    };
    let work = Work {
        kind: SpeechKind::Transcription,
        number,
        provider: transcript.provider,
        model: transcript.model,
        audio_ms: transcript.audio_ms,
        characters: transcript.text.chars().count() as u64,
        outcome: SpeechOutcome::Succeeded,
    };
    message.meter(workers, work).await?;
    let text = transcript.text.trim().to_owned();
    Ok(Ok(Some(text).filter(|text| !text.is_empty())))
}

/// The engine has tried again by itself; only where there was no room for the recording it is worth to come back.
fn unheard(error: &SttError, retries: u32) -> Result<Unheard, Failure> {
    if matches!(error, SttError::AtCapacity { .. }) && retries < MOST_RETRIES {
        return Err(Failure::Retry { after: None, reason: error.to_string() });
    }
    let is_there =
        matches!(error, SttError::AtCapacity { .. } | SttError::Engine { .. } | SttError::Vendor { .. });
    let code = if is_there && !matches!(error.class(), Class::Fatal) {
        FailureCode::SpeechFailed
    } else {
        FailureCode::SpeechUnavailable
    };
    Ok(Unheard::new(code, crate::with_sources(error)))
}

/// Cuts what is longer than an engine hears at once.
#[derive(Default)]
struct Parts {
    waiting: Vec<i16>,
}

impl Parts {
    fn next(&mut self, is_end: bool) -> Option<Vec<i16>> {
        if self.waiting.len() > LONGEST_PART {
            let rest = self.waiting.split_off(softest(&self.waiting[..LONGEST_PART]));
            return Some(std::mem::replace(&mut self.waiting, rest));
        }
        (is_end && !self.waiting.is_empty()).then(|| std::mem::take(&mut self.waiting))
    }
}

/// Where, near its end, a stretch of sound is softest.
fn softest(samples: &[i16]) -> usize {
    let first = samples.len().saturating_sub(CUT_WITHIN);
    let loudness = |at: usize| levels::rms_dbfs(&samples[at..(at + PAUSE).min(samples.len())]);
    let starts = (first..samples.len().saturating_sub(PAUSE)).step_by(PAUSE / 4);
    let softest = starts.min_by(|a, b| loudness(*a).total_cmp(&loudness(*b)));
    softest.map_or(samples.len(), |at| at + PAUSE / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(sound: &[i16]) -> Vec<Vec<i16>> {
        let (mut parts, mut cut) = (Parts::default(), Vec::new());
        for samples in sound.chunks(16_384) {
            parts.waiting.extend_from_slice(samples);
            cut.extend(std::iter::from_fn(|| parts.next(false)));
        }
        cut.extend(std::iter::from_fn(|| parts.next(true)));
        cut
    }

    #[test]
    fn a_long_recording_is_cut_in_its_pauses_and_nothing_is_lost() {
        let mut sound: Vec<i16> = (0..130 * SECOND).map(|at| ((at % 97) * 200) as i16).collect();
        let pause = 50 * SECOND;
        sound[pause..pause + SECOND / 2].fill(0);
        let parts = cut(&sound);
        assert_eq!(parts.concat(), sound);
        assert!(parts.iter().all(|part| part.len() <= LONGEST_PART), "no engine would hear all of it");
        assert!((pause..pause + SECOND / 2).contains(&parts[0].len()), "cut at {}", parts[0].len());
    }

    #[test]
    fn a_short_recording_is_heard_at_once() {
        assert_eq!(cut(&[1; 30]), [vec![1; 30]]);
        assert!(cut(&[]).is_empty());
    }

    #[test]
    fn only_an_engine_without_room_is_worth_coming_back_for() {
        let full = SttError::AtCapacity { provider: "local" };
        assert!(matches!(unheard(&full, 0), Err(Failure::Retry { .. })));
        let code = |error: &SttError| unheard(error, MOST_RETRIES).map(|unheard| unheard.code).unwrap();
        assert_eq!(code(&full), FailureCode::SpeechFailed);
        let missing = SttError::NotInstalled { missing: "model".to_owned() };
        assert_eq!(code(&missing), FailureCode::SpeechUnavailable);
        assert_eq!(
            code(&SttError::UnknownProvider { provider: "x".to_owned() }),
            FailureCode::SpeechUnavailable
        );
    }
}
