//! How a spoken message ended, as its sender sees it: the same object from a waiting POST and from a job.

use events::voice_message::{ReplyVoiced, VoicingFailure};
use events::{Aggregate, JobId, MessageId, Payload, Recorded, SessionId, TenantId};
use projections::jobs::JobRecord;
use projections::voice_messages::{SpokenFile, VoiceJob};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::problem::Problem;
use crate::routes::messages::reply::{self, Reply};

/// The assistant's answer to a message that was spoken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VoiceReply {
    #[serde(flatten)]
    pub reply: Reply,
    /// What was understood of the recording; `null` once the customer's data was erased.
    pub transcript: Option<String>,
    /// Where the spoken reply is; `null` when nothing was said, or could be.
    #[schema(example = "/api/sessions/0193e2f4-…/voice/audio/0193e2f4-…")]
    pub audio_url: Option<String>,
    /// Why the reply could not be spoken; `null` unless that failed.
    pub audio_error: Option<AudioError>,
    pub latency: VoiceLatency,
    /// Of the spoken reply, where the log was read for it.
    #[serde(skip)]
    #[schema(ignore)]
    pub file: Option<SpokenFile>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AudioError {
    /// Stable; branch on this.
    #[schema(example = "timeout")]
    pub code: String,
    pub detail: String,
}

/// How long the parts took, each from where the one before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct VoiceLatency {
    /// From the recording's acceptance until its words were known.
    pub stt_ms: u64,
    /// From there until the reply was complete.
    pub llm_ms: u64,
    /// From there until it was spoken.
    pub tts_ms: u64,
    pub total_ms: u64,
}

impl VoiceLatency {
    fn new(stt_ms: u64, llm_ms: u64, tts_ms: u64) -> Self {
        Self { stt_ms, llm_ms, tts_ms, total_ms: stt_ms + llm_ms + tts_ms }
    }
}

impl From<VoicingFailure> for AudioError {
    fn from(VoicingFailure { code, detail }: VoicingFailure) -> Self {
        Self { code, detail }
    }
}

/// A reply, or the problem that the sender is answered, and where in the log that stands. Boxed for its size.
pub(crate) struct VoiceOutcome {
    pub answer: Result<Box<VoiceReply>, Problem>,
    pub sequence: u64,
}

fn audio_url(session_id: SessionId, message_id: MessageId) -> String {
    format!("/api/sessions/{session_id}/voice/audio/{message_id}")
}

/// The outcome of a job as the session's history has it; `None`: it is not over.
///
/// # Errors
/// When the words cannot be opened just now.
pub(crate) async fn of_history(
    app: &App,
    session: &Aggregate,
    job_id: JobId,
    history: &[Recorded],
) -> Result<Option<VoiceOutcome>, Problem> {
    let (mut said, mut replied) = (None, None);
    for recorded in history {
        match &recorded.event.payload {
            Payload::MessageReceived(message) if message.job_id == job_id => {
                said = Some((recorded.event.envelope.id, &message.content));
            }
            Payload::ReplyCompleted(reply) if reply.job_id == job_id => replied = Some(recorded),
            Payload::TurnFailed(failure) if failure.job_id == job_id => {
                let answer = Err(reply::of_failure(failure));
                return Ok(Some(VoiceOutcome { answer, sequence: recorded.position.sequence }));
            }
            Payload::ReplyVoiced(voiced) if voiced.job_id == job_id => {
                let (Some((said_in, said)), Some(replied)) = (said, replied) else { return Ok(None) };
                let transcript = app.keyring.open(session.tenant_id, said_in, said).await?;
                let Some(reply) = reply::of_event(app, session.tenant_id, job_id, replied).await else {
                    return Ok(None);
                };
                let answer =
                    reply.map(|reply| Box::new(answered(session.id.into(), *reply, transcript, voiced)));
                return Ok(Some(VoiceOutcome { answer, sequence: recorded.position.sequence }));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn answered(
    session_id: SessionId,
    reply: Reply,
    transcript: Option<String>,
    voiced: &ReplyVoiced,
) -> VoiceReply {
    VoiceReply {
        transcript,
        audio_url: voiced.audio.as_ref().map(|_| audio_url(session_id, reply.message_id)),
        audio_error: voiced.failure.clone().map(AudioError::from),
        latency: VoiceLatency::new(voiced.stt_ms, voiced.llm_ms, voiced.tts_ms),
        file: voiced.audio.as_ref().map(|audio| SpokenFile {
            artefact_id: audio.file.artefact_id,
            bytes: audio.file.bytes,
            audio_ms: audio.audio_ms,
        }),
        reply,
    }
}

/// The result of a finished job.
///
/// # Errors
/// When the words cannot be opened just now.
pub(crate) async fn of_job(
    app: &App,
    tenant_id: TenantId,
    job: &JobRecord,
    voice: &VoiceJob,
    reply: Reply,
) -> Result<Box<VoiceReply>, Problem> {
    let transcript = match &voice.transcript {
        Some((said_in, said)) => app.keyring.open(tenant_id, *said_in, said).await?,
        None => None,
    };
    let voiced = voice.voiced.as_ref();
    let has_audio = voiced.is_some_and(|voiced| voiced.has_audio);
    let (stt_ms, llm_ms, tts_ms) =
        voiced.map_or((0, 0, 0), |voiced| (voiced.stt_ms, voiced.llm_ms, voiced.tts_ms));
    Ok(Box::new(VoiceReply {
        transcript,
        audio_url: has_audio.then(|| audio_url(job.session_id, reply.message_id)),
        audio_error: voiced.and_then(|voiced| voiced.failure.clone()).map(AudioError::from),
        latency: VoiceLatency::new(stt_ms, llm_ms, tts_ms),
        file: None,
        reply,
    }))
}
