//! What tenants can be told of, under which names, and in which shape: the one table of it. Everything told is ids and
//! figures; anybody's words are fetched with an API key, so that they never lie in a receiver's logs.

use chrono::{DateTime, SecondsFormat, Utc};
use events::budget::BudgetAlerted;
use events::call::{CallEnded, CallStarted, CallStatus, CallSummarized, Direction, Transport};
use events::session::{Channel, FailureCode, ReplyCompleted, SessionEnded, TurnFailed};
use events::voice_message::ReplyVoiced;
use events::webhook::{DisabledReason, WebhookDisabled};
use events::{
    AgentId, CallId, DeliveryId, Event, EventPayload, JobId, MessageId, Payload, SessionId, WebhookId,
    samples,
};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// One thing to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    pub event: PublicEvent,
    pub data: Value,
}

macro_rules! public_events {
    ($($variant:ident($data:ty) = $name:literal, $description:literal;)*) => {
        /// A kind of thing that tenants are told of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PublicEvent { $($variant,)* }

        impl PublicEvent {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As subscriptions and deliveries have it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }

            /// JSON Schema of `data`.
            pub fn schema(self) -> Value {
                match self { $(Self::$variant => schema_of::<$data>(),)* }
            }
        }

        $(
            impl From<$data> for Announcement {
                fn from(data: $data) -> Self {
                    // Plain structs with string keys.
                    let data = serde_json::to_value(data).unwrap_or_default();
                    Self { event: PublicEvent::$variant, data }
                }
            }
        )*
    };
}

public_events! {
    JobCompleted(JobCompletedData) = "job.completed",
        "A message was answered, or a spoken one was answered aloud. `GET /api/jobs/{job_id}` has the words.";
    JobFailed(JobFailedData) = "job.failed", "A message got no answer.";
    JobCancelled(JobCancelledData) = "job.cancelled", "A message's job was cancelled before it was answered.";
    SessionEnded(SessionEndedData) = "session.ended", "A conversation is over.";
    CallStarted(CallStartedData) = "call.started", "Somebody calls, or is called.";
    CallEnded(CallEndedData) = "call.ended", "A call is over.";
    CallSummarized(CallSummarizedData) = "call.summarized",
        "A call was put into few words: `GET /api/calls/{call_id}` has them.";
    BudgetAlerted(BudgetAlerted) = "budget.alerted",
        "The spending of a month has reached one of the parts of a budget that are to be told; once each.";
    WebhookDisabled(WebhookDisabledData) = "webhook.disabled",
        "An endpoint was switched off because it answered 410 or kept failing; told to the tenant's other endpoints.";
    WebhookTest(WebhookTestData) = "webhook.test", "Somebody tries the endpoint; sent only then, whatever `events` says.";
}

/// Of examples, the same every time.
const EXAMPLE_WEBHOOK: Uuid = Uuid::from_u128(0x0193_5c00_0000_7000_8000_0000_0000_0041);

/// Whole in itself: it is put into other documents.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    gather_choices(&mut schema);
    schema
}

/// A choice of documented words is an `enum`, which more tools understand than a `oneOf` of `const`s.
fn gather_choices(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(gather_choices);
            let words = |choice: &Value| match (choice.get("const"), choice.get("enum")) {
                (Some(word), _) => Some(vec![word.clone()]),
                (None, Some(Value::Array(words))) => Some(words.clone()),
                _ => None,
            };
            let choices = object.get("oneOf").and_then(Value::as_array);
            let words = choices.and_then(|choices| choices.iter().map(words).collect::<Option<Vec<_>>>());
            if let Some(words) = words {
                object.remove("oneOf");
                object.insert("type".to_owned(), json!("string"));
                object.insert("enum".to_owned(), words.concat().into());
            }
        }
        Value::Array(values) => values.iter_mut().for_each(gather_choices),
        _ => {}
    }
}

