//! Jobs: accepted work and what became of it.

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

mod cancel;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{JobId, Position, SessionId, TenantId};
use projections::jobs::{self, JobFilter, JobKind, JobRecord, JobStatus};
use projections::{Page, Projection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{AgentViewer, Caller, Reach};
use crate::extract::{PathId, QueryOf, id_of};
use crate::openapi::problems;
use crate::page::{list, next_after, page_of};
use crate::problem::{Code, Problem};
use crate::routes::messages::reply::{self, Reply};
use crate::routes::voice_messages::answer::{self, VoiceReply};
use crate::{App, freshness, sessions};

const PATH: &str = "/api/jobs";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_jobs)).routes(routes!(get_job)).merge(cancel::router())
}

/// Which of them are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    status: Option<String>,
    /// `message` or `voice_message`.
    kind: Option<String>,
    #[param(value_type = Option<Uuid>)]
    session_id: Option<String>,
    /// How many entries.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// Goes on after the entry with this id: the last one of the page before. Take it from the `Link` header.
    #[param(value_type = Option<Uuid>)]
    after: Option<String>,
}

impl JobsQuery {
    fn parse(&self, reach: &Reach) -> Result<(JobFilter, Page), Problem> {
        let session_id = self
            .session_id
            .as_deref()
            .map(|sent| id_of(sent).ok_or_else(|| Problem::invalid_field("session_id", "must be a UUID")));
        let filter = JobFilter {
            status: one_of("status", self.status.as_deref(), &JobStatus::ALL, JobStatus::as_str)?,
            kind: one_of("kind", self.kind.as_deref(), &JobKind::ALL, JobKind::as_str)?,
            session_id: session_id.transpose()?.map(SessionId),
            agents: reach.only().map(<[_]>::to_vec),
        };
        Ok((filter, page_of(self.limit, self.after.as_deref())?))
    }

    fn filters(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("status", self.status.clone()),
            ("kind", self.kind.clone()),
            ("session_id", self.session_id.clone()),
        ]
    }
}

fn one_of<T: Copy>(
    field: &str,
    sent: Option<&str>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(sent) = sent else { return Ok(None) };
    let found = all.iter().copied().find(|one| name(*one) == sent);
    found.map(Some).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        Problem::invalid_field(field, format_args!("must be one of {}", names.join(", ")))
    })
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
    /// `null` while it waits, and once it is over.
    progress: Option<Progress>,
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

/// How far a job has come.
#[derive(Debug, Serialize, ToSchema)]
struct Progress {
    /// `hearing` (a recording is put into words), `answering` (vendors and tools are asked) or `speaking` (the reply is
    /// spoken into a file).
    #[schema(example = "answering")]
    stage: &'static str,
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
            progress: None,
            result: None,
            error: None,
            attempts: 0,
            created_at,
            finished_at: None,
        }
    }

    fn is_finished_otherwise(&self) -> bool {
        self.finished_at.is_some() && self.status != JobStatus::Cancelled.as_str()
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
        progress: record.stage.map(|stage| Progress { stage: stage.as_str() }),
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
    get, path = "/api/jobs", tag = "Jobs", operation_id = "list_jobs", params(JobsQuery),
    responses(
        (status = 200, description = "The jobs", body = Vec<Job>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_jobs(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
    QueryOf(query): QueryOf<JobsQuery>,
) -> Result<Response, Problem> {
    let (filter, page) = query.parse(&caller.reach)?;
    freshness::of_everything(&app, Projection::Jobs).await;
    let records = jobs::jobs(&app.database, caller.tenant_id, &filter, page).await?;
    let next = next_after(page, records.iter().map(|record| record.id.0));
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(answered(&app, caller.tenant_id, record).await?);
    }
    Ok(list(PATH, &query.filters(), page, next, answers))
}

/// A job is its session's, and that is its agent's.
async fn check_reaches(app: &App, caller: &Caller, job: &Job) -> Result<(), Problem> {
    match sessions::find(app, caller, job.session_id).await {
        Err(problem) if problem.code() == Code::NotFound => Err(Problem::not_found("job")),
        found => found.map(|_| ()),
    }
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
    AgentViewer(caller): AgentViewer,
    PathId(job_id): PathId<JobId>,
) -> Result<Json<Job>, Problem> {
    let job = find(&app, caller.tenant_id, job_id, None).await?.ok_or_else(|| Problem::not_found("job"))?;
    check_reaches(&app, &caller, &job).await?;
    Ok(Json(job))
}
