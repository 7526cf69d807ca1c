//! Speech on this machine: Moonshine hears, Hibari speaks, ONNX Runtime computes. English only.
//!
//! Models are heavy and this process has calls to carry, so all inference runs on a few threads of its own
//! ([`pool`]) that yield to everything else. Each thread loads a model when it is first needed, or soon will be: about
//! 200 MB for hearing and 110 MB for speaking.

mod ear;
pub(crate) mod hibari;
mod moonshine;
mod mouth;
mod pool;
mod runtime;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use crate::speech::{LOCAL, SpeechError};
use hibari::Hibari;
use moonshine::Moonshine;
use pool::{Pool, Priority, Ticket};

pub(crate) use ear::listen;
pub(crate) use mouth::{FORMAT, LocalSpeech, speak};

const STT_MODEL: &str = "moonshine-tiny-en";
pub(crate) const TTS_MODEL: &str = "hibari";
const TTS_VOICE: &str = "heart";

/// Utterances that are open at once, for each thread. Hearing takes 2 % of a core, with partial transcripts 10 to 20 %;
/// most of the people on the phone are listening.
const UTTERANCES_PER_THREAD: usize = 32;

const LIBRARY: &str = "lib/libonnxruntime.so";
const MOONSHINE: [&str; 3] = [
    "stt/moonshine-tiny-en/encoder_model.ort",
    "stt/moonshine-tiny-en/decoder_model_merged.ort",
    "stt/moonshine-tiny-en/tokenizer.bin",
];
const HIBARI: [&str; 8] = [
    "tts/hibari/hibari.onnx",
    "tts/hibari/vocab.json",
    "tts/hibari/oov.onnx",
    "tts/hibari/oov.json",
    "tts/hibari/lexicon_us_gold.json.gz",
    "tts/hibari/lexicon_us_silver.json.gz",
    "tts/hibari/tagger.json.gz",
    "tts/hibari/tokenizer_exceptions.json",
];

/// The engines of one process.
pub(crate) struct Local {
    models_dir: PathBuf,
    pool: Pool,
    utterances: Arc<AtomicUsize>,
    most_utterances: usize,
}

impl Local {
    pub(crate) fn new(models_dir: PathBuf, threads: usize) -> Self {
        let threads = threads.max(1);
        let pool = Pool::new(threads, models_dir.clone());
        Self {
            models_dir,
            pool,
            utterances: Arc::default(),
            most_utterances: threads * UTTERANCES_PER_THREAD,
        }
    }

    /// # Errors
    /// When a file is missing.
    fn installed(&self, files: &[&str]) -> Result<(), SpeechError> {
        let missing = [LIBRARY].iter().chain(files).find(|file| !self.models_dir.join(file).is_file());
        missing.map_or(Ok(()), |missing| Err(SpeechError::NotInstalled { missing: (*missing).to_owned() }))
    }

    /// Loads what speaks, ahead of the first words. Where it is not installed, or broken, the first words will say so.
    pub(crate) fn prepare_to_speak(&self) {
        self.prepare("hibari", &HIBARI, |models| models.hibari().map(|_| ()));
    }

    /// The same, of what hears.
    pub(crate) fn prepare_to_hear(&self) {
        self.prepare("moonshine", &MOONSHINE, |models| models.moonshine().map(|_| ()));
    }

    fn prepare(&self, name: &'static str, files: &[&str], load: fn(&mut Models) -> Result<(), SpeechError>) {
        let prepare = move |models: &mut Models| {
            if let Err(error) = load(models) {
                tracing::warn!(name, %error, "a speech model cannot be loaded");
            }
        };
        if self.installed(files).is_ok()
            && let Err(error) = self.pool.prepare(name, prepare)
        {
            tracing::warn!(name, %error, "a speech model cannot be loaded");
        }
    }

    /// # Errors
    /// When as many utterances are open as there may be.
    fn seat(&self) -> Result<Seat, SpeechError> {
        let taken = self.utterances.fetch_add(1, Ordering::Relaxed);
        // Gives it back when there was none.
        let seat = Seat(self.utterances.clone());
        if taken < self.most_utterances { Ok(seat) } else { Err(AT_CAPACITY) }
    }
}

const AT_CAPACITY: SpeechError = SpeechError::AtCapacity { provider: LOCAL };

/// The right to keep an utterance open.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The models of one thread, loaded when first needed.
pub(crate) struct Models {
    dir: PathBuf,
    moonshine: Option<Moonshine>,
    hibari: Option<Hibari>,
}

impl Models {
    fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), moonshine: None, hibari: None }
    }

    fn moonshine(&mut self) -> Result<&mut Moonshine, SpeechError> {
        let loaded = match self.moonshine.take() {
            Some(loaded) => loaded,
            None => Moonshine::load(&self.dir).map_err(broken)?,
        };
        Ok(self.moonshine.insert(loaded))
    }

    fn hibari(&mut self) -> Result<&mut Hibari, SpeechError> {
        let loaded = match self.hibari.take() {
            Some(loaded) => loaded,
            None => Hibari::load(&self.dir).map_err(broken)?,
        };
        Ok(self.hibari.insert(loaded))
    }
}

/// Something of a model's: its files, or a computation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("{0}")]
    Runtime(String),
    #[error("{file} cannot be read: {detail}")]
    File { file: &'static str, detail: String },
    #[error("the model answers in another shape than it should")]
    Shape,
}

impl<T> From<ort::Error<T>> for ModelError {
    fn from(error: ort::Error<T>) -> Self {
        Self::Runtime(error.to_string())
    }
}

fn broken(error: ModelError) -> SpeechError {
    SpeechError::Engine { provider: LOCAL, detail: error.to_string() }
}

/// What comes back from the pool.
type Answer<T> = oneshot::Receiver<Result<T, SpeechError>>;

fn unanswered(_: oneshot::error::RecvError) -> SpeechError {
    SpeechError::Engine { provider: LOCAL, detail: "the computation broke off".to_owned() }
}

/// Only English is spoken here.
fn is_english(language: &str) -> bool {
    let primary = language.split(['-', '_']).next().unwrap_or_default();
    primary.is_empty() || primary.eq_ignore_ascii_case("en")
}
