//! Beginning calls, and ending those that nobody holds.

use domain::call::Call;
use events::call::{CallEnded, CallStarted, CallStatus, Direction, Transport};
use events::session::{Channel, SessionCreated, SessionEnded};
use events::{Aggregate, CallId, Cause, CustomerKeyId, Event, EventId, Payload, Sealed, SessionId, TenantId};
use nats::{AppendError, Expect};
use projections::configuration::AgentRecord;
use uuid::Uuid;

use crate::App;
use crate::app::SOURCE;
use crate::problem::Problem;

/// A call that is about to begin.
pub(crate) struct NewCall<'a> {
    pub call_id: CallId,
    pub agent: &'a AgentRecord,
    pub direction: Direction,
    pub transport: Transport,
    /// The tenant's own name for whoever calls.
    pub customer_id: &'a str,
    pub caller_number: Option<&'a str>,
    pub called_number: Option<&'a str>,
    pub provider_call_sid: Option<&'a str>,
}

/// The session of a call, which has one and no other.
pub(crate) fn session_of(call_id: CallId) -> SessionId {
    SessionId(derived(call_id, "session"))
}

fn derived(call_id: CallId, label: &str) -> Uuid {
    Uuid::new_v5(&call_id.0, label.as_bytes())
}

/// Opens the session and starts the call. Safe to do again: a call begins once.
///
/// # Errors
/// When the log or the keyring is not to be had.
pub(crate) async fn start(
    app: &App,
    tenant_id: TenantId,
    cause: &Cause,
    new: NewCall<'_>,
) -> Result<(), Problem> {
    let session_id = session_of(new.call_id);
    let customer_key_id = app.keyring.customer_key(tenant_id, new.customer_id).await?;
    let now = app.clock.now();

    let event_id = EventId(derived(new.call_id, "session.created"));
    let opened = SessionCreated {
        agent_id: new.agent.id,
        channel: Channel::Voice,
        customer_key_id,
        customer_id: sealed(app, tenant_id, customer_key_id, event_id, new.customer_id).await?,
        prompt_variables: None,
    };
    let session = Aggregate::session(tenant_id, session_id);
    first(app, Event::new(event_id, now, SOURCE, session, cause, opened)).await?;

    let event_id = EventId(derived(new.call_id, "call.started"));
    let number = async |number: Option<&str>| match number {
        Some(number) => sealed(app, tenant_id, customer_key_id, event_id, number).await.map(Some),
        None => Ok(None),
    };
    let started = CallStarted {
        session_id,
        agent_id: new.agent.id,
        agent_version: new.agent.version,
        direction: new.direction,
        transport: new.transport,
        caller_number: number(new.caller_number).await?,
        called_number: number(new.called_number).await?,
        provider_call_sid: new.provider_call_sid.map(str::to_owned),
        customer_key_id,
        metadata: serde_json::Map::new(),
    };
    let call = Aggregate::call(tenant_id, new.call_id);
    first(app, Event::new(event_id, now, SOURCE, call, cause, started)).await
}

async fn sealed(
    app: &App,
    tenant_id: TenantId,
    key_id: CustomerKeyId,
    event_id: EventId,
    plain: &str,
) -> Result<Sealed, Problem> {
    Ok(app.keyring.seal(tenant_id, key_id.0, event_id, plain).await?)
}

/// Appends the first event of an aggregate, unless there is one: then it is the same, made before.
async fn first(app: &App, event: Event) -> Result<(), Problem> {
    match app.nats.log.append(&event, Expect::Last(0)).await {
        Ok(_) | Err(AppendError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The call as the log has it; one that never began has not `started`.
///
/// # Errors
/// When the log is not to be had.
pub(crate) async fn read(app: &App, tenant_id: TenantId, call_id: CallId) -> Result<Call, Problem> {
    Ok(Call::of(&app.nats.log.read(&Aggregate::call(tenant_id, call_id), 0).await?))
}

/// Ends a call that nobody ended yet. Safe to do again, and beside a worker that ends it.
///
/// # Errors
/// When the log is not to be had.
pub(crate) async fn end(
    app: &App,
    tenant_id: TenantId,
    call_id: CallId,
    cause: &Cause,
    status: CallStatus,
    reason: &str,
) -> Result<(), Problem> {
    let aggregate = Aggregate::call(tenant_id, call_id);
    let event_id = EventId(derived(call_id, "call.ended"));
    loop {
        let call = read(app, tenant_id, call_id).await?;
        let Some(started) = call.started.as_ref().filter(|_| !call.ended) else { return Ok(()) };
        let session = Aggregate::session(tenant_id, started.call.session_id);
        let history = app.nats.log.read(&session, 0).await?;
        let count =
            |is: fn(&Payload) -> bool| history.iter().filter(|recorded| is(&recorded.event.payload)).count();
        let prices = app.prices.book(tenant_id).await?;
        let now = app.clock.now();
        // The session first: once the call is over, nobody comes back to it.
        if count(|payload| matches!(payload, Payload::SessionEnded(_))) == 0 {
            let event_id = EventId(derived(call_id, "session.ended"));
            let ended = SessionEnded { reason: "call_ended".to_owned() };
            let event = Event::new(event_id, now, SOURCE, session, cause, ended);
            app.nats.log.append(&event, Expect::Anything).await?;
        }
        let requests = count(|payload| matches!(payload, Payload::ReplyCompleted(_))) as u32;
        let duration_ms = call.duration_ms(now);
        let ended = CallEnded {
            status,
            end_reason: reason.to_owned(),
            session_id: started.call.session_id,
            agent_id: started.call.agent_id,
            duration_ms,
            requests,
            metered: started
                .call
                .transport
                .carrier()
                .map(|carrier| prices.at(now).meter_carrier(carrier, duration_ms, requests)),
        };
        let event = Event::new(event_id, now, SOURCE, aggregate, cause, ended);
        match app.nats.log.append(&event, Expect::Last(call.last_sequence)).await {
            Ok(_) => return Ok(()),
            // Somebody else was faster with something: look again.
            Err(AppendError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
