//! From a reply to a file that people can play.

use domain::prices::{PricesAt, SpeechWork};
use events::ArtefactId;
use events::call::{SpeechKind, SpeechOutcome};
use events::session::FailureCode;
use events::voice_message::{Artefact, SpokenReply, VoicingFailure};
use nats::Failure;
use nats::artefacts::{self, Writer};
use projections::SealedFile;
use projections::sealed_file::Sealing;
use rust_decimal::Decimal;
use vendors::tts::{Speaking, SpeechFormat, TtsError, TtsTarget};
use voice::g711;
use voice::mp3::Encoder;
use voice::pieces::{Config, Piece, Pieces};
use voice::resample::Resampler;

use super::MOST_RETRIES;
use super::message::{Message, Work, sealing as sealing_failed};
use crate::budgets::Empty;
use crate::voice::who_speaks;
use crate::{Workers, away, with_sources};

/// Of the file.
const SAMPLE_RATE_HZ: u32 = 24_000;
/// No voice is slower.
const MS_PER_CHARACTER: u64 = 150;
pub(super) const MEDIA_TYPE: &str = "audio/mpeg";

/// What became of speaking a reply.
#[derive(Default)]
pub(super) struct Spoken {
    /// `None` without a failure: there was nothing to say.
    pub audio: Option<SpokenReply>,
    pub failure: Option<VoicingFailure>,
}

/// Speaks `text` piece by piece into a new file; all of it, or nothing.
///
/// # Errors
/// When something is away that will come back.
pub(super) async fn speak(
    workers: &Workers,
    message: &Message,
    text: &str,
    retries: u32,
) -> Result<Spoken, Failure> {
    let Some(agent) = &message.agent else {
        let detail = "the agent was deleted or switched off".to_owned();
        let failure = VoicingFailure { code: "agent_unavailable".to_owned(), detail };
        return Ok(Spoken { failure: Some(failure), ..Spoken::default() });
    };
    let target = who_speaks(agent);
    let pieces = pieces(text, &target.language);
    if pieces.is_empty() {
        return Ok(Spoken::default());
    }
    let mut purse = message.purse(workers).await?;
    let prices = workers.prices.book(message.session.tenant_id).await.map_err(away)?;
    if !purse.holds(most_of_speaking(prices.at(workers.clock.now()), &target, &pieces)).await {
        return match purse.empty() {
            Some(Empty::OverBudget(shortage)) => {
                let code = FailureCode::BudgetExceeded.as_str().to_owned();
                let failure = VoicingFailure { code, detail: shortage.detail() };
                Ok(Spoken { failure: Some(failure), ..Spoken::default() })
            }
            Some(Empty::Unknown { reason }) => Err(Failure::Retry { after: None, reason }),
            None => Err(Failure::Fatal { reason: "speaking was refused for no reason".to_owned() }),
        };
    }
    let sealed = message.file(workers, ArtefactId::new());
    let (writer, writing) = artefacts::writing();
    let file = File::new(sealed.clone(), writer)?;
    let tenant_id = message.session.tenant_id;
    // Both end: dropping the writer ends the storing, and a store that is gone ends the writing.
    let (stored, spoken) = tokio::join!(
        workers.nats.artefacts.put(tenant_id, sealed.artefact_id(), writing),
        speak_into(file, workers, message, &target, &pieces),
    );
    match spoken {
        Ok(audio) => {
            stored.map_err(away)?;
            Ok(Spoken { audio: Some(audio), failure: None })
        }
        Err(Broken::Engine(error)) => unspoken(&error, retries),
        // The reason is the store's.
        Err(Broken::Ours(failure)) => Err(stored.err().map_or(failure, away)),
    }
}

/// The most that it can cost to speak all of it.
fn most_of_speaking(prices: PricesAt<'_>, target: &TtsTarget, pieces: &[Piece]) -> Decimal {
    let characters: u64 = pieces.iter().map(|piece| piece.spoken.chars().count() as u64).sum();
    let (kind, audio_ms) = (SpeechKind::Synthesis, characters * MS_PER_CHARACTER);
    let work = SpeechWork { kind, audio_ms, characters, estimated: true };
    let model = target.model.as_deref().unwrap_or_default();
    prices.meter_speech(&target.provider, model, work).cost_usd
}

enum Broken {
    Engine(TtsError),
    Ours(Failure),
}

fn unspoken(error: &TtsError, retries: u32) -> Result<Spoken, Failure> {
    if matches!(error, TtsError::AtCapacity { .. }) && retries < MOST_RETRIES {
        return Err(Failure::Retry { after: None, reason: error.to_string() });
    }
    let failure = VoicingFailure { code: error.code().to_owned(), detail: with_sources(error) };
    Ok(Spoken { audio: None, failure: Some(failure) })
}

fn pieces(text: &str, language: &str) -> Vec<Piece> {
    let mut cutter = Pieces::new(Config::default(), language);
    let mut pieces = cutter.push(text);
    pieces.extend(cutter.finish());
    pieces.retain(|piece| !piece.spoken.is_empty());
    pieces
}

