//! The built-in ears. They keep no audio, so that five hundred callers cost nothing.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Ear, SAMPLES_PER_MS, SttError, SttTarget};
use crate::speech::Kind;
use crate::speech::simulated::{DEFAULT_MODEL, Simulated};

pub(super) fn listen(engine: &Arc<Simulated>, target: &SttTarget) -> impl Ear + use<> {
    let model = target.model.clone().unwrap_or_else(|| DEFAULT_MODEL.to_owned());
    Listening { engine: engine.clone(), model, samples: 0, utterance: None }
}

struct Listening {
    engine: Arc<Simulated>,
    model: String,
    samples: usize,
    /// Given when the vendor is first asked: a cough that nobody decodes takes nobody's turn.
    utterance: Option<u64>,
}

impl Ear for Listening {
    fn model(&self) -> &str {
        &self.model
    }

    fn push(&mut self, samples: &[i16]) {
        self.samples += samples.len();
    }

    fn decode(&mut self, kind: Kind) -> BoxFuture<'static, Result<String, SttError>> {
        let utterance = *self.utterance.get_or_insert_with(|| self.engine.next_utterance(&self.model));
        let (engine, model) = (self.engine.clone(), self.model.clone());
        let audio_ms = (self.samples / SAMPLES_PER_MS) as u64;
        async move { engine.transcribe(kind, &model, utterance, audio_ms).await }.boxed()
    }
}
