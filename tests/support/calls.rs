//! A call as the log tells of it, without a socket and without the worker that would talk.

use cli::system::System;
use events::call::*;
use events::session::*;
use events::*;
use nats::Expect;
use nats::recordings::Segment;

/// One call and its session.
pub struct ToldCall<'a> {
    system: &'a System,
    pub tenant_id: TenantId,
    pub agent_id: AgentId,
    pub call_id: CallId,
    pub session_id: SessionId,
    customer_key_id: CustomerKeyId,
    cause: Cause,
}

/// Roles that leave calls to the test.
pub const NOBODY_TALKS: &str = "api,turns,tools,summaries,projections";

impl<'a> ToldCall<'a> {
    /// Opens the session and starts a call of Twilio's.
    pub async fn start(system: &'a System, tenant_id: TenantId, agent_id: AgentId) -> Self {
        let call = Self::open(system, tenant_id, agent_id).await;
        let (at, id) = (Aggregate::call(tenant_id, call.call_id), EventId::new());
        let number = call.seal(id, "+493012345678").await;
        let started = CallStarted {
            session_id: call.session_id,
            agent_id,
            agent_version: 1,
            direction: Direction::Inbound,
            transport: Transport::Twilio,
            caller_number: Some(number),
            called_number: None,
            provider_call_sid: Some(format!("CA{}", call.call_id.0.simple())),
            customer_key_id: call.customer_key_id,
            metadata: serde_json::Map::new(),
        };
        call.append(at, id, started).await;
        call
    }

    /// The session alone.
    pub async fn open(system: &'a System, tenant_id: TenantId, agent_id: AgentId) -> Self {
        let origin = Origin {
            correlation_id: CorrelationId::new(),
            actor: "system".to_owned(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            key_id: None,
        };
        let customer_key_id = system.keyring.customer_key(tenant_id, "caller-1").await.unwrap();
        let call = Self {
            system,
            tenant_id,
            agent_id,
            call_id: CallId::new(),
            session_id: SessionId::new(),
            customer_key_id,
            cause: Cause { origin, causation_id: None },
        };
        let id = EventId::new();
        let created = SessionCreated {
            agent_id,
            channel: Channel::Voice,
            customer_key_id,
            customer_id: call.seal(id, "caller-1").await,
            prompt_variables: None,
        };
        call.append(call.session(), id, created).await;
        call
    }

    fn session(&self) -> Aggregate {
        Aggregate::session(self.tenant_id, self.session_id)
    }

    async fn seal(&self, id: EventId, text: &str) -> Sealed {
        self.system.keyring.seal(self.tenant_id, self.customer_key_id.0, id, text).await.unwrap()
    }

    async fn append(&self, about: Aggregate, id: EventId, payload: impl Into<Payload>) -> Position {
        let event = Event::new(id, self.system.clock.now(), "test", about, &self.cause, payload);
        self.system.nats.log.append(&event, Expect::Anything).await.unwrap()
    }

    /// An event of the call.
    pub async fn tell(&self, payload: impl Into<Payload>) -> EventId {
        let id = EventId::new();
        self.append(Aggregate::call(self.tenant_id, self.call_id), id, payload).await;
        id
    }

    /// A segment of the recording, sealed and stored as the media worker does.
    pub async fn record(&self, audio: CallAudio, index: u32, interleaved: &[u8]) {
        let plain = [&[audio.code()], interleaved].concat();
        let (key_id, place) = (self.customer_key_id.0, self.call_id.recorded_segment(index));
        let sealed = self.system.keyring.seal_bytes(self.tenant_id, key_id, place, &plain).await.unwrap();
        let segment = Segment { index, offset_ms: u64::from(index) * 2_000, data: sealed.into() };
        self.system.nats.recordings.append(self.tenant_id, self.call_id, &segment).await.unwrap();
    }

    /// The caller said something, and waits for the answer.
    pub async fn say(&self, content: &str) -> JobId {
        let (id, job_id) = (EventId::new(), JobId::new());
        let received = MessageReceived {
            message_id: MessageId::new(),
            job_id,
            content: self.seal(id, content).await,
            agent_version: 1,
            stream: true,
            spoken: Some(SpokenMessage { call_id: self.call_id, from_frame: 10, through_frame: 90 }),
            callback: None,
            aloud: false,
        };
        self.append(self.session(), id, received).await;
        job_id
    }

    /// The agent spoke first.
    pub async fn greet(&self, words: &str) -> JobId {
        let (id, job_id) = (EventId::new(), JobId::new());
        let greeted = Greeted {
            message_id: MessageId::new(),
            job_id,
            agent_id: self.agent_id,
            channel: Channel::Voice,
            content: self.seal(id, words).await,
        };
        self.append(self.session(), id, greeted).await;
        job_id
    }

    /// The caller spoke on when this much of the answer was heard; `None`: nothing.
    pub async fn interrupt(&self, job_id: JobId, heard: Option<&str>) -> MessageId {
        let (id, message_id) = (EventId::new(), MessageId::new());
        let interrupted = ReplyInterrupted {
            job_id,
            message_id,
            agent_id: self.agent_id,
            channel: Channel::Voice,
            heard: match heard {
                Some(words) => Some(self.seal(id, words).await),
                None => None,
            },
            heard_ms: if heard.is_some() { 1_200 } else { 0 },
            queued_ms: 4_000,
        };
        self.append(self.session(), id, interrupted).await;
        message_id
    }

    pub async fn hang_up(&self, duration_ms: u64, metered: Option<CarrierMetered>) -> EventId {
        let ended = CallEnded {
            status: CallStatus::Completed,
            end_reason: "caller_hung_up".to_owned(),
            session_id: self.session_id,
            agent_id: self.agent_id,
            duration_ms,
            requests: metered.as_ref().map_or(0, |metered| metered.requests),
            metered,
        };
        self.tell(ended).await
    }
}
