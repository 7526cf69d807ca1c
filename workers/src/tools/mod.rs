//! The hands: runs the tools that a model, or somebody by hand, asked for; one consumer for all of them.
//!
//! A tool may run twice when a worker dies in between; its first result counts.

mod call;
mod offer;

mod book_appointment;
mod calendar;
mod check_availability;
mod end_call;
mod function;
mod invoice_lookup;
mod mcp;
pub(crate) mod transfer_call;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::tools::{self, Parameters};
use events::session::{ToolCompleted, ToolStatus};
use events::tool_run::ToolRunCompleted;
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

use call::{By, Call};

pub(crate) use offer::specs;

const SOURCE: &str = "vocalbridge/tools";

/// Why a tool has no result.
enum ToolError {
    /// The model is told and may try something else.
    Refused(String),
    /// What the tool needs is away; it is run again.
    Away(Failure),
}

/// How a run ended.
struct Ran {
    /// The result, or what is told of the failure.
    result: Result<Value, String>,
    /// What a function's server answered.
    http_status: Option<u16>,
}

impl From<Result<Value, String>> for Ran {
    fn from(result: Result<Value, String>) -> Self {
        Self { result, http_status: None }
    }
}

/// A run that takes longer is given up. Shorter than a turn waits, so that the model hears of it.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// A larger result is not told: it would fill the model's window.
const MAX_RESULT_BYTES: usize = 64 * 1_024;

/// The arguments as a tool wants them. Their schema has been checked; what it cannot say is refused here.
fn read<T: DeserializeOwned>(arguments: &Value) -> Result<T, ToolError> {
    T::deserialize(arguments)
        .map_err(|error| ToolError::Refused(format!("the arguments do not fit: {error}")))
}

/// How the built-in tools' arguments are checked. A test of theirs sees that all of them can be.
static CHECKS: LazyLock<HashMap<&'static str, Parameters>> = LazyLock::new(|| {
    let checks = tools::built_in()
        .iter()
        .filter_map(|tool| Some((tool.name, Parameters::new(&tool.parameters).ok()?)));
    checks.collect()
});

async fn run_tool(workers: &Workers, call: &Call<'_>, arguments: &Value) -> Result<Ran, Failure> {
    if let By::Hand { mcp_server_id: Some(mcp_server_id), .. } = call.by {
        return mcp::list(workers, call.tenant_id(), mcp_server_id).await;
    }
    let mut ran = match CHECKS.get(call.name) {
        Some(check) => match built_in(workers, call, check, arguments).await {
            Ok(result) => Ran::from(Ok(result)),
            Err(ToolError::Refused(reason)) => Ran::from(Err(reason)),
            Err(ToolError::Away(failure)) => return Err(failure),
        },
        None => match tools::mcp::split(call.name) {
            Some(name) => mcp::run(workers, call, name, arguments).await?,
            None => function::run(workers, call, arguments).await?,
        },
    };
    if ran.result.as_ref().is_ok_and(|result| result.to_string().len() > MAX_RESULT_BYTES) {
        ran.result = Err("the result is too large to be told".to_owned());
    }
    Ok(ran)
}

