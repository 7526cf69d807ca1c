//! One sample of every payload, for the documents and the tests of everything that reads events.

mod budgets;
mod money;
mod spoken;
mod tools;
mod webhooks;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::agent::{AgentCreated, AgentDeleted, AgentLimits, AgentSettings, AgentUpdated, CalendarSettings};
use crate::appointment::AppointmentBooked;
use crate::call::*;
use crate::function::{FunctionCreated, FunctionDeleted, FunctionUpdated};
use crate::invoice::{InvoiceRecorded, InvoiceStatus};
use crate::mcp_server::{McpServerCreated, McpServerDeleted, McpServerUpdated};
use crate::prompt::{
    DefaultPromptChosen, PromptCreated, PromptDeleted, PromptSettings, PromptUpdated, PromptVersion,
};
use crate::session::*;
use crate::system::{DeliveryParked, JobsRetired};
use crate::telephony::{NumberAssigned, NumberReleased, TwilioConfigured, TwilioRemoved};
use crate::tenant::{KeyCreated, KeyRevoked, KeyRotated, Role, TenantCreated};
use crate::tool_run::{ToolRunCompleted, ToolRunRequested};
use crate::{
    AgentId, Aggregate, ApiKeyId, CallId, Cause, CorrelationId, CustomerKeyId, Event, EventId, MessageId,
    Origin, Payload, PromptId, Sealed, SessionId, TenantId,
};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0193_5c00_0000_7000_8000_0000_0000_0000 + number)
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_763_700_000_000_000).unwrap_or_default()
}

fn sealed() -> Sealed {
    Sealed { key_id: id(7), ciphertext: "c2VhbGVkIHdvcmRzIG9mIGEgY3VzdG9tZXI=".to_owned() }
}

fn metered() -> Metered {
    Metered {
        tokens_in: 103,
        tokens_cached: 64,
        tokens_out: 20,
        estimated: false,
        cost_usd: Decimal::new(246, 6),
        price_version: "global:3".to_owned(),
    }
}

fn settings() -> AgentSettings {
    AgentSettings {
        name: "Billing desk".to_owned(),
        description: "Answers questions about invoices".to_owned(),
        system_prompt: "You are the billing assistant of TechCorp.".to_owned(),
        primary_provider: "vendor_a".to_owned(),
        fallbacks: vec!["vendor_b".to_owned()],
        llm_model: None,
        voice_id: None,
        language: "en-US".to_owned(),
        tools_enabled: vec!["invoice_lookup".to_owned()],
        greeting: None,
        is_active: true,
        metadata: serde_json::Map::new(),
        calendar: Some(CalendarSettings {
            time_zone: "Europe/Berlin".to_owned(),
            slot_minutes: 30,
            opening_hours: [("mon".to_owned(), vec![["09:00".to_owned(), "17:00".to_owned()]])].into(),
        }),
        transfer_numbers: vec![],
        system_prompt_id: None,
        prompt_variables: Default::default(),
        hedge_after_ms: None,
        limits: Some(AgentLimits { requests_per_minute: Some(60), max_concurrent_calls: Some(2) }),
        stt: None,
        tts: None,
    }
}

fn prompt_settings() -> PromptSettings {
    PromptSettings {
        name: "Billing".to_owned(),
        description: "Told to all billing desks".to_owned(),
        category: Some("billing".to_owned()),
        content: "You are the billing assistant of {{company}}.".to_owned(),
        variables: [("company".to_owned(), "TechCorp".to_owned())].into(),
    }
}

fn prompt_version() -> PromptVersion {
    PromptVersion { id: PromptId(id(13)), version: 2 }
}

fn billed() -> Vec<BilledAttempt> {
    vec![BilledAttempt {
        attempt_id: EventId(id(11)),
        provider: "vendor_a".to_owned(),
        model: "vendor-a-1".to_owned(),
        outcome: AttemptOutcome::Succeeded,
        metered: metered(),
    }]
}