async fn speak_into(
    mut file: File,
    workers: &Workers,
    message: &Message,
    target: &TtsTarget,
    pieces: &[Piece],
) -> Result<SpokenReply, Broken> {
    for (number, piece) in (0..).zip(pieces) {
        let before_ms = file.audio_ms();
        let characters = piece.spoken.chars().count() as u64;
        let spoken = speak_piece(&mut file, workers, target, &piece.spoken).await;
        let (provider, model, outcome) = match &spoken {
            Ok((provider, model)) => (provider.clone(), model.clone(), SpeechOutcome::Succeeded),
            Err(_) => {
                let model = target.model.clone().unwrap_or_default();
                (target.provider.clone(), model, SpeechOutcome::Failed)
            }
        };
        let audio_ms = file.audio_ms() - before_ms;
        let kind = SpeechKind::Synthesis;
        // An engine that is not there, or had no room, has done nothing.
        if !matches!(&spoken, Err(Broken::Engine(error)) if !has_worked(error)) {
            let work = Work { kind, number, provider, model, audio_ms, characters, outcome };
            message.meter(workers, work).await.map_err(Broken::Ours)?;
        }
        spoken?;
    }
    file.complete().await.map_err(Broken::Ours)
}

fn has_worked(error: &TtsError) -> bool {
    matches!(error, TtsError::Engine { .. } | TtsError::Vendor { .. })
}

/// Who spoke the piece.
async fn speak_piece(
    file: &mut File,
    workers: &Workers,
    target: &TtsTarget,
    words: &str,
) -> Result<(String, String), Broken> {
    let wanted = SpeechFormat::Pcm16 { sample_rate_hz: SAMPLE_RATE_HZ };
    let mut speaking: Speaking = workers.tts.speak(target, words, wanted).await.map_err(Broken::Engine)?;
    let mut converter = Converter::new(speaking.format());
    while let Some(audio) = speaking.next().await.map_err(Broken::Engine)? {
        converter.push(&audio);
        file.push(&converter.ready).await.map_err(Broken::Ours)?;
    }
    converter.finish();
    file.push(&converter.ready).await.map_err(Broken::Ours)?;
    Ok((speaking.provider().to_owned(), speaking.model().to_owned()))
}

/// From what an engine delivers to the file's samples.
struct Converter {
    from: SpeechFormat,
    resampler: Option<Resampler>,
    samples: Vec<i16>,
    ready: Vec<i16>,
}

impl Converter {
    fn new(from: SpeechFormat) -> Self {
        let from_hz = match from {
            SpeechFormat::Pcm16 { sample_rate_hz } => sample_rate_hz,
            SpeechFormat::Mulaw8k => 8_000,
        };
        let resampler = (from_hz != SAMPLE_RATE_HZ).then(|| Resampler::new(from_hz, SAMPLE_RATE_HZ));
        Self { from, resampler, samples: Vec::new(), ready: Vec::new() }
    }

    /// Leaves what is ready in `ready`.
    fn push(&mut self, audio: &[u8]) {
        self.samples.clear();
        match self.from {
            SpeechFormat::Mulaw8k => g711::mulaw_to_pcm(audio, &mut self.samples),
            SpeechFormat::Pcm16 { .. } => {
                self.samples.extend(audio.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
            }
        }
        self.ready.clear();
        match &mut self.resampler {
            Some(resampler) => resampler.process(&self.samples, &mut self.ready),
            None => std::mem::swap(&mut self.ready, &mut self.samples),
        }
    }

    fn finish(&mut self) {
        self.ready.clear();
        if let Some(resampler) = &mut self.resampler {
            resampler.flush(&mut self.ready);
        }
    }
}

/// The MP3 file that is being written, sealed chunk by chunk.
struct File {
    encoder: Encoder,
    sealing: Sealing,
    writer: Writer,
    samples: u64,
}

impl File {
    fn new(sealed: SealedFile, writer: Writer) -> Result<Self, Failure> {
        let encoder = Encoder::new(SAMPLE_RATE_HZ);
        let encoder = encoder.map_err(|error| Failure::Fatal { reason: error.to_string() })?;
        Ok(Self { encoder, sealing: Sealing::new(sealed), writer, samples: 0 })
    }

    fn audio_ms(&self) -> u64 {
        self.samples * 1_000 / u64::from(SAMPLE_RATE_HZ)
    }

    async fn push(&mut self, samples: &[i16]) -> Result<(), Failure> {
        self.samples += samples.len() as u64;
        self.encoder.encode(samples, self.sealing.waiting());
        write(&mut self.sealing, &self.writer, false).await
    }

    async fn complete(self) -> Result<SpokenReply, Failure> {
        let audio_ms = self.audio_ms();
        let Self { encoder, mut sealing, writer, .. } = self;
        encoder.finish(sealing.waiting());
        write(&mut sealing, &writer, true).await?;
        writer.complete().await.map_err(away)?;
        let (artefact_id, media_type) = (sealing.file().artefact_id(), MEDIA_TYPE.to_owned());
        Ok(SpokenReply { file: Artefact { artefact_id, media_type, bytes: sealing.bytes() }, audio_ms })
    }
}

async fn write(sealing: &mut Sealing, writer: &Writer, is_end: bool) -> Result<(), Failure> {
    while let Some(chunk) = sealing.next(is_end).await.map_err(sealing_failed)? {
        writer.write(chunk).await.map_err(away)?;
    }
    Ok(())
}
