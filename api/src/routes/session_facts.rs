//! What else is known about sessions: every request to a vendor, and every run of a tool.

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{AgentId, Aggregate, CorrelationId, EventId, JobId, SessionId, TenantId, ToolCallId};
use projections::provider_calls::{self, Filter, ProviderCall};
use projections::tool_executions::{self, ToolExecution};
use projections::{Page, Projection};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{AgentViewer, Reach};
use crate::extract::{QueryOf, id_of};
use crate::money::Usd;
use crate::openapi::problems;
use crate::page::{list, next_after, page_of};
use crate::problem::Problem;
use crate::{App, freshness};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_provider_calls)).routes(routes!(list_tool_executions))
}

/// Which of them are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FactsQuery {
    correlation_id: Option<String>,
    #[param(value_type = Option<Uuid>)]
    session_id: Option<String>,
    #[param(value_type = Option<Uuid>)]
    job_id: Option<String>,
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
}

impl FactsQuery {
    fn parse(&self, reach: &Reach) -> Result<(Filter, Page), Problem> {
        let id = |field: &str, sent: &Option<String>| match sent {
            None => Ok(None),
            Some(sent) => {
                id_of(sent).map(Some).ok_or_else(|| Problem::invalid_field(field, "must be a UUID"))
            }
        };
        if self.correlation_id.as_deref().is_some_and(|sent| CorrelationId::parse(sent).is_none()) {
            return Err(Problem::invalid_field(
                "correlation_id",
                "must be 1 to 128 visible ASCII characters",
            ));
        }
        let filter = Filter {
            correlation_id: self.correlation_id.clone(),
            session_id: id("session_id", &self.session_id)?.map(SessionId),
            job_id: id("job_id", &self.job_id)?.map(JobId),
            agents: reach.only().map(<[_]>::to_vec),
        };
        Ok((filter, page_of(self.limit, self.after.as_deref())?))
    }

    fn filters(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("correlation_id", self.correlation_id.clone()),
            ("session_id", self.session_id.clone()),
            ("job_id", self.job_id.clone()),
        ]
    }
}

async fn wait_for(app: &App, projection: Projection, tenant_id: TenantId, filter: &Filter) {
    match filter.session_id {
        // Vendor attempts stand beside the session, tool runs in it.
        Some(session_id) => {
            freshness::of_aggregate(app, projection, Aggregate::session(tenant_id, session_id)).await;
            freshness::of_aggregate(app, projection, Aggregate::session_facts(tenant_id, session_id)).await;
        }
        None => freshness::of_everything(app, projection).await,
    }
}

/// One request to a vendor.
#[derive(Debug, Serialize, ToSchema)]
struct ProviderCallAnswer {
    #[schema(value_type = Uuid)]
    id: EventId,
    #[schema(value_type = Uuid)]
    session_id: SessionId,
    #[schema(value_type = Uuid)]
    job_id: JobId,
    #[schema(value_type = Uuid)]
    agent_id: AgentId,
    correlation_id: String,
    provider: String,
    model: String,
    /// Which of the vendor's keys and addresses was asked, from 1; `null` where it has one.
    endpoint: Option<u32>,
    /// 1-based over the whole message: retries, fallbacks and tool rounds count on.
    attempt: u64,
    /// `succeeded`, `failed`, `timed_out` or `cancelled`.
    #[schema(example = "succeeded")]
    status: &'static str,
    /// Stable and short, such as `http_500`; `null` when it succeeded.
    error_code: Option<String>,
    error: Option<String>,
    /// The vendor's HTTP status, where it answered.
    http_status: Option<u16>,
    started_at: DateTime<Utc>,
    latency_ms: u64,
    first_token_ms: Option<u64>,
    tokens_in: u64,
    /// Of `tokens_in`, those that the vendor had kept from a request before.
    tokens_cached: u64,
    tokens_out: u64,
    /// The vendor did not say how many tokens; we counted.
    estimated: bool,
    cost_usd: Usd,
    price_version: String,
    created_at: DateTime<Utc>,
}

impl From<ProviderCall> for ProviderCallAnswer {
    fn from(call: ProviderCall) -> Self {
        Self {
            id: call.attempt_id,
            session_id: call.session_id,
            job_id: call.job_id,
            agent_id: call.agent_id,
            correlation_id: call.correlation_id,
            provider: call.provider,
            model: call.model,
            endpoint: call.endpoint,
            attempt: call.number,
            status: call.outcome.as_str(),
            error_code: call.error_code,
            error: call.error,
            http_status: call.status,
            started_at: call.started_at,
            latency_ms: call.latency_ms,
            first_token_ms: call.first_token_ms,
            tokens_in: call.metered.tokens_in,
            tokens_cached: call.metered.tokens_cached,
            tokens_out: call.metered.tokens_out,
            estimated: call.metered.estimated,
            cost_usd: Usd(call.metered.cost_usd),
            price_version: call.metered.price_version,
            created_at: call.created_at,
        }
    }
}