/// One payload of every type.
pub fn payloads() -> Vec<Payload> {
    let (turn_id, job_id, agent_id) = (id(9).into(), id(3).into(), id(4).into());
    let mut payloads = vec![
        TenantCreated { name: "TechCorp".to_owned(), webhook_secret: sealed() }.into(),
        KeyCreated {
            name: "default".to_owned(),
            role: Role::Admin,
            prefix: "vb_dev_4f9a1c".to_owned(),
            key_hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
            expires_at: None,
            agent_ids: Some(vec![agent_id]),
            requests_per_minute: Some(60),
        }
        .into(),
        KeyRotated {
            prefix: "vb_dev_c07a90".to_owned(),
            key_hash: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752".to_owned(),
            previous_ends_at: time(),
        }
        .into(),
        KeyRevoked {}.into(),
        AgentCreated { settings: settings() }.into(),
        AgentUpdated { version: 2, settings: settings() }.into(),
        AgentDeleted {}.into(),
        PromptCreated { settings: prompt_settings() }.into(),
        PromptUpdated { version: 2, settings: prompt_settings() }.into(),
        PromptDeleted {}.into(),
        DefaultPromptChosen { prompt_id: Some(PromptId(id(13))) }.into(),
        InvoiceRecorded {
            invoice_id: "INV-TC-001".to_owned(),
            amount: Decimal::new(1_500_000, 2),
            currency: "USD".to_owned(),
            status: InvoiceStatus::Paid,
            description: "Annual Enterprise License".to_owned(),
        }
        .into(),
        AppointmentBooked {
            appointment_id: id(12).into(),
            starts_at: time(),
            ends_at: time() + TimeDelta::minutes(30),
            session_id: SessionId(id(2)),
            tool_call_id: id(10).into(),
            name: sealed(),
            phone: sealed(),
        }
        .into(),
        FunctionCreated { function_id: id(14).into(), settings: tools::function() }.into(),
        FunctionUpdated { function_id: id(14).into(), version: 2, settings: tools::function() }.into(),
        FunctionDeleted { function_id: id(14).into() }.into(),
        McpServerCreated { mcp_server_id: id(15).into(), settings: tools::mcp_server() }.into(),
        McpServerUpdated { mcp_server_id: id(15).into(), version: 2, settings: tools::mcp_server() }.into(),
        McpServerDeleted { mcp_server_id: id(15).into() }.into(),
        SessionCreated {
            agent_id,
            channel: Channel::Chat,
            customer_key_id: CustomerKeyId(id(7)),
            customer_id: sealed(),
            prompt_variables: Some(sealed()),
        }
        .into(),
        MessageReceived {
            message_id: MessageId(id(5)),
            job_id,
            content: sealed(),
            agent_version: 1,
            stream: false,
            spoken: Some(SpokenMessage { call_id: CallId(id(16)), from_frame: 40, through_frame: 112 }),
            callback: None,
            aloud: false,
        }
        .into(),
        TurnStarted {
            turn_id,
            job_id,
            message_id: MessageId(id(5)),
            worker_id: "host-1:4242".to_owned(),
            agent_version: 1,
            attempt: 1,
            held_sequence: 42,
            held_generation: 1,
            prompt: Some(prompt_version()),
        }
        .into(),
        VendorAttempted {
            turn_id,
            job_id,
            agent_id,
            provider: "vendor_a".to_owned(),
            model: "vendor-a-1".to_owned(),
            number: 1,
            outcome: AttemptOutcome::Succeeded,
            error_code: None,
            error: None,
            status: Some(200),
            started_at: time(),
            latency_ms: 212,
            first_token_ms: Some(90),
            metered: metered(),
            endpoint: None,
        }
        .into(),
        ToolRequested {
            turn_id,
            job_id,
            agent_id,
            tool_call_id: id(10).into(),
            vendor_call_id: "call_1".to_owned(),
            name: "invoice_lookup".to_owned(),
            arguments: sealed(),
            round: 1,
            said: None,
            signature: None,
        }
        .into(),
        ToolCompleted {
            turn_id,
            job_id,
            agent_id,
            tool_call_id: id(10).into(),
            name: "invoice_lookup".to_owned(),
            arguments: sealed(),
            status: ToolStatus::Ok,
            result: sealed(),
            latency_ms: 3,
        }
        .into(),
        SessionSummarized {
            turn_id,
            job_id,
            agent_id,
            summary: sealed(),
            through: EventId(id(13)),
            lines: 12,
            provider: "vendor_a".to_owned(),
            model: "vendor-a-1".to_owned(),
        }
        .into(),
        ReplyCompleted {
            turn_id,
            job_id,
            in_reply_to: MessageId(id(5)),
            message_id: MessageId(id(6)),
            agent_id,
            channel: Channel::Chat,
            content: sealed(),
            provider: "vendor_a".to_owned(),
            model: "vendor-a-1".to_owned(),
            tokens_in: 103,
            tokens_out: 20,
            cost_usd: Decimal::new(246, 6),
            latency_ms: 240,
            tools_called: vec!["invoice_lookup".to_owned()],
            attempts: 1,
            billed: billed(),
            then: None,
            agent_version: Some(1),
            prompt: Some(prompt_version()),
            callback: None,
            aloud: false,
        }
        .into(),
        TurnFailed {
            turn_id,
            job_id,
            message_id: MessageId(id(5)),
            agent_id,
            channel: Channel::Chat,
            code: FailureCode::VendorFailed,
            detail: "vendor_a: http_500 after 4 attempts".to_owned(),
            latency_ms: 9_000,
            attempts: 4,
            billed: vec![],
            callback: Some(webhooks::callback()),
            shortage: None,
        }
        .into(),
        SessionEnded { reason: "requested".to_owned() }.into(),
        Greeted {
            message_id: MessageId(id(6)),
            job_id,
            agent_id,
            channel: Channel::Voice,
            content: sealed(),
        }
        .into(),
        CancelRequested { job_id, by: "key:0193e2f4-5f1c-7c52-9d3f-0242ac120002".to_owned() }.into(),
        ReplyInterrupted {
            job_id,
            message_id: MessageId(id(6)),
            agent_id,
            channel: Channel::Voice,
            heard: Some(sealed()),
            heard_ms: 1_840,
            queued_ms: 4_200,
        }
        .into(),
        CallStarted {
            session_id: SessionId(id(2)),
            agent_id,
            agent_version: 1,
            direction: Direction::Inbound,
            transport: Transport::Twilio,
            caller_number: Some(sealed()),
            called_number: Some(sealed()),
            provider_call_sid: Some("CA5d1c2f4b7e9a4c0d8f6b3a2e1d0c9b8a".to_owned()),
            customer_key_id: CustomerKeyId(id(7)),
            metadata: serde_json::Map::new(),
        }
        .into(),
        CallClaimed {
            worker_id: "host-1:4242".to_owned(),
            attempt: 1,
            held_sequence: 43,
            held_generation: 1,
        }
        .into(),
        CallConnected { format: CallAudio::Mulaw8k }.into(),
        TurnMeasured {
            job_id,
            turn: 1,
            interrupted: false,
            speech_ms: Some(1_440),
            endpointing_ms: Some(320),
            stt_ms: Some(80),
            first_token_ms: Some(190),
            first_sentence_ms: Some(60),
            first_audio_ms: Some(90),
            caller_gap_ms: Some(740),
            stt_provider: Some("local".to_owned()),
            llm_provider: Some("vendor_a".to_owned()),
            tts_provider: Some("local".to_owned()),
        }
        .into(),
        ReplySpoken { job_id }.into(),
        SpeechWorkMetered {
            kind: SpeechKind::Transcription,
            job_id: Some(job_id),
            agent_id,
            session_id: SessionId(id(2)),
            provider: "local".to_owned(),
            model: "base.en".to_owned(),
            audio_ms: 1_440,
            characters: 38,
            outcome: SpeechOutcome::Succeeded,
            metered: SpeechMetered {
                cost_usd: Decimal::ZERO,
                price_version: "settings".to_owned(),
                estimated: false,
            },
        }
        .into(),
        CallEnded {
            status: CallStatus::Completed,
            end_reason: "caller_hung_up".to_owned(),
            session_id: SessionId(id(2)),
            agent_id,
            duration_ms: 90_000,
            requests: 4,
            metered: Some(CarrierMetered {
                provider: "twilio".to_owned(),
                duration_ms: 90_000,
                requests: 4,
                cost_usd: Decimal::new(4, 3),
                price_version: "settings".to_owned(),
            }),
        }
        .into(),
        CallSummarized {
            session_id: SessionId(id(2)),
            agent_id,
            summary: Some(sealed()),
            provider: Some("vendor_a".to_owned()),
            model: Some("vendor-a-1".to_owned()),
            billed: billed(),
        }
        .into(),
        HangupRequested { by: "key:01935c00-0000-7000-8000-000000000002".to_owned() }.into(),
        CallDeleted {}.into(),
        ToolRunRequested {
            tool_call_id: id(10).into(),
            agent_id: None,
            function_id: Some(id(14).into()),
            mcp_server_id: None,
            name: "order_status".to_owned(),
            arguments: sealed(),
        }
        .into(),
        ToolRunCompleted {
            tool_call_id: id(10).into(),
            agent_id: None,
            function_id: Some(id(14).into()),
            mcp_server_id: None,
            name: "order_status".to_owned(),
            arguments: sealed(),
            status: ToolStatus::Ok,
            result: sealed(),
            http_status: Some(200),
            latency_ms: 87,
        }
        .into(),
        NumberAssigned { number: "+14155550100".to_owned(), agent_id }.into(),
        NumberReleased { number: "+14155550100".to_owned() }.into(),
        TwilioConfigured {
            account_sid: "AC0123456789abcdef0123456789abcdef".to_owned(),
            auth_token: sealed(),
        }
        .into(),
        TwilioRemoved {}.into(),
        JobsRetired { finished_before: time() }.into(),
        DeliveryParked {
            consumer: "turns".to_owned(),
            partition: 0,
            sequence: 42,
            reason: "the payload cannot be read".to_owned(),
            deliveries: 1,
        }
        .into(),
    ];
    payloads.extend(spoken::payloads());
    payloads.extend(budgets::payloads());
    payloads.extend(money::payloads());
    payloads.extend(webhooks::payloads());
    payloads
}

