//! `/api/telephony/twilio`: a tenant's own Twilio account.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use events::telephony::{TwilioConfigured, TwilioRemoved};
use events::{Aggregate, Event, EventId};
use nats::Expect;
use projections::Projection;
use projections::configuration::telephony;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::history::Telephony;
use crate::app::SOURCE;
use crate::append::{self, Decision};
use crate::auth::Admin;
use crate::extract::JsonBody;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::routes::answers::Deleted;
use crate::routes::secret_headers::masked;
use crate::validation::Mistakes;
use crate::{App, freshness};

const MAX_TOKEN_CHARS: usize = 200;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_twilio, set_twilio, remove_twilio))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    #[schema(example = "AC0123456789abcdef0123456789abcdef")]
    account_sid: String,
    /// Checks the webhooks' signatures. Kept encrypted, and never shown again.
    auth_token: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Account {
    /// `null`: the tenant has none of its own, and uses the installation's.
    #[schema(example = "AC0123456789abcdef0123456789abcdef")]
    account_sid: Option<String>,
    /// What is left visible of it.
    #[schema(example = "••••cdef")]
    auth_token: Option<String>,
    updated_at: Option<DateTime<Utc>>,
}

/// Show the Twilio account
///
/// Role: admin.
#[utoipa::path(
    get, path = "/api/telephony/twilio", tag = "Calls", operation_id = "get_twilio_account",
    responses((status = 200, description = "The account", body = Account), problems::Reading)
)]
async fn get_twilio(State(app): State<App>, Admin(caller): Admin) -> Result<Json<Account>, Problem> {
    let tenant_id = caller.tenant_id;
    freshness::of_aggregate(&app, Projection::Configuration, Aggregate::telephony(tenant_id)).await;
    let account = telephony::twilio_account(&app.database, tenant_id).await?;
    let Some(account) = account else {
        return Ok(Json(Account { account_sid: None, auth_token: None, updated_at: None }));
    };
    let token = app.keyring.open(tenant_id, account.auth_token_sealed_for, &account.auth_token).await?;
    Ok(Json(Account {
        account_sid: Some(account.account_sid),
        auth_token: Some(masked(token.as_deref().unwrap_or_default())),
        updated_at: Some(account.updated_at),
    }))
}

/// Set the Twilio account
///
/// Calls to the tenant's numbers then come from this account, and from no other. Role: admin.
#[utoipa::path(
    put, path = "/api/telephony/twilio", tag = "Calls", operation_id = "set_twilio_account",
    request_body = NewAccount,
    responses((status = 200, description = "The account", body = Account), problems::Writing)
)]
async fn set_twilio(
    State(app): State<App>,
    Admin(caller): Admin,
    JsonBody(NewAccount { account_sid, auth_token }): JsonBody<NewAccount>,
) -> Result<Json<Account>, Problem> {
    let mut mistakes = Mistakes::default();
    if !is_account_sid(&account_sid) {
        mistakes.add("account_sid", "must be AC and 32 hexadecimal digits");
    }
    mistakes.check_required("auth_token", &auth_token, MAX_TOKEN_CHARS);
    mistakes.into_result()?;
    let (tenant_id, event_id) = (caller.tenant_id, EventId::new());
    let sealed = app.keyring.seal(tenant_id, tenant_id.0, event_id, &auth_token).await?;
    let now = app.clock.now();
    let payload = TwilioConfigured { account_sid: account_sid.clone(), auth_token: sealed };
    let event = Event::new(event_id, now, SOURCE, Aggregate::telephony(tenant_id), &caller.cause(), payload);
    // The last one counts, whatever was before.
    let position = app.nats.log.append(&event, Expect::Anything).await?;
    freshness::of_change(&app, position).await;
    let auth_token = Some(masked(&auth_token));
    Ok(Json(Account { account_sid: Some(account_sid), auth_token, updated_at: Some(now) }))
}

/// Remove the Twilio account
///
/// Role: admin.
#[utoipa::path(
    delete, path = "/api/telephony/twilio", tag = "Calls", operation_id = "remove_twilio_account",
    responses((status = 200, description = "It is removed", body = Deleted), problems::Reading, problems::OfAnId)
)]
async fn remove_twilio(State(app): State<App>, Admin(caller): Admin) -> Result<Json<Deleted>, Problem> {
    let (aggregate, event_id) = (Aggregate::telephony(caller.tenant_id), EventId::new());
    let (position, ()) = append::update(&app, aggregate, |history| {
        if Telephony::of(history).twilio.is_none() {
            return Err(Problem::not_found("Twilio account"));
        }
        let event =
            Event::new(event_id, app.clock.now(), SOURCE, aggregate, &caller.cause(), TwilioRemoved {});
        Ok(Decision::Append(Box::new(event), ()))
    })
    .await?;
    freshness::of_change(&app, position).await;
    Ok(Json(Deleted::YES))
}

fn is_account_sid(text: &str) -> bool {
    text.strip_prefix("AC")
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
