//! `transfer_call`: hands the caller over to one of the numbers that the agent has a list of. It is granted here and
//! takes effect with the turn's reply.

use domain::transfer;
use events::session::Channel;
use events::{AgentId, Payload};
use projections::configuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, ToolError, read};
use crate::{Workers, away};

pub(super) use domain::tools::TRANSFER_CALL as NAME;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    to_number: Option<String>,
    /// For whoever reads the tool's runs.
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

pub(super) async fn run(
    workers: &Workers,
    call: &Call<'_>,
    agent_id: AgentId,
    arguments: &Value,
) -> Result<Value, ToolError> {
    let Arguments { to_number, .. } = read(arguments)?;
    // Not from memory: a number that was just taken off the list must not be called.
    let agent = configuration::agent(&workers.database, call.tenant_id(), agent_id)
        .await
        .map_err(|error| ToolError::Away(away(error)))?;
    let allowed = agent.map(|agent| agent.settings.transfer_numbers).unwrap_or_default();
    let channel = channel(workers, call).await?;
    let number = transfer::number(channel, &allowed, to_number.as_deref())
        .map_err(|refusal| ToolError::Refused(refusal.to_string()))?;
    Ok(
        json!({ "to_number": number, "next": "say that you are connecting the caller; the transfer follows your words" }),
    )
}

async fn channel(workers: &Workers, call: &Call<'_>) -> Result<Channel, ToolError> {
    let first = workers.nats.log.first(&call.event.envelope.aggregate).await;
    match first.map_err(|error| ToolError::Away(away(error)))?.map(|first| first.event.payload) {
        Some(Payload::SessionCreated(created)) => Ok(created.channel),
        _ => Err(ToolError::Refused("there is no call to transfer".to_owned())),
    }
}

/// The number that a run of this tool has granted, from its result.
pub(crate) fn granted(result: &str) -> Option<String> {
    serde_json::from_str::<Value>(result).ok()?.get("to_number")?.as_str().map(str::to_owned)
}
