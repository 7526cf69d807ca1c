//! Jobs: accepted work and what became of it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{JobId, Position, SessionId, TenantId};
use projections::Projection;
use projections::jobs::{self, JobKind, JobRecord, JobStatus};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Viewer;
use crate::extract::{PathId, QueryOf};
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::Problem;
use crate::routes::messages::reply::{self, Reply};
use crate::routes::voice_messages::answer::{self, VoiceReply};
use crate::{App, freshness};

const PATH: &str = "/api/jobs";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_jobs)).routes(routes!(get_job))
}

/// Accepted work, as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    #[schema(value_type = Uuid)]
    pub id: JobId,
    #[schema(example = "message")]
    kind: &'static str,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    #[schema(example = "succeeded")]
    status: &'static str,
    #[schema(value_type = Uuid)]
    session_id: SessionId,
    /// What the waiting POST would have answered; `null` until the job has succeeded.
    result: Option<JobResult>,
    /// `null` unless the job failed.
    error: Option<JobError>,
    /// How many workers have taken it, one after the other: more than one when a worker died.
    attempts: u64,
    created_at: DateTime<Utc>,
    /// `null` until the job is over.
    finished_at: Option<DateTime<Utc>>,
}

/// A message's reply, or that of a message that was spoken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum JobResult {
    Reply(Box<Reply>),
    VoiceReply(Box<VoiceReply>),
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobError {
    /// The code of the problem that the waiting POST would have answered.
    #[schema(example = "vendor_failed")]
    code: String,
    detail: String,
}

impl Job {
    /// A job that was accepted just now.
    pub(crate) fn queued(kind: JobKind, id: JobId, session_id: SessionId, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            kind: kind.as_str(),
            status: JobStatus::Queued.as_str(),
            session_id,
            result: None,
            error: None,
            attempts: 0,
            created_at,
            finished_at: None,
        }
    }
}

async fn answered(app: &App, tenant_id: TenantId, record: JobRecord) -> Result<Job, Problem> {
    let (result, error) = match reply::of_job(app, tenant_id, &record).await? {
        None => (None, None),
        Some(Ok(reply)) => {
            let result = match &record.voice {
                None => JobResult::Reply(reply),
                Some(voice) => {
                    JobResult::VoiceReply(answer::of_job(app, tenant_id, &record, voice, *reply).await?)
                }
            };
            (Some(result), None)
        }
        Some(Err(problem)) => (
            None,
            Some(JobError { code: problem.code().name().to_owned(), detail: problem.detail().to_owned() }),
        ),
    };
    Ok(Job {
        id: record.id,
        kind: record.kind.as_str(),
        status: record.status.as_str(),
        session_id: record.session_id,
        result,
        error,
        attempts: record.turn_attempts,
        created_at: record.created_at,
        finished_at: record.finished_at,
    })
}

/// The job, as of `position` when that is known, else as of everything.
pub(crate) async fn find(
    app: &App,
    tenant_id: TenantId,
    job_id: JobId,
    position: Option<Position>,
) -> Result<Option<Job>, Problem> {
    match position {
        Some(position) => freshness::of_position(app, Projection::Jobs, position).await,
        None => freshness::of_everything(app, Projection::Jobs).await,
    }
    match jobs::job(&app.database, tenant_id, job_id).await? {
        Some(record) => answered(app, tenant_id, record).await.map(Some),
        None => Ok(None),
    }
}

/// List jobs
///
/// Newest first. Role: viewer.
#[utoipa::path(
    get, path = "/api/jobs", tag = "Jobs", operation_id = "list_jobs", params(PageQuery),
    responses(
        (status = 200, description = "The jobs", body = Vec<Job>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_jobs(
    State(app): State<App>,
    Viewer(caller): Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_everything(&app, Projection::Jobs).await;
    let records = jobs::jobs(&app.database, caller.tenant_id, page).await?;
    let next = next_after(page, records.iter().map(|record| record.id.0));
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(answered(&app, caller.tenant_id, record).await?);
    }
    Ok(list(PATH, &[], page, next, answers))
}

/// Get a job
///
/// Its `result` is what the waiting POST would have answered. Role: viewer.
#[utoipa::path(
    get, path = "/api/jobs/{id}", tag = "Jobs", operation_id = "get_job",
    params(("id" = Uuid, Path, description = "The job")),
    responses((status = 200, description = "The job", body = Job), problems::Reading, problems::OfAnId)
)]
async fn get_job(
    State(app): State<App>,
    Viewer(caller): Viewer,
    PathId(job_id): PathId<JobId>,
) -> Result<Json<Job>, Problem> {
    find(&app, caller.tenant_id, job_id, None).await?.map(Json).ok_or_else(|| Problem::not_found("job"))
}
