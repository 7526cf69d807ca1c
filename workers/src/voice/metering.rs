//! What speech engines did for a call, on its bill: each piece of work once, whoever records it.

use domain::SpeechWork;
use events::JobId;
use events::call::{SpeechKind, SpeechOutcome, SpeechWorkMetered};
use nats::Failure;
use vendors::stt::Transcript;

use super::claimed::Claimed;
use super::saying::Spoke;
use crate::{Workers, away};

/// An utterance was transcribed, whether or not it became a message.
pub(super) async fn transcribed(
    workers: &Workers,
    claimed: &Claimed,
    transcript: Transcript,
    from_frame: u32,
) -> Result<(), Failure> {
    let Transcript { text, audio_ms, provider, model } = transcript;
    let characters = text.chars().count() as u64;
    let kind = SpeechKind::Transcription;
    let done = SpeechWork { kind, audio_ms, characters, estimated: false };
    let (prices, now) = (workers.prices.book(claimed.tenant_id()).await.map_err(away)?, workers.clock.now());
    let work = SpeechWorkMetered {
        kind,
        job_id: None,
        agent_id: claimed.agent_id(),
        session_id: claimed.session_id(),
        metered: prices.at(now).meter_speech(&provider, &model, done),
        provider,
        model,
        audio_ms,
        characters,
        outcome: SpeechOutcome::Succeeded,
    };
    claimed.note_at(workers, now, claimed.derived(&format!("heard {from_frame}")), work).await
}

/// A piece of the reply to `job_id` was spoken, or begun and then not wanted: then an engine may have done all of it.
pub(super) async fn spoke(
    workers: &Workers,
    claimed: &Claimed,
    job_id: JobId,
    spoke: &Spoke,
) -> Result<(), Failure> {
    let Spoke { number, characters, audio_ms, outcome, provider, model } = spoke;
    let kind = SpeechKind::Synthesis;
    // An engine that was stopped may have done all of it.
    let estimated = *outcome != SpeechOutcome::Succeeded;
    let done = SpeechWork { kind, audio_ms: *audio_ms, characters: *characters, estimated };
    let (prices, now) = (workers.prices.book(claimed.tenant_id()).await.map_err(away)?, workers.clock.now());
    let work = SpeechWorkMetered {
        kind,
        job_id: Some(job_id),
        agent_id: claimed.agent_id(),
        session_id: claimed.session_id(),
        provider: provider.clone(),
        model: model.clone(),
        audio_ms: *audio_ms,
        characters: *characters,
        outcome: *outcome,
        metered: prices.at(now).meter_speech(provider, model, done),
    };
    claimed.note_at(workers, now, claimed.derived(&format!("said {job_id} {number}")), work).await
}