/// List requests to vendors
///
/// Every attempt, failed ones too, newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/provider-calls", tag = "Analytics", operation_id = "list_provider_calls", params(FactsQuery),
    responses(
        (status = 200, description = "The requests", body = Vec<ProviderCallAnswer>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_provider_calls(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<FactsQuery>,
) -> Result<Response, Problem> {
    let (filter, page) = query.parse(&caller.reach)?;
    wait_for(&app, Projection::ProviderCalls, caller.tenant_id, &filter).await;
    let calls = provider_calls::list(&app.database, caller.tenant_id, &filter, page).await?;
    let next = next_after(page, calls.iter().map(|call| call.attempt_id.0));
    let answers: Vec<ProviderCallAnswer> = calls.into_iter().map(Into::into).collect();
    Ok(list("/api/provider-calls", &query.filters(), page, next, answers))
}

/// One run of a tool.
#[derive(Debug, Serialize, ToSchema)]
struct ToolExecutionAnswer {
    #[schema(value_type = Uuid)]
    id: ToolCallId,
    /// `null`, as is the job: it was run by hand.
    #[schema(value_type = Option<Uuid>)]
    session_id: Option<SessionId>,
    #[schema(value_type = Option<Uuid>)]
    job_id: Option<JobId>,
    /// `null`: a function was tested.
    #[schema(value_type = Option<Uuid>)]
    agent_id: Option<AgentId>,
    correlation_id: String,
    #[schema(example = "invoice_lookup")]
    name: String,
    /// `null` once the customer's data was erased.
    #[schema(value_type = Object)]
    arguments: Value,
    /// `ok` or `error`.
    #[schema(example = "ok")]
    status: &'static str,
    /// `null` once the customer's data was erased.
    #[schema(value_type = Object)]
    result: Value,
    latency_ms: u64,
    created_at: DateTime<Utc>,
}

/// List runs of tools
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/tool-executions", tag = "Analytics", operation_id = "list_tool_executions", params(FactsQuery),
    responses(
        (status = 200, description = "The runs", body = Vec<ToolExecutionAnswer>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_tool_executions(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<FactsQuery>,
) -> Result<Response, Problem> {
    let (filter, page) = query.parse(&caller.reach)?;
    wait_for(&app, Projection::ToolExecutions, caller.tenant_id, &filter).await;
    let runs = tool_executions::list(&app.database, caller.tenant_id, &filter, page).await?;
    let next = next_after(page, runs.iter().map(|run| run.tool_call_id.0));
    let mut answers = Vec::with_capacity(runs.len());
    for run in runs {
        answers.push(opened(&app, caller.tenant_id, run).await?);
    }
    Ok(list("/api/tool-executions", &query.filters(), page, next, answers))
}

async fn opened(app: &App, tenant_id: TenantId, run: ToolExecution) -> Result<ToolExecutionAnswer, Problem> {
    let arguments = app.keyring.open(tenant_id, run.sealed_for, &run.arguments).await?;
    let result = app.keyring.open(tenant_id, run.sealed_for, &run.result).await?;
    Ok(ToolExecutionAnswer {
        id: run.tool_call_id,
        session_id: run.session_id,
        job_id: run.job_id,
        agent_id: run.agent_id,
        correlation_id: run.correlation_id,
        name: run.name,
        arguments: json(arguments),
        status: run.status.as_str(),
        result: json(result),
        latency_ms: run.latency_ms,
        created_at: run.created_at,
    })
}

/// What a model wrote may not be JSON; then it is shown as the text that it is.
fn json(text: Option<String>) -> Value {
    let Some(text) = text else { return Value::Null };
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_cannot_be_ids_are_refused() {
        for query in [
            FactsQuery { session_id: Some("*".to_owned()), ..FactsQuery::default() },
            FactsQuery { job_id: Some("a b".to_owned()), ..FactsQuery::default() },
            FactsQuery { correlation_id: Some("a\u{0}b".to_owned()), ..FactsQuery::default() },
        ] {
            assert!(query.parse(&Reach::All).is_err(), "{query:?}");
        }
        let query = FactsQuery { correlation_id: Some("order-17".to_owned()), ..FactsQuery::default() };
        assert_eq!(query.parse(&Reach::All).unwrap().0.correlation_id.as_deref(), Some("order-17"));
    }

    #[test]
    fn words_that_are_not_json_are_shown_as_text() {
        assert_eq!(json(Some("{\"a\":1}".to_owned())), serde_json::json!({"a": 1}));
        assert_eq!(json(Some("not json".to_owned())), Value::String("not json".to_owned()));
        assert_eq!(json(None), Value::Null);
    }
}
