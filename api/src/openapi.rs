//! The OpenAPI document: every route documents itself, and what holds for all of them is added here once.

use std::collections::BTreeMap;

use utoipa::OpenApi;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, Header, HttpMethod, Object, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
    Schema, Type,
};

use domain::webhooks::PublicEvent;

use crate::problem::{Code, FieldError, MEDIA_TYPE, ProblemBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "VocalBridge",
        description = "AI agents that talk to customers, by chat and by voice.\n\n\
            Errors are RFC 9457 `application/problem+json`; branch on `code`. `X-Correlation-ID` is taken or made, and \
            answered always. Times are RFC 3339 in UTC, ids UUIDv7, money decimal strings in USD. Fields that are not \
            documented are refused with 422 `unknown_field`."
    ),
    tags(
        (name = "Service", description = "Health, metrics, documents"),
        (name = "Tenants", description = "Businesses that use VocalBridge"),
        (name = "Keys", description = "API keys and their roles: admin, developer, viewer"),
        (name = "Budgets", description = "What a tenant may spend, and have under way"),
        (name = "Agents", description = "Who talks to the customers, and how"),
        (name = "System prompts", description = "What agents tell their models, with variables and versions"),
        (name = "Tools", description = "What agents can do: the built-in tools, the tenant's own functions and its MCP servers"),
        (name = "Sessions", description = "Conversations and their messages"),
        (name = "Calls", description = "Conversations by voice: their sockets, numbers and carriers"),
        (name = "Jobs", description = "Accepted work and what became of it"),
        (name = "Prices", description = "What the work of vendors costs, and correcting what was charged"),
        (name = "Webhooks", description = "Addresses that are told what happens, signed as Standard Webhooks"),
        (name = "Invoices", description = "What a tenant owes for a month"),
        (name = "Analytics", description = "Usage and the ledger, vendor requests, tool runs"),
    ),
    components(schemas(ProblemBody, FieldError))
)]
pub(crate) struct Base;

/// Problems that routes have in common, for `responses(…)`.
pub(crate) mod problems {
    use super::*;

    macro_rules! problems {
        ($($(#[$doc:meta])* $name:ident: $($code:ident)*;)*) => {$(
            $(#[$doc])*
            pub(crate) struct $name;

            impl utoipa::IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    of(&[$(Code::$code,)*])
                }
            }
        )*};
    }

    problems! {
        /// Of every route that wants a key and changes nothing.
        Reading: MissingApiKey InvalidApiKey Forbidden ValidationFailed UnknownField RateLimited InternalError
            Unavailable;
        /// Of every route with a body.
        Writing: MalformedJson InvalidIdempotencyKey MissingApiKey InvalidApiKey Forbidden NotFound RequestTimeout
            Conflict SessionEnded CustomerErased PayloadTooLarge UnsupportedMediaType ValidationFailed UnknownField
            IdempotencyKeyReused RateLimited InternalError Unavailable;
        /// Of every route with an id in its path.
        OfAnId: NotFound;
        /// Of deleting what others may need.
        OfNeeded: NotFound Conflict PromptInUse;
        /// Of a job that must not be over.
        OfAJob: NotFound Conflict JobFinished;
        /// Of a key that must be good.
        OfAKey: NotFound Conflict KeyExpired;
        /// Of a call that must be under way.
        OfACall: NotFound Conflict CallEnded;
        /// Of a call that must be over.
        OfADeletedCall: NotFound Conflict CallActive;
        /// Of a recording.
        OfARecording: NotFound RecordingNotFound CallActive RecordingErased RangeNotSatisfiable;
        /// Of something with a name that nothing else has, and of which there is a limited number.
        OfAName: NameTaken LimitReached Conflict;
        /// Of something of which there is a limited number.
        OfALimit: LimitReached Conflict;
        /// Of sending a webhook again.
        OfARedelivery: NotFound WebhookDisabled Conflict;
        /// Of a tool that is waited for.
        OfARun: Unavailable AtCapacity ShuttingDown ToolTimeout;
        /// Of a WebSocket.
        OpeningASocket: BudgetExceeded ConcurrencyLimit InvalidTicket ForeignOrigin AgentUnavailable UpgradeRequired;
        /// Of a carrier's WebSocket.
        OpeningAStream: UpgradeRequired;
        /// Of a carrier's webhook.
        OfAWebhook: BadRequest InvalidSignature RequestTimeout PayloadTooLarge UnsupportedMediaType InternalError
            Unavailable;
        /// Of a number that only one tenant can have.
        OfANumber: NumberTaken LimitReached Conflict AgentUnavailable;
        /// Of a tenant's MCP server that is asked.
        OfAnMcpServer: McpServerFailed;
        /// Of a server that is not ready.
        Starting: Unavailable ShuttingDown;
        /// Of a stream that takes a place.
        Streaming: Unavailable AtCapacity;
        /// Of a recording that is sent.
        OfAnUpload: BadRequest PayloadTooLarge InvalidAudio NoSpeech SpeechFailed SpeechUnavailable;
        /// Of a file.
        OfAFile: NotFound NotSpoken CustomerErased RangeNotSatisfiable;
        /// Of a message that is waited for.
        OfATurn: BudgetExceeded ConcurrencyLimit Conflict SessionEnded AgentUnavailable CustomerErased Cancelled PayloadTooLarge ContextExceeded
            VendorFailed Unavailable AtCapacity ShuttingDown VendorTimeout;
    }
}

