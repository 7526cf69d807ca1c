//! How a message ended, as its sender sees it: the same object from a waiting POST, a stream, and a job.

use events::session::{FailureCode, ReplyCompleted, TurnFailed};
use events::{CorrelationId, EventId, JobId, MessageId, Payload, Recorded, TenantId};
use projections::jobs::{JobEnding, JobOutcome, JobRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::money::Usd;
use crate::problem::{Code, Problem};

/// The assistant's answer. Tokens and cost are sums over every vendor call of the message, tool rounds too.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({
    "message_id": "0193e2f4-5f1c-7c52-9d3f-0242ac120002", "role": "assistant",
    "content": "Invoice INV-TC-001 over 15,000.00 USD is paid.", "provider": "vendor_a", "model": "vendor-a-1",
    "tokens_in": 103, "tokens_out": 20, "cost_usd": "0.000246", "latency_ms": 41, "tools_called": ["invoice_lookup"],
    "attempts": 2, "correlation_id": "order-17", "job_id": "0193e2f4-5f1c-7d3a-8a11-0242ac120002"
}))]
pub(crate) struct Reply {
    #[schema(value_type = Uuid)]
    pub message_id: MessageId,
    #[schema(example = "assistant")]
    pub role: &'static str,
    /// `null` once the customer's data was erased.
    pub content: Option<String>,
    /// The vendor whose words these are.
    pub provider: String,
    pub model: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cost_usd: Usd,
    /// From the message's acceptance to the reply.
    pub latency_ms: u64,
    /// In the order they were asked for.
    pub tools_called: Vec<String>,
    /// Vendor requests over the whole message.
    pub attempts: u64,
    pub correlation_id: String,
    #[schema(value_type = Uuid)]
    pub job_id: JobId,
    /// As far as is known where it comes from.
    #[serde(skip)]
    #[schema(ignore)]
    pub ends_session: bool,
}

/// A reply, or the problem that the sender is answered. Boxed for its size.
pub(crate) type Outcome = Result<Box<Reply>, Problem>;

/// The outcome that `recorded` is, when it ends the job.
pub(crate) async fn of_event(
    app: &App,
    tenant_id: TenantId,
    job_id: JobId,
    recorded: &Recorded,
) -> Option<Outcome> {
    let envelope = &recorded.event.envelope;
    match &recorded.event.payload {
        Payload::ReplyCompleted(reply) if reply.job_id == job_id => {
            Some(replied(app, tenant_id, envelope.id, &envelope.origin.correlation_id, reply).await)
        }
        Payload::TurnFailed(failure) if failure.job_id == job_id => Some(Err(of_failure(failure))),
        _ => None,
    }
}

async fn replied(
    app: &App,
    tenant_id: TenantId,
    event_id: EventId,
    correlation_id: &CorrelationId,
    reply: &ReplyCompleted,
) -> Outcome {
    Ok(Box::new(Reply {
        message_id: reply.message_id,
        role: "assistant",
        content: app.keyring.open(tenant_id, event_id, &reply.content).await?,
        provider: reply.provider.clone(),
        model: reply.model.clone(),
        tokens_in: reply.tokens_in,
        tokens_out: reply.tokens_out,
        cost_usd: Usd(reply.cost_usd),
        latency_ms: reply.latency_ms,
        tools_called: reply.tools_called.clone(),
        attempts: reply.attempts.into(),
        correlation_id: correlation_id.as_str().to_owned(),
        job_id: reply.job_id,
        ends_session: reply.then.is_some(),
    }))
}

/// The outcome that a finished job has; `None` while it is not finished.
///
/// # Errors
/// When the reply cannot be opened just now; a job that failed is an `Ok`.
pub(crate) async fn of_job(
    app: &App,
    tenant_id: TenantId,
    job: &JobRecord,
) -> Result<Option<Outcome>, Problem> {
    let Some(JobOutcome { ending, latency_ms, attempts, tokens_in, tokens_out, cost_usd, .. }) = &job.outcome
    else {
        return Ok(None);
    };
    Ok(Some(match ending {
        JobEnding::Failed { code, detail } => Err(failed(job.id, *code, detail)),
        JobEnding::Replied { message_id, content, sealed_for, provider, model, tools_called } => {
            Ok(Box::new(Reply {
                message_id: *message_id,
                role: "assistant",
                content: app.keyring.open(tenant_id, *sealed_for, content).await?,
                provider: provider.clone(),
                model: model.clone(),
                tokens_in: *tokens_in,
                tokens_out: *tokens_out,
                cost_usd: Usd(*cost_usd),
                latency_ms: *latency_ms,
                tools_called: tools_called.clone(),
                attempts: *attempts,
                correlation_id: job.correlation_id.clone(),
                job_id: job.id,
                ends_session: false,
            }))
        }
    }))
}

/// As [`failed`], with all that the event says.
pub(crate) fn of_failure(failure: &TurnFailed) -> Problem {
    match &failure.shortage {
        Some(shortage) => Problem::over_budget(shortage).with_job(failure.job_id),
        None => failed(failure.job_id, failure.code, &failure.detail),
    }
}

pub(crate) fn failed(job_id: JobId, code: FailureCode, detail: &str) -> Problem {
    let code = match code {
        FailureCode::VendorFailed => Code::VendorFailed,
        FailureCode::VendorTimeout => Code::VendorTimeout,
        FailureCode::SessionEnded => Code::SessionEnded,
        FailureCode::AgentUnavailable => Code::AgentUnavailable,
        FailureCode::Cancelled => Code::Cancelled,
        FailureCode::ContextExceeded => Code::ContextExceeded,
        FailureCode::InvalidAudio => Code::InvalidAudio,
        FailureCode::NoSpeech => Code::NoSpeech,
        FailureCode::SpeechFailed => Code::SpeechFailed,
        FailureCode::SpeechUnavailable => Code::SpeechUnavailable,
        FailureCode::BudgetExceeded => Code::BudgetExceeded,
        FailureCode::InternalError => Code::InternalError,
    };
    Problem::new(code, detail).with_job(job_id)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn each_failure_has_its_status() {
        for (failure, status) in [
            (FailureCode::VendorFailed, StatusCode::BAD_GATEWAY),
            (FailureCode::VendorTimeout, StatusCode::GATEWAY_TIMEOUT),
            (FailureCode::SessionEnded, StatusCode::CONFLICT),
            (FailureCode::AgentUnavailable, StatusCode::CONFLICT),
            (FailureCode::ContextExceeded, StatusCode::PAYLOAD_TOO_LARGE),
            (FailureCode::InvalidAudio, StatusCode::UNPROCESSABLE_ENTITY),
            (FailureCode::NoSpeech, StatusCode::UNPROCESSABLE_ENTITY),
            (FailureCode::SpeechFailed, StatusCode::BAD_GATEWAY),
            (FailureCode::SpeechUnavailable, StatusCode::SERVICE_UNAVAILABLE),
            (FailureCode::BudgetExceeded, StatusCode::PAYMENT_REQUIRED),
            (FailureCode::InternalError, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let code = failed(JobId::new(), failure, "why").code();
            assert_eq!((code.status(), code.name()), (status, failure.as_str()));
        }
    }
}