impl PublicEvent {
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.name() == name)
    }

    /// A request's body. `at`: when it happened.
    pub fn body(self, at: DateTime<Utc>, data: &Value) -> String {
        #[derive(Serialize)]
        struct Told<'a> {
            r#type: &'static str,
            timestamp: String,
            data: &'a Value,
        }
        let timestamp = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        serde_json::to_string(&Told { r#type: self.name(), timestamp, data }).unwrap_or_default()
    }

    /// JSON Schema of a request's body.
    pub fn body_schema(self) -> Value {
        json!({
            "type": "object",
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": { "type": "string", "enum": [self.name()] },
                "timestamp": { "type": "string", "format": "date-time", "description": "When it happened" },
                "data": self.schema(),
            }
        })
    }

    /// The body of a real one.
    pub fn example(self) -> Value {
        let cancelled = |mut event: Event| {
            if let Payload::TurnFailed(failed) = &mut event.payload {
                failed.code = FailureCode::Cancelled;
            }
            event
        };
        let mut events = samples::events();
        if self == Self::JobCancelled {
            events = events.into_iter().map(cancelled).collect();
        }
        let found = events.iter().find_map(|event| {
            let told = announcements(event).into_iter().find(|told| told.event == self)?;
            Some((event.envelope.time, told))
        });
        let (at, told) = found.unwrap_or_else(|| (DateTime::UNIX_EPOCH, test(EXAMPLE_WEBHOOK.into())));
        serde_json::from_str(&self.body(at, &told.data)).unwrap_or_default()
    }
}

/// The types of all events that [`announcements`] says something of.
pub const CONCERNED: [&str; 9] = [
    ReplyCompleted::TYPE,
    ReplyVoiced::TYPE,
    TurnFailed::TYPE,
    SessionEnded::TYPE,
    CallStarted::TYPE,
    CallEnded::TYPE,
    CallSummarized::TYPE,
    BudgetAlerted::TYPE,
    WebhookDisabled::TYPE,
];

/// What there is to tell of an event.
pub fn announcements(event: &Event) -> Vec<Announcement> {
    let id = event.envelope.aggregate.id;
    let (session_id, call_id) = (SessionId(id), CallId(id));
    match &event.payload {
        Payload::ReplyCompleted(reply) => {
            let completed = (!reply.aloud).then(|| JobCompletedData::of_reply(session_id, reply).into());
            let reason = reply.then.as_ref().map(|then| then.end_reason().to_owned());
            let ended = reason.map(|reason| SessionEndedData { session_id, reason }.into());
            completed.into_iter().chain(ended).collect()
        }
        Payload::ReplyVoiced(voiced) => vec![JobCompletedData::of_voiced(session_id, voiced).into()],
        Payload::TurnFailed(failed) if failed.code == FailureCode::Cancelled => {
            vec![JobCancelledData::of(session_id, failed).into()]
        }
        Payload::TurnFailed(failed) => vec![JobFailedData::of(session_id, failed).into()],
        Payload::SessionEnded(ended) => {
            vec![SessionEndedData { session_id, reason: ended.reason.clone() }.into()]
        }
        Payload::CallStarted(started) => vec![CallStartedData::of(call_id, started).into()],
        Payload::CallEnded(ended) => vec![CallEndedData::of(call_id, ended).into()],
        Payload::CallSummarized(summarized) => {
            let (session_id, agent_id) = (summarized.session_id, summarized.agent_id);
            let has_summary = summarized.summary.is_some();
            vec![CallSummarizedData { call_id, session_id, agent_id, has_summary }.into()]
        }
        Payload::BudgetAlerted(alerted) => vec![alerted.clone().into()],
        Payload::WebhookDisabled(disabled) => {
            let WebhookDisabled { webhook_id, reason, delivery_id } = *disabled;
            vec![WebhookDisabledData { webhook_id, reason, delivery_id }.into()]
        }
        _ => vec![],
    }
}