/// One response per status, naming its codes.
fn of(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_str().to_owned()).or_default().push(code.name());
    }
    let response = |codes: Vec<&str>| {
        let description = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        RefOr::T(ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build())
    };
    by_status.into_iter().map(|(status, codes)| (status, response(codes))).collect()
}

/// Adds what holds for every route.
pub(crate) fn completed(mut document: Document) -> Document {
    let components = document.components.get_or_insert_default();
    let in_header = |name: &str, description: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
    };
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The same key as a bearer token"))
        .build();
    components.add_security_scheme("api_key", in_header("X-API-Key", "A tenant's key, `vb_…`"));
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("operator_key", in_header("X-API-Key", "The installation's operator key"));
    document.webhooks = Some(webhooks());
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete(operation, &method, needs_key(path));
        }
    }
    document
}

/// What is sent to tenants' webhooks.
fn webhooks() -> Paths {
    let mut paths = Paths::new();
    for event in PublicEvent::ALL {
        let told = |status: &str, description: &str| {
            (status.to_owned(), RefOr::T(ResponseBuilder::new().description(description).build()))
        };
        let body = ContentBuilder::new()
            .schema(serde_json::from_value::<RefOr<Schema>>(event.body_schema()).ok())
            .example(Some(event.example()))
            .build();
        let request = RequestBodyBuilder::new().content("application/json", body).build();
        let mut operation = Operation::new();
        operation.tags = Some(vec!["Webhooks".to_owned()]);
        operation.summary = Some(event.name().to_owned());
        operation.description = Some(event.description().to_owned());
        operation.parameters = Some(vec![
            header_parameter("webhook-id", "The same in every attempt; told twice, it is one thing"),
            header_parameter("webhook-timestamp", "When it was sent, in seconds since 1970"),
            header_parameter(
                "webhook-signature",
                "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, one for each secret, parted by spaces",
            ),
        ]);
        operation.request_body = Some(RefOr::T(request));
        operation.responses.responses.extend([
            told("2XX", "It has arrived"),
            told("410", "Nothing more is wanted: the endpoint is disabled"),
            told("default", "It is sent again, not before `Retry-After`"),
        ]);
        paths.paths.insert(event.name().to_owned(), PathItem::new(HttpMethod::Post, operation));
    }
    paths
}

/// Carriers sign their requests instead; who only looks at the service needs none.
fn needs_key(path: &str) -> bool {
    (path.starts_with("/api/") && !path.starts_with("/api/twilio/"))
        || ["/ws/voice", "/ws/voice-browser"].contains(&path)
}

