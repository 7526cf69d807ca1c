//! Ears behind OpenAI's endpoint. They hear whole utterances only: every partial transcript would be billed in full.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Ear, SttError, SttTarget};
use crate::speech::Kind;
use crate::speech::openai::OpenAi;

pub(super) fn listen(engine: &Arc<OpenAi>, target: &SttTarget) -> impl Ear + use<> {
    let model = engine.stt_model(target.model.as_deref()).to_owned();
    Listening { engine: engine.clone(), model, language: target.language.clone(), audio: Vec::new() }
}

struct Listening {
    engine: Arc<OpenAi>,
    model: String,
    language: String,
    audio: Vec<i16>,
}

impl Ear for Listening {
    fn model(&self) -> &str {
        &self.model
    }

    fn has_partials(&self) -> bool {
        false
    }

    fn push(&mut self, samples: &[i16]) {
        self.audio.extend_from_slice(samples);
    }

    fn decode(&mut self, _kind: Kind) -> BoxFuture<'static, Result<String, SttError>> {
        let (engine, model, language) = (self.engine.clone(), self.model.clone(), self.language.clone());
        let audio = std::mem::take(&mut self.audio);
        async move { engine.transcribe(&model, &language, &audio).await }.boxed()
    }
}
