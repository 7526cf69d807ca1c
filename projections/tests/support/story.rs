//! Events of a plausible installation.

use chrono::{DateTime, TimeDelta, Utc};
use events::agent::{AgentCreated, AgentSettings, AgentUpdated};
use events::appointment::AppointmentBooked;
use events::invoice::{InvoiceRecorded, InvoiceStatus};
use events::prompt::{
    DefaultPromptChosen, PromptCreated, PromptDeleted, PromptSettings, PromptUpdated, PromptVersion,
};
use events::session::*;
use events::tenant::{KeyCreated, KeyRevoked, KeyRotated, Role, TenantCreated};
use events::*;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Tells events about one tenant with one agent, each a millisecond after the one before.
pub struct Story {
    pub tenant_id: TenantId,
    pub agent_id: AgentId,
    pub key_id: ApiKeyId,
    /// Changed once; the tenant's default.
    pub prompt_id: PromptId,
    /// Was the default before, and is deleted.
    pub old_prompt_id: PromptId,
    time: DateTime<Utc>,
}

/// One message's ids.
#[derive(Clone, Copy)]
pub struct Chat {
    pub session_id: SessionId,
    pub job_id: JobId,
    pub message_id: MessageId,
    pub correlation: Uuid,
}

impl Story {
    pub fn new() -> Self {
        let time = DateTime::from_timestamp_micros(1_763_700_000_000_000).unwrap();
        Self {
            tenant_id: TenantId::new(),
            agent_id: AgentId::new(),
            key_id: ApiKeyId::new(),
            prompt_id: PromptId::new(),
            old_prompt_id: PromptId::new(),
            time,
        }
    }

    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    pub fn event(&mut self, aggregate: Aggregate, correlation: Uuid, payload: impl Into<Payload>) -> Event {
        self.time += TimeDelta::milliseconds(1);
        let origin = Origin {
            correlation_id: CorrelationId::parse(&correlation.to_string()).unwrap(),
            actor: "key:01935c00-0000-7000-8000-000000000002".to_owned(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            key_id: None,
        };
        let cause = Cause { origin, causation_id: Some(EventId::new()) };
        Event::new(EventId::new(), self.time, "vocalbridge/api", aggregate, &cause, payload)
    }

    pub fn settings(name: &str) -> AgentSettings {
        AgentSettings {
            name: name.to_owned(),
            description: String::new(),
            system_prompt: "You are the billing assistant.".to_owned(),
            primary_provider: "vendor_a".to_owned(),
            fallbacks: vec!["vendor_b".to_owned()],
            llm_model: None,
            voice_id: None,
            language: "en-US".to_owned(),
            tools_enabled: vec!["invoice_lookup".to_owned()],
            greeting: None,
            is_active: true,
            metadata: serde_json::Map::new(),
            calendar: None,
            transfer_numbers: vec![],
            system_prompt_id: None,
            prompt_variables: Default::default(),
            hedge_after_ms: None,
            limits: None,
            stt: None,
            tts: None,
        }
    }

    pub fn key_hash(&self) -> String {
        format!("hash-of-{}", self.key_id)
    }

    pub fn prompt_settings(content: &str) -> PromptSettings {
        PromptSettings {
            name: "Billing\0".to_owned(),
            description: String::new(),
            category: None,
            content: content.to_owned(),
            variables: [("company".to_owned(), "TechCorp".to_owned())].into(),
        }
    }

    /// Two prompts, each of which was the default once.
    fn prompts(&mut self) -> Vec<Event> {
        let (tenant_id, correlation) = (self.tenant_id, Uuid::now_v7());
        let created = |content| PromptCreated { settings: Self::prompt_settings(content) };
        let [present, old] = [self.prompt_id, self.old_prompt_id].map(|id| Aggregate::prompt(tenant_id, id));
        let updated = PromptUpdated { version: 2, settings: Self::prompt_settings("Version 2") };
        let choices = Aggregate::default_prompt(tenant_id);
        let chosen = |id| DefaultPromptChosen { prompt_id: Some(id) };
        vec![
            self.event(old, correlation, created("Old")),
            self.event(choices, correlation, chosen(self.old_prompt_id)),
            self.event(present, correlation, created("Version 1")),
            self.event(present, correlation, updated),
            self.event(choices, correlation, chosen(self.prompt_id)),
            self.event(old, correlation, PromptDeleted {}),
        ]
    }

    /// The tenant, a key, two prompts, an agent that was changed once, and an invoice that was entered twice.
    pub fn setup(&mut self) -> Vec<Event> {
        let (tenant_id, correlation) = (self.tenant_id, Uuid::now_v7());
        let invoice = |amount, status| InvoiceRecorded {
            invoice_id: "INV-TC-001".to_owned(),
            amount: Decimal::new(amount, 2),
            currency: "USD".to_owned(),
            status,
            description: "Annual\0 Enterprise License".to_owned(),
        };
        let key = KeyCreated {
            name: "default".to_owned(),
            role: Role::Developer,
            prefix: "vb_dev_4f9a1c".to_owned(),
            key_hash: self.key_hash(),
            expires_at: None,
            agent_ids: None,
            requests_per_minute: None,
        };
        let key_aggregate = Aggregate::key(tenant_id, self.key_id);
        let agent = Aggregate::agent(tenant_id, self.agent_id);
        let invoices = Aggregate::invoice(tenant_id, "INV-TC-001");
        let tenant = TenantCreated { name: "TechCorp".to_owned(), webhook_secret: self.sealed(10) };
        let with_prompt =
            AgentSettings { system_prompt_id: Some(self.prompt_id), ..Self::settings("Billing desk") };
        let mut events = self.prompts();
        events.extend([
            self.event(Aggregate::tenant(tenant_id), correlation, tenant),
            self.event(key_aggregate, correlation, key),
            self.event(agent, correlation, AgentCreated { settings: Self::settings("Billing\0 desk") }),
            self.event(agent, correlation, AgentUpdated { version: 2, settings: with_prompt }),
            self.event(invoices, correlation, invoice(1_400_000, InvoiceStatus::Pending)),
            self.event(invoices, correlation, invoice(1_500_000, InvoiceStatus::Paid)),
        ]);
        events
    }

    pub fn rotate_key(&mut self, prefix: &str, previous_ends_at: DateTime<Utc>) -> Event {
        let rotated = KeyRotated { prefix: prefix.to_owned(), key_hash: self.key_hash(), previous_ends_at };
        self.event(Aggregate::key(self.tenant_id, self.key_id), Uuid::now_v7(), rotated)
    }

    pub fn revoke_key(&mut self) -> Event {
        self.event(Aggregate::key(self.tenant_id, self.key_id), Uuid::now_v7(), KeyRevoked {})
    }

    pub fn session(&mut self, session_id: SessionId) -> Event {
        let customer = Uuid::now_v7();
        let created = SessionCreated {
            agent_id: self.agent_id,
            channel: Channel::Chat,
            customer_key_id: CustomerKeyId(customer),
            customer_id: Sealed { key_id: customer, ciphertext: "Y3VzdG9tZXI=".to_owned() },
            prompt_variables: Some(Sealed { key_id: customer, ciphertext: "dmFsdWVz".to_owned() }),
        };
        self.event(Aggregate::session(self.tenant_id, session_id), Uuid::now_v7(), created)
    }

    pub fn end(&mut self, session_id: SessionId) -> Event {
        let ended = SessionEnded { reason: "requested".to_owned() };
        self.event(Aggregate::session(self.tenant_id, session_id), Uuid::now_v7(), ended)
    }

    pub fn sealed(&self, length: usize) -> Sealed {
        Sealed { key_id: self.tenant_id.0, ciphertext: "c2Vh".repeat(length) }
    }

    pub fn metered() -> Metered {
        Metered {
            tokens_in: 103,
            tokens_cached: 4,
            tokens_out: 20,
            estimated: false,
            cost_usd: Decimal::new(246, 6),
            price_version: "settings".to_owned(),
        }
    }

    pub fn chat(session_id: SessionId) -> Chat {
        Chat { session_id, job_id: JobId::new(), message_id: MessageId::new(), correlation: Uuid::now_v7() }
    }

    /// A time of the agent's calendar, `half_hours` after the story's beginning.
    pub fn booked(&mut self, session_id: SessionId, half_hours: i32) -> Event {
        let starts_at = DateTime::from_timestamp_micros(1_763_700_000_000_000).unwrap()
            + TimeDelta::minutes(30) * half_hours;
        let booked = AppointmentBooked {
            appointment_id: AppointmentId::new(),
            starts_at,
            ends_at: starts_at + TimeDelta::minutes(30),
            session_id,
            tool_call_id: ToolCallId::new(),
            name: self.sealed(4),
            phone: self.sealed(3),
        };
        self.event(Aggregate::calendar(self.tenant_id, self.agent_id), Uuid::now_v7(), booked)
    }

    /// The four events of a message that is answered at once.
    pub fn answered(&mut self, chat: Chat) -> Vec<Event> {
        let (received, started, turn_id) = self.begin(chat);
        let attempted = self.attempted(chat, turn_id, AttemptOutcome::Succeeded);
        let completed = self.completed(chat, turn_id, attempted.envelope.id, None);
        vec![received, started, attempted, completed]
    }

    /// A message whose answer ends the session.
    pub fn answered_last(&mut self, chat: Chat, then: Then) -> Vec<Event> {
        let (received, started, turn_id) = self.begin(chat);
        let attempted = self.attempted(chat, turn_id, AttemptOutcome::Succeeded);
        let completed = self.completed(chat, turn_id, attempted.envelope.id, Some(then));
        vec![received, started, attempted, completed]
    }

    /// A message whose answer needs a tool.
    pub fn answered_with_tool(&mut self, chat: Chat) -> Vec<Event> {
        let (received, started, turn_id) = self.begin(chat);
        let attempted = self.attempted(chat, turn_id, AttemptOutcome::Succeeded);
        let tool = ToolCompleted {
            turn_id,
            job_id: chat.job_id,
            agent_id: self.agent_id,
            tool_call_id: ToolCallId::new(),
            name: "invoice_lookup".to_owned(),
            arguments: self.sealed(6),
            status: ToolStatus::Ok,
            result: self.sealed(20),
            latency_ms: 3,
        };
        let tool = self.event(Aggregate::session(self.tenant_id, chat.session_id), chat.correlation, tool);
        let completed = self.completed(chat, turn_id, attempted.envelope.id, None);
        vec![received, started, attempted, tool, completed]
    }

    /// A message that got no answer; the one attempt cost nothing.
    pub fn failed(&mut self, chat: Chat) -> Vec<Event> {
        let (received, started, turn_id) = self.begin(chat);
        let attempted = self.attempted(chat, turn_id, AttemptOutcome::Failed);
        let free = Metered { tokens_in: 0, tokens_out: 0, cost_usd: Decimal::ZERO, ..Self::metered() };
        let failed = TurnFailed {
            turn_id,
            job_id: chat.job_id,
            message_id: chat.message_id,
            agent_id: self.agent_id,
            channel: Channel::Chat,
            code: FailureCode::VendorFailed,
            detail: "vendor_a: http_500 after 4 attempts".to_owned(),
            latency_ms: 9_000,
            attempts: 1,
            billed: vec![Self::billed(attempted.envelope.id, AttemptOutcome::Failed, free)],
            callback: None,
            shortage: None,
        };
        let failed =
            self.event(Aggregate::session(self.tenant_id, chat.session_id), chat.correlation, failed);
        vec![received, started, attempted, failed]
    }

    fn begin(&mut self, chat: Chat) -> (Event, Event, TurnId) {
        let aggregate = Aggregate::session(self.tenant_id, chat.session_id);
        let received = MessageReceived {
            message_id: chat.message_id,
            job_id: chat.job_id,
            content: self.sealed(24),
            agent_version: 2,
            stream: false,
            spoken: None,
            callback: None,
            aloud: false,
        };
        let turn_id = TurnId::new();
        let started = TurnStarted {
            turn_id,
            job_id: chat.job_id,
            message_id: chat.message_id,
            worker_id: "host-1:4242".to_owned(),
            agent_version: 2,
            attempt: 1,
            held_sequence: 42,
            held_generation: 1,
            prompt: Some(self.prompt_version()),
        };
        (
            self.event(aggregate, chat.correlation, received),
            self.event(aggregate, chat.correlation, started),
            turn_id,
        )
    }

    pub fn prompt_version(&self) -> PromptVersion {
        PromptVersion { id: self.prompt_id, version: 2 }
    }

    pub fn attempted(&mut self, chat: Chat, turn_id: TurnId, outcome: AttemptOutcome) -> Event {
        let attempted = VendorAttempted {
            turn_id,
            job_id: chat.job_id,
            agent_id: self.agent_id,
            provider: "vendor_a".to_owned(),
            model: "vendor-a-1".to_owned(),
            number: 1,
            outcome,
            error_code: (outcome != AttemptOutcome::Succeeded).then(|| "http_500".to_owned()),
            error: (outcome != AttemptOutcome::Succeeded).then(|| "the vendor said \0 and 500".to_owned()),
            status: Some(if outcome == AttemptOutcome::Succeeded { 200 } else { 500 }),
            started_at: self.time,
            latency_ms: 212,
            first_token_ms: Some(90),
            metered: Self::metered(),
            endpoint: (outcome != AttemptOutcome::Succeeded).then_some(2),
        };
        self.event(Aggregate::session_facts(self.tenant_id, chat.session_id), chat.correlation, attempted)
    }

    pub fn billed(attempt_id: EventId, outcome: AttemptOutcome, metered: Metered) -> BilledAttempt {
        let (provider, model) = ("vendor_a".to_owned(), "vendor-a-1".to_owned());
        BilledAttempt { attempt_id, provider, model, outcome, metered }
    }

    fn completed(&mut self, chat: Chat, turn_id: TurnId, attempt_id: EventId, then: Option<Then>) -> Event {
        let completed = ReplyCompleted {
            turn_id,
            job_id: chat.job_id,
            in_reply_to: chat.message_id,
            message_id: MessageId::new(),
            agent_id: self.agent_id,
            channel: Channel::Chat,
            content: self.sealed(40),
            provider: "vendor_a".to_owned(),
            model: "vendor-a-1".to_owned(),
            tokens_in: 103,
            tokens_out: 20,
            cost_usd: Decimal::new(246, 6),
            latency_ms: 240,
            tools_called: vec!["invoice_lookup".to_owned()],
            attempts: 1,
            billed: vec![Self::billed(attempt_id, AttemptOutcome::Succeeded, Self::metered())],
            then,
            agent_version: Some(2),
            prompt: Some(self.prompt_version()),
            callback: None,
            aloud: false,
        };
        self.event(Aggregate::session(self.tenant_id, chat.session_id), chat.correlation, completed)
    }
}
