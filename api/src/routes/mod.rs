//! All routes; each module has its routes, handlers, types and their documentation together.

mod call_page;
mod docs;
mod service;

mod agents;
mod budgets;
mod custom_functions;
mod keys;
mod limits;
mod mcp_servers;
mod models;
mod prices;
mod repricings;
mod system_prompts;
mod tenants;
mod tools;

mod calls;
mod messages;
mod session_events;
mod sessions;
pub(crate) mod voice_messages;

mod telephony;
mod twilio;
mod ws_tickets;

mod webhooks;

mod analytics;
mod invoices;
mod jobs;
mod session_facts;

mod answers;
mod merge;
mod moments;
mod named;
mod secret_headers;

pub(crate) use messages::reply::Outcome;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::from_fn;
use bytes::Bytes;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::openapi::{self, Base};
use crate::problem::Problem;
use crate::{App, Config, edge, sockets};

/// The documented routes.
fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Base::openapi())
        .merge(service::router())
        .merge(tenants::router())
        .merge(keys::router())
        .merge(limits::router())
        .merge(budgets::router())
        .merge(agents::router())
        .merge(system_prompts::router())
        .merge(tools::router())
        .merge(custom_functions::router())
        .merge(mcp_servers::router())
        .merge(models::router())
        .merge(prices::router())
        .merge(repricings::router())
        .merge(sessions::router())
        .merge(messages::router())
        .merge(voice_messages::router())
        .merge(session_events::router())
        .merge(calls::router())
        .merge(jobs::router())
        .merge(session_facts::router())
        .merge(analytics::router())
        .merge(invoices::router())
        .merge(webhooks::router())
        .merge(ws_tickets::router())
        .merge(telephony::router())
        .merge(twilio::router())
        .merge(sockets::router())
}

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    openapi::completed(documented().into_openapi())
}

/// Everything that is served, with what surrounds it.
pub(crate) fn router(app: App) -> Router {
    let json = document().to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the OpenAPI document cannot be written");
        "{}".to_owned()
    });
    let (routes, _) = documented().split_for_parts();
    routes
        .merge(docs::router(Bytes::from(json)))
        .merge(call_page::router())
        .fallback(|| async { Problem::not_found("route") })
        .layer(cors(&app.config))
        .layer(from_fn(edge::surround))
        .with_state(app)
}

/// What is served where there is no api.
pub(crate) fn monitoring(app: App) -> Router {
    let (routes, _) = service::monitoring().split_for_parts();
    routes.fallback(|| async { Problem::not_found("route") }).layer(from_fn(edge::surround)).with_state(app)
}

fn cors(config: &Config) -> CorsLayer {
    let origins = match &config.cors_origins[..] {
        [any] if any == "*" => AllowOrigin::any(),
        origins => AllowOrigin::list(
            origins
                .iter()
                .filter(|origin| *origin != "*")
                .filter_map(|origin| HeaderValue::from_str(origin).ok()),
        ),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("x-correlation-id"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            header::LOCATION,
            header::LINK,
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            header::ETAG,
            header::ACCEPT_RANGES,
            header::CONTENT_RANGE,
            header::CONTENT_DISPOSITION,
            HeaderName::from_static("x-correlation-id"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("idempotency-replayed"),
            HeaderName::from_static("preference-applied"),
        ])
}
