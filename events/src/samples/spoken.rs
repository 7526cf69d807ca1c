//! Samples of messages that are spoken outside of a call.

use rust_decimal::Decimal;

use super::id;
use crate::Payload;
use crate::call::{SpeechKind, SpeechMetered, SpeechOutcome};
use crate::voice_message::{Artefact, RecordingReceived, ReplyVoiced, SpeechDone, SpokenReply};

pub(super) fn payloads() -> Vec<Payload> {
    let (job_id, message_id) = (id(3).into(), id(6).into());
    let file = |number, media_type: &str, bytes| Artefact {
        artefact_id: id(number).into(),
        media_type: media_type.to_owned(),
        bytes,
    };
    vec![
        RecordingReceived {
            message_id: id(5).into(),
            job_id,
            agent_version: 1,
            audio: file(17, "audio/webm", 48_213),
            longest_seconds: 600,
        }
        .into(),
        ReplyVoiced {
            job_id,
            message_id,
            audio: Some(SpokenReply { file: file(18, "audio/mpeg", 24_960), audio_ms: 3_120 }),
            failure: None,
            stt_ms: 412,
            llm_ms: 640,
            tts_ms: 205,
        }
        .into(),
        SpeechDone {
            kind: SpeechKind::Synthesis,
            job_id,
            agent_id: id(4).into(),
            provider: "azure".to_owned(),
            model: "neural".to_owned(),
            audio_ms: 3_120,
            characters: 52,
            outcome: SpeechOutcome::Succeeded,
            metered: SpeechMetered {
                cost_usd: Decimal::new(52, 5),
                price_version: "2026-01".to_owned(),
                estimated: false,
            },
        }
        .into(),
    ]
}