/// What an endpoint is told when it is tried.
pub fn test(webhook_id: WebhookId) -> Announcement {
    WebhookTestData { webhook_id }.into()
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum JobKind {
    Message,
    VoiceMessage,
}

#[derive(Serialize, JsonSchema)]
struct JobCompletedData {
    job_id: JobId,
    kind: JobKind,
    session_id: SessionId,
    /// The assistant's message.
    message_id: MessageId,
    /// What the answer took; left out for a `voice_message`.
    #[serde(flatten)]
    figures: Option<Figures>,
}

#[derive(Serialize, JsonSchema)]
struct Figures {
    /// The message that was answered.
    in_reply_to: MessageId,
    agent_id: AgentId,
    channel: Channel,
    provider: String,
    model: String,
    tokens_in: u64,
    tokens_out: u64,
    /// USD.
    cost_usd: Decimal,
    latency_ms: u64,
    tools_called: Vec<String>,
    /// Vendor requests over the whole message.
    attempts: u32,
}

impl JobCompletedData {
    fn of_reply(session_id: SessionId, reply: &ReplyCompleted) -> Self {
        let figures = Figures {
            in_reply_to: reply.in_reply_to,
            agent_id: reply.agent_id,
            channel: reply.channel,
            provider: reply.provider.clone(),
            model: reply.model.clone(),
            tokens_in: reply.tokens_in,
            tokens_out: reply.tokens_out,
            cost_usd: reply.cost_usd,
            latency_ms: reply.latency_ms,
            tools_called: reply.tools_called.clone(),
            attempts: reply.attempts,
        };
        let (job_id, message_id) = (reply.job_id, reply.message_id);
        Self { job_id, kind: JobKind::Message, session_id, message_id, figures: Some(figures) }
    }

    fn of_voiced(session_id: SessionId, voiced: &ReplyVoiced) -> Self {
        let (job_id, message_id) = (voiced.job_id, voiced.message_id);
        Self { job_id, kind: JobKind::VoiceMessage, session_id, message_id, figures: None }
    }
}

#[derive(Serialize, JsonSchema)]
struct JobFailedData {
    job_id: JobId,
    session_id: SessionId,
    /// The message that got no answer.
    message_id: MessageId,
    agent_id: AgentId,
    channel: Channel,
    code: FailureCode,
    /// For people.
    detail: String,
    /// Vendor requests over the whole message.
    attempts: u32,
}

impl JobFailedData {
    fn of(session_id: SessionId, failed: &TurnFailed) -> Self {
        Self {
            job_id: failed.job_id,
            session_id,
            message_id: failed.message_id,
            agent_id: failed.agent_id,
            channel: failed.channel,
            code: failed.code,
            detail: failed.detail.clone(),
            attempts: failed.attempts,
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct JobCancelledData {
    job_id: JobId,
    session_id: SessionId,
    /// The message that got no answer.
    message_id: MessageId,
    agent_id: AgentId,
    channel: Channel,
}

impl JobCancelledData {
    fn of(session_id: SessionId, failed: &TurnFailed) -> Self {
        let TurnFailed { job_id, message_id, agent_id, channel, .. } = *failed;
        Self { job_id, session_id, message_id, agent_id, channel }
    }
}

#[derive(Serialize, JsonSchema)]
struct SessionEndedData {
    session_id: SessionId,
    reason: String,
}

#[derive(Serialize, JsonSchema)]
struct CallStartedData {
    call_id: CallId,
    session_id: SessionId,
    agent_id: AgentId,
    direction: Direction,
    transport: Transport,
    /// The carrier's own name of the call.
    provider_call_sid: Option<String>,
}

impl CallStartedData {
    fn of(call_id: CallId, started: &CallStarted) -> Self {
        Self {
            call_id,
            session_id: started.session_id,
            agent_id: started.agent_id,
            direction: started.direction,
            transport: started.transport,
            provider_call_sid: started.provider_call_sid.clone(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct CallEndedData {
    call_id: CallId,
    session_id: SessionId,
    agent_id: AgentId,
    status: CallStatus,
    end_reason: String,
    /// 0 where it was never answered.
    duration_ms: u64,
}

impl CallEndedData {
    fn of(call_id: CallId, ended: &CallEnded) -> Self {
        Self {
            call_id,
            session_id: ended.session_id,
            agent_id: ended.agent_id,
            status: ended.status,
            end_reason: ended.end_reason.clone(),
            duration_ms: ended.duration_ms,
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct CallSummarizedData {
    call_id: CallId,
    session_id: SessionId,
    agent_id: AgentId,
    /// `false`: nothing was said, or no vendor gave a summary.
    has_summary: bool,
}

#[derive(Serialize, JsonSchema)]
struct WebhookDisabledData {
    webhook_id: WebhookId,
    reason: DisabledReason,
    /// The delivery that showed it.
    delivery_id: DeliveryId,
}

#[derive(Serialize, JsonSchema)]
struct WebhookTestData {
    webhook_id: WebhookId,
}