fn operations(item: &mut PathItem) -> Vec<(HttpMethod, &mut Operation)> {
    let PathItem { get, post, put, patch, delete, .. } = item;
    let operations = [
        (HttpMethod::Get, get),
        (HttpMethod::Post, post),
        (HttpMethod::Put, put),
        (HttpMethod::Patch, patch),
        (HttpMethod::Delete, delete),
    ];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))).collect()
}

fn complete(operation: &mut Operation, method: &HttpMethod, needs_key: bool) {
    let parameters = operation.parameters.get_or_insert_default();
    parameters
        .push(header_parameter("X-Correlation-ID", "1 to 128 visible ASCII characters; made when left out"));
    let is_repeatable = needs_key && *method == HttpMethod::Post;
    if is_repeatable {
        let description = "1 to 255 visible ASCII characters. The same key with the same body gives the first answer \
            again, for 24 hours; with another body 422 `idempotency_key_reused`";
        parameters.push(header_parameter("Idempotency-Key", description));
    }
    if needs_key && operation.security.is_none() {
        let none: [&str; 0] = [];
        operation.security =
            Some(vec![SecurityRequirement::new("api_key", none), SecurityRequirement::new("bearer", none)]);
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        response.headers.insert("X-Correlation-ID".to_owned(), header("The request's correlation id"));
        if is_repeatable && status.starts_with('2') {
            response.headers.insert(
                "Idempotency-Replayed".to_owned(),
                header("`true` when this answer was given before"),
            );
        }
        if status == "402" {
            response
                .headers
                .insert("X-Should-Retry".to_owned(), header("`false`: repeating it does not help"));
        }
        if status == "503" || status == "429" {
            response.headers.insert("Retry-After".to_owned(), header("Seconds"));
        }
    }
}

fn header_parameter(name: &str, description: &str) -> RefOr<Parameter> {
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(utoipa::openapi::Required::False)
        .description(Some(description))
        .schema(Some(Object::with_type(Type::String)))
        .build();
    RefOr::T(parameter)
}