async fn built_in(
    workers: &Workers,
    call: &Call<'_>,
    check: &Parameters,
    arguments: &Value,
) -> Result<Value, ToolError> {
    check.check(arguments).map_err(ToolError::Refused)?;
    let tenant_id = call.tenant_id();
    let Some(agent_id) = call.agent_id else {
        return Err(ToolError::Refused("this tool runs for an agent".to_owned()));
    };
    let run = async {
        match call.name {
            invoice_lookup::NAME => invoice_lookup::run(workers, tenant_id, arguments).await,
            check_availability::NAME => {
                check_availability::run(workers, tenant_id, agent_id, arguments).await
            }
            book_appointment::NAME => book_appointment::run(workers, call, agent_id, arguments).await,
            end_call::NAME => end_call::run(call, arguments),
            transfer_call::NAME => transfer_call::run(workers, call, agent_id, arguments).await,
            name => Err(ToolError::Refused(format!("{name} cannot be run here"))),
        }
    };
    tokio::time::timeout(TIME_LIMIT, run)
        .await
        .unwrap_or_else(|_| Err(ToolError::Refused("the tool did not answer in time".to_owned())))
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
        let Some(call) = Call::of(event) else {
            return Err(Failure::Fatal { reason: "this is no tool request".to_owned() });
        };
        // Handed out for the first time, it cannot have a result yet.
        if delivery.generation > 1 && self.is_completed(delivery, &call).await? {
            return Ok(());
        }
        let keyring = &self.workers.keyring;
        let opened = keyring.open(call.tenant_id(), event.envelope.id, call.arguments).await.map_err(away)?;
        let arguments = opened.unwrap_or_else(|| "null".to_owned());
        let started = Instant::now();
        let ran = match serde_json::from_str(&arguments) {
            Ok(parsed) => run_tool(&self.workers, &call, &parsed).await?,
            Err(error) => Ran::from(Err(format!("the arguments are not JSON: {error}"))),
        };
        let latency_ms = started.elapsed().as_millis() as u64;
        self.complete(&call, &arguments, ran, latency_ms).await
    }

    async fn give_up(&self, delivery: &Delivery, _reason: &str) -> Result<(), Failure> {
        let Some(call) = Call::of(&delivery.recorded.event) else { return Ok(()) };
        self.complete(&call, "null", Ran::from(Err("the tool failed".to_owned())), 0).await
    }
}

impl Tools {
    /// Whether the call has a result: of a worker that died before it acknowledged, or because nobody waits any more.
    async fn is_completed(&self, delivery: &Delivery, call: &Call<'_>) -> Result<bool, Failure> {
        let (aggregate, sequence) = (call.event.envelope.aggregate, delivery.recorded.position.sequence);
        let tail = self.workers.nats.log.read(&aggregate, sequence).await.map_err(away)?;
        Ok(tail.iter().any(|recorded| match &recorded.event.payload {
            Payload::ToolCompleted(completed) => completed.tool_call_id == call.tool_call_id,
            Payload::ToolRunCompleted(completed) => completed.tool_call_id == call.tool_call_id,
            _ => false,
        }))
    }

    async fn complete(
        &self,
        call: &Call<'_>,
        arguments: &str,
        ran: Ran,
        latency_ms: u64,
    ) -> Result<(), Failure> {
        // One id per call: a second run of the same call is recognised as a duplicate.
        let id = EventId(Uuid::new_v5(&call.tool_call_id.0, b"completed"));
        let (tenant_id, key_id) = (call.tenant_id(), call.arguments.key_id);
        let seal = |text: String| async move {
            self.workers.keyring.seal(tenant_id, key_id, id, &text).await.map_err(away)
        };
        let (status, result) = match ran.result {
            Ok(result) => (ToolStatus::Ok, result),
            Err(reason) => (ToolStatus::Error, json!({ "error": reason })),
        };
        let (name, tool_call_id) = (call.name.to_owned(), call.tool_call_id);
        let (arguments, result) = (seal(arguments.to_owned()).await?, seal(result.to_string()).await?);
        let completed: Payload = match &call.by {
            By::Model(requested) => ToolCompleted {
                turn_id: requested.turn_id,
                job_id: requested.job_id,
                agent_id: requested.agent_id,
                tool_call_id,
                name,
                arguments,
                status,
                result,
                latency_ms,
            }
            .into(),
            By::Hand { function_id, mcp_server_id } => ToolRunCompleted {
                tool_call_id,
                agent_id: call.agent_id,
                function_id: *function_id,
                mcp_server_id: *mcp_server_id,
                name,
                arguments,
                status,
                result,
                http_status: ran.http_status,
                latency_ms,
            }
            .into(),
        };
        let cause = Cause::by(call.event, &self.workers.actor("tools"));
        let aggregate = call.event.envelope.aggregate;
        let event = Event::new(id, self.workers.clock.now(), SOURCE, aggregate, &cause, completed);
        let position = self.workers.nats.log.append(&event, Expect::Anything).await.map_err(away)?;
        let _ = self.workers.nats.live.happened(call.waited_for_as(), &event, position).await;
        Ok(())
    }
}
