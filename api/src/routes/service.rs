//! The service itself: what it is, whether it is well, and what it counts.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use events::Position;
use projections::Projection;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::openapi::problems;
use crate::problem::{Code, Problem};

/// A dependency that takes longer to answer is away.
const PATIENCE: Duration = Duration::from_secs(2);
/// A projection that does not come to the present within this time is behind.
const LAG: Duration = Duration::from_millis(500);

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_service)).merge(monitoring())
}

/// What tells how a process is.
pub(crate) fn monitoring() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_health))
        .routes(routes!(get_ready))
        .routes(routes!(get_live))
        .routes(routes!(get_metrics))
}

#[derive(Debug, Serialize, ToSchema)]
struct Service {
    #[schema(example = "VocalBridge")]
    name: &'static str,
    version: &'static str,
    links: Links,
}

#[derive(Debug, Serialize, ToSchema)]
struct Links {
    openapi: String,
    docs: String,
    redoc: String,
    health: String,
    metrics: String,
}

/// Describe the service
#[utoipa::path(
    get, path = "/", tag = "Service", operation_id = "get_service",
    responses((status = 200, description = "Name, version, links", body = Service))
)]
async fn get_service(State(app): State<App>) -> Json<Service> {
    let link = |path: &str| format!("{}{path}", app.config.app_url.trim_end_matches('/'));
    Json(Service {
        name: "VocalBridge",
        version: env!("CARGO_PKG_VERSION"),
        links: Links {
            openapi: link("/openapi.json"),
            docs: link("/docs"),
            redoc: link("/redoc"),
            health: link("/health"),
            metrics: link("/metrics"),
        },
    })
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`; `degraded` while a projection is behind; `down` when NATS or Postgres is away.
    #[schema(example = "ok")]
    status: &'static str,
    version: &'static str,
    dependencies: Dependencies,
}

#[derive(Debug, Serialize, ToSchema)]
struct Dependencies {
    nats: Dependency,
    postgres: Dependency,
    projections: Vec<ProjectionHealth>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Dependency {
    /// `ok` or `down`.
    #[schema(example = "ok")]
    status: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProjectionHealth {
    #[schema(example = "transcripts")]
    name: &'static str,
    /// `ok`; `behind` when it does not come to the log's present end within half a second.
    #[schema(example = "ok")]
    status: &'static str,
}

impl Dependency {
    fn new(is_well: bool) -> Self {
        Self { status: if is_well { "ok" } else { "down" } }
    }

    fn is_well(&self) -> bool {
        self.status == "ok"
    }
}

/// Report health
///
/// The state of each dependency.
#[utoipa::path(
    get, path = "/health", tag = "Service", operation_id = "get_health",
    responses(
        (status = 200, description = "Well, or degraded", body = Health),
        (status = 503, description = "NATS or Postgres is away", body = Health),
    )
)]
async fn get_health(State(app): State<App>) -> impl IntoResponse {
    let (end, postgres) = tokio::join!(ends(&app), postgres(&app));
    let nats = Dependency::new(app.nats.is_connected() && end.is_some());
    let end = end.unwrap_or_default();
    let checks = Projection::ALL.into_iter().map(|projection| lag(&app, projection, &end));
    let projections = futures_util::future::join_all(checks).await;
    let is_up = nats.is_well() && postgres.is_well();
    let is_level = projections.iter().all(|projection| projection.status == "ok");
    let status = match (is_up, is_level) {
        (false, _) => "down",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    let code = if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let dependencies = Dependencies { nats, postgres, projections };
    (code, Json(Health { status, version: env!("CARGO_PKG_VERSION"), dependencies }))
}

/// Where each partition ends; `None` when the log does not answer.
async fn ends(app: &App) -> Option<Vec<Position>> {
    let one = |partition| async move {
        let sequence = app.nats.log.last_of_partition(partition).await.ok()?;
        Some(Position { partition, sequence })
    };
    let all = futures_util::future::join_all((0..app.nats.log.partitions()).map(one));
    timeout(PATIENCE, all).await.ok()?.into_iter().collect()
}

async fn postgres(app: &App) -> Dependency {
    Dependency::new(timeout(PATIENCE, app.database.ping()).await.is_ok_and(|answered| answered.is_ok()))
}

async fn lag(app: &App, projection: Projection, ends: &[Position]) -> ProjectionHealth {
    let reached = ends.iter().map(|end| async move {
        end.sequence == 0 || app.progress.reached(projection.name(), *end, LAG).await
    });
    let is_level = futures_util::future::join_all(reached).await.into_iter().all(|reached| reached);
    ProjectionHealth { name: projection.name(), status: if is_level { "ok" } else { "behind" } }
}

#[derive(Debug, Serialize, ToSchema)]
struct ServiceState {
    status: &'static str,
}

/// Say whether to send requests here
#[utoipa::path(
    get, path = "/ready", tag = "Service", operation_id = "get_ready",
    responses((status = 200, description = "Send them", body = ServiceState), problems::Starting)
)]
async fn get_ready(State(app): State<App>) -> Result<Json<ServiceState>, Problem> {
    if app.shutdown.is_cancelled() {
        return Err(Problem::new(Code::ShuttingDown, "another server takes requests"));
    }
    if !app.nats.is_connected() || !postgres(&app).await.is_well() {
        return Err(Problem::new(Code::Unavailable, "see /health"));
    }
    Ok(Json(ServiceState { status: "ready" }))
}

/// Say whether the process is alive
#[utoipa::path(
    get, path = "/live", tag = "Service", operation_id = "get_live",
    responses((status = 200, description = "It is", body = ServiceState))
)]
async fn get_live() -> Json<ServiceState> {
    Json(ServiceState { status: "alive" })
}

/// Show metrics
#[utoipa::path(
    get, path = "/metrics", tag = "Service", operation_id = "get_metrics",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain"))
)]
async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
