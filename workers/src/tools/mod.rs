//! The hands: runs the tools that a model asked for, one consumer for all of them.
//!
//! A tool may run twice when a worker dies in between; its first result counts.

mod book_appointment;
mod calendar;
mod check_availability;
mod end_call;
mod invoice_lookup;
mod registry;
pub(crate) mod transfer_call;

use std::sync::Arc;
use std::time::Duration;

use events::session::{ToolCompleted, ToolRequested, ToolStatus};
use events::{Cause, Event, EventId, Payload};
use nats::consume::{self, Delivery};
use nats::topology::TOOLS;
use nats::{Expect, Failure, Handler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Workers, away};

const SOURCE: &str = "vocalbridge/tools";

/// Why a tool has no result.
enum ToolError {
    /// The model is told and may try something else.
    Refused(String),
    /// What the tool needs is away; it is run again.
    Away(Failure),
}

pub(crate) use registry::specs;

/// A run that takes longer is given up. Shorter than a turn waits, so that the model hears of it.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// A larger result is not told: it would fill the model's window.
const MAX_RESULT_BYTES: usize = 64 * 1_024;

/// The arguments as a tool wants them. Their schema has been checked; what it cannot say is refused here.
fn read<T: DeserializeOwned>(arguments: &Value) -> Result<T, ToolError> {
    T::deserialize(arguments)
        .map_err(|error| ToolError::Refused(format!("the arguments do not fit: {error}")))
}

async fn run_tool(
    workers: &Workers,
    event: &Event,
    requested: &ToolRequested,
    arguments: &Value,
) -> Result<Value, ToolError> {
    let name = requested.name.as_str();
    let Some(tool) = registry::find(name) else {
        return Err(ToolError::Refused(format!("there is no tool {name:?}")));
    };
    tool.check(arguments).map_err(ToolError::Refused)?;
    let (tenant_id, agent_id) = (event.envelope.aggregate.tenant_id, requested.agent_id);
    let run = async {
        match name {
            invoice_lookup::NAME => invoice_lookup::run(workers, tenant_id, arguments).await,
            check_availability::NAME => {
                check_availability::run(workers, tenant_id, agent_id, arguments).await
            }
            book_appointment::NAME => book_appointment::run(workers, event, requested, arguments).await,
            end_call::NAME => end_call::run(arguments),
            transfer_call::NAME => transfer_call::run(workers, event, agent_id, arguments).await,
            _ => Err(ToolError::Refused(format!("{name} cannot be run here"))),
        }
    };
    let result = tokio::time::timeout(TIME_LIMIT, run)
        .await
        .unwrap_or_else(|_| Err(ToolError::Refused("the tool did not answer in time".to_owned())))?;
    if result.to_string().len() > MAX_RESULT_BYTES {
        return Err(ToolError::Refused("the result is too large to be told".to_owned()));
    }
    Ok(result)
}

/// Runs the tool worker until `shutdown`, then finishes what it holds.
pub async fn run(workers: Workers, shutdown: CancellationToken) {
    let (log, clock, limits) = (workers.nats.log.clone(), workers.clock.clone(), workers.config.limits);
    consume::run(log, clock, TOOLS, limits, Arc::new(Tools { workers }), shutdown).await;
}

struct Tools {
    workers: Workers,
}

impl Handler for Tools {
    async fn handle(&self, delivery: &Delivery) -> Result<(), Failure> {
        let event = &delivery.recorded.event;
        let Payload::ToolRequested(requested) = &event.payload else {
            return Err(Failure::Fatal { reason: "this is no tool request".to_owned() });
        };
        let (tenant_id, arguments) = (event.envelope.aggregate.tenant_id, &requested.arguments);
        let opened =
            self.workers.keyring.open(tenant_id, event.envelope.id, arguments).await.map_err(away)?;
        let arguments = opened.unwrap_or_else(|| "null".to_owned());
        let started = Instant::now();
        let result = match serde_json::from_str(&arguments) {
            Ok(parsed) => run_tool(&self.workers, event, requested, &parsed).await,
            Err(error) => Err(ToolError::Refused(format!("the arguments are not JSON: {error}"))),
        };
        let (status, result) = match result {
            Ok(result) => (ToolStatus::Ok, result),
            Err(ToolError::Refused(reason)) => (ToolStatus::Error, json!({ "error": reason })),
            Err(ToolError::Away(failure)) => return Err(failure),
        };
        let latency_ms = started.elapsed().as_millis() as u64;
        self.complete(event, requested, &arguments, status, &result, latency_ms).await
    }

    async fn give_up(&self, delivery: &Delivery, _reason: &str) -> Result<(), Failure> {
        let event = &delivery.recorded.event;
        let Payload::ToolRequested(requested) = &event.payload else { return Ok(()) };
        let result = json!({ "error": "the tool failed" });
        self.complete(event, requested, "null", ToolStatus::Error, &result, 0).await
    }
}

impl Tools {
    async fn complete(
        &self,
        event: &Event,
        requested: &ToolRequested,
        arguments: &str,
        status: ToolStatus,
        result: &Value,
        latency_ms: u64,
    ) -> Result<(), Failure> {
        let aggregate = event.envelope.aggregate;
        let (tenant_id, key_id) = (aggregate.tenant_id, requested.arguments.key_id);
        // One id per call: a second run of the same call is recognised as a duplicate.
        let id = EventId(Uuid::new_v5(&requested.tool_call_id.0, b"completed"));
        let seal = |text: String| async move {
            self.workers.keyring.seal(tenant_id, key_id, id, &text).await.map_err(away)
        };
        let completed = ToolCompleted {
            turn_id: requested.turn_id,
            job_id: requested.job_id,
            agent_id: requested.agent_id,
            tool_call_id: requested.tool_call_id,
            name: requested.name.clone(),
            arguments: seal(arguments.to_owned()).await?,
            status,
            result: seal(result.to_string()).await?,
            latency_ms,
        };
        let cause = Cause::by(event, &self.workers.actor("tools"));
        let completed = Event::new(id, self.workers.clock.now(), SOURCE, aggregate, &cause, completed);
        let position = self.workers.nats.log.append(&completed, Expect::Anything).await.map_err(away)?;
        let _ = self.workers.nats.live.happened(requested.job_id, &completed, position).await;
        Ok(())
    }
}
