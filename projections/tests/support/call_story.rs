//! Calls of a plausible installation.

use events::call::*;
use events::session::*;
use events::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::story::{Chat, Story};

/// One call's ids.
#[derive(Clone, Copy)]
pub struct Phone {
    pub call_id: CallId,
    pub session_id: SessionId,
}

impl Phone {
    pub fn new() -> Self {
        Self { call_id: CallId::new(), session_id: SessionId::new() }
    }
}

impl Story {
    pub fn of_call(&mut self, phone: Phone, payload: impl Into<Payload>) -> Event {
        self.event(Aggregate::call(self.tenant_id, phone.call_id), Uuid::now_v7(), payload)
    }

    pub fn call_started(&mut self, phone: Phone) -> Event {
        let started = CallStarted {
            session_id: phone.session_id,
            agent_id: self.agent_id,
            agent_version: 2,
            direction: Direction::Inbound,
            transport: Transport::Twilio,
            caller_number: Some(self.sealed(3)),
            called_number: None,
            provider_call_sid: Some(format!("CA{}", phone.call_id.0.simple())),
            customer_key_id: CustomerKeyId(self.tenant_id.0),
            metadata: serde_json::Map::new(),
        };
        self.of_call(phone, started)
    }

    pub fn call_claimed(&mut self, phone: Phone, attempt: u32) -> Event {
        let claimed = CallClaimed {
            worker_id: format!("host-{attempt}:4242"),
            attempt,
            held_sequence: 42,
            held_generation: attempt.into(),
        };
        self.of_call(phone, claimed)
    }

    pub fn turn_measured(&mut self, phone: Phone, job_id: JobId, turn: u32) -> Event {
        let measured = TurnMeasured {
            job_id,
            turn,
            interrupted: turn == 2,
            speech_ms: Some(1_000),
            endpointing_ms: Some(300),
            stt_ms: Some(100 * u64::from(turn)),
            first_token_ms: Some(200),
            first_sentence_ms: Some(50),
            first_audio_ms: None,
            caller_gap_ms: Some(700),
            stt_provider: Some("local".to_owned()),
            llm_provider: Some("vendor_a".to_owned()),
            tts_provider: None,
        };
        self.of_call(phone, measured)
    }

    pub fn speech_metered(&mut self, phone: Phone, kind: SpeechKind, millicents: i64) -> Event {
        let metered = SpeechMetered {
            cost_usd: Decimal::new(millicents, 5),
            price_version: "settings".to_owned(),
            estimated: false,
        };
        let work = SpeechWorkMetered {
            kind,
            job_id: None,
            agent_id: self.agent_id,
            session_id: phone.session_id,
            provider: "azure".to_owned(),
            model: "hd\0".to_owned(),
            audio_ms: 60_000,
            characters: 800,
            outcome: SpeechOutcome::Cancelled,
            metered,
        };
        self.of_call(phone, work)
    }

    pub fn call_ended(&mut self, phone: Phone) -> Event {
        let metered = CarrierMetered {
            provider: "twilio".to_owned(),
            duration_ms: 90_000,
            requests: 2,
            cost_usd: Decimal::new(2, 3),
            price_version: "settings".to_owned(),
        };
        let ended = CallEnded {
            status: CallStatus::Completed,
            end_reason: "caller_hung_up".to_owned(),
            session_id: phone.session_id,
            agent_id: self.agent_id,
            duration_ms: 90_000,
            requests: 2,
            metered: Some(metered),
        };
        self.of_call(phone, ended)
    }

    pub fn call_summarized(&mut self, phone: Phone) -> Event {
        let summarized = CallSummarized {
            session_id: phone.session_id,
            agent_id: self.agent_id,
            summary: Some(self.sealed(8)),
            provider: Some("vendor_a".to_owned()),
            model: Some("vendor-a-1".to_owned()),
            billed: vec![Self::billed(EventId::new(), AttemptOutcome::Succeeded, Self::metered())],
        };
        self.of_call(phone, summarized)
    }

    pub fn greeted(&mut self, session_id: SessionId, job_id: JobId) -> Event {
        let greeted = Greeted {
            message_id: MessageId::new(),
            job_id,
            agent_id: self.agent_id,
            channel: Channel::Voice,
            content: self.sealed(5),
        };
        self.event(Aggregate::session(self.tenant_id, session_id), Uuid::now_v7(), greeted)
    }

    /// `None`: nothing was heard.
    pub fn interrupted(&mut self, chat: Chat, heard: Option<usize>) -> Event {
        let interrupted = ReplyInterrupted {
            job_id: chat.job_id,
            message_id: MessageId::new(),
            agent_id: self.agent_id,
            channel: Channel::Voice,
            heard: heard.map(|length| self.sealed(length)),
            heard_ms: 1_200,
            queued_ms: 4_000,
        };
        self.event(Aggregate::session(self.tenant_id, chat.session_id), chat.correlation, interrupted)
    }

    /// A whole call: a greeting, an answer that was heard to its end and one that was not, two workers, a summary.
    pub fn call(&mut self, phone: Phone) -> Vec<Event> {
        let (first, second) = (Self::chat(phone.session_id), Self::chat(phone.session_id));
        let mut events = vec![
            self.session(phone.session_id),
            self.call_started(phone),
            self.call_claimed(phone, 1),
            self.of_call(phone, CallConnected { format: CallAudio::Mulaw8k }),
            self.greeted(phone.session_id, JobId::new()),
        ];
        events.extend(self.answered(first));
        events.push(self.of_call(phone, ReplySpoken { job_id: first.job_id }));
        events.push(self.turn_measured(phone, first.job_id, 1));
        events.push(self.speech_metered(phone, SpeechKind::Transcription, 0));
        events.push(self.call_claimed(phone, 2));
        events.push(self.of_call(phone, CallConnected { format: CallAudio::Mulaw8k }));
        events.extend(self.answered(second));
        events.push(self.interrupted(second, Some(2)));
        events.push(self.turn_measured(phone, second.job_id, 2));
        events.push(self.speech_metered(phone, SpeechKind::Synthesis, 1_000));
        events.push(self.of_call(phone, HangupRequested { by: "operator".to_owned() }));
        events.push(self.call_ended(phone));
        events.push(self.end(phone.session_id));
        events.push(self.call_summarized(phone));
        events
    }
}