/// One event of every type, each caused by the one before.
pub fn events() -> Vec<Event> {
    let origin = Origin {
        correlation_id: CorrelationId::parse("01935c00-0000-7000-8000-00000000c0de").unwrap_or_default(),
        actor: "key:01935c00-0000-7000-8000-000000000002".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        key_id: Some(ApiKeyId(id(2))),
    };
    let tenant_id = TenantId(id(1));
    let mut cause = Cause { origin, causation_id: None };
    let mut events = Vec::new();
    for (number, payload) in payloads().into_iter().enumerate() {
        let aggregate = match &payload {
            Payload::DeliveryParked(_) => Aggregate::system(),
            Payload::PricesChanged(_) => Aggregate::price_book(TenantId::SYSTEM),
            Payload::RepricingRequested(_) | Payload::RepricingCompleted(_) | Payload::RepricingFailed(_) => {
                Aggregate::repricings()
            }
            Payload::TenantRepriced(_) => Aggregate::repricing(id(30).into()),
            Payload::LedgerAdjusted(_) => Aggregate::ledger(tenant_id),
            Payload::JobsRetired(_) => Aggregate::jobs(id(30)),
            Payload::DefaultPromptChosen(_) => Aggregate::default_prompt(tenant_id),
            Payload::AppointmentBooked(_) => Aggregate::calendar(tenant_id, AgentId(id(4))),
            Payload::FunctionCreated(_) | Payload::FunctionUpdated(_) | Payload::FunctionDeleted(_) => {
                Aggregate::functions(tenant_id)
            }
            Payload::McpServerCreated(_) | Payload::McpServerUpdated(_) | Payload::McpServerDeleted(_) => {
                Aggregate::mcp_servers(tenant_id)
            }
            Payload::BudgetSet(_) | Payload::BudgetRemoved(_) | Payload::BudgetAlerted(_) => {
                Aggregate::budgets(tenant_id)
            }
            Payload::ToolRunRequested(_) | Payload::ToolRunCompleted(_) => {
                Aggregate::tool_run(tenant_id, id(10).into())
            }
            Payload::CallStarted(_)
            | Payload::CallClaimed(_)
            | Payload::CallConnected(_)
            | Payload::TurnMeasured(_)
            | Payload::ReplySpoken(_)
            | Payload::SpeechMetered(_)
            | Payload::CallEnded(_)
            | Payload::CallSummarized(_)
            | Payload::HangupRequested(_)
            | Payload::CallDeleted(_) => Aggregate::call(tenant_id, CallId(id(16))),
            Payload::VendorAttempted(_) | Payload::SpeechDone(_) => {
                Aggregate::session_facts(tenant_id, SessionId(id(2)))
            }
            payload => webhooks::aggregate_of(tenant_id, payload)
                .unwrap_or_else(|| Aggregate::session(tenant_id, SessionId(id(2)))),
        };
        let event_id = EventId(id(100 + number as u128));
        let event = Event::new(event_id, time(), "vocalbridge/api", aggregate, &cause, payload);
        cause.causation_id = Some(event.envelope.id);
        events.push(event);
    }
    events
}
