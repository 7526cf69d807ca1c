//! A tenant's own function: a request to an address of the tenant's.

use domain::tools::{self, Parameters};
use events::function::{FunctionMethod, FunctionSettings};
use nats::Failure;
use projections::configuration;
use projections::configuration::custom_functions::{self, FunctionRecord};
use serde_json::Value;
use vendors::functions::{FunctionCall, Method};

use super::{By, Call, Ran};
use crate::{Workers, away, secret_headers};

/// Run again for the same call, the function is sent the same `Idempotency-Key`.
pub(super) async fn run(workers: &Workers, call: &Call<'_>, arguments: &Value) -> Result<Ran, Failure> {
    let function = match find(workers, call).await.map_err(away)? {
        Ok(function) => function,
        Err(reason) => return Ok(Ran::from(Err(reason))),
    };
    let settings = &function.settings;
    let arguments = match checked(settings, arguments) {
        Ok(arguments) => arguments,
        Err(reason) => return Ok(Ran::from(Err(reason))),
    };
    let opened = secret_headers::opened(&workers.keyring, call.tenant_id(), &settings.headers);
    let Some(headers) = opened.await.map_err(away)? else {
        return Ok(Ran::from(Err("the function's headers cannot be read any more".to_owned())));
    };
    let origin = &call.event.envelope.origin;
    let answer = workers
        .functions
        .call(&FunctionCall {
            url: &settings.webhook_url,
            method: method(settings.method),
            headers: &headers,
            arguments,
            idempotency_key: &call.tool_call_id.to_string(),
            correlation_id: origin.correlation_id.as_str(),
            traceparent: &origin.traceparent,
        })
        .await;
    Ok(Ran { result: answer.result, http_status: answer.http_status })
}

/// The function as it is now, or why there is none for this call.
async fn find(
    workers: &Workers,
    call: &Call<'_>,
) -> Result<Result<FunctionRecord, String>, projections::Error> {
    let (database, tenant_id) = (&workers.database, call.tenant_id());
    let unknown = || format!("there is no tool {:?}", call.name);
    if let By::Hand { function_id: Some(function_id), .. } = call.by {
        let function = custom_functions::function(database, tenant_id, function_id).await?;
        return Ok(function.ok_or_else(unknown));
    }
    // Whatever a model has made up is not looked up.
    if !tools::is_function_name(call.name) || !may_use(workers, call).await? {
        return Ok(Err(unknown()));
    }
    let named = custom_functions::named(database, tenant_id, &[call.name.to_owned()]).await?;
    Ok(match named.into_iter().next() {
        Some(function) if function.settings.is_active => Ok(function),
        Some(_) => Err(format!("the tool {:?} is switched off", call.name)),
        None => Err(unknown()),
    })
}

/// A model uses the functions that its agent was given, not all that the tenant has.
async fn may_use(workers: &Workers, call: &Call<'_>) -> Result<bool, projections::Error> {
    let (By::Model(_), Some(agent_id)) = (&call.by, call.agent_id) else { return Ok(true) };
    let agent = configuration::agent(&workers.database, call.tenant_id(), agent_id).await?;
    Ok(agent.is_some_and(|agent| agent.settings.tools_enabled.iter().any(|name| name == call.name)))
}

fn checked<'a>(
    settings: &FunctionSettings,
    arguments: &'a Value,
) -> Result<&'a serde_json::Map<String, Value>, String> {
    let parameters = Parameters::new(&Value::Object(settings.parameters.clone()))
        .map_err(|error| format!("the function's parameters cannot be used any more: its schema {error}"))?;
    parameters.check(arguments)?;
    arguments.as_object().ok_or_else(|| "the arguments must be an object".to_owned())
}

fn method(method: FunctionMethod) -> Method {
    match method {
        FunctionMethod::Get => Method::Get,
        FunctionMethod::Post => Method::Post,
        FunctionMethod::Put => Method::Put,
        FunctionMethod::Patch => Method::Patch,
    }
}