fn header(description: &str) -> RefOr<Header> {
    let schema = Some(Object::with_type(Type::String));
    RefOr::T(HeaderBuilder::new().schema(schema).description(Some(description)).build())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::needs_key;

    fn document() -> Value {
        serde_json::to_value(crate::openapi()).unwrap()
    }

    /// Method, path and operation.
    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations.push((method.clone(), path.clone(), operation));
            }
        }
        operations
    }

    #[test]
    fn the_document_lists_every_route() {
        let document = document();
        let routes: BTreeSet<String> =
            operations(&document).iter().map(|(method, path, _)| format!("{method} {path}")).collect();
        let expected: BTreeSet<String> = [
            "get /",
            "get /health",
            "get /ready",
            "get /live",
            "get /metrics",
            "get /api/tenants",
            "post /api/tenants",
            "get /api/tenants/me",
            "get /api/keys",
            "get /api/budgets",
            "put /api/budgets",
            "delete /api/budgets/{id}",
            "get /api/limits",
            "put /api/limits",
            "patch /api/tenants/me",
            "get /api/models",
            "get /api/prices",
            "put /api/prices",
            "get /api/prices/versions",
            "get /api/prices/overrides",
            "put /api/prices/overrides",
            "get /api/repricings",
            "post /api/repricings",
            "get /api/repricings/{id}",
            "post /api/keys",
            "delete /api/keys/{id}",
            "get /api/agents",
            "post /api/agents",
            "get /api/agents/{id}",
            "put /api/agents/{id}",
            "patch /api/agents/{id}",
            "delete /api/agents/{id}",
            "get /api/system-prompts",
            "post /api/system-prompts",
            "get /api/system-prompts/{id}",
            "put /api/system-prompts/{id}",
            "patch /api/system-prompts/{id}",
            "delete /api/system-prompts/{id}",
            "get /api/system-prompts/{id}/versions",
            "get /api/tools",
            "post /api/tools/{name}/run",
            "get /api/custom-functions",
            "post /api/custom-functions",
            "get /api/custom-functions/{id}",
            "put /api/custom-functions/{id}",
            "patch /api/custom-functions/{id}",
            "delete /api/custom-functions/{id}",
            "post /api/custom-functions/{id}/test",
            "get /api/mcp-servers",
            "post /api/mcp-servers",
            "get /api/mcp-servers/{id}",
            "put /api/mcp-servers/{id}",
            "patch /api/mcp-servers/{id}",
            "delete /api/mcp-servers/{id}",
            "get /api/mcp-servers/{id}/tools",
            "get /api/sessions",
            "post /api/sessions",
            "get /api/sessions/{id}",
            "post /api/sessions/{id}/end",
            "post /api/sessions/{id}/messages",
            "get /api/sessions/{id}/events",
            "post /api/ws-tickets",
            "get /api/phone-numbers",
            "put /api/phone-numbers/{number}",
            "delete /api/phone-numbers/{number}",
            "get /api/telephony/twilio",
            "put /api/telephony/twilio",
            "delete /api/telephony/twilio",
            "post /api/twilio/incoming",
            "post /api/twilio/status",
            "post /api/sessions/{id}/voice/message",
            "get /api/sessions/{id}/voice/audio/{message_id}",
            "get /ws/voice",
            "get /ws/voice-browser",
            "get /ws/voice-twilio",
            "get /api/webhooks",
            "post /api/webhooks",
            "get /api/webhooks/{id}",
            "patch /api/webhooks/{id}",
            "delete /api/webhooks/{id}",
            "post /api/webhooks/{id}/test",
            "post /api/webhooks/{id}/rotate-secret",
            "post /api/tenants/me/rotate-webhook-secret",
            "get /api/webhooks/{id}/deliveries",
            "post /api/webhooks/{id}/redeliver-failed",
            "get /api/webhooks/deliveries",
            "get /api/webhooks/deliveries/{id}",
            "post /api/webhooks/deliveries/{id}/redeliver",
            "post /api/jobs/{id}/cancel",
            "post /api/keys/{id}/rotate",
            "get /api/jobs",
            "get /api/jobs/{id}",
            "get /api/provider-calls",
            "get /api/tool-executions",
            "get /api/calls",
            "get /api/calls/active",
            "get /api/calls/{id}",
            "delete /api/calls/{id}",
            "post /api/calls/{id}/hangup",
            "get /api/calls/{id}/transcript",
            "get /api/calls/{id}/recording",
            "get /api/analytics/latency",
            "get /api/analytics/usage",
            "get /api/analytics/timeseries",
            "get /api/invoices",
            "get /api/invoices/{month}",
            "get /api/analytics/entries",
            "get /api/analytics/top-agents",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect();
        assert_eq!(routes, expected);
    }

    #[test]
    fn every_operation_documents_its_answers_and_has_its_own_id() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap();
            let is_good = |status: &String| status.starts_with('2') || status == "101";
            assert!(responses.keys().any(is_good), "{method} {path}");
            for (status, response) in responses {
                let is_error = status.starts_with('4') || status.starts_with('5');
                assert!(response["headers"]["X-Correlation-ID"].is_object(), "{method} {path} {status}");
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert!(
                    !is_error || path == "/health" || problem == "#/components/schemas/Problem",
                    "{method} {path} {status}"
                );
            }
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} has a summary");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        }
    }

    #[test]
    fn what_needs_a_key_says_so() {
        let document = document();
        for (method, path, operation) in operations(&document) {
            assert_eq!(operation["security"].is_array(), needs_key(&path), "{method} {path}");
            assert_eq!(operation["responses"]["401"].is_object(), needs_key(&path), "{method} {path}");
        }
        assert!(document["components"]["securitySchemes"]["operator_key"].is_object());
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let document = document();
        let text = document.to_string();
        for named in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"]["schemas"][named].is_object(), "{named}");
        }
    }

    #[test]
    fn a_new_agent_needs_a_name_and_a_patch_needs_nothing() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["AgentBody"]["required"], serde_json::json!(["name"]));
        assert!(schemas["AgentPatch"]["required"].is_null());
    }
}
