//! How long the parts of a turn take, as the caller hears it.

use events::JobId;
use events::call::TurnMeasured;
use tokio::time::Instant;

/// The moments of one turn so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopwatch {
    pub job_id: Option<JobId>,
    pub speech_ms: Option<u64>,
    pub last_voiced: Option<Instant>,
    pub finished: Option<Instant>,
    pub words: Option<Instant>,
    pub first_token: Option<Instant>,
    pub first_piece: Option<Instant>,
    pub first_audio: Option<Instant>,
    pub interrupted: bool,
    pub stt_provider: Option<String>,
    pub llm_provider: Option<String>,
    pub tts_provider: Option<String>,
}

/// Keeps the first moment.
pub(super) fn mark(moment: &mut Option<Instant>) {
    moment.get_or_insert_with(Instant::now);
}

impl Stopwatch {
    /// What is recorded of the turn; `None`: it has no name.
    pub(super) fn measured(&self, turn: u32) -> Option<TurnMeasured> {
        let between = |from: Option<Instant>, to: Option<Instant>| {
            let took = to?.saturating_duration_since(from?);
            Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
        };
        Some(TurnMeasured {
            job_id: self.job_id?,
            turn,
            interrupted: self.interrupted,
            speech_ms: self.speech_ms,
            endpointing_ms: between(self.last_voiced, self.finished),
            stt_ms: between(self.finished, self.words),
            first_token_ms: between(self.words, self.first_token),
            first_sentence_ms: between(self.first_token, self.first_piece),
            first_audio_ms: between(self.first_piece, self.first_audio),
            caller_gap_ms: between(self.last_voiced, self.first_audio),
            stt_provider: self.stt_provider.clone(),
            llm_provider: self.llm_provider.clone(),
            tts_provider: self.tts_provider.clone(),
        })
    }
}
