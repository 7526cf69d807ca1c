//! Tenants: businesses that use VocalBridge.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::Zone;
use events::tenant::{KeyCreated, Role, TenantCreated, TenantSettingsChanged};
use events::{Aggregate, ApiKeyId, Event, EventId, Payload, Recorded, TenantId};
use projections::Projection;
use projections::configuration::{self, TenantRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_key::NewKey;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::{Admin, AgentViewer, Operator};
use crate::extract::{JsonBody, Posted, QueryOf};
use crate::idempotency::Makes;
use crate::openapi::problems;
use crate::page::{PageQuery, list, next_after};
use crate::problem::Problem;
use crate::routes::merge::{Sent, or, sent};
use crate::routes::webhooks;
use crate::validation::Mistakes;
use crate::{App, freshness};

const PATH: &str = "/api/tenants";
const MAX_NAME_CHARS: usize = 200;
const DEFAULT_TIME_ZONE: &str = "UTC";
/// What a tenant's first key is called.
const FIRST_KEY_NAME: &str = "first key";

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_tenant, list_tenants))
        .routes(routes!(get_own_tenant, patch_own_tenant))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    #[schema(min_length = 1, max_length = 200, example = "TechCorp")]
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Tenant {
    #[schema(value_type = Uuid)]
    id: TenantId,
    #[schema(example = "TechCorp")]
    name: String,
    /// An IANA name: the clock of the tenant's budgets.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    created_at: DateTime<Utc>,
}

/// A new tenant, with what is shown only now.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedTenant {
    #[serde(flatten)]
    tenant: Tenant,
    /// A key of role `admin`. Shown once; only its hash is kept.
    #[schema(example = "vb_live_4f9a1c2d7e80_…")]
    api_key: String,
    /// Signs deliveries to a message's own `webhook_url`.
    #[schema(example = "whsec_…")]
    webhook_secret: String,
}

/// What is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "time_zone": "Europe/Berlin" }))]
struct TenantPatch {
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    name: Sent<String>,
    /// An IANA name. A month of the tenant's budgets begins and ends at midnight there; `null`: UTC.
    #[serde(deserialize_with = "sent")]
    #[schema(value_type = Option<String>)]
    time_zone: Sent<String>,
}

impl From<TenantRecord> for Tenant {
    fn from(record: TenantRecord) -> Self {
        Self { id: record.id, name: record.name, time_zone: record.time_zone, created_at: record.created_at }
    }
}

/// Create a tenant
///
/// With the operator's key.
#[utoipa::path(
    post, path = "/api/tenants", tag = "Tenants", operation_id = "create_tenant", request_body = NewTenant,
    security(("operator_key" = [])),
    responses((status = 201, description = "The tenant and its first key", body = CreatedTenant), problems::Writing)
)]
async fn create_tenant(
    State(app): State<App>,
    operator: Operator,
    posted: Posted<NewTenant>,
) -> Result<Response, Problem> {
    let name = &posted.body.name;
    let mut mistakes = Mistakes::default();
    mistakes.check_required("name", name, MAX_NAME_CHARS);
    mistakes.into_result()?;
    let once = posted.claim(&app, TenantId::SYSTEM, Makes::Secret).await?;
    let tenant_id: TenantId = once.id();
    let webhook_secret = webhooks::secret_of(&once);
    let event_id: EventId = once.derived("tenant.created");
    let sealed = app.keyring.seal(tenant_id, tenant_id.0, event_id, &webhook_secret).await?;
    let created = TenantCreated { name: name.clone(), webhook_secret: sealed };
    let aggregate = Aggregate::tenant(tenant_id);
    let event = Event::new(event_id, once.at, SOURCE, aggregate, &operator.cause(), created);
    let tenant = append::create(&app, event, once.replayed).await?;

    let key = NewKey::from_secret(&app.config.environment, &once.secret);
    let key_id: ApiKeyId = once.derived("key");
    let created = KeyCreated {
        name: FIRST_KEY_NAME.to_owned(),
        role: Role::Admin,
        prefix: key.prefix,
        key_hash: key.hash,
        expires_at: None,
        agent_ids: None,
        requests_per_minute: None,
    };
    let aggregate = Aggregate::key(tenant_id, key_id);
    let event =
        Event::new(once.derived("key.created"), once.at, SOURCE, aggregate, &operator.cause(), created);
    let first_key = append::create(&app, event, once.replayed).await?;
    freshness::of_change(&app, tenant.position).await;
    freshness::of_change(&app, first_key.position).await;
    let time_zone = DEFAULT_TIME_ZONE.to_owned();
    let tenant = Tenant { id: tenant_id, name: name.clone(), time_zone, created_at: once.at };
    Ok(once.mark((StatusCode::CREATED, Json(CreatedTenant { tenant, api_key: key.text, webhook_secret }))))
}

