//! The port to ears: a caller's samples in, words out, whichever engine hears them.
//!
//! [`SttEngines::open`] begins an [`Utterance`]: push what the caller says, ask for a partial transcript now and then,
//! and [`finish`](Utterance::finish) when it is whole.

mod openai;
mod simulated;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::local::{self, Local};
use crate::speech::openai::OpenAi;
use crate::speech::simulated::Simulated;
use crate::speech::{Engines, Kind, LOCAL, OPENAI, SIMULATED, absent};

pub use crate::speech::SpeechError as SttError;

/// Of what is pushed.
pub const SAMPLE_RATE_HZ: u32 = 16_000;
/// The longest utterance; what is pushed beyond it is not heard.
pub const MAX_UTTERANCE_SECONDS: u32 = 60;

const SAMPLES_PER_MS: usize = SAMPLE_RATE_HZ as usize / 1_000;
const MAX_SAMPLES: usize = (SAMPLE_RATE_HZ * MAX_UTTERANCE_SECONDS) as usize;

/// Who shall hear.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SttTarget {
    pub provider: String,
    /// `None`: the engine's own choice.
    pub model: Option<String>,
    /// BCP 47, such as `en` or `en-US`.
    pub language: String,
}

/// All ears of a process. Make one and share it.
pub struct SttEngines {
    local: Option<Arc<Local>>,
    simulated: Option<Arc<Simulated>>,
    openai: Option<Arc<OpenAi>>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Empty when nothing was understood.
    pub text: String,
    /// How much audio was heard: what a vendor bills.
    pub audio_ms: u64,
    pub provider: String,
    pub model: String,
}

impl SttEngines {
    pub(crate) fn new(engines: &Engines) -> Self {
        let Engines { local, simulated, openai } = engines.clone();
        Self { local, simulated, openai }
    }

    /// Somebody will be listened to soon: what takes time before the first words is done now, in the background.
    pub fn prepare(&self, target: &SttTarget) {
        if let (LOCAL, Some(local)) = (target.provider.as_str(), &self.local) {
            local.prepare_to_hear();
        }
    }

    /// Begins to listen. Needs no network and no time.
    ///
    /// # Errors
    /// When the target cannot hear: it is not there, or has no room for one more.
    pub fn open(&self, target: &SttTarget) -> Result<Utterance, SttError> {
        let (provider, ear): (_, Box<dyn Ear>) = match target.provider.as_str() {
            LOCAL => (LOCAL, local::listen(self.local.as_ref().ok_or_else(|| absent(LOCAL))?, target)?),
            SIMULATED => {
                let engine = self.simulated.as_ref().ok_or_else(|| absent(SIMULATED))?;
                (SIMULATED, Box::new(simulated::listen(engine, target)))
            }
            OPENAI => {
                let engine = self.openai.as_ref().ok_or_else(|| absent(OPENAI))?;
                (OPENAI, Box::new(openai::listen(engine, target)))
            }
            provider => return Err(absent(provider)),
        };
        Ok(Utterance { provider, ear, samples: 0, under_way: None, last: None })
    }
}

/// One utterance as an engine hears it.
pub(crate) trait Ear: Send {
    fn model(&self) -> &str;

    /// Whether it can say what it has heard so far.
    fn has_partials(&self) -> bool {
        true
    }

    /// Never more than [`MAX_SAMPLES`] in all.
    fn push(&mut self, samples: &[i16]);

    /// Begins to decode what there is, whole only once. Dropping the future cancels.
    fn decode(&mut self, kind: Kind) -> BoxFuture<'static, Result<String, SttError>>;

    /// Somebody waits for the partial transcript that is under way: it is the whole one.
    fn hurry(&mut self) {}
}

/// What a caller says, from when they begin until they pause. Dropping it cancels whatever is under way.
pub struct Utterance {
    provider: &'static str,
    ear: Box<dyn Ear>,
    samples: usize,
    /// A partial transcript, and of how many samples.
    under_way: Option<(usize, BoxFuture<'static, Result<String, SttError>>)>,
    last: Option<(usize, String)>,
}

impl Utterance {
    /// Hears 16 kHz mono samples. Never blocks. What is beyond [`MAX_UTTERANCE_SECONDS`] is dropped.
    pub fn push(&mut self, samples: &[i16]) {
        let room = MAX_SAMPLES - self.samples;
        let heard = &samples[..samples.len().min(room)];
        self.samples += heard.len();
        self.ear.push(heard);
    }

    /// How much has been heard.
    pub fn audio_ms(&self) -> u64 {
        (self.samples / SAMPLES_PER_MS) as u64
    }

    /// Begins a partial transcript of what has been heard, unless one is under way or nothing has been heard since the
    /// last one. An engine that is busy drops it, and `openai` has none.
    pub fn want_partial(&mut self) {
        let known = self.last.as_ref().map_or(0, |(samples, _)| *samples);
        if self.under_way.is_none() && self.samples > known && self.ear.has_partials() {
            self.under_way = Some((self.samples, self.ear.decode(Kind::Partial)));
        }
    }

    /// The next partial transcript. Cancel-safe; never returns while none is under way, and none is any more when it
    /// failed or was dropped.
    pub async fn partial(&mut self) -> String {
        if let Some((samples, decoding)) = &mut self.under_way {
            let samples = *samples;
            let decoded = decoding.await;
            self.under_way = None;
            if let Ok(text) = decoded {
                self.last = Some((samples, text.clone()));
                return text;
            }
        }
        std::future::pending().await
    }

    /// The transcript of all that was heard: the last partial one when nothing was pushed since.
    ///
    /// # Errors
    /// As the engine failed, after its retries.
    pub async fn finish(mut self) -> Result<Transcript, SttError> {
        let text = self.whole().await?;
        let (audio_ms, provider) = (self.audio_ms(), self.provider.to_owned());
        Ok(Transcript { text, audio_ms, provider, model: self.ear.model().to_owned() })
    }

    async fn whole(&mut self) -> Result<String, SttError> {
        if self.samples == 0 {
            return Ok(String::new());
        }
        if let Some((samples, text)) = self.last.take()
            && samples == self.samples
        {
            return Ok(text);
        }
        if let Some((samples, decoding)) = self.under_way.take()
            && samples == self.samples
        {
            self.ear.hurry();
            if let Ok(text) = decoding.await {
                return Ok(text);
            }
        }
        self.ear.decode(Kind::Transcription).await
    }
}
