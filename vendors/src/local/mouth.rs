//! One text as the model on this machine speaks it: sentence after sentence, the next one while the last one is heard.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::hibari::{SAMPLE_RATE_HZ, sentences};
use super::{Answer, HIBARI, Local, Priority, TTS_MODEL, TTS_VOICE, broken, is_english, unanswered};
use crate::speech::{Kind, LOCAL, Measured, SpeechError};
use crate::tts::{SpeechFormat, TtsTarget};

pub(crate) const FORMAT: SpeechFormat = SpeechFormat::Pcm16 { sample_rate_hz: SAMPLE_RATE_HZ };
/// Half a second.
const PIECE_BYTES: usize = SAMPLE_RATE_HZ as usize;

/// # Errors
/// When the target asks for what is not here, or there is no room.
pub(crate) fn speak(local: &Arc<Local>, target: &TtsTarget, text: &str) -> Result<LocalSpeech, SpeechError> {
    if let Some(model) = target.model.as_ref().filter(|model| *model != TTS_MODEL) {
        return Err(SpeechError::UnknownModel { provider: LOCAL, model: model.clone() });
    }
    if let Some(voice) = target.voice.as_ref().filter(|voice| *voice != TTS_VOICE) {
        return Err(SpeechError::UnknownVoice { provider: LOCAL, voice: voice.clone() });
    }
    if !is_english(&target.language) {
        return Err(SpeechError::UnknownLanguage { provider: LOCAL, language: target.language.clone() });
    }
    local.installed(&HIBARI)?;
    let mut speech = LocalSpeech {
        local: local.clone(),
        sentences: sentences(text).into(),
        under_way: None,
        ready: Bytes::new(),
        measured: None,
    };
    let measured = Measured::begin(Kind::Synthesis, LOCAL);
    let begun = speech.begin(Priority::FirstWords);
    match &begun {
        Ok(()) => speech.measured = Some(measured),
        Err(_) => measured.ended(&begun),
    }
    begun.map(|()| speech)
}

/// A text on its way to becoming audio. Dropping it cancels.
pub(crate) struct LocalSpeech {
    local: Arc<Local>,
    sentences: VecDeque<String>,
    under_way: Option<Answer<Vec<u8>>>,
    ready: Bytes,
    /// Until the first audio.
    measured: Option<Measured>,
}

impl LocalSpeech {
    fn begin(&mut self, priority: Priority) -> Result<(), SpeechError> {
        let Some(sentence) = self.sentences.front().cloned() else { return Ok(()) };
        let compute = move |models: &mut super::Models| {
            let samples = models.hibari()?.speak(&sentence).map_err(broken)?;
            Ok(samples.into_iter().flat_map(i16::to_le_bytes).collect())
        };
        let (_, answer) = self.local.pool.submit(priority, move |models, _| compute(models))?;
        self.under_way = Some(answer);
        self.sentences.pop_front();
        Ok(())
    }

    /// The next piece; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When the model fails, or there is no room for the rest of the text.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SpeechError> {
        while self.ready.is_empty() {
            if self.under_way.is_none() {
                self.begin(Priority::MoreWords)?;
            }
            let Some(answer) = &mut self.under_way else { return Ok(None) };
            let spoken = answer.await.map_err(unanswered).flatten();
            self.under_way = None;
            if let Some(measured) = self.measured.take() {
                measured.ended(&spoken);
            }
            self.ready = spoken?.into();
            // Refused now, it is tried again when it is needed.
            let _ = self.begin(Priority::MoreWords);
        }
        let length = PIECE_BYTES.min(self.ready.len());
        Ok(Some(self.ready.split_to(length)))
    }
}