/// List tenants
///
/// With the operator's key. Newest first.
#[utoipa::path(
    get, path = "/api/tenants", tag = "Tenants", operation_id = "list_tenants", params(PageQuery),
    security(("operator_key" = [])),
    responses(
        (status = 200, description = "The tenants", body = Vec<Tenant>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`"))),
        problems::Reading,
    )
)]
async fn list_tenants(
    State(app): State<App>,
    _: Operator,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Response, Problem> {
    let page = query.page()?;
    freshness::of_everything(&app, Projection::Configuration).await;
    let tenants = configuration::tenants(&app.database, page).await?;
    let next = next_after(page, tenants.iter().map(|tenant| tenant.id.0));
    Ok(list(PATH, &[], page, next, tenants.into_iter().map(Tenant::from).collect()))
}

/// Get the tenant of the key
///
/// Role: viewer.
#[utoipa::path(
    get, path = "/api/tenants/me", tag = "Tenants", operation_id = "get_own_tenant",
    responses((status = 200, description = "The tenant", body = Tenant), problems::Reading, problems::OfAnId)
)]
async fn get_own_tenant(
    State(app): State<App>,
    AgentViewer(caller): AgentViewer,
) -> Result<Json<Tenant>, Problem> {
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::tenant(caller.tenant_id)).await;
    let tenant = configuration::tenant(&app.database, caller.tenant_id).await?;
    tenant.map(|tenant| Json(tenant.into())).ok_or_else(|| Problem::not_found("tenant"))
}

/// Change the tenant of the key
///
/// Role: admin.
#[utoipa::path(
    patch, path = "/api/tenants/me", tag = "Tenants", operation_id = "patch_own_tenant", request_body = TenantPatch,
    responses((status = 200, description = "The tenant", body = Tenant), problems::Writing)
)]
async fn patch_own_tenant(
    State(app): State<App>,
    Admin(caller): Admin,
    JsonBody(patch): JsonBody<TenantPatch>,
) -> Result<Json<Tenant>, Problem> {
    let (tenant_id, event_id) = (caller.tenant_id, EventId::new());
    let aggregate = Aggregate::tenant(tenant_id);
    let (position, tenant) = append::update(&app, aggregate, |history| {
        let present = tenant_of(tenant_id, history).ok_or_else(|| Problem::not_found("tenant"))?;
        let tenant = Tenant {
            name: or(patch.name.clone(), &present.name, String::new),
            time_zone: or(patch.time_zone.clone(), &present.time_zone, || DEFAULT_TIME_ZONE.to_owned()),
            ..present
        };
        let mut mistakes = Mistakes::default();
        mistakes.check_required("name", &tenant.name, MAX_NAME_CHARS);
        if Zone::named(&tenant.time_zone).is_none() {
            mistakes.add("time_zone", "must be an IANA name such as Europe/Berlin");
        }
        mistakes.into_result()?;
        let changed =
            TenantSettingsChanged { name: tenant.name.clone(), time_zone: tenant.time_zone.clone() };
        let event = Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), changed);
        Ok(Decision::Append(Box::new(event), tenant))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(tenant))
}

/// What a tenant's history comes to; `None`: it was never created.
fn tenant_of(id: TenantId, history: &[Recorded]) -> Option<Tenant> {
    history.iter().fold(None, |tenant, recorded| match (&recorded.event.payload, tenant) {
        (Payload::TenantCreated(created), _) => Some(Tenant {
            id,
            name: created.name.clone(),
            time_zone: DEFAULT_TIME_ZONE.to_owned(),
            created_at: recorded.event.envelope.time,
        }),
        (Payload::TenantSettingsChanged(changed), Some(tenant)) => {
            Some(Tenant { name: changed.name.clone(), time_zone: changed.time_zone.clone(), ..tenant })
        }
        (_, tenant) => tenant,
    })
}
