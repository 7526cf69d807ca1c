//! The promise: a recording that stands in the log will be answered.

use events::voice_message::RecordingReceived;
use events::{Aggregate, Event, EventId, JobId, MessageId, Payload, Position, SessionId};
use nats::Expect;

use super::answer::{self, VoiceOutcome};
use super::upload::{self, Upload};
use crate::app::SOURCE;
use crate::auth::Caller;
use crate::idempotency::Once;
use crate::problem::{Code, Problem};
use crate::reservations::{Asked, Reservation};
use crate::sessions::SessionFacts;
use crate::{App, rates};

/// A recording that stands in the log.
pub(crate) struct Accepted {
    pub session: Aggregate,
    pub position: Position,
    /// It stood there already with its end: a request repeated after the fact.
    pub ended: Option<VoiceOutcome>,
}

/// What is sent to whom.
pub(crate) struct Recording<'a> {
    pub session_id: SessionId,
    pub facts: &'a SessionFacts,
    pub upload: Upload,
    /// What is longer is refused by whoever decodes it.
    pub longest_seconds: u32,
}

impl Once {
    /// The job of the voice message that the request makes.
    pub(crate) fn voice_job(&self) -> JobId {
        self.derived("job")
    }
}

/// Appends the recording, unless it stands in the log already. A file that is not needed is taken away again.
///
/// # Errors
/// When the session or its agent takes no more messages, or the log is away.
pub(crate) async fn accept(
    app: &App,
    caller: &Caller,
    recording: Recording<'_>,
    once: &Once,
) -> Result<Accepted, Problem> {
    let tenant_id = caller.tenant_id;
    let session = Aggregate::session(tenant_id, recording.session_id);
    let standing = match once.replayed {
        true => find_accepted(app, session, once).await,
        false => Ok(None),
    };
    let decided = match standing {
        Ok(Some(accepted)) => {
            upload::discard(app, tenant_id, &recording.upload).await;
            return Ok(accepted);
        }
        Ok(None) => received(app, caller, &recording, once).await,
        Err(problem) => Err(problem),
    };
    let decided =
        decided.and_then(|(received, reservation)| reservation.check().map(|()| (received, reservation)));
    let (received, reservation) = match decided {
        Ok(decided) => decided,
        Err(problem) => {
            upload::discard(app, tenant_id, &recording.upload).await;
            return Err(problem);
        }
    };
    let event = Event::new(once.id(), once.at, SOURCE, session, &caller.cause(), received);
    // From here on the file stays: an append that seems to have failed may stand all the same.
    let position = app.nats.log.append(&event, Expect::Anything).await?;
    reservation.accepted(app, position).await;
    if is_anothers(app, position, &recording.upload).await {
        upload::discard(app, tenant_id, &recording.upload).await;
    }
    Ok(Accepted { session, position, ended: None })
}

/// Of requests that are repeated at once several may come as far as the append; the log has the first one's file.
async fn is_anothers(app: &App, position: Position, upload: &Upload) -> bool {
    let recorded = app.nats.log.at(position).await.ok().flatten();
    recorded.is_some_and(|recorded| match recorded.event.payload {
        Payload::RecordingReceived(received) => received.audio.artefact_id != upload.artefact.artefact_id,
        _ => false,
    })
}

async fn received(
    app: &App,
    caller: &Caller,
    recording: &Recording<'_>,
    once: &Once,
) -> Result<(RecordingReceived, Reservation), Problem> {
    let Recording { facts, upload, longest_seconds, .. } = recording;
    if facts.is_ended() {
        return Err(Problem::new(Code::SessionEnded, "open a new session"));
    }
    let agent = app.agent(caller.tenant_id, facts.agent_id).await?.filter(|agent| agent.settings.is_active);
    let agent =
        agent.ok_or_else(|| Problem::new(Code::AgentUnavailable, "open a session with another agent"))?;
    rates::count_agent(app, &caller.trace, &agent)?;
    let asked = Asked { tenant_id: caller.tenant_id, key_id: caller.key_id(), agent: &agent };
    let reservation = asked.turn(app, once.voice_job(), "").await?;
    let received = RecordingReceived {
        message_id: once.derived::<MessageId>("message"),
        job_id: once.voice_job(),
        agent_version: agent.version,
        audio: upload.artefact.clone(),
        longest_seconds: *longest_seconds,
    };
    Ok((received, reservation))
}

/// A repeated request finds what the first one did.
async fn find_accepted(app: &App, session: Aggregate, once: &Once) -> Result<Option<Accepted>, Problem> {
    let event_id: EventId = once.id();
    let history = app.nats.log.read(&session, 0).await?;
    let Some(at) = history.iter().position(|recorded| recorded.event.envelope.id == event_id) else {
        return Ok(None);
    };
    let position = history[at].position;
    let ended = answer::of_history(app, &session, once.voice_job(), &history[at..]).await?;
    Ok(Some(Accepted { session, position, ended }))
}
